"""What the README shows is what happens: its code runs, its output is real, its commands and files exist.

python tests/test_readme.py    writes the outputs and the pictures anew
"""

import contextlib
import io
import linecache
import re
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner
from wcwidth import wcswidth

import microgradlike
from microgradlike import matrix, nn, testing
from microgradlike.cli.commands import main
from microgradlike.view.dot import draw
from microgradlike.view.page import steps

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
SCALE = ROOT / "docs/scale.md"
PAGES = [README, *(ROOT / name for name in ("CONTRIBUTING.md", "benchmarks/README.md")), SCALE]
PICTURE, FILM = ROOT / "notebooks/pictures/graph.svg", ROOT / "notebooks/pictures/backward.svg"
STAGE = ROOT / "notebooks/pictures/page.png"
BLOCK = re.compile(r"```(\w+)\n(.*?)```\n", re.DOTALL)


def rewritten(text):
    """The README with every output as it is now, and the names that its code defines."""
    names = {}
    printed = None

    def run(block):
        nonlocal printed
        language, code = block.groups()
        if language == "python":
            output = io.StringIO()
            linecache.cache["example.py"] = len(code), None, code.splitlines(keepends=True), "example.py"
            with contextlib.redirect_stdout(output):
                exec(compile(code, "example.py", "exec"), names)
            printed = output.getvalue()
        elif language == "text":
            code, printed = printed, None
        elif language == "console":
            command = code.splitlines()[0]
            result = CliRunner().invoke(main, shlex.split(command)[2:])
            assert result.exit_code == 0, result.output
            code = f"{command}\n{result.output}"
        return f"```{language}\n{code}```\n"

    return BLOCK.sub(run, text), names


def without_rounding(text):
    """How far two roundings of one number lie apart depends on the machine's libraries."""
    return re.sub(r"(?<=within) .*|\d+(?= forward passes)", "", text)


def words(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_every_output_is_what_the_code_prints_and_the_picture_what_it_draws():
    text = README.read_text(encoding="utf-8")
    now, names = rewritten(text)
    assert without_rounding(text) == without_rounding(now)
    assert words(PICTURE.read_text(encoding="utf-8")) == words(draw(names["L"]).svg())
    assert str(PICTURE.relative_to(ROOT)) in text


def test_the_calculation_of_what_devices_send_prints_what_its_page_says():
    text = SCALE.read_text(encoding="utf-8")
    assert rewritten(text)[0] == text


def test_every_command_runs(tmp_path, monkeypatch):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lines = [line for language, code in BLOCK.findall(README.read_text(encoding="utf-8")) if language == "sh" for line in code.splitlines()]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for words in map(shlex.split, lines):
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE)
        elif words[0] == "microgradlike":
            result = CliRunner().invoke(main, words[1:])
            if "jax" in words and not find_spec("jax"):
                assert 'needs jax: pip install "microgradlike[jax]"' in f"{result.output}{result.exception}"
            else:
                assert result.exit_code == 0, result.output
        else:
            assert words[0] == "uv"
    written = {"graph.svg", "steps.html", "moons-loss.png"} | (
        {"digits-loss.png", "kept"} if find_spec("jax") else set()
    )
    assert {path.name for path in tmp_path.iterdir()} == written
    assert {"make", "microgradlike", "uv"} == {shlex.split(line)[0] for line in lines}


def test_every_file_that_a_page_links_to_exists():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target, _, heading in re.findall(r"\]\((?!http)([^)#]*)(#([^)]*))?\)", text):
            linked = page.parent / target if target else page
            assert linked.exists(), f"{page.name}: {target}"
            if heading:
                assert heading in anchors(linked.read_text(encoding="utf-8")), f"{page.name}: {target}#{heading}"


def anchors(text):
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_map_has_every_module_and_nothing_else():
    the_code = README.read_text(encoding="utf-8").split("## The code")[1]
    found = set()
    for names in re.findall(r"^\| (`.*?) \|", the_code, re.MULTILINE):
        first, *others = re.findall(r"`([^`]+)`", names)
        inside = "" if first.startswith("tests") else f"{Path(first).parent}/"
        found |= {first.rstrip("/"), *((inside + other).rstrip("/") for other in others)}
    package = ROOT / "microgradlike"
    modules = {path for path in package.glob("*.py") if not path.name.startswith("__")}
    packages = {path.parent for path in package.glob("*/__init__.py")}
    there = {str(path.relative_to(ROOT)) for path in modules | packages} | {"tests", "benchmarks", "notebooks"}
    assert found == there


@pytest.mark.parametrize("module", [microgradlike, nn, testing, matrix], ids=lambda module: module.__name__)
def test_every_public_name_is_found_from_here(module):
    text = README.read_text(encoding="utf-8")
    code = " ".join(re.findall(r"```python\n.*?```|`[^`\n]+`", text, re.DOTALL))
    public = getattr(module, "__all__", None) or [name for name in vars(module) if name.startswith("assert_")]
    assert len(public) >= 4
    assert [name for name in public if not re.search(rf"\b{name}\b", code)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_line_fits_a_terminal(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if wcswidth(line) > 100] == []


def photograph(page, path):
    """Write a picture of the page, at the step in which two products add up."""
    from playwright.sync_api import sync_playwright

    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 1200, "height": 675})
        shown.goto(page.save(Path(folder) / "page.html").as_uri())
        shown.get_by_role("button", name="Backward pass").click()
        shown.keyboard.press("ArrowRight")
        shown.wait_for_timeout(3000)
        shown.screenshot(path=path)
        browser.close()


if __name__ == "__main__":
    text, names = rewritten(README.read_text(encoding="utf-8"))
    README.write_text(text, encoding="utf-8")
    SCALE.write_text(rewritten(SCALE.read_text(encoding="utf-8"))[0], encoding="utf-8")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    draw(names["L"]).save(PICTURE)
    steps(names["L"]).save(FILM)
    photograph(steps(names["L"]), STAGE)
