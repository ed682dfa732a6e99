"""A picture of the graph: Values as boxes, the operations in them, local derivatives on the edges.

Nothing but the graph, in the order in which its nodes were recorded, decides what is written: the
same program draws the same picture, byte for byte. `boxes` has what a node looks like.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, cycle
from numbers import Real
from typing import Any

from microgradlike import ops
from microgradlike.notation import formula
from microgradlike.notation.digits import format_constant, format_number, plain_digits
from microgradlike.notation.names import node_names
from microgradlike.value import Value, topological_order
from microgradlike.view import boxes, style
from microgradlike.view.changes import change_note, changed_data, recorded_data
from microgradlike.view.diagram import Diagram, render

__all__ = ["Diagram", "by_layer", "draw", "render"]

Path = tuple[str, ...]


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
    if not isinstance(v, Value):
        raise TypeError(f"draw takes one Value, got {type(v).__name__}; microgradlike.sum joins several into one")
    if rankdir not in ("LR", "TB", "RL", "BT"):
        raise ValueError(f"rankdir={rankdir!r}: expected 'LR', 'TB', 'RL' or 'BT'")
    limits = max_nodes, max_terms, depth or 0
    if not all(isinstance(n, Real) for n in limits) or max_nodes < 1 or max_terms < 1 or (depth or 0) < 0:
        raise ValueError(f"{max_nodes=}, {max_terms=}, {depth=}: expected 1 or more, and a depth of 0 or more")
    order = topological_order(v)
    edges = _choose(v, depth, None if only is None else _ways(order, only), max_terms, max_nodes)
    drawn = {node: i for i, node in enumerate(order) if node in edges}
    drawing = _Drawing(
        root=v,
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
    )
    return drawing.write(by_layer if clusters is True else clusters or (lambda node: None))


def by_layer(node: Value) -> Path | None:
    """Return the layer and neuron that a label of `nn` tells: of w²₁₃, b²₁, z²₁ and a²₁, layer 2 and neuron 1."""
    label = re.fullmatch("([wbza])[′″]?([⁰¹²³⁴⁵⁶⁷⁸⁹]+)([₀₁₂₃₄₅₆₇₈₉]+)(,[₀₁₂₃₄₅₆₇₈₉]+)?", node.label)
    if not label:
        return None
    letter, layer, neuron, comma = label.groups()
    if letter == "w" and not comma:  # two indices of one digit each
        neuron = neuron[0]
    return f"layer {plain_digits(layer)}", f"neuron {plain_digits(neuron)}"


def _ways(order: list[Value], only: Iterable[Value]) -> set[Value]:
    """Return the nodes on the ways from those in `only` to the last one."""
    found = set(only)
    if strangers := found.difference(order):
        raise ValueError(f"{strangers.pop()!r} is not in the graph: `only` takes nodes that the result depends on")
    for node in order:
        if not found.isdisjoint(node.inputs):
            found.add(node)
    return found


def _choose(
    v: Value, depth: int | None, ways: set[Value] | None, max_terms: int, max_nodes: int
) -> dict[Value, list[int]]:
    """Choose the nodes to draw, and for each the positions among its inputs of those to draw an edge from."""

    def terms(node: Value) -> list[int]:
        if ways is not None:
            return [k for k, input in enumerate(node.inputs) if input in ways]
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
    box: dict[Value, str] = field(default_factory=dict)  # the id of the closed box that a node is in
    joined: set[tuple[str, str]] = field(default_factory=set)  # the edges drawn so far that end at a closed box

    def write(self, cluster_of: Callable[[Value], str | Path | None]) -> Diagram:
        import graphviz

        look = style.GRAPH | {"rankdir": self.rankdir}
        if sum(map(len, self.edges.values())) > 250:  # Graphviz might take minutes to bend them around the boxes
            look |= style.LARGE
        picture = graphviz.Digraph(graph_attr=look, node_attr=style.NODE, edge_attr=style.EDGE)
        clusters: dict[Path, list[Value]] = {(): []}
        for node in self.index:
            if node not in self.rows:
                group = cluster_of(node) or ()
                path = (group,) if isinstance(group, str) else tuple(group)
                for around in _around(path):
                    clusters.setdefault(around, [])
                clusters[path].append(node)
                if closed := [around for around in _around(path) if around in self.closed]:
                    self.box[node] = f"c{list(clusters).index(closed[0]) - 1}"
        for node, box in list(self.box.items()):
            self.box |= {node.inputs[k]: box for k in self.edges[node] if node.inputs[k] in self.rows}
        if self._comes_back(clusters):  # by itself Graphviz ranks each cluster apart, as if nothing came back
            picture.graph_attr["newrank"] = "true"
        self._write_nodes(picture, (), clusters)
        for node in self.index:
            self._write_edges(picture, node)
        note = change_note(self.changed, self.names)
        if self._looks or note:
            picture.attr(label=boxes.legend(self._looks, note))
        return Diagram(picture.source, self._titles(clusters))

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

    def _write_nodes(self, dot: Any, path: Path, clusters: dict[Path, list[Value]]) -> None:
        """Write the nodes of a cluster, then the clusters within it."""
        for node in clusters[path]:
            dot.node(self._id(node), self._label(node), id=self._id(node), **self._look(node))
        for i, inner in enumerate(clusters, start=-1):
            if inner in self.closed and inner[:-1] == path:
                texts = self._data_and_gradient(clusters[inner][-1]) if clusters[inner] else ("", "")
                dot.node(f"c{i}", boxes.box(f"{inner[-1]} ▸", "", *texts), id=f"c{i}", **style.GROUP)
            elif inner and inner[:-1] == path:
                with dot.subgraph(name=f"cluster_{i}", graph_attr=boxes.frame(f"c{i}", inner[-1])) as cluster:
                    self._write_nodes(cluster, inner, clusters)

    def _write_edges(self, dot: Any, node: Value) -> None:
        """Write the edges into a node. That of xₖ ends beside the row of wₖ, if there is one."""
        side = {"LR": "w", "RL": "e"}.get(self.rankdir)
        ports: dict[str, str] = {}
        for k in self.edges[node]:
            input, operand = node.inputs[k], _operands(node)[k]
            ends = self.box.get(input, self._id(input)), self.box.get(node, self._id(node))
            if input in self.box or node in self.box:
                if ends[0] != ends[1] and ends not in self.joined:
                    self.joined.add(ends)
                    dot.edge(*ends, id=self._edge_id(node, k))
            elif input in self.rows:
                ports["x" + operand[1:]] = f":{self._id(input)}:{side}" if side else ""
            else:
                label = boxes.chip(format_number(node.local_grads[k]), style.LOCAL) if self.local_grads else ""
                dot.edge(self._id(input), self._id(node) + ports.get(operand, ""), label, id=self._edge_id(node, k))
        more = self._more(node)
        if more and node not in self.box and self.rows.isdisjoint(node.inputs):
            id, words = more
            dot.node(id, boxes.chip(words, style.MUTED), **style.MORE, id=id)
            dot.edge(id, self._id(node), style="dotted", id=f"e{id}")

    def _id(self, node: Value) -> str:
        return f"n{self.index[node]}"

    def _edge_id(self, node: Value, k: int) -> str:
        return f"e{self.index[node]}_{k}"

    def _more(self, node: Value) -> tuple[str, str] | None:
        """Return the id and text of the sign that some inputs are not drawn."""
        hidden = len(node.inputs) - len(self.edges[node])
        return (f"m{self.index[node]}", f"⋯ {_count(hidden, 'input')} not drawn") if hidden else None

    @cached_property
    def _looks(self) -> dict[str, dict[str, str]]:
        """The colour of each group, in the order of their first nodes."""
        return dict(zip(dict.fromkeys(self.group.values()), cycle(style.PALETTE), strict=False))

    def _look(self, node: Value) -> dict[str, str]:
        look = style.LEAF if node.op is ops.LEAF else style.CONSTANT if node.op is ops.CONSTANT else style.OPERATION
        if node is self.root:
            look = look | style.ROOT | {"class": f"{look['class']} root"}
        return look | (self._looks[self.group[node]] if node in self.group else {})

    def _label(self, node: Value) -> str:
        data, gradient = self._data_and_gradient(node)
        if node.op is ops.CONSTANT:
            return boxes.constant(*((self.names[node], data) if node.label else ("", self.names[node])))
        rows = [
            boxes.ParameterRow(
                self._id(leaf),
                self._edge_id(node, k),
                self.names[leaf],
                *self._data_and_gradient(leaf),
                f"↑ {format_number(node.local_grads[k])}" if self.local_grads else "↑",
                self._look(leaf),
            )
            for k in self.edges[node]
            if (leaf := node.inputs[k]) in self.rows
        ]
        head = self.names[node], node.op.symbol, data, gradient
        return boxes.box(*head, rows, self._more(node), labelled=bool(node.label))

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
            if node not in self.box:
                titles[self._id(node)] = self._sentence(node) + (f", in {group}" if group else "")
            for k in self.edges[node]:
                local = formula.local(self.names[node], k)
                rule, exact = formula.derivative(node, k, self.names), repr(node.local_grads[k])
                plain = rule in ("", format_constant(node.local_grads[k]))
                titles[self._edge_id(node, k)] = f"{local} = {exact}" if plain else f"{local} = {rule} = {exact}"
            if more := self._more(node):
                titles[more[0]] = titles[f"e{more[0]}"] = more[1]
        return {id: boxes.clean_for_svg(title).replace("\n", " ") for id, title in titles.items()}

    def _sentence(self, node: Value) -> str:
        """Describe a node: e = a·b = -6.0, ∇ 0.5."""
        parts = [] if node.op is ops.CONSTANT and not node.label else [self.names[node]]
        if node.inputs:
            parts.append(formula.expression(node, self.names, depth=1))
        sentence = " = ".join([*parts, repr(recorded_data(node, self.changed))])
        return sentence if node.op is ops.CONSTANT else f"{sentence}, ∇ {self._grad(node, repr).rstrip()}"


def _around(path: Path) -> list[Path]:
    """Return the groups that a path leads through, outermost first."""
    return [path[:length] for length in range(1, len(path) + 1)]


def _operands(node: Value) -> tuple[str, ...]:
    return node.op.operand_names(len(node.inputs))


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" + ("s" if n != 1 else "")
