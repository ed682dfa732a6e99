"""How numbers and indices are written: 0.1966, v₁₂, a², xᵢⱼ."""

INDEX_LETTERS = "ijklmnrstuvhpaeo"  # those that have a subscript, in the order they are used
_SUBSCRIPTS = str.maketrans(f"0123456789={INDEX_LETTERS}", "₀₁₂₃₄₅₆₇₈₉₌ᵢⱼₖₗₘₙᵣₛₜᵤᵥₕₚₐₑₒ")
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PLAIN = {script: plain for table in (_SUBSCRIPTS, _SUPERSCRIPTS) for plain, script in table.items()}


def format_number(x: float) -> str:
    """Return four significant digits, but whole numbers in full below ten millions: 0.1966, -3, 12345, 1e-05, nan."""
    return f"{x:z.0f}" if abs(x) < 1e7 and x == int(x) else f"{x:z.4g}"


def format_constant(x: float) -> str:
    """Return a number for a formula, to 15 significant digits, as in 0.1, 0.333333333333333."""
    return f"{x:z.15g}"


def subscript(index: object) -> str:
    """Return ₁₂ for 12, and ᵢ for i."""
    return str(index).translate(_SUBSCRIPTS)


def superscript(index: object) -> str:
    """Return ¹² for 12, and ⁻¹ for -1."""
    return str(index).translate(_SUPERSCRIPTS)


def plain_digits(text: str) -> str:
    """Return the text without superscripts and subscripts: "w211" for "w²₁₁"."""
    return text.translate(_PLAIN)
