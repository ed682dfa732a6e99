"""The mutation tester changes what it should, where it stands, and no texts."""

import mutants

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
