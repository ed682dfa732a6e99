"""Pieces of equations as text: sums and products that know where they need brackets, and their LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import prod

from microgradlike.notation.digits import format_constant, superscript

CASES, SUM, MATRIX, PRODUCT, POWER, ATOM = range(6)  # how tightly a if …, a + b, A b, a ⊙ b, a^b and a bind


@dataclass(frozen=True)
class Text:
    """A piece of an equation: a number `factor` in front of a text, or alone, where the text is ""."""

    text: str = ""
    binds: int = ATOM
    factor: float = 1.0

    @property
    def is_number(self) -> bool:
        return not self.text

    def times(self, factor: float) -> Text:
        return replace(self, factor=self.factor * factor)

    def within(self, binds: int) -> str:
        """The text, in brackets if it binds less tightly than its place asks."""
        plain = self.factor == 1.0 or (self.is_number and self.factor >= 0 and "/" not in str(self))
        return f"({self})" if (self.binds if plain else MATRIX) < binds else str(self)

    def __str__(self) -> str:
        if self.is_number:
            return number(self.factor)
        if self.factor == 1.0:
            return self.text
        text = f"({self.text})" if self.binds <= SUM else self.text
        if self.factor == -1.0:
            return f"−{text}"
        factor = number(self.factor)
        return factor + ("·" if text[0].isdigit() else " " if len(factor) > 1 else "") + text


def number(x: float) -> str:
    """½, 0.25, 1/3, 0.123456789012345: exact to read back."""
    text = {0.5: "½", 0.25: "¼"}.get(abs(x)) or format_constant(abs(x))
    n = round(1 / abs(x)) if 1e-9 < abs(x) < 1 else 0
    if len(text) > 6 and n and 1 / n == abs(x):
        text = f"1/{n}"
    return "−" + text if x < 0 else text


def add(terms: Sequence[Text]) -> Text:
    if len(terms) < 2:
        return terms[0] if terms else Text(factor=0.0)
    text = ""
    for term in sorted(terms, key=lambda t: (t.is_number, t.factor < 0, abs(t.factor) != 1)):
        if term.factor < 0:
            text += (" − " if text else "−") + term.times(-1.0).within(MATRIX)
        else:
            text += (" + " if text else "") + term.within(SUM)
    return Text(text, SUM)


def multiply(factors: Sequence[Text], sign: str = " ⊙ ") -> Text:
    """Factors side by side, their numbers in front: a matrix product, or with ⊙ or · between them."""
    factor = prod(f.factor for f in factors)
    texts = [replace(f, factor=1.0) for f in factors if not f.is_number] or [Text()]
    if len(texts) == 1:
        return texts[0].times(factor)
    binds, within = (MATRIX, ATOM) if sign == " " else (PRODUCT, PRODUCT)
    return Text(sign.join(t.within(within) for t in texts), binds, factor)


def sigma(x: Text) -> Text:
    """The sum of the entries, or what is one already."""
    return x if x.binds == MATRIX and x.text.startswith("Σ ") else Text(f"Σ {x.within(POWER)}", MATRIX)


def T(x: Text) -> Text:
    """The transpose."""
    text = x.within(ATOM)
    return Text(text[:-1] if text.endswith("ᵀ") else text + "ᵀ")


def power(x: Text, exponent: str) -> Text:
    base = x.within(ATOM)
    if re.search("[⁰¹²³⁴-⁹]$", base):  # the square of z¹ is not z¹²
        base = f"({base})"
    return Text(base + superscript(exponent)) if exponent.isdigit() else Text(f"{base}^{exponent}", POWER)


def _braced(text: str) -> str:
    """With {} around the exponents: a number, a name or what stands in brackets."""
    done = ""
    while "^" in text:
        before, _, after = text.partition("^")
        depths = list(accumulate((c in "([") - (c in ")]") for c in after))
        if after.startswith("("):
            end = next((i for i, depth in enumerate(depths, start=1) if depth == 0), len(after))
        else:
            ends = (i for i, c in enumerate(after) if i and (depths[i] < 0 or (depths[i] == 0 and c in " ^⊙·,/")))
            end = next(ends, len(after))
        done += f"{before}^{{{_braced(after[:end])}}}"
        text = after[end:]
    return done + text


# Letters for indices, and how they stand below: ᵢ for i; when there are no more, i′
_BELOW = dict(zip("ijklmnrstuvhpaeo", "ᵢⱼₖₗₘₙᵣₛₜᵤᵥₕₚₐₑₒ", strict=True))
BELOW = _BELOW | {letter + "′": below + "′" for letter, below in _BELOW.items()}
_PLAIN = str.maketrans(
    dict(zip("⁻⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉₌", "-01234567890123456789=", strict=True))
    | {below: letter for letter, below in _BELOW.items()}
    | {"′": r"\prime", "ᵀ": r"\top"}
)

_LATEX = {
    "δ": r"\delta", "∂": r"\partial ", "σ": r"\sigma", "⊙": r"\odot ", "‖": r"\Vert ", "½": r"\tfrac{1}{2}", "¼": r"\tfrac{1}{4}",
    "Σ": r"\textstyle\sum ", "−": "-", "·": r"\cdot ", "×": r"\times ", "…": r"\ldots ", "√": r"\surd", "→": r"\to ",
    "η": r"\eta", "α": r"\alpha", "λ": r"\lambda", "≠": r"\neq ", "≤": r"\leq ", "≥": r"\geq ",
}  # fmt: skip


def latex(text: str) -> str:
    """The LaTeX of an equation's text."""
    text = _braced(re.sub(r"([&%#${}])", r"\\\1", text.replace("\n", " ")))
    text = re.sub("[⁻⁰¹²³⁴-⁹]+′*ᵀ?|′+ᵀ?|ᵀ", lambda m: f"^{{{m[0].translate(_PLAIN)}}}", text)  # LaTeX takes no two
    text = re.sub(f"[₀-₉₌{''.join(_BELOW.values())}]+", lambda m: f"_{{{m[0].translate(_PLAIN)}}}", text)
    text = re.sub(r"(?<![\\{A-Za-z])([A-Za-z]{2,}(?: [A-Z][A-Za-z]+)?)", lambda m: rf"\operatorname{{{m[1]}}}", text)
    return "".join(_LATEX.get(c, c) for c in text)
