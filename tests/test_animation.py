"""The film of the two passes: what it shows at each moment is what `explain` says, read in a browser."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from microgradlike import Value, ops, steps, topological_order
from microgradlike import sum as sum_of
from microgradlike.notation.digits import format_number
from microgradlike.view import animation, style
from microgradlike.view.explanation import explain
from microgradlike.view.table import text_width

SVG = "{http://www.w3.org/2000/svg}"
PICTURE = Path(__file__).parents[1] / "notebooks/pictures/backward.svg"
VISIBLE = """() => [...document.querySelectorAll("text")].filter(e => e.checkVisibility({ checkOpacity: true }))
    .map(e => e.textContent)"""


def example():
    """The expression at the top of the README."""
    w, x, b = Value(2.0, "w"), Value(3.0, "x"), Value(-5.0, "b")
    z = w * x + b
    a = z.relu()
    e = a - 3
    L = e * e
    z.label, a.label, e.label, L.label = "z", "a", "e", "L"
    return L


@pytest.fixture
def film(browse, tmp_path):
    """A page with the film in it, and a function that winds it to a second and says what text is visible."""

    def play(loss, **settings):
        page = browse(**settings)
        page.set_content(f"<body>{steps(loss).save(tmp_path / 'film.svg').read_text(encoding='utf-8')}")

        def visible(second):
            page.evaluate(
                "ms => document.getAnimations().forEach(each => { each.pause(); each.currentTime = ms; })",
                second * 1000,
            )
            return page.evaluate(VISIBLE)

        return page, visible

    return play


@pytest.mark.browser
def test_every_moment_shows_the_numbers_of_explain(film):
    loss = example()
    it = explain(loss)
    _, visible = film(loss)
    forward = [step for step in it.forward if step.terms]
    backward = [step for step in it.steps if step.terms]
    known = {step.node: format_number(step.data) for step in it.steps if not step.terms}
    constants = [format_number(step.data) for step in it.steps if step.constant]
    edges = []

    def check(second, gradients, *lines):
        texts = visible(second)
        nodes = [step.node for step in it.steps if not step.constant]
        numbers = [known.get(v, "–") for v in nodes] + [f"∇ {gradients.get(v, '–')}" for v in nodes]
        assert sorted(t for t in texts if re.fullmatch(r"(∇ |∂\S )?(–|-?[\d.]+)", t)) == sorted(
            numbers + edges + constants
        )
        assert all(any(line in text for text in texts) for line in lines), texts

    check(0.1, {}, "forward:  the leaves hold their numbers")
    now = animation.START
    for i, step in enumerate(forward, start=1):
        known[step.node] = format_number(step.data)
        edges += [f"∂{'₁₂'[k]} {format_number(term.local_grad)}" for k, term in enumerate(step.terms)]  # from here on
        check(now + 0.1, {}, f"forward {i} of 5:  {step.name} = {step.definition} = {known[step.node]}")
        now += animation.FORWARD
    gradients = {loss: "1"}
    check(now + 0.1, gradients, "backward:  begins with the seed ∂L/∂L = 1")
    now += animation.SEED
    for i, step in enumerate(backward, start=1):
        wanted = [term for term in step.terms if not term.constant]
        head = f"backward {i} of 5:  ∂L/∂{step.name} = {gradients[step.node]}"
        products = ["".join(piece for piece, _ in it.chain_rule(term)) for term in wanted]
        chips = ["".join(piece for piece, _ in it.numbers(term)).partition(" = ")[0] for term in wanted]
        check(now + 0.1, gradients, head, *products, *chips)
        now += animation.MULTIPLY + animation.MOVE
        gradients |= {term.input: format_number(term.after) for term in step.terms}
        sums = ["".join(piece for piece, _ in it.running_sum(term)) for term in wanted]
        check(now + 0.1, gradients, head, *products, *sums, *(["-2 + -2 = -4"] if i == 1 else []))
        now += animation.ADD if any(sums) else animation.ARRIVE
    check(now + 0.1, gradients, "both passes are done: every gradient is there")
    check(animation.TURNS * (now + animation.END) + 1000, gradients, "both passes are done")


@pytest.mark.browser
def test_arrows_point_to_the_inputs_in_the_backward_pass_and_nothing_flows_to_constants(film):
    loss = example()
    page, visible = film(loss)
    heads = """() => [...document.querySelectorAll(".edge")].map(edge => {
        const centre = (id) => { const box = document.getElementById(id).querySelector("path, polygon").getBBox();
          return [box.x + box.width / 2, box.y + box.height / 2]; };
        const away = ([x, y], tip) => Math.hypot(tip.x - x, tip.y - y);
        const [, node] = /^e(\\d+)_/.exec(edge.id), shown = [...edge.querySelectorAll("polygon")]
          .filter(e => e.checkVisibility({ checkOpacity: true })).map(e => e.points[1]);
        return [edge.id, shown.length, shown.map(tip => away(centre("n" + node), tip))];
      })"""
    visible(0.1)
    forward = {id: tips[0] for id, n, tips in page.evaluate(heads) if n == 1}
    visible(animation.START + 5 * animation.FORWARD + 0.1)
    backward = {id: tips for id, _, tips in page.evaluate(heads)}
    constant = {
        f"e{i}_{k}"
        for i, v in enumerate(topological_order(loss))
        for k, u in enumerate(v.inputs)
        if u.op is ops.CONSTANT
    }
    assert len(constant) == 1 and forward.keys() == backward.keys()
    for id, tips in backward.items():
        assert not tips if id in constant else tips[0] > forward[id] + 10
    lit = page.evaluate(
        "[...document.querySelectorAll('.edge')].filter(e => e.querySelector('[stroke=\"#a33c00\"]')).map(e => e.id)"
    )
    assert set(lit) == backward.keys() - constant


@pytest.mark.browser
def test_products_move_along_their_edges_into_the_sum(film):
    loss = example()
    page, visible = film(loss)
    begin = animation.START + 5 * animation.FORWARD + animation.SEED + animation.MULTIPLY
    ways = []
    for share in (0.01, 0.3, 0.6, 0.99):
        visible(begin + share * animation.MOVE)
        ways.append(
            page.evaluate("""() => [...document.querySelectorAll("svg > g > g > g")].filter(e =>
            e.checkVisibility({ checkOpacity: true }) && e.textContent === "-2" && e.querySelector("rect"))
            .map(e => { const box = e.getBoundingClientRect(); return box.x + box.width / 2; })""")
        )
    e = next(i for i, v in enumerate(topological_order(loss)) if v.label == "e")
    box = page.locator(f"#n{e} > path").first.bounding_box()
    assert [len(way) for way in ways] == [2, 2, 2, 2]  # one for each factor of e·e
    for xs in zip(*ways, strict=True):
        assert sorted(xs, reverse=True) == list(xs) and xs[0] > box["x"] + box["width"] + 15
        assert abs(xs[-1] - box["x"] - box["width"]) < 5


@pytest.mark.browser
def test_opened_by_itself_it_stops_under_the_pointer(browse, tmp_path):
    page = browse(steps(example()).save(tmp_path / "film.svg").as_uri())
    assert page.evaluate("document.documentElement.getBoundingClientRect().width") <= 1200  # all of it is seen
    states = "[...new Set(document.getAnimations().map(each => each.playState))].join()"
    page.mouse.move(1190, 890)
    assert page.evaluate(states) == "running"
    page.locator("rect").last.hover(force=True)
    assert page.evaluate(states) == "paused" and animation.HELD in page.evaluate(VISIBLE)
    page.mouse.move(1190, 890)
    assert page.evaluate(states) == "running" and animation.HELD not in page.evaluate(VISIBLE)
    page.keyboard.press("Tab")
    assert page.evaluate(states) == "paused"


@pytest.mark.browser
def test_the_numbers_on_edges_stand_on_white_also_in_a_dark_page(film):
    """A halo, for grounds of pictures come and go; the marks tell local derivatives from data without colour."""
    page, _ = film(example(), reduced_motion="reduce")
    looks = page.locator("g.edge > text").evaluate_all(
        "all => all.map(getComputedStyle).map(({ paintOrder, stroke }) => [paintOrder, stroke])"
    )
    assert looks == [["stroke", "rgb(255, 255, 255)"]] * 9


def test_the_step_that_adds_stands_longest():
    assert min(animation.MULTIPLY + animation.MOVE + animation.ARRIVE, animation.SEED) >= 2.5
    assert animation.MULTIPLY + animation.MOVE + animation.ADD > 4 and animation.END >= 5


def test_every_text_can_be_read_on_every_ground_it_stands_on():
    inks = [style.INK, *animation.INKS.values()]
    for ground in (animation.PANEL, animation.CHIP, animation.ACTIVE, animation.RECEIVES):
        for ink in inks:
            assert contrast(ink, ground["fill"]) >= 4.5, (ink, ground)


def contrast(a, b):
    """The contrast of two colours, as WCAG 2 defines it."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2] + 0.05

    return max(luminance(a), luminance(b)) / min(luminance(a), luminance(b))


