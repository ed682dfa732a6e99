"""Where the numbers on the edges of a network stand: by the end of their edge, where nothing else is in the way.

A number stands on its edge, or beside one that is level or steep. Where a box or another number is in the way it goes
along the edge, away from the end. Edges are taken as straight; those that Graphviz bends are so near their end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from math import atan2, degrees, fsum, hypot
from typing import NamedTuple

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # the middle, and half of the extents

ARROW, STEP, CELL = 6.0, 7.0, 40.0  # points: the head of an arrow; between two tries; of what is looked at in one go
MOST_TRIES = 30
LEVEL = 0.2  # the slope up to which a number stands beside its edge, and likewise for steep ones


class Edge(NamedTuple):
    """An edge with a number on it, in points; y goes up."""

    start: Point
    end: Point
    width: float  # of the number
    height: float
    side: int  # of two edges between the same boxes, the side of this one: -1 or 1


class Spot(NamedTuple):
    """The place of a number: how far it is from the end of its edge, and at which angle to the edge, in degrees."""

    distance: float
    angle: float


def find_spots(edges: Mapping[str, Edge], boxes: Iterable[Box]) -> dict[str, Spot]:
    """Return the spot of each number: of those to choose from the first where it overlaps least with all before it."""
    taken = defaultdict[tuple[int, int], list[Box]](list)

    def cells(box: Box) -> Iterator[tuple[int, int]]:
        x, y, across, up = box
        for i in range(int((x - across) // CELL), int((x + across) // CELL) + 1):
            for j in range(int((y - up) // CELL), int((y + up) // CELL) + 1):
                yield i, j

    def overlap(box: Box) -> float:
        around = {other for cell in cells(box) for other in taken.get(cell, ())}
        return fsum(_overlap(box, other) for other in around)

    def take(box: Box) -> None:
        for cell in cells(box):
            taken[cell].append(box)

    for box in boxes:
        take(box)
    found = {}
    for id, edge in edges.items():
        least = float("inf")
        for spot, place in _choices(edge):
            box = *place, edge.width / 2, edge.height / 2
            if (area := overlap(box)) < least:
                least, found[id], best = area, spot, box
            if not least:
                break
        take(best)
    return found


def _choices(edge: Edge) -> Iterator[tuple[Spot, Point]]:
    """Yield the spots for a number, each with its middle."""
    (x, y), (u, v) = edge.end, edge.start
    length = hypot(u - x, v - y) or 1.0
    dx, dy = (u - x) / length, (v - y) / length  # away from the end
    near = (abs(dx) * edge.width + abs(dy) * edge.height) / 2 + ARROW
    beside = (abs(dy) * edge.width + abs(dx) * edge.height) / 2 - 2  # there is room around the number
    sides = [edge.side] if edge.side else [1, -1] if min(abs(dx), abs(dy)) < LEVEL else [0, 1, -1]
    ways = [near + n * STEP for n in range(MOST_TRIES) if not n or near + n * STEP < length - near / 2]
    for along, side in product(ways, sides):
        across = side * beside * (1 if dx > 0 else -1)  # 1: above, or on the right
        spot = Spot(hypot(along, across), degrees(atan2(across, along)))
        yield spot, (x + dx * along - dy * across, y + dy * along + dx * across)


def _overlap(one: Box, other: Box) -> float:
    """Return the area that two boxes share."""
    (x, y, across, up), (u, v, wide, high) = one, other
    shared = min(2 * across, 2 * wide, across + wide - abs(x - u)), min(2 * up, 2 * high, up + high - abs(y - v))
    return max(0.0, shared[0]) * max(0.0, shared[1])
