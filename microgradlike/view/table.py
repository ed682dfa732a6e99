"""A table that shows itself: as plain text, in colour through rich, and as HTML in a notebook.

It is written in pieces, each a text with the role it plays ("upstream", "local", …); how a role
looks is said here, once. Nothing in a piece is ever taken for markup, whatever a label holds.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from html import escape
from itertools import groupby
from typing import Any

from microgradlike.support.extras import needed_for
from microgradlike.view.style import GRADIENT, LOCAL

Piece = tuple[str, str]  # a text and its role
Row = Sequence[Sequence[Piece]]  # of no cell (a gap), one (a line of its own) or two (two columns)

WIDTH = 80  # of plain text
WIDEST = 100  # in a terminal that has room
GAP = 3
INDENT = 6  # of what a line continues


def _tint(color: str) -> str:
    """Write a colour that can be read on white and on black: mixed with that of the text around it."""
    return f"color:{color};color:color-mix(in srgb,{color} 65%,currentColor)"


# Orange and blue are told apart by every eye.
STYLES = {
    "": ("", ""),
    "strong": ("bold", "font-weight:bold"),
    "dim": ("dim", "opacity:.75"),
    "upstream": ("color(166)", _tint(GRADIENT)),
    "local": ("color(32)", _tint(LOCAL)),
    "product": ("bold", "font-weight:bold"),
}


class Table:
    """Rows of one or two cells. The second cells stand in one column, or, where too few rows have room, all below."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = [[[(clean(text), role) for text, role in cell] for cell in row] for row in rows]

    def lines(self, width: int = WIDTH) -> Iterator[list[Piece]]:
        """Lay the table out in lines of at most `width` cells, as far as its words can be parted."""
        sizes = [[_width(cell) for cell in row] for row in self.rows]
        column = _column(Counter((size[0] + GAP, size[1]) for size in sizes if len(size) == 2), width)
        starts = (len(text) - len(text.lstrip()) for row in self.rows if len(row) == 2 for text, _ in row[0][:1])
        below = max(INDENT, max(starts, default=0) + GAP)  # where second cells start that have no room beside the first
        for row, size in zip(self.rows, sizes, strict=True):
            if len(size) < 2:
                yield from _fold(row[0], width) if row and size[0] > width else row or [[]]
            elif size[0] + GAP <= column and column + size[1] <= width:
                yield [*row[0], (" " * (column - size[0]), ""), *row[1]]
            else:
                start = column if below < column <= width - size[1] else below
                yield from _fold(row[0], width)
                yield from _fold([(" " * start, ""), *row[1]], width)

    def __str__(self) -> str:
        return "\n".join("".join(text for text, _ in line).rstrip() for line in self.lines())

    __repr__ = __str__

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from rich.text import Text

        for line in self.lines(min(options.max_width, WIDEST)):
            yield Text.assemble(*((text, STYLES[role][0]) for text, role in line))

    def _repr_html_(self) -> str:
        """Write a table without classes or ids, so that it neither takes on nor leaks any style."""
        cell = "text-align:left;vertical-align:top;padding:1px 3em 1px 0;border:0;background:none;white-space:pre"
        lines = []
        for row in self.rows:
            span = ' colspan="2"' if len(row) < 2 else ""
            cells = "".join(f'<td{span} style="{cell}">{_html(pieces) or "&#160;"}</td>' for pieces in row or [[]])
            lines.append(f'<tr style="background:none">{cells}</tr>')
        return (
            '<div tabindex="0" style="overflow-x:auto"><table style="border-collapse:collapse;border:0;margin:0;color:inherit;'
            'font-family:ui-monospace,Menlo,Consolas,monospace;font-size:13px;line-height:1.4">'
            f"<tbody>{''.join(lines)}</tbody></table></div>"
        )


