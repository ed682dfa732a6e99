"""The page as a stage: sizes of screens, what stays in place, zoom, keys, print, and whether all can read it."""

import re
from functools import cache
from importlib.resources import files

import pytest

from microgradlike import Value, explain, nn, steps
from microgradlike.nn.losses import quadratic
from microgradlike.view import style
from microgradlike.view.page import LONGEST_FORMULA

SIZES = [(360, 740), (768, 1024), (1280, 800), (1920, 1080)]
LOOKS = [{}, {"color_scheme": "dark"}, {"forced_colors": "active"}]


@cache
def lecture():
    """L = (a·b + c)·f, as on many a board."""
    a, b, c, f = Value(2.0, "a"), Value(-3.0, "b"), Value(10.0, "c"), Value(-2.0, "f")
    e = a * b
    e.label = "e"
    d = e + c
    d.label = "d"
    loss = d * f
    loss.label = "L"
    return steps(loss)


@cache
def network():
    model = nn.MLP(2, [3, 1], "sigmoid", "sigmoid", seed=1)
    return steps(quadratic([model([0.5, -0.2])], [1.0]))


@cache
def row(nodes=100):
    """A chain, which no window shows as a whole."""
    v = Value(0.5, "x")
    for _ in range(nodes):
        v = v.tanh()
    return steps(v)


@pytest.fixture
def stepped(browse, tmp_path):
    def open_steps(result, step=0, **settings):
        settings = {"reduced_motion": "reduce"} | settings  # frames cost time; what moves is in test_flow
        return browse(result.save(tmp_path / "steps.html").as_uri() + f"#step={step}", **settings)

    return open_steps


def last_step(page):
    return int(page.get_by_label("Step", exact=True).get_attribute("max"))


def at_each_step(page, look):
    """What the JavaScript function `look` returns at each step, once the step is painted."""
    return page.get_by_label("Step", exact=True).evaluate(f"""async slider => {{
        const found = [];
        for (slider.value = 0; ; slider.value++) {{
            slider.dispatchEvent(new Event("input", {{ bubbles: true }}));
            await new Promise(requestAnimationFrame);
            found.push(({look})());
            if (slider.value === slider.max) return found;
        }}
    }}""")


def pixels(locator, what):
    return float(locator.evaluate("(e, what) => getComputedStyle(e)[what]", what).removesuffix("px"))


