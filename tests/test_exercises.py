"""Every exercise of the notebooks, answered: right, as one may well get it wrong, and with nonsense.

An exercise's cell is run with an answer in place of its dots, after those statements of the cells before it that it
needs; the notebooks as wholes are executed by `make check-notebooks`.
"""

import ast
import contextlib
import inspect
import io
import re
from functools import cache
from pathlib import Path

import nbformat
import pytest

from microgradlike.course import checks
from microgradlike.course import engine as first
from microgradlike.course.limit import within

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
NUMBERS = [int(path.name[:2]) for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))]


@cache
def cells(number):
    """The code cells of a notebook by their ids, in order."""
    (path,) = NOTEBOOKS.glob(f"{number:02}_*.ipynb")
    return {cell.id: cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"}


def bound(statement):
    """The names that a statement of a cell binds."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
    if not isinstance(statement, ast.Assign):
        return set()
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def changed(statement):
    """The names of which a statement sets an attribute."""
    targets = [node for node in ast.walk(statement) if isinstance(node, ast.Attribute)]
    names = [node.value for node in targets if isinstance(node.ctx, ast.Store)]
    return {name.id for name in names if isinstance(name, ast.Name) and isinstance(statement, ast.Assign)}


SCOPES = ast.FunctionDef | ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def used(node, inner=frozenset()):
    """The names from outside that a statement needs."""
    if isinstance(node, ast.Name):
        return {node.id} - inner if isinstance(node.ctx, ast.Load) else set()
    if isinstance(node, SCOPES):
        inside = list(ast.walk(node))
        inner |= {each.id for each in inside if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
        inner |= {each.arg for each in inside if isinstance(each, ast.arg)}
        inner |= {each.name for each in inside if isinstance(each, ast.FunctionDef)}
    return set().union(*(used(child, inner) for child in ast.iter_child_nodes(node)))


def is_open(statement):
    """Whether a statement is `name = ...`, or a function that returns it."""
    last = statement.body[-1] if isinstance(statement, ast.FunctionDef) else statement
    value = last.value if isinstance(last, ast.Assign | ast.Return) else None
    return isinstance(value, ast.Constant) and value.value is ...


def answered(source, answer):
    """The statements of an exercise's cell with an answer in place of the dots: `6`, or statements with the names."""
    statements = ast.parse(source).body
    blanks = [statement for statement in statements if is_open(statement)]
    if not re.search(r"^(def|class) | = |^import", answer, re.MULTILINE):
        answer = " = ".join([*map(min, map(bound, blanks)), answer])
    given = ast.parse(answer).body
    names = set().union(*map(bound, given))
    kept = [statement for statement in statements if not (statement in blanks and bound(statement) <= names)]
    return given + kept


def needed(number, exercise, statements):
    """The statements of the cells before that these need, and those that they need."""
    before = []
    for id, source in cells(number).items():
        if id == exercise:
            break
        before += ast.parse(source).body
    names, found = set(), []
    for statement in reversed(statements):
        names = (names - bound(statement)) | (used(statement) - bound(statement))
    for statement in reversed(before):
        if (bound(statement) | changed(statement)) & names:
            found.append(statement)
            names = (names - bound(statement)) | used(statement)
    return found[::-1]


def say(number, exercise, answer, first=()):
    """What the exercise's cell prints for an answer, if those in `first` have been given before."""
    statements = ast.parse("\n".join(first)).body + answered(cells(number)[exercise], answer)
    program = ast.Module(needed(number, exercise, statements) + statements, [])
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(program, f"<{number} {exercise}>", "exec"), {"__name__": "__main__"})
    return said.getvalue().splitlines()[-1]


def solutions(number):
    """The code of the solutions, in order."""
    (path,) = NOTEBOOKS.glob(f"{number:02}_*.ipynb")
    text = "\n".join(
        c.source for c in nbformat.read(path, as_version=4).cells if "solution" in c.metadata.get("tags", [])
    )
    return re.findall("```python\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def impatient(monkeypatch):
    """An answer that does not end is stopped soon."""
    monkeypatch.setattr(checks, "within", lambda seconds, call: within(0.7, call))


EXERCISES = [
    (number, id)
    for number in NUMBERS
    for id, source in cells(number).items()
    if re.search(r"^check\(", source, re.MULTILINE) and id != "step-accumulation"  # which has no dots
]
NONSENSE = [
    "None", "-1", "'six'", "float('nan')", "[]", "(1, 2, 3)", "{1: 2}", "{...: 1}", "print", "int", "object()",
    "lambda *_: None", "lambda *_: -1", "lambda *_: 'six'", "lambda *_: []", "lambda *_: 1 / 0", "lambda *_, **__: (1, 2)",
    "lambda: 6",
]  # fmt: skip


def first_steps(number, id):
    """The solutions of the steps before, where one builds on the other."""
    return solutions(0)[: [each for _, each in EXERCISES].index(id)] if number == 0 else []


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("number", "id"), EXERCISES)
def test_nonsense_is_wrong_and_is_told_in_a_line(number, id):
    for answer in NONSENSE:
        said = say(number, id, answer, first_steps(number, id))
        assert said.startswith("✗ Not yet. "), answer
        assert len(said) < 420, answer


# ── Right and wrong answers ────────────────────────────────────────────────────────────────────

