"""The matrix form beside the scalar graph: the δ equation of each layer of `nn`, with the nodes whose numbers it holds.

δˡ = (wˡ⁺¹)ᵀ δˡ⁺¹ ⊙ σ′(zˡ)   (BP2, Nielsen ch. 2), and in the last layer δᴸ = ∇ₐC ⊙ σ′(zᴸ)   (BP1)

All three vectors stand in the graph already: an entry of δˡ is the gradient of a z, one of
(wˡ⁺¹)ᵀ δˡ⁺¹ or ∇ₐC that of an a, and one of σ′(zˡ) the local derivative between the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microgradlike import ops
from microgradlike.notation.digits import superscript
from microgradlike.value import Value
from microgradlike.view.dot import by_layer
from microgradlike.view.explanation import Explanation, Term
from microgradlike.view.grid import Path, network_groups


def matrix_forms(it: Explanation, index: Mapping[Value, int]) -> list[dict[str, Any]]:
    """Return an entry for each layer, the first layer first: nodes by index, a column for each recorded sample."""
    layers: dict[int, list[Value]] = {}
    groups = network_groups([step.node for step in it.forward])
    for step in it.forward:
        if group := by_layer(step.node):
            layers.setdefault(int(group[0].split()[-1]), []).append(step.node)
    return [_matrix_form(it, index, i, layers[i], groups) for i in sorted(layers) if _rows(layers[i], "z")]


def _matrix_form(
    it: Explanation, index: Mapping[Value, int], layer: int, members: list[Value], groups: Mapping[Value, Path]
) -> dict[str, Any]:
    z, a = _rows(members, "z"), _rows(members, "a")
    users = {term.node for row in z for node in row for term in it.ledger[node]}
    if not all(f"layer {layer}" in groups.get(node, ()) for node in users):
        a = []  # something else depends on a z, too, so that δ is more than what arrives by a
    loss, here, after = it.names[it.root], superscript(layer), superscript(layer + 1)
    activated = [[_alone(it, node, "a", layer) for node in row] for row in z]
    pointwise = all(map(all, activated))  # no softmax, whose every output depends on every z
    outputs = [[term.node for term in row if term] for row in activated] if pointwise else a or z
    into_next = all(_goes_to(term, "z", layer + 1) for row in outputs for node in row for term in it.ledger[node])
    form: dict[str, Any] = {
        "name": f"layer {layer}",
        "members": [index[node] for node in members],
        "delta": f"δ{here}",
        "errors": [[index[node] for node in row] for row in z],
        "slope": f"σ′(z{here})",
        "arrives": f"(w{after})ᵀ δ{after}" if into_next else f"∇ₐ{loss}" if a else f"∂{loss}/∂z{here}",
    }
    if all(node.op is ops.AFFINE for row in z for node in row):  # its inputs: the weights, as many terms, the bias
        form |= {
            "terms": (len(z[0][0].inputs) - 1) // 2,
            "weight": f"w{here}",
            "bias": f"b{here}",
            "before": f"a{superscript(layer - 1)}",
        }
    if not a:  # linear: a is z
        return form | {"equation": f"{form['delta']} = {form['arrives']}"}
    form["outputs"] = [[index[node] for node in row] for row in outputs]
    if pointwise:
        slopes = [[[index[term.node], term.position] for term in row if term] for row in activated]
        return form | {"equation": f"{form['delta']} = {form['arrives']} ⊙ {form['slope']}", "slopes": slopes}
    return form | {"equation": f"{form['delta']} = Jᵀ {form['arrives']},  J = ∂a{here}/∂z{here}"}


def _rows(members: list[Value], letter: str) -> list[list[Value]]:
    """Return the nodes of one letter: a row for each label, and in it a node for each sample."""
    rows: dict[str, list[Value]] = {}
    for node in members:
        if node.label[0] == letter:
            rows.setdefault(node.label, []).append(node)
    return list(rows.values())


def _alone(it: Explanation, node: Value, letter: str, layer: int) -> Term | None:
    """Return the only contribution to the node's gradient, if it comes from a node of this letter and layer."""
    terms = it.ledger[node]
    return terms[0] if len(terms) == 1 and _goes_to(terms[0], letter, layer) else None


def _goes_to(term: Term, letter: str, layer: int) -> bool:
    group = by_layer(term.node)
    return group is not None and group[0] == f"layer {layer}" and term.node.label[0] == letter
