"""Small data sets to train on: handwritten digits and first names (real), and two moons (made up)."""

from __future__ import annotations

import gzip
import math
import random
from importlib.resources import files


def digits() -> tuple[list[list[float]], list[int]]:
    """Return 1797 handwritten digits: images of 8 × 8 = 64 grey levels from 0 to 1, row by row, and their classes.

    The test half of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI
    Machine Learning Repository, 1998, doi:10.24432/C50P49, licence CC BY 4.0), in the order in
    which scikit-learn ships it. The grey levels are sixteenths, hence exact as floats.
    """
    rows = [[int(number) for number in line.split(",")] for line in _lines("digits.csv.gz")]
    return [[grey / 16 for grey in row[:64]] for row in rows], [row[64] for row in rows]


def names() -> list[str]:
    """Return 5163 first names, in lower case, of the letters a to z, the most frequent first.

    The names of women and men in the United States that the Census Bureau counted in a sample of the census of
    1990 (its files dist.female.first and dist.male.first). They are a work of the government of the United
    States, hence in the public domain. A name that both sexes have stands here once, at the sum of its two shares.
    """
    return _lines("names.txt.gz")


def moons(n: int = 100, noise: float = 0.1, seed: int = 0) -> tuple[list[list[float]], list[int]]:
    """Return n points (x, y) on two interlocking half circles, with Gaussian noise, and their classes 0 and 1.

    The upper moon is (cos t, sin t), the lower one (1 − cos t, ½ − sin t), for t from 0 to π;
    the two take turns.
    """
    rng = random.Random(seed)
    points = []
    for i in range(n):
        t = math.pi * (i // 2) / max(1, (n - 1) // 2)
        x, y = (math.cos(t), math.sin(t)) if i % 2 == 0 else (1 - math.cos(t), 0.5 - math.sin(t))
        points.append([x + rng.gauss(0, noise), y + rng.gauss(0, noise)])
    return points, [i % 2 for i in range(n)]


def _lines(name: str) -> list[str]:
    """Return the lines of a file of the package's data."""
    return gzip.decompress(files("microgradlike").joinpath("data", name).read_bytes()).decode().splitlines()
