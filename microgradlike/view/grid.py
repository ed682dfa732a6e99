"""Where the boxes of a network stand: a column for each layer, in it a row for each neuron, and in that a lane for each sample.

`main` is the way from the inputs to the result, `cross` the way down a column, both in points. Labels of `nn` tell
layers and neurons. Between and after the layers the other nodes stand in columns of their own, each as near as there
is room to what it is computed from. Graphviz draws the boxes in these places, and the edges between them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from microgradlike.notation.digits import plain_digits
from microgradlike.value import Value

Path = tuple[str, ...]
Column = tuple[int, float]  # a layer, and the number of operations after its first one

GAP, PAD, TITLE = 10.0, 8.0, 16.0  # points: between boxes below each other, around them in a frame, for its name
MOST_MAIN, MOST_CROSS = 2100.0, 900.0  # a network that is no larger with all boxes open keeps its places


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
    label = re.fullmatch("([wbza])[′″]?([⁰¹²³⁴⁵⁶⁷⁸⁹]+)([₀₁₂₃₄₅₆₇₈₉]+)(,[₀₁₂₃₄₅₆₇₈₉]+)?", node.label)
    if not label:
        return None
    letter, layer, neuron, comma = label.groups()
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
    closed: Mapping[Path, Size]  # the groups that are drawn as one box
    gap: float  # between columns, for the labels of edges

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The column of each box."""
        found: dict[str, Column] = {}
        for id in self.size:
            if id in self.path:
                own = [found[i][1] for i in self.inputs[id] if self._layer(i) == self._layer(id)]
                parameter = not self.inputs[id] and len(self.path[id]) > 1
                found[id] = self._layer(id), -1 if parameter else max(own, default=-1) + 1
        last = {layer: max(d for l, d in found.values() if l == layer) for layer, _ in found.values()}  # noqa: E741
        for id in self.size:
            if id not in self.path and self.inputs[id]:
                known = [found[i] for i in self.inputs[id] if i in found]
                layer = max((layer for layer, _ in known), default=0)
                found[id] = layer, max([last.get(layer, 0), *(d for l, d in known if l == layer)]) + 1  # noqa: E741
        used: dict[str, Column] = {}
        for id, inputs in self.inputs.items():
            used |= {i: min(used.get(i, found[id]), found[id]) for i in inputs if i not in found}
        for id, (layer, depth) in used.items():  # right before what they enter: a layer, or a result
            found[id] = layer, -1.5 if depth <= last.get(layer, -1) else depth - 0.5
        return {id: found.get(id, (0, 0)) for id in self.size}

    @cached_property
    def cells(self) -> dict[Path, list[list[str]]]:
        """The rows of each neuron, one for each z, and of each layer for what none of its neurons has alone."""
        found: dict[Path, list[list[str]]] = {path: [] for path in sorted(set(self.path.values()), key=numbers)}
        row_of: dict[str, list[str]] = {}
        for id in sorted(self.path, key=lambda id: self.columns[id][1] >= 0):  # parameters first, above what they enter
            rows, column = found[self.path[id]], self.columns[id]
            own = [row for i in self.inputs[id] if (row := row_of.get(i)) and row in rows and self.columns[i][1] >= 0]
            free = [row for row in own[:1] if all(self.columns[i] != column for i in row)]
            if not free and len(self.path[id]) == 1:  # below each other in their columns
                free = [row for row in rows if all(self.columns[i] != column for i in row)]
            if not free:
                rows.append([])
            row_of[id] = free[0] if free else rows[-1]
            row_of[id].append(id)
        return found

    @cached_property
    def keeps_columns(self) -> bool:
        """Whether a closed box has the width that it needs when it opens."""
        return sum(self._widths.values()) + self.gap * len(self._widths) <= MOST_MAIN

    @cached_property
    def keeps_rows(self) -> bool:
        """Whether a closed box has the height that it needs when it opens."""
        layers: dict[Path, float] = {}
        for path in self.cells:
            layers[path[:1]] = layers.get(path[:1], 0) + self._height(path) + GAP
        return max(layers.values()) <= MOST_CROSS

    @cached_property
    def _widths(self) -> dict[Column, float]:
        """The extents of the columns on the main way, with all boxes open."""
        widths: dict[Column, float] = {}
        for id in sorted(self.size, key=self.columns.__getitem__):
            widths[self.columns[id]] = max(widths.get(self.columns[id], 0), self.size[id].main)
        return widths

    def _height(self, path: Path) -> float:
        """Return the extent of an open cell on the cross way."""
        rows = [max(self.size[id].cross for id in row) + GAP for row in self.cells[path]]
        return sum(rows) - GAP + 2 * PAD + (TITLE if len(path) > 1 else 0)

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
        cross: dict[str, float] = {}
        spans: dict[Path, tuple[float, float]] = {}
        for layer in sorted({path[:1] for path in self.cells}, key=numbers):
            self._place_layer(layer, cross, spans)
        main, blocks = self._place_columns(spans)
        self._place_others(main, cross)
        shown = [id for id in cross if self._is_open(self.path.get(id, ()))]
        top = (
            min([cross[id] - self.size[id].cross / 2 for id in shown] + [start for start, _ in spans.values()])
            - PAD
            - TITLE
        )
        end = max([cross[id] + self.size[id].cross / 2 for id in shown] + [end for _, end in spans.values()]) + PAD
        frames = {layer: Frame(blocks[layer][0], top, blocks[layer][1], end) for layer in blocks}
        for path, (start, stop) in spans.items():
            if len(path) > 1:
                frames[path] = Frame(blocks[path[:1]][0] + PAD, start, blocks[path[:1]][1] - PAD, stop)
        place = {id: (main[self.columns[id]], cross[id]) for id in self.size}
        for id, path in self.path.items():
            if len(path) == 1 and not self.inputs[id]:  # the sign that there are more neurons
                place[id] = frames[path].centre[0], cross[id]
        return place, frames

    def _place_layer(self, layer: Path, cross: dict[str, float], spans: dict[Path, tuple[float, float]]) -> None:
        """Lay the neurons of a layer below each other, then what it has besides, with the middle at 0."""
        cells = [path for path in self.cells if path[:1] == layer and len(path) > 1]
        cells += [path for path in self.cells if path == layer]
        heights = [
            self._height(path) if self.keeps_rows or path not in self.closed else self.closed[path].cross
            for path in cells
        ]
        if layer in self.closed and not self.keeps_rows:
            cells, heights = [layer], [self.closed[layer].cross]
            inside = [id for path in self.cells if path[:1] == layer for row in self.cells[path] for id in row]
            cross |= {id: (i + 0.5) / len(inside) * heights[0] - heights[0] / 2 for i, id in enumerate(inside)}
        start = -(sum(heights) + GAP * (len(cells) - 1)) / 2
        for path, height in zip(cells, heights, strict=True):
            spans[path] = start, start + height
            at = start + PAD + (TITLE if len(path) > 1 else 0)
            rows = [] if path in self.closed and len(path) == 1 else self.cells[path]
            for row in rows:
                high = max(self.size[id].cross for id in row)
                high = high if self.keeps_rows or self._is_open(path) else (height - TITLE - 2 * PAD) / len(rows) - GAP
                cross |= dict.fromkeys(row, at + high / 2)
                at += high + GAP
            start += height + GAP

    def _place_columns(
        self, spans: Mapping[Path, tuple[float, float]]
    ) -> tuple[dict[Column, float], dict[Path, tuple[float, float]]]:
        """Return the middle of each column on the main way, and where each layer begins and ends."""
        middle: dict[Column, float] = {}
        blocks: dict[Path, tuple[float, float]] = {}
        at = 0.0
        names = {numbers(path)[0]: path[:1] for path in self.cells}
        inside = {self.columns[id]: self.path[id] for id in self.path}
        steep = self.gap + 0.08 * (max(end for _, end in spans.values()) - min(start for start, _ in spans.values()))
        last: Path | None = None
        for column, width in self._widths.items():
            layer = names[column[0]] if column in inside else None
            own = [c for c in self._widths if c in inside and c[0] == column[0]]
            if layer and layer != last:  # its first column
                at += steep - self.gap if middle else 0
                total = sum(self._widths[c] for c in own) + self.gap * (len(own) - 1) + 4 * PAD
                shut = [
                    size.main + (2 * PAD if len(path) > 1 else 0)
                    for path, size in self.closed.items()
                    if path[:1] == layer
                ]
                opens = self.keeps_columns or any(
                    self._is_open(path) for path in self.cells if path[:1] == layer and len(path) > 1
                )
                room = max([*shut, total if opens else 0])
                blocks[layer] = at, at + room
                inner = at + (room - total) / 2 + 2 * PAD
                for c in own:
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
                if i not in cross and not self.inputs[i] and self.columns[i][1] == -1.5:
                    ids = first.setdefault(self.columns[i], [])
                    if i not in ids:
                        ids.append(i)
        for ids in first.values():
            at = -(sum(self.size[id].cross + GAP for id in ids) - GAP) / 2
            for id in ids:
                cross[id] = at + self.size[id].cross / 2
                at += self.size[id].cross + GAP
        results = [id for id in self.size if id not in cross and self.inputs[id]]
        wanted: dict[str, float] = {}
        for column in sorted({self.columns[id] for id in results}):
            here = [id for id in results if self.columns[id] == column]
            for id in here:
                known = [cross[i] for i in self.inputs[id] if i in cross]
                wanted[id] = sum(known) / len(known) if known else 0.0
            for id in sorted(here, key=wanted.__getitem__):
                cross[id] = _free(wanted[id], self.size[id].cross, taken.setdefault(column, []))
        for id in results:
            for k, i in enumerate(self.inputs[id]):
                if i not in cross:
                    lines = self._passing(self.columns[i], main, cross)
                    side = 1 if k else -1
                    near = cross[id] + side * (self.size[id].cross + GAP) / 2
                    cross[i] = _free(near, self.size[i].cross, taken.setdefault(self.columns[i], []), lines)
        for id in self.size:  # a leaf alone
            cross.setdefault(id, 0.0)

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
