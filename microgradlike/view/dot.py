"""A picture of the graph: Values as boxes, the operations in them, local derivatives on the edges.

Nothing but the graph, in the order in which its nodes were recorded, decides what is written: the
same program draws the same picture, byte for byte. `choose` has which nodes are drawn,
`contents` what stands in their boxes, `boxes` how it looks, `grid` where the nodes of a network stand, `labels` where
the numbers on its edges stand, `drawing` how all that is written in DOT.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from numbers import Real

from microgradlike.notation.names import node_names
from microgradlike.value import Value, topological_order
from microgradlike.view.changes import changed_data
from microgradlike.view.choose import TooManyNodes, choose, leaves_inside, refuse_more, weights_and_biases
from microgradlike.view.contents import closed_group, groups_around
from microgradlike.view.diagram import Diagram, render
from microgradlike.view.drawing import Drawing
from microgradlike.view.grid import Path, by_layer, network_groups
from microgradlike.view.part import ways

MOST_NAMED = 8  # groups, in an error

__all__ = ["Diagram", "TooManyNodes", "by_layer", "draw", "drawing", "render"]


def draw(
    v: Value,
    *,
    grad: bool | Mapping[Value, str] = True,
    local_grads: bool = True,
    rankdir: str = "LR",
    clusters: bool | Callable[[Value], str | Path | None] = True,
    color_by: Callable[[Value], str | None] | None = None,
    fold: bool = True,
    closed: bool | str | Iterable[str | Path] = (),
    depth: int | None = None,
    only: Iterable[Value] | None = None,
    names: Mapping[Value, str] | None = None,
    max_terms: int = 10,
    max_nodes: int = 200,
) -> Diagram:
    """Draw the graph that v was computed from.

    A box shows a node's name, its operation, its data and, after ∇, its gradient ∂L/∂node (– where
    none is computed yet). Leaves have square corners, constants are dashed and show no gradient,
    v itself has a double outline. On each edge stands the local derivative, after ∂₁ for that by the first input.
    Where the data of a leaf was changed after the recording, as an optimizer does, the picture shows what it was,
    and says so.

    - grad, local_grads: whether to show these numbers. `grad` may also hold what to show for each node.
    - rankdir: the direction from the leaves to v: "LR" (left to right), "TB", "RL" or "BT".
    - clusters: a function from a node to the name of its group, or to the names of nested groups,
      outermost first, or to None. True stands for `by_layer`, False for no groups.
    - color_by: a function from a node to a name or None. Nodes of one name get one colour, which a
      legend explains.
    - fold: whether the weights and the bias of w·x + b, where nothing else uses them, stand in its
      box, each in a row that ends with its local derivative, rather than in boxes of their own.
    - closed: the groups to draw as one box each, as "layer 1" or ("layer 1", "neuron 2"), or True for all: a
      box shows the last result in it, unless there are further groups within, and one arrow stands for all from
      one box to another. A constant that one of them alone uses is in it.
    - depth: draw only the nodes up to this many edges away from v.
    - only: draw only the nodes on the ways from these to v.
    - names: what to call the nodes, if not as `node_names` does.
    - max_terms: of w·x + b, Σ and their like, draw only this many terms.
    - max_nodes: the largest number of nodes to draw, where a closed box counts as one.

    Raises TypeError for a v that is no Value, and ValueError for another rankdir or a number out of range, for more
    than `max_nodes` nodes to draw, and where `only` has a Value that v does not depend on or `closed` a group that is
    not drawn. Nothing is drawn before the diagram is shown or saved: that raises RuntimeError where there is no
    Graphviz.
    """
    return drawing(
        v, grad=grad, local_grads=local_grads, rankdir=rankdir, clusters=clusters, color_by=color_by, fold=fold,
        closed=closed, depth=depth, only=only, names=names, max_terms=max_terms, max_nodes=max_nodes,
    ).write()  # fmt: skip


def drawing(
    v: Value,
    *,
    grad: bool | Mapping[Value, str] = True,
    local_grads: bool = True,
    rankdir: str = "LR",
    clusters: bool | Callable[[Value], str | Path | None] = True,
    color_by: Callable[[Value], str | None] | None = None,
    fold: bool = True,
    closed: bool | str | Iterable[str | Path] = (),
    depth: int | None = None,
    only: Iterable[Value] | None = None,
    names: Mapping[Value, str] | None = None,
    max_terms: int = 10,
    max_nodes: float = 200,
    live: bool = False,
) -> Drawing:
    """Return what `draw` writes; in a `live` picture, whose numbers will change, there is room for any number."""
    if not isinstance(v, Value):
        raise TypeError(f"draw takes one Value, got {type(v).__name__}; microgradlike.sum joins several into one")
    if rankdir not in ("LR", "TB", "RL", "BT"):
        raise ValueError(f"rankdir={rankdir!r}: expected 'LR', 'TB', 'RL' or 'BT'")
    limits = max_nodes, max_terms, depth or 0
    if not all(isinstance(n, Real) for n in limits) or max_nodes < 1 or max_terms < 1 or (depth or 0) < 0:
        raise ValueError(f"{max_nodes=}, {max_terms=}, {depth=}: expected 1 or more, and a depth of 0 or more")
    order = topological_order(v)
    group_of = cache(lambda node: _as_path(clusters(node)) if callable(clusters) else ())
    wanted = closed if isinstance(closed, bool) else {*map(_as_path, [closed] if isinstance(closed, str) else closed)}
    box_of = cache(lambda node: closed_group(group_of(node), wanted))
    edges, nearest = choose(v, depth, None if only is None else ways(order, only), max_terms, box_of)
    drawn = {node: i for i, node in enumerate(order) if node in edges}
    rows = weights_and_biases(edges, box_of) if fold else set()
    path = network_groups(list(drawn)) if clusters is True else leaves_inside(edges, rows, box_of)
    path |= {node: own for node in drawn if (own := group_of(node))}
    groups = dict.fromkeys(around for group in path.values() for around in groups_around(group))
    if not isinstance(wanted, bool) and (strangers := wanted - groups.keys()):
        raise ValueError(f"closed: there is no group {min(strangers)}; {_some(list(groups))}")
    shut = [closed_group(path.get(node, ()), wanted) for node in drawn]
    refuse_more(max_nodes, shut.count(None) + len({*shut} - {None}), nearest)
    return Drawing(
        root=v,
        order=order,
        names=dict(names or node_names(order, v)),
        index=drawn,
        edges=edges,
        rows=rows,
        group={node: str(group) for node in drawn if (group := color_by(node)) is not None} if color_by else {},
        grad={node: str(text) for node, text in grad.items()} if isinstance(grad, Mapping) else grad,
        local_grads=local_grads,
        rankdir=rankdir,
        closed={group for group in shut if group} if isinstance(wanted, bool) else wanted,
        changed=changed_data(edges),
        path=path,
        in_grid=clusters is True and bool(path),
        max_terms=max_terms,
        live=live,
    )


def _as_path(group: str | Path | None) -> Path:
    return (group,) if isinstance(group, str) else tuple(group or ())


def _some(groups: list[Path]) -> str:
    """Name the groups, or the first of them."""
    more = ", …" if len(groups) > MOST_NAMED else ""
    return f"the groups are {', '.join(map(str, groups[:MOST_NAMED]))}{more}" if groups else "there are no groups"
