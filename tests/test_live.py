"""The page computes both passes by itself: in Chromium it is held against Python, number by number."""

import ast
import json
import math
import random
import struct
from importlib.resources import files
from itertools import product
from math import inf, nan
from pathlib import Path

import pytest
from expressions import MORE_FUNCTIONS, evaluate
from graphs import random_graph, used_twice
from oracles import TABLE

from microgradlike import Value, gradient, maximum, nn, operation, ops, steps
from microgradlike.graph import record_again
from microgradlike.ieee import ieee
from microgradlike.notation.digits import format_number
from microgradlike.recording import Choice
from microgradlike.value import topological_order
from microgradlike.view import javascript
from microgradlike.view.explanation import explain

DATA = Path(__file__).parent / "data"
BROWSER = files("microgradlike.view") / "browser"
SPECIAL = (0.0, -0.0, 1.0, -1.0, -2.0, 3.0, -10.0, 0.5, 309.0, 400.0, -1075.0, inf, -inf, nan)


@pytest.fixture
def pure(browse):
    """Calls a function of the scripts that touch no document."""
    page = browse()
    code = "".join(
        (BROWSER / f"{name}.js").read_text(encoding="utf-8") for name in ("digits", "arithmetic", "engine", "passes")
    )
    page.add_script_tag(content=code + "function evaluated(text) { return (0, eval)(text); }")
    return page.evaluate


def ulps(a, b):
    """|a − b| in units in the last place; infinite where only one of them is a number, or a zero has another sign."""
    if a == b or (a != a and b != b):
        return 0 if a or math.copysign(1, a) == math.copysign(1, b) else inf
    return abs(a - b) / math.ulp(b) if math.isfinite(a) and math.isfinite(b) else inf


def points(row, rng):
    """The points of the table, kinks, special numbers, and random ones of all magnitudes."""
    sizes = {len(point) for point in row.points}
    fixed = [*row.points, *(point for point, _ in row.kinks)]
    special = [point for n in sizes for point in (product(SPECIAL, repeat=n) if n < 3 else [(x,) * n for x in SPECIAL])]
    anywhere = [
        tuple(rng.choice((-1, 1)) * 10 ** rng.uniform(-reach, reach) for _ in range(n))
        for n in sizes
        for reach in (1, 3, 300)
        for _ in range(30)
    ]
    return [*fixed, *special, *anywhere]


@pytest.mark.browser
@pytest.mark.parametrize("row", [pytest.param(row, id=str(row)) for row in TABLE])
def test_a_rule_computes_in_the_browser_what_it_computes_in_python(pure, row):
    cases = points(row, random.Random(str(row)))
    sizes = sorted({len(point) for point in cases})
    rules = javascript.script(javascript.function_of(row.op, n) for n in sizes)
    answers = pure(
        f"cases => {{ const rules = {rules}; return cases.map(x => rules[{sizes}.indexOf(x.length)](...x)); }}", cases
    )
    for point, (got, *slopes) in zip(cases, answers, strict=True):
        y = row.op.evaluate(ieee, point)
        expected = [y, *row.op.differentiate(ieee, y, point)]
        # exp(xᵢ − y) shows a last place of y times y
        bound = 4 * max(1, abs(y)) if row.op is ops.LOGSUMEXP and math.isfinite(y) else 4
        for one, other in zip((got, *slopes), expected, strict=True):
            assert ulps(one, other) <= bound, f"{row} at {point}: {one} in the browser, {other} in Python"


# ── How numbers are written and read ────────────────────────────────────────────────────────────


