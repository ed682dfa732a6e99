"""The helpers of the course: exercises that are checked without giving the answer away, and a style of plots."""

import contextlib
import subprocess
import sys
import threading
import time
from itertools import count
from types import SimpleNamespace

import pytest
from optional import optional

from microgradlike import Value
from microgradlike.course import check, limit, progress, seal
from microgradlike.course.engine import FirstValue, chain_rule, stand_in
from microgradlike.course.limit import within

np = optional("numpy")

RIGHT = [
    (6, 6), (6, 6.0), (6, 5.9999999999999), (0, 0.0), (2047, 2047), (-3, Value(-3.0)),
    (0.25, 0.25), (0.3333, 1 / 3), (0.25, 0.2501), (6.0, 6), (0.25, np.float64(0.25)), (6, np.int64(6)), (1.5e-9, Value(1.5e-9)), (0.0125499, 0.01255),
    (6, np.array(6)), (2.5, np.float32(2.5)), ((3, 1000), np.array([3, 1000])), ([0.5, "b"], [Value(0.5), np.str_("b")]),
    ("a − y", "A −y "), ([1, 0.5, "yes"], [1.0, 0.5, "Yes"]), ((1, 2), [1, 2]),
]  # fmt: skip
WRONG = [
    (6, 7), (2047, 2048), (6, 6.01), (0.25, 0.26), (0.25, -0.25), (0.25, 0.253), (1, "1"), ("yes", 1),
    ([1, 2], [2, 1]), ([1, 2], [1]), ([1, 2], 1), (1, [1]), (1, None), (1, float("nan")), (1, float("inf")),
    (1, True), (0, False), (6, "6"), (6, 10**400), (6, 6j), (6, {6}), (6, [6]), (6, np.array([6, 7])), (6, print), (6, int), (6, b"6"),
    ([1, 2], np.eye(2)), ([1, 2], [[1, 2]]), ([1, 2], ["1", None]), ([1, 2], {1: 2}), ("yes", ["yes"]), ("yes", float("nan")),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "answer"), RIGHT)
def test_right_answers(expected, answer, capsys):
    check(answer, seal(expected), hint="think")
    assert capsys.readouterr().out == "✓ Right.\n"


@pytest.mark.parametrize(("expected", "answer"), WRONG)
def test_wrong_answers_get_the_hint(expected, answer, capsys):
    check(answer, seal(expected), hint="think")
    out = capsys.readouterr().out
    assert out.startswith("✗ Not yet.")
    assert out.endswith("Hint: think\n")
    assert out.count("\n") == 1 and "Error" not in out


@pytest.mark.parametrize(
    ("expected", "answer", "said"),
    [
        (6, "6", "This is a text: write numbers without quotation marks."),
        (6, None, "This is None, and one number or one word is asked for: does your code return something?"),
        (6, float("nan"), "This is nan: something was too large for a float, or divided by 0."),
        (6, [6], "This is a list of 1, and one number or one word is asked for."),
        (6, lambda: 6, "This is a function, and one number or one word is asked for."),
        ((3, 1000), np.array([1000, 3]), ""),
        ((3, 1000), [3, 1001], "Right but for number 2."),
        ((3, 1000), 3, "This is one number, and 2 answers are asked for, as in (1, 2)."),
        ((3, 1000), (3, 1000, 1), "This is a list of 3, and 2 answers are asked for, as in (1, 2)."),
        ((3, 1000), ("3", "1000"), "This is a text: write numbers without quotation marks."),
    ],
)
def test_what_an_answer_is_that_cannot_be_right(expected, answer, said, capsys):
    check(answer, seal(expected))
    assert capsys.readouterr().out == " ".join(filter(None, ["✗ Not yet.", said])) + "\n"


class Mine(FirstValue):
    """One operation is still to be written, and one is wrong."""

    def __mul__(self, other):
        return ...

    def __neg__(self):
        return Mine(-self.data, (self,), (1.0,))


def test_what_a_function_calls_in_vain_is_no_fault_of_its_kind(capsys):
    check(lambda f: f(2), lambda answer: answer(3) == 5)
    assert capsys.readouterr().out == "✗ Not yet. TypeError: 'int' object is not callable.\n"
    check(3, lambda answer: answer(3) == 5)
    assert capsys.readouterr().out == "✗ Not yet. This is of the type int, and a function is asked for.\n"


