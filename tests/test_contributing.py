"""What CONTRIBUTING.md tells people to do works: its example is followed, line by line, and its commands and files exist."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import oracles
import pytest
from mpmath import mp, mpf

from microgradlike import (
    Value,
    agreement,
    check_gradients,
    draw,
    explain,
    gradient,
    jvp,
    nn,
    ops,
    steps,
    value,
    vectorize,
)
from microgradlike.ieee import ieee
from microgradlike.nn import deltas

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE)


def blocks(heading):
    """The Python code under a heading."""
    return re.findall(r"```python\n(.*?)```", GUIDE.split(f"\n## {heading}\n")[1].split("\n## ")[0], re.DOTALL)


@pytest.fixture
def row(monkeypatch):
    """The operation of the guide, added as it says: the row of the table, the method, and the row of the oracles."""
    table, method, oracle = blocks("Add an operation in one row")
    names = dict(vars(ops))
    exec(table, names)
    monkeypatch.setattr(ops, "SILU", names["SILU"], raising=False)
    names = dict(vars(value))
    exec(method, names)
    monkeypatch.setattr(Value, "silu", names["silu"], raising=False)
    (row,) = eval(f"[{oracle}]", vars(oracles))
    return row


def test_the_new_row_is_right(row):
    with mp.workdps(oracles.DIGITS):
        for (x,) in row.points:
            y = row.op.value(ieee, x)
            (local_grad,) = row.op.local_grads(ieee, y, x)
            names = {"sigmoid": oracles.sigmoid, "exp": mp.exp, "x": mpf(x)}
            unit = abs(x) or 1
            slope = mp.diff(lambda t, x=x, unit=unit: row.oracle(x + t * unit), 0) / unit
            for exact in row.oracle(mpf(x)), eval(row.op.text, names):
                assert y == pytest.approx(float(exact), rel=1e-15, abs=0)
            for exact in slope, eval(row.op.formulas[0], names):
                assert local_grad == pytest.approx(float(exact), rel=1e-15, abs=0)


def test_everything_knows_the_new_operation(row):
    w, x = Value(0.5, "w"), Value(-1.5, "x")

    def record():
        return (w * x).silu()

    y = record()
    y.backward()
    assert "SiLU(v₁)" in str(explain(y)) and "σ(v₁)·(1 + v₁·(1 − σ(v₁)))" in str(explain(y))
    assert "SiLU" in draw(y).svg() and "SiLU" in steps(y).document()
    assert check_gradients(record, [w, x]).ok
    assert check_gradients(lambda: gradient(record(), [w])[0], [w, x]).ok  # the second derivatives
    assert gradient(y, [w])[0].data == w.grad == jvp(y, {w: 1.0})
    program = vectorize(y, [[x]])
    assert "SiLU(" in str(program)
    assert program([[-1.5]]) == pytest.approx([y.data], rel=1e-15)


def test_an_activation_is_added_as_the_guide_says(row, monkeypatch):
    activation, sigma, sigma_prime, complex_sigma = blocks("Add an activation")
    for table, line, module in (
        (nn.ACTIVATIONS, activation, nn.modules),
        (deltas.SIGMA, sigma, deltas),
        (deltas.SIGMA_PRIME, sigma_prime, deltas),
        (oracles.COMPLEX_SIGMA, complex_sigma, oracles),
    ):
        monkeypatch.setitem(table, "silu", eval(f"{{{line}}}", vars(module))["silu"])
    z = np.linspace(-4.0, 4.0, 9)
    exact = oracles.COMPLEX_SIGMA["silu"](z + 1e-20j)
    np.testing.assert_allclose(deltas.SIGMA["silu"](z), exact.real, rtol=1e-14, atol=1e-20)
    np.testing.assert_allclose(deltas.SIGMA_PRIME["silu"](z), exact.imag / 1e-20, rtol=1e-14)
    model = nn.MLP(3, [4, 2], activation="silu", output="silu", seed=0)
    assert agreement("quadratic", model, [0.5, -1.0, 2.0], [0.25, 0.75]).ok


def test_every_file_that_the_guide_names_exists():
    files = re.findall(r"`((?:microgradlike|tests|docs|benchmarks|\.ci)/[\w./]*)`", GUIDE)
    assert len(files) > 20
    assert [name for name in files if not (ROOT / name).exists()] == []


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_help_lists_every_target_in_lines_that_fit_a_terminal():
    listed = subprocess.run(
        ["make", "-s", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    lines = listed.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["make", target] for target in TARGETS]
    assert [line for line in lines if len(line) > 100] == []
    assert len({re.match(r"make \S+ +", line).end() for line in lines}) == 1  # aligned


def test_every_target_that_the_guide_names_is_there():
    named = re.findall(r"(?m)(?:`|^(?=make \S+ +#))make ([a-z-]+)", GUIDE)
    assert len(named) > 5 and {*named} <= {*TARGETS}


def test_what_runs_before_a_commit_is_what_make_lint_runs():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[1]
    assert re.findall(r"entry: \.venv/bin/(.*)", hooks) == re.findall(r"\$\(VENV\)/bin/(.*)", lint)


def test_no_test_module_imports_another():
    for file in (ROOT / "tests").glob("*.py"):
        imported = re.findall(r"^\s*(?:from|import) (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert imported == [], file.name