def floats(rng, n):
    """Numbers of all magnitudes, halves between two printed numbers, and integers about ten millions."""
    bits = (struct.unpack("d", rng.randbytes(8))[0] for _ in range(n))
    digits = (rng.randrange(10**5) * 10.0 ** rng.randrange(-9, 12) for _ in range(n))
    halves = (rng.randrange(1000, 10**4) * 2**k + 2**k / 2 for k in range(-12, 30) for _ in range(n // 40))
    whole = (float(10**k + d) for k in range(9) for d in (-2, -1, 0, 1, 2))
    near = (math.nextafter(10.0**k, to) for k in range(-8, 9) for to in (0, inf))
    all_of_them = [*bits, *digits, *halves, *whole, *near, 5e-324, 1.7976931348623157e308, 0.0, inf, nan]
    return [sign * x for x in all_of_them for sign in (1, -1)]


@pytest.mark.browser
def test_a_number_is_written_as_python_writes_it_and_reads_back_exactly(pure):
    numbers = floats(random.Random(0), 1500)
    written = pure("numbers => numbers.map(formatNumber)", numbers)
    assert [(x, text) for x, text in zip(numbers, written, strict=True) if text != format_number(x)] == []
    exact = pure("numbers => numbers.map(writeNumber)", numbers)
    for x, text, back in zip(numbers, exact, pure("texts => texts.map(readNumber)", exact), strict=True):
        assert same_bits(float(text), x) and same_bits(float(back), x), text


def same_bits(a, b):
    return (a != a and b != b) or (a == b and math.copysign(1, a) == math.copysign(1, b))


TYPED = {
    "−2": -2.0, " 0,5 ": 0.5, ".5": 0.5, "3.": 3.0, "+7": 7.0, "1e400": inf, "-1E400": -inf, "2e−3": 2e-3, "-0": -0.0, "nan": nan,
    "inf": inf, "-Infinity": -inf, "∞": inf, "−∞": -inf, "1e-400": 0.0,
    "": None, "-": None, ".": None, "1e": None, "0x10": None, "1_000": None, "1,5,5": None, "1.000,5": None, "two": None, "1 2": None,
    "__proto__": None, "constructor": None, "--1": None,
}  # fmt: skip


@pytest.mark.browser
def test_what_somebody_types_is_a_number_or_none(pure):
    read = pure("texts => texts.map(readNumber)", list(TYPED))
    for text, number in zip(TYPED, read, strict=True):
        expected = TYPED[text]
        assert number is expected if expected is None else same_bits(number, expected), text


# ── Whole graphs ────────────────────────────────────────────────────────────────────────────────


def live(result):
    """The page's passes of a graph, as an expression in JavaScript."""
    return f"readPasses({json.dumps(result.data)}, {javascript.script(result.rules.values())})"


MOVED = """([passes, leaves]) => {
    passes = evaluated(passes);
    passes.move(new Map(leaves));
    return passes.nodes.map((node, i) => [node.value, passes.gradientValue(i, passes.last)]);
}"""


def close(got, expected, bound):
    """Whether they differ by a few units in the last place of the largest number that took part."""
    return (
        same_bits(got, expected) or got == expected or abs(got - expected) <= bound * math.ulp(max(1.0, abs(expected)))
    )


CASES = [
    case
    for name in ("edge_cases", "more_edges")
    for case in json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))["cases"]
]


@pytest.mark.browser
def test_at_edges_the_page_computes_what_python_computes(pure):
    """Recorded with tame numbers, and then moved to the edge."""
    for case in CASES:
        tree = ast.parse(case["expr"], mode="eval").body
        edge = [float(x) for x in case["inputs"]]

        def record(numbers, tree=tree):
            leaves = [Value(x, name) for x, name in zip(numbers, "xyz", strict=False)]
            return leaves, evaluate(tree, dict(zip("xyz", leaves, strict=False)), MORE_FUNCTIONS)

        leaves, output = record([0.3 + 0.2 * i for i in range(len(edge))])
        result = steps(output)
        place = {node: i for i, node in enumerate(result.order)}
        there, wanted = record(edge)
        wanted.backward()
        moves = [[place[leaf], x] for leaf, x in zip(leaves, edge, strict=True) if leaf in place]
        answers = pure(MOVED, [live(result), moves])
        got = [answers[place[output]][0], *(answers[place[leaf]][1] for leaf in leaves if leaf in place)]
        expected = [wanted.data, *(now.grad for leaf, now in zip(leaves, there, strict=True) if leaf in place)]
        assert all(ulps(a, b) <= 4 or a == b == 0 for a, b in zip(got, expected, strict=True)), (
            case["id"],
            got,
            expected,
        )


