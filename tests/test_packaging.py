"""What the package tells pip and type checkers, and what it says where an installation lacks a package."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import LEFT_OUT, MAY_LACK

from microgradlike.support.extras import EXTRAS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = PROJECT["optional-dependencies"]
BOUNDS = {
    requirement for each in (PROJECT["dependencies"], *OPTIONAL.values()) for requirement in each if ">" in requirement
}


def pins(file):
    """{name: release} of a file of constraints."""
    return dict(re.findall(r"(?m)^([\w-]+)==([\d.]+)$", (ROOT / file).read_text(encoding="utf-8")))


def numbers(release):
    """(2, 0, 0) for 2, 2.0 and 2.0.0."""
    return tuple([*map(int, release.split(".")), 0, 0][:3])


@pytest.mark.parametrize("requirement", sorted(BOUNDS))
def test_the_oldest_releases_that_we_allow_are_those_that_ci_tests(requirement):
    name, oldest = requirement.split(">=")
    assert numbers(pins("constraints-oldest.txt")[name]) == numbers(oldest) <= numbers(pins("constraints.txt")[name])


def test_type_checkers_are_told_to_read_our_annotations():
    assert (files("microgradlike") / "py.typed").is_file()


# ── What an installation may lack ──────────────────────────────────────────────────────────────


def imported(path):
    """The packages that a file imports, and not for type checkers only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
        if isinstance(node, ast.Import):
            yield from (each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


def test_an_extra_brings_each_package_that_is_imported_and_no_dependency():
    used = {package for path in (ROOT / "microgradlike").rglob("*.py") for package in imported(path)}
    others = used - sys.stdlib_module_names - {"microgradlike", "traitlets"}  # anywidget brings traitlets
    assert others == {"graphviz", *EXTRAS}
    assert PROJECT["dependencies"] == ["graphviz>=0.20"]
    for package, extra in EXTRAS.items():
        assert package in [re.match(r"\w+", requirement)[0] for requirement in OPTIONAL[extra]]


def test_all_is_every_extra_of_what_microgradlike_imports_but_jax():
    extras = re.fullmatch(r"microgradlike\[(.*)\]", *OPTIONAL["all"])[1].split(",")
    assert sorted(extras) == sorted({"draw", *EXTRAS.values()} - {"jax"})


WITHOUT = """
import sys
class Lacking:
    def find_spec(name, *_):
        if name in {lacks}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Lacking)
"""


def run(code, *arguments, lacks=(), **environment):
    """Run Python, in which these packages cannot be found."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT.format(lacks=list(lacks)) + code, *arguments],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"} | environment,
    )


NEURON = "from microgradlike import *; from microgradlike import nn; x = Value(2.0, 'x'); "
WRONG = "f = operation('f', lambda xp, x: x * x, lambda xp, y, x: 3.0 * x); "
NEEDS = {
    "vectorize(x * x)": "numpy",
    "agreement('quadratic', nn.MLP(1, [1]), [1.0], [1.0])": "numpy",
    "from microgradlike.matrix import gradients": "numpy",
    "from microgradlike.nn.deltas import backpropagate": "numpy",
    "from microgradlike import training; training.program(nn.MLP(1, [1]), ([1.0], 1))": "numpy",
    "from microgradlike import training; training.with_progress_bar(iter([]), 1)": "rich",
    WRONG + "check_gradients(lambda: f(x), [x])": "mpmath",
    WRONG + "from microgradlike.testing import *; assert_gradients(lambda: f(x), [x])": "mpmath",
    "from microgradlike.view.plots import loss_curve": "matplotlib",
    "steps(x * x).widget()": "anywidget",
}


@pytest.mark.parametrize(("code", "package"), NEEDS.items())
@pytest.mark.parametrize("alone", [True, False], ids=["lacks it", "lacks everything"])
def test_who_needs_a_missing_package_says_in_one_line_how_to_install_it(code, package, alone):
    result = run(NEURON + code, lacks=[package] if alone else EXTRAS)
    named = package if alone and find_spec("numpy") else r"\w+"
    said = rf'[^:]+ needs {named}: pip install "microgradlike\[{EXTRAS[package]}\]"'
    assert re.fullmatch(rf"microgradlike\.support\.extras\.MissingPackage: {said}", result.stderr.splitlines()[-1])


def test_who_needs_jax_says_how_to_install_it_and_the_rest_works_without():
    pytest.importorskip("numpy")
    result = run(NEURON + "p = vectorize(x * x); print(p()); p.to_jax()", lacks=["jax"])
    said = 'to_jax needs jax: pip install "microgradlike[jax]"'
    assert (result.stdout, result.stderr.splitlines()[-1].partition(": ")[2]) == ("[4.]\n", said)


COMMANDS = [
    ("--help", "click", "cli"),
    ("explain x*x x=3", "rich", "cli"),
    ("check --sizes 2,1", "numpy", "matrix"),
    ("equations --sizes 2,1", "numpy", "matrix"),
    ("train moons", "matplotlib", "plots"),
    *[("demo", package, "all") for package in ("rich", "numpy", "matplotlib")],
]


@pytest.mark.parametrize(("arguments", "package", "extra"), COMMANDS)
def test_a_command_that_needs_a_missing_package_says_so_in_one_line(arguments, package, extra, tmp_path):
    if package != "click":
        pytest.importorskip("click")
    code = f"import os, sys; os.chdir({str(tmp_path)!r}); from microgradlike.cli import main; main()"
    result = run(code, *arguments.split(), lacks=[package])
    assert (result.returncode, result.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert re.fullmatch(rf'Error: [^:\n]+ needs {package}: pip install "microgradlike\[{extra}\]"\n', result.stderr)


def test_pictures_without_graphviz_say_in_one_line_how_to_install_it(tmp_path):
    code = f"sys.modules['pygraphviz'] = None; draw(x).save({str(tmp_path / 'x.dot')!r}); draw(x).svg()"
    said = run(NEURON + code, lacks=EXTRAS, PATH=str(tmp_path)).stderr.splitlines()[-1]
    assert said.startswith("RuntimeError: drawing needs Graphviz, and there is none.")
    assert 'Install it by `pip install "microgradlike[draw]"`' in said
    assert (tmp_path / "x.dot").exists()


def test_a_program_may_import_what_it_does_not_call():
    code = "y = x * x; y.backward(); assert check_gradients(lambda: x * x, [x]).ok; print(explain(y)); print(vectorize)"
    result = run(NEURON + code, lacks=EXTRAS)
    assert result.stdout.startswith("L = x·x = 4\n"), result.stderr
    assert result.stdout.endswith('\nvectorize needs numpy: pip install "microgradlike[matrix]"\n')


@pytest.mark.parametrize("name", ["vectorize", "agreement", "matrix.Program", "nn.deltas.arrays"])
@pytest.mark.parametrize(
    ("damage", "error"),
    [
        ("raise ImportError('no libopenblas')", "ImportError: no libopenblas"),
        ("import numpy._core", "ModuleNotFoundError: No module named 'numpy._core'; 'numpy' is not a package"),
    ],
)
def test_a_damaged_package_is_not_said_to_be_missing(name, damage, error, tmp_path):
    (tmp_path / "numpy.py").write_text(damage, encoding="utf-8")
    module, _, name = f"microgradlike.{name}".rpartition(".")
    result = run(f"sys.path.insert(0, {str(tmp_path)!r}); from {module} import {name}")
    assert result.stderr.splitlines()[-1] == error and "microgradlike[" not in result.stderr


# ── The tests themselves, in such an installation (`make test-bare`; see conftest.py) ──────────


@pytest.mark.parametrize(("file", "package"), LEFT_OUT.items())
def test_a_file_is_left_out_only_where_it_cannot_be_imported(file, package):
    result = run(f"sys.path.insert(0, {str(ROOT / 'tests')!r}); import {file.removesuffix('.py')}", lacks=[package])
    assert re.search(rf"(?m)^ModuleNotFoundError: .*{package}|MissingPackage: .* needs {package}: ", result.stderr)


def test_what_tests_may_lack_is_said_of_files_that_exist_and_of_what_extras_bring():
    assert all((ROOT / "tests" / file).is_file() for file in {*LEFT_OUT, *MAY_LACK})
    assert {package for packages in MAY_LACK.values() for package in packages} <= {
        *EXTRAS,
        "Graphviz",
        "IPython",
        "axe_playwright_python",
        "torch",
    }


@pytest.mark.parametrize(
    ("error", "package"),
    [
        ('RuntimeError("drawing needs Graphviz, and there is none")', "pygraphviz"),
        ('ModuleNotFoundError("no numpy", name="numpy")', "numpy"),
    ],
)
def test_a_test_is_skipped_only_for_a_package_that_is_not_installed(error, package, tmp_path):
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_page.py").write_text(f"def test_it(): raise {error}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=False)
    assert ("1 failed" if find_spec(package) else "1 skipped") in result.stdout
