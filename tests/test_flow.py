"""The page in motion: chips along the edges, what is marked, what lights what, and wide layers as pictures."""

import json
import re

import pytest
from graphs import used_twice

import microgradlike
from microgradlike import Value, nn, steps
from microgradlike.nn.losses import quadratic
from microgradlike.notation.digits import format_number
from microgradlike.value import topological_order
from microgradlike.view.explanation import explain

pytestmark = pytest.mark.browser


def square():
    """e·e − 3: two edges between the same nodes, and one from a constant."""
    x = Value(1.5, "x")
    e = x.tanh()
    e.label = "e"
    L = e * e - 3.0
    L.label = "L"
    return L


def network(*sizes, samples=1):
    model = nn.MLP(sizes[0], list(sizes[1:]), "sigmoid", "sigmoid", seed=1)
    total = []
    for n in range(samples):
        a = model([0.3 * i - 0.5 + 0.2 * n for i in range(sizes[0])])
        total.append(quadratic(a if isinstance(a, list) else [a], [0.0] * (sizes[-1] - 1) + [1.0]))
    return total[0] if samples == 1 else microgradlike.sum(total)


@pytest.fixture
def opened(browse, tmp_path):
    def open_steps(loss, hash="", *, reduced_motion="no-preference", **settings):
        path = steps(loss).save(tmp_path / "flow.html")
        return browse(path.as_uri() + hash, reduced_motion=reduced_motion, **settings)

    return open_steps


def text(locator):
    return re.sub(r"\s+", " ", locator.inner_text()).strip()


def ids(page, selector):
    found = page.locator(selector).evaluate_all("all => all.map(e => e.closest('[id]').id)")
    return {id.rsplit("-", 1)[1] for id in found}


IN_SHADOW = "(script) => (new Function('root', script))(document.querySelector('[id^=steps-]').shadowRoot)"


def inside(page, script):
    """The value of a JavaScript that sees the page's shadow root as `root`."""
    return page.evaluate(IN_SHADOW, script)


# ── Item 1: the picture says what the text says ────────────────────────────────────────────────

LIT = """
const lit = (name) => [...root.querySelectorAll(".picture ." + name)].filter(e => !e.closest(".legend"))
  .map(e => [e.id.replace(/^.*-/, ""), [...e.querySelectorAll(":scope > text")].map(t => t.textContent)]);
return JSON.stringify({ active: lit("active"), receives: lit("receives"), along: lit("along"), said: root.querySelector(".now").textContent });
"""


@pytest.mark.parametrize(
    "loss",
    [used_twice(), square(), network(2, 3, 1), network(3, 2, 2, samples=2)],
    ids=["shared", "square", "2-3-1", "two samples"],
)
def test_the_numbers_that_are_lit_are_those_of_the_text_at_every_step_in_every_view(opened, loss):
    it, order = explain(loss), topological_order(loss)
    index = {node: i for i, node in enumerate(order)}
    backward = [step for step in it.steps if step.terms]
    seed = len(backward) + 1
    page = opened(loss, reduced_motion="reduce")
    views = page.get_by_label("Level of detail")
    for name in views.locator("option").all_inner_texts()[:5] if views.count() else [None]:
        if name:
            views.select_option(name)
        page.locator(".picture").focus()
        page.keyboard.press("Home")
        for _ in range(seed):
            page.keyboard.press("ArrowRight")
        for step in backward:
            page.keyboard.press("ArrowRight")
            seen = json.loads(inside(page, LIT))
            upstream = format_number(step.upstream)
            assert upstream in seen["said"]
            terms = [term for term in step.terms if not term.constant]
            last = {f"n{index[term.input]}": format_number(term.after) for term in terms}
            ((id, texts),) = seen["active"]
            if id[0] == "n" or name in (None, "neurons as boxes", "every node"):  # a row, also in a closed neuron
                assert (id, texts[-1]) == (f"n{index[step.node]}", f"∇ {upstream}")
            for id, texts in seen["receives"]:
                if id[0] == "n":
                    assert texts[-1] == f"∇ {last[id]}"
                    assert last[id] in seen["said"]
            along = {f"e{index[step.node]}_{term.position}" for term in step.terms if term.constant}
            assert not along & {id for id, _ in seen["along"]}  # nothing flows to a constant


