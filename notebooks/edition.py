"""Editions of the course for lecturers: `make edition` writes them to build/edition.

student/    to be handed out: without solutions, and without what exercises have printed
solutions/  with the solutions unfolded, as cells that run
summary.html  the rules of all operations, and the equations of a network, for two pages of paper
slides/     the text between headings and the figures, for a screen: each file has all that it needs, reveal.js too

`make grade` (grade.py) counts the points of what comes back.
"""

import argparse
import copy
import re
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path

import nbformat
from jinja2 import DictLoader
from latex2mathml.converter import convert as to_mathml
from nbconvert import SlidesExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from run import HERE, NOTEBOOKS

from microgradlike import Value, nn, ops, vectorize
from microgradlike.notation import formula
from microgradlike.notation.names import node_names
from microgradlike.primitive import Operation
from microgradlike.value import apply

OPERATIONS = [
    op
    for op in vars(ops).values()
    if isinstance(op, Operation) and op and op not in (ops.LEAF, ops.CONSTANT)
]
OPERATIONS += [ops.leaky_relu(0.1), ops.elu(1.0)]

DETAILS = re.compile(r"<details>\s*<summary>(.*?)</summary>(.*?)</details>", re.DOTALL)


def is_solution(cell: NotebookNode) -> bool:
    """Whether it is the cell with the solutions."""
    return "solution" in cell.metadata.get("tags", [])


def is_exercise(cell: NotebookNode) -> bool:
    """Whether it is a cell that checks an answer."""
    return cell.cell_type == "code" and bool(re.search(r"^check\(", cell.source, re.MULTILINE))


def for_students(notebook: NotebookNode) -> NotebookNode:
    """The notebook without its solutions, and with exercises that nobody has run."""
    notebook = copy.deepcopy(notebook)
    notebook.cells = [cell for cell in notebook.cells if not is_solution(cell)]
    for cell in filter(is_exercise, notebook.cells):
        cell.outputs, cell.execution_count = [], None
    return notebook


def with_solutions(notebook: NotebookNode) -> NotebookNode:
    """The notebook with its solutions as cells: what is said of each, and its code."""
    notebook = copy.deepcopy(notebook)
    cells = []
    for cell in notebook.cells:
        cells += unfolded(cell) if is_solution(cell) else [cell]
    notebook.cells = cells
    return notebook


def unfolded(cell: NotebookNode) -> list[NotebookNode]:
    """The cells of a cell of solutions."""
    made: list[NotebookNode] = []

    def add(kind: str, text: str) -> None:
        if text.strip():
            new = {"text": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}[
                kind
            ]
            made.append(new(text.strip(), id=f"solution-{len(made)}"))

    end = 0
    for match in DETAILS.finditer(cell.source):
        add("text", cell.source[end : match.start()])
        text, *rest = re.split("```python\n(.*?)```", match[2], flags=re.DOTALL)
        add("text", f"### {match[1]}\n\n{text.strip()}")
        for i, part in enumerate(rest):
            add("text" if i % 2 else "code", part)
        end = match.end()
    add("text", cell.source[end:])
    return made


def slides(notebook: NotebookNode) -> str:
    """An HTML page of slides: one for each heading, and below it one for each figure, page of steps, and exercise."""
    notebook = for_students(notebook)
    cells: list[NotebookNode] = []
    for cell, after in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        if cell.cell_type == "markdown":
            *parts, last = re.split(r"\n(?=#)", cell.source)
            for part in [*parts, last]:
                asks = part is last and after is not None and is_exercise(after)
                kind = "slide" if part.startswith("#") else "subslide" if asks else "skip"
                cells.append(nbformat.v4.new_markdown_cell(part, metadata=on_slide(kind)))
        else:
            cell.outputs = [o for o in cell.outputs if FIGURES & {*o.get("data", {})}]
            cell.metadata = on_slide("subslide" if cell.outputs else "skip")
            cells.append(cell)
    notebook.cells = cells
    exporter = SlidesExporter(
        extra_loaders=[DictLoader({"slides": SLIDES})],
        template_file="slides",
        filters={"markdown2html": html, "reveal": reveal},
        reveal_url_prefix="reveal.js",
        exclude_input=True,
        exclude_output_prompt=True,
    )
    page, _ = exporter.from_notebook_node(notebook)
    return re.sub(
        '<link href="reveal.js/dist/(.*?)"[^>]*>',
        lambda link: f"<style>{reveal(link[1])}</style>",
        page,
    )