@pytest.mark.browser
def test_where_nothing_may_move_the_end_is_shown(film, screenshot):
    page, _ = film(example(), reduced_motion="reduce")
    assert page.evaluate("document.getAnimations().length") == 0
    texts = page.evaluate(VISIBLE)
    assert "∇ -12" in texts
    assert "∇ –" not in texts
    screenshot(page, "film-end")


@pytest.mark.browser
def test_it_plays_in_an_image(browse, tmp_path, screenshot):
    page = browse(steps(example()).save(tmp_path / "film.svg").parent.as_uri())
    page.goto((tmp_path / "film.svg").as_uri())
    (tmp_path / "page.html").write_text("<img src='film.svg'>", encoding="utf-8")
    page.goto((tmp_path / "page.html").as_uri())
    box = page.locator("img").bounding_box()
    assert box["width"] > 300
    first = page.locator("img").screenshot()
    page.wait_for_timeout(2000)
    assert page.locator("img").screenshot() != first
    screenshot(page, "film")


def test_it_is_one_well_formed_file_without_script():
    svg = ElementTree.fromstring(steps_text())
    tags = {element.tag.rpartition("}")[2] for element in svg.iter()}
    assert tags <= {"svg", "g", "title", "path", "polygon", "text", "tspan", "style", "rect"}