def test_a_wrong_answer_points_to_an_edge_that_is_drawn_or_to_the_ledger(opened):
    page = opened(network(2, 3, 1), reduced_motion="reduce")
    page.get_by_label("Quiz").check()
    page.get_by_role("button", name="Backward pass").click()
    seen = set()
    for _ in range(11):
        page.get_by_label("Step forward").click()
        page.locator(".now").get_by_role("textbox").fill("123")
        page.keyboard.press("Enter")
        said = text(page.locator(".quiz [role=status]"))
        edge = re.search(r"Look at the edge from (\S+) to (\S+) in the picture", said)
        if edge:
            titles = page.locator(".picture .node > title").all_text_contents()
            assert all(any(title.split(" = ")[0] == name for title in titles) for name in edge.groups())
        else:
            assert re.search(r"Look up ∂\S+ in the ledger of \S+,", said)
        seen.add(bool(edge))
        page.locator(".now").get_by_role("button", name="Show").click()
    assert seen == {True, False}


# ── Item 5: arrows and labels ──────────────────────────────────────────────────────────────────

HEADS = """
const shown = (e) => getComputedStyle(e).display !== "none";
return [...root.querySelectorAll(".picture .edge")].map(e => [e.id.replace(/^.*-/, ""),
  [...e.querySelectorAll(":scope > polygon")].filter(shown).length, [...e.querySelectorAll(":scope > .turned")].filter(shown).length]);
"""


def test_arrows_point_backward_in_the_backward_pass_but_those_from_constants(opened):
    loss = square()
    order = topological_order(loss)
    page = opened(loss, "#step=1")
    assert all((there, back) == (1, 0) for _, there, back in inside(page, HEADS))
    page.get_by_role("button", name="Backward pass").click()
    for id, there, back in inside(page, HEADS):
        i, k = map(int, id[1:].split("_"))
        constant = order[i].inputs[k].op is microgradlike.ops.CONSTANT
        assert (there, back) == ((1, 0) if constant else (0, 1))


def test_the_turned_head_is_at_the_other_end(opened):
    page = opened(used_twice(), "#step=6")
    ends = inside(
        page,
        """return [...root.querySelectorAll(".picture .edge")].map(e => {
        const line = e.querySelector("path[fill=none]"), start = line.getPointAtLength(0);
        const [x, y] = e.querySelector(".turned").getAttribute("d").slice(1).split(" ").map(Number);
        return Math.hypot(x - start.x, y - start.y);
    });""",
    )
    assert ends
    assert max(ends) < 0.01


def test_a_local_derivative_stands_on_its_edge_only_once_it_is_known(opened):
    page = opened(used_twice(), "#step=0")
    for known in range(4):
        shown = inside(
            page,
            """return [...root.querySelectorAll(".picture .edge > text")]
            .filter(e => getComputedStyle(e).opacity !== "0").length;""",
        )
        assert shown == 2 * known
        signs = page.locator(".picture .edge > text").all_text_contents()
        assert sorted(sign.split(" ")[0] for sign in signs) == ["∂₁"] * 3 + ["∂₂"] * 3  # and it is said which it is
        page.keyboard.press("ArrowRight")


# ── Gradients flow ─────────────────────────────────────────────────────────────────────────────

CHIPS = """return [...root.querySelectorAll(".flow .chip")].map(e => [...e.querySelectorAll("text")].map(t => t.textContent).join(" "));"""
SUMS = """return [...root.querySelectorAll(".flow .sum")].map(e => e.textContent);"""
STEP = """root.querySelector(".forth").click(); """