MY_GRADIENT = """
def my_gradient(root, leaf):
    order = topological_order(root)
    {begin}
    {seed}
    for node in reversed(order):
        for input, local_grad in zip(node.inputs, node.local_grads):
            {add}
    return {result}
"""
IN_GRAD = {"seed": "root.grad += 1.0", "add": "input.grad += node.grad * local_grad", "result": "leaf.grad"}
IN_DICT = {"seed": "grad[root] = 1.0", "add": "grad[input] += grad[node] * local_grad", "result": "grad[leaf]",
           "begin": "grad = dict.fromkeys(order, 0.0)"}  # fmt: skip
DIFFERENCES = """
def gradient_by_differences(C, w, eps=1e-5):
    gradient = []
    for i, before in enumerate(w):
        w[i] = before + eps
        above = C(w)
        w[i] = {below}
        {back}
        gradient.append((above - C(w)) / {distance})
        w[i] = {after}
    return gradient
"""
EPOCH = """
def one_epoch(parameters, loss, samples, learning_rate, batch_size):
    losses = []
    {before}
    for i in range(0, len(samples){less}, batch_size):
        batch = samples[i : i + batch_size]
        C = mg.sum(loss(x, y) for x, y in batch) / {divisor}
        {zero}
        C.backward()
        for p in parameters:
            p.data {sign}= learning_rate * p.grad
        losses.append({loss})
    return losses
"""
ZERO = "for p in parameters: p.grad = 0.0"
EPOCH_RIGHT = {"before": "", "less": "", "divisor": "len(batch)", "zero": ZERO, "sign": "-", "loss": "C.data"}
SOFTMAX = """
def probabilities(logits, T):
    exps = np.exp({})
    return exps / exps.sum()
"""
FIVE_STEPS = """
def five_steps_for_rows(w, b, x, y):
    a = [x]
    for w_l, b_l in zip(w[:-1], b[:-1]):
        a.append(np.tanh(a[-1] @ w_l.T + b_l))
    exps = np.exp(a[-1] @ w[-1].T + b[-1])
    delta = [(exps / exps.sum(axis=1, keepdims=True) - y) / {m}]
    for i in reversed(range(len(w) - 1)):
        delta.insert(0, {back})
    return [{bias} for d in delta], [{weight} for d, a_in in zip(delta, a)]
"""
FIVE_RIGHT = {
    "m": "len(x)",
    "back": "(delta[0] @ w[i + 1]) * (1 - a[i + 1] ** 2)",
    "bias": "d.sum(axis=0)",
    "weight": "d.T @ a_in",
}
BACKWARD = """
def backward(self):
    order = topological_order(self)
    for node in order:
        {zero}
    {seed}
    for node in {order}:
        for input, local_grad in zip(node.inputs, node.local_grads):
            {add}
"""
BACKWARD_RIGHT = {"zero": "node.grad = 0.0 if node.inputs else node.grad", "seed": "self.grad += 1.0", "order": "reversed(order)",
                  "add": "input.grad += node.grad * local_grad"}  # fmt: skip
RULE = "def {name}(a, b):\n    b = as_value(b)\n    return Value({value}, {inputs}, {local_grads})\n"
MINUS = "def negate(a): return a * -1\ndef subtract(a, b): return a + b * -1\ndef subtract_from(a, b): return {}"
DIVIDE = "def divide(a, b):\n    b = as_value(b)\n    return Value(a.data / b.data, (a, b), {})\ndef divide_into(a, b): return {}"
BENDS = "def tanh(a):\n    y = math.tanh(a.data)\n    return Value(y, (a,), ({},))\ndef relu(a): return Value(max(a.data, 0.0), (a,), ({},))"
ORDER = """
def topological_order(root):
    order, seen = [], set()
    def visit(node):
        {first}
        if node in seen: return
        seen.add(node)
        for input in node.inputs:
            visit(input)
        {last}
    visit(root)
    return {result}
"""
ORDER_RIGHT = {"first": "", "last": "order.append(node)", "result": "order"}
DEEP = """
def deep_order(root):
    order, seen, to_do = [], {seen}, [(root, False)]
    while to_do:
        node, done = to_do.pop()
        if done:
            order.append(node)
        elif {once}:
            seen.{add}(node)
            to_do.append((node, True))
            to_do += [(input, False) for input in node.inputs]
    return order
"""
DEEP_RIGHT = {"seen": "set()", "once": "node not in seen", "add": "add"}
MOMENTUM = """
def momentum_step(parameters, velocities, learning_rate=0.1, mu=0.9):
    for i, p in enumerate(parameters):
        {}
"""
RESIDUAL = """
def residual(w, b, x):
    return [{} for row, bias, xj in zip(w, b, x)]
"""

MAXOUT = "def maxout_error(w_next, delta_next, z): return {}"

