"""Execute the course: `make notebooks` writes what changed, `--check` compares with what is there.

What is written depends on the code alone: no times, no machine, no random ids. A cell with the
tag `timing` measures time, and its outputs alone may differ from run to run; a notebook whose
other outputs came out the same is left as it is. Then nothing changes where nothing changed. To
have something measured again, clear the outputs of its cell first.

After the last cell each that takes little time is run once more, the last first, and has to say the
same as before. A cell with the tag `once` shows what later cells change, and is left out.

The solutions at the end of a notebook stand in text that is folded up, `<details>`. Their code is
executed too, and has to be right. The links to next and previous are written here, and the cell that
installs the package.
"""

import argparse
import base64
import difflib
import io
import math
import os
import re
import sys
import time
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image, ImageChops

HERE = Path(__file__).parent
NOTEBOOKS = sorted(HERE.glob("[0-9]*.ipynb"))
QUICK = 2  # seconds: a cell that takes less is executed once more at the end
SECONDS_PER_CELL = 90  # 30 are allowed, on two cores with nothing else to do
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


# ── Executing ───────────────────────────────────────────────────────────────────────────────


def execute(path: Path) -> NotebookNode:
    """The notebook with its links and outputs, and nothing else that could change.

    Raises an error where a cell fails or takes too long, or says something else when it is run once
    more at the end, a solution is not right, or an output could not be the same tomorrow.
    """
    notebook = nbformat.read(path, as_version=4)
    link(notebook, path)
    cells, solutions = (
        [*notebook.cells],
        [*map(nbformat.v4.new_code_cell, solutions_of(notebook))],
    )
    client = NotebookClient(
        notebook,
        timeout=SECONDS_PER_CELL,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": HERE}},
    )
    client.reset_execution_trackers()
    with client.setup_kernel():
        run = partial(run_cell, client)
        quick = [cell for cell in cells if run(cell) < QUICK and not tags(cell)]
        for cell in reversed(quick):  # so each has all later cells behind it
            again = nbformat.v4.new_code_cell(cell.source)
            run(again)
            before, after = (
                [line for o in c.outputs for line in said(o)] for c in (cell, again)
            )
            if before != after:
                diff = "\n".join(
                    difflib.unified_diff(before, after, "first", "again", lineterm="", n=0)
                )
                raise ValueError(
                    f"{path.name}: cell {cell.id} says something else at the end:\n{diff}"
                )
        for solution in solutions:
            run(solution)
    notebook.cells = cells
    notebook.metadata = METADATA
    for solution in solutions:
        verdict = "".join(output.get("text", "") for output in solution.outputs)
        if "✓" not in verdict or "✗" in verdict:
            raise ValueError(f"{path.name}: not right: {verdict}\n{solution.source}")
    for cell in cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if said(output)]
            if changing := re.search(r"\b0x[0-9a-f]{6,}|/tmp/\S+", str(cell.outputs)):
                raise ValueError(f"{path.name}: {changing[0]} in an output of cell {cell.id}")
    return nbformat.reads(nbformat.writes(notebook), as_version=4)


def run_cell(client: NotebookClient, cell: NotebookNode) -> float:
    """Execute a cell; the seconds that it took, and infinity for a text."""
    if cell.cell_type != "code":
        return math.inf
    if cell not in client.nb.cells:
        client.nb.cells.append(cell)
    start = time.perf_counter()
    client.execute_cell(cell, client.nb.cells.index(cell))
    return time.perf_counter() - start


def tags(cell: NotebookNode) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


def solutions_of(notebook: NotebookNode) -> list[str]:
    """The code in the solutions."""
    folded = [cell.source for cell in notebook.cells if "<details>" in cell.source]
    return re.findall("```python\n(.*?)```", "\n".join(folded), re.DOTALL)


def link(notebook: NotebookNode, path: Path) -> None:
    """Fill the cells `links` (how long it is, to try it, next and previous), `install` behind it (which
    is made where it is missing), and `next` (at the end).
    """
    ids = [cell.id for cell in notebook.cells]
    if "links" in ids and "install" not in ids:
        notebook.cells.insert(ids.index("links") + 1, nbformat.v4.new_code_cell(id="install"))
    i = NOTEBOOKS.index(path)
    before = [f"← [{title(each)}]({each.name})" for each in NOTEBOOKS[i - 1 : i] if i]
    after = [f"[{title(each)}]({each.name}) →" for each in NOTEBOOKS[i + 1 : i + 2]]
    for cell in notebook.cells:
        if cell.id == "links":
            parts = extent(notebook), badges(path, address()), " · ".join([*before, *after])
            cell.source = "\n\n".join(filter(None, parts))
        elif cell.id == "install":
            cell.source = install(address())
        elif cell.id == "next":
            cell.source = f"Next: {after[0]}" if after else "This was the last notebook."


def extent(notebook: NotebookNode) -> str:
    """How long a notebook takes: 150 words a minute, and three minutes for each exercise."""
    texts = [c.source for c in notebook.cells if c.cell_type == "markdown" and c.id != "links"]
    words = sum(len(text.split()) for text in texts if "<details>" not in text)
    code = [c.source for c in notebook.cells if c.cell_type == "code"]
    exercises = sum(bool(re.search(r"^check\(", source, re.MULTILINE)) for source in code)
    minutes = 5 * round((words / 150 + 3 * exercises) / 5)
    return f"About {minutes} minutes: {round(words, -2):,} words, {exercises} exercises."


def title(path: Path) -> str:
    """A notebook's heading."""
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    return re.search("^# (.*)", text, re.MULTILINE)[1]


