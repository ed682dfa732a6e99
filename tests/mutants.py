"""Mutation testing: is there a test that fails for each small mistake that one could make in the package?

`python tests/mutants.py` changes one operator, number, condition or statement at a time, in a copy, and runs the tests
that reach the changed line, quick ones first, until one fails. What survives is listed, and belongs to one of three
kinds: a hole in the tests, to be closed; a change that nothing can tell (then equivalent_mutants.txt says why);
a text, which is not changed here at all. Fails where fewer than 97 % of the others are killed.

Maintained tools do not fit: mutmut changes the bodies of functions only, and so not the tables of lambdas that hold all
rules; cosmic-ray and mutatest run every test for every mutant.
"""

from __future__ import annotations

import argparse
import ast
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from multiprocessing.connection import wait
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COVERED = ROOT / "build" / "covered.json"  # {"lines": {module: {line: [test]}}, "seconds": {test: its duration}}
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.txt")
KILLED_AT_LEAST = 0.97
MEMORY = 6 << 30
SWAPPED = {
    "+": "-", "-": "+", "*": "/", "/": "*", "//": "*", "%": "*", "**": "*", "@": "*", "|": "&", "&": "|", "^": "|",
    "<<": ">>", ">>": "<<", "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==",
    "is": "is not", "is not": "is", "in": "not in", "not in": "in", "and": "or", "or": "and",
    "min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum",
}  # fmt: skip
SYMBOLS = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.MatMult: "@", ast.BitOr: "|", ast.BitAnd: "&", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>",
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in", ast.And: "and", ast.Or: "or",
}  # fmt: skip


# ── What may be changed ────────────────────────────────────────────────────────────────────────


@cache
def read(module: str) -> bytes:
    return (ROOT / module).read_bytes()


@dataclass(frozen=True)
class Mutant:
    """One change: the bytes from start to end of a module, replaced."""

    module: str
    start: int
    end: int
    new: bytes

    def source(self) -> bytes:
        old = read(self.module)
        return old[: self.start] + self.new + old[self.end :]

    def lines(self) -> range:
        """The numbers of the lines that the change touches."""
        old = read(self.module)
        first, last = (old[:at].count(b"\n") + 1 for at in (self.start, self.end))
        return range(first, last + 1)

    def diff(self) -> str:
        """The changed lines, before and after."""
        touched = slice(self.lines().start - 1, self.lines().stop - 1)
        before_and_after = [source.decode().splitlines()[touched] for source in (read(self.module), self.source())]
        return "\n".join(
            f"{sign} {line.strip()}" for sign, lines in zip("-+", before_and_after) for line in lines if line.strip()
        )


def mutants(module: str) -> Iterator[Mutant]:
    """Every change of this module, in the order of its syntax tree."""
    source = read(module)
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def span(node: ast.AST) -> tuple[int, int]:
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    def between(left: ast.AST, right: ast.AST, symbol: str) -> Mutant:
        start, end = span(left)[1], span(right)[0]
        at = source.index(symbol.encode(), start, end)
        return Mutant(module, at, at + len(symbol), SWAPPED[symbol].encode())

    def replaced(node: ast.AST, text: str) -> Mutant:
        start, end = span(node)
        old = source[start:end]
        new = text.encode().replace(b"\0", old)
        if new.count(b"\n") < old.count(b"\n"):  # the lines that follow keep their numbers
            new += b"\n" * old.count(b"\n")
        return Mutant(module, start, end, b"(%s)" % new if isinstance(node, ast.expr) and b"\n" in new else new)

    def visit(node: ast.AST) -> Iterator[Mutant]:
        match node:
            case ast.JoinedStr() | ast.Assert() | ast.Import() | ast.ImportFrom():
                return
            case ast.If(test=ast.Name("TYPE_CHECKING")) | ast.keyword(arg="strict"):
                return
            case ast.Raise() | ast.Delete() | ast.Expr(ast.Call()):
                yield replaced(node, "pass")
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                yield replaced(node, "pass")
            case ast.Return(value) if value and not (isinstance(value, ast.Constant) and value.value is None):
                yield replaced(node, "return None")
            case ast.Break():
                yield replaced(node, "continue")
            case ast.Continue():
                yield replaced(node, "break")
            case ast.BinOp(left, op, right):
                yield between(left, right, SYMBOLS[type(op)])
            case ast.AugAssign(target, op, value):
                yield between(target, value, SYMBOLS[type(op)])
            case ast.Compare(left, ops, comparators):
                for a, op, b in zip([left, *comparators], ops, comparators):
                    yield between(a, b, SYMBOLS[type(op)])
            case ast.BoolOp(op, values):
                for a, b in pairwise(values):
                    yield between(a, b, SYMBOLS[type(op)])
                for value in values:
                    yield replaced(value, "True" if isinstance(op, ast.And) else "False")
            case ast.UnaryOp(ast.USub() | ast.Not() as op):
                start = span(node)[0]
                yield Mutant(module, start, start + (3 if isinstance(op, ast.Not) else 1), b"")
            case ast.Constant(bool(b)):
                yield replaced(node, str(not b))
            case ast.Constant(int() | float() as number):
                yield replaced(node, repr(2 * number if abs(number) > 9 or number % 1 else number + 1))
            case ast.Name(name) if name in SWAPPED:
                yield replaced(node, SWAPPED[name])
            case ast.Attribute(attr=attr) if attr in SWAPPED:
                yield Mutant(module, span(node)[1] - len(attr), span(node)[1], SWAPPED[attr].encode())
        tests = [node.test] if isinstance(node, ast.If | ast.IfExp | ast.While) else getattr(node, "ifs", [])
        for test in tests:
            yield replaced(test, "not (\0)")
        if isinstance(node, ast.Raise):
            return  # its message is a text
        for name, field in ast.iter_fields(node):
            if name not in ("annotation", "returns", "decorator_list"):
                for child in field if isinstance(field, list) else [field]:
                    if isinstance(child, ast.AST):
                        yield from visit(child)

    yield from visit(ast.parse(source))


