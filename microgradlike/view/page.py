"""The backward pass as a page that steps through it: pictures by `draw`, numbers by `explain`.

What there is to show is written down here, as one JSON text, and the scripts in `browser/` show it. A
notebook gets an <img> of the graph, which stays where no script may run, and a script that puts the page in
its place where one may. A saved page is the same with a head around it. Nothing is ever fetched.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
import struct
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from microgradlike import ops
from microgradlike.graph import computed_numbers, same_numbers
from microgradlike.notation import formula
from microgradlike.notation.digits import format_number
from microgradlike.notation.names import node_names
from microgradlike.primitive import Operation
from microgradlike.recording import Choice, all_inputs, full_order
from microgradlike.value import Value, topological_order
from microgradlike.view import javascript
from microgradlike.view.boxes import clean_for_svg
from microgradlike.view.diagram import Diagram
from microgradlike.view.dot import TooManyNodes, drawing
from microgradlike.view.drawing import Drawing
from microgradlike.view.explanation import Explanation, explain
from microgradlike.view.files import replace_file
from microgradlike.view.grid import network_groups
from microgradlike.view.layers import matrix_forms
from microgradlike.view.style import GRADIENT, LOCAL

# Put together as plain text within one function: a module could not be imported from a file without a server, and
# a notebook's output has no address to import from. They declare functions only, so that any order will do.
SCRIPTS = [
    "page", "elements", "digits", "arithmetic", "engine", "passes", "picture", "zoom", "quiz", "panels", "matrix", "controls",
    "stage", "keys", "address", "theme", "links", "flow", "heat",
]  # fmt: skip
MOST_NODES = 500  # a picture of more would bring a browser to a standstill
LONGEST_FORMULA = 110  # above the picture, in characters
MOST_NOTES = 4  # of what is not drawn
MOST_NEURONS = 30  # of more than these, each has no picture of its own in which it alone is open


def steps(
    loss: Value,
    *,
    quiz: bool = False,
    tolerance: float = 0.01,
    depth: int | None = None,
    only: Iterable[Value] | None = None,
    color_by: Callable[[Value], str | None] | None = None,
) -> Steps:
    """Show the forward and the backward pass of `loss`, one step after the other.

    In a notebook the result shows itself. `steps(loss).save("backward.html")` writes a page that
    needs nothing else, and computes both passes anew where a leaf is given another number;
    `.save("backward.svg")` writes a picture that plays, and `.widget()` is the page with its step
    and its numbers at hand in Python. Layers and neurons as `nn` labels them are boxes that open.

    - quiz: begin by asking for each gradient before it is shown. An answer is right if it is off by
      no more than `tolerance` times the gradient.
    - depth: show only the nodes up to this many edges away from the loss.
    - only: show only the nodes on the ways from these to the loss.
    - color_by: a function from a node to a name or None, as in `draw`. `program.name_of` of a `vectorize`d
      loss shows which array of the matrix form each node belongs to.

    Raises TypeError for anything but a Value, and ValueError for a tolerance that is no fraction, and for more than
    500 nodes to draw that no boxes hold together. Where there is no Graphviz, what is saved or shown raises
    RuntimeError.
    """
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance={tolerance!r}: expected a fraction, such as 0.01 for one per cent")
    return Steps(explain(loss), quiz, tolerance, depth, None if only is None else tuple(only), color_by)


@dataclass(frozen=True, eq=False, repr=False)
class Steps:
    """What `steps` returns: a page that steps through the `explanation`."""

    explanation: Explanation
    quiz: bool = False
    tolerance: float = 0.01
    depth: int | None = None
    only: tuple[Value, ...] | None = None
    color_by: Callable[[Value], str | None] | None = None

    def __post_init__(self) -> None:
        if len(self._drawing.index) <= MOST_NODES or (self._drawing.path and self.views):
            return
        try:  # now, not when a notebook shows it
            self._plan(MOST_NODES)
        except TooManyNodes as large:
            raise TooManyNodes(
                f"{large.nodes:,} nodes to draw, and {MOST_NODES} is the most that a page can show: "
                f"steps(loss, depth={large.depth}) shows those nearest to the loss, steps(loss, only=[w]) those between "
                "w and it, and draw(loss, clusters=part_of, closed=True) all of them, in a box for each part",
                large.nodes,
                large.depth,
            ) from None

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page (.html) or a picture that plays the passes (.svg), and return its path.

        The file is replaced as a whole, or left as it was. Raises ValueError for another suffix, and
        RuntimeError where there is no Graphviz.
        """
        path = Path(path)
        if path.suffix.lower() == ".html":
            text = self.document()
        elif path.suffix.lower() == ".svg":
            from microgradlike.view.animation import animate

            text = animate(self.explanation, self.views[-1][2], self._index)
        else:
            raise ValueError(f"cannot save {str(path)!r}: expected a name that ends in .html or .svg")
        return replace_file(path, text.encode())

    def widget(self) -> Any:
        """Return the page as an anywidget, with a slider for each leaf: what if w were 2?"""
        from microgradlike.view.widget import StepsWidget

        return StepsWidget(self)

    @cached_property
    def order(self) -> list[Value]:
        """The nodes by number: node i has the id n{i} in the pictures."""
        return topological_order(self.explanation.root)

    @cached_property
    def _open(self) -> Diagram:
        return self._drawn(())

    def _drawn(self, closed: Iterable[tuple[str, ...]]) -> Diagram:
        return replace(self._drawing, closed=set(closed)).write()

    @cached_property
    def _drawing(self) -> Drawing:
        """The picture with every box open, not yet written: what all pictures have in common."""
        return self._plan(math.inf)

    def _plan(self, max_nodes: float) -> Drawing:
        it = self.explanation
        grad = {step.node: format_number(step.upstream) for step in it.steps}
        part = {"depth": self.depth, "only": self.only, "color_by": self.color_by, "max_nodes": max_nodes}
        return drawing(it.root, grad=grad, names=it.names, live=True, **part)  # type: ignore[arg-type]

    @cached_property
    def groups(self) -> list[tuple[str, ...]]:
        """The layers and neurons there are: group number g is c{g} in the pictures."""
        return [tuple(title.split(", ")) for id, title in self._open.titles.items() if id[0] == "c"]

    @cached_property
    def views(self) -> list[tuple[str, list[tuple[str, ...]], Diagram]]:
        """The pictures there are: the name of each and the boxes that are closed in it. The first is shown first."""
        layers: list[tuple[str, ...]] = [group for group in self.groups if len(group) == 1]
        neurons: list[tuple[str, ...]] = [group for group in self.groups if len(group) > 1]
        wanted = [("neurons as boxes", neurons), ("layers as boxes", layers)] if layers else []
        if len(layers) > 1:
            for layer in layers:
                own = [neuron for neuron in neurons if neuron[:1] == layer]
                wanted.append((f"{layer[0]} opened", [*(other for other in layers if other != layer), *own]))
        if 1 < len(neurons) <= MOST_NEURONS:
            wanted += [(f"{', '.join(one)} opened", [other for other in neurons if other != one]) for one in neurons]
        views = [(name, closed, self._drawn(closed)) for name, closed in wanted] + [("every node", [], self._open)]
        return [view for view in views if _size(view[2]) <= MOST_NODES]

    @cached_property
    def note(self) -> str:
        """What is not shown, in words; "" if everything is."""
        left_out = [*self._open.left_out[:MOST_NOTES], *["…"][: len(self._open.left_out) > MOST_NOTES]]
        not_drawn = f"Not drawn: {'; '.join(left_out)}." if left_out else ""
        if any(name == "every node" for name, _, _ in self.views):
            return not_drawn
        return (
            f"{_size(self._open):,} nodes are too many to draw one by one ({MOST_NODES} are the most): neurons and "
            "layers are boxes. steps(loss, depth=4) shows the nodes nearest to the loss, steps(loss, only=[w]) those "
            f"between w and it. {not_drawn}"
        ).rstrip()

    @cached_property
    def data(self) -> dict[str, Any]:
        """All that the page shows besides the pictures; numbers are exact, and what follows from them is left out.

        Nodes that only a branch which was not taken needs come last; `sequence` then is the order of all.
        """
        it, place = self.explanation, {group: g for g, group in enumerate(self.groups)}
        everything = full_order(it.root)
        nodes = [*self.order, *(node for node in everything if node not in self._index)]
        index = {node: i for i, node in enumerate(nodes)}
        return _cleaned(_without_none(  # type: ignore[no-any-return]
            title=f"Backward pass of {it.names[it.root]}, step by step",
            formula=_equations(it),
            note=self.note,
            quiz=self.quiz,
            tolerance=self.tolerance,
            root=index[it.root],
            **_packed(self._nodes(index, place)),
            sequence=[index[node] for node in everything] if len(nodes) > len(self.order) else None,
            shown=[int(f"n{i}" in self._open.titles) for i in range(len(nodes))],
            groups=[_without_none(name=", ".join(group), parent=place.get(group[:-1])) for group in self.groups],
            views=[{"name": name, "closed": [place[group] for group in closed]} for name, closed, _ in self.views],
            layers=matrix_forms(it, index),
        ))  # fmt: skip

    def _nodes(self, index: dict[Value, int], place: dict[tuple[str, ...], int]) -> list[dict[str, Any]]:
        """Return for each node what it is called, how it was made, and its recorded numbers."""
        it, numbers = self.explanation, {key: i for i, key in enumerate(self.rules)}
        data = {step.node: step.data for step in it.steps}
        names = {**node_names(index, it.root), **it.names}
        groups = network_groups([node for i, node in enumerate(self.order) if f"n{i}" in self._open.titles])

        def described(node: Value) -> dict[str, Any]:
            op, inputs, choice = node.op, node.inputs, isinstance(node, Choice)
            rule = numbers.get((op, len(inputs)))
            value = data.get(node, node.data)
            left_out = False  # what the page will compute to the bit
            if rule is not None and javascript.is_exact(self.rules[op, len(inputs)]):
                computed = computed_numbers(node, [data.get(input, input.data) for input in inputs])
                left_out = same_numbers((value, *node.local_grads), computed)
            return _without_none(
                name=names[node],
                wrapped=_wrapped(names[node]),
                value=None if left_out else _exact(value),
                constant=op is ops.CONSTANT or None,
                group=place.get(groups.get(node, ())),
                **_without_none(
                    made=formula.expression(node, names, depth=1),
                    inputs=[index[input] for input in inputs],
                    locals=None if left_out else [_exact(local_grad) for local_grad in node.local_grads],
                    formulas=[formula.derivative(node, k, names) for k in range(len(inputs))],
                    choice=[index[each] for each in all_inputs(node)] if choice else None,
                    rule=rule,
                    only=op.name if rule is None else None,
                )
                if inputs
                else {},
            )

        return list(map(described, index))

    @cached_property
    def rules(self) -> dict[tuple[Operation, int], str]:
        """The operations of the graph as JavaScript, each for so many inputs."""
        rules: dict[tuple[Operation, int], str] = {}
        for op, n in dict.fromkeys((node.op, len(node.inputs)) for node in full_order(self.explanation.root)):
            with suppress(Exception):  # whatever a user's rule does with a symbol: it then runs in Python only
                if n:
                    rules[op, n] = javascript.function_of(op, n)
        return rules

    @cached_property
    def _index(self) -> dict[Value, int]:
        return {node: i for i, node in enumerate(self.order)}

    @cached_property
    def id(self) -> str:
        """What the ids in the page begin with. The same for the same content, so that notebooks do not change."""
        content = json.dumps(self.data) + "".join(diagram.source for _, _, diagram in self.views)
        return "steps-" + hashlib.sha256(content.encode()).hexdigest()[:8]

    @cached_property
    def pictures(self) -> list[str]:
        """The pictures of `views` as SVG."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda view: view[2].svg(f"{self.id}-"), self.views))

    def module(self) -> str:
        """Return the page as the module that anywidget loads."""
        css, rules = _in_script(_style()), javascript.script(self.rules.values())
        return _scripts() + _file("widget.js").replace("CSS", css, 1).replace("RULES", rules, 1)

    def image(self) -> str:
        """Return the first of the pictures as an <img>, which any page shows, and how to make it move."""
        picture = base64.b64encode(self.pictures[0].encode()).decode()
        return (
            f'<img alt="{escape(self._open.titles["graph"])}" src="data:image/svg+xml;base64,{picture}">\n'
            "<p><small>A still picture. It moves where scripts may run: trust the notebook, or run its cell.</small></p>"
        )

    def fragment(self, alone: bool = False) -> str:
        """Return the page as an element to stand in another one, or `alone` in a page of its own."""
        data, others = _in_script({**self.data, "id": self.id}), _in_script(_shared(self.pictures))
        # Notebooks replace scripts by copies of them, and may show the same output twice: hence the search.
        return f"""<div id="{self.id}" data-lm-suppress-shortcuts="true">
{self.image()}
<script>(() => {{
"use strict";
const host = document.currentScript?.closest("#{self.id}")
  || [...document.querySelectorAll("#{self.id}")].find((each) => !each.shadowRoot);
if (!host) return;
{_scripts()}
const picture = host.querySelector("img").src.split(",")[1];
const first = new TextDecoder().decode(Uint8Array.from(atob(picture), (each) => each.charCodeAt(0)));
show(host, {data}, {javascript.script(self.rules.values())}, joinPictures(first, {others}), {_in_script(_style())}, {{ alone: {str(alone).lower()} }});
}})();</script>
</div>"""

    def document(self) -> str:
        """Return the page as the text of an HTML file."""
        return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(self.data["title"])}</title>
<style>:root {{ color-scheme: light dark }} body {{ margin: 0 }} img {{ max-width: 100% }}</style>
<main>
{self.fragment(alone=True)}
</main>
</html>
"""

    def __str__(self) -> str:
        return str(self.explanation)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.fragment()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        try:
            return {"text/html": self.fragment(), "text/plain": str(self)}
        except RuntimeError as no_picture:
            return {"text/plain": f"{self}\n\n{no_picture}"}