def test_a_class_is_judged_by_the_operations_that_are_asked_for(capsys):
    check(Mine, chain_rule("a + b", "a * b"))
    assert capsys.readouterr().out == "· No answer yet: put yours in place of the dots.\n"
    check(Mine, chain_rule("a + b", "a - b"))
    assert capsys.readouterr().out.startswith("✗ Not yet. ")
    check(Mine, chain_rule("a + b", "a / b"))
    check(FirstValue, chain_rule())
    assert capsys.readouterr().out == "✓ Right.\n" * 2


def test_the_class_of_the_library_stands_in_for_one_that_is_not_right_yet(capsys):
    assert stand_in(Mine, "a + b", "a / b") is Mine and stand_in(FirstValue) is FirstValue
    assert capsys.readouterr().out == ""
    assert stand_in(Mine) is stand_in(Mine, "a - b") is FirstValue
    first, second = capsys.readouterr().out.splitlines()
    assert first == "· Mine is not finished. Instead of it we take FirstValue, the library's."
    assert second.startswith("· Mine is not right yet: ")


def test_a_hint_answers_the_wrong_answer_that_was_given(capsys):
    hints = {
        23860: "That is n.",
        (1, 2): "The other way round.",
        "relu": "Not that one.",
        RecursionError: "Use a loop.",
    }
    for answer in (23860, np.float64(23860), [1, 2], "ReLU", 3, lambda n: n):
        check(answer, seal(47720), hint="Count.", hints=hints)
    deep = lambda n: deep(n + 1)  # noqa: E731
    check(deep, lambda f: f(0), hint="Count.", hints=hints)
    lines = capsys.readouterr().out.splitlines()
    hinted = [line.partition("Hint: ")[2] for line in lines]
    assert hinted == [
        "That is n.",
        "That is n.",
        "The other way round.",
        "Not that one.",
        "Count.",
        "Count.",
        "Use a loop.",
    ]
    assert "It calls itself too often: Python stops at" in lines[-1]


def test_only_a_truth_value_is_a_verdict(capsys):
    for verdict in (np.bool_(True), np.array(1.0) == 1.0):
        check(1, lambda _, verdict=verdict: verdict)
    assert capsys.readouterr().out == "✓ Right.\n" * 2
    for verdict in (np.bool_(False), 1, 1.0, None, np.array([True, True]), [], [True]):
        check(1, lambda _, verdict=verdict: verdict)
    assert capsys.readouterr().out == "✗ Not yet.\n" * 7


def test_a_judge_may_assert(capsys):
    def judge(answer):
        if answer == 6:
            return True
        raise AssertionError("It is not 6.")

    check(6, judge)
    check(7, judge)
    check(6, lambda answer: exec("raise SystemExit"))
    assert capsys.readouterr().out.splitlines() == [
        "✓ Right.",
        "✗ Not yet. It is not 6.",
        "✗ Not yet. This is of the type int, which does not fit the question (SystemExit: ).",
    ]


def test_what_is_no_seal_and_no_function_is_the_teachers_mistake():
    with pytest.raises(TypeError, match="expected the seal of the right answer, or a function that judges it, got 6"):
        check(6, 6)


# ── The time limit ─────────────────────────────────────────────────────────────────────────────


def endless():
    for _ in count():
        pass


def stubborn_for_a_while():
    for _ in range(3):
        with contextlib.suppress(BaseException):
            endless()


@pytest.mark.parametrize("where", ["the main thread", "another thread"])
def test_an_answer_that_does_not_end_is_stopped(where, capsys):
    def paths(n):
        return 1 if n == 0 else paths(n - 1) + paths(n - 1)

    def ask():
        check(paths, lambda paths: paths(40) == 2**40, hints={TimeoutError: "There are 2⁴⁰ paths."}, seconds=0.2)
        check(endless, lambda f: f(), hint="think", seconds=0.2)
        check(stubborn_for_a_while, lambda f: f() is None, seconds=0.1)

    start = time.monotonic()
    if where == "the main thread":
        ask()
    else:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert time.monotonic() - start < 5
    stopped = (
        "✗ Not yet. It was stopped after 0.2 seconds: it never ends, or does the same work again and again. Hint: "
    )
    assert capsys.readouterr().out.splitlines() == [stopped + "There are 2⁴⁰ paths.", stopped + "think", "✓ Right."]


