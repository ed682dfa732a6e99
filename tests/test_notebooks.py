"""The notebooks as they are committed, without executing them; `make check-notebooks` does that."""

import base64
import copy
import importlib.util
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from PIL import Image, ImageDraw

spec = importlib.util.spec_from_file_location("run", Path(__file__).parent.parent / "notebooks" / "run.py")
run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run)


@pytest.fixture(params=run.NOTEBOOKS, ids=lambda path: path.name[:2])
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_all_cells_were_executed_in_order(notebook):
    nbformat.validate(notebook)
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    assert not [
        o for cell in code(notebook) for o in cell.outputs if o.output_type == "error" or o.get("name") == "stderr"
    ]


def test_nothing_in_it_changes_from_run_to_run(path, notebook):
    assert notebook.metadata == run.METADATA
    assert set().union(*(cell.metadata for cell in notebook.cells)) <= {
        "tags",
        "jupyter",
        "cellView",
    }  # the last two fold a cell up
    assert not re.search(r"\b0x[0-9a-f]{6,}|/tmp/|ipykernel_", path.read_text(encoding="utf-8"))
    for cell in code(notebook):
        measures = re.search(r"perf_counter\(\)|\btimeit\b|\.time\(\)", cell.source)
        assert not measures or "timing" in cell.metadata.get("tags", []), f"cell {cell.id} measures time"


def test_its_links_are_up_to_date(path, notebook):
    assert {"links", "next"} <= {cell.id for cell in notebook.cells}
    linked = copy.deepcopy(notebook)
    run.link(linked, path)
    assert list(run.differences(notebook, linked)) == []


def test_it_names_its_source_and_what_is_our_own(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert re.search(r"Sources?:.*(Nielsen|CS231n)", text)
    assert "ur own:" in text


def test_its_exercises_are_open_and_have_solutions(notebook):
    exercises = [cell for cell in code(notebook) if re.search(r"^check\(", cell.source, re.MULTILINE)]
    assert len(exercises) >= 3
    for cell in exercises:
        assert "".join(
            o.text for o in cell.outputs
        ) == "· No answer yet: put yours in place of the dots.\n" * cell.source.count("\ncheck(")
    assert run.solutions_of(notebook)  # a solution may answer several
    assert "<details>" not in "".join(cell.source for cell in notebook.cells[:-2]), "solutions stand at the end"
    assert [cell for cell in notebook.cells if "solution" in cell.metadata.get("tags", [])] == [notebook.cells[-2]]


def test_numbers_say_what_the_file_names_say():
    assert [int(run.title(path).split(".")[0]) for path in run.NOTEBOOKS] == [
        int(path.name[:2]) for path in run.NOTEBOOKS
    ]


# ── Installing ─────────────────────────────────────────────────────────────────────────────────


def installing(source, folder, tmp_path, *options):
    """Run a cell by a Python in a folder; what its pip was asked for, and what was said. The pip is not the real one."""
    (tmp_path / "fake/pip").mkdir(parents=True)
    (tmp_path / "fake/pip/__init__.py").touch()
    (tmp_path / "fake/pip/__main__.py").write_text(
        "import pathlib, sys\n"
        "asked = pathlib.Path(__file__).parents[2] / 'asked'\n"
        "asked.write_text('\\n'.join(sys.argv[1:]), encoding='utf-8')\n"
        "sys.exit('no such network' if 'fails' in sys.argv[-1] else 0)\n"
    )
    (tmp_path / "cell.py").write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, *options, str(tmp_path / "cell.py")],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "fake"), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    asked = tmp_path / "asked"
    return asked.read_text(encoding="utf-8").splitlines() if asked.exists() else None, done.stderr


ADDRESS = "https://github.com/someone/something"
BARE = "-S"  # a Python without the packages that are installed


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "my checkout"
    (root / "microgradlike").mkdir(parents=True)
    (root / "microgradlike/value.py").touch()
    (root / "build/edition/student").mkdir(parents=True)
    return root


@pytest.mark.parametrize("address", ["", ADDRESS])
@pytest.mark.parametrize("folder", ["build", "build/edition/student"])
def test_where_the_package_is_missing_it_comes_from_the_checkout_around_the_notebook(
    address, folder, checkout, tmp_path
):
    asked, said = installing(run.install(address), checkout / folder, tmp_path, BARE)
    assert asked == ["install", "--quiet", f"microgradlike[all] @ {checkout.as_uri()}"]
    assert said == ""


def test_without_a_checkout_it_comes_from_the_declared_address_and_from_no_index(tmp_path):
    asked, said = installing(run.install(ADDRESS), tmp_path, tmp_path, BARE)
    assert asked == ["install", "--quiet", f"microgradlike[all] @ git+{ADDRESS}"]
    assert said == ""


def test_without_a_checkout_and_an_address_nothing_is_installed_and_the_cell_says_what_to_do(tmp_path):
    asked, said = installing(run.install(""), tmp_path, tmp_path, BARE)
    assert asked is None
    assert "ModuleNotFoundError: microgradlike is not installed" in said
    assert "open the notebook in its folder notebooks/." in said


def test_where_pip_fails_the_cell_says_why(tmp_path):
    _, said = installing(run.install(f"{ADDRESS}-fails"), tmp_path, tmp_path, BARE)
    assert "RuntimeError: no such network" in said


def test_where_the_package_is_there_nothing_is_installed(tmp_path):
    (tmp_path / "microgradlike.py").touch()  # beside the cell
    assert installing(run.install(""), tmp_path, tmp_path, BARE) == (None, "")


