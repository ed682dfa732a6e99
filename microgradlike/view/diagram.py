"""A diagram: text in DOT, Graphviz's language, and the pictures that Graphviz makes of it."""

from __future__ import annotations

import base64
import html
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from microgradlike.view.files import replace_file
from microgradlike.view.table import clean

TIME_LIMIT = 60.0  # seconds for Graphviz, which takes half a second for 200 nodes; larger graphs get more


@dataclass(frozen=True, slots=True, repr=False)
class Diagram:
    """What `draw` returns: a picture that can be saved, embedded in a page, or shown by a notebook.

    `source` is its DOT. Node number i of `topological_order(v)` has the id `n{i}`, the edge to it
    from its input number k `e{i}_{k}` (both count from 0), the sign beside it that stands for inputs
    not drawn `m{i}`; clusters are `c0`, `c1`, … in order of appearance, and the whole is `graph`.
    `titles` says in words what each id stands for: in the SVG these are the elements' titles, which
    browsers show under the mouse and screen readers read out. `left_out` says in words what is not drawn.
    """

    source: str
    titles: dict[str, str]
    left_out: tuple[str, ...] = ()

    def svg(self, prefix: str = "") -> str:
        """Return the picture as an `<svg>` element, with `prefix` before every id in it.

        Several pictures in one page need different prefixes, such as "loss-". Raises ValueError
        for a prefix that no id can begin with, RuntimeError where there is no Graphviz.
        """
        if not re.fullmatch(r"([A-Za-z][\w-]*)?", prefix, re.ASCII):
            raise ValueError(f"prefix={prefix!r}: expected a letter, then letters, digits, - or _")
        svg = render(self.source, "svg").decode()
        svg = re.sub(r"<!--.*?-->\n?", "", svg[svg.index("<svg") :], flags=re.DOTALL)
        # A row within a box is a link in the DOT, for Graphviz groups nothing else: here it becomes a
        # node or an edge like the others.
        svg = re.sub(r'<g id="a_(\w+)"><a xlink:href="#(\w+)"[^>]*>(.*?)</a>\s*</g>', _row, svg, flags=re.DOTALL)
        nodes, drawn = {id for id in self.titles if id[0] == "n"}, set(re.findall(r'<g id="(\w+)"', svg))
        if not nodes <= drawn <= self.titles.keys():
            raise RuntimeError("Graphviz drew something other than this graph: is the `dot` on PATH Graphviz's?")
        svg = re.sub(r'(<g id="(\w+)"[^>]*>\s*)(?:<title>[^<]*</title>)?', self._titled, svg)
        svg = svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(self.titles["graph"])}" ', 1)
        return svg.replace(' id="', f' id="{prefix}')

    def _titled(self, group: re.Match[str]) -> str:
        return f"{group[1]}<title>{html.escape(self.titles[group[2]])}</title>"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture in the format that the suffix names, and return its path.

        The file is replaced as a whole, or left as it was. Raises ValueError for a suffix other than
        .svg, .png, .pdf and .dot, RuntimeError where there is no Graphviz (.dot needs none).
        """
        path = Path(path)
        format = path.suffix.lower()
        if format == ".dot":
            picture = self.source.encode()
        elif format == ".svg":
            picture = self.svg().encode()
        elif format in (".png", ".pdf"):
            source = re.sub(r' href="#\w+"', "", self.source)
            picture = render(
                source.replace("bgcolor=transparent", 'bgcolor="#ffffff"', 1), format[1:]
            )  # for dark viewers
        else:
            raise ValueError(f"cannot save {str(path)!r}: expected a name that ends in .svg, .png, .pdf or .dot")
        return replace_file(path, picture)

    def __repr__(self) -> str:
        lines = [title for id, title in self.titles.items() if id.startswith("n")]
        if len(lines) > 12:
            lines[5:-5] = [f"⋯ {len(lines) - 10} more"]
        return "\n  ".join(map(clean, [self.titles["graph"], *lines]))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        try:
            svg = self.svg()
        except RuntimeError as no_picture:
            return {"text/plain": f"{self}\n\n{no_picture}"}
        # An <img> stays when a notebook is reopened without trust; a plain <svg> does not.
        image, alt = base64.b64encode(svg.encode()).decode(), html.escape(self.titles["graph"])
        return {
            "text/html": f'<img alt="{alt}" src="data:image/svg+xml;base64,{image}">',
            "image/svg+xml": svg,
            "text/plain": str(self),
        }


def _row(link: re.Match[str]) -> str:
    id, kind, content = link.groups()
    return f'<g id="{id}" class="{kind if kind == "edge" else f"node {kind}"}">{content}</g>'


_LATE = re.compile(r"^.*\blate=true.*\n", re.MULTILINE)


def render(dot_source: str, format: str) -> bytes:
    """Return the picture of a DOT text, in a format of Graphviz such as "svg", "png" or "pdf".

    Graphviz is the `dot` on PATH or, where there is none or it fails, the one inside the `pygraphviz`
    package. It runs in a process of its own: threads may call this, and its warnings go nowhere.

    Raises RuntimeError, saying what to install, where there is no Graphviz, where it fails, takes
    minutes, or writes something other than a whole picture.
    """
    late = _LATE.findall(dot_source)
    if not late:
        return _run(dot_source, "nop" if "layout=nop" in dot_source else "dot", format)
    placed = _run(_LATE.sub("", dot_source), "dot", "dot").decode()
    return _run(placed.rstrip().removesuffix("}") + "".join(late) + "}", "nop2", format)


def _run(dot_source: str, engine: str, format: str) -> bytes:
    """Run an engine of Graphviz: "dot", or for boxes that have their places "nop", for edges that have theirs "nop2"."""
    seconds = TIME_LIMIT * max(1.0, len(dot_source) / 200_000) ** 2
    options = [f"-T{format}"] + [f"-K{engine}"] * (engine != "dot") + ["-Gdpi=192"] * (format == "png")  # sharp
    failures = []
    for name, command in _graphvizes():
        try:
            done = subprocess.run(
                [*command, *options],
                input=dot_source.encode(),
                capture_output=True,
                timeout=seconds,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows would open one
            )
        except subprocess.TimeoutExpired:
            failures.append(
                f"{name}: no picture within {seconds:.0f} seconds; fewer nodes take less, as of draw(v, depth=3)"
            )
        except OSError as error:
            failures.append(f"{name}: {error}")
        else:
            if done.returncode == 0 and _is_whole(done.stdout, format):
                return done.stdout
            wrong = f"exit code {done.returncode}" if done.returncode else f"what it wrote is no whole {format} picture"
            failures.append(f"{name}: {done.stderr.decode(errors='replace').strip() or wrong}")
    raise RuntimeError(
        "drawing needs Graphviz, and "
        + ("it failed:\n  " + "\n  ".join(failures) + "\n" if failures else "there is none. ")
        + 'Install it by `pip install "microgradlike[draw]"` (pygraphviz, which brings Graphviz along), or see '
        "https://graphviz.org/download (the program `dot` must be on PATH). "
        '`draw(v).save("graph.dot")` works without.'
    )


_ENDS = {"png": (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"), "pdf": (b"%PDF-", b"%%EOF")}


def _is_whole(picture: bytes, format: str) -> bool:
    """Return whether these bytes are a picture from its first to its last."""
    if format == "svg":
        try:
            return ElementTree.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
        except ElementTree.ParseError:
            return False
    start, end = _ENDS.get(format, (b"", b""))
    return bool(picture) and picture.startswith(start) and picture.rstrip(b"\r\n").endswith(end)


def _graphvizes() -> Iterator[tuple[str, list[str]]]:
    """Yield the ways to run Graphviz that there are, each with its name and command."""
    if dot := shutil.which("dot"):
        yield dot, [dot]
    if importlib.util.find_spec("pygraphviz"):
        yield "pygraphviz", [sys.executable, "-P", "-c", _RUN_PYGRAPHVIZ]


_RUN_PYGRAPHVIZ = """
import sys
sys.excepthook = lambda kind, error, trace: print(f"{kind.__name__}: {error}", file=sys.stderr)
import pygraphviz
format, *settings = sys.argv[1:]
engine = settings.pop(0)[2:] if settings and settings[0][:2] == "-K" else "dot"
graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode())
sys.stdout.buffer.write(graph.draw(format=format[2:], prog=engine, args=" ".join(settings)))
"""
