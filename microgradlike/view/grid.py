"""Where the boxes of a network stand: a column for each layer, in it a row for each neuron, and in that a lane for each sample.

`main` is the way from the inputs to the result, `cross` the way down a column, both in points. Labels of `nn` tell
layers and neurons. A z that holds its parameters is wide: its activation then stands below it. Between and after the
layers the other nodes stand in columns of their own, each as near as there is room to what it is computed from.
Graphviz draws the boxes in these places, and the edges between them.

In the pictures of a page, a box that opens keeps its middle. The others of its layer give way, up and down, by half of
what it grows; what is in no layer, and all columns, stay where they are. For that, columns are as wide as their boxes
need when they open; so much height kept free would make a picture two to four times as high.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import copysign, fsum
from typing import NamedTuple

from microgradlike.notation.digits import plain_digits
from microgradlike.value import Value

Path = tuple[str, ...]
Column = tuple[int, float]  # a layer, and the number of operations after its first one

# Points: between boxes below each other, around them in a frame, and above them for its name
GAP, PAD, TITLE = 10.0, 6.0, 18.0
LANE = 30.0  # beside a layer's neurons, for the edges to and from what it has besides
STEEP = 0.05  # for each point that layers are high, between them, for edges that are less steep
MOST_BELOW = 3  # results of each other in one column


class Size(NamedTuple):
    """The extent of a box."""

    main: float
    cross: float


class Frame(NamedTuple):
    """The extent of a group: where it begins and where it ends."""

    main: float
    cross: float
    main_end: float
    cross_end: float

    @property
    def centre(self) -> tuple[float, float]:
        """The place of the box that stands for the closed group."""
        return (self.main + self.main_end) / 2, (self.cross + self.cross_end) / 2


def by_layer(node: Value) -> Path | None:
    """Return the layer and neuron that a label of `nn` tells: of w²₁₃, b²₁, z²₁ and a²₁, layer 2 and neuron 1."""
    return _place_of(node.label)


@lru_cache(65_536)  # a page asks for each node in each of its pictures
def _place_of(label: str) -> Path | None:
    parts = re.fullmatch("([wbza])[′″]?([⁰¹²³⁴⁵⁶⁷⁸⁹]+)([₀₁₂₃₄₅₆₇₈₉]+)(,[₀₁₂₃₄₅₆₇₈₉]+)?", label)
    if not parts:
        return None
    letter, layer, neuron, comma = parts.groups()
    if letter == "w" and not comma:  # two indices of one digit each
        neuron = neuron[0]
    return f"layer {plain_digits(layer)}", f"neuron {plain_digits(neuron)}"


def network_groups(order: Sequence[Value]) -> dict[Value, Path]:
    """Return the layer and neuron of each node that `by_layer` tells, and of the nodes between a z and its a.

    `order` is topological. What several neurons share, as the sum in a softmax, is in the layer alone.
    """
    groups = {node: path for node in order if node.label and (path := by_layer(node))}
    if not groups:
        return groups
    leaves_to: dict[Value, str] = {}  # the only layer on all ways from a node, or "" if there are several
    for node in reversed(order):
        to = groups[node][0] if node in groups else leaves_to.get(node, "")
        leaves_to |= {v: to if leaves_to.get(v, to) == to else "" for v in node.inputs}
    comes_from: dict[Value, str] = {}
    for node in order:
        sources = {groups[v][0] if v in groups else comes_from.get(v) for v in node.inputs} - {None}
        comes_from[node] = sources.pop() or "" if len(sources) == 1 else "" if sources else None  # type: ignore[assignment]
        if node not in groups and comes_from[node] and comes_from[node] == leaves_to.get(node):
            neurons = dict.fromkeys(groups[v] for v in node.inputs if len(groups.get(v, ())) > 1)
            groups[node] = next(iter(neurons)) if len(neurons) == 1 else (comes_from[node],)
    users: dict[Value, list[Value]] = {}
    for node in order:
        for v in node.inputs:
            if not v.inputs and v not in groups:  # a constant in an activation
                users.setdefault(v, []).append(node)
    inner = {leaf: {groups.get(v, ()) if v.label[:1] != "z" else () for v in nodes} for leaf, nodes in users.items()}
    return groups | {leaf: path for leaf, (path, *others) in inner.items() if path and not others}


@dataclass
class Grid:
    """The boxes of a drawing, each after its inputs, and where they stand: `place` and `frames`."""

    size: Mapping[str, Size]
    inputs: Mapping[str, Sequence[str]]
    path: Mapping[str, Path]  # the layer and neuron of a box, or the layer; the others are in none
    boxes: Mapping[Path, Size]  # the groups that have a box of their own when they are closed
    closed: set[Path]  # those that are
    rest: set[Path]  # those that are in the picture whose columns, inputs and results this one has as well
    gap: float  # between columns, for the labels of edges
    below: float  # between boxes below each other with an edge from one to the other, for its label and a sum
    stacked: bool  # whether the boxes of a neuron stand below each other
    title: float  # before what is in a frame on the cross way, for its name
    narrow: bool  # whether below them stands what a layer has besides, as the sum in a softmax, and not between them

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The column of each box."""
        found: dict[str, Column] = {}
        for id in self.size:
            if id in self.path:
                own = [
                    found[i][1] + (found[i][1] < 0 or not self._are_stacked(i, id))
                    for i in self.inputs[id]
                    if self._layer(i) == self._layer(id) and i not in self.beside
                ]
                parameter = not self.inputs[id] and len(self.path[id]) > 1
                found[id] = self._layer(id), -1 if parameter else max(own, default=0)
        last = {layer: max(d for l, d in found.values() if l == layer) for layer, _ in found.values()}  # noqa: E741
        results = [id for id in self.size if id not in self.path and self.inputs[id]]
        for id in results:
            known = [found[i] for i in self.inputs[id] if i in found]
            layer = max((layer for layer, _ in known), default=0)
            found[id] = layer, max([last.get(layer, 0), *(d for l, d in known if l == layer)]) + 1  # noqa: E741
        alone = {column for column, n in Counter(found[id] for id in results).items() if n == 1}
        below: dict[str, int] = {}  # a result that has its column for itself may stand below what alone it came from
        for id in results:
            sources = {i for i in self.inputs[id] if self.inputs[i]}
            above = sources.pop() if len(sources) == 1 and found[id] in alone else None
            if above in below and below[above] < MOST_BELOW:
                below[id], found[id] = below[above] + 1, found[above]
            elif above is not None and found[id] in alone:
                below[id] = 1
        used: dict[str, Column] = {}
        for id, inputs in self.inputs.items():
            used |= {i: min(used.get(i, found[id]), found[id]) for i in inputs if i not in found}
        for id, (layer, depth) in used.items():  # right before what they enter: a layer, or a result
            found[id] = layer, -1.5 if depth <= last.get(layer, -1) else depth - 0.5
        found |= {leaf: found[id] for leaf, id in self.beside.items()}
        return {id: found.get(id, (0, 0)) for id in self.size}

    @cached_property
    def beside(self) -> dict[str, str]:
        """The constants that stand before the box they enter, in its column; of several, the first."""
        found: dict[str, str] = {}
        widest = max((self.size[id].main for id, path in self.path.items() if len(path) > 1), default=0.0)
        for id in self.path if self.stacked else ():
            for i in self.inputs[id]:
                alone = not self.inputs[i] and i not in found and self._are_stacked(i, id) and id not in found.values()
                if alone and self.size[i].main + self.gap / 2 + self.size[id].main / 2 <= widest / 2:
                    found[i] = id
        return found

    def _are_stacked(self, one: str, other: str) -> bool:
        """Return whether these boxes stand below each other: in one neuron, or what a layer has besides, below them all."""
        paths = self.path.get(one, ()), self.path.get(other, ())
        same = paths[0] == paths[1] if len(paths[0]) > 1 and len(paths[1]) > 1 else self.narrow
        return self.stacked and same and () != paths[0][:1] == paths[1][:1]

    def _row_gap(self, path: Path) -> float:
        return self.below if self.stacked and len(path) > 1 else GAP

    @cached_property
    def cells(self) -> dict[Path, list[list[str]]]:
        """The rows of each neuron, and of each layer for what none of its neurons has alone.

        There is one for each z, or, where they are stacked, for each box: a constant is beside what it enters.
        """
        found: dict[Path, list[list[str]]] = {path: [] for path in sorted(set(self.path.values()), key=numbers)}
        row_of: dict[str, list[str]] = {}
        for id in sorted(self.path, key=lambda id: self.columns[id][1] >= 0):  # parameters first, above what they enter
            rows, column, inputs = found[self.path[id]], self.columns[id], self.inputs[id]
            if id in self.beside:
                continue
            is_free = [all(self.columns[i] != column and self.columns[i][1] >= 0 for i in row) for row in rows]
            own = [r for i in inputs if row_of.get(i) in rows and is_free[r := rows.index(row_of[i])]]
            if self._are_stacked(id, id):
                above = [rows.index(row_of[i]) for i in inputs if row_of.get(i) in rows and self.columns[i] == column]
                free = [r for r in range(max(above, default=-1) + 1, len(rows)) if is_free[r]]
            else:  # what is in the layer alone stands below each other in its columns
                free = own or [r for r in range(len(rows)) if is_free[r] and len(self.path[id]) == 1]
            if not free:
                rows.append([])
            row_of[id] = rows[free[0] if free else -1]
            row_of[id].append(id)
        for leaf, id in self.beside.items():
            row_of[id].append(leaf)
        return found

    @cached_property
    def _widths(self) -> dict[Column, float]:
        """The extents of the columns on the main way, with all boxes open."""
        widths: dict[Column, float] = {}
        for id in sorted(self.size, key=self.columns.__getitem__):
            widths[self.columns[id]] = max(widths.get(self.columns[id], 0), self.size[id].main)
        return widths

    def _height(self, path: Path) -> float:
        """Return the extent of an open cell on the cross way."""
        rows = [max(self.size[id].cross for id in row) for row in self.cells[path]]
        return fsum(rows) + self._row_gap(path) * (len(rows) - 1) + 2 * PAD + (self.title if len(path) > 1 else 0)

    def _is_open(self, path: Path) -> bool:
        return not any(path[: i + 1] in self.closed for i in range(len(path)))

    @cached_property
    def place(self) -> dict[str, tuple[float, float]]:
        """The centre of each box."""
        return self._arranged[0]

    @cached_property
    def frames(self) -> dict[Path, Frame]:
        """The extents of the groups, closed ones as well."""
        return self._arranged[1]

    @cached_property
    def _arranged(self) -> tuple[dict[str, tuple[float, float]], dict[Path, Frame]]:
        resting, spans = self._place_layers(self.rest)
        main, blocks = self._place_columns(max(end - start for start, end in spans.values()))
        self._place_others(main, resting)
        within, spans = self._place_layers(self.closed)
        cross = resting | within
        top = min(start for start, _ in spans.values()) - PAD - self.title
        end = max(end for _, end in spans.values()) + PAD
        frames = {layer: Frame(blocks[layer][0], top, blocks[layer][1], end) for layer in blocks}
        for path, (start, stop) in spans.items():
            if len(path) > 1:
                frames[path] = Frame(blocks[path[:1]][0] + PAD, start, blocks[path[:1]][1] - PAD, stop)
        place = {id: (main[self.columns[id]], cross[id]) for id in self.size}
        for id, path in self.path.items():
            if len(path) == 1 and not self.inputs[id]:  # the sign that there are more neurons
                place[id] = frames[path].centre[0], cross[id]
            elif len(path) == 1 and self.narrow:
                end = self._widths[self.columns[id]] / 2 + LANE
                place[id] = place[id][0] + end - self.size[id].main / 2, cross[id]
        for leaf in self.beside:
            column = self.columns[leaf]
            place[leaf] = main[column] + (self.size[leaf].main - self._widths[column]) / 2, cross[leaf]
        return place, frames

    def _place_layers(self, closed: set[Path]) -> tuple[dict[str, float], dict[Path, tuple[float, float]]]:
        """Return where on the cross way the boxes in layers stand, and their neurons, where these are closed."""
        cross: dict[str, float] = {}
        spans: dict[Path, tuple[float, float]] = {}
        for layer in sorted({path[:1] for path in self.cells}, key=numbers):
            self._place_layer(layer, closed, cross, spans)
        return cross, spans

    def _place_layer(
        self, layer: Path, closed: set[Path], cross: dict[str, float], spans: dict[Path, tuple[float, float]]
    ) -> None:
        """Lay the neurons of a layer below each other, then what it has besides, with the middle at 0."""
        cells = [path for path in self.cells if path[:1] == layer and len(path) > 1]
        cells += [path for path in self.cells if path == layer]
        heights = [self.boxes[path].cross if path in closed else self._height(path) for path in cells]
        if layer in closed:
            cells, heights = [layer], [self.boxes[layer].cross]
            inside = [id for path in self.cells if path[:1] == layer for row in self.cells[path] for id in row]
            cross |= {id: (i + 0.5) / len(inside) * heights[0] - heights[0] / 2 for i, id in enumerate(inside)}
        start = -(fsum(heights) + GAP * (len(cells) - 1)) / 2
        for path, height in zip(cells, heights, strict=True):
            spans[path] = start, start + height
            at = start + PAD + (self.title if len(path) > 1 else 0)
            rows = [] if layer in closed else self.cells[path]
            for row in rows:
                high, gap = max(self.size[id].cross for id in row), self._row_gap(path)
                if path in closed:
                    high = (height - self.title - 2 * PAD) / len(rows) - gap
                cross |= dict.fromkeys(row, at + high / 2)
                at += high + gap
            start += height + GAP

    def _place_columns(self, high: float) -> tuple[dict[Column, float], dict[Path, tuple[float, float]]]:
        """Return the middle of each column on the main way, and where each layer begins and ends.

        The higher the layers are, the more is between them. What opens in other pictures has its room in all of them.
        """
        middle: dict[Column, float] = {}
        blocks: dict[Path, tuple[float, float]] = {}
        at = 0.0
        names = {numbers(path)[0]: path[:1] for path in self.cells}
        inside = {self.columns[id]: self.path[id] for id in self.path}
        opens_later = self.boxes.keys() - self.closed
        last: Path | None = None
        for column, width in self._widths.items():
            layer = names[column[0]] if column in inside else None
            own = [c for c in self._widths if c in inside and c[0] == column[0]]
            if layer and layer != last:  # its first column
                at += STEEP * high if middle else 0
                opens = any(self._is_open(path) for path in self.cells if path[:1] == layer and len(path) > 1)
                common = {self.columns[id] for id, path in self.path.items() if path == layer and self.inputs[id]}
                held = [c for c in own if opens or opens_later or (c in common and layer not in self.closed)]
                total = fsum(self._widths[c] for c in held) + self.gap * (len(held) - 1) + 4 * PAD
                total += LANE if common and self.narrow else 0
                shut = {
                    path: size.main + (2 * PAD if len(path) > 1 else 0)
                    for path, size in self.boxes.items()
                    if path[:1] == layer
                }
                now = [size for path, size in shut.items() if path in self.closed]
                is_full = opens or (common and layer not in self.closed)
                tight = max([*now, total if is_full else 0])
                room = max([*shut.values(), total])
                blocks[layer] = at + (room - tight) / 2, at + (room + tight) / 2
                inner = at + (room - total) / 2 + 2 * PAD
                middle |= dict.fromkeys(own, at + room / 2)
                for c in held:
                    middle[c] = inner + self._widths[c] / 2
                    inner += self._widths[c] + self.gap
                at += room + self.gap
            elif not layer:
                if column[1] % 1 and column[1] > 0:  # leaves beside edges that go on
                    at -= self.gap - 2 * GAP
                middle[column] = at + width / 2
                at += width + self.gap
            last = layer or last
        return middle, blocks

    def _place_others(self, main: Mapping[Column, float], cross: dict[str, float]) -> None:
        """Lay out what is in no layer: inputs in their order, the others near what they are computed from or enter."""
        taken: dict[Column, list[tuple[float, float]]] = {}
        first: dict[Column, list[str]] = {}
        for id in sorted(cross, key=lambda id: (self.columns[id], cross[id])) if cross else ():
            for i in self.inputs[id]:
                if self.columns[i][1] == -1.5:  # leaves only
                    ids = first.setdefault(self.columns[i], [])
                    if i not in ids:
                        ids.append(i)
        for ids in first.values():
            at = -(fsum(self.size[id].cross + GAP for id in ids) - GAP) / 2
            for id in ids:
                cross[id] = at + self.size[id].cross / 2
                at += self.size[id].cross + GAP
        results = [id for id in self.size if id not in cross and self.inputs[id]]
        wanted: dict[str, float] = {}
        for column in sorted({self.columns[id] for id in results}):
            here = [id for id in results if self.columns[id] == column]
            for id in here:
                known = [cross[i] for i in self.inputs[id] if i in cross]
                wanted[id] = fsum(known) / len(known) if known else 0.0
                if above := [i for i in self.inputs[id] if self.columns[i] == column]:
                    wanted[id] = wanted[above[0]] + (self.size[above[0]].cross + self.size[id].cross) / 2 + self.below
                elif any(column == self.columns[i] for each in here for i in self.inputs[each]):  # the first of a stack
                    wanted[id] -= fsum(self.size[each].cross + self.below for each in here[1:]) / 2
            for id in sorted(here, key=wanted.__getitem__):
                cross[id] = _free(wanted[id], self.size[id].cross, taken.setdefault(column, []))
        for id in results:
            known = [cross[i] for i in self.inputs[id] if i in cross]
            for k, i in enumerate(self.inputs[id]):
                if i not in cross:
                    lines = self._passing(self.columns[i], main, cross)
                    steep = [
                        y for y in known if abs(y - cross[id]) > self.size[id].cross / 2
                    ]  # edges to keep away from
                    side = copysign(1, cross[id] - steep[0]) if steep else 1 if k else -1
                    near = cross[id] + side * (self.size[id].cross + GAP) / 2
                    cross[i] = _free(near, self.size[i].cross, taken.setdefault(self.columns[i], []), lines)

    def _passing(self, column: Column, main: Mapping[Column, float], cross: Mapping[str, float]) -> list[float]:
        """Return where the edges between boxes placed so far pass through a column."""
        at, found = main[column], []
        for id, y in cross.items():
            end = main[self.columns[id]]
            for i in self.inputs[id]:
                if i in cross and main[self.columns[i]] < at < end:
                    start = main[self.columns[i]]
                    found.append(cross[i] + (y - cross[i]) * (at - start) / (end - start))
        return found

    def goes_down(self, start: str, end: str) -> bool:
        """Return whether an edge goes straight down, within a column."""
        if self.columns[start] != self.columns[end] or start in self.beside:
            return False
        top, foot = self.place[start][1], self.place[end][1]
        between = (id for id, column in self.columns.items() if column == self.columns[end])
        return top < foot and not any(top < self.place[id][1] < foot for id in between)

    def _layer(self, id: str) -> int:
        return int(numbers(self.path[id])[0]) if id in self.path else 0


def numbers(path: Path) -> list[float]:
    """Return the numbers of a layer and a neuron, to sort by: what a layer has besides neurons comes last."""
    numbers = [float(name.split()[-1]) for name in path]
    return numbers if len(numbers) > 1 else [*numbers, float("inf")]


def _free(wanted: float, height: float, taken: list[tuple[float, float]], lines: Sequence[float] = ()) -> float:
    """Return the middle nearest to the wanted one that leaves the taken extents alone, and take it."""
    half = (height + GAP) / 2
    edges = [edge for start, end in taken for edge in (start - half, end + half)]
    edges += [edge for line in lines for edge in (line - half, line + half)]

    def is_free(at: float) -> bool:
        clear = all(at + half <= start + 1e-6 or at - half >= end - 1e-6 for start, end in taken)
        return clear and all(abs(at - line) >= half - 1e-6 for line in lines)

    at = min(filter(is_free, [wanted, *edges]), key=lambda each: (abs(each - wanted), -each), default=wanted)
    taken.append((at - half, at + half))
    return at
