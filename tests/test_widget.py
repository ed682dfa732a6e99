"""The page as a widget: its traits in Python, and its module in a browser with a stand-in for the kernel's side."""

import json
import math

import pytest

from microgradlike import Value, explain, gradient, nn, operation, steps
from microgradlike.graph import record_again
from microgradlike.notation.digits import format_number
from microgradlike.value import topological_order
from microgradlike.view.widget import StepsWidget


def expression():
    w, x = Value(2.0, "w"), Value(-3.0, "x")
    y = (w * x + 1.0).tanh() * w
    y.label = "y"
    return y


def test_moving_a_leaf_runs_both_passes_again():
    loss = expression()
    widget = steps(loss).widget()
    assert isinstance(widget, StepsWidget)
    widget.set("w", 0.5)
    fresh = (0.5 * Value(-3.0) + 1.0).tanh() * 0.5
    assert widget.loss.data == fresh.data
    assert loss.data == math.tanh(-5.0) * 2.0  # left as it was
    assert widget.data == {**steps(loss).data, "id": steps(loss).id}  # the page computes by itself
    leaves = next(i for i, number in widget.numbers.items() if number == 0.5)
    widget.numbers = {**widget.numbers, leaves: 2.0}  # as the page does it
    assert widget.loss.data == loss.data


def test_a_choice_follows_the_numbers_that_are_recorded_again():
    x = Value(-1.5, "x")
    (slope,) = gradient(x.leaky_relu(0.1) * x, [x])
    (fresh,) = gradient((y := Value(2.0)).leaky_relu(0.1) * y, [y])
    assert record_again(slope, {x: 2.0}).data == fresh.data


def test_numbers_that_json_has_not_reach_python_and_the_page():
    widget = steps(expression()).widget()
    widget.set("w", -math.inf)
    widget.set("x", -0.0)
    (w, x) = widget.get_state()["numbers"].values()
    assert (w, x) == ("-inf", "-0.0")
    widget.set_state({"numbers": {**widget.get_state()["numbers"], next(iter(widget.numbers)): "nan"}})
    assert math.isnan(widget.loss.data)


def test_python_computes_what_the_page_cannot():
    steep = operation("steep", lambda xp, x: math.exp(x), lambda xp, y, x: y)
    x = Value(1.0, "x")
    loss = steep(x) * 2.0
    widget = steps(loss).widget()
    before = widget.data
    widget.set("x", 0.0)
    assert widget.loss.data == 2.0
    assert widget.data != before
    assert widget.data == {**steps(widget.loss).data, "id": steps(widget.loss).id}


def test_an_unknown_leaf_is_named():
    with pytest.raises(KeyError, match="no leaf is called 'v'; there are w, x"):
        steps(expression()).widget().set("v", 1.0)


def test_an_expression_is_recorded_again_node_for_node():
    model = nn.MLP(3, [4, 2], "maxout", "softmax", seed=2)
    loss = nn.losses.quadratic(model([0.1, -0.2, 0.3]), [1.0, 0.0])
    again = record_again(loss, {})
    old, new = topological_order(loss), topological_order(again)
    assert [(v.data, v.label, v.op, v.local_grads) for v in old] == [
        (v.data, v.label, v.op, v.local_grads) for v in new
    ]
    assert not set(old) & set(new)


def test_its_text_and_its_picture_change_only_with_the_graph():
    one, other = (steps(expression()).widget() for _ in range(2))
    assert repr(one) == repr(other) == str(explain(expression()))
    data, _ = one._repr_mimebundle_()
    assert data["text/html"].startswith("<img alt=")


MODEL = """window.model = {
    values: %s, listeners: {}, saved: 0,
    get(name) { return this.values[name]; },
    set(name, value) { this.values[name] = value; (this.listeners["change:" + name] || []).forEach(each => each()); },
    on(event, act) { (this.listeners[event] ||= []).push(act); },
    save_changes() { this.saved += 1; },
};"""


def open_module(page, widget):
    """Show the widget as a notebook does, with `model` in place of the kernel's side."""
    page.set_content("<div id='cell'></div>")
    state = widget.get_state(["step", "data", "pictures", "numbers"])
    page.evaluate(MODEL % json.dumps(state))
    page.evaluate(
        """async code => {
        const module = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
        module.default.render({ model, el: document.getElementById("cell") });
    }""",
        widget.trait_values()["_esm"],
    )


@pytest.mark.browser
def test_the_module_in_a_browser(browse, screenshot):
    result = steps(expression())
    widget = result.widget()
    page = browse()
    open_module(page, widget)
    page.get_by_label("Step forward").click()
    assert page.evaluate("model.values.step") == 1
    page.evaluate("model.set('step', 7)")
    assert page.locator(".place").inner_text().startswith("backward")
    page.get_by_label("w as a number").fill("0.5")
    widget.set_state({"numbers": page.evaluate("model.values.numbers")})
    assert 0.5 in widget.numbers.values()
    shown = page.locator(".picture").text_content()
    assert format_number(widget.loss.data) in shown
    slope = next(s.terms[0] for s in explain(widget.loss).steps if s.node.op and s.node.op.name == "tanh")
    assert format_number(slope.local_grad) in shown  # the local derivatives follow as well
    screenshot(page, "widget")
    widget.set("x", -math.inf)
    page.evaluate("numbers => model.set('numbers', numbers)", widget.get_state()["numbers"])
    assert page.get_by_label("x as a number").input_value() == "-inf"
    assert page.evaluate("model.values.step") == 7


@pytest.mark.browser
def test_what_runs_in_python_only_is_asked_of_python(browse):
    steep = operation("steep", lambda xp, x: math.exp(x), lambda xp, y, x: y)
    widget = steps(steep(Value(1.0, "x")) * Value(3.0, "w")).widget()
    page = browse()
    open_module(page, widget)
    page.get_by_label("x as a number").fill("0")
    widget.set_state({"numbers": page.evaluate("model.values.numbers")})
    assert widget.loss.data == 3.0
    page.evaluate(
        "([data, pictures]) => { model.values.pictures = pictures; model.set('data', data); }",
        [widget.data, widget.pictures],
    )
    page.evaluate("model.set('step', 3)")
    assert "3\n∇ 1" in page.locator(".picture").text_content()
    page.get_by_label("w as a number").fill("-2")
    assert "-2\n∇ 1" in page.locator(".picture").text_content()
