"""Common: what is written repeatedly is computed once, and a common factor comes out of its sum.

    (x₁ − m₁)·(x₁ − m₁)     is a square: both differences are one node
    Σᵢⱼ xᵢ·Aᵢⱼ·yⱼ           is Σⱼ (Σᵢ xᵢ·Aᵢⱼ)·yⱼ, a product of a matrix and vectors

The factor that comes out is the one that was multiplied last, if there is one: then each product stays as recorded.
The sum of what it multiplied takes the place of one of these products: what stands there, nobody recorded.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from microgradlike.matrix.canonical import MULTIPLIER, Graph, distinct_rows, hashes
from microgradlike.matrix.colours import CONSTANT, FIXED, Colours
from microgradlike.matrix.indices import Ints, ranges

ROUNDS = 8  # then it stops: what is left is computed as it was recorded
MODEST = 1e9  # constants up to this, or down to its inverse, are multiplied in another order
LEAST = 2  # so many terms must share a factor, on average


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
        number = hashes(np.stack([rank, sign, left, right], axis=1))
        number = np.cumsum((number ^ (number >> 32)) * MULTIPLIER)  # wraps around, as the differences do
        number = np.diff(number[begin + count - 1], prepend=0)
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
    return _of_terms(
        replace(graph, edges=one[graph.edges]),
        _owner(graph),
        graph.sign,
        one[graph.left],
        one[graph.right],
        graph.maker,
    )


def _parts(start: Ints, nodes: Ints) -> tuple[Ints, Ints]:
    """Return the positions of what each node has, one node after the other, and how many each has."""
    count = start[nodes + 1] - start[nodes]
    return ranges(start[nodes], count), count


def _owner(graph: Graph) -> Ints:
    """Return the sum of each term."""
    return np.repeat(np.arange(len(graph.nodes)), np.diff(graph.term_start))


def _of_terms(graph: Graph, owner: Ints, sign: Ints, left: Ints, right: Ints, maker: Ints) -> Graph:
    """Return the graph with these terms, in the order of their sums; those of nodes that are no sums are left out."""
    order = np.argsort(owner, kind="stable")
    order = order[graph.is_sum[owner[order]]]
    start = np.append(0, np.cumsum(np.bincount(owner[order], minlength=len(graph.nodes))))
    sign, left, right, maker = (x[order] for x in (sign, left, right, maker))
    return replace(graph, term_start=start, sign=sign, left=left, right=right, maker=maker)


# ── Common factors ─────────────────────────────────────────────────────────────────────────────


def factor(graph: Graph, colours: Colours, kind: Ints) -> Graph:
    """Return the graph with common factors taken out of its sums, or the graph itself where there are none.

    a·(b·c) + a·(d·e) = a·(b·c + d·e) and a·b + a·c = a·(b + c). Where a product of three must be taken in another
    order for that, or so that m·w of w·(m·x) is the same for all samples, its node is `reordered`.
    """
    colour = np.append(colours.colour, -1)
    product, uses = _products(graph)
    if (result := _masked(graph, colour, kind, product, uses)) is not graph:
        return result
    if (result := _several_dots(graph, colour)) is not graph:
        return result
    alone = product & (uses == 1)
    of_three = ((alone[graph.left] != alone[graph.right]) & (graph.right >= 0)).nonzero()[0]
    sides = graph.left[of_three], graph.right[of_three]
    outer, rest = np.where(alone[sides[0]], sides[::-1], sides)
    if (result := _taken_out(graph, colour, of_three, outer, rest, rest)) is not graph:
        return result
    if (result := _reordered(graph, colour, of_three, outer, rest)) is not graph:
        return result
    of_two = _of_two(graph, colour)
    left, right, place = graph.left[of_two], graph.right[of_two], _places(graph)[of_two]
    order = colour[left] > colour[right]
    left, right = np.where(order, right, left), np.where(order, left, right)
    for outer, rest in ((left, right), (right, left)):
        if (result := _taken_out(graph, colour, of_two, outer, rest, place)) is not graph:
            return result
    return graph


def _products(graph: Graph) -> tuple[npt.NDArray[np.bool_], Ints]:
    """Return which nodes are products of two factors, without a name, and how often each node is read."""
    product = graph.is_sum & (np.diff(graph.term_start) == 1) & ~graph.in_branch
    product[product] = graph.right[graph.term_start[:-1][product]] >= 0
    product[product] = [graph.nodes[i].label == "" for i in product.nonzero()[0]]
    in_use = graph.live[graph.root]
    in_use[-1] = True  # it may join what was asked for
    inputs, _ = _parts(graph.start, in_use.nonzero()[0])
    return np.append(product, False), np.bincount(graph.edges[inputs], minlength=len(product) + 1)


def _masked(graph: Graph, colour: Ints, kind: Ints, product: npt.NDArray[np.bool_], uses: Ints) -> Graph:
    """Return the graph where w·(m·x), of parameters or constants w and m, is (m·w)·x.

    So it is in sums where x is multiplied by different m: else m·x is a vector, as it was written. If all m are
    0, 1 or −1, that changes no bit.
    """
    places = _places(graph)
    here = ((product[graph.left] != product[graph.right]) & (graph.right >= 0) & (places >= 0)).nonzero()[0]
    w, inner = graph.left[here], graph.right[here]
    w, inner = np.where(product[w], inner, w), np.where(product[w], w, inner)
    fixed = (kind == CONSTANT) | (kind >= FIXED)
    first = graph.term_start[inner]
    m, x = graph.left[first], graph.right[first]
    m, x = np.where(fixed[x], x, m), np.where(fixed[x], m, x)
    fits = fixed[m] & ~fixed[x] & (kind[w] >= FIXED) & (graph.sign[first] > 0)
    if not fits.any():
        return graph
    here, w, inner, m, x = (each[fits] for each in (here, w, inner, m, x))
    owner = _owner(graph)
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
    fits = (place >= 0) & (graph.sign[first] > 0) & ~graph.in_branch[_owner(graph)[here]]
    b, c = graph.left[first], graph.right[first]
    fits &= (colour[[f, b, c]] != CONSTANT).all(axis=0)
    if not fits.any():
        return graph
    here, f, product, b, c, place = (each[fits] for each in (here, f, product, b, c, place))
    swap = colour[b] > colour[c]
    b, c, owner = np.where(swap, c, b), np.where(swap, b, c), _owner(graph)[here]
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
    columns = zip((_owner(graph), graph.sign, left, right, maker), more, strict=True)
    graph = replace(_with_sums(graph, new, gone), reordered=reordered)
    return _of_terms(graph, *(np.append(old, added) for old, added in columns))


def _places(graph: Graph) -> Ints:
    """Return for each term the node that dissolved into it alone, whose number is free; −1 where there is none."""
    alone = np.bincount(graph.maker + 1, minlength=len(graph.nodes) + 1) == 1
    alone[0] = False
    return np.where(alone[graph.maker + 1] & ~graph.in_branch[graph.maker], graph.maker, -1)


def _several_dots(graph: Graph, colour: Ints) -> Graph:
    """Return the graph where dot products that several sums add, or one again and again, are nodes of their own.

    So they are in Σⱼ w·hⱼ over the neighbours j of each node of a graph: w·hⱼ is the same for all of them.
    """
    of_dots = np.bincount(graph.maker + 1, minlength=len(graph.nodes) + 1) > 1
    of_dots[0] = False
    owner = _owner(graph)
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
    number = hashes(np.stack([rank, own_sign, graph.left[here], graph.right[here]], axis=1))
    number = np.cumsum((number ^ (number >> 32)) * MULTIPLIER)
    number = np.diff(number[begin + count - 1], prepend=0)
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
    columns = zip((owner, sign, graph.left, graph.right, maker), more, strict=True)
    return _of_terms(_with_sums(graph, new, new[:0]), *(np.append(old, added) for old, added in columns))


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
    owner = _owner(graph)
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
    keep = np.ones(len(owner), bool)
    keep[np.delete(here, first)] = False
    none = np.full(len(added), -1)
    more = new[group[added]], np.ones(len(added), np.int64), rest[added], none, none
    columns = zip((owner, graph.sign, left, right, maker), more, strict=True)
    return _of_terms(graph, *(np.append(old[keep], new_ones) for old, new_ones in columns))