RIGHT = {  # others than the solutions in the notebook
    (0, "step-add"): ["def add(a, b):\n    return Value(as_value(b).data + a.data, [as_value(b), a], [1, 1])"],
    (0, "step-minus"): [MINUS.format("-(a - b)"), MINUS.format("as_value(b) + a * -1")],
    (0, "step-divide"): [DIVIDE.format("(b.data**-1, -a.data * b.data**-2)", "Value(b) / a")],
    (0, "step-activations"): [BENDS.format("1 - y * y", "a.data > 0")],
    (0, "step-order"): [
        "def topological_order(root):\n"
        "    order = []\n"
        "    def visit(node):\n"
        "        for input in node.inputs:\n"
        "            if input not in order: visit(input)\n"
        "        order.append(node)\n"
        "    visit(root)\n"
        "    return order",
    ],
    (0, "step-backward"): [BACKWARD.format(**BACKWARD_RIGHT | {"seed": "self.grad = 1.0"})],
    (0, "step-deep"): [DEEP.format(**DEEP_RIGHT)],
    (1, "c34"): ["6", "6.0", "Value(6.0)", "[6][0]"],
    (1, "c36"): ["8", "2**3", "8.0"],
    (1, "c38"): ["4 * 2**30 - 3", "4294967293", "float(2**32 - 3)"],
    (1, "c40"): ["6", "6.0"],
    (1, "c42"): [
        MY_GRADIENT.format(**IN_DICT),
        MY_GRADIENT.format(**IN_GRAD, begin="for node in order: node.grad = 0.0"),
    ],
    (2, "c21"): ["47720", "2 * (785 * 30 + 31 * 10)", "np.int64(47720)", "47720.0"],
    (2, "c23"): ["1.41e-8", "np.sqrt(2e-16)", "0.00000001414"],
    (2, "c25"): ["(3, 1000)", "[3, 1000]", "np.array([3, 1000])", "3, 1000.0"],
    (2, "c27"): [
        "def slope(f, x): return (f(x + 1e-5) - f(x - 1e-5)) / 2e-5",
        "def slope(f, x): return np.float64(f(x + 1e-5) - f(x - 1e-5)) / 2e-5",
        "def slope(f, x, e=1e-3): return (8 * (f(x + e) - f(x - e)) - (f(x + 2 * e) - f(x - 2 * e))) / (12 * e)",
    ],
    (2, "exercise-5"): [
        DIFFERENCES.format(below="before - eps", back="", distance="(2 * eps)", after="before"),
        "def gradient_by_differences(C, w):\n"
        "    w, e = np.array(w), 1e-5 * np.eye(4)\n"
        "    return np.array([(C(w + each) - C(w - each)) / 2e-5 for each in e])",
    ],
    (3, "c22"): ["(0.25, 0)", "(1 / 4, 0.0)", "[0.25, 0]", "np.array([0.25, 0])"],
    (3, "c24"): ["0.25**10", "9.54e-7", "np.float64(4) ** -10"],
    (3, "c26"): ["(1, 0, -1, 0)", "[-1, 0, 1, 0]", "np.array([1.0, 0, -1, 0])"],
    (3, "c28"): ["mg.operation('silu', lambda xp, x: x * xp.sigmoid(x), lambda xp, y, x: (xp.sigmoid(x) * (1 + x - y),))"],
    (4, "exercise-1"): ["def output_error(z, y): return (np.tanh(z) - y) / np.cosh(z) ** 2"],
    (4, "exercise-2"): ["def previous_error(w, d, slope): return (w.T @ d.T).T * slope"],
    (4, "exercise-3"): ["-0.1192", "-0.119", "1 / (1 + np.exp(-2)) - 1", "np.float64(-0.1192029)"],
    (4, "exercise-4"): ["'w'", "'W'", "np.str_('w')"],
    (4, "exercise-5"): [FIVE_STEPS.format(**FIVE_RIGHT)],
    (5, "exercise-1"): ["math.log(26)", "3.26", "np.log(26)"],
    (5, "exercise-2"): ["0.5", "1 / 2", "np.float64(0.5)"],
    (5, "exercise-3"): ["180", "20 * 9.0", "np.int64(180)"],
    (5, "exercise-4"): [MOMENTUM.format("velocities[i] = mu * velocities[i] + p.grad; p.data = p.data - learning_rate * velocities[i]")],
    (5, "exercise-5"): [
        EPOCH.format(**EPOCH_RIGHT),
        EPOCH.format(**EPOCH_RIGHT | {"before": "sgd = mg.nn.SGD(parameters, lr=learning_rate)", "zero": "sgd.zero_grad()"}),
    ],
    **{
        (6, f"name-{letter}"): [repr(name), repr(name.upper())]
        for letter, name in zip(
            "ABCDEFGHIJK",
            ["minus", "equals", "relu", "upstream", "exponent", "order", "partners", "tanh", "stale gradient", "stale graph", "uphill"],
        )
    },
    (6, "own"): ["def wrong_local_grads(xp, y, a, b): return (1 / b**2, -a / b**2)"],
    (7, "exercise-1"): ["10", "10.0", "np.int64(10)"],
    (7, "exercise-2"): ["(3, 4)", "[3, 4]", "np.zeros((3, 4)).shape", "np.array([3, 4])"],
    (7, "exercise-3"): [
        "def leaky(z): return z.relu() - 0.1 * (-z).relu()",
        "def leaky(z): return 0.9 * z.relu() + 0.1 * z",
    ],
    (7, "exercise-4"): [RESIDUAL.format("xj + (mg.sum(wk * xk for wk, xk in zip(row, x)) + bias).tanh()")],
    (8, "exercise-1"): ["7200", "7200.0", "2 * (4 * 16**2 + 2 * 64 * 16) + 2 * 27 * 16 + 12 * 16"],
    (8, "exercise-2"): ["0.693", "0.6931471805599453", "math.log(2)", "-np.log(0.5)", "Value(2.0).log()"],
    (8, "exercise-3"): [
        "def probabilities(logits, T): return [p.data for p in mg.softmax([z / T for z in logits])]",
        SOFTMAX.format("np.array(logits) / T - max(logits) / T"),
    ],
    (8, "exercise-4"): [
        "def weights_of(name): return [(t <= len(name)) / (len(name) + 1) for t in range(12)]",
        "def weights_of(name): return np.r_[np.full(len(name) + 1, 1 / (len(name) + 1)), np.zeros(11 - len(name))]",
    ],
    (9, "exercise-1"): ["'layer', 'loss', 'layer'", "['Layer ', 'LOSS', 'layer']"],
    (9, "exercise-2"): ["238200", "10 * 30 * (784 + 10)", "np.int64(238_200)"],
    (9, "exercise-3"): [
        MAXOUT.format("sum(w.T @ d for w, d in zip(w_next, delta_next)) * (z == z.max(axis=0))"),
        MAXOUT.format("np.einsum('mkj,mk->j', w_next, delta_next) * (z > z[::-1])"),
    ],
}  # fmt: skip

