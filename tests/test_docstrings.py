"""What `help()` says: every public name has a docstring of its own, and the errors that it names are raised."""

import ast
import inspect
import pydoc
import random
import re
from pathlib import Path

import pytest

import microgradlike as mg
from microgradlike import Value, matrix, nn, testing
from microgradlike.view import diagram

PUBLIC = {
    f"{module.__name__.removeprefix('microgradlike.')}.{name}".removeprefix("microgradlike."): getattr(module, name)
    for module in (mg, nn, testing, matrix)
    for name in module.__all__
}
OWNERS = {
    f"{name}.{member}": owner
    for name, owner in PUBLIC.items()
    if inspect.isclass(owner)
    for member in vars(owner)
    if member[0] != "_" and (callable(getattr(owner, member)) or isinstance(vars(owner)[member], property))
}
DOCUMENTED = PUBLIC | {name: getattr(owner, name.rpartition(".")[2]) for name, owner in OWNERS.items()}
VERBS = {
    "Add", "Approximate", "Assert", "Be", "Begin", "Bound", "Call", "Change", "Check", "Choose", "Compute", "Count",
    "Describe", "Do", "Draw", "Drop", "Escape", "Estimate", "Exchange", "Explain", "Find", "Give", "Hand", "Have",
    "Import", "Join", "Keep", "Label", "Lay", "Leave", "Let", "Light", "Mark", "Name", "Note", "Overwrite", "Parse",
    "Plot", "Print", "Raise", "Record", "Reduce", "Replace", "Report", "Restore", "Return", "Run", "Say", "Send",
    "Set", "Show", "Start", "Sum", "Take", "Tell", "Train", "Turn", "Wait", "Write", "Yield",
}  # fmt: skip
PACKAGE = Path(mg.__file__).parent


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_public_name_has_a_docstring_of_its_own(name):
    documented = DOCUMENTED[name]
    if name in OWNERS:  # a method or a property: not that of a base class
        assert vars(OWNERS[name])[name.rpartition(".")[2]].__doc__
    elif inspect.isroutine(documented):
        assert documented.__doc__
    else:  # of a table, such as nn.LOSSES, help() shows its class
        assert vars(documented if inspect.isclass(documented) else type(documented)).get("__doc__")


@pytest.mark.parametrize("name", [name for name, each in DOCUMENTED.items() if inspect.isroutine(each)])
def test_the_docstring_of_a_function_begins_with_a_verb(name):
    assert (DOCUMENTED[name].__doc__ or "–").split()[0].rstrip(":") in VERBS


def test_other_functions_begin_with_a_verb_too():
    """But properties, which are things; the help of commands; and `ops`, where helpers state formulas, as the rows do."""
    others = []
    for path in sorted({*PACKAGE.rglob("*.py")} - {PACKAGE / "ops.py"}):
        functions = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)]
        for function in functions:
            marks = " ".join(map(ast.unparse, function.decorator_list))
            text = None if re.search("property|command|group", marks) else ast.get_docstring(function)
            if text and text.split()[0].strip(":,") not in VERBS:
                others.append(f"{path.relative_to(PACKAGE).as_posix()}: {function.name}")
    assert others == []


@pytest.mark.parametrize("name", DOCUMENTED)
def test_help_shows_no_directive_of_a_formatter(name):
    said = pydoc.render_doc(DOCUMENTED[name], renderer=pydoc.plaintext)
    assert not re.search(r"# *(fmt|noqa|type):", said)


# ── Errors ─────────────────────────────────────────────────────────────────────────────────────


def number():
    return Value(0.5, "x")


def recorded_once():
    x = number()
    y = x * x
    return lambda: y, [x]


def changed():
    x = number()
    y = x.exp() * x
    x.data = 7.0
    return y, [x]


OUTSIDE = Value(2.0)


def outside():
    """A loss that depends on a Value in a way that the graph does not show."""
    return Value(3.0 * OUTSIDE.data)


def chain(n):
    x = number()
    for _ in range(n):
        x = -x
    return x


def without_graphviz(call):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diagram, "_graphvizes", lambda: iter(()))
        call()


def anomaly():
    with mg.detect_anomaly():
        Value(0.0).log()


def where_jax_has_no_float64(call):
    jax = pytest.importorskip("jax")
    with jax.enable_x64(False):
        call()


def program():
    x, w = [Value(0.5), Value(-1.0)], [Value(2.0), Value(3.0)]
    return mg.vectorize(mg.dot(w, x).tanh(), batch=[x])


