"""Formulas as plain text and as LaTeX, with brackets where they need them: the one place that writes them.

A formula is made by filling a template with smaller ones: `fill("{} ⊙ {}", a, b, level=QUOTIENT)`. Templates
and names are plain text, such as Σᵢ, z¹ or σ'; `to_latex` says how LaTeX writes that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

from microgradlike.notation.digits import INDEX_LETTERS, format_constant, plain_digits, subscript, superscript

# How tightly x if c else y, a or b, a and b, a < b, a + b, A x, a/b, a·b, -3, aᵇ and f(x) bind
IF, OR, AND, COMPARE, SUM, MATRIX, QUOTIENT, PRODUCT, SIGN, POWER, ATOM = range(11)


@dataclass(slots=True)
class Formula:
    """A formula with a number `factor` in front; where the text is "", that number alone."""

    text: str = ""
    tex: str = ""
    level: int = ATOM
    factor: float = 1.0

    @property
    def is_number(self) -> bool:
        """Return whether it is nothing but its factor."""
        return not self.text

    @property
    def written(self) -> Formula:
        """Return the same with the factor as a part of its text."""
        if self.factor == 1.0 and self.text:
            return self
        number = _number(self.factor)
        if self.is_number:
            return verbatim(number, ATOM if self.factor >= 0 and "/" not in number else MATRIX)
        rest = replace(self, factor=1.0).within(MATRIX)
        if self.factor == -1.0:
            return fill("−{}", rest, level=MATRIX)
        return fill(number + ("·" if rest.text[0].isdigit() else " " * (len(number) > 1)) + "{}", rest, level=MATRIX)

    @property
    def latex(self) -> str:
        """Return its LaTeX, which MathJax and KaTeX understand."""
        return self.written.tex

    def __str__(self) -> str:
        return self.written.text

    def times(self, factor: float) -> Formula:
        """Return factor · self."""
        return replace(self, factor=self.factor * factor)

    def within(self, level: int, unsigned: bool = False) -> Formula:
        """Return the formula, in brackets if it binds less tightly than its place asks; or, `unsigned`, has a sign."""
        formula = self.written
        return fill("({})", formula) if formula.level < level or (unsigned and formula.text[:1] in "-−") else formula


def verbatim(text: str, level: int = ATOM) -> Formula:
    """Return a name, a number or another text as it is."""
    return Formula(text, to_latex(text), level)


def fill(template: str, *parts: Formula, level: int = ATOM) -> Formula:
    """Return the template with formulas in its places {}."""
    written = [part.written for part in parts]
    text = template.format(*[part.text for part in written])
    return Formula(text, _latex_template(template).format(*[part.tex for part in written]), level)


def call(function: str, *arguments: Formula) -> Formula:
    """Return f(a, b)."""
    return fill("{}" + ", ".join(["{}"] * len(arguments)) + ")", verbatim(f"{function}("), *arguments)


def power(base: Formula, exponent: Formula, level: int = POWER) -> Formula:
    """Return a^b; where b is a whole number a², which binds as tightly as `level` says."""
    base = fill("({})", base) if base.level == ATOM and _RAISED.search(str(base)) else base.within(ATOM)
    tex = f"{{{base.tex}}}" if _SUPERSCRIPT.search(base.tex) else base.tex  # TeX takes no two superscripts
    if re.fullmatch(r"-?\d+", str(exponent)):
        return Formula(base.text + superscript(exponent), f"{tex}^{{{exponent}}}", level)
    exponent = exponent.within(ATOM)
    return Formula(f"{base}^{exponent}", f"{tex}^{{{exponent.tex}}}", POWER)


def root(x: Formula) -> Formula:
    """Return √x."""
    return fill("√{}" if x.level == ATOM and "(" not in x.text else "√({})", x, level=POWER)


def transpose(x: Formula) -> Formula:
    """Return xᵀ."""
    x = x.within(ATOM)
    tex, joined = _SUPERSCRIPT.subn(r"\1\\top}\2", x.tex)  # TeX takes no two superscripts
    return Formula(x.text + "ᵀ", tex if joined else x.tex + r"^{\top}")


def add(terms: Sequence[Formula]) -> Formula:
    """Return a + 2b − c + 1: what is subtracted and numbers come last."""
    if len(terms) < 2:
        return terms[0] if terms else Formula(factor=0.0)
    terms = sorted(terms, key=lambda t: (t.is_number, t.factor < 0, abs(t.factor) != 1))
    parts = [term.times(-1.0).within(MATRIX) if term.factor < 0 else term.within(SUM) for term in terms]
    rest = "".join(" − {}" if term.factor < 0 else " + {}" for term in terms[1:])
    return fill(("−{}" if terms[0].factor < 0 else "{}") + rest, *parts, level=SUM)


def multiply(factors: Sequence[Formula], sign: str = " ⊙ ") -> Formula:
    """Return the factors side by side, their numbers in front: a matrix product, or with ⊙ or · between them."""
    number = prod(f.factor for f in factors)
    rest = [replace(f, factor=1.0) for f in factors if not f.is_number] or [Formula()]
    if len(rest) == 1:
        return rest[0].times(number)
    level, least = (MATRIX, ATOM) if sign == " " else (QUOTIENT, QUOTIENT)
    return fill(sign.join(["{}"] * len(rest)), *(f.within(least) for f in rest), level=level).times(number)


def _number(x: float) -> str:
    """Return ½, 0.25, 1/3, or 15 digits, as in 0.123456789012345."""
    text = {0.5: "½", 0.25: "¼"}.get(abs(x)) or format_constant(abs(x))
    n = round(1 / abs(x)) if 1e-9 < abs(x) < 1 else 0
    if len(text) > 6 and n and 1 / n == abs(x):
        text = f"1/{n}"
    return "−" + text if x < 0 else text


# ── LaTeX ──────────────────────────────────────────────────────────────────────────────────────

_BELOW = subscript(INDEX_LETTERS)
_SUPERSCRIPT = re.compile(r"(\^\{[^{}]*)\}((?:_\{[^{}]*\})?)$")  # at the end of LaTeX
_RAISED = re.compile(rf"[⁻⁰¹²³⁴-⁹][^)\]{_BELOW}]*$|^[\d.]+e[+-]")  # (w²₁₃)², (1e-05)², but tanh(z²)², x[1:2]²
_TOKEN = re.compile(
    rf"(?P<above>[⁻⁰¹²³⁴-⁹′ᵀ]+)|(?P<below>(?:[₀-₉₌](?:,(?=[₀-₉]))?|[{_BELOW}]′?)+)"
    r"|(?P<word>[A-Za-z]{2,}(?:(?:_| (?=[A-Z]))[A-Za-z]+)*)"
    r"|(?P<command>[δσαηλ√](?=[A-Za-z\0]))|."
)
_PLACE = "\0"  # of a part, in a template
_LATEX = {
    "δ": r"\delta", "∂": r"\partial ", "σ": r"\sigma", "⊙": r"\odot ", "‖": r"\Vert ", "½": r"\tfrac{1}{2}", "¼": r"\tfrac{1}{4}",
    "Σ": r"\textstyle\sum ", "−": "-", "·": r"\cdot ", "×": r"\times ", "…": r"\ldots ", "√": r"\surd", "→": r"\to ",
    "η": r"\eta", "α": r"\alpha", "λ": r"\lambda", "≠": r"\neq ", "≤": r"\leq ", "≥": r"\geq ",
    "\\": r"\backslash ", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "^": r"\hat{}", "~": r"\sim ",
}  # fmt: skip


@lru_cache(maxsize=4096)
def to_latex(text: str) -> str:
    """Return the LaTeX of a text: w^{2}_{13} for w²₁₃, words upright; nothing in the text is a command of LaTeX."""
    return _TOKEN.sub(_latex_token, text)


def _latex_token(found: re.Match[str]) -> str:
    token = plain_digits(found[0])
    match found.lastgroup:
        case "above":
            return "^{" + token.replace("′", r"\prime").replace("ᵀ", r"\top") + "}"
        case "below":
            return "_{" + token.replace("′", "'") + "}"
        case "word":
            return r"\operatorname{" + re.sub("[ _]", r"\\\g<0>", token) + "}"
    return _LATEX.get(token, token) + " " * (found.lastgroup == "command")


@lru_cache(maxsize=1024)
def _latex_template(template: str) -> str:
    latex = to_latex(template.replace("{}", _PLACE))
    return latex.replace("{", "{{").replace("}", "}}").replace(_PLACE, "{}")
