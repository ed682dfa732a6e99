"""Edge cases: kinks, poles, overflow, saturation, nan. docs/edges.md shows them all.

Where PyTorch, JAX and mathematics agree, so do we. Where they differ we follow PyTorch, but for the
few cases of OUR_CHOICE. Numbers are compared bit for bit where all are exact, else to 4 units in
the last place; nan equals nan; the sign of a zero is nobody's business here (div_0_5 shows −0.0
in the libraries and 0 in mathematics).

data/edge_cases.json holds the sixty cases that were given, data/more_edges.json those of record_edges.py.
"""

import ast
import json
import math
from math import inf, nan
from pathlib import Path

import pytest
from expressions import MORE_FUNCTIONS, evaluate

from microgradlike import Value, gradient, vectorize

DATA = Path(__file__).parent / "data"
PAGE = Path(__file__).parents[1] / "docs" / "edges.md"
GIVEN, MORE = (json.loads((DATA / f"{name}.json").read_text(encoding="utf-8")) for name in ("edge_cases", "more_edges"))
CASES = [*GIVEN["cases"], *MORE["cases"]]
EACH = pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])

OUR_CHOICE = {
    # id: (value, local derivatives, why we do not follow PyTorch)
    "norm2_00": (0.0, [nan, nan], "there is no norm operation: in sqrt(x*x + y*y) the root's ∞ meets a 0, as in JAX"),
    "sigmoid_36": (0.9999999999999998, [2.319522830243568e-16], "all digits of σ′, where PyTorch's σ(1 − σ) cancels"),
    "sigmoid_710": (1.0, [4.47628622567513e-309], "σ′ is tiny, and not yet 0"),
    "softplus_30": (30.000000000000092, [0.9999999999999064], "the exact value, where PyTorch takes x for all x > 20"),
    "tanh(x) at 20": (1.0, [1.6993417021166355e-17], "all digits of tanh′, where PyTorch's 1 − tanh² cancels"),
    "elu(x) at nan": (nan, [nan], "nan is on no side of the kink"),
    "lse_big": (10000.69314718056, [0.5, 0.5], "the exact derivatives, where PyTorch's show the rounding of the value"),
}


def answer(case):
    """Our value and gradients."""
    inputs = [Value(float(x)) for x in case["inputs"]]
    names = dict(zip("xyz", inputs, strict=False))
    output = evaluate(ast.parse(case["expr"], mode="eval").body, names, MORE_FUNCTIONS)
    output.backward()
    return [output.data, *(x.grad for x in inputs)]


def numbers(record):
    """The value and gradients of a library, or of mathematics."""
    return [float(record["value"]), *map(float, record["grad"])]


def expected(case):
    """The value and gradients that ours must be."""
    value, grads, _ = OUR_CHOICE.get(case["id"]) or (*case["torch"].values(), "")
    return numbers({"value": value, "grad": grads})


def same(ours, theirs, ulps=4):
    for a, b in zip(ours, theirs, strict=True):
        if a != b and (a == a or b == b) and not abs(a - b) <= ulps * math.ulp(b):
            return False
    return True


@EACH
def test_edge(case):
    assert same(answer(case), expected(case)), f"got {answer(case)}, expected {expected(case)}"


def test_we_choose_otherwise_only_where_the_three_do_not_agree_or_lose_digits():
    for case in CASES:
        differs = not same(answer(case), numbers(case["torch"]))
        assert differs == (case["id"] in OUR_CHOICE), case["id"]


@pytest.mark.parametrize("case", [c for c in GIVEN["cases"] if c["mpmath_exact"]], ids=lambda case: case["id"])
def test_mathematics(case):
    """Where the function has a derivative, it is the one we give."""
    exact = case["mpmath_exact"]
    ours = answer(case)
    if case["id"] == "one_minus_cos_1e-8":
        assert ours[0] == 0.0  # 1 − cos x as it is written: the subtraction loses all digits, the derivative none
    elif case["id"] == "sigmoid_710":
        assert ours[1] == pytest.approx(math.exp(-710), rel=1e-12)  # the record rounds σ′ to 0
        return
    else:
        assert same(ours[:1], [float(exact["value"])])
    if isinstance(exact["grad"], list):
        assert same(ours[1:], map(float, exact["grad"]))


