"""The array program as equations: z¹ = W¹ x + b¹, a¹ = σ(z¹), …, and backward δ¹ = (W²ᵀ δ²) ⊙ σ'(z¹).

Nothing here knows a layer. The left-hand sides are the arrays that were found, named by what their
nodes' labels have in common (w²₁₃, w²₁₄, … is W²); the right-hand sides are their instructions. A
weighted input z has the error δ = ∂C/∂z. An array without a name that is used once is written
where it is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from microgradlike import formula, ops
from microgradlike.matrix.build import is_square, refs
from microgradlike.matrix.match import Apply, Array, Group, Reduce, Ref, Sum
from microgradlike.notation import plain_digits, subscript, superscript
from microgradlike.value import Value

# ── Names ──────────────────────────────────────────────────────────────────────────────────────


def name_arrays(arrays: list[Array], nodes: list[Value], n_arguments: int, loss: Value) -> None:
    """Name every array, all differently."""
    taken: set[str] = set()

    def give(array: Array, name: str) -> None:
        while name in taken:
            name += "′"
        taken.add(name)
        array.name = name

    for array in arrays:
        array.named = True
        stem = _stem([nodes[i].label for i in array.entries if i >= 0 and nodes[i].label])
        if stem and len(array.shape) > 1 and array.kind == "parameter":
            stem = stem[0].upper() + stem[1:]
        if stem:
            give(array, stem)
    unnamed = [a for a in arrays if not a.name]
    arguments = [a for a in unnamed if a.kind == "batch"]
    for i, array in enumerate(arguments):
        give(array, "xy"[i] if len(arguments) <= 2 and n_arguments <= 2 else "x" + subscript(i + 1))
    layer = sum(1 for a in arrays if a.name.startswith("z"))
    for array in arrays:  # what has no label and looks like a layer is called as in the textbook
        if not isinstance(array.instruction, Sum):
            if isinstance(array.instruction, Apply) and not array.name and len(array.instruction.operands) == 1:
                source = array.instruction.operands[0].array
                if source is not None and source.name.startswith("z"):
                    give(array, "a" + source.name[1:])
            continue
        sides = [s.array for g in array.instruction.groups if g.is_product for s in (g.left, g.right) if s]
        weights = [a for a in sides if a is not None and a.kind == "parameter" and len(a.shape) == 2]
        if not weights or array.size == 1:
            continue
        if not array.name:
            layer += 1
            give(array, "z" + superscript(layer))
        for weight in weights:
            if not weight.name:
                give(weight, "W" + array.name[1:])
        for group in array.instruction.groups:
            bias = group.left.array
            if group.right is None and bias is not None and bias.kind == "parameter" and not bias.name:
                give(bias, "b" + array.name[1:])
    letters = {"parameter": "w", "computed": "v", "batch": "x"}
    for array in arrays:
        if nodes[array.entries[0]] is loss and array.size == 1 and not array.name:
            give(array, "C")
    count = 0
    for array in arrays:
        if not array.name:
            count += 1
            array.named = array.kind != "computed"
            give(array, letters[array.kind] + subscript(count))


def _stem(labels: list[str]) -> str:
    """What the labels have in common: w²₁₁, w²₁₂ are entries of w²."""
    if len(labels) == 1 and not re.search("[⁰-⁹¹²³]", labels[0]):
        return labels[0]
    stems = {
        re.sub(r"[₀-₉,]+$|[\[(_]?\d+(?:[\])\[(_,]+\d+)*[\])]?$", "", label).replace("′", "").replace("″", "")
        for label in labels
    }
    return stems.pop() if len(stems) == 1 else ""


# ── Expressions: text, and how tightly its outermost operation binds ───────────────────────────

SUM, MATRIX, PRODUCT, ATOM = range(4)  # a + b, A b, a ⊙ b, a


@dataclass(frozen=True)
class Text:
    """A piece of an equation. `factor` is a number in front of it."""

    text: str
    binds: int = ATOM
    factor: float = 1.0

    def times(self, factor: float) -> Text:
        return Text(self.text, self.binds, self.factor * factor)

    def within(self, binds: int) -> str:
        """The text, in brackets if need be."""
        mine = self.binds
        if self.factor != 1.0 and (self.text != "1" or self.factor < 0):
            mine = min(mine, MATRIX)
        return f"({self})" if mine < binds else str(self)

    def __str__(self) -> str:
        if self.text == "1":
            return _number(self.factor)
        inner = f"({self.text})" if self.binds == SUM and self.factor != 1.0 else self.text
        if self.factor == 1.0:
            return inner
        if self.factor == -1.0:
            return f"−{inner}"
        number = _number(self.factor)
        return number + ("·" if inner[0].isdigit() else " " if len(number) > 1 else "") + inner


def _number(x: float) -> str:
    text = {0.5: "½", -0.5: "−½", 0.25: "¼"}.get(x) or f"{x:.4g}"
    return text.replace("-", "−")


def _join(parts: Sequence[Text], between: str) -> Text:
    """Factors side by side: a matrix product, or ⊙ between the entries."""
    factor = float(np.prod([p.factor for p in parts]))
    parts = [Text(p.text, p.binds) for p in parts if p.text != "1"]
    if not parts:
        return Text("1", ATOM, factor)
    if len(parts) == 1:
        return parts[0].times(factor)
    binds = MATRIX if between == " " else PRODUCT
    return Text(between.join(p.within(ATOM if binds == MATRIX else PRODUCT) for p in parts), binds, factor)


def _add(parts: Sequence[Text]) -> Text:
    if len(parts) == 1:
        return parts[0]
    parts = sorted(parts, key=lambda p: (p.text == "1", p.factor < 0, abs(p.factor) != 1))
    text = ""
    for part in parts:
        minus = part.factor < 0
        body = (
            str(part.times(-1.0) if minus else part)
            if part.binds != SUM or abs(part.factor) != 1 or minus is False
            else f"({part.text})"
        )
        text += (" − " if text else "−") + body if minus else (" + " if text else "") + body
    return Text(text, SUM)


# ── Equations ──────────────────────────────────────────────────────────────────────────────────


@dataclass
class Equation:
    """One line: the array on the left, what it equals, its shape for one sample."""

    left: str
    right: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.left} = {self.right}"


@dataclass
class Equations:
    """The equations of a program: `forward` and `backward`, lists of `Equation`."""

    arrays: list[Array]
    loss: Array
    parameters: list[Array]
    forward: list[Equation] = field(default_factory=list)
    backward: list[Equation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._uses: dict[Array, int] = {}
        for array in self.arrays:
            for used in {id(r.array): r.array for r in refs(array) if r.array is not None}.values():
                self._uses[used] = self._uses.get(used, 0) + 1
        for array in self.arrays:
            if array.instruction is not None and not self._inlined(array):
                self.forward.append(Equation(array.name, str(self._value(array)), array.shape))
        self._backward()

    # ── Forward ────────────────────────────────────────────────────────────────────────────────

    def _inlined(self, array: Array) -> bool:
        return array.instruction is not None and not array.named and self._uses.get(array, 0) == 1

    def _value(self, array: Array) -> Text:
        match array.instruction:
            case Apply(op, operands):
                return self._applied(op, [self._read(ref) for ref in operands])
            case Reduce(op, operand, _):
                return Text(f"{op.symbol}({self._read(operand)})")
            case Sum(groups):
                ordered = sorted(groups, key=lambda g: (not g.is_product, g.right is None and g.left.array is None))
                return _add([self._group(group, array).times(group.sign) for group in ordered])
        return Text(array.name)

    def _read(self, ref: Ref) -> Text:
        """A reference: the array itself, or which part of it."""
        if ref.constant is not None:
            return Text("1", ATOM, ref.constant)
        if ref.array is None:
            return Text((_stem([ref.label, ref.label]) if ref.label else "") or "const")
        array, index = ref.array, ref.index.ravel()
        text = self._value(array) if self._inlined(array) else Text(array.name)
        if len(np.unique(index)) == array.size:
            return text
        start, stop = int(index.min()), int(index.max()) + 1
        if start < 0:
            return text
        if len(np.unique(index)) == stop - start:
            part = str(start + 1) if stop == start + 1 else f"{start + 1}:{stop}"
        else:
            part = "…"
        return Text(f"{text.within(ATOM)}[{part}]")

    def _applied(self, op: Any, x: list[Text]) -> Text:
        if op is ops.NEG:
            return x[0].times(-1.0)
        if op is ops.POW and x[1].text == "1":
            exponent = _number(x[1].factor)
            return Text(x[0].within(ATOM) + (superscript(exponent) if exponent.isdigit() else f"^{exponent}"))
        if op is ops.DIV:
            return Text(f"{x[0].within(PRODUCT)} / {x[1].within(ATOM)}", PRODUCT)
        if op is ops.POW:
            return Text(f"{x[0].within(ATOM)}^{x[1].within(ATOM)}")
        return Text(f"{op.symbol}({', '.join(map(str, x))})")

    def _group(self, group: Group, array: Array) -> Text:
        left = self._read(group.left)
        if group.right is None:
            return (
                left
                if group.left.index.shape[-1] == 1 and group.starts is None
                else Text(f"Σ {left.within(PRODUCT)}", MATRIX)
            )
        right = self._read(group.right)
        if is_square(group):
            if array.size == 1 and group.left.index.size > 1:
                return Text(f"‖{left}‖²")
            square = Text(f"{left.within(ATOM)}²")
            return square if group.left.index.shape[-1] == 1 else Text(f"Σ {square}", MATRIX)
        if group.is_product:
            return self._matrix_product(group, left, right)
        if left.text == "1" or right.text == "1" or (group.left.index.shape[-1] == 1 and group.starts is None):
            product = _join([left, right], " ⊙ " if left.text != "1" and right.text != "1" and array.size > 1 else " ")
            if group.left.index.shape[-1] == 1 and group.starts is None:
                return product
            return Text(f"Σ {Text(product.text, product.binds).within(PRODUCT)}", MATRIX, product.factor)
        return Text(f"Σ {_join([left, right], ' ⊙ ')}", MATRIX)

    def _matrix_product(self, group: Group, left: Text, right: Text) -> Text:
        assert group.right is not None
        (_, R, _), (_, C, _) = group.left.index.shape, group.right.index.shape
        if R == C == 1:
            return _join([left, right], " · ")
        if C == 1:
            return _join([Text(left.within(ATOM) + self._turned(group.left)), right], " ")
        return _join([right, Text(left.within(ATOM) + ("" if self._turned(group.left) else "ᵀ"))], " ")

    def _turned(self, ref: Ref) -> str:
        """ᵀ where the product reads the array's columns as rows."""
        _, R, K = ref.index.shape
        if ref.array is not None and ref.index.size == ref.array.size and min(R, K) > 1:
            order = ref.index.ravel()
            if order[1] - order[0] != 1:
                return "ᵀ"
        return ""

    # ── Backward ───────────────────────────────────────────────────────────────────────────────

    def _backward(self) -> None:
        needed = set(self.parameters)
        for array in self.arrays:
            if any(ref.array in needed for ref in refs(array)):
                needed.add(array)
        sent: dict[Array, list[Text]] = {array: [] for array in needed}
        if self.loss in needed:
            sent[self.loss].append(Text("1"))
        for array in reversed([a for a in self.arrays if a in needed]):
            parts = sent[array]
            upstream = _add(parts) if parts else Text("1", ATOM, 0.0)
            if array in self.parameters:
                self.backward.append(Equation(f"∂{self.loss.name}/∂{array.name}", str(upstream), array.shape))
                continue
            receivers = sum(ref.array in needed for ref in refs(array))
            is_error = isinstance(array.instruction, Sum) and any(g.is_product for g in array.instruction.groups)
            if (
                array is not self.loss
                and not self._inlined(array)
                and upstream.text != "1"
                and (is_error or (receivers > 1 and upstream.binds < ATOM))
            ):
                name = self._error(array)
                self.backward.append(Equation(name, str(upstream), array.shape))
                upstream = Text(name)
            self._send(array, upstream, sent)

    def _error(self, array: Array) -> str:
        """δ for a weighted input z, ∂C/∂v for any other array."""
        return "δ" + array.name[1:] if array.name.startswith("z") else f"∂{self.loss.name}/∂{array.name}"

    def _send(self, array: Array, upstream: Text, sent: dict[Array, list[Text]]) -> None:
        match array.instruction:
            case Apply(op, operands):
                for i, ref in enumerate(operands):
                    if ref.array in sent:
                        share = _join([upstream, self._local(op, i, operands, array)], " ⊙ ")
                        sent[ref.array].append(self._summed(ref, share, array))
            case Reduce(op, ref, _):
                if ref.array in sent:
                    x = self._read(ref)
                    slope = Text(f"softmax({x})") if op is ops.LOGSUMEXP else Text(f"[{x} = {array.name}]")
                    sent[ref.array].append(_join([upstream, slope], " ⊙ "))
            case Sum(groups):
                for group in groups:
                    self._send_term(array, group, upstream.times(group.sign), sent)

    def _local(self, op: Any, i: int, operands: list[Ref], array: Array) -> Text:
        """The local derivative: σ'(z) for a function of one operand, else its formula."""
        x = [self._read(ref) for ref in operands]
        if op is ops.NEG:
            return Text("1", ATOM, -1.0)
        if len(x) == 1 and op is ops.EXP:
            return Text(array.name) if array.named else self._applied(op, x)
        if len(x) == 1 and op is not ops.ABS:
            return Text(f"{op.symbol}'({x[0]})")
        if op is ops.POW and i == 0 and x[1].text == "1":
            exponent = x[1].factor
            power = x[0] if exponent == 2.0 else self._applied(op, [x[0], Text("1", ATOM, exponent - 1.0)])
            return power.times(exponent)
        if op is ops.DIV and i == 0 and x[1].text == "1":
            return Text("1", ATOM, 1.0 / x[1].factor)
        names = {name: t.within(ATOM) for name, t in zip(op.operand_names(len(x)), x, strict=True)}
        text = op.local_grad_formulas(len(x))[i]
        return Text(formula.plain(text, names | {"y": array.name}), PRODUCT if re.search("[*/]", text) else ATOM)

    def _summed(self, ref: Ref, share: Text, array: Array) -> Text:
        """A share that several entries send to one: Σ; one that goes to a single entry: times a unit vector."""
        assert ref.array is not None
        different = len(np.unique(ref.index))
        if different < ref.index.size:
            share = Text(f"Σ {share.within(PRODUCT)}", MATRIX)
        if different == ref.array.size:
            return share
        first, last = int(ref.index.min()) + 1, int(ref.index.max()) + 1
        if first == last:
            return _join([share, Text("e" + subscript(first))], " ")
        return Text(f"{share.within(ATOM)}" + (f"[→ {first}:{last}]" if different == last + 1 - first else "[→ …]"))

    def _send_term(self, array: Array, group: Group, upstream: Text, sent: dict[Array, list[Text]]) -> None:
        left, right = group.left, group.right
        if right is None:
            if left.array in sent:
                sent[left.array].append(self._summed(left, upstream, array))
            return
        if is_square(group):
            if left.array in sent:
                sent[left.array].append(_join([upstream, self._read(left).times(2.0)], " ⊙ "))
            return
        if group.is_product:
            (_, R, _), (_, C, _) = left.index.shape, right.index.shape
            x, w = self._read(right), self._read(left)
            if left.array in sent:
                parts = (
                    [upstream, Text(x.within(ATOM) + "ᵀ")] if C == 1 else [Text(upstream.within(ATOM) + "ᵀ", ATOM), x]
                )
                if R == C == 1:
                    parts = [upstream, x]
                sent[left.array].append(_join(parts, " "))
            if right.array in sent:
                turned = "" if self._turned(left) else "ᵀ"
                parts = (
                    [Text(w.within(ATOM) + turned), upstream]
                    if C == 1
                    else [upstream, Text(w.within(ATOM) + ("ᵀ" if not turned else ""))]
                )
                if R == C == 1:
                    parts = [upstream, w]
                sent[right.array].append(_join(parts, " "))
            return
        for ref, other in ((left, right), (right, left)):
            if ref.array in sent:
                sent[ref.array].append(self._summed(ref, _join([upstream, self._read(other)], " ⊙ "), array))

    # ── Showing ────────────────────────────────────────────────────────────────────────────────

    def __str__(self) -> str:
        lines = [*self.forward, *self.backward]
        left = max((len(e.left) for e in lines), default=0)
        width = max((left + 3 + len(e.right) for e in lines), default=0)
        rows = [f"{e.left:>{left}} = {e.right}".ljust(width + 3) + _shape(e.shape) for e in lines]
        rows.insert(len(self.forward), "")
        return "\n".join(row.rstrip() for row in rows)

    def latex(self) -> str:
        """The equations in a LaTeX `aligned` environment."""
        rows = [
            rf"{latex(e.left)} &= {latex(e.right)} && {_shape(e.shape).replace('×', chr(92) + 'times ')}"
            for e in (*self.forward, *self.backward)
        ]
        return "$$\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}$$"

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(justify="right", style="bold")
        table.add_column()
        table.add_column(style="dim", justify="right")
        for lines in (self.forward, self.backward):
            for e in lines:
                table.add_row(_plain(e.left), _plain(f"= {e.right}"), _shape(e.shape))
            if lines is self.forward:
                table.add_row("", "", "")
        return table