def branching(rng):
    """A graph with kinks and a derivative in it: what it computes, and whether it chooses, depends on the leaves."""
    x, y, w = (Value(rng.uniform(-2, 2), name) for name in "xyw")
    z = maximum(x * w, y).leaky_relu(0.1) + (x - y).relu() * abs(w) + nn.losses.quadratic([x * x, x], [y, w])
    slope, other = gradient(z, [x, w])
    return z * slope + other * y


@pytest.mark.browser
@pytest.mark.parametrize("seed", range(6))
def test_choices_follow_the_numbers(pure, seed):
    rng = random.Random(seed)
    loss = branching(rng)
    result = steps(loss)
    leaves = [(i, node) for i, node in enumerate(result.order) if node.op is ops.LEAF]
    assert any(isinstance(node, Choice) for node in result.order)
    for _ in range(8):
        numbers = {node: rng.choice([rng.uniform(-2, 2), 0.0, 1.0]) for _, node in leaves}
        again = record_again(loss, numbers)
        explained = explain(again)
        answers = pure(MOVED, [live(result), [[i, numbers[node]] for i, node in leaves]])
        assert close(answers[len(result.order) - 1][0], again.data, 8)
        there = {step.name: step.upstream for step in explained.steps}
        for i, node in leaves:
            assert close(answers[i][1] or 0.0, there.get(node.label, 0.0), 64), node.label


@pytest.mark.browser
def test_every_node_of_a_random_graph_follows(pure):
    rng = random.Random(1)
    for _ in range(8):
        loss, _ = random_graph(rng)
        if len(topological_order(loss)) > 400:
            continue
        result = steps(loss)
        numbers = {node: rng.uniform(-1, 1) for node in result.order if node.op is ops.LEAF and rng.random() < 0.5}
        again = record_again(loss, numbers)
        order = topological_order(again)
        upstream = {step.node: step.upstream for step in explain(again).steps}
        answers = pure(MOVED, [live(result), [[i, numbers[v]] for i, v in enumerate(result.order) if v in numbers]])
        for node, (value, grad) in zip(order, answers, strict=True):
            assert value == pytest.approx(node.data, rel=1e-11, abs=1e-12, nan_ok=True)
            assert grad == pytest.approx(upstream[node], rel=1e-9, abs=1e-10, nan_ok=True)
        # back as recorded, to the last bit
        recorded = pure(MOVED, [live(result), []])
        upstream = {step.node: step.upstream for step in explain(loss).steps}
        assert all(
            same_bits(v, n.data) and same_bits(g, upstream[n]) for n, (v, g) in zip(result.order, recorded, strict=True)
        )


gelu = operation(
    "gelu",
    lambda xp, x: x * xp.sigmoid(1.702 * x),
    lambda xp, y, x: xp.sigmoid(1.702 * x) + y * xp.sigmoid(-1.702 * x) * 1.702,
)
hinge = operation(
    "hinge",
    lambda xp, *x: xp.max(x) + xp.where((x[0] > 0) & (x[-1] <= 1), xp.power(x[0], 2), abs(x[0]) ** 3 / 2),
    lambda xp, y, *x: [xp.where(each, each, 1.0 - each) for each in x],
)
outside = operation("outside", lambda xp, x: math.exp(x), lambda xp, y, x: y)
branches = operation("branches", lambda xp, x: x if x > 0 else 0.0, lambda xp, y, x: 1.0 if x > 0 else 0.0)


