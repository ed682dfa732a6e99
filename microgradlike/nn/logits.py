"""The logits of outputs that are probabilities already, found in the graph.

Softmax and σ may be layers, or written by hand in many ways; all are shares of a sum of exponentials,

    p = exp(u) / Σⱼ exp(uⱼ),    where a constant c is exp(log c),

and the logits are the u, for what is subtracted from all of them alike cancels in p.
"""

from __future__ import annotations

import warnings
from collections import Counter
from math import e, fsum, log
from typing import NamedTuple

from microgradlike import ops
from microgradlike.value import Value, constant

Log = Value | float  # the u of exp(u), or the log of a constant


class Share(NamedTuple):
    """p = exp(u) / Σ exp(uⱼ): u, and how often each uⱼ is there."""

    u: Log
    sum: Counter[Log]

    @property
    def other(self) -> Log:
        """The other u, where there are two: that of 1 − p."""
        (other,) = (self.sum - Counter([self.u])).elements()
        return other


def logits(outputs: list[Value]) -> list[Value]:
    """Return the logits of a network's outputs: themselves, unless softmax or σ has made probabilities of them.

    Raises ValueError for some outputs of a softmax without the others, and for a softmax of one, which is always 1.
    Warns of what seems to be probabilities, and has no logits that softmax would give back: several
    outputs of σ, and other outputs that sum to 1.
    """
    sums: dict[Value, Counter[Log]] = {}
    shares = [share for p in outputs if (share := _share(p, sums))]
    if len(outputs) == 1 and shares and shares[0].sum.total() == 2:  # one of two: its logit is log p − log (1 − p)
        return [_difference(*_unshifted([shares[0].u, shares[0].other]))]
    if not outputs or len(shares) < len(outputs):
        computed = len(outputs) > 1 and all(p.inputs and p.op is not ops.AFFINE and p._data >= 0 for p in outputs)
        if computed and abs(fsum(p._data for p in outputs) - 1) < 1e-6:
            _warn("sum to 1")
        return outputs
    u = [share.u for share in shares]
    different = {id(share.sum): share.sum for share in shares}.values()
    if len(outputs) > 1 and all(each == Counter(u) for each in different):
        return [constant(v) if isinstance(v, float) else v for v in _unshifted(u)]
    if any(each.total() != 2 or not each[0.0] for each in different):
        raise ValueError(
            "cross_entropy takes logits and applies softmax to them, and these outputs are of a softmax already, but "
            'not all of them, or the only one: give it all outputs of one softmax, or let the output be "linear"'
        )
    _warn("are those of sigmoid")
    return outputs


def _warn(why: str) -> None:
    warnings.warn(
        f"cross_entropy takes logits and applies softmax to them, and these outputs {why}: if they are "
        "probabilities p, take -p[y].log() instead",
        stacklevel=4,
    )


def _share(p: Value, sums: dict[Value, Counter[Log]]) -> Share | None:
    """Return p as a share of a sum of exponentials, if it is one. `sums` keeps the sums that were read already."""
    if p.op is ops.SIGMOID:
        return Share(p.inputs[0], Counter([p.inputs[0], 0.0]))
    if p.op is ops.SUB and _is_constant(p.inputs[0], 1.0) and p.inputs[1].op is not ops.SUB:
        share = _share(p.inputs[1], sums)
        return Share(share.other, share.sum) if share and share.sum.total() == 2 else None
    if ratio := _ratio(p):
        u, total = _log(ratio[0]), ratio[1]
    elif p.op is ops.EXP and p.inputs[0].op is ops.SUB:  # exp(u − log Σ)
        numerator, total = p.inputs[0].inputs
        u = numerator._data if numerator.op is ops.CONSTANT else numerator
        if total.op is not ops.LOG and total.op is not ops.LOGSUMEXP:
            return None
    else:
        return None
    if total not in sums:
        sums[total] = _logs(total)
    return Share(u, sums[total]) if u is not None and sums[total][u] else None


def _ratio(p: Value) -> tuple[Value, Value] | None:
    """Return (a, b) where p is a / b, a · (1 / b), or 1 / b = b⁻¹."""
    if p.op is ops.DIV:
        a, b = p.inputs
        return a, b
    if p.op is ops.POW and _is_constant(p.inputs[1], -1.0):
        return constant(1.0), p.inputs[0]
    if p.op is ops.MUL:
        for a, inverse in (p.inputs, p.inputs[::-1]):
            if inverse.op in (ops.DIV, ops.POW) and (ratio := _ratio(inverse)) and _is_constant(ratio[0], 1.0):
                return a, ratio[1]
    return None


def _logs(total: Value) -> Counter[Log]:
    """Return the uⱼ of a sum Σ exp(uⱼ), or of its log; none where some term is no exponential."""
    if total.op is ops.LOGSUMEXP:
        return Counter(v._data if v.op is ops.CONSTANT else v for v in total.inputs)
    stack, terms = [total.inputs[0] if total.op is ops.LOG else total], []
    while stack:
        term = stack.pop()
        if term.op in (ops.ADD, ops.SUM):
            stack += term.inputs
        elif not _is_constant(term, 0.0):  # with which Python's sum() begins
            terms.append(_log(term))
    return Counter() if any(u is None for u in terms) else Counter(terms)  # type: ignore[arg-type]


def _log(term: Value) -> Log | None:
    """Return u where the term is exp(u), or the log of a constant."""
    if term.op is ops.CONSTANT and term._data > 0:
        return log(term._data)
    if term.op is ops.POW and _is_constant(term.inputs[0], e):
        return term.inputs[1]
    return term.inputs[0] if term.op is ops.EXP else None


def _unshifted(u: list[Log]) -> list[Log]:
    """Leave out what is subtracted from all."""
    while all(isinstance(v, Value) and v.op is ops.SUB and v.inputs[1] is u[0].inputs[1] for v in u):  # type: ignore[union-attr]
        u = [v.inputs[0] for v in u]  # type: ignore[union-attr]
    return u


def _difference(u: Log, other: Log) -> Value:
    """Return u − other, without a node where one of them is 0."""
    if isinstance(u, float) and isinstance(other, Value):
        return other.inputs[0] if other.op is ops.NEG and not u else u - other
    difference = u - other if other or not isinstance(u, Value) else u
    return difference if isinstance(difference, Value) else constant(difference)


def _is_constant(v: Value, number: float) -> bool:
    return v.op is ops.CONSTANT and v._data == number
