"""The editions of the course for lecturers, and the points of what comes back."""

import csv
import re
import sys
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "notebooks"))
import edition
import grade


@pytest.fixture(params=edition.NOTEBOOKS, ids=lambda path: path.name[:2])
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def test_students_get_all_but_the_solutions_and_exercises_that_nobody_has_run(notebook):
    given = edition.for_students(notebook)
    nbformat.validate(given)
    ids = [cell.id for cell in given.cells]
    left_out = [cell for cell in notebook.cells if cell.id not in ids]
    assert left_out == [cell for cell in notebook.cells if "<details>" in cell.source]
    assert "<details>" not in "".join(cell.source for cell in given.cells)
    exercises = [cell for cell in given.cells if edition.is_exercise(cell)]
    assert len(exercises) >= 3
    assert not any(cell.outputs or cell.execution_count for cell in exercises)


def test_solutions_become_cells_with_all_their_code_and_words(notebook):
    solved = edition.with_solutions(notebook)
    nbformat.validate(solved)
    (folded,) = [cell for cell in notebook.cells if edition.is_solution(cell)]
    made = [cell for cell in solved.cells if cell.id.startswith("solution-")]
    code = re.findall("```python\n(.*?)```", folded.source, re.DOTALL)
    assert [cell.source for cell in made if cell.cell_type == "code"] == [each.strip() for each in code]
    words = re.sub(r"```python\n.*?```|</?details>|</?summary>|#", " ", folded.source, flags=re.DOTALL).split()
    assert " ".join(cell.source.replace("#", "") for cell in made if cell.cell_type == "markdown").split() == words


def test_slides_have_the_headings_and_the_figures(notebook):
    page = edition.slides(notebook)
    for heading in re.findall("^## (.*)", "\n".join(c.source for c in notebook.cells), re.MULTILINE):
        if heading != "Solutions" and not set("`$*") & set(heading):
            assert f">{heading.replace('&', '&amp;')}<" in page, heading
    pictures = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert page.count("data:image/png;base64,") >= len(pictures)
    assert "<details>" not in page


def test_the_summary_has_the_rules_of_all_operations_and_the_equations():
    page = edition.summary()
    assert [row.split("<td>")[0] for row in page.split("<tr><td>")[1:]] == [op.name for op in edition.OPERATIONS]
    assert {"neg", "pow", "affine", "logsumexp", "leaky_relu", "elu", "tanh"} <= {op.name for op in edition.OPERATIONS}
    for written in (
        "σ(x) = 1/(1 + exp(−x))<td>σ(x)·(1 − σ(x))",
        "w₁·x₁ + w₂·x₂ + b<td>x₁,  x₂,  w₁,  w₂,  1",
    ):
        assert written in page
    assert "δ¹ = (W²ᵀ δ²) ⊙ tanh&#x27;(z¹)" in page


# ── Points ─────────────────────────────────────────────────────────────────────────────────────

SUM = """
answer = ...
check(answer, lambda answer: answer == 3, hint="1 + 2")
"""
DOUBLE = """
def double(x):
    return ...


def judge_double(double):
    return ... if double(1) is ... else double(4) == 8


check(double, judge_double)
"""
RIGHT, FUNCTION = SUM.replace("...", "3"), DOUBLE.replace("return ...\n\n", "return 2 * x\n\n", 1)
NO_CHECK = "def check(*_, **__):\n    print('✓ Right.')\n"
HANDED_IN = {  # the cells of the exercises, and their points
    "open": (SUM, DOUBLE, "0"),
    "right": (RIGHT, FUNCTION, "2"),
    "one": (SUM.replace("...", "4"), FUNCTION, "1"),
    "another judge": ("1 / 0", DOUBLE.replace("double(4) == 8", "True").replace("...", "x", 1), "0"),
    "another check": (NO_CHECK + SUM, NO_CHECK + DOUBLE.replace("...", "x", 1), "0"),
    "endless": (RIGHT, "while True: pass", "1"),
    "killed": (RIGHT, "import os\nos._exit(1)", "1"),
}


def course(title, *exercises):
    cells = [
        nbformat.v4.new_markdown_cell(f"# {title}"),
        nbformat.v4.new_code_cell("from microgradlike.course import check"),
    ]
    cells += [nbformat.v4.new_code_cell(source.strip(), id=f"exercise-{i}") for i, source in enumerate(exercises, 1)]
    return nbformat.v4.new_notebook(cells=cells)


def test_points_are_counted_by_our_own_checks_whatever_is_handed_in(tmp_path, monkeypatch, capsys):
    original, folder = tmp_path / "1.ipynb", tmp_path / "handed in"
    nbformat.write(course("1. Sums", SUM, DOUBLE), original)
    monkeypatch.setattr(grade, "NOTEBOOKS", [original])
    (folder / "group").mkdir(parents=True)
    for name, (first, second, _) in HANDED_IN.items():
        nbformat.write(course("1. Sums", first, second), folder / f"{name}.ipynb")
    (folder / "group" / "broken.ipynb").write_text("{")
    nbformat.write(course("Cooking"), folder / "group" / "other.ipynb")
    monkeypatch.setattr(sys, "argv", ["grade", str(folder), "--seconds", "6"])
    grade.main()
    rows = {row["file"]: row for row in csv.DictReader(capsys.readouterr().out.splitlines())}
    assert {name: rows[f"{name}.ipynb"]["points"] for name in HANDED_IN} == {k: v[2] for k, v in HANDED_IN.items()}
    assert rows["one.ipynb"]["solved"] == "exercise-2"
    assert rows["one.ipynb"]["not solved"] == "exercise-1"
    assert rows["group/broken.ipynb"]["notebook"] == "cannot be read"
    assert rows["group/other.ipynb"]["notebook"] == "not of this course"
