"""The page that steps through a graph: driven in a browser, and read against `explain`."""

import json
import random
import re
from importlib.resources import files

import pytest
from graphs import used_twice

import microgradlike
from microgradlike import Value, nn, steps, vectorize
from microgradlike.nn.losses import quadratic
from microgradlike.notation import formula
from microgradlike.notation.digits import format_number
from microgradlike.value import topological_order
from microgradlike.view.explanation import explain
from microgradlike.view.page import MOST_NODES, SCRIPTS, Steps, _shared, _squeeze

BROWSER = files("microgradlike.view") / "browser"


def squares():
    """An input twice in one operation, an unnamed root, a constant, and numbers of many digits."""
    x, y = Value(0.37, "x"), Value(-1.3, "y")
    return (x * x + y * x).tanh() / 3.0 + y.exp() * x


def network(*sizes, activation="sigmoid", output="sigmoid"):
    model = nn.MLP(sizes[0], sizes[1:], activation, output, seed=1)
    a = model([0.3 * i - 0.5 for i in range(sizes[0])])
    return quadratic(a if isinstance(a, list) else [a], [0.0] * (sizes[-1] - 1) + [1.0])


def grid(size):
    """A graph of `size` nodes and no layers."""
    nodes = [Value(0.01 * i + 0.1, f"x{i}") for i in range(size // 3)]
    i = 0
    while len(nodes) < size - 1:
        nodes.append(nodes[i] * nodes[-1] if i % 2 else nodes[i] + nodes[-1])
        i += 1
    return nodes[-1] + nodes[-2]


def by_hand(width, layers):
    """A network written out with + and ×, unlabelled: no boxes help."""
    a = [Value(0.1 * i - 0.3) for i in range(width)]
    for _ in range(layers):
        a = [sum((Value(0.1 * j - 0.2 * k) * x for k, x in enumerate(a)), Value(0.1)).tanh() for j in range(width)]
    return sum(a)


EXPRESSIONS = [
    used_twice,
    squares,
    lambda: network(4, 3, 2),
    lambda: network(2, 2, 1, activation="maxout", output="linear"),
]


def numbered(order):
    """A function that tells where a node stands; `list.index` would compare the numbers in the nodes."""
    place = {node: i for i, node in enumerate(order)}
    return lambda node: place[node]


def number_of_steps(it):
    """The start, a step for each result, the seed, and again one for each result."""
    return 2 * sum(bool(step.terms) for step in it.steps) + 1


def gradients_after(it, backward_steps):
    """What is known of each gradient when the seed and so many steps of the backward pass are done."""
    known = {it.root: "1"}
    for step in [step for step in it.steps if step.terms][:backward_steps]:
        known |= {term.input: format_number(term.after) for term in step.terms}
    return known


NUMBERS = """host => Object.fromEntries([...host.shadowRoot.querySelectorAll(".node")].filter(node => /n\\d+$/.test(node.id)).map(node =>
    [/n(\\d+)$/.exec(node.id)[1], [...node.querySelectorAll(":scope > text")].map(each => each.textContent)]))"""


@pytest.fixture
def stepped(browse, tmp_path):
    def open_steps(
        result, hash="", *, reduced_motion="reduce", **settings
    ):  # numbers stand at once, none is on its way
        return browse(result.save(tmp_path / "steps.html").as_uri() + hash, reduced_motion=reduced_motion, **settings)

    return open_steps


def host(page):
    return page.locator("div[id^=steps-]")


def text(locator):
    return re.sub(r"\s+", " ", locator.inner_text()).strip()


def lit(page, mark):
    return {re.search(r"-(\w+)$", id)[1] for id in page.locator(f".{mark}").evaluate_all("all => all.map(e => e.id)")}


# ── In the browser ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.browser
@pytest.mark.parametrize("make", EXPRESSIONS)
def test_the_keyboard_steps_through_the_numbers_of_explain(stepped, make):
    loss = make()
    it, order = explain(loss), topological_order(loss)
    number = numbered(order)
    page = stepped(steps(loss))
    if page.get_by_label("Level of detail").count():
        page.get_by_label("Level of detail").select_option("every node")
        page.locator(".picture").focus()
    forward = [step for step in it.forward if step.terms]
    backward = [step for step in it.steps if step.terms]
    for s in range(number_of_steps(it) + 1):
        known = gradients_after(it, s - len(forward) - 1) if s > len(forward) else {}
        computed = {step.node for step in forward[:s]}
        shown = host(page).evaluate(NUMBERS)
        for i, node in enumerate(order):
            if node.op is microgradlike.ops.CONSTANT:
                assert shown[str(i)][-1] == format_number(node.data)
                continue
            assert shown[str(i)][-1] == f"∇ {known.get(node, '–')}"
            has_value = not node.inputs or node in computed
            assert shown[str(i)][-2] == (format_number(node.data) if has_value else "–")
        said = text(page.locator(".now"))
        if s > len(forward) + 1:
            step = backward[s - len(forward) - 2]
            assert lit(page, "active") == {f"n{number(step.node)}"}
            terms = [term for term in step.terms if not term.constant]
            assert lit(page, "receives") == {f"n{number(term.input)}" for term in terms}
            assert lit(page, "along") == {f"e{number(step.node)}_{term.position}" for term in terms}
            for term in terms[:8]:
                assert "".join(piece for piece, _ in it.chain_rule(term)) in said
                if term.before is not None:
                    assert " ".join("".join(piece for piece, _ in it.running_sum(term)).split()) in said
                if term.formula:
                    assert f"{formula.local(step.name, term.position)} = {term.formula}" in said
        elif 0 < s <= len(forward):
            assert lit(page, "active") == {f"n{number(forward[s - 1].node)}"}
            assert f"{forward[s - 1].name} = {forward[s - 1].definition}" in said
        page.keyboard.press("ArrowRight")
    assert text(page.locator(".place")) == f"backward {len(backward)} / {len(backward)}"  # the last step is the end


@pytest.mark.browser
def test_the_mouse_the_other_keys_and_links(stepped):
    page = stepped(steps(used_twice()))
    place, slider = page.locator(".place"), page.get_by_label("Step", exact=True)
    assert text(place) == "forward 0 / 3"
    page.get_by_label("Step forward").click()
    page.get_by_label("Step forward").click()
    assert text(place) == "forward 2 / 3"
    page.wait_for_url("**/steps.html#step=2")
    page.get_by_label("Step back").click()
    assert text(place) == "forward 1 / 3"
    page.get_by_role("button", name="Backward pass").click()
    assert text(place) == "backward 0 / 3"
    slider.fill("6")
    assert text(place) == "backward 2 / 3"
    assert "∂f/∂a += ∂f/∂e · ∂₁e" in slider.get_attribute("aria-valuetext")
    page.keyboard.press("ArrowRight")  # the slider's own
    assert text(place) == "backward 3 / 3"
    page.locator(".picture").focus()
    page.keyboard.press("Home")
    assert text(place) == "forward 0 / 3"
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    assert text(place) == "backward 2 / 3"
    page.get_by_label("First step").click()
    assert text(place) == "forward 0 / 3"
    page.evaluate("location.hash = '#step=5'")
    page.wait_for_function(
        "host => host.shadowRoot.querySelector('.place').value === 'backward 1 / 3'", arg=host(page).element_handle()
    )


@pytest.mark.browser
def test_a_link_opens_at_its_step(stepped):
    assert text(stepped(steps(used_twice()), "#step=4").locator(".place")) == "backward 0 / 3"
    assert text(stepped(steps(used_twice()), "#step=400").locator(".place")) == "backward 3 / 3"
    assert text(stepped(steps(used_twice()), "#step=x").locator(".place")) == "forward 0 / 3"


@pytest.mark.browser
def test_the_space_bar_plays_and_pauses(stepped, tmp_path, browse):
    page = browse()
    page.clock.install()
    page.goto(steps(used_twice()).save(tmp_path / "f.html").as_uri())
    page.keyboard.press("Space")
    page.clock.run_for(2500)
    assert text(page.locator(".place")) == "forward 2 / 3"
    page.keyboard.press("Space")
    page.clock.run_for(5000)
    assert text(page.locator(".place")) == "forward 2 / 3"
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(20000)
    assert text(page.locator(".place")) == "backward 3 / 3"
    assert page.get_by_role("button", name="Play").count() == 1  # it has stopped by itself


@pytest.mark.browser
def test_a_click_opens_the_ledger(stepped, screenshot):
    page = stepped(steps(used_twice()), "#step=6")
    page.locator("[id$=-n0]").click()
    ledger = page.locator(".account")
    assert [text(row) for row in ledger.locator("tbody tr").all()] == ["from e -6 × 1 = -6", "from d – × – = –"]
    assert text(ledger.locator("tfoot")) == "sum so far = -6"
    page.keyboard.press("ArrowRight")
    assert [text(row) for row in ledger.locator("tbody tr").all()] == ["from e -6 × 1 = -6", "from d 1 × 3 = 3"]
    assert text(ledger.locator("tfoot")) == "sum so far = -3"
    screenshot(page, "ledger")
    page.get_by_label("Show the ledger of a node").select_option("d")
    assert "∂₁d = b = 3" in text(ledger)
    assert "∂₂d = a = -2" in text(ledger)
    page.get_by_label("Close the ledger").click()
    assert ledger.is_hidden()


@pytest.mark.browser
def test_the_quiz_asks_before_it_shows(stepped, screenshot):
    page = stepped(steps(squares(), quiz=True, tolerance=0.05), "#step=0")
    it = explain(squares())
    page.get_by_role("button", name="Backward pass").click()
    forth, now = page.get_by_label("Step forward"), page.locator(".now")
    forth.click()
    first = it.steps[0].terms[0]
    assert f"∂L/∂{first.name}" in text(now)
    assert "running sum" not in text(now)
    answer = now.get_by_role("textbox")
    assert "∇ ?" in page.locator(".picture").inner_html()
    answer.fill("elephant")
    answer.press("Enter")
    assert "Type a number" in text(now)
    answer.fill(str(first.after * 1.06))
    answer.press("Enter")
    assert "Not yet" in text(now)
    now.get_by_role("button", name="Hint").click()
    assert "Multiply the upstream gradient ∂L/∂L by the local derivative" in text(now)
    now.get_by_role("button", name="Hint").click()
    assert f"{format_number(first.upstream)} × {format_number(first.local_grad)} = ?" in text(now)
    screenshot(page, "quiz")
    answer.fill(str(first.after * 1.04))
    answer.press("Enter")
    assert f"Right: ∂L/∂{first.name} = {format_number(first.after)}" in text(now)
    assert "∇ ?" not in page.locator(".picture").inner_html()
    forth.click()
    forth.click()  # shows rather than skips
    assert "Shown" in text(now)
    assert now.get_by_role("textbox").count() == 0


@pytest.mark.browser
def test_the_quiz_asks_where_a_sum_runs(stepped):
    page = stepped(steps(used_twice()))
    page.get_by_label("Quiz").check()
    page.evaluate("location.hash = '#step=6'")
    page.get_by_label("Step forward").click()
    assert "Predict ∂f/∂b (so far -6)" in text(page.locator(".now"))
    page.locator(".now").get_by_role("textbox").fill("−8")  # a minus as it is printed
    page.keyboard.press("Enter")
    assert "Right: ∂f/∂b = -8" in text(page.locator(".now"))


@pytest.mark.browser
def test_neurons_and_layers_open_and_close(stepped, screenshot):
    page = stepped(steps(network(4, 3, 2)))
    boxes, detail = page.locator(".node.group"), page.get_by_label("Level of detail")

    def closed():
        return [text.strip() for text in boxes.locator("text").all_text_contents() if "▸" in text]

    assert sorted(closed()) == sorted([f"neuron {j} ▸" for j in (1, 2, 3)] + [f"neuron {j} ▸" for j in (1, 2)])
    screenshot(page, "network-closed")
    order = topological_order(network(4, 3, 2))
    label = {node.label: f"n{i}" for i, node in enumerate(order)}
    page.locator(".node.group > text").filter(has_text="neuron 2 ▸").last.click()
    assert len(closed()) == 4
    opened = {each for each in label if page.locator(f"[id$=-{label[each]}]").count()}
    assert {"z²₂", "a²₂", "w²₂₁", "b²₂"} <= opened or {"z¹₂", "a¹₂", "w¹₂₁", "b¹₂"} <= opened
    assert {"z²₁", "a²₁", "z¹₁", "a¹₁"} <= opened and not {"w²₁₁", "b²₁", "w¹₁₁", "b¹₁"} & opened
    screenshot(page, "network-one-neuron-open")
    page.locator(".cluster > text").filter(has_text="neuron 2").click()
    assert len(closed()) == 5
    page.locator(".cluster > text").filter(has_text="layer 1").click()
    assert "layer 1 ▸" in closed()
    page.locator(".node.group > text").filter(has_text="layer 1 ▸").click()
    assert "layer 1 ▸" not in closed()
    detail.select_option("layers as boxes")
    assert closed() == ["layer 1 ▸", "layer 2 ▸"]
    screenshot(page, "network-layers")
    detail.select_option("every node")
    assert closed() == []
    assert all(page.locator(f"[id$=-{label[each]}]").count() == 1 for each in label if each)
    page.get_by_role("button", name="Backward pass").click()
    screenshot(page, "network-open")


@pytest.mark.browser
@pytest.mark.parametrize("width, height", [(360, 740), (1280, 800), (1920, 1080)])
def test_what_is_outside_the_layer_of_a_box_that_opens_stays_where_it_is(stepped, width, height):
    page = stepped(steps(network(4, 3, 2)), width=width, height=height)
    places = """() => Object.fromEntries([...document.querySelector("[id^=steps-]").shadowRoot.querySelectorAll(
        ".picture .node:not(.more)")].map(e => [e.querySelector(":scope > text").textContent + e.id, e.getBoundingClientRect()]).map(([name, box]) =>
        [name, [box.left + box.width / 2, box.top + box.height / 2]]))"""
    before = page.evaluate(places)
    page.locator(".node.group > text").filter(has_text="neuron 2 ▸").first.dispatch_event("click")
    after = page.evaluate(places)
    common = before.keys() & after.keys()
    moved = {name for name in common if after[name] != pytest.approx(before[name], abs=2)}
    assert len(common) > 15 and {name.split("-")[0][:3] for name in moved} <= {
        "z¹₁",
        "a¹₁",
        "z¹₂",
        "a¹₂",
        "z¹₃",
        "a¹₃",
        "neu",
    }
    assert all(after[name][0] == pytest.approx(before[name][0], abs=2) for name in moved)  # within their column
    assert sum(name.startswith("neuron") for name in moved) == 2  # its neighbours gave way


@pytest.mark.browser
def test_a_closed_box_shows_the_z_and_the_a_that_a_step_is_about(stepped):
    loss = network(4, 3, 2)
    it, order = explain(loss), topological_order(loss)
    number = numbered(order)
    backward = [step for step in it.steps if step.terms]
    page = stepped(steps(loss))
    for at, step in enumerate(backward, start=1):
        page.evaluate(f"location.hash = '#step={len(backward) + 1 + at}'")
        page.locator(".place").filter(has_text=f"backward {at} /").wait_for()
        if step.node.label[:1] in "za" and step.node.label:
            i = number(step.node)
            before = "a" if step.node.label[0] == "z" else "z"
            inputs = {number(term.input): term for term in step.terms if term.input.label[:1] == before}
            assert lit(page, "active") == {f"n{i}"}
            assert {id for id in lit(page, "receives") if id[0] == "n"} == {f"n{k}" for k in inputs}
            assert lit(page, "along") >= {f"e{i}_{term.position}" for term in inputs.values()}
            shown = host(page).evaluate(NUMBERS)
            known = gradients_after(it, at)
            assert all(shown[str(k)][-1] == f"∇ {known[term.input]}" for k, term in inputs.items())


@pytest.mark.browser
@pytest.mark.parametrize("activation, output", [("sigmoid", "sigmoid"), ("tanh", "linear"), ("relu", "softmax")])
def test_the_matrix_form_shows_the_gradients_of_the_z_nodes(stepped, screenshot, activation, output):
    loss = network(4, 3, 2, activation=activation, output=output)
    it, order = explain(loss), topological_order(loss)
    grads = {step.node.label: format_number(step.upstream) for step in it.steps}
    page = stepped(steps(loss), f"#step={number_of_steps(it)}")
    page.get_by_label("Level of detail").select_option("every node")
    for layer, neurons, name in ((1, "₁₂₃", "¹"), (2, "₁₂", "²")):
        page.get_by_label("Layer in focus").select_option(f"layer {layer}")
        matrix = page.locator(".matrix")
        vectors = [
            list(figure.locator("td").all_text_contents())
            for figure in matrix.locator(".vectors").first.locator("figure").all()
        ]
        delta = [grads[f"z{name}{j}"] for j in neurons]
        assert vectors[0] == delta
        if len(vectors) > 1:
            assert vectors[1] == [grads[f"a{name}{j}"] for j in neurons]
        if len(vectors) > 2:
            slopes = {step.node.label: step.terms[0].local_grad for step in it.steps if step.terms}
            assert vectors[2] == [format_number(slopes[f"a{name}{j}"]) for j in neurons]
        z = {f"n{i}" for i, node in enumerate(order) if node.label in {f"z{name}{j}" for j in neurons}}
        matrix.locator("figcaption").first.hover()
        assert lit(page, "node.lit") == z
        screenshot(page, f"matrix-{output}-{layer}")
        page.mouse.move(5, 5)
        assert lit(page, "node.lit") == set()
    equations = {"sigmoid": "δ² = ∇ₐC ⊙ σ′(z²)", "linear": "δ² = ∂C/∂z²", "softmax": "δ² = Jᵀ ∇ₐC, J = ∂a²/∂z²"}
    assert equations[output] in text(matrix)
    assert ("= Jᵀ" in matrix.locator(".vectors").first.inner_text()) == (output == "softmax")
    page.get_by_label("Layer in focus").select_option("layer 1")
    assert "δ¹ = (w²)ᵀ δ² ⊙ σ′(z¹)" in text(matrix)


@pytest.mark.parametrize(
    "activation, output, equation",
    [
        ("tanh", "sigmoid", "δ² = ∇ₐL ⊙ σ′(z²)"),
        ("relu", "linear", "δ² = ∂L/∂z²"),
        ("sigmoid", "softmax", "δ² = Jᵀ ∇ₐL,  J = ∂a²/∂z²"),
    ],
)
def test_the_matrix_form_names_the_nodes_that_hold_its_numbers(activation, output, equation):
    model = nn.MLP(2, [3, 2], activation, output, seed=1)
    losses = [quadratic(model(x), [0.0, 1.0]) for x in ([0.5, -1.0], [1.0, 2.0])]
    loss = microgradlike.sum(losses)
    loss.label = "L"
    order, upstream = topological_order(loss), {step.node: step.upstream for step in explain(loss).steps}
    layers = steps(loss).data["layers"]
    assert [form["name"] for form in layers] == ["layer 1", "layer 2"]
    assert [form["equation"] for form in layers] == ["δ¹ = (w²)ᵀ δ² ⊙ σ′(z¹)", equation]
    for layer, form, size in zip("¹²", layers, (3, 2), strict=True):
        labels = [[f"z{layer}{j}"] * 2 for j in "₁₂₃"[:size]]
        z, a = ([[order[i] for i in row] for row in form.get(name, [])] for name in ("errors", "outputs"))
        linear = form["equation"].endswith("∂L/∂z²")
        assert [[node.label for node in row] for row in z] == labels
        assert [[node.label.replace("a", "z") for node in row] for row in a] == ([] if linear else labels)
        assert {node for row in z + a for node in row} <= {order[i] for i in form["members"]}
        assert form["terms"] == len(z[0][0].inputs) // 2
        slopes = [[order[i].local_grads[k] for i, k in row] for row in form.get("slopes", [])]
        if "σ′" in form["equation"]:  # δ = … ⊙ σ′(z)
            delta = [[upstream[node] * slope for node, slope in zip(*both, strict=True)] for both in zip(a, slopes)]
            assert delta == [[upstream[node] for node in row] for row in z]


def test_bp2_holds_in_the_numbers_that_are_shown():
    """(w²)ᵀ δ² is computed here from w and δ, and read in the page from the gradients of a¹."""
    model = nn.MLP(3, [4, 2], "tanh", "sigmoid", seed=3)
    loss = quadratic(model([0.2, -0.4, 0.9]), [0.0, 1.0])
    it = explain(loss)
    upstream = {step.node: step.upstream for step in it.steps}
    first = steps(loss).data["layers"][0]
    order = topological_order(loss)
    for k, row in enumerate(first["outputs"]):
        expected = sum(neuron.w[k].data * upstream[neuron.z] for neuron in model.layers[1].neurons)
        assert upstream[order[row[0]]] == pytest.approx(expected, rel=1e-12)


def background(page):
    return page.locator(".box").evaluate("box => getComputedStyle(box).backgroundColor")


@pytest.mark.browser
def test_light_and_dark(stepped, browse, screenshot):
    result = steps(network(4, 3, 2))
    light, dark = stepped(result, "#step=18"), stepped(result, "#step=18", color_scheme="dark")
    assert background(light) == "rgb(255, 255, 255)"
    assert background(dark) != background(light)
    screenshot(light, "light")
    screenshot(dark, "dark")
    within = browse(color_scheme="light")  # a dark notebook on a light desktop
    within.set_content(f"<body style='background: #111'>{steps(used_twice())._repr_html_()}")
    assert background(within) == background(dark)
    within = browse(color_scheme="dark")
    within.set_content(f"<body style='background: oklch(0.98 0 0)'>{steps(used_twice())._repr_html_()}")
    assert background(within) == background(light)


@pytest.mark.browser
def test_a_phone(stepped, screenshot):
    page = stepped(steps(network(4, 3, 2)), "#step=18", width=390, height=844, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    small = page.locator("button:visible").evaluate_all(
        "all => all.filter(e => e.getBoundingClientRect().height < 24).length"
    )
    assert small == 0
    sizes = page.locator(".picture text").evaluate_all("all => all.map(e => parseFloat(getComputedStyle(e).fontSize))")
    scale = page.locator(".picture svg").evaluate(
        "svg => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width"
    )
    assert min(sizes) * scale >= 9
    active, picture = page.locator(".active").bounding_box(), page.locator(".picture").bounding_box()
    assert picture["x"] <= active["x"] <= picture["x"] + picture["width"]  # scrolled to where something happens
    screenshot(page, "phone")


@pytest.mark.browser
def test_what_a_screen_reader_finds(stepped):
    page = stepped(steps(used_twice()), "#step=7")
    for role in ("button", "slider", "checkbox", "combobox"):
        for control in page.get_by_role(role).all():
            name = control.evaluate("e => e.getAttribute('aria-label') || e.labels?.[0]?.innerText || e.innerText")
            assert name.strip(), control
    assert page.get_by_role("img", name="Computation graph of f: 5 nodes").count() == 1
    spoken = page.locator("[aria-live=polite]")
    assert "∂f/∂a += ∂f/∂d · ∂₁d = 1 × 3 = 3, running sum -6 + 3 = -3" in spoken.text_content()
    page.get_by_text("All steps as text").click()
    page.locator(".all li").last.wait_for()
    items = page.locator(".all li").all_inner_texts()
    assert len(items) == 8
    assert items[7] == spoken.text_content()
    page.locator(".picture").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.shadowRoot.activeElement") is not None


HOSTILE = [
    "<b>bold</b>", "<script>x()</script>", "</script><img src=x onerror=alert(1)>", "<!--<script>", "\"'&amp;&", "😀 𝔘𝔫𝔦",
    "]]>", "${alert(1)}", "`", "\u2028\u2029", "javascript:alert(1)", "\\", "%s {0}", "a\nb", "x, y",
]  # fmt: skip


@pytest.mark.browser
def test_hostile_labels_are_text(stepped, browse, screenshot):
    leaves = [Value(1.0 + i, label) for i, label in enumerate(HOSTILE)]
    loss = microgradlike.sum(leaves) * 2.0
    loss.label = "</title><script>alert(2)</script>"
    page = stepped(steps(loss), "#step=4")
    page.get_by_text("All steps as text").click()
    page.get_by_label("Show the ledger of a node").select_option(index=2)
    scripts = host(page).evaluate("host => host.shadowRoot.querySelectorAll('script, b b, img').length")
    assert scripts == 0
    drawn = page.locator(".picture").text_content()
    assert "<script>x()</script>" in drawn
    assert "<b>bold</b>" in drawn
    assert "😀 𝔘𝔫𝔦" in drawn
    assert page.locator("body > *").count() == 1
    screenshot(page, "hostile")
    inside = browse()
    inside.set_content(f"<p>before</p>{steps(loss)._repr_html_()}<p>after</p>")
    assert inside.locator("p:visible").first.inner_text() == "before"
    assert host(inside).evaluate("host => !!host.shadowRoot")


def exported(*results):
    """A notebook with these outputs, as nbconvert exports it."""
    nbconvert, nbformat = pytest.importorskip("nbconvert"), pytest.importorskip("nbformat.v4")
    cells = [nbformat.new_markdown_cell("# *A* <b>notebook</b>")]
    for result in results:
        output = nbformat.new_output("display_data", data=result._repr_mimebundle_())
        cells.append(nbformat.new_code_cell("steps(loss)", outputs=[output]))
    exporter = nbconvert.HTMLExporter(mathjax_url="", require_js_url="", jquery_url="")
    return exporter.from_notebook_node(nbformat.new_notebook(cells=cells))[0]


@pytest.mark.browser
def test_an_exported_notebook_works_without_network(browse, tmp_path, screenshot):
    page_of = tmp_path / "notebook.html"
    html = exported(steps(used_twice()), steps(used_twice()), steps(network(4, 3, 2)))
    page_of.write_text(re.sub(r'<script src=""></script>', "", html), encoding="utf-8")
    page = browse(page_of.as_uri())
    assert page.locator(".box").count() == 3  # the same output twice is two pages
    first, second, third = page.locator(".box").all()
    first.get_by_label("Step forward").click()
    second.get_by_role("button", name="Backward pass").click()
    second.locator(".picture").focus()
    page.keyboard.press("ArrowRight")
    assert [text(box.locator(".place")) for box in (first, second, third)] == [
        "forward 1 / 3", "backward 1 / 3", "forward 0 / 14",
    ]  # fmt: skip
    assert "#" not in page.url  # the address belongs to the notebook
    screenshot(page, "notebook")


@pytest.mark.browser
def test_where_no_script_runs_a_picture_stands(browse, tmp_path, screenshot):
    page_of = steps(used_twice()).save(tmp_path / "f.html")
    page = browse(page_of.as_uri(), java_script_enabled=False)
    box = page.get_by_role("img", name="Computation graph of f: 5 nodes").bounding_box()
    assert box["width"] > 100
    screenshot(page, "without-script")


@pytest.mark.browser
def test_nothing_leaks_out_of_an_output_or_into_it(browse):
    page = browse()
    around = (
        "<style>button, text, table { color: red !important; font-size: 40px !important }</style><button>x</button>"
    )
    page.set_content(
        around + steps(used_twice())._repr_html_() + "<table class='vector box'><tr><td>1</td></tr></table>"
    )
    assert page.locator("table.vector").last.evaluate("e => getComputedStyle(e).borderLeftWidth") == "0px"
    inner = page.get_by_label("Step forward").evaluate("e => [getComputedStyle(e).color, getComputedStyle(e).fontSize]")
    assert inner == ["rgb(31, 35, 40)", "15px"]
    id = host(page).get_attribute("id")
    ids = host(page).evaluate("host => [...host.shadowRoot.querySelectorAll('[id]')].map(e => e.id)")
    assert ids
    assert all(each.startswith(id) for each in ids)


@pytest.mark.browser
def test_the_scripts_of_an_output_leave_no_name_behind(browse):
    page = browse()
    names = "Object.getOwnPropertyNames(window).sort()"
    before = page.evaluate(names)
    page.set_content(steps(used_twice())._repr_html_())
    page.get_by_label("Step forward").click()
    assert page.evaluate(names) == before


def test_every_script_is_in_the_page_and_declares_functions_only():
    scripts = {path.stem: path.read_text(encoding="utf-8") for path in BROWSER.glob("*.js")}
    assert sorted(scripts) == sorted([*SCRIPTS, "widget"])
    document = steps(used_twice()).document()
    for name in SCRIPTS:
        begins = [line for line in scripts[name].splitlines() if line[:1] not in ("", " ", "}", "/")]
        assert begins
        assert all(re.match(r"function \w+\(", line) for line in begins)
        assert all(line.split("(")[0] + "(" in document for line in begins)
        assert all(line.count("`") % 2 == 0 for line in scripts[name].splitlines())  # such lines keep their spaces


@pytest.mark.browser
def test_who_wants_less_motion_gets_less(stepped):
    page = stepped(steps(used_twice()), reduced_motion="reduce")
    assert page.locator(".node > *").first.evaluate("e => getComputedStyle(e).transitionDuration") == "0s"


@pytest.mark.browser
def test_five_hundred_nodes_stay_smooth(stepped, screenshot):
    loss = by_hand(7, 3)
    assert 490 <= len(topological_order(loss)) <= MOST_NODES
    page = stepped(steps(loss))
    took = host(page).evaluate("""host => {
        const forth = host.shadowRoot.querySelector(".forth"), times = [];
        for (let i = 0; i < 350; i += 1) {
            const start = performance.now();
            forth.click();
            host.getBoundingClientRect();
            times.push(performance.now() - start);
        }
        return Math.max(...times);
    }""")
    assert took < 1000  # milliseconds for the slowest step
    screenshot(page, "five-hundred")


@pytest.mark.browser
def test_too_large_a_graph_is_shown_in_boxes_and_says_so(stepped, screenshot):
    result = steps(network(11, 11, 11, 11, 11))
    page = stepped(result)
    note = text(page.locator(".note"))
    assert f"{MOST_NODES} are the most" in note
    assert "depth=" in note
    assert "only=" in note
    assert page.locator(".node.group").count() == 44
    assert "every node" not in page.get_by_label("Level of detail").inner_text()
    page.get_by_role("button", name="Backward pass").click()
    page.get_by_label("Step forward").click()
    screenshot(page, "too-large")


# ── Without a browser ──────────────────────────────────────────────────────────────────────────


def test_a_graph_without_boxes_that_is_too_large_is_refused():
    with pytest.raises(ValueError, match=rf"600 nodes to draw, and {MOST_NODES} .*depth=\d+.*only=") as refused:
        steps(grid(600))
    assert steps(grid(600), depth=int(re.search(r"depth=(\d+)", str(refused.value))[1]))  # what it proposes works


def test_a_network_that_is_too_large_is_shown_in_boxes():
    large = steps(network(11, 11, 11, 11, 11))
    assert large.views and "every node" not in [name for name, _, _ in large.views]


def test_a_network_is_refused_that_no_boxes_make_small_enough():
    loss = network(2, 2, 1)
    for _ in range(MOST_NODES):
        loss = loss.sin()
    with pytest.raises(ValueError, match=r"nodes to draw, and 500 is the most"):
        steps(loss)


def test_a_part_of_a_large_graph_can_be_shown():
    loss = grid(600)
    order = topological_order(loss)
    shown = steps(loss, depth=2).data["shown"]
    near = {loss, *loss.inputs, *(i for input in loss.inputs for i in input.inputs)}
    assert [bool(each) for each in shown] == [node in near for node in order]
    w = loss.inputs[0]
    assert sum(steps(loss, only=[w]).data["shown"]) == 2
    with pytest.raises(ValueError, match="not in the graph"):
        steps(loss, only=[Value(1.0)])


@pytest.mark.browser
def test_in_a_part_the_gradients_are_those_of_the_whole(stepped):
    loss = network(4, 3, 2)
    it, order = explain(loss), topological_order(loss)
    w = next(node for node in order if node.label == "w¹₂₁")
    page = stepped(steps(loss, only=[w]))
    if page.get_by_label("Level of detail").count():
        page.get_by_label("Level of detail").select_option("every node")
    page.locator(".picture").focus()
    page.keyboard.press("End")
    shown = host(page).evaluate(NUMBERS)
    upstream = {str(i): next(step.upstream for step in it.steps if step.node is node) for i, node in enumerate(order)}
    assert str(numbered(order)(w)) in shown
    for i, texts in shown.items():
        assert texts[-1] == f"∇ {format_number(upstream[i])}"


@pytest.mark.browser
def test_pictures_share_their_parts_and_come_out_whole(browse):
    result = steps(network(4, 4, 1))
    shared = _shared(result.pictures)
    assert len(json.dumps(shared)) < 0.55 * sum(map(len, result.pictures))
    page = browse()
    script = (BROWSER / "picture.js").read_text(encoding="utf-8")
    page.add_script_tag(content=script)
    assert (
        page.evaluate("([first, others]) => joinPictures(first, others)", [result.pictures[0], shared])
        == result.pictures
    )


@pytest.mark.browser
def test_a_network_for_images_of_digits_has_a_page(browse, tmp_path):
    model = nn.MLP(784, [30, 10], "sigmoid", "softmax", seed=1)
    rng = random.Random(0)
    loss = nn.cross_entropy(model([rng.random() for _ in range(784)]), 3)
    path = steps(loss).save(tmp_path / "digit.html")
    assert path.stat().st_size < 4_500_000
    page = browse(path.as_uri() + "#step=9999&layer=0", width=1280, height=800)
    assert (
        text(page.locator(".note")) == "Not drawn: 20 of the 30 neurons of layer 1; 774 of the 784 inputs of layer 1."
    )
    maps = page.locator(".matrix .heat")
    assert maps.count() == 3  # ∂C/∂w, w and the input
    canvas = maps.nth(1).locator("canvas")
    canvas.scroll_into_view_if_needed()
    canvas.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")  # a weight that is drawn
    page.keyboard.press("Escape")
    for _ in range(20):
        maps.nth(1).locator("canvas").press("ArrowRight")
    maps.nth(1).locator("canvas").press("Enter")
    w = "w¹₁,₂₁"
    assert w in text(page.locator(".account h2"))
    assert page.get_by_label("Show the ledger of a node").evaluate("e => e.selectedOptions[0].text") == w
    before = text(page.locator(".account tfoot"))
    page.get_by_label(w + " as a number").fill("-3")
    page.get_by_role("button", name=f"Give {w} its recorded number").wait_for()
    assert text(page.locator(".account tfoot")) != before


def test_the_page_is_small_and_needs_nobody():
    rng = random.Random(0)
    nodes = [Value(rng.uniform(-2, 2), f"x{i}") for i in range(25)]
    used = set()
    while len(nodes) < 80:
        a, b = rng.sample(nodes[-30:], 2)
        used |= {a, b}
        nodes.append(rng.choice([a * b, a + b, a - b, a / b, a.tanh(), a.sigmoid()]))
    loss = microgradlike.sum([node for node in nodes if node not in used or not node.inputs])
    result = steps(loss)
    assert len(topological_order(loss)) >= 70
    document = result.document()
    pictures = sum(len(picture) for picture in result.pictures) * 4 // 3
    assert len(document.encode()) - pictures < 80_000
    assert set(re.findall(r"https?://[^\"'<> )]+", re.sub('base64,[^"]*', "", document))) <= {
        "http://www.w3.org/2000/svg"
    }


@pytest.mark.parametrize(
    "line, squeezed",
    [
        ("const a = b * (c + 1);\n", "const a=b*(c+1);\n"),
        ("if (a === b && c > d || e <= f) return { g: a ? b : c };", "if(a===b&&c>d||e<=f)return{g:a?b:c};"),
        ('say("a = b, (c)", x => x + " + \\" = ");', 'say("a = b, (c)",x=>x+" + \\" = ");'),
        ("const a = `${b} = ${c}`;", "const a = `${b} = ${c}`;"),
        ("text.split(/a = b/);", "text.split(/a = b/);"),
        ("const a = b / c;", "const a = b / c;"),
        ("a - -b + +c - d", "a - -b + +c-d"),
    ],
)
def test_spaces_are_dropped_where_they_say_nothing(line, squeezed):
    assert _squeeze(line) == squeezed


def test_the_same_graph_makes_the_same_page():
    assert steps(used_twice())._repr_html_() == steps(used_twice())._repr_html_()
    assert steps(used_twice()).id != steps(squares()).id
    assert re.fullmatch(r"steps-[0-9a-f]{8}", steps(used_twice()).id)


def test_steps_only_reads(tmp_path):
    loss = network(4, 3, 2)
    steps(loss).save(tmp_path / "a.html")
    assert all(not node.has_grad for node in topological_order(loss))
    loss.backward()
    before = steps(loss)._repr_html_()
    assert before == steps(network(4, 3, 2))._repr_html_()


def test_saving(tmp_path):
    assert steps(used_twice()).save(str(tmp_path / "a.HTML")).read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(ValueError, match=r"ends in \.html or \.svg"):
        steps(used_twice()).save(tmp_path / "a.gif")
    assert [path.name for path in tmp_path.iterdir()] == ["a.HTML"]


@pytest.mark.browser
def test_odd_graphs(stepped):
    page = stepped(steps(Value(2.0, "x")))
    page.keyboard.press("End")
    assert text(page.locator(".place")) == "backward 0 / 0"
    x = Value(0.0, "x")
    page = stepped(steps((x / 0.0).exp() * x.log()))
    page.keyboard.press("End")
    assert "∇ nan" in page.locator(".picture").text_content()


def test_bad_arguments():
    with pytest.raises(TypeError, match="loss"):
        steps(3.0)
    with pytest.raises(ValueError, match="tolerance"):
        steps(used_twice(), tolerance=5)


def test_the_defaults_of_steps_are_those_of_its_class():
    page, made = Steps(explain(used_twice())), steps(used_twice())
    assert all(
        getattr(page, name) == getattr(made, name) for name in ("quiz", "tolerance", "depth", "only", "color_by")
    )


def test_colours_of_the_arrays_of_the_matrix_form():
    loss = network(2, 2, 1)
    program = vectorize(loss)
    page = steps(loss, color_by=program.name_of)
    for _, _, diagram in page.views:
        assert all(f">{name}<" in diagram.source for name in ("W¹", "b¹", "z¹", "a¹"))  # the legend
    titles = page.views[-1][2].titles.values()
    assert any(title.startswith("z¹₂ = ") and title.endswith(", in z¹") for title in titles)
    assert sum(title.endswith(", in W¹") for title in titles) == 4