def terminal() -> Any:
    """Return the console to print to: it takes nothing in a table or text for markup, or for an emoji's name.

    Where nobody reads the output any more, BrokenPipeError is raised, as by `print`.
    """
    with needed_for("the command line"):
        from rich.console import Console

    class Terminal(Console):
        def on_broken_pipe(self) -> None:  # rich itself would exit with code 1
            raise

    return Terminal(markup=False, emoji=False, highlight=False)


def _column(sizes: Counter[tuple[int, int]], width: int) -> int:
    """Return where the second cells start: where most rows have room; 0, if that is less than three in five."""
    suits = Counter[int]()
    for (least, size), rows in sizes.items():
        suits.update(dict.fromkeys(range(least, width - size + 1), rows))
    best = max(sorted(suits), key=suits.__getitem__, default=0)
    return best if 5 * suits[best] >= 3 * sizes.total() else 0


def clean(text: str) -> str:
    """Replace what would break a line or command a terminal: such characters show as �."""
    return text if text.isprintable() else "".join(map(_visible, text))


@cache
def _visible(character: str) -> str:
    breaks = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    return "�" if breaks and character != "\u200d" else character  # which joins emoji


def _width(cell: Sequence[Piece]) -> int:
    return sum(len(text) if text.isascii() else text_width(text) for text, _ in cell)


@lru_cache(4096)
def text_width(text: str) -> int:
    """Return how many cells of a terminal a text without control characters takes, as rich has it.

    A zero-width joiner draws the next character into the one before it. The variation selector 16 makes an
    emoji, two cells wide, of a symbol.
    """
    shown = re.sub("\u200d.?", "", text)
    emoji = [each for each in re.findall("(.)\ufe0f", shown) if unicodedata.category(each) == "So" or each in _EMOJI]
    return sum(map(_character_width, shown)) + sum(2 - _character_width(each) for each in emoji)


_EMOJI = "#*0123456789‼⁉ℹ↔⤴⤵◻◼"  # that have other categories
_NO_CELL = re.compile("[\u1160-\u11ff\ud7b0-\ud7fb\u3164\uffa0\U0001f3fb-\U0001f3ff]")  # within Hangul; skin tones
_TWO_CELLS = re.compile("[\u2630-\u2637\u268a-\u268f\u4dc0-\u4dff\U0001d300-\U0001d376]")  # since Unicode 16


@lru_cache(4096)
def _character_width(character: str) -> int:
    if unicodedata.category(character)[0] == "M" or _NO_CELL.match(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" or _TWO_CELLS.match(character) else 1


def _fold(cell: Sequence[Piece], width: int) -> Iterator[list[Piece]]:
    """Yield the cell in lines, parted before pieces that start with a space, and in long pieces before their words."""
    pieces = list(_parts(cell, width - INDENT))
    line: list[Piece] = []
    used = 0
    for i, piece in enumerate(pieces):
        size = _width([piece])
        unit = size if i + 1 == len(pieces) or pieces[i + 1][0][:1] == " " else size + _width([pieces[i + 1]])
        if line and piece[0][:1] == " " and used + unit > width:
            yield line
            line, used = [(" " * (INDENT - 1), "")], INDENT - 1
        line.append(piece)
        used += size
    yield line


def _parts(cell: Sequence[Piece], room: int) -> Iterator[Piece]:
    for text, role in cell:
        yield from (
            (part, role) for part in (re.findall(" *[^ ]+ *$| *[^ ]+", text) if text_width(text) > room else [text])
        )


def _html(pieces: Sequence[Piece]) -> str:
    html = ""
    for role, neighbours in groupby(pieces, key=lambda piece: piece[1]):  # nbconvert drops a span of spaces alone
        text = escape("".join(text for text, _ in neighbours))
        text = re.sub("^ +| {2,}", lambda spaces: "\u00a0" * len(spaces[0]), text)  # of others it leaves one
        html += f'<span style="{STYLES[role][1]}">{text}</span>' if role else text
    return html