def gradients(page):
    return inside(
        page,
        """return Object.fromEntries([...root.querySelectorAll(".picture .node")].map(e =>
        [e.querySelector(":scope > text").textContent, [...e.querySelectorAll(":scope > text")].at(-1).textContent]));""",
    )


def test_a_chip_with_the_product_travels_along_each_edge_and_joins_the_sum(opened):
    page = opened(used_twice(), "#step=6")
    assert inside(page, STEP + CHIPS) == ["1 × 3 = 3", "1 × -2 = -2"]
    assert (gradients(page)["a"], gradients(page)["b"]) == ("∇ -6", "∇ -6")  # they are still on their way
    page.locator(".flow .sum").nth(1).wait_for()
    assert sorted(inside(page, SUMS)) == ["-6 + -2 = -8", "-6 + 3 = -3"]
    assert inside(page, CHIPS) == []
    assert (gradients(page)["a"], gradients(page)["b"]) == ("∇ -3", "∇ -8")


def test_a_chip_goes_from_the_node_at_work_to_the_one_that_receives(opened):
    page = opened(used_twice(), "#step=4")
    inside(page, STEP)
    where = """const box = (e) => { const { left, width } = e.getBoundingClientRect(); return left + width / 2; };
      const [run] = root.querySelector(".chip").getAnimations(); run.pause(); run.currentTime = TIME;
      return [box(root.querySelector(".chip")), box(root.querySelector(".active")), box(root.querySelector(".receives"))];"""
    start, source, target = inside(page, where.replace("TIME", "1"))
    end, _, _ = inside(page, where.replace("TIME", "600"))
    assert abs(start - source) < abs(start - target)
    assert abs(end - target) < abs(end - source)


def test_two_chips_that_meet_add_up(opened):
    loss = square()
    page = opened(loss, "#step=4")
    it = explain(loss)
    (step,) = [step for step in it.steps if len(step.terms) == 2 and step.terms[0].input is step.terms[1].input]
    first, second = step.terms
    while text(page.locator(".place")) != "backward 1 / 3":
        page.keyboard.press("ArrowRight")
    assert len(inside(page, STEP + CHIPS)) == 2
    page.locator(".flow .sum").wait_for()
    product = format_number(second.product)
    assert inside(page, SUMS) == [f"{format_number(first.after)} + {product} = {format_number(second.after)}"]


def test_stepping_fast_leaves_no_chip_behind(opened):
    page = opened(used_twice(), "#step=4")
    assert inside(page, STEP + STEP + STEP + CHIPS) == ["1 × 3 = 3", "1 × -2 = -2"]  # those of the last step only
    assert inside(page, STEP + CHIPS) is not None
    page.keyboard.press("ArrowLeft")
    assert inside(page, CHIPS) == []
    assert (gradients(page)["a"], gradients(page)["b"]) == ("∇ -6", "∇ -6")
    page.keyboard.press("Home")
    assert inside(page, CHIPS + SUMS) == []
    assert gradients(page)["a"] == "∇ –"


def test_a_pause_holds_the_chips_where_they_are(opened):
    page = opened(used_twice(), "#step=4")
    page.keyboard.press("Space")
    page.locator(".chip").first.wait_for(state="attached")
    page.keyboard.press("Space")
    state = """return [...root.querySelectorAll(".chip")].map(e => e.getAnimations()[0]?.playState);"""
    assert set(inside(page, state)) == {"paused"}
    page.keyboard.press("Space")
    assert set(inside(page, state)) <= {"running"}


@pytest.mark.parametrize("width", [360, 412])
def test_on_a_phone_the_picture_follows_the_products_to_where_they_arrive(opened, width):
    page = opened(used_twice(), "#step=6", width=width, height=740, has_touch=True)
    in_sight = """const room = root.querySelector(".picture").getBoundingClientRect();
      return ["active", "receives"].map(name => [...root.querySelectorAll(".picture .node." + name)].every(e =>
        e.getBoundingClientRect().left >= room.left && e.getBoundingClientRect().right <= room.right));"""
    panel = page.locator(".now").bounding_box()
    assert inside(page, STEP + in_sight)[0]
    page.locator(".flow .sum").nth(1).wait_for()
    page.wait_for_function(f"({IN_SHADOW})({json.dumps(in_sight)})[1]")
    assert page.locator(".now").bounding_box() == panel