def test_there_are_badges_where_an_address_is_declared(path):
    assert run.badges(path, "") == run.badges(path, "https://forge.example.com/someone/something") == ""
    for address in (ADDRESS, f"{ADDRESS}.git"):
        links = re.findall(r"\]\((https://[^)]*)\)(?: |$)", run.badges(path, address))
        assert links == [
            f"https://colab.research.google.com/github/someone/something/blob/main/notebooks/{path.name}",
            f"https://mybinder.org/v2/gh/someone/something/main?labpath=notebooks%2F{path.name}",
        ]


def test_no_badge_points_nowhere(notebook):
    links = re.findall(r"\((https://(?:colab|mybinder)[^)]*)\)", "".join(cell.source for cell in notebook.cells))
    assert all(run.address() and ".ipynb" in link for link in links if not link.endswith(".svg"))
    assert bool(links) == run.address().startswith("https://github.com/")


# ── What counts as out of date ─────────────────────────────────────────────────────────────────


def png(*dots):
    image = Image.new("RGB", (100, 60), "white")
    for dot in dots:
        ImageDraw.Draw(image).point(dot, "black")
    file = io.BytesIO()
    image.save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


def made(
    stream="6.0\n",
    html="<b>6</b><script>go()</script>",
    svg_x=1,
    svg_text="z",
    picture=None,
    tags=(),
    source="f()",
    id="c1",
):
    svg = base64.b64encode(f'<svg><text x="{svg_x}">{svg_text}</text></svg>'.encode()).decode()
    outputs = [
        nbformat.v4.new_output("stream", text=stream),
        nbformat.v4.new_output("display_data", {"text/html": html}),
        nbformat.v4.new_output("display_data", {"text/html": f'<img src="data:image/svg+xml;base64,{svg}">'}),
        nbformat.v4.new_output("display_data", {"image/png": picture or png()}),
    ]
    cell = nbformat.v4.new_code_cell(source, id=id, outputs=outputs, metadata={"tags": list(tags)})
    return nbformat.v4.new_notebook(cells=[cell], metadata=run.METADATA)


LINE = [(x, 30) for x in range(100)]


@pytest.mark.parametrize(
    ("now", "what"),
    [
        ({}, None),
        ({"svg_x": 2}, None),
        ({"picture": png((5, 5))}, None),
        ({"stream": "7.0\n"}, "cell c1: its outputs\n--- file\n+++ now\n@@ -1,2 +1,2 @@\n-6.0\n+7.0\n text/html"),
        ({"html": "<b>6</b><script>stop()</script>"}, "-<b>6</b><script>go()</script>\n+<b>6</b><script>stop()</script>"),
        ({"svg_text": "w"}, '-<img src="z">\n+<img src="w">'),
        ({"picture": png(*LINE)}, "cell c1: a plot"),
        ({"source": "g()"}, "cell c1: its text"),
        ({"id": "c2"}, "its metadata, or its cells"),
    ],
)  # fmt: skip
def test_what_is_out_of_date(now, what):
    found = list(run.differences(made(), made(**now)))
    assert len(found) == (what is not None)
    assert what is None or what in found[0]


def test_a_missing_plot_is_out_of_date():
    old = made()
    del old.cells[0].outputs[-1]
    assert "+image/png" in next(run.differences(old, made()))


def test_measured_times_are_exempt():
    old, new = made(tags=["timing"]), made(tags=["timing"], stream="7.0\n", picture=png(*LINE))
    assert list(run.differences(old, new)) == []
    old.cells[0].outputs = []
    assert len(list(run.differences(old, new))) == 1  # cleared, to be measured again


def test_in_a_kernel_an_answer_that_does_not_end_is_stopped_and_the_next_cell_runs():
    cells = [
        "from microgradlike.course import check, seal",
        "def paths(n):\n    return 1 if n == 0 else paths(n - 1) + paths(n - 1)\n\n\n"
        "check(paths, lambda paths: paths(40) == 2**40, hint='Count nodes.', seconds=0.5)",
        "check(6, seal(6))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, cells)], metadata=run.METADATA)
    run.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    said = ["".join(output.get("text", "") for output in cell.outputs) for cell in notebook.cells]
    assert said[1].startswith("✗ Not yet. It was stopped after 0.5 seconds:")
    assert said[2] == "✓ Right.\n"


# ── As a page ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.browser
def test_what_is_folded_in_a_notebook_is_folded_in_a_page_and_a_link_opens_it(browse, tmp_path):
    read = [nbformat.read(path, as_version=4) for path in run.NOTEBOOKS]
    hidden = [
        [cell.id for cell in code(each) if cell.metadata.get("jupyter", {}).get("source_hidden")] for each in read
    ]
    ((notebook, folded),) = [(each, ids) for each, ids in zip(read, hidden, strict=True) if ids]
    exporter = pytest.importorskip("nbconvert").HTMLExporter(mathjax_url="", require_js_url="", jquery_url="")
    exporter.mermaid_js_url = ""
    exported = exporter.from_notebook_node(notebook)[0].replace('<script src=""></script>', "")
    (tmp_path / "page.html").write_text(exported, encoding="utf-8")
    page = browse((tmp_path / "page.html").as_uri())
    assert page.locator('[id="cell-id=evidence"] .jp-InputArea').is_visible()
    for id in folded:
        assert not page.locator(f'[id="cell-id={id}"] .jp-InputArea').is_visible()
    for id in folded:
        page.locator(f'a[href="#cell-id={id}"]').click()
        assert page.locator(f'[id="cell-id={id}"] .jp-InputArea').is_visible()