def _plain(text: str) -> Any:
    from rich.text import Text as RichText

    return RichText(text)


def _shape(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape))


_LATEX = {
    "δ": r"\delta", "∂": r"\partial ", "σ": r"\sigma", "⊙": r"\odot ", "‖": r"\Vert ", "½": r"\tfrac{1}{2}", "¼": r"\tfrac{1}{4}",
    "Σ": r"\textstyle\sum ", "−": "-", "·": r"\cdot ", "×": r"\times ", "…": r"\ldots ", "′": "'", "√": r"\sqrt",
    "η": r"\eta", "α": r"\alpha", "λ": r"\lambda",
}  # fmt: skip


def latex(text: str) -> str:
    """The LaTeX of an equation's text."""
    text = re.sub("([⁰¹²³⁴-⁹]*)(ᵀ)", lambda m: "^{" + plain_digits(m[1]) + r"\top}", text)
    text = re.sub("[⁰¹²³⁴-⁹]+", lambda m: "^{" + plain_digits(m[0]) + "}", text)
    text = re.sub("[₀-₉]+", lambda m: "_{" + plain_digits(m[0]) + "}", text)
    text = re.sub(r"(?<![\\{A-Za-z])([A-Za-z]{2,}(?: [A-Z][A-Za-z]+)?)", lambda m: rf"\operatorname{{{m[1]}}}", text)
    return "".join(_LATEX.get(c, c) for c in text)
