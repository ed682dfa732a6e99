"""Mutation testing: is there a test that fails for each small mistake that one could make in the package?

`python tests/mutants.py` changes one operator, number, condition or statement at a time, in a copy, and runs the tests
that reach the changed line, quick ones first, until one fails. What survives is listed, and belongs to one of three
kinds: a hole in the tests, to be closed; a change that nothing can tell (then equivalent_mutants.txt says why);
a text, which is not changed here at all. Fails where fewer than 97 % of the others are killed.

Takes hours, and may be interrupted: build/mutants.jsonl notes what became of each, and the next run tries only those
that are not killed yet; with `--anew`, all of them, each by the test first that killed it last time. Most are killed
within seconds, so that `--seconds 10` soon shows where the holes are. The sample hangs on the changed lines themselves,
so that it hardly changes with the package. Tests that open a browser are left out: they are slow, and test JavaScript
above all.

Maintained tools do not fit: mutmut changes the bodies of functions only, and so not the tables of lambdas that hold all
rules; cosmic-ray and mutatest run every test for every mutant.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import gc
import hashlib
import json
import multiprocessing
import os
import resource
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
from itertools import accumulate, pairwise
from math import inf
from multiprocessing.connection import Connection, wait
from pathlib import Path
from py_compile import PycInvalidationMode
from types import CodeType, FunctionType

import pytest

ROOT = Path(__file__).parents[1]
# {"lines": {module: {line: [test, or file]}}, "seconds": {test: its duration}}
COVERED = ROOT / "build" / "covered.json"
TRIED = ROOT / "build" / "mutants.jsonl"  # [the mutant's name, what became of it] in each line, the newest last
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.txt")
KILLED_AT_LEAST = 0.97
MEMORY = 6 << 30
IMPORTS = 120  # seconds that importing the package and all tests may take: more is a loop that never ends
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
        old = read(self.module)
        first, last = old.rfind(b"\n", 0, self.start) + 1, (old + b"\n").index(b"\n", self.end)
        before_and_after = old[first:last], old[first : self.start] + self.new + old[self.end : last]
        return "\n".join(
            f"{sign} {line.strip()}"
            for sign, lines in zip("-+", before_and_after)
            for line in lines.decode().splitlines()
            if line.strip()
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
    # two mutants within a second must not pass for each other, as they would by the time stamps of the files
    compileall.compile_dir(folder / "microgradlike", quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    return folder


def run_pytest(folder: Path, tests: list[str], plugins: list[object]) -> int:
    """pytest, in this process, on the copy in this folder."""
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        "mutants",
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],  # the machine is busy
    )
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    sys.path.insert(0, str(folder))
    options = ["-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*options, "--hypothesis-profile=mutants", *tests], plugins=plugins))


class Watch:
    """Notes which tests reach which lines, how long they take, and which fail without any change.

    Importing a test file may reach lines, too: those of the tables in it, which all of its tests may need.
    """

    def __init__(self, folder: Path) -> None:
        import coverage

        self.coverage = coverage.Coverage(data_file=None, source=[str(folder / "microgradlike")])
        self.coverage.set_option("run:disable_warnings", ["trace-changed"])
        self.folder, self.seconds, self.failed, self.blind = folder, defaultdict(float), set(), set()
        self.coverage.start()  # what importing runs counts for no test

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Iterator[None]:
        if isinstance(collector, pytest.Module):
            self.coverage.switch_context(collector.nodeid)
        result = yield
        self.coverage.switch_context("")
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        start = time.perf_counter()
        self.coverage.stop()  # anew for each test: some set a tracer of their own
        self.coverage.start()
        self.coverage.switch_context(function_of(item.nodeid))
        tracer = sys.gettrace()
        result = yield
        if sys.gettrace() is not tracer:  # it has put one of its own in the place
            self.blind.add(function_of(item.nodeid))
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
            reached = data.contexts_by_lineno(file)
            anywhere = self.blind & {test for tests in reached.values() for test in tests}
            contexts = {n: sorted({*tests, *anywhere} - self.failed) for n, tests in reached.items()}
            lines[str(Path(file).relative_to(self.folder))] = contexts
        COVERED.parent.mkdir(exist_ok=True)
        covered = {"lines": lines, "seconds": self.seconds, "failed": sorted(self.failed)}
        COVERED.write_text(json.dumps(covered), encoding="utf-8")


def function_of(nodeid: str) -> str:
    return nodeid.split("[")[0]


def killer_of(result: str) -> str:
    """The test function that killed a mutant."""
    return function_of(result.removeprefix("killed by ").removeprefix("the time of "))


def watch_all(folder: Path) -> None:
    run_pytest(folder, ["-m", "not browser", "tests"], [Watch(folder)])


class Trials:
    """A session of pytest that has collected all tests in a copy, and forks a child for each mutant.

    In the child the functions get their changed code, and the tests that reach the change are run. Where it changes
    what has run as package and tests were imported, they are imported anew, and pytest is called again.
    """

    def __init__(self, folder: Path, sample: list[Mutant], covered: dict, most: float, results: Connection) -> None:
        self.folder, self.sample, self.covered, self.most, self.results = folder, sample, covered, most, results

    def pytest_runtestloop(self, session: pytest.Session) -> None:
        package = str(self.folder)
        functions = [f for f in gc.get_objects() if type(f) is FunctionType]
        functions = [f for f in functions if f.__code__.co_filename.startswith(package)]
        gc.freeze()  # the children neither search nor copy what they share
        for mutant in self.sample:
            tests, runs_at_import = reaching(mutant, self.covered, self.most)
            chosen = Chosen(tests, self.covered["seconds"], self.folder)
            changed = self.folder / mutant.module
            changed.write_bytes(mutant.source())  # for tests that start another Python
            child = os.fork()
            if not child:
                os.setsid()
                resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
                if runs_at_import or not exchange_code(functions, mutant):
                    self.import_anew(chosen)
                session.config.pluginmanager.register(chosen)
                chosen.pytest_collection_modifyitems(session.items)
                return  # to pytest, which runs these tests and ends
            self.results.send((mutant, self.result(child, chosen)))
            changed.write_bytes(read(mutant.module))
        os._exit(0)

    def import_anew(self, chosen: Chosen) -> None:
        """Call pytest again, for few test files and then for all, and exit with its status."""
        status = pytest.ExitCode.OK
        for files in chosen.stages():
            chosen.limit(IMPORTS)
            for name, module in list(sys.modules.items()):
                if str(getattr(module, "__file__", "")).startswith(str(self.folder)):
                    del sys.modules[name]
            status = status or run_pytest(self.folder, ["--exitfirst", *files], [chosen])
        os._exit(status)

    def result(self, child: int, chosen: Chosen) -> str:
        """What became of the mutant that the child tries. Processor time decides, for the machine may be busy."""
        limit = time.monotonic() + 300 + 10 * sum(self.covered["seconds"][test] for test in chosen.order)
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < limit:
            time.sleep(0.01)
        with suppress(ProcessLookupError):  # and whatever its tests have started
            os.killpg(child, signal.SIGKILL)
        if ended == (0, 0):  # it waits for something, without computing
            os.waitpid(child, 0)
        status = os.waitstatus_to_exitcode(ended[1]) if ended[0] else -signal.SIGXCPU
        if status == pytest.ExitCode.OK:
            return "survived"
        if status == pytest.ExitCode.NO_TESTS_COLLECTED:
            raise RuntimeError("no tests were run")
        return f"killed by {'the time of ' * (status == -signal.SIGXCPU)}{chosen.last()}"


class Chosen:
    """Runs the chosen tests only, in their order, and notes which one runs.

    Ends the process at the first that computes ten times as long as without any change: a loop that never ends.
    """

    def __init__(self, tests: list[str], seconds: dict[str, float], folder: Path) -> None:
        self.order, self.seconds = {test: i for i, test in enumerate(tests)}, seconds
        self.running = folder / "running"
        self.running.unlink(missing_ok=True)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if function_of(item.nodeid) in self.order]
        items[:] = sorted(chosen, key=lambda item: self.order[function_of(item.nodeid)])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.running.write_text(nodeid, encoding="utf-8")
        self.limit(10 + 10 * self.seconds[function_of(nodeid)])

    def limit(self, seconds: float) -> None:
        """End the process when it has computed for so long, from now on."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds), resource.RLIM_INFINITY))

    def last(self) -> str:
        return self.running.read_text(encoding="utf-8") if self.running.exists() else "the imports"

    def stages(self) -> list[list[str]]:
        """The file of the first test and two that have most of the quick ones, for they cost least; and the others."""
        quick = Counter(test.split("::")[0] for test in self.order if self.seconds[test] < 0.5)
        files = [next(iter(self.order)).split("::")[0], *(file for file, _ in quick.most_common())]
        first = list(dict.fromkeys(files))[:3]
        others = {test.split("::")[0] for test in self.order} - set(first)
        return [stage for stage in (first, sorted(others)) if stage]


