"""The array program as equations: z¹ = W¹ x + b¹, a¹ = σ(z¹), …, and backward δ¹ = (W²ᵀ δ²) ⊙ σ'(z¹).

Nothing here knows a layer. Forward, there is an equation for every array that was found: on the left
its name, which is what its nodes' labels have in common (w²₁₃, w²₁₄, … is W²), on the right its
instruction. Backward, an instruction sends each of its operands a share, upstream · local derivative,
and the gradient of an array is the sum of the shares that it received: its equation is ∂C/∂W = …, or
δ = … for the weighted input z of a layer. An array without a name that is used once is written
where it is used, unless it is long.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from microgradlike import formula, ops
from microgradlike.matrix.match import Apply, Array, Group, Reduce, Ref, Sum, dependents
from microgradlike.matrix.names import is_weighted_input, stem
from microgradlike.matrix.text import ATOM, CASES, PRODUCT, T, Text, add, latex, multiply, power, sigma
from microgradlike.notation import subscript
from microgradlike.ops import Operation
from microgradlike.table import clean

LONG = 60  # what has more characters than this stands on a line of its own


@dataclass
class Equation:
    """One line: the array on the left, what it equals, its shape for one sample."""

    left: str
    right: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        self.left, self.right = clean(self.left), clean(self.right)  # names are a user's labels

    @property
    def dims(self) -> str:
        return "×".join(map(str, self.shape))

    def __str__(self) -> str:
        return f"{self.left} = {self.right}"


class Equations:
    """The equations of a program: `forward` and `backward`, lists of `Equation`."""

    def __init__(self, arrays: list[Array], loss: Array, parameters: list[Array]) -> None:
        self.forward: list[Equation] = []
        self.backward: list[Equation] = []
        self._loss = loss
        self._text = {array: Text(array.name) for array in arrays}
        uses = Counter(used for array in arrays for used in {ref.array for ref in array.refs})
        for array in arrays:
            value = self._value(array)
            if not array.named and uses[array] == 1 and len(str(value)) <= LONG:
                self._text[array] = value
            elif array.instruction is not None:
                self.forward.append(Equation(array.name, str(value), array.shape))
        needed = dependents(arrays, parameters)
        self._received: dict[Array, list[Text]] = {array: [] for array in needed}
        if loss in needed:
            self._received[loss].append(Text())
        for array in reversed(needed):
            self._backward(array)

    # ── Forward ────────────────────────────────────────────────────────────────────────────────

    def _is_inlined(self, array: Array) -> bool:
        return self._text[array].text != array.name

    def _value(self, array: Array) -> Text:
        """What an instruction computes."""
        match array.instruction:
            case Apply(op, operands):
                return _applied(op, [self._read(ref) for ref in operands])
            case Reduce(op, operand, _):
                return Text(f"{op.symbol}({self._read(operand)})")
            case Sum(groups):
                once = map(_same_terms_once, groups)
                ordered = sorted(once, key=lambda g: (not g.is_product, g.right is None and g.left.array is None))
                return add([self._group(group, array).times(group.sign) for group in ordered])
        return Text(array.name)

    def _read(self, ref: Ref) -> Text:
        """What a reference reads: constants, or an array, its transpose, or a part of it (… where it is no slice)."""
        if ref.constant is not None:
            return Text(factor=ref.constant)
        if ref.array is None:
            return Text(stem(ref.label) or "const")
        text = self._text[ref.array]
        if part := _part(ref):
            text = Text(f"{text.within(ATOM)}[{part}]")
        return T(text) if _is_transposed(ref) else text

    def _group(self, group: Group, array: Array) -> Text:
        """Σₖ left · right."""
        is_one_term = group.starts is None and group.left.index.shape[-1] == 1
        left = self._read(group.left)
        if group.right is None:
            return left if is_one_term else sigma(left)
        if group.is_square:
            if array.size == 1 and group.left.index.size > 1:
                return Text(f"‖{left}‖²")
            square = power(left, "2")
            return square if is_one_term else sigma(square)
        right = self._read(group.right)
        if _is_matrix_product(group):
            return multiply([left, right] if group.right.index.shape[1] == 1 else [right, T(left)], " ")
        if group.is_product and not (left.is_number or right.is_number):
            return multiply([left, right], " · ")
        product = multiply([left, right], " " if array.size == 1 else " ⊙ ")
        return product if is_one_term else sigma(replace(product, factor=1.0)).times(product.factor)

    # ── Backward ───────────────────────────────────────────────────────────────────────────────

    def _backward(self, array: Array) -> None:
        """Add up what an array received, and send its operands their shares."""
        upstream = add(self._received[array])
        if self._has_equation(array, upstream):
            name = "δ" + array.name[1:] if is_weighted_input(array) else f"∂{self._loss.name}/∂{array.name}"
            self.backward.append(Equation(name, str(upstream), array.shape))
            upstream = Text(name)
        if isinstance(array.instruction, Sum):
            for group in map(_same_terms_once, array.instruction.groups):
                self._send_group(group, upstream.times(group.sign))
        else:
            for i, ref in enumerate(array.refs):
                self._send(ref, [upstream, self._slope(array, i)])

    def _has_equation(self, array: Array, upstream: Text) -> bool:
        """Whether a gradient is named: that of a parameter, of a weighted input, or one that is used repeatedly."""
        match array.instruction:
            case None:
                return True
            case _ if len(str(upstream)) > LONG:
                return True
            case _ if self._is_inlined(array) or upstream.is_number:
                return False
            case Sum(groups) if any(group.is_product for group in groups):
                return True
        return upstream.binds < ATOM and sum(ref.array in self._received for ref in array.refs) > 1

    def _send_group(self, group: Group, upstream: Text) -> None:
        """To a and b of Σₖ aₖ bₖ: upstream · b and upstream · a. To W and x of W x: δ xᵀ and Wᵀ δ (BP4 and BP2)."""
        left, right = group.left, group.right
        if right is None:
            self._send(left, [upstream])
        elif group.is_square:
            self._send(left, [upstream, self._read(left).times(2.0)])
        else:
            w, x = self._read(left), self._read(right)
            sign = " " if group.is_product else " ⊙ "
            if not _is_matrix_product(group):
                to_left, to_right = [upstream, x], [upstream, w]
            elif right.index.shape[1] == 1:  # W x
                to_left, to_right = [upstream, T(x)], [T(w), upstream]
            else:  # X Wᵀ
                to_left, to_right = [T(upstream), x], [upstream, w]
            self._send(left, to_left, sign)
            self._send(right, to_right, sign)

    def _send(self, ref: Ref, factors: Sequence[Text], sign: str = " ⊙ ") -> None:
        """Send the product of the factors to the entries that were read: the adjoint of reading."""
        if ref.array not in self._received:
            return
        share = multiply([T(x) for x in reversed(factors)] if _is_transposed(ref) else factors, sign)
        part, times = _part(ref), np.unique(ref.index[ref.index >= 0], return_counts=True)[1]
        if times.max() > 1:  # an entry that was read repeatedly receives a sum
            share = share.times(float(times[0])) if share.is_number and np.ptp(times) == 0 else sigma(share)
        if part.isdigit():
            share = multiply([share, Text("e" + subscript(part))], " ")
        elif part:
            share = Text(f"{share.within(ATOM)}[→ {part}]")
        self._received[ref.array].append(share)

    def _slope(self, array: Array, i: int) -> Text:
        """The local derivative for operand i: σ'(z) for a function of one operand, else its formula."""
        assert isinstance(array.instruction, Apply | Reduce)
        op, x, y = array.instruction.op, [self._read(ref) for ref in array.refs], self._text[array]
        if isinstance(array.instruction, Reduce):
            return Text(f"softmax({x[0]})" if op is ops.LOGSUMEXP else f"[{x[0]} = {y}]")
        if op is ops.EXP:
            return y
        if len(x) == 1 and op is not ops.ABS:
            return Text(f"{op.symbol}'({x[0]})")
        if op is ops.POW and x[1].is_number:
            base = x[0] if x[1].factor == 2.0 else _applied(op, [x[0], Text(factor=x[1].factor - 1.0)])
            return base.times(x[1].factor)
        if op is ops.DIV and x[1].is_number and x[1].factor != 0.0:
            return Text(factor=1.0 / x[1].factor)
        names = dict(zip((*op.operand_names(len(x)), "y"), (*x, y), strict=True))
        rule = op.local_grad_formulas(len(x))[i]
        binds = CASES if " if " in rule else PRODUCT if re.search("[*/]", rule) else ATOM
        # `plain` itself puts brackets around what looks like a formula
        texts = {name: str(t) if re.search("[ ^·/−+-]", str(t)) else t.within(ATOM) for name, t in names.items()}
        return Text(formula.plain(rule, texts), binds)

    # ── Showing ────────────────────────────────────────────────────────────────────────────────

    def __str__(self) -> str:
        lines = [*self.forward, *self.backward]
        left = max((len(e.left) for e in lines), default=0)
        width = left + 3 + max((len(e.right) for e in lines if len(e.right) <= 2 * LONG), default=0)
        rows = [f"{e.left:>{left}} = {e.right}".ljust(width + 3) + e.dims for e in lines]
        rows.insert(len(self.forward), "")
        return "\n".join(row.rstrip() for row in rows)

    def latex(self) -> str:
        """The equations in a LaTeX `aligned` environment."""
        rows = [
            f"{latex(e.left)} &= {latex(e.right)} && " + e.dims.replace("×", r"\times ")
            for e in (*self.forward, *self.backward)
        ]
        return "$$\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}$$"

    def __rich__(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(justify="right", style="bold")
        table.add_column()
        table.add_column(style="dim", justify="right")
        for e in self.forward:
            table.add_row(Text(e.left), Text(f"= {e.right}"), e.dims)
        table.add_row()
        for e in self.backward:
            table.add_row(Text(e.left), Text(f"= {e.right}"), e.dims)
        return table


def _applied(op: Operation, x: list[Text]) -> Text:
    """op(x), with the signs of arithmetic."""
    if op is ops.NEG:
        return x[0].times(-1.0)
    if op is ops.DIV:
        return Text(f"{x[0].within(PRODUCT)} / {x[1].within(ATOM)}", PRODUCT)
    if op is ops.POW:
        return power(x[0], str(x[1]) if x[1].is_number else x[1].within(ATOM))
    return Text(f"{op.symbol}({', '.join(map(str, x))})")


def _part(ref: Ref) -> str:
    """Which entries of its array a reference reads in their order: "3", "1:4", "" for all of them; else "…"."""
    assert ref.array is not None
    index = (ref.index.swapaxes(-1, -2) if _is_transposed(ref) else ref.index).ravel()
    first, last = int(index.min()), int(index.max())
    entries = np.arange(first, last + 1)
    # A broadcast repeats each entry, and all of them.
    repeats = int(np.argmin(index == index[0])) or len(index)
    one_round = np.repeat(entries, repeats)
    if first < 0 or len(index) % len(one_round) or (index.reshape(-1, len(one_round)) != one_round).any():
        return "…"
    if len(entries) == ref.array.size:
        return ""
    return f"{first + 1}" if first == last else f"{first + 1}:{last + 1}"


def _same_terms_once(group: Group) -> Group:
    """K equal terms are K times one."""
    K = group.left.index.shape[-1]
    if K == 1 or group.starts is not None or not all((ref.index == ref.index[..., :1]).all() for ref in group.refs):
        return group
    left, *right = (Ref(ref.array, ref.index[..., :1], ref.label) for ref in group.refs)
    return replace(group, sign=group.sign * K, left=left, right=right[0] if right else None)


def _is_transposed(ref: Ref) -> bool:
    """Whether the rows of a matrix product's operand are the columns of its array."""
    index, array = ref.index, ref.array
    if array is None or index.ndim < 3 or min(index.shape[1:]) == 1 or index.size != array.size:
        return False
    return np.array_equal(index.swapaxes(-1, -2).ravel(), np.arange(array.size))


def _is_matrix_product(group: Group) -> bool:
    """Whether Σₖ left · right is W x or X Wᵀ, and not only w · x."""
    return group.is_product and any(ref.index.shape[1] > 1 for ref in group.refs)
