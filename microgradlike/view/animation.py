"""The forward and the backward pass as a picture that plays by itself, wherever an <img> can stand.

It is the picture that `draw` makes, with CSS animations in it: every text, mark and line that comes
and goes is there all the time, and visible for its part of the film. Where nothing may move
(prefers-reduced-motion, or a viewer without CSS) the state after the last step is what one sees.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any
from xml.etree import ElementTree

from microgradlike.notation import formula
from microgradlike.notation.digits import format_number
from microgradlike.value import Value
from microgradlike.view.diagram import Diagram
from microgradlike.view.explanation import Explanation
from microgradlike.view.table import STYLES, Piece, clean

START, FORWARD, BACKWARD, END = 1.5, 1.0, 2.5, 5.0  # seconds
MOST_LINES = 4  # under the picture
SCALE = 1.5  # of the whole, to be read from afar
LINE, SIZE, LETTER = 18, 12, 7.3  # the height of a line, of a letter, and its width
ACTIVE = {"stroke": "#a33c00", "stroke-width": "3", "fill": "#ffd9a0"}
RECEIVES = {"stroke": "#0058a3", "stroke-width": "2.5", "stroke-dasharray": "7 3", "fill": "#cfe6fa"}
ALONG = {"stroke": "#a33c00", "stroke-width": "2.5"}

SVG, XML = "http://www.w3.org/2000/svg", "http://www.w3.org/XML/1998/namespace"
OUTLINES = (f"{{{SVG}}}path", f"{{{SVG}}}polygon")
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")


@dataclass
class Frame:
    """One step of the film: how long it stands, what is said under the picture, and what lights up."""

    seconds: float
    lines: list[list[Piece]]
    data: dict[Value, str]  # the numbers that stand in the nodes
    gradients: dict[Value, str]
    marks: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # ids, each with the look it takes on


def animate(it: Explanation, diagram: Diagram, index: Mapping[Value, int]) -> str:
    """Return the film of the two passes as the text of an SVG file. Node v has the id n{index[v]} in the diagram."""
    frames = list(_frames(it, index, diagram.titles))
    film = _Film(diagram.svg(), [frame.seconds for frame in frames])
    for node, i in index.items():
        film.write(f"n{i}", [f.data.get(node, "–") for f in frames], [f.gradients.get(node, "–") for f in frames])
    for at, frame in enumerate(frames):
        for id, look in frame.marks:
            film.mark(id, look, at)
    return film.text([frame.lines for frame in frames])


def _frames(it: Explanation, index: Mapping[Value, int], drawn: Container[str]) -> Iterator[Frame]:
    data = {step.node: format_number(step.data) for step in it.steps if not step.terms}
    gradients: dict[Value, str] = {}
    yield Frame(START, [[("The leaves hold their numbers.", "dim")]], dict(data), {})
    for step in it.forward:
        if step.terms:
            data[step.node] = format_number(step.data)
            if (id := f"n{index[step.node]}") in drawn:
                line = [(step.name, "product"), (f" = {step.definition} = ", ""), (data[step.node], "product")]
                edges = [(f"e{index[step.node]}_{term.position}", ALONG) for term in step.terms]
                yield Frame(FORWARD, [[("forward:  ", "dim"), *line]], dict(data), {}, [*edges, (id, ACTIVE)])
    gradients[it.root] = format_number(1.0)
    root = formula.gradient(it.names[it.root], it.names[it.root])
    seed = [("backward begins with the seed:  ", "dim"), (f"{root} = {gradients[it.root]}", "upstream")]
    yield Frame(BACKWARD, [seed], data, dict(gradients), [(f"n{index[it.root]}", ACTIVE)])
    for step in it.steps:
        gradients |= {term.input: format_number(term.after) for term in step.terms}
        terms = [term for term in step.terms if not term.constant]
        if terms and (id := f"n{index[step.node]}") in drawn:
            lines = [line for term in terms for line in (it.chain_rule(term), it.running_sum(term)) if line]
            if len(lines) > MOST_LINES:
                lines[MOST_LINES - 1 :] = [[(f"… and {len(lines) - MOST_LINES + 1} lines more like these", "dim")]]
            edges = [(f"e{index[step.node]}_{term.position}", ALONG) for term in terms]
            receive = [(f"n{index[term.input]}", RECEIVES) for term in terms]
            yield Frame(BACKWARD, lines, data, dict(gradients), [*edges, *receive, (id, ACTIVE)])
    yield Frame(END, [[("Every gradient is there.", "dim")]], data, gradients)


class _Film:
    """An SVG in which things are visible for a part of the time."""

    def __init__(self, svg: str, seconds: list[float]) -> None:
        self.svg = ElementTree.fromstring(svg)
        self.elements = {element.get("id"): element for element in self.svg.iter() if element.get("id")}
        self.begins = [0.0, *accumulate(seconds)]
        self.rules: dict[str, str] = {}

    def write(self, id: str, data: list[str], gradients: list[str]) -> None:
        """Let the data and the gradient in a node be what the lists say for each frame."""
        node = self.elements.get(id)
        texts = [] if node is None else node.findall(f"{{{SVG}}}text")
        if texts and (texts[-1].text or "").startswith("∇"):
            self._vary(node, texts[-1], [f"∇ {gradient}" for gradient in gradients])
            self._vary(node, texts[-2], data)

    def _vary(self, node: Any, text: Any, contents: list[str]) -> None:
        changes = [i for i, content in enumerate(contents) if i == 0 or content != contents[i - 1]]
        for i, end in zip(changes, [*changes[1:], len(contents)], strict=True):
            variant = deepcopy(text)
            variant.text = contents[i]
            node.append(self._visible(variant, i, end))
        node.remove(text)

    def mark(self, id: str, look: dict[str, str], at: int) -> None:
        """Light up a node or an edge in one frame: a copy of its outline in another look, under its text."""
        element = self.elements.get(id)
        if element is None:
            return
        outlines = [each for each in element if each.tag in OUTLINES and not each.get("class")]
        if look is not ALONG:
            outlines = [each for each in outlines if each.get("fill") != "none"][:1]
        for outline in outlines:
            if outline.get("stroke") != "none":  # that is the ground that a number stands on
                copy = deepcopy(outline)
                copy.attrib |= look
                if look is ALONG and outline.get("fill") != "none":  # the head of the arrow
                    copy.set("fill", look["stroke"])
                element.insert(list(element).index(outline) + 1, self._visible(copy, at, at + 1))

    def _visible(self, element: Any, start: int, end: int) -> Any:
        """Show the element from one frame up to another; where nothing is animated, in the last frame."""
        if start == 0 and end == len(self.begins) - 1:
            return element
        name = f"f{start}-{end}"
        if name not in self.rules:
            total = self.begins[-1]
            turns = [(0.0, int(start == 0)), (self.begins[start] / total, 1)]
            if end < len(self.begins) - 1:
                turns.append((self.begins[end] / total, 0))
            stages = "".join(f"{share:.3%}{{opacity:{opacity}}}" for share, opacity in turns)
            self.rules[name] = f"@keyframes {name}{{{stages}}}.{name}{{animation:{name} {total:g}s step-end infinite}}"
        element.set("class", name)
        if end < len(self.begins) - 1:
            element.set("opacity", "0")
        return element

    def text(self, lines: list[list[list[Piece]]]) -> str:
        """Return the whole SVG, with the lines of each frame under the picture."""
        _, _, width, height = map(float, self.svg.get("viewBox", "").split())
        most = max(map(len, lines))
        longest = max(sum(len(text) for text, _ in line) for frame in lines for line in frame)
        wide, high = max(width, longest * LETTER + 24), height + most * LINE + 16
        self.svg.set("viewBox", f"{(width - wide) / 2:.0f} 0 {wide:.0f} {high:.0f}")
        self.svg.set("width", f"{SCALE * wide:.0f}")
        self.svg.set("height", f"{SCALE * high:.0f}")
        left = (width - wide) / 2 + 4
        panel = {"x": f"{left:.0f}", "y": f"{height:.0f}", "width": f"{wide - 8:.0f}", "height": f"{most * LINE + 12}"}
        ElementTree.SubElement(self.svg, "rect", {**panel, "rx": "6", "fill": "#f3f5f8", "stroke": "#808a96"})
        for at, frame in enumerate(lines):
            for i, line in enumerate(frame):
                place = {"x": f"{left + 8:.0f}", "y": f"{height + 20 + i * LINE:.0f}", "fill": "#1f2328"}
                font = {"font-family": "ui-monospace,Menlo,Consolas,monospace", "font-size": f"{SIZE}"}
                said = self._visible(ElementTree.SubElement(self.svg, "text", {**place, **font}), at, at + 1)
                said.set(f"{{{XML}}}space", "preserve")
                for text, role in line:
                    ElementTree.SubElement(said, "tspan", {"style": _fill(role)}).text = clean(text)
        style = ElementTree.Element("style")
        style.text = f"@media (prefers-reduced-motion: no-preference){{{''.join(self.rules.values())}}}"
        self.svg.insert(0, style)
        return ElementTree.tostring(self.svg, encoding="unicode")


def _fill(role: str) -> str:
    return STYLES[role][1].replace("color:", "fill:").replace("opacity:", "fill-opacity:")