@pytest.mark.browser
def test_your_own_operation_runs_in_the_page_where_it_keeps_to_the_namespace(pure):
    for record, starts, numbers in [
        (gelu, [0.5], [-1.5]),
        (hinge, [0.1, 0.2, -3.0], [nan, -0.7, 2.0]),
        (hinge, [1.0], [-2.0]),
    ]:
        leaves = [Value(x, f"x{i}") for i, x in enumerate(starts)]
        loss = record(*leaves)
        result = steps(loss)
        answers = pure(MOVED, [live(result), list(enumerate(numbers))])
        again = record(*map(Value, numbers))
        assert ulps(answers[-1][0], again.data) <= 4
        assert all(ulps(got, d) <= 4 for (_, got), d in zip(answers, again.local_grads, strict=False))


@pytest.mark.parametrize("record", [outside, branches])
def test_a_rule_outside_the_namespace_is_not_written(record):
    op = record(Value(1.0)).op
    with pytest.raises((TypeError, ValueError)):
        javascript.function_of(op, 1)
    result = steps(record(Value(1.0, "x")) * Value(2.0))
    assert [node.get("only") for node in result.data["nodes"] if "inputs" in node] == [op.name, None]


@pytest.mark.browser
def test_a_leaf_under_a_rule_outside_the_namespace_keeps_its_number_and_the_page_says_why(browse, tmp_path):
    x, w = Value(1.0, "x"), Value(2.0, "w")
    loss = outside(x) * w
    page = browse(steps(loss).save(tmp_path / "f.html").as_uri() + "#step=3&n0=5&n2=7")
    assert page.get_by_label("x as a number").is_disabled()
    assert (
        "x keeps its number: v₁ depends on it, and the rule of outside runs in Python only."
        in page.locator(".leaves").inner_text()
    )
    page.get_by_label("w as a number").fill("-1")
    assert format_number(-math.e) in page.locator(".picture").text_content()


# ── The page ────────────────────────────────────────────────────────────────────────────────────


def network():
    model = nn.MLP(2, [3, 1], "relu", "sigmoid", seed=1)
    return nn.losses.quadratic([model([0.4, -0.7])], [1.0])


SHOWN = """page => [...page.shadowRoot.querySelectorAll(".picture .node > text, .now, .account > :first-child, .matrix")]
    .map(each => each.textContent.replace(/\\s+/g, " "))"""


EVERY_STEP = f"""(page, steps) => Array.from({{ length: steps }}, () => {{
    const now = ({SHOWN})(page);
    page.shadowRoot.querySelector(".forth").click();
    return now;
}})"""


def host(page):
    return page.locator("div[id^=steps-]")


def shown(page):
    return host(page).evaluate(SHOWN)


@pytest.mark.browser
@pytest.mark.parametrize("make", [used_twice, network])
def test_with_other_numbers_the_page_shows_what_a_page_recorded_with_them_shows(browse, tmp_path, make):
    loss = make()
    rng = random.Random(0)
    leaves = {i: v for i, v in enumerate(topological_order(loss)) if v.op is ops.LEAF}
    numbers = {v: round(rng.uniform(-2, 2), 2) for v in leaves.values()}
    again = record_again(loss, numbers)
    place = f"#step=0&node={max(leaves)}" + "".join(f"&n{i}={numbers[v]}" for i, v in leaves.items())
    moved = browse(steps(loss).save(tmp_path / "moved.html").as_uri() + place)
    fresh = browse(steps(again).save(tmp_path / "fresh.html").as_uri() + f"#step=0&node={max(leaves)}")
    number_of_steps = 2 * sum(bool(v.inputs) for v in topological_order(loss)) + 2
    then = f"recorded: {format_number(leaves[max(leaves)].data)}"
    assert then in "".join(shown(moved))
    every_step, expected = (host(page).evaluate(EVERY_STEP, number_of_steps) for page in (moved, fresh))
    for step, (ours, theirs) in enumerate(zip(every_step, expected, strict=True)):
        assert [text.replace(then, "") for text in ours] == theirs, step
    assert moved.locator(".picture text.moved").count() > 0
    assert fresh.locator(".moved").count() == 0