WRONG = {  # with a part of what is said
    (0, "step-add"): {
        "def add(a, b): return a.data + as_value(b).data": "a + b gives float: 5.0, which has no backward()",
        "def add(a, b): return Value(a.data + b.data, (a, b), (1.0, 1.0))": "a + 2 raises AttributeError",
        "def add(a, b): return Value(a.data + as_value(b).data)": "backward() gives a the gradient 0, and it should be 1",
        RULE.format(name="add", value="a.data + b.data", inputs="(a, b)", local_grads="(a.data, b.data)"): "off by +1 (+100 %)",
        RULE.format(name="add", value="a.data + b.data", inputs="(a,)", local_grads="(1.0,)"): "gives b the gradient 0",
        RULE.format(name="add", value="a.data - b.data", inputs="(a, b)", local_grads="(1.0, 1.0)"): "its value is 5, and should be -1",
        "def add(a, b): pass": "a + b gives NoneType: None",
        "def add(a, b): return a + b": "RecursionError",
    },
    (0, "step-multiply"): {
        RULE.format(name="multiply", value="a.data * b.data", inputs="(a, b)", local_grads="(a.data, b.data)"): "gives a the gradient 2, and it should be -3",
        RULE.format(name="multiply", value="a.data * b.data", inputs="(a, b)", local_grads="(1.0, 1.0)"): "a * b, at a = 2, b = -3:",
        RULE.format(name="multiply", value="a.data * b.data", inputs="(b, a)", local_grads="(b.data, a.data)"): "a * b, at a = 2, b = -3:",
        "def multiply(a, b): return Value(a.data * b.data, (a, b), (b.data, a.data))": "a * 2 raises AttributeError",
    },
    (0, "step-minus"): {
        MINUS.format("a - b"): "2 - a, at a = 2: backward() gives a the gradient 1, and it should be -1: off by its sign.",
        MINUS.format("b - a"): "RecursionError",
        MINUS.format("Value(b - a.data, (a,), (1.0,))"): "off by its sign",
        MINUS.format("Value(b) - a").replace("a + b * -1", "a + b"): "a - b, at a = 2, b = -3: its value is -1, and should be 5",
        MINUS.format("Value(b) - a").replace("a * -1", "Value(-a.data)"): "-a, at a = 2: backward() gives a the gradient 0",
    },
    (0, "step-divide"): {
        DIVIDE.format("(1 / b.data, -a.data / b.data**2)", "a / b"): "off by its sign",
        DIVIDE.format("(1 / b.data, a.data / b.data**2)", "Value(b) / a"): "a / b, at a = 2, b = -3: backward() gives b",
        DIVIDE.format("(1 / b.data, -1 / b.data**2)", "Value(b) / a"): "gives b the gradient -0.111111",
        DIVIDE.format("(b.data, -a.data)", "Value(b) / a"): "gives a the gradient -3",
    },
    (0, "step-power"): {
        "def power(a, n): return Value(a.data**n, (a,), (2 * a.data,))": "a ** 3, at a = 2: backward() gives a the gradient 4, and it should be 12",
        "def power(a, n): return Value(a.data**n, (a,), (a.data ** (n - 1),))": "a ** 2, at a = 2:",
        "def power(a, n): return Value(a.data**n, (a,), (n * a.data**n - 1,))": "a ** 2, at a = 2:",
        "def power(a, n): return Value(a.data**n, (a,), n * a.data ** (n - 1))": "TypeError",
        "def power(a, n):\n    y = a\n    for _ in range(n - 1): y = y * a\n    return y": "a ** -1",
    },
    (0, "step-activations"): {
        BENDS.format("1 - a.data**2", "1.0 if a.data > 0 else 0.0"): "a.tanh(), at a = 2:",
        BENDS.format("1 - y**2", "1.0"): "a.relu(), at a = -0.5: backward() gives a the gradient 1, and it should be 0",
        BENDS.format("1 - y**2", "a.data"): "a.relu(), at a = 2:",
    },
    (0, "step-order"): {
        ORDER.format(first="", last="order.insert(0, node)", result="order"): "A node stands before one of its inputs.",
        ORDER.format(first="order.append(node)", last="", result="order"): "A node stands",
        ORDER.format(first="", last="if node is not root: order.append(node)", result="order"): "The root itself is missing.",
        ORDER.format(first="", last="order.append(node) if node.inputs else None", result="order"): "The root itself is missing.",
        ORDER.format(first="", last="order.append(node)", result="seen"): "It should be a list, and is of the type set.",
        ORDER.format(first="seen.clear()", last="order.append(node)", result="order"): "A node stands in it twice.",
        "def topological_order(root):\n"
        "    below = [node for input in root.inputs for node in topological_order(input)]\n"
        "    return [*dict.fromkeys(below), root]": "You follow paths: ask first whether you have met the node before.",
    },
    (0, "step-backward"): {
        BACKWARD.format(**BACKWARD_RIGHT | {"add": "input.grad = node.grad * local_grad"}): "+=, not =",
        BACKWARD.format(**BACKWARD_RIGHT | {"add": "input.grad += local_grad"}): "off by",
        BACKWARD.format(**BACKWARD_RIGHT | {"order": "order"}): "off by",
        BACKWARD.format(**BACKWARD_RIGHT | {"seed": "pass"}): "gives a the gradient 0",
        "def backward(self, upstream=1.0):\n"
        "    self.grad += upstream\n"
        "    for input, local_grad in zip(self.inputs, self.local_grads): input.backward(upstream * local_grad)": "You follow paths: no call",
    },
    (0, "step-deep"): {
        ORDER.format(**ORDER_RIGHT).replace("topological", "deep"): "A function that calls itself is not deep enough.",
        DEEP.format(**DEEP_RIGHT | {"seen": "[]", "add": "append"}): "`in` is slow for a list",
        DEEP.format(**DEEP_RIGHT | {"once": "True"}): "A node stands in it twice.",
    },
    (1, "c34"): {"5": "also added directly", "1": "in the product as well", "12": "L itself", "7": "twice", "'6'": "This is a text"},
    (1, "c36"): {"6": "two ways", "4": "three", "'8'": "quotation marks", "[8]": "a list of 1"},
    (1, "c38"): {"2**30": "number of paths", "2**32": "that rule", "91": "nodes", "4294967294": "Compare"},
    (1, "c40"): {"12": "Is z a leaf?", "18": "∂L/∂w", "36": "w is a leaf"},
    (1, "c42"): {
        MY_GRADIENT.format(**IN_GRAD, begin=""): "left over in `grad`",
        MY_GRADIENT.format(**IN_DICT | {"add": "grad[input] = grad[node] * local_grad"}): "it should be 2⁴⁰, and is",
        MY_GRADIENT.format(**IN_DICT).replace("reversed(order)", "order"): "it should be 2⁴⁰, and is 0.0",
        "def my_gradient(root, leaf): return leaf.grad": "it should be 2⁴⁰",
        "def my_gradient(root, leaf):\n"
        "    if root is leaf: return 1.0\n"
        "    return sum(d * my_gradient(input, leaf) for input, d in zip(root.inputs, root.local_grads))": "here are 2⁴⁰ of them",
        "def my_gradient(root, leaf):\n    root.backward()\n    return leaf.grad": "left over in `grad`",
    },
    (2, "c21"): {"23860": "central differences take 2n", "23861": "for forward differences", "47640": "biases", "47721": "C(w) itself"},
    (2, "c23"): {"1e-8": "The size is right", "2e-16": "ε²", "1.5e-8": "Differentiate", "0": "Differentiate"},
    (2, "c25"): {"(1000, 3)": "The other way round", "(3, 3000)": "by all inputs at once", "(3, 999)": "Right but for number 2.", "3": "2 answers"},
    (2, "c27"): {
        "def slope(f, x): return (f(x + 1e-8) - f(x)) / 1e-8": "digits. Hint: Look both ways",
        "def slope(f, x): return (f(x + 1e-4) - f(x)) / 1e-4": "right to 4 digits",
        "def slope(f, x): return (f(x + 1e-5) - f(x - 1e-5)) / 1e-5": "right to 0 digits",
        "def slope(f, x): return (f(x + 1) - f(x - 1)) / 2": "right to 1 digit.",
        "def slope(f, x): return 'steep'": "It should return a number, and returns something of the type str.",
        "def slope(f, x): (f(x + 1e-5) - f(x - 1e-5)) / 2e-5": "of the type NoneType",
        "def slope(f, x): return (f(x + 1e-200) - f(x)) / 1e-200": "right to 0 digits",
        "def slope(f): return 1.0": "TypeError",
    },
    (2, "exercise-5"): {
        DIFFERENCES.format(below="before - eps", back="", distance="eps", after="before"): "All are twice what they should be.",
        DIFFERENCES.format(below="before", back="", distance="(2 * eps)", after="before"): "All are half what they should be.",
        DIFFERENCES.format(below="before - eps", back="", distance="(-2 * eps)", after="before"): "All are minus what they should be.",
        DIFFERENCES.format(below="before - eps", back="", distance="(2 * eps)", after="w[i]"): "each number has to be put back",
        DIFFERENCES.format(below="before", back="", distance="eps", after="before"): "∂C/∂w₁ is",
        "def gradient_by_differences(C, w): return [C(w + [1e-5]) - C(w)]": "C was called with a list of 5, and takes one of 4.",
        "def gradient_by_differences(C, w): return C(w)": "It should return a list of four numbers.",
    },
    (3, "c22"): {"(0.25, 0.5)": "At which x?", "(0, 0.25)": "First the value", "0.25": "2 answers", "(0.5, 0)": "not its slope"},
    (3, "c24"): {"2.5": "multiplied", "0.25": "ten", "0.5**10": "not its slope", "0.25**9": "ten factors"},
    (3, "c26"): {"(1, 0, 1, 0)": "At x = -3.0", "(1, 1, -1, 1)": "At x = -3.0", "(1, 0)": "not enough values", "(0, 0, 0, 0)": "At x"},
    (3, "c28"): {
        "lambda x: x * x.sigmoid()": "It should be one operation",
        "mg.operation('swish', lambda xp, x: x * xp.sigmoid(x), lambda xp, y, x: xp.sigmoid(x))": "Its derivative at",
        "mg.operation('swish', lambda xp, x: xp.sigmoid(x), lambda xp, y, x: xp.sigmoid(x))": "Its value at",
    },
    (4, "exercise-1"): {
        "def output_error(z, y): return np.tanh(z) - y": "That is ∇ₐC alone.",
        "def output_error(z, y): return (z - y) * (1 - z**2)": "Hint: ∇ₐC is a − y",
        "def output_error(z, y): return (y - np.tanh(z)) * (1 - np.tanh(z) ** 2)": "Hint: ∇ₐC is a − y",
        "def output_error(z, y): return ((np.tanh(z) - y) * (1 - np.tanh(z) ** 2)).sum()": "its shape should be (3,), and is ().",
    },
    (4, "exercise-2"): {
        "def previous_error(w, d, slope): return w.T @ d * slope": "ValueError",
        "def previous_error(w, d, slope): return d @ w": "Hint: For rows",
        "def previous_error(w, d, slope): return (d @ w * slope).T": "its shape should be (5, 3), and is (3, 5)",
    },
    (4, "exercise-3"): {"0.8808": "That is a.", "0.1192": "The sign", "-0.012515": "quadratic", "-1.1353": "∂C/∂a"},
    (4, "exercise-4"): {"'b'": "BP3", "('w', 'b')": "a list of 2"},
    (4, "exercise-5"): {
        FIVE_STEPS.format(**FIVE_RIGHT | {"m": "1"}): "the sum over the samples, not the mean",
        FIVE_STEPS.format(**FIVE_RIGHT | {"bias": "d"}): "∂C/∂b of layer 3 has the shape (5, 3), not (3,)",
        FIVE_STEPS.format(**FIVE_RIGHT | {"weight": "a_in.T @ d"}): "the first that is wrong is ∂C/∂w of layer 3",
        FIVE_STEPS.format(**FIVE_RIGHT | {"back": "(delta[0] @ w[i + 1])"}): "the first that is wrong is ∂C/∂b of layer 2",
        FIVE_STEPS.format(**FIVE_RIGHT | {"back": "(delta[0] @ w[i + 1]) * (1 - a[i + 1])"}): "the first that is wrong is ∂C/∂b of layer 2",
        FIVE_STEPS.format(**FIVE_RIGHT | {"bias": "d.mean(axis=0)"}): "the first that is wrong is ∂C/∂b of layer 3",
        "def five_steps_for_rows(w, b, x, y): return five_steps(w, b, x, y)": "ValueError",
        "def five_steps_for_rows(w, b, x, y): return w": "It should return two lists",
    },
    (5, "exercise-1"): {"np.log10(26)": "natural", "1 / 26": "−log", "26": "number of letters", "math.log2(26)": "bits"},
    (5, "exercise-2"): {"0.25": "negative", "1": "−3", "2": "−7", "0.4": "magnitude"},
    (5, "exercise-3"): {"60": "1/√3", "20 / 9": "1/√m", "'180'": "quotation marks"},
    (5, "exercise-4"): {
        MOMENTUM.format("p.data -= learning_rate * p.grad"): "The velocities should be",
        MOMENTUM.format("velocities[i] = mu * velocities[i] + p.grad"): "The parameters should be",
        MOMENTUM.format("p.data -= learning_rate * velocities[i]; velocities[i] = mu * velocities[i] + p.grad"): "The parameters should be",
        MOMENTUM.format("velocities[i] += p.grad; p.data -= learning_rate * velocities[i]"): "The velocities should be",
        MOMENTUM.format("velocities = [mu * v + p.grad for v in velocities]; p.data -= learning_rate * velocities[i]"): "The velocities",
    },
    (5, "exercise-5"): {
        EPOCH.format(**EPOCH_RIGHT | {"zero": ""}): "The gradients of earlier steps are still in it.",
        EPOCH.format(**EPOCH_RIGHT | {"zero": "", "before": ZERO}): "zero them for each minibatch",
        EPOCH.format(**EPOCH_RIGHT | {"divisor": "1"}): "not their mean",
        EPOCH.format(**EPOCH_RIGHT | {"less": " - 1"}): "The last sample is left out.",
        EPOCH.format(**EPOCH_RIGHT | {"divisor": "batch_size"}): "its mean is over one",
        EPOCH.format(**EPOCH_RIGHT | {"sign": "+"}): "uphill",
        EPOCH.format(**EPOCH_RIGHT | {"before": "batch_size = len(samples)"}): "one step for all samples together",
        EPOCH.format(**EPOCH_RIGHT | {"before": "batch_size = 1"}): "one step for each single sample",
        EPOCH.format(**EPOCH_RIGHT | {"before": "learning_rate = 0.5"}): "w should arrive at",
        EPOCH.format(**EPOCH_RIGHT | {"before": "all_C = [mg.sum(loss(x, y) for x, y in samples[i:i + 3]) / len(samples[i:i + 3]) for i in (0, 3, 6)]",
                                      "zero": ZERO + "\n        C = all_C[i // 3]"}): "before the first step",
        EPOCH.format(**EPOCH_RIGHT).replace("return losses", "return sum(losses)"): "a list of three numbers",
    },
    (6, "name-A"): {"'partners'": "x · y is right", "'uphill'": "of a loop", "'plus'": "by its sign"},
    (6, "name-C"): {"'upstream'": "a single operation", "'tanh'": "rows that are wrong", "'sign'": "other side of 0"},
    (6, "name-E"): {"'partners'": "x · y is right", "'base'": "times too small"},
    (6, "name-G"): {"'minus'": "x − y is right", "'exponent'": "x³ is right", "'equals'": "x · y is not"},
    (6, "name-H"): {"'upstream'": "a single operation here", "'relu'": "rows that are wrong", "'sech'": "gives 0 at 1"},
    (6, "name-I"): {"'uphill'": "goes down", "'stale graph'": "does follow", "'step size'": "Add up"},
    (6, "name-K"): {"'stale gradient'": "in each step", "'minus'": "right in each step"},
    (6, "name-B"): {"'order'": "x + x", "'stale gradient'": "one call", "'Equal'": "in common"},
    (6, "name-D"): {"'equals'": "x + x", "'minus'": "joined"},
    (6, "name-F"): {"'equals'": "x + x"},
    (6, "name-J"): {"'stale gradient'": "stays the same"},
    (6, "own"): {
        "def wrong_local_grads(xp, y, a, b): return (1 / b, -a / b**2)": "It is right at (3, 2), too.",
        "def wrong_local_grads(xp, y, a, b): return (b, a)": "It is found at (1, 1) already.",
        "def wrong_local_grads(xp, y, a, b): return 1 / b": "Error",
    },
    (7, "exercise-1"): {"5": "weights, and biases", "4": "different ones", "137": "parameters", "8": "last layer"},
    (7, "exercise-2"): {"(4, 3)": "The other way round", "(4, 6)": "W¹", "3": "2 answers", "(3, 4, 1)": "a list of 3"},
    (7, "exercise-3"): {
        "def leaky(z): return z.leaky_relu()": "Without `leaky_relu`, please.",
        "def leaky(z): return z if z > 0 else 0.1 * z": "Error",
        "def leaky(z): return z if z.data > 0 else 0.1 * z": "Hint: Which",
        "def leaky(z): return z.relu()": "Hint: Which",
        "def leaky(z): return mg.minimum(z, 0.1 * z)": "Hint: Which",
    },
    (7, "exercise-4"): {
        RESIDUAL.format("(mg.sum(wk * xk for wk, xk in zip(row, x)) + bias).tanh()"): "It is another function.",
        RESIDUAL.format("xj + mg.sum(wk * xk for wk, xk in zip(row, x)).tanh()"): "It is another function.",
        RESIDUAL.format("xj + bias"): "It is another function.",
        "def residual(w, b, x): return x": "It is another function.",
    },
    (8, "exercise-1"): {
        "8256": "are there once",
        "4128": "one layer",
        "3072": "And the rest?",
        "5152": "U and D, too",
        "6176": "Q, K, V and M, too",
        "12": "Count the matrices",
    },
    (8, "exercise-2"): {"0.5": "That is p", "-0.693": "negative", "1": "base 2", "2": "number of letters",
                        "math.log10(2)": "base 10", "2.8": "Hint: The loss is the mean"},
    (8, "exercise-3"): {
        SOFTMAX.format("np.array(logits) / T"): "Subtract the largest first",
        SOFTMAX.format("np.array(logits) - max(logits)"): "T = 0.5 it is [0.1, 0.9], not [0.25, 0.75]",
        SOFTMAX.format("(np.array(logits) - max(logits)) * T"): "T = 0.5 it is [0.1, 0.9], not [0.366, 0.634]",
        "def probabilities(logits, T): return [math.exp(z / T) / sum(math.exp(y / T) for y in logits) for z in logits]":
            "Hint: What is the same for all logits may be subtracted",
        "def probabilities(logits, T): return logits": "it is [0.25, 0.75], not [0.0, 1.099]",
    },
    (8, "exercise-4"): {
        "def weights_of(name): return [1 / (len(name) + 1)] * (len(name) + 1)": "has 4 weights; there are 12",
        "def weights_of(name): return [1 / len(name)] * len(name) + [0.0] * (12 - len(name))": "asked 4 times",
        "def weights_of(name): return [1 / 12] * 12": "12 weights are not 0",
        "def weights_of(name): return [1.0] * (len(name) + 1) + [0.0] * (11 - len(name))": "add up to 4",
        "def weights_of(name): return [0.0] * (11 - len(name)) + [1 / (len(name) + 1)] * (len(name) + 1)": "The first 4",
    },
    (9, "exercise-1"): {
        "'loss', 'loss', 'loss'": "to show the form",
        "'layer', 'layer', 'layer'": "What does one differentiate?",
        "'loss', 'layer', 'layer'": "δ has an upper index",
        "'loss', 'layer', 'loss'": "other way round",
        "'layer', 'loss', 'loss'": "Right but for number 3",
    },
    (9, "exercise-2"): {"23820": "one sample", "23860": "not multiplied; and", "238600": "not multiplied",
                        "235200": "There are two", "47640": "ten samples", "10": "Hint: For one sample"},
    (9, "exercise-3"): {
        MAXOUT.format("w_next.reshape(-1, z.shape[1]).T @ delta_next.ravel()"): "shape should be (2, 4), and is (4,)",
        MAXOUT.format("np.array(2 * [w_next.reshape(-1, z.shape[1]).T @ delta_next.ravel()])"): "what arrives at a",
        MAXOUT.format("(w_next.reshape(-1, z.shape[1]).T @ delta_next.ravel()) * (z == z.min(axis=0))"): "The other z",
        MAXOUT.format("(w_next[0].T @ delta_next[0]) * (z == z.max(axis=0))"): "Add up both parts",
        MAXOUT.format("(w_next[1].T @ delta_next[1]) * (z == z.max(axis=0))"): "Add up both parts",
        MAXOUT.format("(w_next.sum(axis=0).T @ delta_next.sum(axis=0)) * (z == z.max(axis=0))"): "one under the other",
        MAXOUT.format("w_next @ delta_next"): "mismatch",
    },
}  # fmt: skip