def test_all_are_here():
    assert len(GIVEN["cases"]) == 60 and len(MORE["cases"]) == 100
    assert len({case["id"] for case in CASES}) == len(CASES)
    assert set(OUR_CHOICE) <= {case["id"] for case in CASES}


@pytest.mark.parametrize("function", ["logsumexp", "softmax0", "logsoftmax0"])
@pytest.mark.parametrize(
    "inputs",
    [[inf, 0.0], [0.0, inf], [inf, inf], [inf, -inf], [-inf, -inf], [0.0, -inf], [-inf, 1.0, -inf], [nan, 0.0]],
)
def test_infinite_operands_mean_the_same_to_backward_gradient_and_the_array_program(function, inputs):
    x = [Value(each) for each in inputs]
    y = MORE_FUNCTIONS[function](*x) * 1.0
    y.backward()
    expected = [y.data, *(v.grad for v in x)]
    assert same([y.data, *(g.data for g in gradient(y, x))], expected)
    program = vectorize(y)
    assert same([program().item(), *program.gradients()["w₁"]], expected)


# ── The page ───────────────────────────────────────────────────────────────────────────────────


def shown(x):
    """A number, as the page has it."""
    return f"{x:.15g}".replace("inf", "∞").replace("-", "−")


def written(answer):
    """A value with its derivatives, as the page has them."""
    value, *grads = (shown(x + 0.0) for x in answer)
    return f"{value}; {', '.join(grads)}"


def page():
    """docs/edges.md: all cases, with the answers of PyTorch and JAX where they are others."""
    lines = [
        "# Edges: what kinks, poles, overflow and nan give",
        "",
        "Each answer is the value, and after the semicolon the derivative with respect to each input. ✓ is the same answer as",
        "ours, to 4 units in the last place. Where PyTorch and JAX differ we follow PyTorch; where we do not, the last column",
        "says why.",
        "",
        "PyTorch 2.13 and JAX 0.10 in float64 were asked for the sixty cases of `tests/data/edge_cases.json`; for the others",
        "see `tests/record_edges.py`. `maxred` is the maximum of its arguments, `softmax0` and `logsoftmax0` are the first",
        "entry of softmax and log-softmax. This page is written by `make docs` from what `tests/test_edges.py` runs.",
    ]
    category = None
    for case in sorted(CASES, key=lambda case: [*dict.fromkeys(c["category"] for c in CASES)].index(case["category"])):
        if case["category"] != category:
            category = case["category"]
            lines += ["", f"## {HEADINGS[category]}", "", "| | at | ours | PyTorch | JAX | why |", "|---" * 6 + "|"]
        at = ", ".join(f"{name} = {shown(float(x))}" for name, x in zip("xyz", case["inputs"]))
        theirs = [numbers(case[library]) for library in ("torch", "jax")]
        answers = ["✓" if same(expected(case), each) else written(each) for each in theirs]
        why = OUR_CHOICE.get(case["id"], ("", "", ""))[2]
        lines.append(f"| `{case['expr']}` | {at} | {written(expected(case))} | {' | '.join(answers)} | {why} |")
    return "\n".join(lines) + "\n"


HEADINGS = {
    "kink": "Kinks and ties", "pow": "Powers", "domain": "Poles, and outside the domain", "overflow": "Overflow",
    "saturation": "Saturation", "nan": "Not a number", "reuse": "Values used more than once", "cancel": "Cancellation",
}  # fmt: skip


def test_the_page_shows_what_is_tested_here():
    assert PAGE.read_text(encoding="utf-8") == page(), "docs/edges.md is out of date: run `make docs`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