@pytest.mark.browser
def test_a_leaf_is_dragged_and_typed_and_marked_until_all_is_as_recorded(browse, tmp_path, screenshot):
    page = browse(steps(used_twice()).save(tmp_path / "f.html").as_uri() + "#step=7")
    before, picture = shown(page), page.locator(".picture")
    slider = page.get_by_label("a", exact=True)
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    a = float(page.get_by_label("a as a number").input_value())
    assert 1.5 < a < 2.5
    assert format_number(a * 3 * (a + 3)) in picture.text_content()
    assert "was -2" in page.locator(".number").first.inner_text()
    assert picture.locator(".node > text.moved").count() == 8  # all but the number of b and the seed
    assert picture.locator(".edge > text.moved").count() == 3  # ∂₂d = a, ∂₁f = e, ∂₂f = d
    typed = page.get_by_label("a as a number")
    typed.fill("−0,5")
    assert format_number(-0.5 * 3 * 2.5) in picture.text_content()
    for wrong in ("", "two", "1e"):
        typed.fill(wrong)
        assert typed.get_attribute("aria-invalid") == "true"
        assert "a number, such as" in page.locator(".number").first.inner_text()
        assert format_number(-0.5 * 3 * 2.5) in picture.text_content()
    typed.fill("1.2345678901234567e-300")
    page.get_by_label("b as a number").click()
    assert typed.input_value() == "1.2345678901234568e-300"
    assert typed.evaluate("e => e.scrollWidth <= e.clientWidth")
    screenshot(page, "moved")
    typed.fill("1e400")
    assert "∇ inf" in picture.text_content()
    page.get_by_label("Give all leaves their recorded numbers").click()
    assert shown(page) == before
    assert page.locator(".moved").count() == 0


@pytest.mark.browser
def test_a_page_steps_through_branches_that_were_not_taken(browse, tmp_path):
    loss = branching(random.Random(3))
    leaves = {i: v for i, v in enumerate(topological_order(loss)) if v.op is ops.LEAF}
    numbers = dict(zip(leaves.values(), (1.5, -0.5, -2.0), strict=True))
    again = record_again(loss, numbers)
    assert len(topological_order(again)) != len(topological_order(loss))  # it takes others
    page = browse(
        steps(loss).save(tmp_path / "f.html").as_uri() + "#" + "&".join(f"n{i}={numbers[v]}" for i, v in leaves.items())
    )
    said = "".join("".join(texts) for texts in host(page).evaluate(EVERY_STEP, 2 * len(topological_order(loss))))
    assert "it is on a branch that is not taken" in said
    assert "hands on ∂L/∂L = 1" in said
    upstream = {step.name: step.upstream for step in explain(again).steps}
    for i, leaf in leaves.items():
        drawn = page.locator(f"[id$=-n{i}]").first.text_content()
        assert f"∇ {format_number(upstream[leaf.label])}" in drawn
    assert page.locator(".edge.unknown").count() > 0


@pytest.mark.browser
def test_the_quiz_asks_for_the_numbers_that_stand_there(browse, tmp_path):
    page = browse(steps(used_twice(), quiz=True).save(tmp_path / "f.html").as_uri() + "#step=4&n0=4")
    page.get_by_label("Step forward").click()
    page.locator(".now").get_by_role("textbox").fill("7")  # ∂f/∂d = e = a + b
    page.keyboard.press("Enter")
    answer = page.locator(".now").inner_text()
    assert "Right" in answer