def reaching(mutant: Mutant, covered: dict, most: float = inf) -> tuple[list[str], bool]:
    """Which tests reach the changed lines, and whether they run at import, too.

    The one that killed it last time comes first, then quick ones: it, and as many others as last `most` seconds with it.

    Where none is known to reach the lines, those that reach the module: the lines run at import only, or in a
    process that a test has started.
    """
    lines, seconds = covered["lines"].get(mutant.module, {}), covered["seconds"]
    reached = {test for n in mutant.lines() for test in lines.get(str(n), ())}
    tests = reached & seconds.keys()
    runs_at_import = tests != reached or not tests
    tests = tests or {test for each in lines.values() for test in each} & seconds.keys()
    tests |= {test for test in seconds if test.split("::")[0] in reached}
    killer = covered.get("killers", {}).get(mutant)
    order = sorted(tests, key=lambda test: (test != killer, seconds[test], test))
    last = accumulate(seconds[test] for test in order)
    return [test for i, (test, at) in enumerate(zip(order, last)) if at <= most or not i], runs_at_import


def exchange_code(functions: list[FunctionType], mutant: Mutant) -> bool:
    """Give the functions the code that they have in the mutant, if that is possible."""
    sources = (read(mutant.module), mutant.source())
    before, after = (compile(source, mutant.module, "exec", dont_inherit=True) for source in sources)
    new = dict(functions_in(before, after))
    for function in functions:
        if function.__code__.co_filename.endswith(f"/{mutant.module}"):
            code = new.get(place(function.__code__), function.__code__)
            if code.co_freevars != function.__code__.co_freevars:
                return False  # it is a closure, and no longer of the same variables
            function.__code__ = code
    return True