# ── Room ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.browser
@pytest.mark.parametrize("make", [lecture, network])
def test_nothing_moves_from_step_to_step(stepped, screenshot, make):
    page = stepped(make())
    parts = ".title, .picture, .now, .matrix:not([hidden]), .bars, .leaves, .legend, .all"
    places = f"""() => [...document.querySelector("[id^=steps-]").shadowRoot.querySelectorAll("{parts}")].map(each => {{
        const box = each.getBoundingClientRect();
        return [box.left, box.top, box.width, box.height].map(Math.round);
    }})"""
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        first, *others = at_each_step(page, places)
        assert len(first) >= 7
        assert others == [first] * last_step(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        screenshot(page, f"stage-{make.__name__}-{width}")


@pytest.mark.browser
@pytest.mark.parametrize("width, height", [(1920, 1080), (3840, 2160)])
def test_on_a_projector_the_graph_fills_the_screen_and_the_product_is_large(stepped, width, height):
    page = stepped(lecture(), 6, width=width, height=height)
    graph, room = page.locator(".picture svg").bounding_box(), page.locator(".picture").bounding_box()
    assert room["width"] * room["height"] > width * height / 2
    assert max(graph["width"] / room["width"], graph["height"] / room["height"]) > 0.97
    assert min(pixels(each, "fontSize") for each in page.locator(".now .rule").all()) >= 28
    bars = page.locator(".legend").bounding_box()
    assert bars["y"] + bars["height"] <= height  # without scrolling
    assert page.locator(".now .rule").last.bounding_box()["y"] < page.locator(".bars").bounding_box()["y"]


@pytest.mark.browser
@pytest.mark.parametrize("make", [lecture, network])
def test_on_a_phone_graph_and_product_come_first_and_can_be_read(stepped, make):
    page = stepped(make(), width=360, height=740, has_touch=True)
    page.keyboard.press("End")
    tops = [page.locator(each).bounding_box()["y"] for each in (".formula", ".picture", ".now", ".bars", ".tools")]
    assert tops == sorted(tops)
    assert page.get_by_label("Step forward").bounding_box()["y"] + 40 <= 740
    svg = page.locator(".picture svg")
    scale = svg.evaluate("svg => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width")
    letters = svg.locator("text").evaluate_all("all => all.map(each => parseFloat(getComputedStyle(each).fontSize))")
    assert min(letters) * scale >= 12
    room = page.locator(".picture").bounding_box()
    for s in range(1, last_step(page) + 1):
        page.get_by_label("Step", exact=True).fill(str(s))
        at = page.locator(".active").first.bounding_box()
        assert room["x"] <= at["x"]
        assert at["x"] + at["width"] <= room["x"] + room["width"]


@pytest.mark.browser
def test_in_a_notebook_the_page_is_as_wide_as_its_cell_and_no_higher_than_it_needs(browse):
    page = browse(width=1600, height=900)
    page.set_content(f"<div id='cell' style='width: 700px'>{lecture()._repr_html_()}</div>")
    box = page.locator(".box").bounding_box()
    assert box["width"] == 700
    page.set_viewport_size({"width": 1600, "height": 2000})
    assert page.locator(".box").bounding_box()["height"] == box["height"]  # not that of the window
    assert page.locator("h1").count() == 0  # the notebook has its own


# ── The formula ────────────────────────────────────────────────────────────────────────────────


def test_the_formula_of_the_loss_is_on_top():
    assert lecture().data["formula"] == ["L = d·f", "d = e + c", "e = a·b"]
    assert steps(Value(2.0, "x")).data["formula"] == []
    *shown, rest = network().data["formula"]
    assert shown[0].startswith("C = 0.5·")
    assert sum(map(len, shown)) <= LONGEST_FORMULA
    assert rest == "…"


def test_a_formula_says_where_a_name_stays_unexplained():
    v = [Value(0.1 * i) for i in range(40)]
    while len(v) > 1:
        v = [a * b + a for a, b in zip(v[::2], v[1::2], strict=False)]
    assert steps(v[0]).data["formula"][-1] == "…"


@pytest.mark.browser
def test_the_heading_and_the_formula_are_seen(stepped):
    page = stepped(lecture())
    assert page.get_by_role("heading", level=1).inner_text() == "Backward pass of L, step by step"
    assert page.locator(".formula").inner_text().split("\n")[0].split() == [
        "L",
        "=",
        "d·f",
        "d",
        "=",
        "e",
        "+",
        "c",
        "e",
        "=",
        "a·b",
    ]


# ── Zoom ───────────────────────────────────────────────────────────────────────────────────────


def drawn(page):
    return page.locator(".picture svg").bounding_box()


@pytest.mark.browser
def test_zoom_by_keys_buttons_wheel_and_dragging(stepped):
    page = stepped(lecture())
    fitted = drawn(page)["width"]
    page.keyboard.press("+")
    assert drawn(page)["width"] == pytest.approx(1.25 * fitted, rel=0.01)
    page.get_by_label("Zoom out").click()
    assert drawn(page)["width"] == pytest.approx(fitted, rel=0.01)
    page.get_by_label("Zoom in").click()
    page.keyboard.press("-")
    page.keyboard.press("-")
    assert drawn(page)["width"] == pytest.approx(fitted, rel=0.01)  # the whole is in sight already
    node = page.locator("[id$=-n0]")
    before = node.bounding_box()
    page.mouse.move(before["x"] + 5, before["y"] + 5)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    after = node.bounding_box()
    assert after["width"] > 1.2 * before["width"]
    assert abs(after["x"] - before["x"]) < 40  # what is under the pointer stays there
    page.keyboard.press("+")
    page.keyboard.press("+")
    place = drawn(page)
    page.mouse.move(before["x"] + 105, before["y"] + 5)
    page.mouse.down()
    page.mouse.move(before["x"] + 55, before["y"] - 25, steps=3)
    page.mouse.up()
    assert drawn(page)["x"] == pytest.approx(place["x"] - 50, abs=2)
    assert drawn(page)["y"] == pytest.approx(place["y"] - 30, abs=2)
    assert page.locator(".account").is_hidden()  # dragging is no click
    page.keyboard.press("0")
    assert drawn(page)["width"] == pytest.approx(fitted, rel=0.01)


PINCH = """picture => {
    for (const apart of [100, 150, 200]) {
        const touches = [-1, 1].map((side, identifier) => new Touch({ identifier, target: picture,
            clientX: 180 + side * apart / 2, clientY: 200 }));
        picture.dispatchEvent(new TouchEvent("touchmove", { touches, cancelable: true, bubbles: true }));
    }
    picture.dispatchEvent(new TouchEvent("touchend", { touches: [] }));
}"""


@pytest.mark.browser
def test_two_fingers_zoom(stepped):
    page = stepped(lecture(), width=360, height=740, has_touch=True)
    before = drawn(page)["width"]
    page.locator(".picture").evaluate(PINCH)
    assert drawn(page)["width"] == pytest.approx(2 * before, rel=0.01)


@pytest.mark.browser
def test_a_graph_larger_than_the_window_is_readable_first_and_whole_on_demand(stepped):
    page = stepped(row(), 30)
    room = page.locator(".picture").bounding_box()
    assert drawn(page)["width"] > 2 * room["width"]
    page.get_by_label("Fit to the window").click()
    assert room["width"] * 0.95 < drawn(page)["width"] <= room["width"]
    page.keyboard.press("0")
    assert drawn(page)["width"] > 2 * room["width"]


# ── Keys ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.browser
def test_f_fills_the_screen_also_from_within_a_notebook(browse):
    page = browse()
    page.set_content(lecture()._repr_html_())
    before = drawn(page)["width"]
    page.locator(".picture").focus()
    page.keyboard.press("f")
    page.wait_for_function("document.fullscreenElement !== null")
    page.locator(".box.stage").wait_for()
    assert drawn(page)["width"] > 1.2 * before
    page.keyboard.press("F")
    page.wait_for_function("document.fullscreenElement === null")
    page.locator(".box:not(.stage)").wait_for()
    assert drawn(page)["width"] == before


@pytest.mark.browser
def test_the_keys_are_listed_and_escape_closes(stepped):
    page = stepped(lecture(), 5)
    page.keyboard.press("?")
    keys = page.get_by_role("dialog")
    for key in ("→", "Home", "Space", "+ − 0", "F", "Esc"):
        assert key in keys.inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator(".place").inner_text() == "backward 1 / 3"  # only the dialog listens
    page.keyboard.press("Escape")
    assert keys.is_hidden()
    page.get_by_label("Show the ledger of a node").select_option("e")
    page.locator(".picture").focus()
    page.keyboard.press("Escape")
    assert page.locator(".account").is_hidden()


@pytest.mark.browser
def test_who_types_a_number_presses_no_key(stepped):
    page = stepped(lecture())
    width = drawn(page)["width"]
    field = page.get_by_label("a as a number")
    field.fill("")
    field.press_sequentially("-0+f? ")
    assert field.input_value() == "-0+f? "
    assert drawn(page)["width"] == pytest.approx(width, rel=0.05)  # the complaint about it takes a line
    assert page.get_by_role("dialog").count() == 0
    assert page.locator(".place").inner_text().startswith("forward 0")


@pytest.mark.browser
def test_pages_of_one_notebook_share_no_key(browse):
    page = browse()
    page.set_content(lecture()._repr_html_() + network()._repr_html_())
    one, other = page.locator(".box").all()
    widths = [each.locator(".picture svg").bounding_box()["width"] for each in (one, other)]
    one.locator(".picture").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    after = [each.locator(".picture svg").bounding_box()["width"] for each in (one, other)]
    assert after == [pytest.approx(1.25 * widths[0], rel=0.01), widths[1]]
    assert other.locator(".place").inner_text().startswith("forward 0")


FOCUSED = """() => {
    let at = document.activeElement;
    while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
    if (at === document.body) return null;
    const { outlineStyle, outlineWidth } = getComputedStyle(at);
    return [at.getAttribute("aria-label") || at.labels?.[0]?.innerText || at.innerText || at.id, outlineStyle !== "none" && parseFloat(outlineWidth) >= 2];
}"""


@pytest.mark.browser
def test_every_control_is_reached_by_tab_and_shows_that_it_is(stepped):
    page = stepped(network(), 12)
    seen = {}
    for _ in range(120):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found is None:
            break
        seen[found[0].strip()] = found[1]
    controls = page.locator("button, input, select, summary").evaluate_all("""all => all.filter(each => each.checkVisibility())
        .map(each => (each.getAttribute("aria-label") || each.labels?.[0]?.innerText || each.innerText).trim())""")
    assert len(controls) > 15
    assert set(controls) <= set(seen)
    assert all(seen.values()), [name for name, visible in seen.items() if not visible]


# ── To be read by all ──────────────────────────────────────────────────────────────────────────


def violations(page):
    axe = files("axe_playwright_python") / "axe.min.js"  # the package's own code reads it as the locale has it
    page.evaluate(axe.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run({resultTypes: ['violations']})")  # others in brief
    assert len(found["passes"]) > 8  # the rules have run
    return [(each["id"], node["html"][:200]) for each in found["violations"] for node in each["nodes"]]


@pytest.mark.browser
@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_wrong_in_the_page(stepped, screenshot, look):
    page = stepped(network(), **look)
    page.get_by_text("All steps as text").click()
    page.get_by_label("Show the ledger of a node").select_option(index=3)
    page.get_by_label("Step", exact=True).fill(str(last_step(page) - 1))
    page.get_by_label("Sizes").check()
    page.get_by_label("Quiz").check()
    page.get_by_label("Step forward").click()
    assert page.get_by_label("Your prediction").is_visible()
    assert violations(page) == []
    if not look:  # the colours of the dialog are those of the page
        page.get_by_role("button", name="Keys").click()
        assert violations(page) == []
    screenshot(page, "look-" + "-".join(look.values()))


@pytest.mark.browser
@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_wrong_in_a_phone_and_in_the_table(stepped, browse, look):
    page = stepped(lecture(), 6, width=360, height=740, **look)
    assert violations(page) == []
    page = browse(width=500, **look)  # where the table is wider than the window
    page.set_content(
        '<!doctype html>\n<html lang="en"><title>The backward pass</title>'
        "<style>:root { color-scheme: light dark; background: Canvas }</style><body><main><h1>The backward pass</h1>"
        f"{explain(network().explanation.root, full=True)._repr_html_()}</main></body></html>"
    )
    assert violations(page) == []


def test_axe_would_find_it():
    """The colours of the roles as they were: 4.43 and 4.25 on white."""
    assert contrast("#c8541c", "#ffffff") < 4.5
    assert contrast("#2b7fc4", "#ffffff") < 4.5


def contrast(one, other):
    def luminance(color):
        scale = 1 if color.startswith("color(srgb ") else 255  # as browsers write a color-mix
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)] if color[0] == "#" else [
            float(part) / scale for part in re.findall(r"[\d.]+", color)[:3]
        ]  # fmt: skip
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