def address() -> str:
    """The address of the project's repository that pyproject.toml declares; "" where it declares none."""
    pyproject = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    return pyproject["project"].get("urls", {}).get("Repository", "")


def badges(path: Path, address: str) -> str:
    """The links to try a notebook in the browser, where a public address of it is declared."""
    github = "https://github.com/"
    if not address.startswith(github):
        return ""
    repository = address.removeprefix(github).removesuffix(".git")
    return (
        "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        f"(https://colab.research.google.com/github/{repository}/blob/main/notebooks/{path.name}) "
        "[![Launch Binder](https://mybinder.org/badge_logo.svg)]"
        f"(https://mybinder.org/v2/gh/{repository}/main?labpath=notebooks%2F{path.name})"
    )


INSTALL = """\
# Installs microgradlike where it is missing: {what}.
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path


def install():
    folders = [Path.cwd(), *Path.cwd().parents]
    checkouts = [folder for folder in folders if (folder / "microgradlike/value.py").is_file()]
{otherwise}
    # Never the bare name: whoever owns it on an index may have put anything there.
    package = f"microgradlike[all] @ {{source}}"
    command = [sys.executable, "-m", "pip", "install", "--quiet", package]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)


if find_spec("microgradlike") is None:
    install()"""


def install(address: str) -> str:
    """The cell that installs the package: from the checkout around the notebook, or else from this address."""
    if address:
        return INSTALL.format(
            what="from the checkout around this notebook, or else from the project's address",
            otherwise=f'    source = checkouts[0].as_uri() if checkouts else "git+{address}"',
        )
    return INSTALL.format(
        what="from the checkout around this notebook",
        otherwise="""\
    if not checkouts:
        raise ModuleNotFoundError(
            "microgradlike is not installed, and this notebook is in no checkout of it. "
            "Get the project's whole folder, and open the notebook in its folder notebooks/."
        )
    source = checkouts[0].as_uri()""",
    )


# ── Comparing ───────────────────────────────────────────────────────────────────────────────


def differences(old: NotebookNode, new: NotebookNode) -> Iterator[str]:
    """What is out of date in the old notebook, cell by cell."""
    if old.metadata != new.metadata or [c.id for c in old.cells] != [c.id for c in new.cells]:
        yield "its metadata, or its cells"
        return
    for was, now in zip(old.cells, new.cells, strict=True):
        if was.source != now.source:
            yield f"cell {now.id}: its text"
        measured = "timing" in tags(now) and was.outputs
        if now.cell_type == "code" and not measured:
            before, after = ([s for o in cell.outputs for s in said(o)] for cell in (was, now))
            if before != after:
                diff = difflib.unified_diff(before, after, "file", "now", lineterm="", n=1)
                yield "\n".join([f"cell {now.id}: its outputs", *(line[:300] for line in diff)])
            elif not all(map(same, plots(was), plots(now))):
                yield f"cell {now.id}: a plot"


def said(output: NotebookNode) -> list[str]:
    """What an output says, line by line: of a plot only that there is one, and of a drawing by
    Graphviz, which another release lays out in another way, the texts in it.
    """
    if output.output_type == "stream":
        return output.text.splitlines()
    lines = []
    for mime, content in output.get("data", {}).items():
        if mime == "image/png":
            lines += [mime]
        elif content:
            content = re.sub(r"data:image/svg\+xml;base64,([\w+/=]+)", decoded, str(content))
            content = content.replace(r"\u003c", "<")  # as it stands in JSON
            content = re.sub("<svg.*?</svg>", texts, content, flags=re.DOTALL)
            lines += [mime, *content.replace("<tr", "\n<tr").splitlines()]
    return lines


def decoded(data: re.Match[str]) -> str:
    """The text in a data address."""
    return base64.b64decode(data[1]).decode()


def texts(drawing: re.Match[str]) -> str:
    """The texts in a drawing."""
    return "\n".join(re.findall(r">([^<>]*\w[^<>]*)<", drawing[0]))


def plots(cell: NotebookNode) -> list[str]:
    """The plots among the outputs of a cell."""
    return [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]


def same(old: str, new: str) -> bool:
    """Whether two plots look the same: a few pixels may differ, by rounding of a last digit."""
    if old == new:
        return True
    a, b = (Image.open(io.BytesIO(base64.b64decode(each))).convert("L") for each in (old, new))
    if a.size != b.size:
        return False
    different = sum(ImageChops.difference(a, b).histogram()[32:])
    return different <= a.width * a.height / 2000


def write(notebook: NotebookNode, path: Path) -> None:
    """Replace the file as a whole."""
    beside = path.with_suffix(".new")
    nbformat.write(notebook, beside)
    os.replace(beside, path)


def main() -> None:
    """Execute the notebooks that are named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="all, if none is named")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail for old outputs"
    )
    options = parser.parse_args()
    wanted = {path.name for path in options.notebooks or NOTEBOOKS}
    outdated = 0
    for path in [path for path in NOTEBOOKS if path.name in wanted]:
        start = time.perf_counter()
        new = execute(path)
        changes = list(differences(nbformat.read(path, as_version=4), new))
        outdated += bool(changes)
        if changes and not options.check:
            write(new, path)
        what = "unchanged" if not changes else "OUT OF DATE" if options.check else "written"
        print(f"{path.name}: {what}, {time.perf_counter() - start:.0f} s", flush=True)
        if options.check:
            print(*[f"  {change}\n" for change in changes], sep="", end="", flush=True)
    if options.check and outdated:
        sys.exit(f"{outdated} out of date: run `make notebooks`, and commit what it changes")


if __name__ == "__main__":
    main()
