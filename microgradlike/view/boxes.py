"""The labels of a drawn graph: the HTML-like tables of nodes, edges and frames that Graphviz sets."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from math import ceil, fsum
from textwrap import wrap
from typing import NamedTuple

from microgradlike.view.style import FRAME, GRADIENT, LOCAL, MUTED

LINE_HEIGHT, ROW_HEIGHT = 15, 22.2  # points, of text and of a node within a box
WIDEST = "-1.235e-308"  # nothing that `format_number` writes needs more room


class Row(NamedTuple):
    """A node within a box: a parameter in that of the w·x + b that alone uses it, z and a in that of a closed neuron."""

    id: str
    name: str
    data: str
    gradient: str
    edge_id: str  # the edge from it to the node that the box stands for, and its local derivative; or ""
    local_grad: str
    look: Mapping[str, str]


class Box(NamedTuple):
    """The label of a node, and how large it is with its border, in points. Where letters are wide it may grow."""

    label: str
    width: float
    height: float


def box(
    name: str,
    symbol: str,
    data: str,
    gradient: str,
    rows: Sequence[Row] = (),
    more: tuple[str, str] | None = None,
    labelled: bool = True,
    live: bool = False,
    below: bool = False,
) -> Box:
    """Write the label of a node: name and operation above data and gradient, then the rows.

    In a `live` picture numbers change: there is room for any, and without rows the gradient is below the data. In a
    closed box the local derivatives are `below` their rows, and what `more` there is beside the name.
    """
    title = _bold(name) if labelled else _colored(MUTED, name)
    first, second = text_width([name], bold=labelled), text_width([symbol])
    lines = [_line(title, _colored(MUTED, symbol), (first, second), align="right")]
    widths = [first + second]
    number, slope = ([WIDEST], [f"∇ {WIDEST}"]) if live else ([], [])
    if live and data and not rows:
        widths += [text_width([data, WIDEST]), text_width([gradient, f"∇ {WIDEST}"]) if gradient else 0]
        texts = [text for text in (_text(data), _colored(GRADIENT, gradient)) if text]
        lines += [f'<tr><td align="left" colspan="2" width="{max(widths)}">{text}</td></tr>' for text in texts]
    elif data:
        first = max(first, text_width([data, *number]))
        second = max(second, text_width([gradient, *slope]) if gradient else 0)
        lines = [
            _line(title, _colored(MUTED, symbol), (first, second), align="right"),
            _line(_text(data), _colored(GRADIENT, gradient), (first, second)),
        ]
        widths = [first + second]
    if more and below:
        lines = [_line(title, _more(more), (first, text_width([more[1]])))]
        widths, more = [first + text_width([more[1]])], None
    head = _table("".join(lines))
    width, height = max(widths), float(LINE_HEIGHT * len(lines))
    if rows or more:
        columns = list(zip(*((row.name, row.data, row.gradient) for row in rows), strict=True)) or [(), (), ()]
        room = [text_width(columns[0], bold=True), text_width([*columns[1], *number])]
        room += [text_width([*columns[2], *slope]) if any(columns[2]) else 0]
        edges = [row.local_grad for row in rows if row.edge_id]
        beside = text_width([*edges, *[f"∂₁₁ {WIDEST}"] * (live and bool(edges))], 9)
        inside = "".join(f"{_row(row, room, beside, below)}" for row in rows)
        height += 8 + ROW_HEIGHT * len(rows) + (16.5 * len(edges) if below else 0)
        width = max(width, sum(room) + 8 + (0 if below else beside))
        if more:
            inside += f"<tr>{_more(more, colspan=2)}</tr>"
            height, width = height + LINE_HEIGHT + 2, max(width, text_width([more[1]]))
        head = _table(f"<tr><td>{head}</td></tr><tr><td>{_table(inside, cellspacing=2)}</td></tr>")
        width, height = width + 4, height + 4
    return Box(f"<{head}>", width + 12, height + 5)


def constant(name: str, data: str) -> Box:
    """Write the label of a constant: its number, and its name if it has one."""
    if not name:
        width = text_width([data])
        cell = f'<tr><td width="{width}">{_text(data)}</td></tr>'
        return Box(f"<{_table(cell)}>", width + 12, LINE_HEIGHT + 5)
    widths = text_width([name], bold=True), text_width([data])
    return Box(f"<{_table(_line(_bold(name), _text(data), widths))}>", sum(widths) + 12, LINE_HEIGHT + 5)


def chip(words: str, color: str, live: bool = False) -> Box:
    """Write a small label on a light ground of its own, as on the edges.

    In a `live` picture there is room for any number after its sign. The page makes the ground.
    """
    if live:
        room = text_width([words, f"{words.partition(' ')[0]} {WIDEST}"], 9)
        cell = f'<tr><td width="{room}">{_colored(color, words)}</td></tr>'
        return Box(f"<{_table(cell)}>", room + 4, 18)
    room = text_width([words], 9)
    ground = _table(f'<tr><td bgcolor="#ffffff" style="rounded" cellpadding="1">{_colored(color, words)}</td></tr>')
    cell = f'<tr><td align="left" width="{room}">{ground}</td></tr>'
    return Box(f"<{_table(cell, cellspacing=2)}>", room + 4, 18)


def legend(looks: Mapping[str, Mapping[str, str]], note: str = "") -> str:
    """Write what the colours stand for, and a note below the picture."""
    cells = "".join(
        f'<td border="{look.get("penwidth", "1")}" style="{",".join(filter(None, ["rounded", look.get("line")]))}" '
        f'color="{look["color"]}" bgcolor="{look["fillcolor"]}" cellpadding="3">{_text(name)}</td>'
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


def _row(row: Row, widths: Sequence[int], beside: int, below: bool) -> str:
    """Write a box for the node, and after it the local derivative. By the links, `Diagram.svg` finds them."""
    texts = (_bold(row.name), _text(row.data), _colored(GRADIENT, row.gradient))
    cells = "".join(
        f'<td align="left" width="{width}">{cell}</td>' for width, cell in zip(widths, texts, strict=True) if width
    )
    look = f'border="{row.look.get("penwidth", "1")}" color="{row.look["color"]}" bgcolor="{row.look["fillcolor"]}"'
    if "dotted" in row.look["style"]:
        look += ' style="dotted"'
    inside = _table(f"<tr>{cells}</tr>", cellpadding=2)
    node = f'<td id="{row.id}" href="#{row.look["class"].split()[0]}" port="{row.id}" {look}>{inside}</td>'
    local_grad = f'<font point-size="9" color="{LOCAL}">{_text(row.local_grad)}</font>'
    edge = f'<td id="{row.edge_id}" href="#edge" align="left" width="{beside}">{local_grad}</td>' if row.edge_id else ""
    return f"<tr>{node}</tr>" + f"<tr>{edge}</tr>" * bool(edge) if below else f"<tr>{node}{edge}</tr>"


def _line(left: str, right: str, widths: tuple[int, int], align: str = "left") -> str:
    """Write a row of two cells; `right` may be a cell already."""
    first = f'<td align="left" width="{widths[0]}">{left}</td>'
    second = right if right.startswith("<td") else f'<td align="{align}" width="{widths[1]}">{right}</td>'
    return f"<tr>{first}{second}</tr>"


def _more(more: tuple[str, str], colspan: int = 1) -> str:
    """Write the cell of a sign that something is not drawn."""
    id, words = more
    align = "left" if colspan > 1 else "right"
    return f'<td id="{id}" href="#more" align="{align}" colspan="{colspan}">{_colored(MUTED, words)}</td>'


def _table(rows: str, cellspacing: int = 0, cellpadding: int = 1) -> str:
    return f'<table border="0" cellborder="0" cellspacing="{cellspacing}" cellpadding="{cellpadding}">{rows}</table>'


# The widths of letters in DejaVu Sans, which are those of the widest font that browsers take where there is no
# Helvetica: boxes that hold them hold others. In parts of the font's size.
_WIDTHS = {
    " -'(),./:;I[]fijlrt|": 0.4,
    "\u2070¹²³⁴⁵⁶⁷⁸⁹⁻₀₁₂₃₄₅₆₇₈₉ₖⱼᵢ⁽⁾′″,": 0.43,
    "mwMW%@—…⋯": 1.0,
    "GHNOQUDC×−+=~±√Σ": 0.84,
}
_WIDTH = {letter: width for letters, width in _WIDTHS.items() for letter in letters}


def text_width(texts: Iterable[str], size: int = 11, bold: bool = False) -> int:
    """Return how many points wide the cell of the widest of these texts is, with a small space after it; 0 for none."""
    # fsum and not sum, which from Python 3.12 on rounds otherwise: a picture is the same on all of them
    widest = max((fsum(map(_letter, line)) for words in texts for line in words[:40].split("\n")), default=0)
    return ceil(widest * size * (1.12 if bold else 1)) + 5 if widest else 0


def _letter(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.4
    return _WIDTH.get(letter, 0.66 if letter.isascii() else 0.75)