def rows(table):
    return [
        pytest.param(*key, answer, id=f"{key[0]} {key[1]} {i}") for key in table for i, answer in enumerate(table[key])
    ]


@pytest.mark.parametrize(("number", "id", "answer"), rows(RIGHT))
def test_right_answers(number, id, answer):
    assert say(number, id, answer, first_steps(number, id)) == "✓ Right."


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("number", "id", "answer"), rows(WRONG))
def test_wrong_answers_are_answered(number, id, answer):
    said = say(number, id, answer, first_steps(number, id))
    assert said.startswith("✗ Not yet. ")
    assert WRONG[number, id][answer] in said


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("answer", "said"), [
    (BACKWARD.format(**BACKWARD_RIGHT), "✓ Right."),
    (BACKWARD.format(**BACKWARD_RIGHT | {"zero": "if node is not self and node.inputs: node.grad = 0", "seed": "self.grad = 1"}), "✓ Right."),
    (BACKWARD.format(**BACKWARD_RIGHT | {"zero": "pass"}), "After call 2, z.grad should be 2z = 18 as in each, and is 54"),
    (BACKWARD.format(**BACKWARD_RIGHT | {"zero": "pass", "seed": "self.grad = 1.0"}), "After call 2, z.grad should be 2z = 18 as in each, and is 36"),
    (BACKWARD.format(**BACKWARD_RIGHT | {"zero": "node.grad = 0.0"}), "After call 2, w.grad should be 216, and is 108"),
    (BACKWARD.format(**BACKWARD_RIGHT | {"add": "input.grad = node.grad * local_grad"}), "a * a, at a = 2: backward() gives a the gradient 2"),
    ("def backward(self): return None", "a * a, at a = 2: backward() gives a the gradient 0"),
    ("def backward(self): return 1 / 0", "ZeroDivisionError"),
    ("def backward(self): self.grad = 'six'", "gives a the gradient 0"),
    ("backward = 6", "TypeError"),
    ("def backward(self):\n    while True: pass", "stopped after 10 seconds"),
])  # fmt: skip
def test_the_step_that_changes_an_answer_given_before(answer, said):
    given = [*solutions(0)[:7], f"{answer}\nValue.backward = backward"]
    assert said in say(0, "step-accumulation", "", given)