FIGURES = {"image/png", "image/svg+xml", "text/html"}


def on_slide(kind: str) -> dict[str, dict[str, str]]:
    """The metadata of a cell with which nbconvert begins a slide, or one below it, or leaves it out ("skip")."""
    return {"slideshow": {"slide_type": kind}}


# nbconvert's slides without anything from the web: reveal.js is in the page, formulas are MathML, and the scripts that
# nothing here needs are left out. What is too large for the screen is shown smaller.
SLIDES = """
{%- extends 'reveal/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block body_header -%}
<style>
:root { --jp-content-font-size1: 26px; --jp-code-font-size: 22px; --jp-cell-prompt-width: 0px }
.reveal h1, .reveal h2, .reveal h3 { text-transform: none }
.reveal .slides { text-align: left }
.reveal .jp-OutputArea img { width: 100%; max-height: 740px; object-fit: contain }
.reveal pre { width: auto; font-size: 20px !important; box-shadow: none }
math { font-family: "Cambria Math", "STIX Two Math", "Latin Modern Math", "DejaVu Math TeX Gyre", math }
</style>
{{ super() }}
{%- endblock -%}
{%- block footer_js -%}
<script>{{ "reveal.js" | reveal }}</script>
<script>
function fit() {
  const slide = Reveal.getCurrentSlide();
  slide.style.zoom = 1;
  slide.style.zoom = Math.min(1, 780 / slide.scrollHeight, 1240 / slide.scrollWidth);
  Reveal.layout();
}
Reveal.on("ready", fit);
Reveal.on("slidechanged", fit);
const size = {width: 1280, height: 800, margin: 0.02};
const elsewhere = (key) => !key.target.closest("[id^=steps-]");  // in a page of steps, keys are for its steps
Reveal.initialize({...size, history: true, transition: "none", slideNumber: "c/t", keyboardCondition: elsewhere});
</script>
{%- endblock -%}"""


@cache
def reveal(name: str) -> str:
    """A file of reveal.js, from the package pyreveal, without the fonts that a theme asks the web for."""
    text = (resources.files("pyreveal") / "revealjs/dist" / name).read_text(encoding="utf-8")
    return re.sub(r'@import "https:[^;]*;', "", text)


TEX = [  # what latex2mathml would write otherwise than TeX, and for it what means the same
    (r"(\\text\{[^}]*?)\$(.*?)\$", r"\1} \2 \\text{"),
    (r"\\tag\{(.*?)\}", r"\\qquad\\text{(\1)}"),
    (r"(?<=[\w}])\s*(\\(log|tanh)\b)", r"\\,\1"),
    (r"(\\(log|tanh)\b)(?=\s*(\w|\\(?!big|Big|left)))", r"\1\\,"),
]


class Renderer(IPythonRenderer):
    """Text as HTML: formulas as MathML, and links to notebooks lead to their slides."""

    def inline_math(self, body: str, display: str = "inline") -> str:
        """A formula in a line."""
        for before, after in TEX:
            body = re.sub(before, after, body)
        written = to_mathml(body, display=display)
        written = re.sub(
            "<msup>(<mi>[^<]*</mi>)<mi>(&#x0203[234];)</mi></msup>", r"\1<mo>\2</mo>", written
        )
        return written.replace("<mo>&#x02016;", '<mo stretchy="false">&#x02016;')

    def block_math(self, body: str) -> str:
        """A formula by itself."""
        return self.inline_math(body, "block")

    def link(self, text: str, url: str, title: str | None = None) -> str:
        """A link."""
        return str(super().link(text, re.sub(r"^(\w+)\.ipynb\b.*", r"\1.html", url), title))


def html(text: str) -> str:
    """The HTML of a text."""
    return MarkdownWithMath(Renderer(escape=False, exclude_anchor_links=True)).render(text)


PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>microgradlike: rules and equations</title>
<style>
@page {{ size: A4; margin: 15mm }}
body {{ font: 9.5pt/1.35 "DejaVu Sans", sans-serif; max-width: 180mm; margin: auto }}
h1 {{ font-size: 14pt }} h2 {{ font-size: 11pt; break-after: avoid }}
table {{ border-collapse: collapse; width: 100% }}
td, th {{ text-align: left; vertical-align: top; padding: 0.5mm 4mm 0.5mm 0; border-bottom: 0.2mm solid #bbb }}
pre {{ font: 9pt/1.35 "DejaVu Sans Mono", monospace }}
section {{ break-after: page }} section:last-child {{ break-after: auto }}
</style>
<section><h1>The rules</h1>
<p>Each operation multiplies the gradient of its result y by its local derivative, and adds the product to the
gradient of the input: ∂L/∂xₖ += ∂L/∂y · ∂ₖy. In topological order, from L back; ∂L/∂L = 1. Operations of any
number of inputs stand here with two; ties is how many of them are the largest.</p>
<table><tr><th>operation<th>value<th>local derivatives ∂₁y, ∂₂y, … in the order of the inputs</tr>
{rules}</table></section>
<section><h1>The equations</h1>
<h2>As the textbook has them</h2>
<pre>{textbook}</pre>
<h2>As they are found in the scalar graph of a network of 4, 3 and 2 neurons, with shapes</h2>
<pre>{found}</pre></section></html>
"""
TEXTBOOK = """\
      zˡ = wˡ aˡ⁻¹ + bˡ,  aˡ = σ(zˡ)
BP1   δᴸ = ∇ₐC ⊙ σ'(zᴸ)
BP2   δˡ = ((wˡ⁺¹)ᵀ δˡ⁺¹) ⊙ σ'(zˡ)
BP3   ∂C/∂bˡ = δˡ
BP4   ∂C/∂wˡ = δˡ (aˡ⁻¹)ᵀ
SGD   w → w − η ∂C/∂w,  b → b − η ∂C/∂b
check ∂C/∂w ≈ (C(w + ε) − C(w − ε)) / 2ε"""


def summary() -> str:
    """An HTML page of the rules of all operations, and of the equations, to be printed on two sheets."""
    x, y = [Value(0.1) for _ in range(4)], [Value(0.5) for _ in range(2)]
    model = nn.MLP(4, [3, 2], activation="tanh", output="sigmoid", seed=0)
    program = vectorize(nn.quadratic(model(x), y), batch=[x, y])
    return PAGE.format(
        rules="\n".join(map(rule, OPERATIONS)), textbook=TEXTBOOK, found=escape(str(program))
    )


def rule(operation: Operation) -> str:
    """A row of the table: name, value, and local derivatives of an operation."""
    n = len(operation.operands) + operation.n_ary * operation.vectors.count(True)
    inputs = [Value(0.5, str(formula.write(name))) for name in operation.operand_names(n)]
    node = apply(operation, *inputs)
    node.label = "y"
    names = node_names([*inputs, node])
    local = [formula.derivative(node, k, names) for k in range(n)]
    value = formula.expression(node, names, depth=1)
    if not operation.n_ary:
        written = str(formula.write(operation.text, formula.parameters(operation)))
        value = value if written == value else f"{value} = {written}"
    cells = operation.name, value, ",  ".join(local)
    return "<tr>" + "".join(f"<td>{escape(cell)}" for cell in cells) + "</tr>"


def main() -> None:
    """Write the editions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", nargs="?", type=Path, default=HERE.parent / "build" / "edition"
    )
    folder = parser.parse_args().folder
    for name in ("student", "solutions", "slides"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        nbformat.write(for_students(notebook), folder / "student" / path.name)
        nbformat.write(with_solutions(notebook), folder / "solutions" / path.name)
        (folder / "slides" / f"{path.stem}.html").write_text(slides(notebook), encoding="utf-8")
    (folder / "summary.html").write_text(summary(), encoding="utf-8")
    print(f"{len(NOTEBOOKS)} notebooks in student, solutions and slides of {folder}")


if __name__ == "__main__":
    main()
