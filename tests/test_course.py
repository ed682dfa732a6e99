"""The helpers of the course: exercises that are checked without giving the answer away, and a style of plots."""

from types import SimpleNamespace

import pytest
from optional import optional

from microgradlike import Value
from microgradlike.course import check, progress, seal

np = optional("numpy")

RIGHT = [
    (6, 6), (6, 6.0), (6, 5.9999999999999), (0, 0.0), (2047, 2047), (-3, Value(-3.0)),
    (0.25, 0.25), (0.3333, 1 / 3), (0.25, 0.2501), (6.0, 6), (0.25, np.float64(0.25)), (6, np.int64(6)), (1.5e-9, Value(1.5e-9)), (0.0125499, 0.01255),
    ("a − y", "A −y "), ([1, 0.5, "yes"], [1.0, 0.5, "Yes"]), ((1, 2), [1, 2]),
]  # fmt: skip
WRONG = [
    (6, 7), (2047, 2048), (6, 6.01), (0.25, 0.26), (0.25, -0.25), (0.25, 0.253), (1, "1"), ("yes", 1),
    ([1, 2], [2, 1]), ([1, 2], [1]), ([1, 2], 1), (1, [1]), (1, None), (1, float("nan")), (1, float("inf")),
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


def test_a_function_may_judge_and_say_what_is_wrong(capsys):
    check(4, lambda n: n % 2 == 0)
    check(5, lambda n: n % 2 == 0, hint="It is even.")
    check(5, lambda n: f"{n} is odd.", hint="Halve it.")
    check(5, lambda n: n / 0)
    assert capsys.readouterr().out.splitlines() == [
        "✓ Right.",
        "✗ Not yet. Hint: It is even.",
        "✗ Not yet. 5 is odd. Hint: Halve it.",
        "✗ Not yet. ZeroDivisionError: division by zero.",
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

    monkeypatch.setattr("microgradlike.course.import_module", lambda _: SimpleNamespace(display=lambda *_, **__: Bar()))
    assert list(progress([1], "a < b <script>")) == [1]
    assert shown[0].startswith("a &lt; b &lt;script&gt; <progress ")


def test_the_style_is_found_by_name():
    pyplot = optional("matplotlib.pyplot")

    with pyplot.style.context("microgradlike.course"):
        assert pyplot.rcParams["axes.spines.top"] is False
        assert len(pyplot.rcParams["axes.prop_cycle"]) == 6