def test_every_exercise_is_answered():
    assert set(EXERCISES) - set(RIGHT) == {(0, "step-multiply"), (0, "step-power")}  # there is one way only
    assert set(EXERCISES) - set(WRONG) == set()


def test_the_engine_that_stands_in_is_what_the_solutions_write():
    def bodies(source):
        """What each function does, by name: without the types, and with the class of the notebook."""
        functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
        for node in (node for function in functions for node in ast.walk(function)):
            if isinstance(node, ast.FunctionDef):
                node.returns = None
            if isinstance(node, ast.arg):
                node.annotation = None
        return {f.name: "\n".join(map(ast.unparse, f.body)).replace("FirstValue", "Value") for f in functions}

    engine, written = bodies(inspect.getsource(first)), bodies("\n".join(solutions(0)))
    methods = {"add": "add", "multiply": "mul", "negate": "neg", "subtract": "sub", "subtract_from": "rsub",
               "divide": "truediv", "divide_into": "rtruediv", "power": "pow"}  # fmt: skip
    names = {name: f"__{method}__" for name, method in methods.items()}
    for name in [*names, "tanh", "relu", "topological_order", "backward"]:
        assert engine[names.get(name, name)] == written[name]


# ── Names ──────────────────────────────────────────────────────────────────────────────────────


def assigned(node):
    """The names that a statement gives a value in the notebook, also in a loop; not those of comprehensions."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom):
        return bound(node)
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Store) else set()
    return set() if isinstance(node, SCOPES) else set().union(*map(assigned, ast.iter_child_nodes(node)))


def needed_from_before(source):
    """The names that a cell needs from the cells before it."""
    names, own = set(), set()
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign):
            reads = used(ast.Expr(statement.value)) | changed(statement)
        else:
            reads = used(statement) - assigned(statement)
        names |= reads - own
        own |= assigned(statement)
    return names


@pytest.mark.parametrize("number", NUMBERS)
def test_no_name_that_a_cell_needs_means_another_thing_in_a_later_cell(number):
    ids = list(cells(number))
    gives = {id: set().union(*map(assigned, ast.parse(source).body)) for id, source in cells(number).items()}
    clashes = {
        (ids[i], ids[j], name)
        for i in range(len(ids))
        for name in needed_from_before(cells(number)[ids[i]]) & set().union(*(gives[id] for id in ids[:i]))
        for j in range(i + 1, len(ids))
        if name in gives[ids[j]]
    }
    assert clashes == set()