# What axe does not see: the fills in a picture. Each text of a node with the ground that it stands on.
GROUNDS = """() => {
    const box = document.querySelector("[id^=steps-]").shadowRoot.querySelector(".box");
    const paper = getComputedStyle(box).backgroundColor, found = [];
    for (const text of box.querySelectorAll(".picture text")) {
        const group = text.closest("g"), fills = [...group.querySelectorAll(":scope > :is(path, polygon)")]
            .map(each => getComputedStyle(each)).filter(({ fill, fillOpacity }) => /^(rgb|color)\\(/.test(fill) && fillOpacity > 0.5);
        const ground = group.matches(".node") && fills.length ? fills[0].fill : paper;
        if (text.textContent.trim() && getComputedStyle(text).opacity > 0) found.push([text.textContent, getComputedStyle(text).fill, ground]);
    }
    return found;
}"""


@pytest.mark.browser
@pytest.mark.parametrize("make", [lecture, network])
@pytest.mark.parametrize("look", LOOKS[:2])
def test_every_text_of_the_picture_stands_out_from_its_ground(stepped, screenshot, make, look):
    page = stepped(make(), **look)
    if page.get_by_label("Level of detail").count():
        page.get_by_label("Level of detail").select_option("every node")
    steps_seen = at_each_step(page, GROUNDS)
    assert len(steps_seen) == last_step(page) + 1
    for s, seen in enumerate(steps_seen):
        for words, ink, ground in seen:
            assert contrast(ink, ground) >= 4.5, (s, words, ink, ground)
    page.get_by_label("Sizes").check()
    tinted = page.evaluate(GROUNDS)
    assert len({ground for _, _, ground in tinted}) > 3
    for words, ink, ground in tinted:
        assert contrast(ink, ground) >= 4.5, (words, ink, ground)
    screenshot(page, f"picture-{make.__name__}-{look.get('color_scheme', 'light')}")