def functions_in(before: CodeType, after: CodeType) -> Iterator[tuple[object, CodeType]]:
    """Where each function stands in the code before, and its code after."""
    inner = [[code for code in outer.co_consts if isinstance(code, CodeType)] for outer in (before, after)]
    for old, new in zip(*inner):
        yield place(old), new
        yield from functions_in(old, new)


def place(code: CodeType) -> object:
    return code.co_qualname, tuple(code.co_positions())


def try_all(
    sample: list[Mutant], covered: dict, folders: list[Path], most: float = inf
) -> Iterator[tuple[Mutant, str]]:
    """Each mutant and what became of it, as they end, by tests that last so many seconds at most."""
    context = multiprocessing.get_context("fork")
    connections, processes = [], []
    for i, folder in enumerate(folders):
        receiver, sender = context.Pipe(duplex=False)
        share = sample[i :: len(folders)]
        processes.append(context.Process(target=try_some, args=(folder, share, covered, most, sender)))
        processes[-1].start()
        sender.close()  # here, so that the end of the process is seen
        connections.append(receiver)
    left = len(sample)
    try:
        while connections:
            for connection in wait(connections):
                try:
                    yield connection.recv()
                    left -= 1
                except EOFError:
                    connections.remove(connection)
    finally:
        for process in processes:
            process.kill()
    if left:
        raise RuntimeError(f"{left} mutants were not tried: in a copy, pytest ended too early")