@pytest.mark.parametrize("loss", [example, lambda: Value(2.0, "x").exp(), lambda: Value(2.0, "a long name " * 9) * 3])
def test_everything_has_room(loss, tmp_path):
    svg = ElementTree.fromstring(steps(loss()).save(tmp_path / "film.svg").read_text(encoding="utf-8"))
    x, y, width, height = map(float, svg.get("viewBox").split())
    assert (float(svg.get("width")), float(svg.get("height"))) == pytest.approx(
        (animation.SCALE * width, animation.SCALE * height), abs=2
    )
    assert svg[0].tag == f"{SVG}style" and svg.get("style") == "max-width:100%;height:auto"
    panel = next(svg.iterfind(f"{SVG}g/{SVG}rect"))
    left, top, wide, high = (float(panel.get(name)) for name in ("x", "y", "width", "height"))
    assert (left - x, x + width - left - wide) == pytest.approx((4, 4), abs=1) and 0 < y + height - top - high < 10
    lines = svg.findall(f"{SVG}g/{SVG}text")
    for line in lines:
        assert top + animation.SIZE < float(line.get("y")) < top + high - 4
    longest = max(text_width("".join(line.itertext())) for line in lines)
    assert longest * animation.LETTER + 16 <= wide + 1
    assert wide < longest * animation.LETTER + 18 or x == 0  # no wider than the lines, or the picture
    graph = next(svg.iterfind(f"{SVG}g[@id='graph']"))
    chips = [chip for chip in graph.iter(f"{SVG}g") if len(chip) > 1 and chip[0].tag == f"{SVG}rect"]
    nodes = [float(text.get("x")) for text in graph.iterfind(f"{SVG}g/{SVG}text")]
    assert chips and nodes
    for rect, *texts in chips:
        x, y, wide, high = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
        assert (x, y) == pytest.approx((-wide / 2, -high / 2), abs=0.1) and len(texts) * animation.CHIP_LINE < high
        longest = max(text_width("".join(text.itertext())) for text in texts) * animation.CHIP_LETTER
        assert longest + 4 < wide < longest + 12
        assert all(y + animation.CHIP_SIZE - 1 < float(text.get("y")) < -y for text in texts)
    for head in graph.iterfind(f".//{SVG}polygon"):
        assert head.get("points").split()[0] == head.get("points").split()[-1]


def test_a_sum_of_products_stands_under_the_middle_of_its_node():
    graph = next(ElementTree.fromstring(steps_text()).iterfind(f"{SVG}g[@id='graph']"))
    e = max(graph.iterfind(f"{SVG}g[@class='node operation']"), key=lambda node: int(node.get("id")[1:]))
    across = [float(x) for x in re.findall(r"(-?[\d.]+),", e.find(f"{SVG}path").get("d"))]
    places = [float(chip.get("transform")[10:].split(",")[0]) for chip in graph.iterfind(f".//{SVG}g[@transform]")]
    assert min(abs((min(across) + max(across)) / 2 - place) for place in places) < 0.1


