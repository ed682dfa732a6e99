"""Execute the notebooks of the course: `make notebooks` writes them, `--check` compares them with what is committed.

What is written depends on the code alone: no times, no machine, no random ids. A cell with the tag
`timing` measures time, and its outputs alone may differ from run to run. The solutions at the end stand
in text that is folded up, `<details>`; their code is executed too, and has to be right. A notebook whose other
outputs came out the same is left as it is, so that nothing changes where nothing changed.
"""

import argparse
import base64
import difflib
import io
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image, ImageChops

HERE = Path(__file__).parent
NOTEBOOKS = sorted(HERE.glob("[0-9]*.ipynb"))
SECONDS_PER_CELL = 30


def execute(path: Path) -> nbformat.NotebookNode:
    """The notebook with its links, its outputs, and nothing else that could change. Raises if a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    link(notebook, path)
    cells, solutions = notebook.cells, list(solution_cells(notebook))
    notebook.cells = cells + solutions
    NotebookClient(
        notebook,
        timeout=SECONDS_PER_CELL,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": HERE}},
    ).execute()
    notebook.cells = cells
    for solution in solutions:
        verdict = "".join(output.get("text", "") for output in solution.outputs)
        if "✓" not in verdict or "✗" in verdict:
            raise ValueError(
                f"{path.name}: this solution is not right: {verdict}\n{solution.source}"
            )
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if any(said(output))]
            if address := re.search(
                r"\b0x[0-9a-f]{6,}|/tmp/\S+", "".join(map(str, cell.outputs))
            ):
                raise ValueError(
                    f"{path.name}: an output names {address[0]}, which differs from run to run"
                )
    return notebook


def solution_cells(notebook: nbformat.NotebookNode) -> Iterator[nbformat.NotebookNode]:
    """The code in the collapsed solutions, which are text to the reader, as cells to execute after the others."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and "<details>" in cell.source:
            yield from map(
                nbformat.v4.new_code_cell,
                re.findall("```python\n(.*?)```", cell.source, re.DOTALL),
            )


def link(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write the links to try, next and previous, and the next at the end, into the cells for them."""
    i = NOTEBOOKS.index(path)
    title = {each: heading(each) for each in NOTEBOOKS[max(0, i - 1) : i + 2]}
    before = [f"← [{title[each]}]({each.name})" for each in NOTEBOOKS[i - 1 : i] if i]
    after = [f"[{title[each]}]({each.name}) →" for each in NOTEBOOKS[i + 1 : i + 2]]
    # A link straight to this notebook needs the project's address on a code host: until it has one,
    # these lead to where one is asked for it.
    badges = [
        "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/)",
        "[![Launch Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/)",
    ]
    for cell in notebook.cells:
        if cell.id == "links":
            cell.source = " ".join(badges) + "\n\n" + " · ".join([*before, *after])
        elif cell.id == "next":
            cell.source = f"Next: {after[0]}" if after else "This was the last notebook."


def heading(path: Path) -> str:
    """A notebook's title."""
    cells = nbformat.read(path, as_version=4).cells
    return next(
        line[2:] for cell in cells for line in cell.source.splitlines() if line.startswith("# ")
    )


def differences(old: nbformat.NotebookNode, new: nbformat.NotebookNode) -> Iterator[str]:
    """What is out of date in the old notebook, cell by cell."""
    if [cell.id for cell in old.cells] != [
        cell.id for cell in new.cells
    ] or old.metadata != new.metadata:
        yield "its metadata or its cells"
    for was, now in zip(old.cells, new.cells, strict=False):
        if was.source != now.source:
            yield f"cell {now.id}: its text"
        if now.cell_type == "code" and "timing" not in now.metadata.get("tags", []):
            same_pictures = all(map(same, pictures(was), pictures(now)))
            lines = [
                [line for output in cell.outputs for part in said(output) for line in part]
                for cell in (was, now)
            ]
            if (
                lines[0] != lines[1]
                or len(pictures(was)) != len(pictures(now))
                or not same_pictures
            ):
                diff = difflib.unified_diff(
                    *lines, "committed", "executed now", lineterm="", n=1
                )
                yield "\n".join(
                    [
                        f"cell {now.id}: its outputs",
                        *([] if same_pictures else ["a plot"]),
                        *diff,
                    ]
                )


def said(output: nbformat.NotebookNode) -> Iterator[list[str]]:
    """What an output says, in lines: of a drawing the texts in it, not where Graphviz puts them; of a plot nothing."""
    if output.output_type == "stream":
        yield output.text.splitlines()
    for mime, content in output.get("data", {}).items():
        if mime == "image/png":
            yield [mime]
        elif content:
            content = re.sub(
                r"data:image/svg\+xml;base64,([\w+/=]+)",
                lambda svg: decoded(svg[1]),
                str(content),
            )
            yield [
                mime,
                *(
                    re.findall(r">([^<>]*\w[^<>]*)<", content)
                    if "<svg" in content
                    else content.splitlines()
                ),
            ]


def decoded(text: str) -> str:
    return base64.b64decode(text).decode()


def pictures(cell: nbformat.NotebookNode) -> list[str]:
    """The plots among the outputs of a cell."""
    return [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]


def same(old: str, new: str) -> bool:
    """Whether two plots look the same: hardly a pixel differs, as by another rounding of the last digit."""
    if old == new:
        return True
    a, b = (Image.open(io.BytesIO(base64.b64decode(each))).convert("L") for each in (old, new))
    if a.size != b.size:
        return False
    histogram = ImageChops.difference(a, b).histogram()
    return sum(histogram[32:]) <= a.width * a.height / 2000


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Replace the file as a whole."""
    beside = path.with_suffix(".new")
    nbformat.write(notebook, beside)
    os.replace(beside, path)


def main() -> None:
    """Execute the notebooks that are named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="01_….ipynb …, all if left out")
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; fail where an output is out of date",
    )
    options = parser.parse_args()
    chosen = [
        path
        for path in NOTEBOOKS
        if not options.notebooks or path.name in {n.name for n in options.notebooks}
    ]
    outdated = 0
    for path in chosen:
        start = time.perf_counter()
        new = nbformat.reads(nbformat.writes(execute(path)), as_version=4)
        changes = list(differences(nbformat.read(path, as_version=4), new))
        if changes and not options.check:
            write(new, path)
        outdated += bool(changes)
        what = "unchanged" if not changes else "OUT OF DATE" if options.check else "written"
        print(f"{path.name}: {what}, {time.perf_counter() - start:.0f} s", flush=True)
        if options.check:
            print(*changes, sep="\n", end="\n" if changes else "", flush=True)
    if options.check and outdated:
        sys.exit(
            f"{outdated} of {len(chosen)} notebooks are out of date: run `make notebooks` and commit what it changes"
        )


if __name__ == "__main__":
    main()