def compiles(mutant: Mutant) -> bool:
    try:
        compile(mutant.source(), mutant.module, "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


# ── Running tests in a copy ────────────────────────────────────────────────────────────────────


def copy_to(folder: Path) -> Path:
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
    ).stdout.decode()  # fmt: skip
    for file in filter(None, files.split("\0")):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, folder / file)
    return folder


def run_pytest(folder: Path, tests: list[str], plugins: list[object]) -> int:
    """pytest, in this process, on the copy in this folder."""
    from hypothesis import Phase, settings

    settings.register_profile(
        "mutants", deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
    )
    os.chdir(folder)
    os.environ |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True  # two mutants within a second could pass for each other
    sys.path.insert(0, str(folder))
    options = [
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
        "--hypothesis-profile=mutants",
    ]
    return int(pytest.main([*options, *tests], plugins=plugins))


class Watch:
    """Notes which tests reach which lines, how long they take, and which fail without any change."""

    def __init__(self, folder: Path) -> None:
        import coverage

        self.coverage = coverage.Coverage(data_file=None, source=[str(folder / "microgradlike")])
        self.coverage.set_option("run:disable_warnings", ["trace-changed"])
        self.folder, self.seconds, self.failed = folder, defaultdict(float), set()
        self.coverage.start()  # what importing runs counts for no test

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        start = time.perf_counter()
        self.coverage.stop()  # anew for each test: some set a tracer of their own
        self.coverage.start()
        self.coverage.switch_context(function_of(item.nodeid))
        result = yield
        self.coverage.switch_context("")
        self.seconds[function_of(item.nodeid)] += time.perf_counter() - start
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(function_of(report.nodeid))

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        data, lines = self.coverage.get_data(), {}
        for file in data.measured_files():
            contexts = {
                n: [c for c in tests if c not in self.failed] for n, tests in data.contexts_by_lineno(file).items()
            }
            lines[str(Path(file).relative_to(self.folder))] = contexts
        COVERED.parent.mkdir(exist_ok=True)
        COVERED.write_text(json.dumps({"lines": lines, "seconds": self.seconds, "failed": sorted(self.failed)}))


def function_of(nodeid: str) -> str:
    return nodeid.split("[")[0]


def watch_all(folder: Path) -> None:
    run_pytest(folder, ["tests"], [Watch(folder)])


def run_mutant(folder: Path, mutant: Mutant, tests: list[str], covered: dict) -> None:
    """Exit with pytest's status: 0 where the mutant survives."""
    import resource

    os.setsid()
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    (folder / mutant.module).write_bytes(mutant.source())
    os._exit(run_pytest(folder, ["--exitfirst", *tests], [TimeLimit(covered["seconds"])]))


class TimeLimit:
    """Ends the process at the first test that computes ten times as long as without any change: a loop that never ends."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = used.ru_utime + used.ru_stime + 10 + 10 * self.seconds[function_of(nodeid)]
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit), resource.RLIM_INFINITY))


def selected(mutant: Mutant, covered: dict) -> list[str]:
    """The tests that reach the changed lines, quick ones first; all of the module's for what runs when it is imported."""
    lines = covered["lines"].get(mutant.module, {})
    tests = {test for n in mutant.lines() for test in lines.get(str(n), ())}
    if tests == {""}:
        tests = {test for each in lines.values() for test in each}
    return sorted(tests - {""}, key=lambda test: covered["seconds"][test])