def test_boxes_light_up_and_lines_and_heads_of_arrows_take_the_colour_of_what_flows():
    graph = next(ElementTree.fromstring(steps_text()).iterfind(f"{SVG}g[@id='graph']"))
    seen = {"node": set(), "edge": set()}
    for group in graph.iterfind(f"{SVG}g[@class]"):
        for each in group:
            if each.get("stroke") in (animation.ACTIVE["stroke"], animation.RECEIVES["stroke"]):
                seen[group.get("class").split()[0]].add((each.tag.removeprefix(SVG), each.get("fill")))
    assert seen["node"] >= {("path", animation.ACTIVE["fill"]), ("path", animation.RECEIVES["fill"])}
    assert {fill for _, fill in seen["node"]} == {animation.ACTIVE["fill"], animation.RECEIVES["fill"]}
    assert seen["edge"] == {("path", "none"), ("polygon", animation.ALONG["stroke"])}


@pytest.mark.parametrize("turn", [1, 1j, -1])
def test_a_turned_arrow_has_its_head_where_it_began(turn):
    def points(*numbers):
        return " ".join(f"{(turn * p).real:.2f},{(turn * p).imag:.2f}" for p in numbers)

    head = ElementTree.Element(f"{SVG}polygon", {"points": points(20 - 3j, 30, 20 + 3j, 20 - 3j), "stroke": "#123456"})
    line, turned = animation._turned([turn * x for x in (0, 5, 10, 15, 20)], head)
    assert (line.get("d"), line.get("stroke")) == (f"M{points(20)}L{points(30)}", "#123456")
    found = [float(x) for x in re.findall(r"[-\d.]+", turned.get("points"))]
    assert found == [float(x) for x in re.findall(r"[-\d.]+", points(10 + 3j, 0, 10 - 3j, 10 + 3j))]


def test_a_number_gives_way_downwards_to_one_that_it_would_cover():
    nodes = "".join(f'<g id="n{x}" class="node"><path d="M{x},0 L{x},0"/></g>' for x in (0, 4, 200))
    film = animation._Film(f'<svg xmlns="{SVG[1:-1]}">{nodes}</svg>', [1.0, 1.0])
    for x, at in ((0, 0), (4, 0), (200, 0), (4, 1)):
        film.chip(f"n{x}", [("1.5", "sum")], at, moves=False)
    places = [tuple(map(float, chip[0].get("transform")[10:-1].split(","))) for chip in film.chips]
    apart = animation.CHIP_LINE + 4
    assert places == [(0, y := places[0][1]), (4, y + apart), (200, y), (4, y)]


@pytest.mark.parametrize("n", [3, 4, 5, 7])
def test_four_lines_are_shown_or_three_and_how_many_more(n, tmp_path):
    total = sum_of([Value(float(i), f"x{i}") for i in range(n)])
    film = steps(total).save(tmp_path / "film.svg").read_text(encoding="utf-8")
    assert (f"and {n - 3} lines more" in film) == (n > 4)
    assert [i for i in range(n) if f">∂L/∂x{i}<" in film] == [*range(n if n <= 4 else 3)]


def test_a_film_of_a_part_counts_the_steps_that_are_drawn(tmp_path):
    x = Value(0.5, "x")
    film = steps(x.exp().sin().tanh(), depth=1).save(tmp_path / "film.svg").read_text(encoding="utf-8")
    counted = re.findall(r">(\w+ \d+ of \d+): ", film)
    assert list(dict.fromkeys(counted)) == [f"{way} {k} of 2" for way in ("forward", "backward") for k in (1, 2)]


def test_hostile_labels_are_text(tmp_path):
    a = Value(1.0, "</style><script>x")
    svg = ElementTree.fromstring(steps(a * a).save(tmp_path / "a.svg").read_text(encoding="utf-8"))
    assert not [element for element in svg.iter() if element.tag.endswith("script")]
    assert "</style><script>x" in "".join(svg.itertext())


def test_the_film_in_the_readme_is_that_of_the_example():
    film = steps_text()
    assert re.findall(r">([^<>]+)</t", PICTURE.read_text(encoding="utf-8")) == re.findall(r">([^<>]+)</t", film)


def steps_text():
    result = steps(example())
    return animation.animate(result.explanation, result.views[-1][2], {node: i for i, node in enumerate(result.order)})