def test_what_waits_may_take_longer_than_what_computes():
    assert within(0.05, lambda: [time.sleep(0.01) for _ in range(15)]) == [None] * 15
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        within(0.05, lambda: [time.sleep(0.01) for _ in range(1000)])
    assert time.monotonic() - start < 5


def test_nothing_is_raised_after_the_end(monkeypatch):
    monkeypatch.setattr(limit, "WAITING", 1)
    for _ in range(300):
        with contextlib.suppress(TimeoutError):
            within(0.001, lambda: time.sleep(0.001))
    for _ in range(1000):
        time.sleep(0.0001)


def test_a_long_call_that_cannot_be_stopped_is_said_to_be_one(capsys, monkeypatch):
    monkeypatch.setattr(limit, "AGAIN", 0.005)
    monkeypatch.setattr(limit, "WAITING", 1)
    with pytest.raises(TimeoutError):
        within(0.01, lambda: time.sleep(0.5))
    assert capsys.readouterr().out == "It is in a long call that cannot be stopped from here: interrupt it.\n"


def test_where_no_thread_can_be_started_there_is_no_limit_and_it_says_so(capsys, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    check(6, lambda answer: answer == 6)
    assert capsys.readouterr().out == "There is no time limit here: if it does not end, interrupt it.\n✓ Right.\n"


def test_a_function_may_judge_and_say_what_is_wrong(capsys):
    check(4, lambda n: n % 2 == 0)
    check(5, lambda n: n % 2 == 0, hint="It is even.")
    check(5, lambda n: f"{n} is odd.", hint="Halve it.")
    check(5, lambda n: n / 0)
    assert capsys.readouterr().out.splitlines() == [
        "✓ Right.",
        "✗ Not yet. Hint: It is even.",
        "✗ Not yet. 5 is odd. Hint: Halve it.",
        "✗ Not yet. This is of the type int, which does not fit the question (ZeroDivisionError: division by zero).",
    ]


def test_dots_are_no_answer_yet(capsys):
    check(..., seal(1))
    check(..., lambda answer: 1 / 0)
    check(lambda x: ..., lambda answer: answer(2.0))  # a function whose body is still dots
    assert capsys.readouterr().out.count("· No answer yet") == 3


def test_a_seal_does_not_show_the_answer():
    assert len({seal(n) for n in range(1000)}) == 1000
    assert all(len(seal(n)) == 10 for n in range(1000))


def test_progress_passes_everything_on():
    assert list(progress([1, 2, 3], "counting")) == [1, 2, 3]


def test_what_progress_counts_is_text(monkeypatch):
    shown = []

    class Bar:
        def update(self, data, raw):
            shown.append(data["text/html"])

    monkeypatch.setattr(
        "microgradlike.course.bar.import_module", lambda _: SimpleNamespace(display=lambda *_, **__: Bar())
    )
    assert list(progress([1], "a < b <script>")) == [1]
    assert shown[0].startswith("a &lt; b &lt;script&gt; <progress ")


def test_the_style_is_found_by_name():
    pyplot = optional("matplotlib.pyplot")

    with pyplot.style.context("microgradlike.course"):
        assert pyplot.rcParams["axes.spines.top"] is False
        assert len(pyplot.rcParams["axes.prop_cycle"]) == 6


def test_a_limit_leaves_nothing_behind_that_a_tracer_stumbles_over():
    code = """
import sys
from microgradlike.course.limit import within

def endless():
    while True:
        pass

def tracer(frame, event, arg):
    frame.f_trace_opcodes = True
    return tracer

assert within(10.0, lambda: 1) == 1
try:
    within(0.05, endless)
except TimeoutError:
    sys.settrace(tracer)
    print(sum(i for i in range(100)))
"""
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, capture_output=True, text=True, timeout=30, check=True).stdout == "4950\n"
