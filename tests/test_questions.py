"""The answers of docs/questions.md are in the notebooks, under the headings and in the words that it says."""

import re
from functools import cache
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/questions.md").read_text(encoding="utf-8")
QUESTIONS = re.findall(r"^## (\d+)\. (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[Notebook (\d+), ([^\]]+)\]\(\.\./(notebooks/\S+?\.ipynb)#(\S+)\)")
ANSWER = re.compile(r"<!-- (\d\d) (\S+) -->\n```text\n(.*?)```", re.DOTALL)


@cache
def cells(path):
    return nbformat.read(ROOT / path, as_version=4).cells


def printed(cell):
    """The lines of the texts that a cell prints or shows."""
    texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs]
    return "\n".join(texts).splitlines()


def test_there_are_twelve_questions():
    assert [int(number) for number, _, _ in QUESTIONS] == list(range(1, 13))
    assert len(LINK.findall(PAGE)) == 12
    assert len(ANSWER.findall(PAGE)) == PAGE.count("```text")


@pytest.mark.parametrize(("question", "text"), [(question, text) for _, question, text in QUESTIONS])
def test_each_answer_is_what_a_cell_under_that_heading_prints(question, text):
    (link,) = LINK.findall(text)
    number, heading, path, anchor = link
    assert path.startswith(f"notebooks/{int(number):02}_")
    assert anchor == heading.replace("`", "").replace(" ", "-")  # as Jupyter names it
    answers = ANSWER.findall(text)
    assert answers
    for notebook, id, lines in answers:
        assert int(notebook) == int(number)
        (place,) = [i for i, cell in enumerate(cells(path)) if cell.id == id]
        cell = cells(path)[place]
        before = "\n".join(c.source for c in cells(path)[:place] if c.cell_type == "markdown")
        assert re.findall("^## (.+)", before, re.MULTILINE)[-1] == heading
        shown = iter(printed(cell))
        for line in lines.splitlines():
            assert line.strip() in (each.strip() for each in shown), f"not printed in this order: {line}"
        assert "timing" not in cell.metadata.get("tags", []), "what it prints may change"
