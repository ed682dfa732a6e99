"""Ctrl-C may come at any moment: an interrupt is raised wherever Python looks for one, and all is as it was."""

import dis
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from microgradlike import (
    Value,
    check_gradients,
    detect_anomaly,
    finite_differences,
    gradient,
    topological_order,
    vectorize,
    watch,
)
from microgradlike import sum as sum_of
from microgradlike.check.gradients import backward_gradients
from microgradlike.support import passes
from microgradlike.support.exchange import Exchange, with_undo
from microgradlike.value import record

PACKAGE = Path(watch.__file__).parent
METHODS = {name: member for name, member in vars(Value).items() if callable(member) or name == "data"}
CODES = {f: f.__code__ for f in (record, Value.backward, gradient)}


def interrupted(call, files, moment=None):
    """Run call(), with a KeyboardInterrupt before the instruction `moment`; how often each was run up to there.

    An instruction is (code, position); a moment is an instruction and its how-manieth run.
    """
    runs = Counter()

    def on_event(frame, event, arg):
        if Path(frame.f_code.co_filename).name not in files:
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        if event == "opcode":
            instruction = frame.f_code, frame.f_lasti
            runs[instruction] += 1
            if moment == (instruction, runs[instruction]):
                raise KeyboardInterrupt
        return on_event

    tracer = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 traces instructions only if some frame wants it by now
    sys.settrace(on_event)
    try:
        call()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(tracer)
    return runs


def moments(call, files, also_from_an_if=False):
    """The first and the last run of each instruction in these files before which Python looks for interrupts."""
    interrupted(call, files)  # Python 3.13 traces instructions only from the second time on
    runs = interrupted(call, files)
    places = {code: interruptible(code, also_from_an_if) for code, _ in runs}
    return [(each, n) for each, last in runs.items() if each[1] in places[each[0]] for n in {1, last}]


def interruptible(code, also_from_an_if):
    """Where a function begins, after a call, and where a loop goes back: elsewhere no signal is handled.

    Where a loop goes back from an `if`, Python 3.12 and 3.13 forget every `finally` and `with` of the function
    (its table of exceptions does not cover that jump): those are to stand in functions without such a loop.
    """
    found, before = set(), ""
    for instruction in dis.get_instructions(code):
        goes_back = "JUMP_BACKWARD" in instruction.opname and (also_from_an_if or not before.startswith("POP_JUMP"))
        if before == "RESUME" or goes_back or before.startswith("CALL"):
            found.add(instruction.offset)
        before = instruction.opname
    return found


def check_that_nothing_is_left_changed():
    assert {name: member for name, member in vars(Value).items() if callable(member) or name == "data"} == METHODS
    assert {f: f.__code__ for f in CODES} == CODES
    assert watch.watchers.get() == ()
    assert watch.in_gradient.get() is False
    assert sys.getprofile() is None


def elsewhere(call):
    """call() in another thread, which waits for nobody."""
    result = []
    thread = threading.Thread(target=lambda: result.append(call()), daemon=True)
    thread.start()
    thread.join(20)
    return result[0]


@pytest.mark.parametrize("check", [check_gradients, finite_differences])
def test_an_interrupted_check_leaves_every_number_and_every_function_as_it_was(check):
    v, w = Value(1.5, "v"), Value(-2.0, "w")
    v.grad = 7.0

    def call():
        check(lambda: v * w, [v, w])

    files = {"gradients.py", "differences.py", "exchange.py", "watch.py", Path(__file__).name}
    every = moments(call, files)
    assert len(every) > (80 if check is check_gradients else 20)
    for moment in every:
        interrupted(call, files, moment)
        assert (v.data, w.data, v.grad) == (1.5, -2.0, 7.0), moment
        check_that_nothing_is_left_changed()


def test_an_interrupted_backward_pass_of_a_check_gives_the_gradients_back():
    w = Value(2.0)
    loss = (w * w).tanh()
    w.grad, loss.grad = 3.0, 4.0
    files = {"gradients.py", "exchange.py", "value.py", "passes.py", "visits.py"}
    for moment in moments(lambda: backward_gradients(loss), files):
        interrupted(lambda: backward_gradients(loss), files, moment)
        assert (w.grad, loss.grad) == (3.0, 4.0), moment


