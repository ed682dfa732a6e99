"""The forward and the backward pass as a picture that plays by itself, wherever an <img> can stand.

It is the picture that `draw` makes, with CSS animations in it: every text, mark and line that comes
and goes is there all the time, and visible for its part of the film. In the backward pass the arrows
are turned round, and the products move along them. The film plays a few times and rests on its end.
Where nothing may move (prefers-reduced-motion, or a viewer without CSS) the end is what one sees. Opened
by itself it stops while the pointer is on it; in an <img> nothing can stop it, for there is no script.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any
from xml.etree import ElementTree

from microgradlike.notation import formula
from microgradlike.notation.digits import format_number
from microgradlike.value import Value
from microgradlike.view import style
from microgradlike.view.diagram import Diagram
from microgradlike.view.explanation import Explanation, Step, Term
from microgradlike.view.table import Piece, clean, text_width

# Seconds. A step of the backward pass has three parts: products are formed, move, and arrive at sums.
START, FORWARD, SEED, MULTIPLY, MOVE, ARRIVE, ADD, END = 1.5, 1.2, 2.5, 1.6, 1.0, 1.2, 2.2, 8.0
TURNS = 3  # of the whole film, before it rests on its end
MOST_LINES = 4  # of products and sums under the picture
SCALE = 1.5  # of the whole, to be read from afar
LINE, SIZE, LETTER = 18, 12, 7.3  # the height of a line, of a letter, and its width
CHIP_LINE, CHIP_SIZE, CHIP_LETTER, CHIP_WIDTH = 11, 9, 5.5, 14  # the same of a chip, and the letters in its line
RANKSEP = 0.55  # between columns of nodes, so that a chip has room on an edge
ACTIVE = {"stroke": "#a33c00", "stroke-width": "3", "fill": "#ffd9a0"}
RECEIVES = {"stroke": "#0058a3", "stroke-width": "2.5", "stroke-dasharray": "7 3", "fill": "#cfe6fa"}
ALONG = {"stroke": "#a33c00", "stroke-width": "2.5"}
BESIDE = {"stroke": "#ffffff", "stroke-width": "6", "stroke-linejoin": "round", "paint-order": "stroke"}
PANEL = {"rx": "6", "fill": "#f3f5f8", "stroke": style.LINE}
CHIP = {"rx": "4", "fill": "#ffffff", "stroke": "#a33c00"}
MONOSPACE = {"font-family": "ui-monospace,Menlo,Consolas,monospace", "fill": style.INK}
INKS = {"dim": style.MUTED, "upstream": style.GRADIENT, "local": style.LOCAL}  # of roles; all others have INK

SVG, XML = "http://www.w3.org/2000/svg", "http://www.w3.org/XML/1998/namespace"
HELD = "held while the pointer is on it"
PAUSE = "".join(
    f"svg:{when} *{{animation-play-state:paused!important}}svg:{when} #held{{opacity:1}}"
    for when in ("has(g:hover)", "focus-visible")
)
GROUP, PATH, POLYGON, TEXT = (f"{{{SVG}}}{tag}" for tag in ("g", "path", "polygon", "text"))
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")

Mark = tuple[str, dict[str, str]]  # an id, and the look that it takes on
Chip = tuple[str, list[Piece]]  # the id of an edge or a node, and what stands there


@dataclass
class Frame:
    """A part of the film: how long it stands, what is said under the picture, what lights up, stands and moves."""

    seconds: float
    lines: list[list[Piece]]
    data: dict[Value, str]  # the numbers that stand in the nodes
    gradients: dict[Value, str]
    marks: list[Mark] = field(default_factory=list)
    chips: list[Chip] = field(default_factory=list)
    moving: list[Chip] = field(default_factory=list)
    computed: Value | None = None  # from this frame on its local derivatives are known


def animate(it: Explanation, diagram: Diagram, index: Mapping[Value, int]) -> str:
    """Return the film of the two passes as the text of an SVG file. Node v has the id n{index[v]} in the diagram."""
    frames = list(_frames(it, index, diagram.titles))
    wide = replace(diagram, source=re.sub(r"\branksep=[\d.]+", f"ranksep={RANKSEP}", diagram.source))
    film = _Film(wide.svg(), [frame.seconds for frame in frames])
    for node, i in index.items():
        film.write(f"n{i}", [f.data.get(node, "–") for f in frames], [f.gradients.get(node, "–") for f in frames])
    computed = {frame.computed: at for at, frame in enumerate(frames)}
    back = next(at for at, frame in enumerate(frames) if frame.gradients)
    for step in it.steps:
        for term in step.terms:
            film.edge(_edge(term, index), computed.get(step.node, 0), back, flows=not term.constant)
    for at, frame in enumerate(frames):
        for id, look in frame.marks:
            film.mark(id, look, at, at >= back)
        for chips, moves in ((frame.chips, False), (frame.moving, True)):
            for id, pieces in chips:
                film.chip(id, pieces, at, moves)
    return film.text([frame.lines for frame in frames])


def _frames(it: Explanation, index: Mapping[Value, int], drawn: Container[str]) -> Iterator[Frame]:
    forward, backward = (
        {step: f"{name} {k} of {len(steps)}:  " for k, step in enumerate(steps, start=1)}
        for name, steps in (
            ("forward", [step for step in it.forward if step.terms and f"n{index[step.node]}" in drawn]),
            ("backward", [step for step in it.steps if _wanted(step) and f"n{index[step.node]}" in drawn]),
        )
    )

    def marks(step: Step) -> list[Mark]:
        return [(f"n{index[step.node]}", ACTIVE), *((_edge(term, index), ALONG) for term in _wanted(step))]

    data = {step.node: format_number(step.data) for step in it.steps if not step.terms}
    gradients: dict[Value, str] = {}
    yield Frame(START, [[("forward:  ", "dim"), ("the leaves hold their numbers", "")]], dict(data), {})
    for step in it.forward:
        data[step.node] = format_number(step.data)
        if step in forward:
            line = [(step.name, "product"), (f" = {step.definition} = ", ""), (data[step.node], "product")]
            said = [[(forward[step], "dim"), *line]]
            yield Frame(FORWARD, said, dict(data), {}, marks(step), computed=step.node)
    gradients[it.root] = format_number(1.0)
    seed = (f"{formula.gradient(it.names[it.root], it.names[it.root])} = {gradients[it.root]}", "upstream")
    said = [[("backward:  begins with the seed ", "dim"), seed]]
    yield Frame(SEED, said, data, dict(gradients), [(f"n{index[it.root]}", ACTIVE)])
    for step in it.steps:
        before = dict(gradients)
        gradients |= {term.input: format_number(term.after) for term in step.terms}
        if step in backward:
            terms = _wanted(step)
            head = [(backward[step], "dim"), *it.gradient(step)]
            products = [it.chain_rule(term) for term in terms]
            sums = [line for term in terms if (line := it.running_sum(term))]
            along, receive = marks(step), [(f"n{index[term.input]}", RECEIVES) for term in terms]
            formed = [(_edge(term, index), it.numbers(term)) for term in terms]
            moving = [(_edge(term, index), [(format_number(term.product), "product")]) for term in terms]
            added = {f"n{index[term.input]}": it.running_sum(term)[2:] for term in terms if term.before is not None}
            said = [head, *_few(products)]
            yield Frame(MULTIPLY, said, data, before, along, formed)
            yield Frame(MOVE, said, data, before, [*along, *receive], moving=moving)
            said = [head, *_few(products + sums)]
            yield Frame(ADD if sums else ARRIVE, said, data, dict(gradients), [*along, *receive], [*added.items()])
    yield Frame(END, [[("both passes are done: ", "dim"), ("every gradient is there", "")]], data, gradients)


def _edge(term: Term, index: Mapping[Value, int]) -> str:
    return f"e{index[term.node]}_{term.position}"


def _wanted(step: Step) -> list[Term]:
    return [term for term in step.terms if not term.constant]


def _few(lines: list[list[Piece]]) -> list[list[Piece]]:
    if len(lines) > MOST_LINES:
        more = f"… and {len(lines) - MOST_LINES + 1} lines more like these"
        lines = [*lines[: MOST_LINES - 1], [(more, "dim")]]
    return lines


class _Film:
    """An SVG in which things are visible for a part of the time."""

    def __init__(self, svg: str, seconds: list[float]) -> None:
        self.svg = ElementTree.fromstring(svg)
        self.elements = {element.get("id"): element for element in self.svg.iter() if element.get("id")}
        self.begins = [0.0, *accumulate(seconds)]
        self.rules: dict[str, str] = {}
        self.heads: dict[str, tuple[list[Any], list[Any]]] = {}  # of arrows, in the forward and the backward pass
        self.chips = ElementTree.Element(GROUP, MONOSPACE)  # above everything else
        self.standing = defaultdict[int, list[complex]](list)  # where chips stand in a frame

    def write(self, id: str, data: list[str], gradients: list[str]) -> None:
        """Let the data and the gradient in a node be what the lists say for each frame."""
        node = self.elements.get(id)
        texts: list[Any] = [] if node is None else node.findall(TEXT)
        if texts and texts[-1].text.startswith("∇"):
            self._vary(node, texts[-1], [f"∇ {gradient}" for gradient in gradients])
            self._vary(node, texts[-2], data)

    def _vary(self, node: Any, text: Any, contents: list[str]) -> None:
        changes = [i for i, content in enumerate(contents) if i == 0 or content != contents[i - 1]]
        for i, end in zip(changes, [*changes[1:], len(contents)], strict=True):
            variant = deepcopy(text)
            variant.text = contents[i]
            node.append(self._visible(variant, i, end))
        node.remove(text)

    def edge(self, id: str, known: int, back: int, flows: bool) -> None:
        """Show the local derivative from one frame on, and from another turn the arrow, or take its head off."""
        edge, end = self.elements.get(id), len(self.begins) - 1
        if edge is None:
            return
        for each in list(edge):
            if each.tag == TEXT and _way(edge):  # a row within a box has its ground
                each.attrib |= BESIDE
            if each.tag == TEXT or each.get("stroke") == "none":  # the local derivative, and the ground it stands on
                self._visible(each, known, end)
            elif each.tag == POLYGON:
                turned = _turned(_way(edge), each) if flows else []
                self.heads[id] = [deepcopy(each)], list(map(deepcopy, turned))
                edge[:] = [*edge[: (at := list(edge).index(each)) + 1], *turned, *edge[at + 1 :]]
                self._visible(each, 0, back)
                for part in turned:
                    self._visible(part, back, end)

    def mark(self, id: str, look: dict[str, str], at: int, back: bool) -> None:
        """Light up a node or an edge in one frame: a copy of its outline in another look, under its text."""
        element = self.elements.get(id)
        if element is None:
            return
        lines = [each for each in element if each.tag in (PATH, POLYGON)]
        place = list(element).index(lines[-1]) + 1 if lines else 0
        if look is ALONG:
            lines = [each for each in lines if not each.get("class")]  # not what comes and goes
            outlines = [*lines, *self.heads.get(id, ([], []))[back]]
        else:
            outlines = [each for each in lines if each.get("fill") != "none"][:1]
        for outline in outlines:
            copy = deepcopy(outline)
            copy.attrib |= look
            if look is ALONG and outline.get("fill") != "none":  # the head of the arrow
                copy.set("fill", look["stroke"])
            element.insert(place, self._visible(copy, at, at + 1))

    def chip(self, id: str, pieces: list[Piece], at: int, moves: bool) -> None:
        """Let a text stand on an edge or under a node for one frame, or move along the edge to its input."""
        element = self.elements.get(id)
        if element is None:
            return
        lines = [pieces]
        if len(pieces) > 2 and _length(pieces) > CHIP_WIDTH:  # the result has a line of its own
            lines = [pieces[:-2], [("= ", ""), pieces[-1]]]
        wide, high, place = max(map(_length, lines)) * CHIP_LETTER + 8, len(lines) * CHIP_LINE + 4, _place(element)
        while not moves and any(abs(place.imag - other.imag) < high and abs(place.real - other.real) < wide
                                for other in self.standing[at]):  # fmt: skip
            place += 1j
        chip = ElementTree.Element(GROUP)
        if moves and (way := _way(element)[::-1]):
            chip.set("class", self._moving([place, *way[len(way) // 2 :]], at))
        else:
            self.standing[at].append(place)
            chip.set("transform", f"translate({place.real:.1f},{place.imag:.1f})")
        box = {"x": f"{-wide / 2:.1f}", "y": f"{-high / 2:.1f}", "width": f"{wide:.1f}", "height": f"{high}"}
        ElementTree.SubElement(chip, f"{{{SVG}}}rect", {**box, **CHIP})
        for i, line in enumerate(lines):
            y = (i + 1) * CHIP_LINE - high / 2 - 0.5
            _write(chip, line, {"y": f"{y:.1f}", "text-anchor": "middle", "font-size": f"{CHIP_SIZE}"})
        shown = ElementTree.SubElement(self.chips, GROUP)
        shown.append(chip)
        self._visible(shown, at, at + 1)

    def _moving(self, points: list[complex], at: int) -> str:
        """Return a class that moves along the points during one frame."""
        total, begin, end = self.begins[-1], self.begins[at], self.begins[at + 1]
        name, last = f"m{len(self.rules)}", len(points) - 1
        times = [begin + (end - begin) * (i / last) ** 0.8 for i in range(last + 1)]
        stages = [(0.0, points[0]), *zip([time / total for time in times], points, strict=True), (1.0, points[-1])]
        text = "".join(f"{at:.3%}{{transform:translate({p.real:.1f}px,{p.imag:.1f}px)}}" for at, p in stages)
        self.rules[name] = f"@keyframes {name}{{{text}}}.{name}{{animation:{name} {total:g}s linear {TURNS} both}}"
        return name

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
            rule = f".{name}{{animation:{name} {total:g}s step-end {TURNS}}}"
            self.rules[name] = f"@keyframes {name}{{{stages}}}{rule}"
        element.set("class", name)
        if end < len(self.begins) - 1:
            element.set("opacity", "0")
        return element

    def text(self, lines: list[list[list[Piece]]]) -> str:
        """Return the whole SVG, with the lines of each frame under the picture."""
        self.elements["graph"].append(self.chips)
        _, _, width, height = map(float, self.svg.get("viewBox", "").split())
        most = max(map(len, lines))
        longest = max(_length(line) for frame in lines for line in frame)
        height += CHIP_LINE  # below the lowest node too
        wide, high = max(width, longest * LETTER + 24), height + most * LINE + 16
        self.svg.set("viewBox", f"{(width - wide) / 2:.0f} 0 {wide:.0f} {high:.0f}")
        self.svg.set("width", f"{SCALE * wide:.0f}")
        self.svg.set("height", f"{SCALE * high:.0f}")
        left = (width - wide) / 2 + 4
        panel = {"x": f"{left:.0f}", "y": f"{height:.0f}", "width": f"{wide - 8:.0f}", "height": f"{most * LINE + 12}"}
        said = ElementTree.SubElement(self.svg, GROUP, MONOSPACE)
        ElementTree.SubElement(said, f"{{{SVG}}}rect", panel | PANEL)
        corner = {"x": f"{left + wide - 16:.0f}", "y": f"{high - 12:.0f}", "text-anchor": "end", "font-size": f"{SIZE}"}
        _write(said, [(HELD, "dim")], {**corner, "id": "held", "opacity": "0"})
        for at, frame in enumerate(lines):
            for i, line in enumerate(frame):
                place = {"x": f"{left + 8:.0f}", "y": f"{height + 20 + i * LINE:.0f}", "font-size": f"{SIZE}"}
                self._visible(_write(said, line, place), at, at + 1)
        sheet = ElementTree.Element(f"{{{SVG}}}style")
        sheet.text = f"@media (prefers-reduced-motion: no-preference){{{''.join(self.rules.values())}{PAUSE}}}"
        self.svg.set("tabindex", "0")
        self.svg.set("style", "max-width:100%;height:auto")  # opened by itself it fits the window
        self.svg.insert(0, sheet)
        return ElementTree.tostring(self.svg, encoding="unicode")


def _length(line: Sequence[Piece]) -> int:
    return sum(text_width(text) for text, _ in line)


def _write(parent: Any, line: Sequence[Piece], place: dict[str, str]) -> Any:
    """Add a line of text, each piece in the ink of its role."""
    text = ElementTree.SubElement(parent, TEXT, place)
    text.set(f"{{{XML}}}space", "preserve")
    for content, role in line:
        look = {"fill": INKS[role]} if role in INKS else {"font-weight": "bold"} if role else {}
        ElementTree.SubElement(text, f"{{{SVG}}}tspan", look).text = clean(content)
    return text


# ── Points of the picture, as complex numbers ──────────────────────────────────────────────────


def _points(text: str) -> list[complex]:
    numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]
    return [complex(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]


def _way(edge: Any) -> list[complex]:
    """Return points along an edge from its input to its node; none for an edge that is a row within a box."""
    outline = edge.find(PATH)
    first, *rest = _points(outline.get("d")) if outline is not None else [0j]
    way = [first] if rest else []
    for a, b, c in zip(rest[::3], rest[1::3], rest[2::3], strict=True):  # Bézier curves, at four times each
        for t in (0.25, 0.5, 0.75, 1.0):
            s = 1 - t
            way.append(s**3 * first + 3 * s * s * t * a + 3 * s * t * t * b + t**3 * c)
        first = c
    return way


def _turned(way: list[complex], head: Any) -> list[Any]:
    """Return the head of an arrow at the other end of its way, and a line in the place of the old one."""
    left, tip, right, *_ = _points(head.get("points"))
    length, half = abs(tip - (left + right) / 2), abs(left - right) / 2
    near = next((point for point in way if abs(point - way[0]) >= length), way[-1])
    foot = way[0] + (along := (near - way[0]) / abs(near - way[0])) * length
    turned, line = deepcopy(head), ElementTree.Element(PATH, {"fill": "none", "stroke": head.get("stroke")})
    corners = [foot + 1j * along * half, way[0], foot - 1j * along * half, foot + 1j * along * half]
    turned.set("points", " ".join(f"{p.real:.2f},{p.imag:.2f}" for p in corners))
    line.set("d", f"M{way[-1].real:.2f},{way[-1].imag:.2f}L{tip.real:.2f},{tip.imag:.2f}")
    return [line, turned]


def _place(element: Any) -> complex:
    """Return where a chip stands: over the number on an edge, or over its middle; below a node."""
    text = element.find(TEXT)
    if element.get("class", "").startswith("edge"):
        if text is None:
            return _way(element)[len(_way(element)) // 2]
        size = float(text.get("font-size"))
        return complex(float(text.get("x")) + text_width(text.text) * size / 4, float(text.get("y")) - size / 3)
    outline = next(each for each in element if each.tag in (PATH, POLYGON))
    corners = _points(outline.get("d") or outline.get("points"))
    across = [point.real for point in corners]
    return complex((min(across) + max(across)) / 2, max(point.imag for point in corners) + CHIP_LINE)