@pytest.mark.browser
@pytest.mark.parametrize("look", LOOKS[:2])
def test_a_role_has_one_colour_in_picture_panel_and_legend(stepped, look):
    page = stepped(lecture(), 6, **look)
    color = "each => getComputedStyle(each).color"
    for role, drawn_as in (("upstream", style.GRADIENT), ("local", style.LOCAL)):
        panel, legend = (page.locator(f"{part} .{role}").first.evaluate(color) for part in (".now", ".legend"))
        inside = page.locator(f".picture text[fill='{drawn_as}']").first.evaluate("each => getComputedStyle(each).fill")
        assert panel == legend == inside
    red, green, blue = map(int, re.findall(r"\d+", page.locator(".legend .upstream").evaluate(color)))
    assert red > max(green, blue)
    red, green, blue = map(int, re.findall(r"\d+", page.locator(".legend .local").evaluate(color)))
    assert blue > max(red, green)


OUTLINE = """each => {
    const { stroke, strokeWidth, strokeDasharray } = getComputedStyle(each.querySelector(":scope > :is(path, polygon):not([fill=none])"));
    return stroke + strokeWidth + strokeDasharray;
}"""


@pytest.mark.browser
def test_forced_colours_keep_the_distinctions(stepped, screenshot):
    page = stepped(lecture(), 6, forced_colors="active")
    page.locator("[id$=-n0]").click()
    outlines = [page.locator(f".picture {each}").first.evaluate(OUTLINE) for each in (
        ".node.active", ".node.receives", ".node.chosen", ".node:not(.active, .receives, .chosen)",
    )]  # fmt: skip
    assert len(set(outlines)) == 4
    lines = {page.locator(f".now .{role}").first.evaluate("e => getComputedStyle(e).textDecoration + getComputedStyle(e).fontWeight")
             for role in ("upstream", "local", "product")}  # fmt: skip
    assert len(lines) == 3
    grounds = {
        page.locator(f".as-{sign}").evaluate("e => getComputedStyle(e).background")
        for sign in ("plus", "minus", "leaf")
    }
    assert len(grounds) == 3  # in the legend
    screenshot(page, "forced-colours")