@pytest.mark.parametrize("walk", [Value.backward, topological_order])
def test_an_interrupted_walk_leaves_the_turn_to_others(walk):
    x = Value(1.25, "x")
    y = (x * 2.0 + sum_of([x, x * x, 3.0])) ** 2
    y.backward()
    expected = x.grad
    files = {"value.py", "passes.py", "visits.py", Path(__file__).name}
    every = moments(lambda: walk(y), files, also_from_an_if=True)
    assert len(every) > 15
    for moment in every:
        interrupted(lambda: walk(y), files, moment)
        assert len(elsewhere(lambda: topological_order(y))) == 9, moment
        assert not passes._going_on, moment
        x.grad = 0.0
        y.backward()
        assert x.grad == expected, moment


def test_an_interrupted_search_for_anomalies_ends_with_its_context():
    x = Value(2.0)

    def call():
        with detect_anomaly():
            y = (x * x).tanh()
            gradient(y, [x])
            y.backward()

    files = {"anomaly.py", "watch.py", "exchange.py", "contextlib.py", Path(__file__).name}
    every = moments(call, files)
    assert len(every) > 60
    for moment in every:
        interrupted(call, files, moment)
        check_that_nothing_is_left_changed()
    assert x.log().data > 0 and (Value(0.0) * x).log().data < 0


def test_an_interrupted_recording_leaves_the_comparisons_of_values_as_they_were():
    from microgradlike.matrix.guards import record_guarded

    x = Value(2.0)

    def call():
        return record_guarded(lambda: x * 3.0 if x > 1.0 else x)

    files = {"guards.py", "exchange.py", Path(__file__).name}
    every = moments(call, files)
    assert len(every) > 20
    for moment in every:
        interrupted(call, files, moment)
        check_that_nothing_is_left_changed()
    for recorded in (call, lambda: elsewhere(call)):
        y, notes = recorded()
        assert y.data == 6.0
        assert [(g.function, g.left, g.right.data, g.outcome) for g in notes.guards] == [("greater", x, 1.0, True)]


def test_each_thread_notes_its_own_comparisons_and_waits_for_nobody():
    """Two recordings overlap, one thread compares outside of any, and the first to leave leaves the others theirs."""
    from microgradlike.matrix.guards import record_guarded

    x, both = Value(2.0), threading.Barrier(2, timeout=20)
    found = {}

    def recording(name, compare, stays):
        def f():
            both.wait()  # both are in
            if not stays:
                return compare()
            both.wait()  # the other is out
            return compare()

        found[name] = record_guarded(f)[1].guards
        if not stays:
            both.wait()

    threads = [
        threading.Thread(target=recording, args=("first", lambda: x > 1.0, False)),
        threading.Thread(target=recording, args=("second", lambda: (x < 5.0, x <= 6.0), True)),
    ]
    for thread in threads:
        thread.start()
    assert x >= 0.0  # seen by nobody
    for thread in threads:
        thread.join(20)
    assert [g.function for g in found["first"]] == ["greater"]
    assert [g.function for g in found["second"]] == ["less", "less_equal"]
    check_that_nothing_is_left_changed()


def test_a_function_that_is_recorded_may_itself_record_in_another_thread():
    x, a = Value(2.0), Value(3.0)

    def loss():
        inner = elsewhere(lambda: vectorize(lambda: a * 2.0 if a > 0 else a, [a]))
        return x * inner([4.0])[0]

    assert vectorize(loss, [x])([5.0]) == [40.0]


def test_an_exception_of_body_comes_out_and_is_undone():
    undone = []
    with pytest.raises(ZeroDivisionError):
        with_undo(lambda: 1 / 0, lambda: undone.append(1))
    assert undone == [1, 1]
    assert with_undo(lambda: 5, lambda: 0) == 5


def test_what_somebody_else_put_in_place_before_is_put_back():
    class Thing:
        name = "old"

    exchange = Exchange([(Thing, "name", "new")])
    Thing.name = "other"
    exchange.enter(1)
    exchange.enter(2)
    exchange.leave(1)
    assert Thing.name == "new"
    exchange.leave(2)
    exchange.leave(2)
    assert Thing.name == "other"
