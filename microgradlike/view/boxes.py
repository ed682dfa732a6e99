"""The labels of a drawn graph: the HTML-like tables of nodes, edges and frames that Graphviz sets."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import NamedTuple

from microgradlike.view.style import FRAME, GRADIENT, LOCAL, MUTED


class ParameterRow(NamedTuple):
    """A weight or bias in the box of the w·x + b that alone uses it."""

    id: str
    edge_id: str
    name: str
    data: str
    gradient: str
    local_grad: str
    look: Mapping[str, str]


def box(
    name: str,
    symbol: str,
    data: str,
    gradient: str,
    rows: Sequence[ParameterRow] = (),
    more: tuple[str, str] | None = None,
    labelled: bool = True,
) -> str:
    """Write the label of a node: name and operation above data and gradient, then the rows."""
    title = _bold(name) if labelled else _colored(MUTED, name)
    head = _table(_line(title, _colored(MUTED, symbol)) + _line(_text(data), _colored(GRADIENT, gradient)))
    if not rows:
        return f"<{head}>"
    widths = [_width(column) for column in zip(*((r.name, r.data, r.gradient) for r in rows), strict=True)]
    lines = "".join(f"<tr>{_row(row, widths)}</tr>" for row in rows)
    if more:
        id, words = more
        lines += f'<tr><td id="{id}" href="#{id}" align="left" colspan="2">{_colored(MUTED, words)}</td></tr>'
    return f"<{_table(f'<tr><td>{head}</td></tr><tr><td>{_table(lines, cellspacing=2)}</td></tr>')}>"


def constant(name: str, data: str) -> str:
    """Write the label of a constant: its number, and its name if it has one."""
    return f"<{_table(_line(_bold(name), _text(data)) if name else f'<tr><td>{_text(data)}</td></tr>')}>"


def chip(words: str, color: str) -> str:
    """Write a small label on a light ground of its own, as on the edges."""
    cell = f'<td bgcolor="#ffffff" style="rounded" cellpadding="1">{_colored(color, words)}</td>'
    return f"<{_table(f'<tr>{cell}</tr>', cellspacing=2)}>"


def legend(looks: Mapping[str, Mapping[str, str]], note: str = "") -> str:
    """Write what the colours stand for, and a note below the picture."""
    cells = "".join(
        f'<td border="1" style="rounded" color="{look["color"]}" bgcolor="{look["fillcolor"]}" cellpadding="3">'
        f"{_text(name)}</td>"
        for name, look in looks.items()
    )
    colours = f"<tr><td>{_table(f'<tr>{cells}</tr>', cellspacing=6)}</td></tr>" if cells else ""
    lines = "".join(f"<tr><td>{_text(line)}</td></tr>" for line in wrap(note, 40))
    return f"<{_table(colours + lines)}>" if lines else f"<{_table(f'<tr>{cells}</tr>', cellspacing=6)}>"


def frame(id: str, name: str) -> dict[str, str]:
    """Return the attributes of a cluster: a tint, which clusters within it deepen."""
    return {"id": id, "label": f"<{_colored(MUTED, name)}>", **FRAME}


def clean_for_svg(words: str) -> str:
    """Replace the characters that no SVG may hold."""
    if words.isprintable():
        return words
    return "".join("\ufffd" if c != "\n" and unicodedata.category(c) in ("Cc", "Cn", "Cs") else c for c in words)


# ── Markup: words go in as they are, and are escaped here ──────────────────────────────────────


def _text(words: str) -> str:
    """Escape the words: Graphviz takes <, & and quotes for markup, and a backslash for an escape."""
    if len(words) > 40:
        words = words[:39] + "…"
    return html.escape(clean_for_svg(words)).replace("\\", "\\\\").replace("\n", '<br align="left"/>')


def _bold(words: str) -> str:
    return f"<b>{_text(words)}</b>" if words else ""


def _colored(color: str, words: str) -> str:
    return f'<font color="{color}">{_text(words)}</font>' if words else ""


def _row(row: ParameterRow, widths: Sequence[int]) -> str:
    """Write a box for the leaf, and after it the local derivative. By the links, `Diagram.svg` finds them."""
    texts = (_bold(row.name), _text(row.data), _colored(GRADIENT, row.gradient))
    cells = "".join(
        f'<td align="{side}" width="{width}">{cell}</td>'
        for side, width, cell in zip(("left", "left", "right"), widths, texts, strict=True)
    )
    look = f'border="1" color="{row.look["color"]}" bgcolor="{row.look["fillcolor"]}"'
    inside = _table(f"<tr>{cells}</tr>", cellpadding=2)
    local_grad = f'<font point-size="9" color="{LOCAL}">{_text(row.local_grad)}</font>'
    return (
        f'<td id="{row.id}" href="#{row.id}" port="{row.id}" {look}>{inside}</td>'
        f'<td id="{row.edge_id}" href="#{row.edge_id}" align="left">{local_grad}</td>'
    )


def _line(left: str, right: str) -> str:
    space = '<td width="10"></td>' if right else ""
    return f'<tr><td align="left">{left}</td>{space}<td align="right">{right}</td></tr>'


def _table(rows: str, cellspacing: int = 0, cellpadding: int = 1) -> str:
    return f'<table border="0" cellborder="0" cellspacing="{cellspacing}" cellpadding="{cellpadding}">{rows}</table>'


def _width(column: Sequence[str]) -> int:
    return max(6 * len(words) for words in column) + 4  # points: about what Graphviz will find it needs