def test_chips_on_one_line_stand_beside_each_other_and_on_no_number(opened):
    page = opened(network(2, 3, 1), "#step=14", reduced_motion="reduce")
    tops = page.locator(".chip").evaluate_all("all => all.map(e => e.getBoundingClientRect().top)")
    height = page.locator(".chip rect").first.bounding_box()["height"]
    assert len(tops) == 2 and abs(tops[0] - tops[1]) > 0.9 * height
    shown = page.locator(".along > text").evaluate_all(
        "all => all.map(e => e.checkVisibility({ visibilityProperty: true }))"
    )
    assert shown == [False, False]
    page.keyboard.press("End")
    assert page.locator(".edge > text").evaluate_all("all => all.every(e => !e.closest('.along') === e.checkVisibility("
                                                     "{ visibilityProperty: true }))")  # fmt: skip


def test_who_wants_less_motion_sees_the_chips_stand_on_their_edges(opened):
    page = opened(used_twice(), "#step=6", reduced_motion="reduce")
    assert inside(page, STEP + CHIPS) == ["1 × 3 = 3", "1 × -2 = -2"]
    assert sorted(inside(page, SUMS)) == ["-6 + -2 = -8", "-6 + 3 = -3"]
    assert inside(page, "return root.querySelector('.picture').getAnimations({ subtree: true }).length;") == 0
    assert (gradients(page)["a"], gradients(page)["b"]) == ("∇ -3", "∇ -8")


def test_a_switch_shows_size_and_sign_and_stays_on(opened, screenshot):
    page = opened(used_twice(), "#step=7", reduced_motion="reduce")
    sign = """return Object.fromEntries([...root.querySelectorAll(".picture .node")].map(e =>
      [e.querySelector("text").textContent, [e.classList.contains("plus") - e.classList.contains("minus"), +e.style.getPropertyValue("--size")]]));"""
    page.get_by_label("Sizes").check()
    shown = inside(page, sign)
    assert {name: sign for name, (sign, _) in shown.items()} == {"a": -1, "b": -1, "d": 1, "e": -1, "f": 1}
    assert shown["b"][1] == 1  # the largest
    assert shown["e"][1] > shown["a"][1] > shown["d"][1] > 0
    screenshot(page, "sizes")
    page.keyboard.press("ArrowLeft")
    assert inside(page, sign)["a"][0] == -1
    assert page.get_by_label("Sizes").is_checked()
    page.get_by_label("Sizes").uncheck()
    assert page.locator(".tinted").count() == 0


CONTRASTS = """
  const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const light = (color) => {
    pen.fillStyle = color;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...pen.getImageData(0, 0, 1, 1).data].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  const fill = (e) => light(getComputedStyle(e).fill);
  return [...root.querySelectorAll(".picture .node:is(.plus, .minus)")].flatMap(e => {
    const below = fill(e.querySelector(":scope > :is(path, polygon)[fill]:not([fill=none])"));
    return [...e.querySelectorAll(":scope > text")].map(fill).map(ink => Math.max(ink, below) / Math.min(ink, below));
  });"""


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
@pytest.mark.parametrize("loss", [used_twice(), network(2, 2)])
def test_sizes_are_in_the_link_and_the_legend_and_leave_all_text_readable(opened, loss, color_scheme):
    page = opened(loss, "#step=99", reduced_motion="reduce", color_scheme=color_scheme)
    signs = page.get_by_label("Legend").get_by_text("gradient above 0")
    assert not signs.is_visible()
    page.get_by_label("Sizes").check()
    assert signs.is_visible()
    contrasts = inside(page, CONTRASTS)
    assert len(contrasts) > 6
    assert min(contrasts) >= 4.5
    page.wait_for_function("location.hash.includes('sizes=1')")
    page.reload()
    assert page.get_by_label("Sizes").is_checked()
    assert page.locator(".tinted").count() == 1


