"""A picture of the graph: Values as boxes, the operations in them, local derivatives on the edges.

Nothing but the graph, in the order in which its nodes were recorded, decides what is written: the
same program draws the same picture, byte for byte. `boxes` has what a node looks like,
`grid` where the nodes of a network stand.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import accumulate, cycle
from math import atan2, degrees, hypot, prod
from numbers import Real
from typing import Any, NamedTuple

from microgradlike import ops
from microgradlike.notation import formula
from microgradlike.notation.digits import format_constant, format_number
from microgradlike.notation.names import node_names
from microgradlike.primitive import Operation
from microgradlike.value import Value, topological_order
from microgradlike.view import boxes, style
from microgradlike.view.changes import change_note, changed_data, recorded_data
from microgradlike.view.diagram import Diagram, render
from microgradlike.view.grid import Grid, Path, Size, by_layer, network_groups, numbers
from microgradlike.view.part import ways

__all__ = ["Diagram", "by_layer", "draw", "picture", "render"]


SIDES = {
    "LR": {"tail": "e", "head": "w"}, "RL": {"tail": "w", "head": "e"},
    "TB": {"tail": "s", "head": "n"}, "BT": {"tail": "n", "head": "s"},
}  # fmt: skip
DOWN = {name: {"tail": "s", "head": "n"} if name in ("LR", "RL") else {"tail": "e", "head": "w"} for name in SIDES}
AROUND = {
    "LR": {"tail": "e", "head": "ne"}, "RL": {"tail": "w", "head": "nw"},
    "TB": {"tail": "s", "head": "sw"}, "BT": {"tail": "n", "head": "nw"},
}  # fmt: skip

MOST_BENT = 5_000  # boxes times edges: above this, edges are straight
MOST_CROSSED = 500  # columns that edges pass: above this, the longest are drawn when the boxes have their places
BELOW = 32.0  # points between boxes below each other, for the local derivative and a sum
FLAT = 0.2  # the steepest slope of an edge that its local derivative stands beside, not on
MOST_AT_HEAD = 6  # edges that end at one point, and have their local derivatives there


class Sign(NamedTuple):
    """A sign that something is not drawn."""

    words: str
    title: str  # how many of how many of what
    path: Path | None  # the group that it stands in, if it is a box of its own
    below: Value | None = None  # it stands below the inputs of this node


class TooManyNodes(ValueError):
    """So many `nodes` are too many for a picture; those up to `depth` edges away from the result are not."""

    def __init__(self, message: str, nodes: int, depth: int) -> None:
        super().__init__(message)
        self.nodes, self.depth = nodes, depth


def draw(
    v: Value,
    *,
    grad: bool | Mapping[Value, str] = True,
    local_grads: bool = True,
    rankdir: str = "LR",
    clusters: bool | Callable[[Value], str | Path | None] = True,
    color_by: Callable[[Value], str | None] | None = None,
    fold: bool = True,
    closed: Iterable[Path] = (),
    depth: int | None = None,
    only: Iterable[Value] | None = None,
    names: Mapping[Value, str] | None = None,
    max_terms: int = 10,
    max_nodes: int = 200,
) -> Diagram:
    """Draw the graph that v was computed from.

    A box shows a node's name, its operation, its data and, after ∇, its gradient ∂L/∂node (– where
    none is computed yet). Leaves have square corners, constants are dashed and show no gradient,
    v itself has a double outline. On each edge stands the local derivative. Where the data of a leaf was
    changed after the recording, as an optimizer does, the picture shows what it was, and says so.

    - grad, local_grads: whether to show these numbers. `grad` may also hold what to show for each node.
    - rankdir: the direction from the leaves to v: "LR" (left to right), "TB", "RL" or "BT".
    - clusters: a function from a node to the name of its group, or to the names of nested groups,
      outermost first, or to None. True stands for `by_layer`, False for no groups.
    - color_by: a function from a node to a name or None. Nodes of one name get one colour, which a
      legend explains.
    - fold: whether the weights and the bias of w·x + b, where nothing else uses them, stand in its
      box, each in a row that ends with its local derivative, rather than in boxes of their own.
    - closed: the groups to draw as one box each, as ("layer 1",) or ("layer 1", "neuron 2"). It shows
      the last result in it, unless there are further groups within.
    - depth: draw only the nodes up to this many edges away from v.
    - only: draw only the nodes on the ways from these to v.
    - names: what to call the nodes, if not as `node_names` does.
    - max_terms: of w·x + b, Σ and their like, draw only this many terms.
    - max_nodes: the largest number of nodes to draw.

    Raises TypeError for a v that is no Value, and ValueError for another rankdir or a number out of range, for more
    than `max_nodes` nodes to draw, and where `only` has a Value that v does not depend on. Nothing is drawn before
    the diagram is shown or saved: that raises RuntimeError where there is no Graphviz.
    """
    return picture(
        v, grad=grad, local_grads=local_grads, rankdir=rankdir, clusters=clusters, color_by=color_by, fold=fold,
        closed=closed, depth=depth, only=only, names=names, max_terms=max_terms, max_nodes=max_nodes,
    )  # fmt: skip


def picture(
    v: Value,
    *,
    grad: bool | Mapping[Value, str] = True,
    local_grads: bool = True,
    rankdir: str = "LR",
    clusters: bool | Callable[[Value], str | Path | None] = True,
    color_by: Callable[[Value], str | None] | None = None,
    fold: bool = True,
    closed: Iterable[Path] = (),
    depth: int | None = None,
    only: Iterable[Value] | None = None,
    names: Mapping[Value, str] | None = None,
    max_terms: int = 10,
    max_nodes: float = 200,
    live: bool = False,
) -> Diagram:
    """Draw as `draw` does; in a `live` picture, whose numbers will change, there is room for any number."""
    if not isinstance(v, Value):
        raise TypeError(f"draw takes one Value, got {type(v).__name__}; microgradlike.sum joins several into one")
    if rankdir not in ("LR", "TB", "RL", "BT"):
        raise ValueError(f"rankdir={rankdir!r}: expected 'LR', 'TB', 'RL' or 'BT'")
    limits = max_nodes, max_terms, depth or 0
    if not all(isinstance(n, Real) for n in limits) or max_nodes < 1 or max_terms < 1 or (depth or 0) < 0:
        raise ValueError(f"{max_nodes=}, {max_terms=}, {depth=}: expected 1 or more, and a depth of 0 or more")
    order = topological_order(v)
    edges = _choose(v, depth, None if only is None else ways(order, only), max_terms, max_nodes)
    drawn = {node: i for i, node in enumerate(order) if node in edges}
    groups: Mapping[Value, str | Path | None] = {}
    if clusters is True:
        groups = network_groups(list(drawn))
    elif clusters:
        groups = {node: clusters(node) for node in drawn}
    drawing = _Drawing(
        root=v,
        order=order,
        names=dict(names or node_names(order, v)),
        index=drawn,
        edges=edges,
        rows=_fold(edges) if fold else set(),
        group={node: str(group) for node in drawn if (group := color_by(node)) is not None} if color_by else {},
        grad={node: str(text) for node, text in grad.items()} if isinstance(grad, Mapping) else grad,
        local_grads=local_grads,
        rankdir=rankdir,
        closed=set(closed),
        changed=changed_data(edges),
        path={node: (group,) if isinstance(group, str) else tuple(group) for node, group in groups.items() if group},
        in_grid=clusters is True and bool(groups),
        max_terms=max_terms,
        live=live,
    )
    return drawing.write()


def _choose(
    v: Value, depth: int | None, part: set[Value] | None, max_terms: int, max_nodes: float
) -> dict[Value, list[int]]:
    """Choose the nodes to draw, and for each the positions among its inputs of those to draw an edge from."""

    def terms(node: Value) -> list[int]:
        if part is not None:
            return [k for k, input in enumerate(node.inputs) if input in part]
        return _terms(node, max_terms)

    levels, edges = [[v]], {v: terms(v)}
    while levels[-1] and (depth is None or len(levels) <= depth):
        inputs = dict.fromkeys(node.inputs[k] for node in levels[-1] for k in edges[node])
        levels.append([input for input in inputs if input not in edges])
        edges |= {input: terms(input) for input in levels[-1]}
    if len(edges) > max_nodes:
        depth, nearest = [(d, n) for d, n in enumerate(accumulate(map(len, levels))) if n <= max_nodes][-1]
        raise TooManyNodes(
            f"{len(edges):,} nodes to draw, and max_nodes={max_nodes}: draw the {nearest} nearest to the result, "
            f"draw(v, depth={depth}); or draw a node within the graph; or all, draw(v, max_nodes={len(edges)})",
            len(edges),
            depth,
        )
    return {node: [k for k in positions if node.inputs[k] in edges] for node, positions in edges.items()}


def _terms(node: Value, max_terms: int) -> list[int]:
    """Return the positions of the inputs in the first max_terms terms; an operand's index tells its term."""
    term = [int(digits[0]) if (digits := re.search(r"\d+$", operand)) else 0 for operand in _operands(node)]
    last = max_terms if max(term, default=0) > max_terms + 1 else len(term)  # "1 more" would save no room
    return [k for k, i in enumerate(term) if i <= last]