# ── On paper ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.browser
@pytest.mark.parametrize("make", [lecture, network, row])
def test_printed_on_a4_nothing_is_lost(stepped, screenshot, make):
    page = stepped(make(), 6, color_scheme="dark", width=1280, height=800)
    page.get_by_label("Show the ledger of a node").select_option(index=2)
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 718, "height": 1047})  # A4 without its margins
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    assert page.locator(".box").evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(255, 255, 255)"
    graph, room = drawn(page), page.locator(".picture").bounding_box()
    assert graph["x"] >= 0
    assert graph["x"] + graph["width"] <= 718
    assert graph["height"] <= room["height"] + 1
    for part in (".now", ".account", ".legend"):
        assert page.locator(part).is_visible()
        assert page.locator(part).evaluate(
            "e => e.scrollHeight <= e.clientHeight + 1 && e.scrollWidth <= e.clientWidth + 1"
        )
    assert page.locator(".bars").is_hidden()
    screenshot(page, f"print-{make.__name__}")


@pytest.mark.browser
def test_labels_of_edges_stand_on_the_paper_of_the_page(stepped):
    page = stepped(lecture(), step=9, color_scheme="dark")
    grounds = page.locator(".picture .edge > polygon ~ text").evaluate_all(
        "all => all.map(e => getComputedStyle(e).stroke)"
    )
    assert len(grounds) == 6
    assert set(grounds) == {page.locator(".box").evaluate("e => getComputedStyle(e).backgroundColor")}
