"""What each part of a drawing holds: the boxes, open and closed, the signs that something is not drawn, the titles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import cycle
from typing import NamedTuple

from microgradlike import ops
from microgradlike.notation import formula
from microgradlike.notation.digits import format_constant, format_number
from microgradlike.value import Value
from microgradlike.view import boxes, style
from microgradlike.view.changes import recorded_data
from microgradlike.view.grid import Path, Size, by_layer, numbers


class Sign(NamedTuple):
    """A sign that something is not drawn."""

    words: str
    title: str  # how many of how many of what
    path: Path | None  # the group that it stands in, if it is a box of its own
    below: Value | None = None  # it stands below the inputs of this node


@dataclass
class Contents:
    """What to draw, and what is written in each part of it."""

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
    # All pictures of a page share these: the sizes of boxes, and how many nodes of a group do not stand in its box.
    measured: dict[Value | Path, Size] = field(default_factory=dict)
    hidden: dict[Path, int] = field(default_factory=dict)
    box: dict[Value, str] = field(init=False, default_factory=dict)  # the id of the closed box that a node is in
    # Those that are rows in it, and where edges meet them
    shown: dict[Value, str] = field(init=False, default_factory=dict)
    # The ids of the edges for which one that ends at a closed box stands, by its ends; it has the first of them
    joined: dict[tuple[str, str], list[str]] = field(init=False, default_factory=dict)

    @cached_property
    def clusters(self) -> dict[Path, list[Value]]:
        """The nodes of each group, outer groups before those within, in order of appearance."""
        clusters: dict[Path, list[Value]] = {(): []}
        for node in self.index:
            if node not in self.rows:
                path = self.path.get(node, ())
                for around in groups_around(path):
                    clusters.setdefault(around, [])
                clusters[path].append(node)
        return clusters

    def _members(self, path: Path) -> list[Value]:
        """Return what the closed box of a group shows: of a network each z with its a, of other groups the last result."""
        if not self.in_grid:
            return self.clusters[path][-1:]
        found: dict[Value, None] = {}
        inner = [node for around, nodes in self.clusters.items() if around[: len(path)] == path for node in nodes]
        inner.sort(key=lambda node: numbers(self.path[node]))
        for node in inner:
            if node.label[:1] == "z":
                found[node] = None
                found |= dict.fromkeys(a for a in inner if a.label[:1] == "a" and node in a.inputs)
        return list(found | dict.fromkeys(node for node in inner if node.label[:1] == "a"))

    def _rows_in(self, path: Path) -> list[Value]:
        """Return the nodes that are rows of a closed box."""
        return self._members(path)[: 2 * self.max_terms]

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
            self._row(leaf, self._edge_id(node, k), self._local_grad(node, k) or "↑")
            for k in self.edges[node]
            if (leaf := node.inputs[k]) in self.rows
        ]
        more = self._more(node) if not self._more_beside(node) else None
        head = self.names[node], _symbol(node), data, gradient
        return boxes.box(*head, rows, more, labelled=bool(node.label), live=self.live)

    def _closed_label(self, path: Path) -> boxes.Box:
        """Write what stands in the box of a closed group, and how many nodes of it do not."""
        rows, members = [], self._rows_in(path)
        for i, node in enumerate(members):
            into = ((v, k) for v in members[i + 1 : i + 2] for k in self.edges[v] if v.inputs[k] is node)
            edge = next(((self._edge_id(*each), self._local_grad(*each) or "↓") for each in into), ("", ""))
            rows.append(self._row(node, *edge))
        return boxes.box(f"{path[-1]} ▸", "", "", "", rows, self._more_inside(path), live=self.live, below=True)

    @cached_property
    def _inside(self) -> dict[Path, set[Value]]:
        """The nodes in each group."""
        inside = defaultdict[Path, set[Value]](set)
        for path, nodes in self.clusters.items():
            rows = [leaf for node in nodes for k in self.edges[node] if (leaf := node.inputs[k]) in self.rows]
            for around in groups_around(path):
                inside[around].update(nodes, rows)
        return inside

    def _more_inside(self, path: Path) -> tuple[str, str] | None:
        """Return the id and text of the sign that some nodes of a closed group do not stand in its box."""
        id = f"c{list(self.clusters).index(path) - 1}"
        if path not in self.hidden:
            inside = self._inside[path]
            not_drawn = {v for node in inside for v in node.inputs if v not in self.index}
            cut = sum((by_layer(v) or ())[: len(path)] == path for v in not_drawn)
            self.hidden[path] = len(inside.difference(self._rows_in(path))) + cut
        return (f"m{id}", f"⋯ {self.hidden[path]} more") if self.hidden[path] else None

    def _local_grad(self, node: Value, k: int) -> str:
        """Write the local derivative by input k, as on an edge: ∂₁ -3. The node that it is of stands beside it."""
        return f"{formula.local('', k)} {format_number(node.local_grads[k])}" if self.local_grads else ""

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
        others = {first: len(rest) for first, *rest in self.joined.values()}
        for node in self.index:
            group = self.group.get(node)
            if node not in self.box or node in self.shown:
                titles[self._id(node)] = self._sentence(node) + (f", in {group}" if group else "")
            for k in self.edges[node]:
                id, box = self._edge_id(node, k), self.box.get(node)
                if id in others or box is self.box.get(node.inputs[k]) is None or node in self.shown:
                    local = formula.local(self.names[node], k)
                    rule, exact = formula.derivative(node, k, self.names), repr(node.local_grads[k])
                    plain = rule in ("", format_constant(node.local_grads[k]))
                    stands_for = f"; and {_count(others[id], 'edge')} more" if others.get(id) else ""
                    titles[id] = (f"{local} = {exact}" if plain else f"{local} = {rule} = {exact}") + stands_for
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


def groups_around(path: Path) -> list[Path]:
    """Return the groups that a path leads through, outermost first."""
    return [path[:length] for length in range(1, len(path) + 1)]


def closed_group(path: Path, closed: bool | set[Path]) -> Path | None:
    """Return the outermost closed group that a path leads through, where True stands for all groups."""
    return next((group for group in groups_around(path) if closed is True or (closed and group in closed)), None)


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" + ("s" if n != 1 else "")