ERRORS = [
    ("Value", TypeError, lambda: Value("1")),
    ("Value", TypeError, lambda: Value(1.0, 2.0)),
    ("Value.backward", TypeError, lambda: number().backward("1")),
    ("Value.as_integer_ratio", TypeError, lambda: number().as_integer_ratio()),
    ("affine", ValueError, lambda: mg.affine([1.0], [1.0, 2.0], 0.0)),
    ("affine", TypeError, lambda: mg.affine([1.0], [1.0], "b")),
    ("agreement", TypeError, lambda: mg.agreement("quadratic", abs, [1.0], [1.0])),
    ("agreement", ValueError, lambda: mg.agreement("cubic", nn.MLP(1, [1]), [1.0], [1.0])),
    ("agreement", ValueError, lambda: mg.agreement("quadratic", nn.MLP(1, [1]), [1.0], [1.0, 2.0])),
    ("check_gradients", TypeError, lambda: mg.check_gradients(number(), [])),
    ("check_gradients", TypeError, lambda: mg.check_gradients(lambda: 1.0, [])),
    ("check_gradients", ValueError, lambda: mg.check_gradients(lambda: number() * random.random(), [number()])),
    ("check_gradients", ValueError, lambda: mg.check_gradients(number, [mg.constant(1.0)])),
    ("constant", TypeError, lambda: mg.constant("1")),
    ("detect_anomaly", FloatingPointError, anomaly),
    ("dot", ValueError, lambda: mg.dot([1.0], [])),
    ("dot", TypeError, lambda: mg.dot([1.0], ["x"])),
    ("draw", TypeError, lambda: mg.draw(1.0)),
    ("draw", ValueError, lambda: mg.draw(number(), rankdir="up")),
    ("draw", ValueError, lambda: mg.draw(number(), depth=-1)),
    ("draw", ValueError, lambda: mg.draw(number(), only=[number()])),
    ("draw", ValueError, lambda: mg.draw(number() * 2.0, max_nodes=1)),
    ("draw", RuntimeError, lambda: without_graphviz(mg.draw(number()).svg)),
    ("explain", TypeError, lambda: mg.explain(1.0)),
    ("explain", ValueError, lambda: mg.explain(number(), only=[number()])),
    ("finite_differences", TypeError, lambda: mg.finite_differences(abs, [number()])),
    ("finite_differences", ValueError, lambda: mg.finite_differences(*recorded_once())),
    ("finite_differences", ValueError, lambda: mg.finite_differences(number, [number()], eps=1e-300)),
    ("gradient", TypeError, lambda: mg.gradient(number(), [1.0])),
    ("gradient", ValueError, lambda: mg.gradient(*changed())),
    ("jvp", TypeError, lambda: mg.jvp(number(), 1.0)),
    ("jvp", TypeError, lambda: mg.jvp(1.0, {})),
    ("log_softmax", TypeError, lambda: mg.log_softmax(["x"])),
    ("logsumexp", TypeError, lambda: mg.logsumexp(["x"])),
    ("maximum", TypeError, lambda: mg.maximum("x", 1.0)),
    ("maxout", TypeError, lambda: mg.maxout(["x"])),
    ("maxout", ValueError, lambda: mg.maxout([])),
    ("minimum", TypeError, lambda: mg.minimum(1.0, "x")),
    ("operation", TypeError, lambda: mg.operation("zero", lambda xp: 0.0, lambda xp, y: ())),
    ("operation", TypeError, lambda: mg.operation("id", lambda xp, x: x, lambda xp, x: 1.0)),
    ("operation", TypeError, lambda: mg.operation("id", lambda xp, x: x, lambda xp, y, x: 1.0)()),
    ("operation", ValueError, lambda: mg.operation("root", lambda xp, x: x**0.5, lambda xp, y, x: 1.0)(-1.0)),
    ("softmax", TypeError, lambda: mg.softmax(["x"])),
    ("steps", TypeError, lambda: mg.steps(1.0)),
    ("steps", ValueError, lambda: mg.steps(number(), tolerance=1.0)),
    ("steps", ValueError, lambda: mg.steps(chain(501))),
    ("steps", RuntimeError, lambda: without_graphviz(mg.steps(number()).document)),
    ("topological_order", TypeError, lambda: mg.topological_order(1.0)),
    ("vectorize", TypeError, lambda: mg.vectorize(1.0)),
    ("vectorize", ValueError, lambda: mg.vectorize(mg.constant(1.0))),
    ("nn.Adam", TypeError, lambda: nn.Adam(nn.MLP(1, [1]))),
    ("nn.Adam", ValueError, lambda: nn.Adam([number()], lr=-1.0)),
    ("nn.Adam", ValueError, lambda: nn.Adam([number()], betas=(0.9, 1.0))),
    ("nn.Adam", ValueError, lambda: nn.Adam([number()], eps=-1.0)),
    ("nn.SGD", TypeError, lambda: nn.SGD([1.0])),
    ("nn.SGD", ValueError, lambda: nn.SGD([number()], lr=float("nan"))),
    ("nn.Neuron", ValueError, lambda: nn.Neuron(1, "step")),
    ("nn.Neuron", ValueError, lambda: nn.Neuron(1, init="zero")),
    ("nn.Neuron", ValueError, lambda: nn.Neuron(1, "softmax")),
    ("nn.Neuron", ValueError, lambda: nn.Neuron(0)),
    ("nn.Neuron", TypeError, lambda: nn.Neuron(1.5)),
    ("nn.Neuron", ValueError, lambda: nn.Neuron(2)([1.0])),
    ("nn.Neuron", TypeError, lambda: nn.Neuron(1, lambda z: z.data)([1.0])),
    ("nn.Layer", ValueError, lambda: nn.Layer(1, 0)),
    ("nn.Layer", TypeError, lambda: nn.Layer(1, None)),
    ("nn.MLP", TypeError, lambda: nn.MLP(2, 1)),
    ("nn.MLP", TypeError, lambda: nn.MLP(2, [1.5])),
    ("nn.MLP", ValueError, lambda: nn.MLP(2, [])),
    ("nn.MLP", ValueError, lambda: nn.MLP(2, [0])),
    ("nn.MLP", ValueError, lambda: nn.MLP(2, [1], output="step")),
    ("nn.MLP", ValueError, lambda: nn.MLP(2, [1])([1.0])),
    ("nn.cross_entropy", ValueError, lambda: nn.cross_entropy([1.0, 2.0], 2)),
    ("nn.cross_entropy", ValueError, lambda: nn.cross_entropy(nn.Layer(1, 3, "softmax")([1.0])[:2], 0)),
    ("nn.hinge", ValueError, lambda: nn.hinge([1.0, 2.0], [1.0, -1.0])),
    ("nn.hinge", ValueError, lambda: nn.hinge(1.0, 0.0)),
    ("nn.mean_squared_error", ValueError, lambda: nn.mean_squared_error([1.0], [])),
    ("nn.quadratic", ValueError, lambda: nn.quadratic([1.0], [1.0, 2.0])),
    ("testing.assert_chain_rule", AssertionError, lambda: testing.assert_chain_rule(float)),
    ("testing.assert_chain_rule", ValueError, lambda: testing.assert_chain_rule(mg.Value, ["a % b"])),
    ("testing.assert_gradients", AssertionError, lambda: testing.assert_gradients(outside, [OUTSIDE])),
    ("testing.assert_gradients", TypeError, lambda: testing.assert_gradients(number(), [])),
    ("testing.assert_gradients", ValueError, lambda: testing.assert_gradients(number, [mg.constant(1.0)])),
    ("testing.assert_grads", AssertionError, lambda: testing.assert_grads({number(): 1.0})),
    ("testing.assert_grads", TypeError, lambda: testing.assert_grads({1.0: 1.0})),
    ("testing.assert_local_grads", AssertionError, lambda: testing.assert_local_grads(number().exp(), [0.0])),
    ("testing.assert_same_gradients", AssertionError, lambda: testing.assert_same_gradients(number, lambda: number() * 2.0, [])),
    ("testing.assert_same_gradients", TypeError, lambda: testing.assert_same_gradients(number, number(), [])),
    ("matrix.vectorize", TypeError, lambda: mg.vectorize(1.0)),
    ("matrix.vectorize", ValueError, lambda: mg.vectorize(mg.constant(1.0))),
    ("matrix.Program.backward", TypeError, lambda: program().backward("x")),
    ("matrix.Program.backward", ValueError, lambda: program().backward([[1.0]])),
    ("matrix.Program.gradients", TypeError, lambda: program().gradients("x")),
    ("matrix.Program.gradients", ValueError, lambda: program().gradients([[1.0]])),
    ("matrix.Program.descend", TypeError, lambda: program().descend("x", lr=0.1)),
    ("matrix.Program.descend", ValueError, lambda: program().descend([[1.0]], lr=0.1)),
    ("matrix.Program.check_shapes", TypeError, lambda: program().check_shapes([])),
    ("matrix.Program.check_shapes", ValueError, lambda: program().check_shapes([(1, 3)])),
    ("matrix.Program.to_jax", TypeError, lambda: program().to_jax("int8")),
    ("matrix.Program.to_jax", ValueError, lambda: where_jax_has_no_float64(program().to_jax)),
    ("matrix.Program.values", TypeError, lambda: program().values("x", [[1.0, 2.0]])),
    ("matrix.Program.values", ValueError, lambda: program().values(number(), [[1.0, 2.0]])),
    ("matrix.Program.nodes", KeyError, lambda: program().nodes("none")),
    ("matrix.Program.where", KeyError, lambda: program().where(number())),
]  # fmt: skip


@pytest.mark.parametrize(("name", "error", "call"), ERRORS)
def test_bad_input_raises_the_error(name, error, call):
    with pytest.raises(error):
        call()


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_docstring_names_the_errors_that_are_raised_and_no_others(name):
    said = " ".join((DOCUMENTED[name].__doc__ or "").split())
    raises = "".join(re.findall(r"\braises?\b.*", said, re.IGNORECASE))
    named = set(re.findall(r"\b[A-Z]\w+Error\b", raises))
    raised = {error.__name__ for each, error, _ in ERRORS if each == name}
    assert named <= raised if "errors are those of" in said else named == raised