def _packed(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the nodes with their numbers as base64 of doubles, without what the page can tell by itself.

    In a product, as in w·x + b, the local derivative by a factor is the other factor, and by b it is 1: there no
    `formulas` are given.
    """
    values = [node.pop("value", None) for node in nodes]
    for node in nodes:
        inputs = node.get("inputs", [])
        n = len(inputs) // 2
        others = [nodes[i]["name"] for i in (*inputs[n : 2 * n], *inputs[:n])]
        if inputs and node["formulas"] == others + len(inputs) % 2 * ["1"]:
            del node["formulas"]
    given = [float(value) for value in values if value is not None]
    return {"nodes": nodes, "values": base64.b64encode(struct.pack(f"<{len(given)}d", *given)).decode()}


def _shared(pictures: list[str]) -> list[Any]:
    """Return what `joinPictures` in the page makes the pictures of, given the first: most parts stand in several.

    The parts that are not in the first come first, then a list of numbers of parts for each of the others.
    """
    split = [picture.split("</g>") for picture in pictures]
    number = {part: n for n, part in enumerate(dict.fromkeys(part for parts in split for part in parts))}
    return [list(number)[len(set(split[0])) :], *([number[part] for part in parts] for parts in split[1:])]


def _size(diagram: Diagram) -> int:
    """Count the boxes in a picture, and the rows in them."""
    return sum(id[0] == "n" for id in diagram.titles)


def _equations(it: Explanation) -> list[str]:
    """Write what the root is computed from, root first: L = d·f, d = e + c. Where more follows, … ends the list."""
    labelled = [step for step in it.steps if step.terms and (step.node.label or step.node is it.root)]
    shown: list[str] = []
    for step in labelled:
        text = f"{step.name} = {formula.expression(step.node, it.names)}"
        if shown and len(text) + sum(map(len, shown)) > LONGEST_FORMULA:
            break
        shown.append(text)
    words = {word for text in shown for word in re.findall(r"\w+", text.partition(" = ")[2])}
    unsaid = any(step.name in words and step.terms and not step.node.label for step in it.steps)
    return [*shown, "…"] if unsaid or len(shown) < len(labelled) else shown


def _wrapped(name: str) -> str | None:
    """Return how the name stands in ∂L/∂name, if not as it is."""
    stands = formula.within_quotient(name)
    return None if stands == name else stands


def _exact(x: float) -> float | str:
    """Return a number as JSON can hold it: inf and nan as text."""
    return x if math.isfinite(x) else str(x)


def _without_none(**entries: Any) -> dict[str, Any]:
    return {key: value for key, value in entries.items() if value is not None}


def _cleaned(data: Any) -> Any:
    """Replace the characters in the data's texts that no file can hold."""
    if isinstance(data, dict):
        return {key: _cleaned(value) for key, value in data.items()}
    if isinstance(data, list):
        return list(map(_cleaned, data))
    return clean_for_svg(data) if isinstance(data, str) else data


def _scripts() -> str:
    """Return the scripts of the page, one after the other."""
    return "".join(_file(f"{name}.js") for name in SCRIPTS)


@cache
def _file(name: str) -> str:
    """Return a file of `browser/` without comments and the spaces that only people need."""
    text = (resources.files("microgradlike.view") / "browser" / name).read_text(encoding="utf-8")
    if name.endswith(".css"):
        return re.sub(r"\s*([{};,>])\s*|(:) (?=\S)", r"\1\2", text).replace(";}", "}")
    text = re.sub(r"^\s*//.*\n|^\s+|[ \t]+// .*$", "", text, flags=re.MULTILINE)
    return re.sub(r"(?<=[{;,(])\n", "", "".join(map(_squeeze, text.splitlines(keepends=True))))


def _squeeze(line: str) -> str:
    """Drop the spaces around operators, outside strings; a line with a template or a pattern stays as it is."""
    if "`" in line or "/" in line:
        return line
    parts = re.split(r'("(?:\\.|[^"\\])*")', line)
    signs = r" ?(=>|[=!<>]=+|&&|\|\||[,;:?=(){}[\]]) ?| ([+*<>%-]) (?![+-])"  # a - -b keeps its spaces
    parts[::2] = [re.sub(signs, r"\1\2", part) for part in parts[::2]]
    return "".join(parts)


def _style() -> str:
    """Return the page's style sheet, in the colours of the pictures."""
    return _file("page.css").replace("GRADIENT", GRADIENT).replace("LOCAL", LOCAL)


def _in_script(data: Any) -> str:
    """Write JSON that ends no script it stands in: `</script>` and `<!--` are markup even within a string."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return re.sub("<(?=[/!sS])|[\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text)