# ── The address ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.browser
def test_a_link_restores_what_was_shown(browse, tmp_path):
    url = steps(network()).save(tmp_path / "net.html").as_uri()
    page = browse(url)
    page.get_by_label("Level of detail").select_option("every node")
    page.get_by_label("Show the ledger of a node").select_option("w¹₂₁")
    page.get_by_text("What if a leaf").click()
    page.get_by_label("w¹₂₁ as a number", exact=True).first.fill("0.1234567890123456789")
    page.get_by_label("w¹₁₁ as a number", exact=True).fill("-1e-7")
    page.get_by_label("b¹₁ as a number", exact=True).fill("-0")
    page.get_by_role("button", name="Backward pass").click()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.get_by_label("Layer in focus").select_option("layer 1")
    page.get_by_label("Step forward").click()
    page.wait_for_function("location.hash.includes('n')")
    page.wait_for_timeout(400)
    assert "=0.12345678901234568" in page.url
    assert "=-1e-7" in page.url
    other = browse(page.url)
    assert shown(other) == shown(page)
    assert other.get_by_label("Level of detail").evaluate("e => e.selectedOptions[0].text") == "every node"
    assert other.url == page.url
    page.evaluate("location.hash = ''")  # as the button to go back does
    page.wait_for_function(
        "document.querySelector('div[id^=steps-]').shadowRoot.querySelector('.place').value.startsWith('forward 0')"
    )
    assert page.locator(".moved").count() == 0


@pytest.mark.browser
def test_the_link_is_copied(browse, tmp_path):
    page = browse(
        steps(used_twice()).save(tmp_path / "f.html").as_uri() + "#step=5",
        permissions=["clipboard-read", "clipboard-write"],
    )
    page.get_by_label("a as a number").fill("1.5")
    page.get_by_role("button", name="Copy what is shown").click()
    page.get_by_text("Copied").wait_for()  # the clipboard answers later
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.endswith("f.html#step=5&n0=1.5")
    assert shown(browse(link)) == shown(page)


HOSTILE = [
    "#", "#step", "#step=", "#step=-1", "#step=1e9", "#step=99999999999999999999", "#step=NaN&view=x&node=&layer=2", "#=&&&==&",
    "#%E0%A4%A", "#n0=<img src=x onerror=alert(1)>", "#n0=%22", "#n0", "#n0=&n99=1&n-1=2&n4=7&n2=nonsense", "#view=7&node=5000",
    "#__proto__=1&constructor=2&n__proto__=3", "#node=__proto__", "#step=0x3", "#n0=0x10&step=1 2", "#" + "n0=1&" * 20000, "#step=3#step=4",
]  # fmt: skip


@pytest.mark.browser
def test_a_hash_that_means_nothing_changes_nothing(browse, tmp_path):
    url = steps(used_twice()).save(tmp_path / "f.html").as_uri()
    page = browse(url)
    begin = shown(page)
    for hash in HOSTILE:
        page.evaluate("hash => { location.hash = hash; }", hash)
        page.wait_for_timeout(20)
        if "n0=1&" not in hash and "9999" not in hash and "1e9" not in hash:
            assert shown(page) == begin, hash[:60]
    page.evaluate("location.hash = '#step=99999999'")
    page.wait_for_timeout(20)
    assert page.locator(".place").inner_text() == "backward 3 / 3"
    assert shown(browse(url + "#n0=nan&n1=-inf&step=7")) != begin


@pytest.mark.browser
def test_in_a_notebook_the_state_is_copied_and_pasted(browse):
    page = browse()
    page.set_content("<title>a</title>" + steps(used_twice())._repr_html_() + steps(network())._repr_html_())
    first = page.locator(".box").first
    first.get_by_label("a as a number").fill("0.25")
    first.get_by_role("button", name="Backward pass").click()
    state = first.get_by_label("What is shown: copy it, or paste another")
    assert state.input_value() == "#step=4&n0=0.25"
    assert page.url == "about:blank"
    state.fill("https://somewhere.org/f.html#step=7&n1=-1")
    state.press("Enter")
    assert state.input_value() == "#step=7&n1=-1"
    assert first.locator(".place").inner_text() == "backward 3 / 3"
    assert "∇ -3" in first.locator(".picture").text_content()  # ∂f/∂a at a = -2, b = -1
