"""The editions of the course for lecturers, and the points of what comes back."""

import csv
import re
import sys
from html import unescape
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
    assert len(set(map(grade.check_of, exercises))) == len(exercises)
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


def test_slides_take_nothing_from_the_web(notebook):
    page = edition.slides(notebook)
    assert not re.findall(r"<(?:script|img|link|iframe)\b[^>]*https?:[^>]*>|@import|url\([\"']?https?:", page)
    assert page.count("<math") > 3 and "$" not in re.sub(
        r"<(script|style)\b.*?</\1>|<code.*?</code>", "", page, flags=re.DOTALL
    )
    assert not re.search(r'href="[^":]*\.ipynb', page)  # links to notebooks lead to their slides


@pytest.mark.parametrize(("tex", "written"), [
    (r"\sigma'(z)", "<mi>σ</mi><mo>′</mo><mo"),
    (r"y\log a", '<mi>y</mi><mspace width="0.167em" /><mi>log</mi><mspace width="0.167em" /><mi>a</mi>'),
    (r"\tanh(z)", "<mi>tanh</mi><mo"),
    (r"\text{for all $j$ at once}", "for\xa0all\xa0</mtext><mi>j</mi><mtext>\xa0at\xa0once"),
    (r"x\tag{BP1}", '<mspace width="2em" /><mtext>(BP1)</mtext>'),
    (r"\lVert x \rVert^2", '<mo stretchy="false">‖</mo><mi>x</mi><msup><mo stretchy="false">‖</mo>'),
])  # fmt: skip
def test_formulas_are_written_as_tex_means_them(tex, written):
    assert written in unescape(edition.html(f"$${tex}$$"))


@pytest.mark.browser
def test_each_slide_fits_the_screen_and_in_a_page_of_steps_keys_step(browse, tmp_path):
    (path,) = [path for path in edition.NOTEBOOKS if path.name.startswith("04")]
    (tmp_path / "slides.html").write_text(edition.slides(nbformat.read(path, as_version=4)), encoding="utf-8")
    page = browse((tmp_path / "slides.html").as_uri(), width=1280, height=800)
    number = page.locator(".slide-number")
    count = page.evaluate("Reveal.getTotalSlides()")
    assert count > 15
    stepped = 0
    for i in range(1, count + 1):
        assert number.inner_text().split() == [str(i), "/", str(count)]
        box = page.locator("section.present:not(.stack)").bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 800
        if (steps := page.get_by_role("button", name="Forward pass")).count():
            steps.click()
            page.keyboard.press("ArrowRight")
            page.get_by_text(re.compile("^forward 1 / 14")).wait_for()
            assert number.inner_text().split()[0] == str(i)
            stepped += 1
            page.mouse.click(640, 795)
        page.keyboard.press("Space")
    assert stepped == 1


@pytest.mark.browser
def test_the_summary_is_two_pages(browse, tmp_path):
    (tmp_path / "summary.html").write_text(edition.summary(), encoding="utf-8")
    printed = browse((tmp_path / "summary.html").as_uri()).pdf(format="A4")
    assert len(re.findall(rb"/Type /Page\b", printed)) == 2


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
    "endless": ("while True: pass", FUNCTION, "1"),
    "not to be stopped": (
        RIGHT,
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "1",
    ),
    "killed": (RIGHT, "import os\nos._exit(1)", "1"),
}


def course(title, *exercises):
    cells = [
        nbformat.v4.new_markdown_cell(f"# {title}"),
        nbformat.v4.new_code_cell("from microgradlike.course import check"),
    ]
    cells += [nbformat.v4.new_code_cell(source.strip(), id=f"exercise-{i}") for i, source in enumerate(exercises, 1)]
    return nbformat.v4.new_notebook(cells=cells)


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # of nbclient, which stops a cell
def test_points_are_counted_by_our_own_checks_whatever_is_handed_in(tmp_path, monkeypatch, capsys):
    original, folder = tmp_path / "1.ipynb", tmp_path / "handed in"
    nbformat.write(course("1. Sums", SUM, DOUBLE), original)
    monkeypatch.setattr(grade, "NOTEBOOKS", [original])
    (folder / "group").mkdir(parents=True)
    for name, (first, second, _) in HANDED_IN.items():
        nbformat.write(course("1. Sums", first, second), folder / f"{name}.ipynb")
    (folder / "group" / "broken.ipynb").write_text("{")
    nbformat.write(course("Cooking"), folder / "group" / "other.ipynb")
    without_ids = course("1. Sums", RIGHT, FUNCTION)
    without_ids.nbformat_minor = 4
    for cell in without_ids.cells:
        del cell["id"]
    nbformat.write(without_ids, folder / "without ids.ipynb")
    monkeypatch.setattr(sys, "argv", ["grade", str(folder), "--seconds", "6", "--per-cell", "2"])
    grade.main()
    rows = {row["file"]: row for row in csv.DictReader(capsys.readouterr().out.splitlines())}
    assert {name: rows[f"{name}.ipynb"]["points"] for name in HANDED_IN} == {k: v[2] for k, v in HANDED_IN.items()}
    assert rows["without ids.ipynb"]["solved"] == "exercise-1 exercise-2"
    assert rows["one.ipynb"]["solved"] == "exercise-2"
    assert rows["one.ipynb"]["not solved"] == "exercise-1"
    assert rows["group/broken.ipynb"]["notebook"] == "cannot be read"
    assert rows["group/other.ipynb"]["notebook"] == "not of this course"
