"""Notebook 9, the lecture line by line: where its table leads, and whether PyTorch says the same."""

import contextlib
import io
import re
from functools import cache
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
LECTURE = "09_the_lecture_line_by_line.ipynb"
GIVEN = {"x", "y", "w", "b", "w_max", "b_max", "show"}  # what the texts for PyTorch take from the notebook


@cache
def cells(name):
    """The cells of a notebook by their ids, in order."""
    return {cell.id: cell for cell in nbformat.read(NOTEBOOKS / name, as_version=4).cells}


def in_pytorch(id):
    """The code of the text that says the same in PyTorch."""
    (code,) = re.findall(r"\*In PyTorch:\*\n\n```python\n(.*)\n```", cells(LECTURE)[f"{id}-torch"].source, re.DOTALL)
    return code


LINES = [id.removesuffix("-torch") for id in cells(LECTURE) if id.endswith("-torch")]
TABLE = [line.split(" | ") for line in cells(LECTURE)["table"].source.splitlines() if line.startswith("| ")][1:]
LINKS = re.findall(r"\]\(([^)]*)\)", cells(LECTURE)["table"].source)


def printed(code, names):
    """What code prints, run with these names."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "<a cell>", "exec"), names)
    return out.getvalue()


@pytest.mark.parametrize("link", sorted(set(LINKS)))
def test_a_link_of_the_table_leads_to_a_cell_that_was_run(link):
    name, _, id = link.partition("#cell-id=")
    cell = cells(name)[id]
    assert cell.cell_type == "code"
    assert cell.execution_count > 0
    assert cell.outputs or "def " in cell.source


def test_the_table_has_each_line_in_the_order_of_the_notebook():
    ids = [re.search(rf"{LECTURE}#cell-id=([\w-]+)", row[2]) for row in TABLE]
    ids = list(dict.fromkeys(id[1] for id in ids if id))
    order = [id for id in cells(LECTURE) if id in ids]
    assert len(TABLE) >= 15
    assert ids == [id for id in order if id not in ("maxout-errors", "five")] + ["maxout-errors", "five"]
    assert set(ids) <= set(LINES), "beside each line stands PyTorch"


def test_every_cell_that_computes_has_pytorch_beside_it():
    ids = list(cells(LECTURE))
    computing = [
        id
        for id, cell in cells(LECTURE).items()
        if cell.cell_type == "code" and "show(" in cell.source and not id.startswith("exercise")
    ]
    assert computing == LINES
    assert [ids[ids.index(id) + 1] for id in LINES] == [f"{id}-torch" for id in LINES]


@pytest.mark.parametrize("pasted", [False, True], ids=["by itself", "pasted below the cell"])
def test_pytorch_prints_what_the_cell_above_it_prints(pasted):
    ours = {"__name__": "__main__"}
    theirs = ours if pasted else {"__name__": "__main__"}
    for id, cell in cells(LECTURE).items():
        if cell.cell_type == "code" and "timing" not in cell.metadata.get("tags", []):
            said = printed(cell.source, ours)
            assert said == "".join(output.get("text", "") for output in cell.outputs), id
        if id in LINES:
            theirs |= {name: ours[name] for name in GIVEN & set(ours)}
            assert printed(in_pytorch(id), theirs) == said, id