@pytest.mark.parametrize("pace", ["1", "4"])
def test_all_chips_arrive_before_the_next_step_is_played(opened, pace):
    page = opened(network(9, 1), "#step=99")
    page.get_by_label("Level of detail").select_option("every node")
    page.get_by_label("Pace").select_option(pace)
    page.get_by_role("button", name="Step back").click()
    ends = inside(
        page,
        STEP
        + """return [...root.querySelectorAll(".chip")].map(e =>
          e.getAnimations()[0].effect.getComputedTiming().endTime);""",
    )
    assert len(ends) == 8
    assert max(ends) < 1200 / float(pace)


# ── Everything linked ──────────────────────────────────────────────────────────────────────────


def test_a_symbol_lights_its_node_or_edge_and_a_node_its_symbols(opened):
    page = opened(used_twice(), "#step=7", reduced_motion="reduce")
    now = page.locator(".now")
    now.locator("b.product", has_text="∂f/∂a").first.hover()
    assert ids(page, ".picture .lit") == {"n0"}
    now.locator("b.local", has_text="∂₂d").first.hover()
    (edge,) = ids(page, ".picture .edge.lit")
    assert edge.endswith("_1")
    page.locator(".picture .node", has_text="∇ -8").hover()
    assert {text(each) for each in now.locator(".lit").all()} >= {"∂f/∂b", "-8"}
    page.mouse.move(2, 2)
    assert page.locator(".lit").count() == 0
    page.locator(".formula [data-node]", has_text="a").first.hover()
    assert "n0" in ids(page, ".picture .node.lit")


def test_the_entries_of_the_matrix_form_light_their_nodes(opened):
    loss = network(3, 2, 2)
    order = topological_order(loss)
    page = opened(loss, "#step=99", reduced_motion="reduce")
    page.get_by_label("Level of detail").select_option("every node")
    names = {f"n{i}": node.label for i, node in enumerate(order)}
    matrix = page.locator(".matrix")
    matrix.locator("figcaption").first.hover()
    assert {names[id] for id in ids(page, ".picture .node.lit")} == {"z¹₁", "z¹₂"}
    matrix.locator(".vectors").nth(1).locator("td").nth(4).hover()
    assert {names[id] for id in ids(page, ".picture .node.lit")} == {"w¹₂₂"}
    symbols = matrix.locator("p.rule [data-node], p.rule [data-edge]")
    assert symbols.all_inner_texts() == ["δ¹", "(w²)ᵀ δ²", "σ′(z¹)", "∂C/∂w¹", "δ¹", "a⁰", "∂C/∂b¹", "δ¹"]
    symbols.nth(1).hover()
    assert {names[id] for id in ids(page, ".picture .node.lit")} == {"a¹₁", "a¹₂"}
    symbols.nth(6).hover()
    assert {names[id] for id in ids(page, ".picture .node.lit")} == {"b¹₁", "b¹₂"}


def test_the_keyboard_walks_from_symbol_to_symbol(opened):
    page = opened(used_twice(), "#step=7", reduced_motion="reduce")
    page.locator(".picture").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator(".picture .node.lit").count() == 1
    said = page.locator("[aria-live=polite]").text_content()
    assert re.search(r"^. = .*∂f/∂. = ", said)
    page.keyboard.press("Enter")
    assert page.locator(".account").is_visible()
    page.locator(".now").focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    assert page.locator(".now .lit").count() > 0
    assert page.locator(".picture .lit").count() > 0


# ── Wide layers as pictures ────────────────────────────────────────────────────────────────────


