"""How numbers and indices are written: 0.1966, v₁₂, a²."""

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PLAIN = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉", "-01234567890123456789")


def format_number(x: float) -> str:
    """Four significant digits, but whole numbers in full below ten millions: 0.1966, -3, 12345, 1e-05, nan."""
    return f"{x:z.0f}" if abs(x) < 1e7 and x == int(x) else f"{x:z.4g}"


def format_constant(x: float) -> str:
    """A number in a formula, exact to read back: 15 significant digits, as in 0.1, 1.0001, 0.333333333333333."""
    return f"{x:z.15g}"


def subscript(index: object) -> str:
    """₁₂ for 12."""
    return str(index).translate(_SUBSCRIPTS)


def superscript(index: object) -> str:
    """¹² for 12, ⁻¹ for -1."""
    return str(index).translate(_SUPERSCRIPTS)


def plain_digits(text: str) -> str:
    """The text with its superscripts and subscripts as plain digits: "w211" for "w²₁₁"."""
    return text.translate(_PLAIN)
