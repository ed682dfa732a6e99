"""Common: what is written repeatedly is computed once, and a common factor comes out of its sum.

    (x₁ − m₁)·(x₁ − m₁)     is a square: both differences are one node
    Σᵢⱼ xᵢ·Aᵢⱼ·yⱼ           is Σⱼ (Σᵢ xᵢ·Aᵢⱼ)·yⱼ, a product of a matrix and vectors
    (p₁₁ + q)·x₁ + p₁₂·x₂   is p₁₁·x₁ + p₁₂·x₂ + q·x₁, a row of P x + q x
    W x beside Wᵀ y         are two arrays, though each plays the other's part

The factor that comes out is the one that was multiplied last, if there is one: then each product stays as recorded.
The sum of what it multiplied takes the place of one of these products: what stands there, nobody recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from microgradlike.matrix.canonical import Graph, distinct_rows, hashes, hashes_of_runs
from microgradlike.matrix.colours import CONSTANT, FIXED, Colours
from microgradlike.matrix.indices import Ints, ranges
from microgradlike.matrix.products import FEW, connected

ROUNDS = 8  # then it stops: what is left is computed as it was recorded
MODEST = 1e9  # constants up to this, or down to its inverse, are multiplied in another order
LEAST = 2  # so many terms must share a factor, on average
NONE = np.empty(0, np.int64)


def unify(graph: Graph, kind: Ints) -> Graph:
    """Return the graph with one node for all that compute the same from the same, written alike.

    `kind` says what each node is. A node with a label is its own, and one that a choice may leave out.
    """
    candidates = (graph.live & (np.diff(graph.start) > 0) & ~graph.in_branch).nonzero()[0]
    sums, others = candidates[graph.is_sum[candidates]], candidates[~graph.is_sum[candidates]]
    nodes = np.concatenate([sums, others])
    (terms, n_terms), (inputs, n_inputs) = _parts(graph.term_start, sums), _parts(graph.start, others)
    count = np.concatenate([n_terms, n_inputs])
    begin = np.cumsum(count) - count
    rank = np.arange(count.sum()) - np.repeat(begin, count)
    numbers: dict[object, int] = {}
    operation = [-1] * len(sums) + [numbers.setdefault(graph.ops[i], len(numbers)) for i in others.tolist()]
    what = np.stack([np.array(operation, np.int64), kind[nodes], count], axis=1)
    unnamed = np.fromiter((graph.nodes[i].label == "" for i in nodes.tolist()), bool, len(nodes))
    same = np.append(graph.same, -1)
    for _ in range(ROUNDS):
        sign = np.append(graph.sign[terms], np.zeros(len(inputs), np.int64))
        left = same[np.append(graph.left[terms], graph.edges[inputs])]
        right = np.append(same[graph.right[terms]], np.full(len(inputs), -1))
        number = hashes_of_runs(np.stack([rank, sign, left, right], axis=1), begin)
        _, first, of = np.unique(hashes(np.column_stack([what, number])), return_index=True, return_inverse=True)
        again = ((first[of] != np.arange(len(nodes))) & unnamed & (same[nodes] == nodes)).nonzero()[0]
        to = first[of[again]]
        equal = (what[again] == what[to]).all(axis=1)
        again, to = again[equal], to[equal]
        here, there = ranges(begin[again], count[again]), ranges(begin[to], count[again])
        differ = (sign[here] != sign[there]) | (left[here] != left[there]) | (right[here] != right[there])
        equal = np.bincount(np.repeat(np.arange(len(again)), count[again]), differ, len(again)) == 0
        if not equal.any():
            break
        same[nodes[again[equal]]] = nodes[to[equal]]
        same = same[same]
    gone = same[nodes] != nodes
    if not gone.any():
        return graph
    graph = replace(graph, same=same[:-1])
    one = np.where(kind == CONSTANT, np.arange(len(kind)), same[:-1])  # constants have labels of their own
    one = np.append(one, -1)
    graph.live[nodes[gone]] = graph.is_sum[nodes[gone]] = False
    columns = graph.owner, graph.sign, one[graph.left], one[graph.right], graph.maker
    return _of_terms(replace(graph, edges=one[graph.edges]), columns)


def _parts(start: Ints, nodes: Ints) -> tuple[Ints, Ints]:
    """Return the positions of what each node has, one node after the other, and how many each has."""
    count = start[nodes + 1] - start[nodes]
    return ranges(start[nodes], count), count


def _of_terms(
    graph: Graph, columns: tuple[Ints, ...], more: tuple[Ints, ...] = (NONE,) * 5, keep: Any = np.s_[:]
) -> Graph:
    """Return the graph with the terms to keep and more, in the order of their sums; only sums have terms.

    The columns are owner, sign, left, right and maker of each term.
    """
    owner, sign, left, right, maker = (np.append(old[keep], new) for old, new in zip(columns, more, strict=True))
    order = np.argsort(owner, kind="stable")
    order = order[graph.is_sum[owner[order]]]
    start = np.append(0, np.cumsum(np.bincount(owner[order], minlength=len(graph.nodes))))
    sign, left, right, maker = (x[order] for x in (sign, left, right, maker))
    return replace(graph, term_start=start, sign=sign, left=left, right=right, maker=maker)


# ── Common factors ─────────────────────────────────────────────────────────────────────────────


def rewritten(graph: Graph, colours: Colours, kind: Ints) -> Iterator[Graph]:
    """Yield the graph as each step rewrites it, or itself: with common factors taken out of its sums, and told apart.

    a·(b·c) + a·(d·e) = a·(b·c + d·e) and a·b + a·c = a·(b + c). Where a product of three must be taken in another
    order for that, or so that m·w of w·(m·x) is the same for all samples, its node is `reordered`.
    """
    colour = np.append(colours.colour, -1)
    product, uses = _products(graph)
    yield _masked(graph, colour, kind, product, uses)
    yield _several_dots(graph, colour)
    alone = product & (uses == 1)
    of_three = ((alone[graph.left] != alone[graph.right]) & (graph.right >= 0)).nonzero()[0]
    sides = graph.left[of_three], graph.right[of_three]
    outer, rest = np.where(alone[sides[0]], sides[::-1], sides)
    yield _taken_out(graph, colour, of_three, outer, rest, rest)
    yield _reordered(graph, colour, of_three, outer, rest)
    of_two = _of_two(graph, colour)
    left, right, place = graph.left[of_two], graph.right[of_two], _places(graph)[of_two]
    left, right = np.where(colour[left] > colour[right], (right, left), (left, right))
    yield _taken_out(graph, colour, of_two, left, right, place)
    yield _taken_out(graph, colour, of_two, right, left, place)
    yield _distributed(graph, colour, kind, uses)
    yield _told_apart(graph, colour, kind)


def _products(graph: Graph) -> tuple[npt.NDArray[np.bool_], Ints]:
    """Return which nodes are products of two factors, without a name, and how often each node is read."""
    product = graph.is_sum & (np.diff(graph.term_start) == 1) & ~graph.in_branch
    product[product] = graph.right[graph.term_start[:-1][product]] >= 0
    product[product] = [graph.nodes[i].label == "" for i in product.nonzero()[0]]
    reads = graph.live.copy()
    reads[-1] = True  # it may join what was asked for
    inputs, _ = _parts(graph.start, (reads & ~graph.is_sum).nonzero()[0])
    read = np.concatenate([graph.left, graph.right[graph.right >= 0], graph.edges[inputs]])
    return np.append(product, False), np.bincount(read, minlength=len(product) + 1)


def _masked(graph: Graph, colour: Ints, kind: Ints, product: npt.NDArray[np.bool_], uses: Ints) -> Graph:
    """Return the graph where w·(m·x), of parameters or constants w and m, is (m·w)·x.

    So it is in sums where x is multiplied by different m: else m·x is a vector, as it was written. If all m are
    0, 1 or −1, that changes no bit.
    """
    places = _places(graph)
    here = ((product[graph.left] != product[graph.right]) & (graph.right >= 0) & (places >= 0)).nonzero()[0]
    w, inner = np.where(product[graph.left], (graph.right, graph.left), (graph.left, graph.right))[:, here]
    fixed = np.append((kind == CONSTANT) | (kind >= FIXED), False)
    first = graph.term_start[inner]
    m, x = np.where(fixed[graph.right], (graph.right, graph.left), (graph.left, graph.right))[:, first]
    fits = fixed[m] & ~fixed[x] & (kind[w] >= FIXED) & (graph.sign[first] > 0)
    if not fits.any():
        return graph
    here, w, inner, m, x = (each[fits] for each in (here, w, inner, m, x))
    owner = graph.owner
    kinds, _ = distinct_rows(np.stack([*colour[[owner[here], w, m, x]], graph.sign[here]], axis=1))
    pairs, once = (distinct_rows(np.stack(of, axis=1))[1] for of in ((kinds, graph.same[m], x), (kinds, x)))
    several = np.bincount(kinds[pairs]) > np.bincount(kinds[once])
    size = np.array([abs(graph.nodes[i].data) if kind[i] == CONSTANT else 1.5 for i in m.tolist()])
    modest = (size == 0) | ((size >= 1 / MODEST) & (size <= MODEST))
    fits = (several & (np.bincount(kinds, ~modest) == 0))[kinds]
    if not fits.any():
        return graph
    exact = (np.bincount(kinds, (size != 0) & (size != 1)) == 0)[kinds]
    here, w, inner, m, x, exact = (each[fits] for each in (here, w, inner, m, x, exact))
    unused = inner[np.bincount(inner, minlength=len(uses))[inner] == uses[inner]]
    return _in_another_order(graph, here, m, w, x, places[here], unused, exact)


def _reordered(graph: Graph, colour: Ints, here: Ints, f: Ints, product: Ints) -> Graph:
    """Return the graph where the terms `here`, f·(b·c), are (f·b)·c, if c is a factor that many of them share."""
    place, first = _places(graph)[here], graph.term_start[product]
    fits = (place >= 0) & (graph.sign[first] > 0) & ~graph.in_branch[graph.owner[here]]
    b, c = graph.left[first], graph.right[first]
    fits &= (colour[[f, b, c]] != CONSTANT).all(axis=0)
    if not fits.any():
        return graph
    here, f, product, b, c, place = (each[fits] for each in (here, f, product, b, c, place))
    swap = colour[b] > colour[c]
    b, c, owner = np.where(swap, c, b), np.where(swap, b, c), graph.owner[here]
    kinds, _ = distinct_rows(np.stack([*colour[[owner, f, b, c]], graph.sign[here]], axis=1))
    number = np.bincount(kinds)
    few = [np.bincount(kinds[distinct_rows(np.stack([kinds, owner, x], axis=1))[1]]) * LEAST <= number for x in (b, c)]
    b, c = np.where(few[1][kinds], b, c), np.where(few[1][kinds], c, b)
    chosen = (few[0] | few[1])[kinds]
    if not chosen.any():
        return graph
    here, f, product, b, c, place = (each[chosen] for each in (here, f, product, b, c, place))
    return _in_another_order(graph, here, f, b, c, place, product, np.zeros(len(here), bool))


def _in_another_order(
    graph: Graph, here: Ints, a: Ints, b: Ints, c: Ints, new: Ints, gone: Ints, exact: npt.NDArray[np.bool_]
) -> Graph:
    """Return the graph where the terms `here` are (a·b)·c, with the products a·b at `new`."""
    left, right, maker = graph.left.copy(), graph.right.copy(), graph.maker.copy()
    left[here], right[here], maker[here] = new, c, -1
    reordered = graph.reordered.copy()
    reordered[new] = ~exact
    more = new, np.ones(len(new), np.int64), a, b, np.full(len(new), -1)
    columns = graph.owner, graph.sign, left, right, maker
    return _of_terms(replace(_with_sums(graph, new, gone), reordered=reordered), columns, more)


def _places(graph: Graph) -> Ints:
    """Return for each term the node that dissolved into it alone, whose number is free; −1 where there is none."""
    alone = np.bincount(graph.maker + 1, minlength=len(graph.nodes) + 1) == 1
    return np.where(alone[graph.maker + 1] & ~graph.in_branch[graph.maker], graph.maker, -1)


def _several_dots(graph: Graph, colour: Ints) -> Graph:
    """Return the graph where dot products that several sums add, or one again and again, are nodes of their own.

    So they are in Σⱼ w·hⱼ over the neighbours j of each node of a graph: w·hⱼ is the same for all of them.
    """
    of_dots = np.bincount(graph.maker + 1, minlength=len(graph.nodes) + 1) > 1
    of_dots[0] = False
    owner = graph.owner
    here = (of_dots[graph.maker + 1] & (graph.right >= 0) & ~graph.in_branch[owner]).nonzero()[0]
    here = here[np.argsort(graph.maker[here], kind="stable")]
    begin = np.diff(graph.maker[here], prepend=-1).nonzero()[0]
    several = (np.bincount(owner[here[begin]], minlength=len(graph.nodes)) > 1).nonzero()[0]
    kept = np.isin(colour[owner[here]], colour[several])
    here = here[kept]
    if not len(here):
        return graph
    begin = np.diff(graph.maker[here], prepend=-1).nonzero()[0]
    count = np.diff(begin, append=len(here))
    rank = np.arange(len(here)) - np.repeat(begin, count)
    own_sign = graph.sign[here] * np.repeat(graph.sign[here[begin]], count)
    number = hashes_of_runs(np.stack([rank, own_sign, graph.left[here], graph.right[here]], axis=1), begin)
    kinds, _ = distinct_rows(colour[owner[here[begin]], None])
    _, once = distinct_rows(np.stack([kinds, number], axis=1))
    few = np.bincount(kinds[once]) * LEAST <= np.bincount(kinds)
    if not few.any():
        return graph
    chosen = np.repeat(few[kinds], count)
    first, here, own_sign = here[begin[few[kinds]]], here[chosen], own_sign[chosen]
    new, sign, maker = graph.maker[first], graph.sign.copy(), graph.maker.copy()
    more = owner[first], graph.sign[first], new, np.full(len(new), -1), np.full(len(new), -1)
    owner[here], sign[here], maker[here] = graph.maker[here], own_sign, -1
    return _of_terms(_with_sums(graph, new, NONE), (owner, sign, graph.left, graph.right, maker), more)


def _with_sums(graph: Graph, new: Ints, gone: Ints) -> Graph:
    """Return the graph where `new` are sums that nobody recorded, and `gone` are none any more."""
    live, is_sum, factored, root = (graph.live.copy(), graph.is_sum.copy(), graph.factored.copy(), graph.root.copy())
    live[gone] = is_sum[gone] = False
    live[new] = is_sum[new] = factored[new] = True
    root[new] = new
    return replace(graph, live=live, is_sum=is_sum, factored=factored, root=root)


def _of_two(graph: Graph, colour: Ints) -> Ints:
    """Return the terms of two factors that were multiplied by products of their own, in sums that repeat a factor.

    The longest sum of each colour tells of all.
    """
    count, places = np.diff(graph.term_start), _places(graph)
    sums = (graph.is_sum & ~graph.in_branch).nonzero()[0]
    sums = sums[np.lexsort((-count[sums], colour[sums]))]
    longest = sums[np.diff(colour[sums], prepend=-2) != 0]

    def of_two(sums: Ints) -> tuple[Ints, Ints]:
        terms, count = _parts(graph.term_start, sums)
        owner = np.repeat(sums, count)
        fit = (graph.right[terms] >= 0) & (places[terms] >= 0)
        return terms[fit], owner[fit]

    terms, owner = of_two(longest)
    repeats = np.zeros(len(graph.nodes), bool)
    for side in (graph.left[terms], graph.right[terms]):
        _, first = distinct_rows(np.stack([owner, side], axis=1))
        repeats[np.delete(owner, first)] = True
    return of_two(sums[np.isin(colour[sums], colour[repeats.nonzero()[0]])])[0]


def _taken_out(graph: Graph, colour: Ints, here: Ints, outer: Ints, rest: Ints, place: Ints) -> Graph:
    """Return the graph where the terms `here`, which are outer · rest, are outer · Σ rest, if that is worth it.

    Terms of one kind, in sums of one colour, are treated alike. At one `place` of those in a sum it will stand.
    """
    owner = graph.owner
    kinds, _ = distinct_rows(np.stack([colour[owner[here]], graph.sign[here], colour[outer], colour[rest]], axis=1))
    _, first = distinct_rows(np.stack([owner[here], outer, kinds], axis=1))
    few = np.bincount(kinds[first], minlength=len(kinds)) * LEAST <= np.bincount(kinds, minlength=len(kinds))
    chosen = few[kinds] & (colour[outer] != CONSTANT) & (colour[rest] != CONSTANT) & ~graph.in_branch[owner[here]]
    if not chosen.any():
        return graph
    here, outer, rest, place = (x[chosen] for x in (here, outer, rest, place))
    group, first = distinct_rows(np.stack([owner[here], outer, graph.sign[here]], axis=1))
    new = np.zeros(len(first), np.int64)
    np.maximum.at(new, group, place)  # behind all that it reads
    graph = _with_sums(graph, new, place)
    graph.root[place] = new[group]
    moved = (place == rest).nonzero()[0]  # the terms of products go to the new sums
    owner[graph.term_start[rest[moved]]] = new[group[moved]]
    added = (place != rest).nonzero()[0]  # and single nodes are new terms
    left, right, maker = graph.left.copy(), graph.right.copy(), graph.maker.copy()
    left[here[first]], right[here[first]], maker[here[first]] = outer[first], new, -1
    keep = np.delete(np.arange(len(owner)), np.delete(here, first))
    none = np.full(len(added), -1)
    more = new[group[added]], np.ones(len(added), np.int64), rest[added], none, none
    return _of_terms(graph, (owner, graph.sign, left, right, maker), more, keep)


def _distributed(graph: Graph, colour: Ints, kind: Ints, uses: Ints) -> Graph:
    """Return the graph where (p + q)·x, of a parameter p, is p·x + q·x in sums that also add p′·x′.

    So (P + qI) x is P x + q x. What is read least is the entry of P; from it, other parameters are told apart.
    """
    left, right, owner, count = graph.left, graph.right, graph.owner, np.diff(graph.term_start)
    pair, parameter = right >= 0, np.append(kind >= FIXED, False)
    plain = (count > 1) & (count <= FEW) & ~graph.in_branch & (np.bincount(owner, parameter[left], len(count)) > 0)
    plain[owner[pair | (graph.sign < 0)]] = False  # a difference keeps its digits
    plain[plain] = [graph.nodes[i].label == "" for i in plain.nonzero()[0]]
    plain, at = np.append(plain, False), owner * (colour.max() + 1)
    here = (pair & (plain[left] != plain[right]) & ~graph.in_branch[owner]).nonzero()[0]
    beside = [(at + colour[x])[pair & parameter[p]] for p, x in ((left, right), (right, left)) if len(here)]
    v, x = np.where(plain[left], (left, right), (right, left))
    here = here[np.isin((at + colour[x])[here], np.concatenate([NONE, *beside]))]
    if not len(here):
        return graph
    v, x = v[here], x[here]
    terms, n = _parts(graph.term_start, v)
    term, u = np.repeat(here, n), left[terms]
    order = np.lexsort((np.bincount(u)[u], ~parameter[u], term))
    others = np.delete(u[order], np.diff(term[order], prepend=-1).nonzero()[0])
    graph = _with_part(_with_sums(graph, NONE, v[np.bincount(v)[v] == uses[v]]), others[parameter[others]])
    graph = replace(graph, reordered=graph.reordered | np.isin(np.arange(len(kind)), owner[here]))
    more = owner[term], graph.sign[term], u, np.repeat(x, n), np.full(len(u), -1)
    return _of_terms(graph, (owner, graph.sign, left, right, graph.maker), more, np.delete(np.arange(len(owner)), here))


# ── What is told apart ─────────────────────────────────────────────────────────────────────────


def _with_part(graph: Graph, nodes: Ints) -> Graph:
    """Return the graph where these nodes have a `part` of their own, or the graph itself where there are none."""
    part = graph.part.copy()
    part[nodes] = part.max() + 1
    return replace(graph, part=part) if len(nodes) else graph


def _told_apart(graph: Graph, colour: Ints, kind: Ints) -> Graph:
    """Return the graph where what plays one role by mere symmetry has different parts.

    So do w and x of w·x, both parameters, that always stand on the same sides; q beside P in P x + q x, the only one
    that several rows read; and the rows of W x and Wᵀ y: any two have one entry in common.
    """
    left, right, owner = graph.left, graph.right, graph.owner
    pair, parameter = right >= 0, np.append(kind >= FIXED, False)
    both = pair & parameter[left] & (colour[left] == colour[right])
    mixed = colour[np.intersect1d(left[both], right[both])]
    apart = [right[both & ~np.isin(colour[right], mixed)]]

    w, x = np.where(parameter[left], (left, right), (right, left))
    pair &= parameter[w]
    if np.bincount(w[pair]).max(initial=0) > 1:
        sums, row = graph.is_sum.nonzero()[0], np.zeros(len(kind), np.int64)
        read = hashes_of_runs(np.where(pair, w + 1, [[0], [0]]).T, graph.term_start[sums])
        row[sums], _ = distinct_rows(np.stack([colour[sums], read], axis=1))  # sums that read the same are one row
        here = pair.nonzero()[0]
        here = here[distinct_rows(np.stack([row[owner[here]], w[here]], axis=1))[1]]
        group, _ = distinct_rows(np.stack([*colour[[owner[here], w[here], x[here]]], graph.sign[here]], axis=1))
        entry, first = distinct_rows(np.stack([group, w[here]], axis=1))
        reads, of = np.bincount(entry), group[first]
        but_one = np.bincount(of, reads == 1) == np.bincount(of) - 1
        apart.append(w[here[first[but_one[of] & (reads > 2)]]])

        two = (np.bincount(of, reads != 2) == 0)[group]
        a, b = row[owner[here]][two][np.argsort(entry[two], kind="stable")].reshape(-1, 2).T
        ends = np.append(a, b), np.append(b, a)
        part = connected(*ends) if len(a) else a
        rows, columns = (np.bincount(part[np.unique(end, return_index=True)[1]]) for end in ends)
        whole = ((np.bincount(part) == rows * columns) & (rows * columns > 1))[part].reshape(2, -1).all(axis=0)
        this, other = part.reshape(2, -1)
        apart.append(sums[np.isin(row[sums], np.append(a[whole & (this > other)], b[whole & (other > this)]))])
    return _with_part(graph, np.concatenate(apart))
