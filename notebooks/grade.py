"""Count the points of notebooks that were handed in: `make grade FOLDER=handed_in` prints them as CSV.

Each notebook runs in a process of its own, with a time limit for it and for each cell. After the
cell of an exercise our own check of it runs on what the cell has defined; what it says counts,
whatever the notebook's own check was made to say. An exercise is a point. Notebooks are known by
their heading, so that files may have any names. Exercises are known by the ids of their cells, or
by their checks where a program has changed the ids.

This keeps apart those who err; it is no protection from those who cheat with effort or do harm: run what strangers
hand in where it can do none.
"""

import argparse
import ast
import csv
import re
import sys
import time
from pathlib import Path
from queue import Empty

import nbformat
from edition import is_exercise
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from run import HERE, NOTEBOOKS


def heading(notebook: NotebookNode) -> str:
    """The first heading."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = re.search("^# (.*)", text, re.MULTILINE)
    return found[1].strip() if found else ""


def is_blank(statement: ast.stmt) -> bool:
    """Whether it is what the answer stands in place of: `answer = ...`, or a function that returns `...`."""
    last = (
        statement.body[-1]
        if isinstance(statement, ast.FunctionDef) and statement.body
        else statement
    )
    value = last.value if isinstance(last, ast.Assign | ast.Return) else None
    return isinstance(value, ast.Constant) and value.value is ...


def judge(exercise: NotebookNode) -> NotebookNode:
    """A cell that checks the answer of an exercise as we do."""
    statements = [s for s in ast.parse(exercise.source).body if not is_blank(s)]
    source = ast.unparse(ast.Module(statements, []))
    return nbformat.v4.new_code_cell(f"from microgradlike.course import check\n{source}")


def check_of(exercise: NotebookNode) -> str:
    """The check in the cell of an exercise, in one line; "" in other cells."""
    return " ".join(
        "".join(re.findall(r"^check\(.*", exercise.source, re.DOTALL | re.MULTILINE)).split()
    )


def points(
    original: NotebookNode, handed_in: NotebookNode, seconds: float, per_cell: float
) -> dict[str, int]:
    """The points of each exercise: 1 or 0. A cell that takes too long is interrupted, and the next one runs; what is
    not reached in the time of the notebook has none.
    """
    judges = {cell.id: judge(cell) for cell in original.cells if is_exercise(cell)}
    by_check = {check_of(cell): cell.id for cell in original.cells if is_exercise(cell)}
    found = dict.fromkeys(judges, 0)
    client = NotebookClient(
        handed_in,
        kernel_name="python3",
        allow_errors=True,
        interrupt_on_timeout=True,
        error_on_timeout={"ename": "TimeoutError", "evalue": "", "traceback": []},
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": HERE}},
    )
    try:
        with client.setup_kernel():
            end = time.monotonic() + seconds
            for i, cell in enumerate([*handed_in.cells]):
                id = cell.metadata.get("id", cell.get("id"))  # Colab moves it
                id = id if id in judges else by_check.get(check_of(cell))
                for each in (cell, *([judges[id]] if id in judges else [])):
                    if each.cell_type == "code":
                        if (left := end - time.monotonic()) <= 0:
                            raise TimeoutError
                        client.timeout = max(1, int(min(left, per_cell)))
                        client.execute_cell(each, i)
                if id in judges:
                    said = "".join(o.get("text", "") for o in judges[id].outputs)
                    found[id] |= "✓" in said and "✗" not in said and "·" not in said
    except (
        CellTimeoutError,
        TimeoutError,
        DeadKernelError,
        CellExecutionError,
        Empty,
        RuntimeError,
    ) as error:
        print(f"stopped: {type(error).__name__}", file=sys.stderr)
    return found


def main() -> None:
    """Print a line for each notebook in a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", type=Path, help="with the notebooks handed in; folders in it count, too"
    )
    parser.add_argument(
        "--seconds", type=float, default=300.0, help="the time limit of a notebook, in seconds"
    )
    parser.add_argument(
        "--per-cell", type=float, default=60.0, help="the time limit of a cell, in seconds"
    )
    options = parser.parse_args()
    originals = [nbformat.read(path, as_version=4) for path in NOTEBOOKS]
    known = {heading(notebook): notebook for notebook in originals}
    table = csv.writer(sys.stdout)
    table.writerow(["file", "notebook", "points", "of", "solved", "not solved"])
    for path in sorted(options.folder.rglob("*.ipynb")):
        name = str(path.relative_to(options.folder))
        try:
            handed_in = nbformat.read(path, as_version=4)
        except Exception:
            table.writerow([name, "cannot be read", 0, 0, "", ""])
            continue
        title = heading(handed_in)
        if title not in known:
            table.writerow([name, "not of this course", 0, 0, "", ""])
            continue
        found = points(known[title], handed_in, options.seconds, options.per_cell)
        solved = [" ".join(id for id in found if found[id] == which) for which in (1, 0)]
        table.writerow([name, title, sum(found.values()), len(found), *solved])
        sys.stdout.flush()


if __name__ == "__main__":
    main()
