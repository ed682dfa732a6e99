"""The mutation tester changes what it should, where it stands, and no texts."""

import mutants
import pytest

MODULE = '''
"""A docstring with 1 + 1."""
TABLE = [Row("x + 1", lambda x: x + 1.5,
             lambda x: -x)]

def f(a: int = 3) -> int:
    if a < 9 and not a:
        raise ValueError(f"{a + 1} < 9" + "text")
    a += 10
    for x in a:
        g.data = max(x)
        g(x)
        break
    return (a if a is not None
            else True)
'''
CHANGES = """
- TABLE = [Row("x + 1", lambda x: x + 1.5,
+ TABLE = [Row("x + 1", lambda x: x - 1.5,

- TABLE = [Row("x + 1", lambda x: x + 1.5,
+ TABLE = [Row("x + 1", lambda x: x + 3.0,

- lambda x: -x)]
+ lambda x: x)]

- def f(a: int = 3) -> int:
+ def f(a: int = 4) -> int:

- if a < 9 and not a:
+ if not (a < 9 and not a):

- if a < 9 and not a:
+ if a < 9 or not a:

- if a < 9 and not a:
+ if True and not a:

- if a < 9 and not a:
+ if a < 9 and True:

- if a < 9 and not a:
+ if a <= 9 and not a:

- if a < 9 and not a:
+ if a < 10 and not a:

- if a < 9 and not a:
+ if a < 9 and  a:

- raise ValueError(f"{a + 1} < 9" + "text")
+ pass

- a += 10
+ a -= 10

- a += 10
+ a += 20

- g.data = max(x)
+ pass

- g.data = max(x)
+ g.data = min(x)

- g(x)
+ pass

- break
+ continue

- return (a if a is not None
- else True)
+ return None

- return (a if a is not None
+ return (a if not (a is not None)

- return (a if a is not None
+ return (a if a is None

- else True)
+ else False)
"""


def test_one_thing_at_a_time_is_changed_where_it_stands_and_no_text(tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    mutants.read.cache_clear()
    (tmp_path / "module.py").write_text(MODULE, encoding="utf-8")
    found = list(mutants.mutants("module.py"))
    mutants.read.cache_clear()
    assert [m.diff() for m in found] == CHANGES.strip().split("\n\n")
    assert all(map(mutants.compiles, found))
    assert all(m.source().count(b"\n") == MODULE.count("\n") for m in found)


def test_the_mutants_known_to_be_equivalent_exist():
    for module, change in mutants.known_equivalents():
        assert change in {mutant.diff() for mutant in mutants.mutants(module)}, f"{module}\n{change}"


MODULE_AND_TESTS = {
    "doubling/double.py": """
def double(x):
    if x < 0:
        raise ValueError("negative")
    return 2 * x
""",
    "tests/test_double.py": """
import pytest
from doubling.double import double

def test_negative():
    with pytest.raises(ValueError):
        double(-1)

@pytest.mark.parametrize("x", [0, 2])
def test_double(x):
    assert double(x) == x + x
""",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The mutants of a small package, and which test reaches which line of it."""
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    mutants.read.cache_clear()
    for file, content in MODULE_AND_TESTS.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(content, encoding="utf-8")
    negative, double = "tests/test_double.py::test_negative", "tests/test_double.py::test_double"
    lines = {"2": [""], "3": [negative, double], "4": [negative], "5": [double]}
    covered = {"lines": {"doubling/double.py": lines}, "seconds": {negative: 0.1, double: 0.2}}
    yield list(mutants.mutants("doubling/double.py")), covered
    mutants.read.cache_clear()


def test_each_mutant_is_killed_by_the_first_test_that_fails_or_survives(package, tmp_path):
    changes, covered = package
    at = changes[-1].start
    unchanged = mutants.Mutant(changes[-1].module, at, at, b"")
    tried = list(mutants.try_all([*changes, unchanged], covered, [tmp_path]))
    assert tried.pop() == (unchanged, "survived")
    assert {mutant.diff().splitlines()[1]: result for mutant, result in tried} == {
        "+ if not (x < 0):": "killed by tests/test_double.py::test_negative",
        "+ if x <= 0:": "killed by tests/test_double.py::test_double[0]",
        "+ if x < 1:": "killed by tests/test_double.py::test_double[0]",
        "+ pass": "killed by tests/test_double.py::test_negative",
        "+ return None": "killed by tests/test_double.py::test_double[0]",
        "+ return 2 / x": "killed by tests/test_double.py::test_double[0]",
        "+ return 3 * x": "killed by tests/test_double.py::test_double[2]",
    }
    covered["lines"]["doubling/double.py"]["5"] = ["tests/test_double.py::test_negative"]
    assert dict(mutants.try_all(changes[-3:], covered, [tmp_path])) == dict.fromkeys(changes[-3:], "survived")


def test_tests_that_reach_a_line_are_chosen_quick_ones_first(package, tmp_path):
    (*_, last), _ = package
    seconds = {
        "a::slow": 9.0,
        "a::x": 0.2,
        "a::y": 0.1,
        "b::x": 0.3,
        "c::x": 0.1,
        "d::x": 0.1,
        "d::y": 0.3,
        "e::x": 1.0,
    }
    lines = {"4": list(seconds), "5": ["e::x", "d::x"]}
    covered = {"lines": {last.module: lines}, "seconds": seconds}
    assert mutants.reaching(last, covered) == (["d::x", "e::x"], False)
    lines["5"].append("")
    assert mutants.reaching(last, covered) == (["d::x", "e::x"], True)
    del lines["5"]
    everything, runs_at_import = mutants.reaching(last, covered)
    assert (everything, runs_at_import) == (["a::y", "c::x", "d::x", "a::x", "b::x", "d::y", "e::x", "a::slow"], True)
    assert mutants.reaching(last, covered, most=0.55) == (["a::y", "c::x", "d::x", "a::x"], True)
    assert mutants.Chosen(everything, seconds, tmp_path).stages() == [["a", "d", "c"], ["b", "e"]]
    lines["5"] = ["d::x", "a"]
    assert mutants.reaching(last, covered) == (["a::y", "d::x", "a::x", "a::slow"], True)
    del lines["5"]
    for result in ("killed by e::x", "killed by the time of e::x[1-a b]"):
        covered["killers"] = {last: mutants.killer_of(result)}
        order, _ = mutants.reaching(last, covered)
        assert order == ["e::x", "a::y", "c::x", "d::x", "a::x", "b::x", "d::y", "a::slow"]
        assert mutants.reaching(last, covered, most=1.15)[0] == ["e::x", "a::y"]
        assert mutants.Chosen(order, seconds, tmp_path).stages() == [["e", "a", "d"], ["b", "c"]]


def test_a_loop_that_never_ends_as_the_package_is_imported_is_killed(package, tmp_path, monkeypatch):
    changes, covered = package
    monkeypatch.setattr(mutants, "IMPORTS", 3)
    text = "while True: pass\n"
    endless = mutants.Mutant(changes[0].module, 0, 0, text.encode())
    assert list(mutants.try_all([endless], covered, [tmp_path])) == [(endless, "killed by the time of the imports")]


def test_equal_changes_of_several_lines_have_names_of_their_own(package, tmp_path):
    changes, _ = package
    assert list(mutants.named([*changes, changes[0]]).values()) == [*changes, changes[0]]
