"""Editions of the course for lecturers: `make edition` writes them to build/edition.

student/    to be handed out: without solutions, and without what exercises have printed
solutions/  with the solutions unfolded, as cells that run
summary.html  the rules of all operations, and the equations of a network, for two pages of paper
slides/     the text between headings and the figures, for a screen (reveal.js, which the browser loads from the web)

`make grade` (grade.py) counts the points of what comes back.
"""

import argparse
import copy
import re
from html import escape
from pathlib import Path

import nbformat
from nbconvert import SlidesExporter
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
    """An HTML page of slides: one for each heading, and below it one for each figure or page of steps."""
    notebook = for_students(notebook)
    for cell in notebook.cells:
        shown = [
            o
            for o in cell.get("outputs", [])
            if {"image/png", "image/svg+xml", "text/html"} & {*o.get("data", {})}
        ]
        if cell.cell_type == "markdown":
            kind = "slide" if re.search("^#", cell.source, re.MULTILINE) else "skip"
        else:
            kind = "subslide" if shown else "skip"
            cell.outputs = shown
        cell.metadata["slideshow"] = {"slide_type": kind}
    page, _ = SlidesExporter(exclude_input=True).from_notebook_node(notebook)
    return str(page)


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
