"""How numbers and indices are written: 0.1966, v₁₂, a²."""

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PLAIN = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉", "-01234567890123456789")


def number(x: float) -> str:
    """Four significant digits: 0.1966, -3, 1e-05, nan."""
    return f"{x:z.4g}"


def subscript(index: object) -> str:
    """₁₂ for 12."""
    return str(index).translate(_SUBSCRIPTS)


def superscript(index: object) -> str:
    """¹² for 12, ⁻¹ for -1."""
    return str(index).translate(_SUPERSCRIPTS)


def plain_digits(text: str) -> str:
    """The text with its superscripts and subscripts as plain digits: "w211" for "w²₁₁"."""
    return text.translate(_PLAIN)
