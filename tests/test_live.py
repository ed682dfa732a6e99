"""The page computes both passes by itself: in Chromium it is held against Python, number by number."""

import math
import random
from importlib.resources import files
from itertools import product
from math import inf, nan

import pytest
from oracles import TABLE

from microgradlike import ops
from microgradlike.ieee import ieee
from microgradlike.view import javascript

BROWSER = files("microgradlike.view") / "browser"
SPECIAL = (0.0, -0.0, 1.0, -1.0, -2.0, 3.0, -10.0, 0.5, 309.0, 400.0, -1075.0, inf, -inf, nan)


@pytest.fixture
def pure(browse):
    """Calls a function of the scripts that touch no document."""
    page = browse()
    code = "".join((BROWSER / f"{name}.js").read_text() for name in ("digits", "arithmetic", "engine", "passes"))
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