def _fold(edges: dict[Value, list[int]]) -> set[Value]:
    """Return the weights and biases that one w·x + b alone uses."""
    uses = Counter(node.inputs[k] for node, positions in edges.items() for k in positions)
    rows: set[Value] = set()
    for node, positions in edges.items():
        if node.op in (ops.DOT, ops.AFFINE):
            leaves = [node.inputs[k] for k in positions if _operands(node)[k][0] in "wb"]
            rows.update(leaf for leaf in leaves if leaf.op is ops.LEAF and uses[leaf] == 1)
    return rows


@dataclass
class _Drawing:
    """What to draw, and how each part of it is written."""

    root: Value
    order: list[Value]  # all nodes of the graph
    names: dict[Value, str]
    index: dict[Value, int]  # the nodes to draw, in topological order, with their position in the whole graph
    edges: dict[Value, list[int]]  # the positions among a node's inputs of those to draw
    rows: set[Value]  # leaves that stand in the box of the node that uses them
    group: dict[Value, str]
    grad: bool | dict[Value, str]
    local_grads: bool
    rankdir: str
    closed: set[Path]
    changed: dict[Value, float | None]  # the nodes whose data was changed after the recording, and what it was
    path: dict[Value, Path]  # the groups of a node, outermost first
    in_grid: bool  # the groups are the layers and neurons of a network, whose places are known
    max_terms: int
    live: bool
    box: dict[Value, str] = field(default_factory=dict)  # the id of the closed box that a node is in
    shown: dict[Value, str] = field(default_factory=dict)  # those that are rows in it, and where edges meet them
    joined: set[tuple[str, str]] = field(default_factory=set)  # the edges drawn so far that end at a closed box

    def write(self) -> Diagram:
        import graphviz

        look = style.GRAPH | {"rankdir": self.rankdir}
        picture = graphviz.Digraph(graph_attr=look, node_attr=style.NODE, edge_attr=style.EDGE)
        clusters = self.clusters
        for node in self.index:
            path = self.path.get(node, ())
            if node not in self.rows and (closed := [around for around in _around(path) if around in self.closed]):
                self.box[node] = f"c{list(clusters).index(closed[0]) - 1}"
        for node, box in list(self.box.items()):
            self.box |= {node.inputs[k]: box for k in self.edges[node] if node.inputs[k] in self.rows}
        for path in clusters:
            if path in self.closed and not any(around in self.closed for around in _around(path[:-1])):
                self.shown |= {node: self._id(node) for node in self._members(path)[: 2 * self.max_terms]}
        boxes_and_edges = len(self.index) - len(self.rows), sum(map(len, self.edges.values()))
        large = prod(boxes_and_edges) > MOST_BENT  # Graphviz might take minutes to bend edges around boxes
        if self.in_grid:
            # What keeps its place has the same coordinates in every picture: a page holds it once.
            picture.graph_attr.update({"layout": "nop", "notranslate": "true"})
            picture.graph_attr.update(style.STRAIGHT if large else {"splines": "true"})
        elif large:
            picture.graph_attr.update(style.LARGE)
        if not self.in_grid and self._comes_back(
            clusters
        ):  # by itself Graphviz ranks each cluster apart, as if nothing came back
            picture.graph_attr["newrank"] = "true"
        self._write_nodes(picture, ())
        for node in self.index:
            self._write_edges(picture, node)
        note = change_note(self.changed, self.names)
        if self._looks or note:
            picture.attr(label=boxes.legend(self._looks, note))
        return Diagram(
            picture.source, self._titles(clusters), tuple(sign.title for sign in self._signs.values() if sign.title)
        )

    @cached_property
    def clusters(self) -> dict[Path, list[Value]]:
        """The nodes of each group, outer groups before those within, in order of appearance."""
        clusters: dict[Path, list[Value]] = {(): []}
        for node in self.index:
            if node not in self.rows:
                path = self.path.get(node, ())
                for around in _around(path):
                    clusters.setdefault(around, [])
                clusters[path].append(node)
        return clusters

    def _members(self, path: Path) -> list[Value]:
        """Return what the closed box of a group shows: of a network each z with its a, of other groups the last result."""
        inner = [node for around, nodes in self.clusters.items() if around[: len(path)] == path for node in nodes]
        if not self.in_grid:
            return self.clusters[path][-1:]
        found: dict[Value, None] = {}
        inner.sort(key=lambda node: numbers(self.path[node]))
        for node in inner:
            if node.label[:1] == "z":
                found[node] = None
                found |= dict.fromkeys(a for a in inner if a.label[:1] == "a" and node in a.inputs)
        return list(found | dict.fromkeys(node for node in inner if node.label[:1] == "a"))

    def _comes_back(self, clusters: dict[Path, list[Value]]) -> bool:
        """Return whether a way through the graph leaves a cluster and enters it again, as in a softmax layer."""
        # A closed group is one box, to which edges must come back.
        around = {v: set(_around(path)) for path, nodes in clusters.items() for v in nodes if v not in self.box}
        left: dict[Value, set[Path]] = {}
        for node in self.index:
            inside = around.get(node, set())
            inputs = [node.inputs[k] for k in self.edges[node]]
            left[node] = set().union(*(left[v] | around.get(v, set()) - inside for v in inputs))
            if not left[node].isdisjoint(inside):
                return True
        return False

    def _write_nodes(self, dot: Any, path: Path) -> None:
        """Write the nodes of a cluster, then the clusters within it."""
        for node in self.clusters[path]:
            id = self._id(node)
            dot.node(id, self._label(node).label, id=id, **self._pos(id), **self._look(node))
        for id, sign in self._signs.items():
            if sign.path == path:
                dot.node(id, boxes.chip(sign.words, style.MUTED).label, id=id, **self._pos(id), **style.MORE)
        for i, inner in enumerate(self.clusters, start=-1):
            if inner in self.closed and inner[:-1] == path:
                place = self._place(*self._grid.frames[inner].centre) if self._grid else {}
                dot.node(f"c{i}", self._closed_label(inner).label, id=f"c{i}", **place, **style.GROUP)
            elif inner and inner[:-1] == path:
                frame = boxes.frame(f"c{i}", inner[-1]) | self._frame(inner)
                with dot.subgraph(name=f"cluster_{i}", graph_attr=frame) as cluster:
                    self._write_nodes(cluster, inner)

    def _write_edges(self, dot: Any, node: Value) -> None:
        """Write the edges into a node. That of xₖ ends beside the row of wₖ, if there is one."""
        side = {"LR": "w", "RL": "e"}.get(self.rankdir)
        ports: dict[str, str] = {}
        for k in self.edges[node]:
            input, operand = node.inputs[k], _operands(node)[k]
            look = {"class": "constant"} if input.op is ops.CONSTANT else {}
            id = self._edge_id(node, k)
            if input in self.box or node in self.box:
                ends = self.box.get(input, self._id(input)), self.box.get(node, self._id(node))
                if ends[0] != ends[1]:
                    if not self._grid or self.path.get(input, ())[:1] != self.path.get(node, ())[:1]:
                        ends = ends[0] + self._row_port(input, "tail"), ends[1] + self._row_port(node, "head")
                    if ends not in self.joined:
                        self.joined.add(ends)
                        dot.edge(*ends, id=id, **look)
            elif input in self.rows:
                ports["x" + operand[1:]] = f":{self._id(input)}:{side}" if side else ""
            else:
                label = boxes.chip(format_number(node.local_grads[k]), style.LOCAL, self.live)
                ends = self._id(input) + self._side(input, node, "tail"), self._id(node)
                ends = ends[0], ends[1] + (ports.get(operand) or self._side(input, node, "head"))
                if self._grid and self.local_grads and (operand in ports or len(self.edges[node]) <= MOST_AT_HEAD):
                    look |= self._at_head(node, k, label)  # for the middles of crossing edges meet
                if (node, k) in self._late:
                    look["late"] = "true"
                dot.edge(*ends, label.label if self.local_grads and not self._grid else "", id=id, **look)
        for id in self._more_beside(node):
            dot.edge(id, self._id(node), style="dotted", id=f"e{id}")

    @cached_property
    def _late(self) -> set[tuple[Value, int]]:
        """The edges that `render` leaves out while Graphviz looks for places: it would take minutes over many long ones."""
        rank: dict[Value, int] = {}
        for node in self.index:
            rank[node] = max((rank[node.inputs[k]] + 1 for k in self.edges[node]), default=0)
        first: dict[Value, int] = {}  # where the nodes that use a leaf begin
        for node in self.index:
            for k in self.edges[node]:
                first[node.inputs[k]] = min(first.get(node.inputs[k], rank[node]), rank[node])
        crossed = {
            (node, k): rank[node] - (rank[input] if self.edges[input] else first[input] - 1) - 1
            for node in self.index
            for k in self.edges[node]
            for input in [node.inputs[k]]
        }
        order = sorted(crossed, key=crossed.__getitem__)
        sums = accumulate(crossed[edge] for edge in order)
        return {edge for edge, total in zip(order, sums, strict=True) if total > MOST_CROSSED and not self.in_grid}

    def _at_head(self, node: Value, k: int, label: boxes.Box) -> dict[str, str]:
        """Return the attributes of a label that stands on the edge where it ends; of two from one node, on either side."""
        assert self._grid
        twins = [j for j in self.edges[node] if node.inputs[j] is node.inputs[k]]
        ids = self._id(node.inputs[k]), self._id(node)
        side = 2 * twins.index(k) - len(twins) + 1
        level = self.rankdir in ("LR", "RL")
        (start, y), (end, to) = (self._grid.place[id] for id in ids)
        if self._grid.goes_down(*ids):
            along, beside = (9.0, label.width / 2 + 6) if level else (label.width / 2 + 8, label.height / 2 + 2)
            distance, angle = hypot(along, beside), (side or 1) * degrees(atan2(beside, along))
        else:
            sizes = sum(self._grid.size[id].main for id in ids)
            slope = min(abs(to - y) / max(end - start - sizes / 2, 1.0), 2.0) if start < end else 0.0
            distance, angle = (label.width / 2 + 12) * hypot(1, slope), 25.0 * side
            if not side and slope < FLAT and level:  # above it, or below one that comes from below
                turn = 1 if (y <= to) == (self.rankdir == "RL") else -1
                angle = turn * degrees(atan2(label.height / 2 + slope * label.width / 2, distance))
                angle *= 1 if start < end else -1
        return {"headlabel": label.label, "labelangle": f"{angle:.1f}", "labeldistance": f"{distance / 10:.2f}"}

    def _row_port(self, node: Value, end: str) -> str:
        """Return where an edge meets a closed box: at the row of the node, if it has one."""
        sides = SIDES[self.rankdir][end]
        if node not in self.box:
            return f":{sides}" if self._grid else ""
        return f":{self._id(node)}:{sides}" if node in self.shown and self.rankdir in ("LR", "RL") else ""

    def _side(self, input: Value, node: Value, end: str) -> str:
        """Return the side of the box at which an edge begins or ends, where the grid tells which way it goes."""
        if not self._grid:
            return ""
        ids = self._id(input), self._id(node)
        if self._grid.goes_down(*ids):
            return f":{DOWN[self.rankdir][end]}"
        before, after = (self._grid.place[id][0] for id in ids)
        if before == after:  # around what stands between them
            return f":{AROUND[self.rankdir][end]}"
        return f":{SIDES[self.rankdir][end]}" if before < after else ""

    # ── Places in the grid ─────────────────────────────────────────────────────────────────────

    @cached_property
    def _grid(self) -> Grid | None:
        if not self.in_grid:
            return None
        nodes = [node for node in self.index if node not in self.rows]
        inputs = {
            self._id(v): [self._id(i) for k in self.edges[v] if (i := v.inputs[k]) not in self.rows] for v in nodes
        }
        outline = {self.root: 8.0}  # its second one
        sizes = {self._id(node): self._size(self._label(node), outline.get(node, 0.0)) for node in nodes}
        path = {self._id(node): self.path[node] for node in nodes if node in self.path}
        for id, sign in self._signs.items():
            if sign.path is not None:
                sizes[id], inputs[id] = self._size(boxes.chip(sign.words, style.MUTED)), []
            if sign.path:
                path[id] = sign.path
            elif sign.below:  # the last of the inputs
                inputs[self._id(sign.below)].append(id)
        closed = {path: self._size(self._closed_label(path)) for path in self.closed & self.clusters.keys()}
        local_grads = [] if self.live else [format_number(v.local_grads[k]) for v in nodes for k in self.edges[v]]
        gap = boxes.chip(max(local_grads, key=len, default=""), "", self.live).width + 14 if self.local_grads else 40.0
        below = BELOW if self.rankdir in ("LR", "RL") else gap
        return Grid(sizes, inputs, path, closed, gap, below, stacked=bool(self.rows))

    def _size(self, box: boxes.Box, outline: float = 0.0) -> Size:
        extents = box.width + outline, box.height + outline
        return Size(*extents) if self.rankdir in ("LR", "RL") else Size(*reversed(extents))

    def _pos(self, id: str) -> dict[str, str]:
        return self._place(*self._grid.place[id]) if self._grid else {}

    def _place(self, main: float, cross: float) -> dict[str, str]:
        return {"pos": "{:.1f},{:.1f}".format(*self._point(main, cross))}

    def _point(self, main: float, cross: float) -> tuple[float, float]:
        """Return x and y, upward, of a place in the grid."""
        return {"LR": (main, -cross), "RL": (-main, -cross), "TB": (cross, -main), "BT": (cross, main)}[self.rankdir]

    def _frame(self, path: Path) -> dict[str, str]:
        """Return the extent of a cluster, and the place of its name at its left and top."""
        if not self._grid:
            return {}
        frame = self._grid.frames[path]
        corners = self._point(frame.main, frame.cross), self._point(frame.main_end, frame.cross_end)
        left, right = sorted(x for x, _ in corners)
        bottom, top = sorted(y for _, y in corners)
        width = boxes.text_width([path[-1]], 10)
        return {
            "bb": f"{left:.1f},{bottom:.1f},{right:.1f},{top:.1f}",
            "lp": f"{left + width / 2 + 4:.1f},{top - 9:.1f}",
        }

    # ── What is left out ───────────────────────────────────────────────────────────────────────

    def _more(self, node: Value) -> tuple[str, str] | None:
        """Return the id and text of the sign that some inputs are not drawn."""
        hidden = len(node.inputs) - len(self.edges[node])
        return (f"m{self.index[node]}", f"⋯ {_count(hidden, 'input')} not drawn") if hidden else None

    def _more_beside(self, node: Value) -> list[str]:
        """Return the id of that sign, if it stands beside the box of the node and not in it."""
        more = self._more(node)
        beside = more and not self.in_grid and node not in self.box and self.rows.isdisjoint(node.inputs)
        return [more[0]] if more and beside else []

    @cached_property
    def _signs(self) -> dict[str, Sign]:
        """The signs that something is not drawn. In a network they stand below the neurons of a layer, and the inputs."""
        if self.in_grid:
            return self._hidden_neurons() | self._hidden_inputs()
        signs = {}
        for node in self.index:
            if more := self._more(node):
                title = f"{len(node.inputs) - len(self.edges[node])} of the {_count(len(node.inputs), 'input')}"
                path = () if self._more_beside(node) else None
                signs[more[0]] = Sign(more[1], f"{title} of {self.names[node]}", path)
        return signs

    def _hidden_neurons(self) -> dict[str, Sign]:
        signs, members = {}, defaultdict[Path, dict[Path, int]](dict)
        for i, node in enumerate(self.order):
            if node.label[:1] == "z" and (path := by_layer(node)):
                members[path[:1]].setdefault(path, i)
        for layer, neurons in members.items():
            hidden = [i for path, i in neurons.items() if path not in self.clusters]
            if hidden and layer in self.clusters:
                title = f"{len(hidden)} of the {_count(len(neurons), 'neuron')} of {layer[0]}"
                signs[f"m{hidden[0]}"] = Sign(f"⋯ {len(hidden)} more", title, None if layer in self.closed else layer)
        return signs

    def _hidden_inputs(self) -> dict[str, Sign]:
        signs, inputs = {}, defaultdict[Path, dict[Value, None]](dict)
        last: dict[Path, Value] = {}
        for node in self.index:
            if node.label[:1] == "z" and node in self.path:
                inputs[self.path[node][:1]] |= {v: None for v in node.inputs if not v.inputs and not by_layer(v)}
                last[self.path[node][:1]] = node
        place = {node: i for i, node in enumerate(self.order)}
        for layer, leaves in inputs.items():
            if hidden := [place[leaf] for leaf in leaves if leaf not in self.index]:
                title = f"{len(hidden)} of the {_count(len(leaves), 'input')} of {layer[0]}"
                signs[f"m{min(hidden)}"] = Sign(f"⋯ {len(hidden)} more", title, (), last[layer])
        return signs

    # ── What a box holds ───────────────────────────────────────────────────────────────────────

    def _id(self, node: Value) -> str:
        return f"n{self.index[node]}"

    def _edge_id(self, node: Value, k: int) -> str:
        return f"e{self.index[node]}_{k}"

    @cached_property
    def _looks(self) -> dict[str, dict[str, str]]:
        """The colour of each group, in the order of their first nodes."""
        looks = [colour | mark for mark in style.MARKS for colour in style.PALETTE]
        return dict(zip(dict.fromkeys(self.group.values()), cycle(looks), strict=False))

    def _look(self, node: Value) -> dict[str, str]:
        look = style.LEAF if node.op is ops.LEAF else style.CONSTANT if node.op is ops.CONSTANT else style.OPERATION
        if node is self.root:
            look = look | style.ROOT | {"class": f"{look['class']} root"}
        if node in self.group:
            own = dict(self._looks[self.group[node]])
            look = look | {"style": ",".join([look["style"], *filter(None, [own.pop("line", None)])])} | own
        return look

    def _label(self, node: Value) -> boxes.Box:
        data, gradient = self._data_and_gradient(node)
        if node.op is ops.CONSTANT:
            return boxes.constant(*((self.names[node], data) if node.label else ("", self.names[node])))
        rows = [
            self._row(
                leaf, self._edge_id(node, k), f"↑ {format_number(node.local_grads[k])}" if self.local_grads else "↑"
            )
            for k in self.edges[node]
            if (leaf := node.inputs[k]) in self.rows
        ]
        more = self._more(node) if not self._more_beside(node) else None
        head = self.names[node], _symbol(node), data, gradient
        return boxes.box(*head, rows, more, labelled=bool(node.label), live=self.live)

    def _closed_label(self, path: Path) -> boxes.Box:
        """Write what stands in the box of a closed group, and how many nodes of it do not."""
        rows, members = [], [node for node in self._members(path) if node in self.shown]
        for i, node in enumerate(members):
            into = members[i + 1] if i + 1 < len(members) else None
            k = next((k for k in self.edges[into] if into.inputs[k] is node), None) if into else None
            if into and k is not None:
                local_grad = f"↓ {format_number(into.local_grads[k])}" if self.local_grads else "↓"
                rows.append(self._row(node, self._edge_id(into, k), local_grad))
            else:
                rows.append(self._row(node, "", ""))
        return boxes.box(f"{path[-1]} ▸", "", "", "", rows, self._more_inside(path), live=self.live, below=True)

    def _more_inside(self, path: Path) -> tuple[str, str] | None:
        """Return the id and text of the sign that some nodes of a closed group do not stand in its box."""
        id = f"c{list(self.clusters).index(path) - 1}"
        inside = {node for node, box in self.box.items() if box == id}
        cut = {
            v
            for node in inside
            for v in node.inputs
            if v not in self.index and (by_layer(v) or ())[: len(path)] == path
        }
        hidden = len(inside - self.shown.keys()) + len(cut)
        return (f"m{id}", f"⋯ {hidden} more") if hidden else None

    def _row(self, node: Value, edge_id: str, local_grad: str) -> boxes.Row:
        numbers = (
            self._data_and_gradient(node) if node.op is not ops.CONSTANT else (self._data_and_gradient(node)[0], "")
        )
        return boxes.Row(self._id(node), self.names[node], *numbers, edge_id, local_grad, self._look(node))

    def _data_and_gradient(self, node: Value) -> tuple[str, str]:
        """Write the data and, after ∇, the gradient."""
        data = format_number(recorded_data(node, self.changed))
        return data, f"∇ {self._grad(node, format_number)}" if self.grad else ""

    def _grad(self, node: Value, write: Callable[[float], str]) -> str:
        if isinstance(self.grad, dict):
            return self.grad.get(node, "–")
        return write(node.grad) if node.has_grad else "–"

    def _titles(self, clusters: Iterable[Path]) -> dict[str, str]:
        """Say what each id stands for, in full precision."""
        titles = {"graph": f"Computation graph of {self.names[self.root]}: {_count(len(self.names), 'node')}"}
        titles |= {f"c{i}": ", ".join(path) for i, path in enumerate(clusters, start=-1) if path}
        for node in self.index:
            group = self.group.get(node)
            if node not in self.box or node in self.shown:
                titles[self._id(node)] = self._sentence(node) + (f", in {group}" if group else "")
            for k in self.edges[node]:
                local = formula.local(self.names[node], k)
                rule, exact = formula.derivative(node, k, self.names), repr(node.local_grads[k])
                plain = rule in ("", format_constant(node.local_grads[k]))
                titles[self._edge_id(node, k)] = f"{local} = {exact}" if plain else f"{local} = {rule} = {exact}"
            if more := self._more(node):
                titles[more[0]] = titles[f"e{more[0]}"] = more[1]
        titles = {id: f"not drawn: {sign.title}" for id, sign in self._signs.items()} | titles
        titles |= {more[0]: more[1] for path in clusters if path in self.closed and (more := self._more_inside(path))}
        return {id: boxes.clean_for_svg(title).replace("\n", " ") for id, title in titles.items()}

    def _sentence(self, node: Value) -> str:
        """Describe a node: e = a·b = -6.0, ∇ 0.5."""
        parts = [] if node.op is ops.CONSTANT and not node.label else [self.names[node]]
        if node.inputs:
            parts.append(formula.expression(node, self.names, depth=1))
        sentence = " = ".join([*parts, repr(recorded_data(node, self.changed))])
        return sentence if node.op is ops.CONSTANT else f"{sentence}, ∇ {self._grad(node, repr).rstrip()}"


def _symbol(node: Value) -> str:
    """Return the operation's symbol. That of a vector with itself is a sum of squares."""
    half = len(node.inputs) // 2
    return "Σx²" if node.op is ops.DOT and node.inputs[:half] == node.inputs[half:] else node.op.symbol


def _around(path: Path) -> list[Path]:
    """Return the groups that a path leads through, outermost first."""
    return [path[:length] for length in range(1, len(path) + 1)]


def _operands(node: Value) -> tuple[str, ...]:
    return _operand_names(node.op, len(node.inputs))


@lru_cache(256)
def _operand_names(op: Operation, n: int) -> tuple[str, ...]:
    return op.operand_names(n)


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" + ("s" if n != 1 else "")