def try_some(folder: Path, sample: list[Mutant], covered: dict, most: float, results: Connection) -> None:
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    options = ["--exitfirst", "-m", "not browser", "tests"]
    os._exit(run_pytest(folder, options, [Trials(folder, sample, covered, most, results)]))


# ── The report ─────────────────────────────────────────────────────────────────────────────────


def known_equivalents() -> set[tuple[str, str]]:
    """(module, diff) of the blocks of the file: the module, the lines − and +, and the reason."""
    blocks = EQUIVALENT.read_text("utf-8").split("\n\n")
    lines = [block.strip().splitlines() for block in blocks if not block.startswith("#")]
    return {(block[0], "\n".join(line for line in block[1:] if line[0] in "-+")) for block in lines if block}


def named(mutants: list[Mutant]) -> dict[str, Mutant]:
    """The mutants by name: module and diff, numbered where several lines of a module are alike."""
    names: dict[str, Mutant] = {}
    seen: Counter = Counter()
    for mutant in mutants:
        name = f"{mutant.module}\n{mutant.diff()}"
        seen[name] += 1
        names[f"{name}\n{seen[name]}" if seen[name] > 1 else name] = mutant
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=1000, help="how many mutants (default: 1,000)")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--modules", nargs="*", default=[], help="parts of paths, as in ops.py matrix/ (default: all)")
    parser.add_argument("--seconds", type=float, default=inf, help="of tests for each mutant at most (default: all)")
    parser.add_argument("--anew", action="store_true", help="try those, too, that have been killed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    modules = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "microgradlike").rglob("*.py"))
    modules = [module for module in modules if any(part in module for part in options.modules or [""])]
    everything = named([mutant for module in modules for mutant in mutants(module)])
    names = sorted(everything, key=lambda name: hashlib.sha256(f"{options.seed}{name}".encode()).digest())
    known = known_equivalents()
    equivalent = [name for name in names if (everything[name].module, everything[name].diff()) in known]
    sample = [name for name in names[: options.n] if name not in equivalent and compiles(everything[name])]
    print(f"{len(sample)} of {len(names)} mutants, without {len(equivalent)} known to be equivalent", flush=True)
    tried = dict(map(json.loads, TRIED.read_text("utf-8").splitlines())) if TRIED.exists() else {}
    killed = {name: tried[name] for name in sample if tried.get(name, "survived") != "survived"}
    results = {} if options.anew else dict(killed)

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
        covered["killers"] = {everything[name]: killer_of(result) for name, result in killed.items()}
        left = {everything[name]: name for name in sample if name not in results}
        with suppress(KeyboardInterrupt), TRIED.open("a", encoding="utf-8") as notes:
            for mutant, result in try_all(list(left), covered, folders, options.seconds):
                results[left[mutant]] = result
                print(json.dumps([left[mutant], result], ensure_ascii=False), file=notes, flush=True)
                if result == "survived" or "the time of" in result:
                    count = f"{len(results)} of {len(sample)}"
                    print(f"\n{mutant.module}:{mutant.lines().start} {result} ({count})\n{mutant.diff()}", flush=True)

    tally: defaultdict[str, Counter] = defaultdict(Counter)
    for name, result in results.items():
        tally[everything[name].module][result != "survived"] += 1
    print()
    for module, counts in sorted(tally.items()):
        print(f"{module:40} {counts[True]:5} of {counts.total():5} killed")
    total = sum(tally.values(), Counter())
    print(f"{'all':40} {total[True]:5} of {total.total():5} killed: {total[True] / total.total():.1%}")
    print(f"{len(sample) - len(results)} were not tried")
    sys.exit(len(results) < len(sample) or total[True] < KILLED_AT_LEAST * total.total())


if __name__ == "__main__":
    main()
