"""Editions of the course for lecturers: `make edition` writes them to build/edition.

student/    to be handed out: without solutions, and without what exercises have printed
solutions/  with the solutions unfolded, as cells that run
slides/     the text between headings and the figures, for a screen (reveal.js, which the browser loads from the web)

`make grade` (grade.py) counts the points of what comes back.
"""

import argparse
import copy
import re
from pathlib import Path

import nbformat
from nbconvert import SlidesExporter
from nbformat import NotebookNode
from run import HERE, NOTEBOOKS

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
    print(f"{len(NOTEBOOKS)} notebooks in student, solutions and slides of {folder}")


if __name__ == "__main__":
    main()