def test_a_layer_of_fifty_neurons_is_a_picture_with_numbers_under_the_pointer(opened, screenshot):
    loss = network(3, 50, 2)
    it, order = explain(loss), topological_order(loss)
    grads = {step.node.label: format_number(step.upstream) for step in it.steps}
    page = opened(loss, "#step=9999", reduced_motion="reduce")
    page.get_by_label("Layer in focus").select_option("layer 1")
    maps = page.locator(".matrix .heat")
    assert maps.count() == 6  # δ, (w²)ᵀ δ², σ′, ∂C/∂w, ∂C/∂b, w; the input has three numbers
    weights = maps.nth(3)
    canvas = weights.locator("canvas")
    canvas.scroll_into_view_if_needed()
    size = canvas.bounding_box()
    canvas.hover(position={"x": size["width"] * 0.5, "y": size["height"] * 6.5 / 50})  # row 7, column 2
    said, panel = weights.locator(".said").bounding_box(), page.locator(".matrix").bounding_box()
    assert "∂C/∂w¹" in text(weights.locator("xpath=..").locator("figcaption"))
    assert weights.locator("xpath=..").locator("figcaption").bounding_box()["y"] < size["y"]
    assert panel["y"] <= said["y"] <= said["y"] + said["height"] <= panel["y"] + panel["height"]
    label = "w¹₇,₂" if "w¹₇,₂" in grads else "w¹₇₂"
    assert text(weights.locator(".said")) == f"∂C/∂{label} = {grads[label]}"
    canvas.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    label = label.replace("₇", "₈").replace("₂", "₁")
    assert text(weights.locator(".said")) == f"∂C/∂{label} = {grads[label]}"
    assert page.locator("[aria-live=polite]").text_content() == f"∂C/∂{label} = {grads[label]}"
    page.keyboard.press("Enter")
    assert label in text(page.locator(".account h2"))
    screenshot(page, "heat")
    assert len(order) > 300


def test_the_colours_of_a_heat_map_are_those_of_its_scale(opened):
    page = opened(network(2, 50, 1), "#step=9999", reduced_motion="reduce")
    page.get_by_label("Layer in focus").select_option("layer 1")
    loss = network(2, 50, 1)
    delta = [step.upstream for step in explain(loss).forward if step.node.label.startswith("z¹")]
    colours = inside(
        page,
        """const canvas = root.querySelector(".heat canvas");
        return [...canvas.getContext("2d").getImageData(0, 0, 1, canvas.height).data];""",
    )
    rows = [colours[4 * j : 4 * j + 3] for j in range(50)]
    for d, (red, green, blue) in zip(delta, rows, strict=True):
        assert green > red if d > 0 else blue >= green
    largest = max(range(50), key=lambda j: abs(delta[j]))
    assert rows[largest] == ([27, 120, 55] if delta[largest] > 0 else [118, 42, 131])


def test_vectors_stand_in_square_brackets(opened):
    page = opened(network(2, 3, 1), "#step=20")
    borders = inside(
        page,
        """const style = getComputedStyle(root.querySelector(".vector"), "::before");
        return [style.borderLeftWidth, style.borderTopWidth, style.borderBottomWidth, style.borderRightWidth];""",
    )
    assert borders == ["2px", "2px", "2px", "0px"]


def test_every_number_that_changed_is_marked_in_the_picture_and_the_matrix_form(opened):
    page = opened(network(2, 1), "#step=99", reduced_motion="reduce")
    page.get_by_label("Level of detail").select_option("every node")
    marked = """return [...root.querySelectorAll(".edge > text, .picture .node > text, .matrix td")].map(e =>
      [e.closest("g, td").id + e.textContent, e.classList.contains("moved")]);"""
    before = inside(page, marked)
    assert not any(moved for _, moved in before)
    page.get_by_label("b¹₁ as a number").fill("0.75")
    after = inside(page, marked)
    assert len(after) == len(before) > 20
    for (text_before, _), (text_after, moved) in zip(before, after, strict=True):
        assert moved == (text_before != text_after), (text_before, text_after)
    assert 10 < sum(moved for _, moved in after) < len(after)