def try_all(sample: list[Mutant], covered: dict, jobs: int, folders: list[Path]) -> Iterator[tuple[Mutant, str]]:
    """Each mutant and what became of it, as they end."""
    context = multiprocessing.get_context("fork")  # pytest, NumPy and their like are imported once, here
    waiting, running, free = sample[::-1], {}, folders[:jobs]
    try:
        while waiting or running:
            while waiting and free:
                mutant, folder = waiting.pop(), free.pop()
                tests = selected(mutant, covered)
                if not tests:
                    free.append(folder)
                    yield mutant, "survived"
                    continue
                process = context.Process(target=run_mutant, args=(folder, mutant, tests, covered))
                process.start()
                limit = 60 + 5 * sum(covered["seconds"][test] for test in tests)  # for what waits without computing
                running[process.sentinel] = process, mutant, folder, time.monotonic() + limit
            ended = wait(running, timeout=1)
            late = [sentinel for sentinel, (*_, limit) in running.items() if time.monotonic() > limit]
            for sentinel in {*ended, *late}:
                process, mutant, folder, _ = running.pop(sentinel)
                end(process)
                (folder / mutant.module).write_bytes(read(mutant.module))
                free.append(folder)
                if sentinel in ended and process.exitcode == pytest.ExitCode.NO_TESTS_COLLECTED:
                    raise RuntimeError(f"no tests were run for {mutant}")
                yield mutant, "survived" if sentinel in ended and process.exitcode == 0 else "killed"
    finally:
        for process, *_ in running.values():
            end(process)


def end(process: multiprocessing.Process) -> None:
    """End this process, and whatever the tests in it have started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


# ── The report ─────────────────────────────────────────────────────────────────────────────────


def known_equivalents() -> set[tuple[str, str]]:
    """(module, diff) of the blocks of the file: the module, the lines − and +, and the reason."""
    blocks = EQUIVALENT.read_text("utf-8").split("\n\n")
    lines = [block.strip().splitlines() for block in blocks if not block.startswith("#")]
    return {(block[0], "\n".join(line for line in block[1:] if line[0] in "-+")) for block in lines if block}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=1000, help="how many mutants (default: 1,000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--modules", nargs="*", default=[], help="parts of paths, as in ops.py matrix/ (default: all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    modules = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "microgradlike").rglob("*.py"))
    modules = [module for module in modules if any(part in module for part in options.modules or [""])]
    everything = [mutant for module in modules for mutant in mutants(module)]
    random.Random(options.seed).shuffle(everything)
    known = known_equivalents()

    with tempfile.TemporaryDirectory() as temporary:
        folders = [copy_to(Path(temporary) / str(i)) for i in range(options.jobs)]
        newest = max(
            path.stat().st_mtime for part in ("microgradlike", "tests") for path in (ROOT / part).rglob("*.py")
        )
        if not COVERED.exists() or COVERED.stat().st_mtime < newest:
            process = multiprocessing.get_context("fork").Process(target=watch_all, args=(folders[0],))
            process.start()
            process.join()
        covered = json.loads(COVERED.read_text(encoding="utf-8"))
        for test in covered["failed"]:
            print(f"{test} fails with nothing changed: not used")
        import hypothesis, matplotlib.pyplot, mpmath, numpy, rich  # noqa: E401, F401, I001

        equivalent = [mutant for mutant in everything if (mutant.module, mutant.diff()) in known]
        sample = [mutant for mutant in everything[: options.n] if mutant not in equivalent and compiles(mutant)]
        tally: defaultdict[str, Counter] = defaultdict(Counter)
        print(
            f"{len(sample)} of {len(everything)} mutants, without {len(equivalent)} known to be equivalent", flush=True
        )
        with suppress(KeyboardInterrupt):  # then the report is of those that were tried
            for i, (mutant, result) in enumerate(try_all(sample, covered, options.jobs, folders), 1):
                tally[mutant.module][result] += 1
                if result == "survived":
                    print(
                        f"\n{mutant.module}:{mutant.lines().start} ({i} of {len(sample)})\n{mutant.diff()}", flush=True
                    )

    print()
    for module, counts in sorted(tally.items()):
        print(f"{module:40} {counts['killed']:5} of {counts.total():5} killed")
    total = sum(tally.values(), Counter())
    print(f"{'all':40} {total['killed']:5} of {total.total():5} killed: {total['killed'] / total.total():.1%}")
    sys.exit(total["killed"] < KILLED_AT_LEAST * total.total())


if __name__ == "__main__":
    main()
