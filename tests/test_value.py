"""What Value promises: recording, accumulation, threads, depth, which numbers it takes, and errors that teach."""

import builtins
import copy
import gc
import json
import math
import operator
import os
import pickle
import statistics
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
import types
from contextlib import nullcontext
from decimal import Decimal
from fractions import Fraction
from math import inf, nan

import pytest
from optional import optional

import microgradlike.value
from microgradlike import (
    Value,
    affine,
    constant,
    dot,
    log_softmax,
    logsumexp,
    maximum,
    maxout,
    minimum,
    ops,
    softmax,
    topological_order,
)
from microgradlike import sum as sum_of
from microgradlike.support import locks, passes, visits
from microgradlike.value import NOT_COMPUTED

np = optional("numpy")

# ── What is recorded ───────────────────────────────────────────────────────────────────────────


def test_a_leaf():
    x = Value(3, label="x")
    assert (x.data, x.grad, x.op, x.inputs, x.local_grads, x.label) == (3.0, NOT_COMPUTED, ops.LEAF, (), (), "x")
    assert type(x.data) is float


def test_a_node():
    a, b = Value(2.0), Value(5.0)
    y = a * b
    assert (y.data, y.grad, y.op, y.label) == (10.0, NOT_COMPUTED, ops.MUL, "")
    assert y.inputs[0] is a and y.inputs[1] is b
    assert y.local_grads == (5.0, 2.0)


def test_an_input_that_occurs_twice_is_two_inputs():
    x = Value(3.0)
    y = x * x
    assert len(y.inputs) == 2 and y.inputs[0] is x and y.inputs[1] is x
    assert y.local_grads == (3.0, 3.0)


def test_one_node_for_each_operation_as_written():
    x, y = Value(3.0), Value(4.0)
    for node, op in [(x - y, ops.SUB), (x / y, ops.DIV), (-x, ops.NEG), (x**y, ops.POW), (abs(x), ops.ABS)]:
        assert node.op is op
        assert all(input in (x, y) for input in node.inputs)
    assert +x is x


@pytest.mark.parametrize(
    ("record", "op", "number_first", "result"),
    [
        (lambda x: x + 2, ops.ADD, False, 5.0),
        (lambda x: 2 + x, ops.ADD, True, 5.0),
        (lambda x: x - 2, ops.SUB, False, 1.0),
        (lambda x: 2 - x, ops.SUB, True, -1.0),
        (lambda x: x * 2, ops.MUL, False, 6.0),
        (lambda x: 2 * x, ops.MUL, True, 6.0),
        (lambda x: x / 2, ops.DIV, False, 1.5),
        (lambda x: 2 / x, ops.DIV, True, 2 / 3),
        (lambda x: x**2, ops.POW, False, 9.0),
        (lambda x: 2**x, ops.POW, True, 8.0),
        (lambda x: maximum(x, 2), ops.MAXIMUM, False, 3.0),
        (lambda x: maximum(2, x), ops.MAXIMUM, True, 3.0),
        (lambda x: minimum(x, 2), ops.MINIMUM, False, 2.0),
        (lambda x: minimum(2, x), ops.MINIMUM, True, 2.0),
    ],
)
def test_plain_numbers_on_either_side_become_constants(record, op, number_first, result):
    x = Value(3.0)
    y = record(x)
    number, other = y.inputs if number_first else y.inputs[::-1]
    assert other is x
    assert (number.op, number.data) == (ops.CONSTANT, 2.0)
    assert (y.op, y.data) == (op, result)


def test_functions_of_several_values():
    x, y = Value(1.0), Value(2.0)
    for node, op, inputs, result in [
        (sum_of([x, y, 3]), ops.SUM, 3, 6.0),
        (maxout(v for v in (x, y)), ops.MAX, 2, 2.0),
        (dot([x, y], [3, y]), ops.DOT, 4, 7.0),
        (affine([x, y], [3, y], 0.5), ops.AFFINE, 5, 7.5),
        (logsumexp([x, y]), ops.LOGSUMEXP, 2, math.log(math.e + math.e**2)),
    ]:
        assert (node.op, len(node.inputs), len(node.local_grads)) == (op, inputs, inputs)
        assert node.data == pytest.approx(result, rel=1e-15)
    assert sum(p.data for p in softmax([x, y, 5])) == pytest.approx(1.0, rel=1e-15)
    assert [p.data for p in log_softmax([x, y])] == pytest.approx([-math.log(1 + math.e), -math.log(1 + 1 / math.e)])


def test_of_no_values():
    assert sum_of([]) == 0.0 and dot([], []) == 0.0 and affine([], [], 2.0) == 2.0
    assert logsumexp([]) == -inf and softmax([]) == []
    for nothing in (sum_of([]), dot([], []), logsumexp([])):
        assert nothing.op is ops.CONSTANT and nothing.inputs == ()
    with pytest.raises(ValueError, match="at least one"):
        maxout([])


@pytest.mark.parametrize("function", [dot, lambda w, x: affine(w, x, 0.0)])
def test_w_and_x_of_different_lengths(function):
    with pytest.raises(ValueError, match="as many weights as inputs, got 2 weights and 3 inputs"):
        function([1, 2], [1, 2, 3])


def test_sums_run_from_left_to_right():
    xs = [0.1] * 10
    assert sum_of(xs).data == affine([1.0] * 10, xs, 0.0).data == dot(xs, [1.0] * 10).data == 0.9999999999999999


# ── backward ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("f", "grad"),
    [
        (lambda x: x * x, 6.0),
        (lambda x: x + x, 2.0),
        (lambda x: x - x, 0.0),
        (lambda x: x / x, 0.0),
        (lambda x: x * x * x, 27.0),
        (lambda x: (x + 1) * (x + 2) + (x + 1), 10.0),
        (lambda x: sum_of([x, x, x]), 3.0),
        (lambda x: affine([x, 2], [x, x], x), 9.0),
        (lambda x: maxout([x, x]), 1.0),
        (lambda x: x, 1.0),
        (lambda x: x**x, 27 * (math.log(3) + 1)),
    ],
)
def test_an_input_used_more_than_once(f, grad):
    x = Value(3.0)
    f(x).backward()
    assert x.grad == pytest.approx(grad, rel=1e-15)


def test_shared_subgraphs_are_counted_once_along_each_path():
    x = Value(1.5)
    y = x
    for _ in range(50):  # 2⁵⁰ paths, 50 nodes
        y = y + y
    y.backward()
    assert x.grad == 2.0**50
    assert len(topological_order(y)) == 51


def test_leaves_accumulate_and_nodes_in_between_do_not():
    x = Value(3.0)
    h = x * x
    y = 2 * h
    y.backward()
    assert (x.grad, h.grad, y.grad) == (12.0, 2.0, 1.0)
    y.backward()
    assert (x.grad, h.grad, y.grad) == (24.0, 2.0, 1.0)
    z = h * 5
    z.backward()
    assert (x.grad, h.grad, y.grad, z.grad) == (54.0, 5.0, 1.0, 1.0)
    for zero in (0.0, 0, None):
        x.grad = zero
        y.backward()
        assert x.grad == 12.0


def test_a_single_leaf_accumulates_as_well():
    x = Value(3.0)
    x.backward()
    x.backward(2.5)
    assert x.grad == 3.5


def test_constants_have_no_gradient():
    x = Value(-3.0)
    y = x**2 * constant(2.0)  # ∂/∂2 of (−3)² is nan
    y.backward()
    y.backward()
    assert x.grad == -24.0
    leaves = [node for node in topological_order(y) if not node.inputs]
    assert [node.has_grad for node in leaves] == [False, False, True]
    alone = constant(1.0)
    alone.backward()
    assert not alone.has_grad


def test_constants_alone():
    y = constant(2.0) * 3
    y.backward()
    assert (y.data, y.grad) == (6.0, 1.0)


def test_unused_values_stay_untouched():
    x, unused = Value(3.0), Value(1.0)
    other = unused * x
    (x * 2).backward()
    assert not unused.has_grad and not other.has_grad


@pytest.mark.parametrize("seed", [2, -0.5, np.float32(0.25), 0.0, inf])
def test_seed(seed):
    x = Value(3.0)
    y = x * 4
    y.backward(seed)
    assert (y.grad, x.grad) == (float(seed), 4 * float(seed))


def test_a_seed_that_is_no_number_changes_nothing():
    x = Value(3.0)
    with pytest.raises(TypeError, match="expected a real number"):
        (x * 2).backward("1")
    assert not x.has_grad


def test_a_zero_local_derivative_meets_an_infinite_upstream_gradient():
    x = Value(0.0)
    (x * x).sqrt().backward()
    assert math.isnan(x.grad)  # IEEE, and what PyTorch says


def test_local_derivatives_are_those_of_the_recorded_forward_pass():
    x, w = Value(3.0), Value(2.0)
    y = x * w + x.exp()
    x.data = 100.0
    assert x.data == 100.0
    y.backward()
    assert (x.grad, w.grad) == (2.0 + math.exp(3.0), 3.0)
    with pytest.raises(TypeError, match="expected a real number"):
        x.data = "7"
    assert x.data == 100.0


def test_topological_order_has_inputs_first_and_each_node_once():
    x, y = Value(1.0), Value(2.0)
    p = x * y
    q = p + x
    root = q * p
    order = topological_order(root)
    assert [v is u for v, u in zip(order, [x, y, p, q, root], strict=True)] == [True] * 5
    assert topological_order(x) == [x]


def test_constants_come_first_in_the_order_they_are_met():
    x = Value(1.0)
    y = (x * 2 + 3) * 4
    runs = [[v.data for v in topological_order(y) if v.op is ops.CONSTANT] for _ in range(3)]
    assert runs[0] == runs[1] == runs[2]
    assert all(v.op is ops.CONSTANT for v in topological_order(y)[:3])


# ── Threads ────────────────────────────────────────────────────────────────────────────────────


class SlowToAdd(float):
    """A gradient that lets another thread in between its being read and its being written."""

    def __add__(self, other):
        time.sleep(1e-4)
        return SlowToAdd(float(self) + other)


def in_two_threads(roots, times):
    def run(root):
        for _ in range(times):
            root.backward()

    threads = [threading.Thread(target=run, args=(root,)) for root in roots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def lost_updates():
    w = Value(2.0)
    w.grad = SlowToAdd(0.0)
    in_two_threads([w * 3, w * 5], times=50)
    return 50 * (3 + 5) - w.grad


def test_two_threads_lose_no_update():
    assert lost_updates() == 0.0


def test_without_the_lock_they_would(monkeypatch):
    monkeypatch.setattr(passes, "one_at_a_time", nullcontext())
    assert lost_updates() > 0.0


def test_many_backward_passes_through_a_shared_subgraph(monkeypatch):
    w = [Value(float(i)) for i in range(20)]
    h = [v * v for v in w]
    roots = [sum_of(h), dot(h, [2.0] * 20)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        in_two_threads(roots, times=500)
    finally:
        sys.setswitchinterval(interval)
    assert [v.grad for v in w] == [500 * (1 + 2) * 2.0 * i for i in range(20)]


# ── Depth and memory ───────────────────────────────────────────────────────────────────────────


def chain(n):
    x = Value(1.0)
    y = x
    one = constant(1.0)
    for _ in range(n // 2):
        y = y * one
        y = y + x
    return x, y


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_chain_of_a_million_operations(no_collector):
    x, y = chain(1_000_000)
    y.backward()
    assert x.grad == 500_001.0
    del x, y
    assert gc.collect() == 0  # nothing was left for the collector


def test_memory_per_operation(no_collector):
    n = 100_000
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        x, y = chain(n)
        recorded = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.reset_peak()
        y.backward()
        peak = tracemalloc.get_traced_memory()[1] - before
        del x, y
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert recorded / n <= 300
    assert peak / n <= 460
    assert left / n < 1  # freed without the collector


def test_a_wide_node_is_freed_as_well(no_collector):
    x = Value(1.0)
    y = sum_of([x * i for i in range(1000)]) + affine([x] * 1000, [x] * 1000, x)
    y.backward()
    del x, y
    assert gc.collect() == 0


# ── Which numbers are taken ────────────────────────────────────────────────────────────────────

GOOD = [
    (7, 7.0), (-0.0, -0.0), (np.float64(0.1), 0.1), (np.float32(0.1), 0.10000000149011612), (np.float16(0.1), 0.0999755859375),
    (np.int64(7), 7.0), (np.uint8(7), 7.0), (Fraction(1, 4), 0.25), (10**400, inf), (-(10**400), -inf),
    (np.longdouble(0.5), 0.5), (inf, inf), (2**53 + 1, 2.0**53),
]  # fmt: skip


class TensorLike:
    shape = (2, 3)


BAD = [
    (True, "1.0 or 0.0"),
    (np.True_, "1.0 or 0.0"),
    (1 + 2j, "x.real"),
    (np.complex128(1j), "x.real"),
    (np.complex64(1j), "x.real"),
    ("3", r"float\(x\)"),
    (None, "return"),
    (Decimal("0.1"), "rounding"),
    ([1.0], r"\[Value\(x\) for x in numbers\]"),
    ((1.0, 2.0), r"\[Value\(x\) for x in numbers\]"),
    (np.array([1.0, 2.0]), r"x\.item\(\), or a list of Values"),
    (TensorLike(), r"x\.item\(\)"),
    ({}, "dict"),
    (object(), "object"),
]


@pytest.mark.parametrize(("number", "expected"), GOOD, ids=lambda x: f"{type(x).__name__} {x}"[:25])
def test_numbers_become_python_floats(number, expected):
    x = Value(number)
    assert type(x.data) is float
    assert math.copysign(1.0, x.data) == math.copysign(1.0, expected) and x.data == expected
    half = Value(0.5)
    for y in (half + number, number + half, half * number, number * half, half - number, number - half):
        assert type(y) is Value and type(y.data) is float
    assert (number + half).data == expected + 0.5
    assert (number - half).data == expected - 0.5


def test_nan_is_a_number_here():
    assert math.isnan(Value(nan).data)


@pytest.mark.parametrize(("given", "advice"), BAD, ids=lambda x: type(x).__name__)
def test_other_things_are_refused_with_advice(given, advice):
    v = Value(2.0)
    attempts = [
        lambda: Value(given),
        lambda: constant(given),
        lambda: v + given,
        lambda: given + v,
        lambda: v * given,
        lambda: given * v,
        lambda: v - given,
        lambda: given - v,
        lambda: v / given,
        lambda: given / v,
        lambda: v**given,
        lambda: given**v,
        lambda: v < given,
        lambda: v >= given,
        lambda: maximum(given, v),
        lambda: sum_of([v, v, given]),
        lambda: affine([v], [given], v),
        lambda: v.leaky_relu(given),
        lambda: v.backward(given),
    ]
    for attempt in attempts:
        with pytest.raises(TypeError, match="expected a real number") as error:
            attempt()
        assert error.match(type(given).__name__) and error.match(advice)


@pytest.mark.parametrize("use", [Value, Value(2.0).backward, Value(2.0).leaky_relu])
def test_a_value_where_a_number_is_due(use):
    with pytest.raises(TypeError, match=r"write x\.data for its number; no Value needs another around it"):
        use(Value(1.0))


@pytest.mark.parametrize("array", [np.array([1.0, 2.0]), np.array([2.0]), np.zeros(0)])
def test_a_value_equals_no_array(array):
    for compare in (lambda: Value(2.0) == array, lambda: array == Value(2.0), lambda: Value(2.0) != array):
        with pytest.raises(TypeError, match=r"use single numbers: x\.item\(\), or a list of Values"):
            compare()


def test_a_label_is_a_text():
    with pytest.raises(TypeError, match=r"a label is a text, as in Value\(2\.0, 'w'\): got 5"):
        Value(1, 5)


def test_a_star_import_leaves_the_builtin_functions_alone():
    assert not set(microgradlike.__all__) & set(dir(builtins))


def test_long_input_is_shown_short():
    with pytest.raises(TypeError) as error:
        Value("x" * 1000)
    assert len(str(error.value)) < 200


# ── Nothing may cut the graph without a word ───────────────────────────────────────────────────


@pytest.mark.parametrize(
    "cut",
    [
        float, math.exp, math.sqrt, math.floor, math.isnan, complex, lambda v: math.pow(2, v), lambda v: math.fsum([v]),
        lambda v: np.asarray([v, v], dtype=float), lambda v: np.float64(v), Fraction,
    ],
)  # fmt: skip
def test_float_of_a_value(cut):
    with pytest.raises(TypeError):
        cut(Value(2.0) * 3)


@pytest.mark.parametrize(
    "cut",
    [
        float, int, complex, round, lambda v: round(v, 2), math.exp, math.sqrt, math.floor, math.ceil, math.trunc,
        lambda v: math.fmod(v, 2.0), lambda v: v // 2, lambda v: 2 // v, lambda v: v % 2, lambda v: 2 % v, lambda v: divmod(v, 2),
        lambda v: divmod(2, v), lambda v: statistics.mean([v, v]), statistics.NormalDist().cdf,
        np.float64, np.exp, np.sqrt, np.floor, lambda v: np.maximum(v, 1.0), lambda v: np.linalg.norm([v, v]),
        lambda v: np.array([v], float), lambda v: np.full(3, v, dtype=float), lambda v: np.add.accumulate(v), np.isfinite,
    ],
)  # fmt: skip
def test_the_error_says_what_to_write_instead(cut):
    with pytest.raises(TypeError, match=r"lose the graph.*value\.data.*value\.exp\(\)"):
        cut(Value(2.0))


NUMBERS = [
    2,
    2.0,
    np.float32(2),
    np.float64(2),
    np.longdouble(2),
    np.int8(2),
    np.array(2.0),
    np.array(2),
    Fraction(2),
    True + 1,
]
OPERATORS = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.lt, operator.le, operator.gt,
    operator.ge, operator.eq, operator.ne,
]  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS, ids=repr)
@pytest.mark.parametrize("apply", OPERATORS, ids=lambda f: f.__name__)
def test_every_kind_of_number_works_on_either_side(apply, number):
    v = Value(3.0)
    for got, expected in ((apply(v, number), apply(3.0, 2.0)), (apply(number, v), apply(2.0, 3.0))):
        if isinstance(expected, bool):
            assert got is expected
        else:
            assert got.data == expected and v in got.inputs


@pytest.mark.parametrize("apply", OPERATORS[:5], ids=lambda f: f.__name__)
def test_arrays_of_values_are_gone_over(apply):
    x, y, v = Value(2.0), Value(5.0), Value(3.0)
    A = np.array([[x, y], [y, 4.0]], object)
    for got, expected in ((apply(A, v), apply(A, 3.0)), (apply(v, A), apply(3.0, A))):
        assert got.shape == (2, 2)
        for one, other in zip(got.flat, expected.flat, strict=True):
            assert isinstance(one, Value) and v in one.inputs and one.data == getattr(other, "data", other)
    B = A.copy()
    B *= v
    assert (B[0, 0].inputs, B[1, 1].data) == ((x, v), 12.0)


def test_numpy_scalars_and_object_arrays_keep_the_graph():
    x, y = Value(2.0), Value(3.0)
    z = np.float64(2.0) * x
    assert type(z) is Value and z.inputs[1] is x
    total = np.array([x, y]).sum()
    assert total.op is ops.ADD
    product = np.array([x, y]) @ np.array([y, y])
    product.backward()
    assert (x.grad, y.grad) == (3.0, 8.0)


# ── From where else it is called: signal handlers, finalisers, forks ───────────────────────────


def interrupted(work, action, at):
    """Run work(), and action() before the line number `at` of the engine is run, as a signal handler would."""
    lines = 0

    def trace(frame, event, _):
        nonlocal lines
        if frame.f_code.co_filename not in {module.__file__ for module in (microgradlike.value, passes, visits)}:
            return None
        if event == "line":
            lines += 1
            if lines == at:
                sys.settrace(None)
                action()
                sys.settrace(trace)
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    return lines >= at


@pytest.mark.parametrize("action", ["walk", "same graph", "shared leaf", "node within"])
def test_a_pass_within_a_pass_changes_neither(action):
    x = Value(1.25, "x")
    inner = x * x + x
    y = (inner * x + inner) * inner
    y.backward()
    expected, at_inner = x.grad, inner.grad
    other = x * 4.0
    within = {"same graph": expected, "shared leaf": 4.0, "node within": 3.5}.get(action, 0.0)
    root = {"same graph": y, "shared leaf": other, "node within": inner}.get(action)

    def act():
        if root:
            root.backward()
        else:
            assert len(topological_order(y)) == 6

    for at in range(1, 200):
        x.grad = 0.0
        if not interrupted(y.backward, act, at):
            break
        assert (x.grad, y.grad) == (expected + within, 1.0), f"interrupted at line {at}"
        assert inner.grad in (at_inner, 1.0 if action == "node within" else at_inner)  # 1 after the pass
        assert not passes._going_on
    assert at > 60


def test_a_finaliser_that_walks_the_graph_is_harmless():
    x = Value(2.0)
    y = (x * x).exp()
    y.backward()
    expected = x.grad

    walks = []

    class Finalised:
        def __del__(self):
            y.backward()

    class Trap(float):
        """A gradient that drops an object while it is added to, in the middle of a pass."""

        def __add__(self, other):
            if not walks:  # once: the pass of the finaliser comes here, too
                walks.append(Finalised())
                walks[:] = [None]
            return float(self) + other

    x.grad = Trap(0.0)
    y.backward()
    assert x.grad == expected and y.grad == 1.0  # x.grad was read before: what the finaliser added is overwritten


def test_a_handler_that_raises_leaves_nothing_behind():
    x = Value(2.0)
    y = (x * x).exp()
    y.backward()
    expected = x.grad

    class Trap(float):
        def __add__(self, other):
            raise KeyboardInterrupt

    x.grad = Trap(0.0)
    with pytest.raises(KeyboardInterrupt):
        y.backward()
    x.grad = 0.0
    in_two_threads([y], times=1)  # another thread gets its turn
    assert x.grad == expected and not passes._going_on


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_child_forked_during_a_pass_of_another_thread_is_not_stuck(holds_in_children):
    def check():
        x, y = chain(10)
        y.backward()
        other = threading.Thread(target=y.backward, daemon=True)  # which must find the lock free
        other.start()
        other.join(10)
        return x.has_grad and not other.is_alive()

    holds_in_children(check, lambda: chain(1000)[1].backward(), children=20)


# ── Comparisons, hashing, copies, printing ─────────────────────────────────────────────────────


def test_comparisons_are_of_the_numbers():
    x, y = Value(1.0), Value(2.0)
    assert x < y and x <= y and y > x and y >= x and x != y
    assert x <= Value(1.0) and x >= Value(1.0) and not x < Value(1.0) and not x > Value(1.0) and x >= 1 and x <= 1
    assert x < 1.5 and x <= np.float32(1.5) and x == 1 and x != "1" and x != None  # noqa: E711
    assert Value(nan) != Value(nan)
    assert Value(1.0) and not Value(0.0)
    result = "positive" if x > 0 else "negative"
    assert result == "positive"
    assert sorted([y, x, Value(-1.0)])[0].data == -1.0
    assert max(x, y) is y and min([x, y]) is x
    assert all(type(answer) is bool for answer in (x == y, x < y, x >= 1))


def test_a_value_equals_itself_alone():
    x, y = Value(1.0), Value(1.0)
    assert x == x and x != y and len({x, y}) == 2
    names = {x: "x", y: "y"}
    assert (names[x], names[y]) == ("x", "y")
    values = [x, y, Value(1.0)]
    assert values.index(y) == 1 and values.count(y) == 1 and Value(1.0) not in values and (x, y) != (y, x)
    values.remove(y)
    assert [v is x for v in values] == [True, False]
    nan_value = Value(nan)
    assert nan_value == nan_value and nan_value != nan


def test_leaves_copy_and_pickle():
    x = Value(0.1, label="w")
    x.grad = 2.5
    c = constant(3.0)
    copies = [copy.copy, copy.deepcopy] + [lambda v, p=p: pickle.loads(pickle.dumps(v, p)) for p in range(6)]
    for duplicate in copies:
        y = duplicate(x)
        assert y is not x and (y.data, y.label, y.grad, y.op, y.inputs) == (0.1, "w", 2.5, ops.LEAF, ())
        assert duplicate(c).op is ops.CONSTANT
        assert not duplicate(Value(1.0)).has_grad and duplicate(Value(1.0)).grad is NOT_COMPUTED
    a, b = copy.deepcopy([x, x])
    assert a is b
    y.data = 7.0
    assert x.data == 0.1


class Parameter(Value):
    """A subclass as people write it, for room for attributes."""


class Slotted(Parameter):
    __slots__ = ("momentum", "unset")


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
@pytest.mark.parametrize("kind", [Parameter, Slotted])
def test_a_subclass_keeps_its_class_and_attributes(kind, duplicate):
    w = kind(2.0, "w")
    w.m, w.grad = [1.0], 3.0
    if kind is Slotted:
        w.momentum = 0.5
    again = duplicate(w)
    assert type(again) is kind and again is not w
    assert (again.data, again.label, again.grad, again.m) == (2.0, "w", 3.0, [1.0])
    assert kind is Parameter or again.momentum == 0.5
    (again * 2).backward()
    assert again.grad == 5.0 and w.grad == 3.0


def test_a_gradient_that_is_not_computed_counts_as_0_and_reads_as_a_dash():
    w = Value(2.0, "w")
    assert not w.has_grad and w.grad == 0.0 and not w.grad and isinstance(w.grad, float)
    m = 0.9 * 0.5 + 0.1 * w.grad
    assert m == 0.45 and type(w.grad + 1) is type(-w.grad) is type(w.grad * w.grad) is float
    assert (f"{w.grad:.4f}", f"{w.grad:8.2e}", f"{w.grad}", str(w.grad), repr(w.grad)) == (
        "0.0000",
        "0.00e+00",
        "–",
        "–",
        "–",
    )
    assert repr(w) == "Value(data=2.0, grad=–, label='w')"
    assert json.dumps([w.grad]) == "[0.0]" and np.array([w.grad])[0] == 0.0 and sum([w.grad]) == 0.0
    for assigned in (0, 0.0, np.float32(1)):
        w.grad = assigned
        assert w.has_grad
    w.grad = None  # as PyTorch's zero_grad leaves it
    assert not w.has_grad and repr(w) == "Value(data=2.0, grad=–, label='w')"
    (w * 3).backward()
    assert w.has_grad and w.grad == 3.0


def test_labels_are_checked_when_they_are_assigned():
    x = Value(1.0)
    for label in (3, None, b"x"):
        with pytest.raises(TypeError, match="a label is a text"):
            x.label = label
        with pytest.raises(TypeError, match="a label is a text"):
            Value(1.0, label)


@pytest.mark.parametrize(
    "record",
    [
        lambda x: Value(1.0, (x,), "tanh"),
        lambda x: Value(1.0, (x,), (0.5,)),
        lambda x: Value(1.0, [x]),
        lambda x: Value(1.0, _children=(x,), _op="+"),
        lambda x: Value(1.0, children=(x,), local_grads=(0.5,)),
        lambda x: Value(1.0, "y", (x,)),
    ],
)
def test_nodes_made_by_hand_are_shown_the_way_to_operation(record):
    with pytest.raises(TypeError, match=r"microgradlike\.operation") as error:
        record(Value(2.0))
    *_, first, second = str(error.value).splitlines()  # the two lines run
    names = {"microgradlike": microgradlike, "x": Value(2.0)}
    exec(textwrap.dedent(f"{first}\n{second}"), names)
    assert (names["out"].data, names["out"].local_grads) == (8.0, (12.0,))


@pytest.mark.parametrize(
    "apply", [operator.add, operator.mul, operator.pow, lambda a, b: maximum(a, b), lambda a, b: sum_of([a, b])]
)
def test_another_class_called_value_is_told_apart(apply):
    other = types.ModuleType("other")
    exec("class Value:\n    data, grad = 1.0, 0.0\n    def backward(self): pass", other.__dict__)
    for pair in ((Value(1.0), other.Value()), (other.Value(), Value(1.0))):
        with pytest.raises(TypeError, match=r"Value of the module other is another class.*restart"):
            apply(*pair)


@pytest.mark.parametrize(
    "members", [{"grad": 0.0}, {"backward": None}, {"grad": 0.0, "backward": None, "shape": ()}, {"shape": (), "dtype": np.dtype(float)}]
)  # fmt: skip
def test_what_only_resembles_a_value_or_a_number_is_no_real_number(members):
    for apply in (Value, lambda x: Value(1.0) + x, lambda x: x * Value(1.0)):
        with pytest.raises(TypeError, match="expected a real number"):
            apply(types.SimpleNamespace(**members))


def test_values_of_before_a_reload_are_told_apart():
    program = """
import importlib, operator, microgradlike, microgradlike.value
old = microgradlike.Value(2.0)
importlib.reload(microgradlike.value)
new = microgradlike.value.Value(3.0)
for name in ("mul", "pow", "lt", "le", "gt", "ge"):
    for a, b in ((old, new), (new, old)):
        try:
            getattr(operator, name)(a, b)
        except TypeError as error:
            print(error)
assert old != new and not old == new
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8", check=True)
    assert run.stdout.count("another class than microgradlike's Value") == 6 * 2, run.stdout


class Noted:
    """A lock that notes in a list when it is taken and given back."""

    def __init__(self, name, list):
        self.name, self.list = name, list

    def acquire(self):
        self.list.append(f"{self.name} taken")

    def release(self):
        self.list.append(f"{self.name} given back")


def test_a_fork_takes_the_older_of_two_locks_last_as_threads_do(monkeypatch):
    noted = []
    monkeypatch.setattr(locks, "_locks", {0: Noted("older", noted), 1: Noted("newer", noted)})
    locks._before_fork()
    locks._after_fork()
    assert noted == ["newer taken", "older taken", "older given back", "newer given back"]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_recorded_nodes_do_not_copy(duplicate):
    for node in (Value(1.0) * 2, -Value(1.0), chain(10_000)[1]):
        with pytest.raises(TypeError, match=r"only leaves .* computed by <operation .*Value\(v\.data\)"):
            duplicate(node)


def test_printing():
    x = Value(0.1, label="x")
    y = x * 3
    assert repr(x) == "Value(data=0.1, grad=–, label='x')"
    y.backward()
    assert repr(x) == "Value(data=0.1, grad=3.0, label='x')"
    assert str(y) == "Value(data=0.30000000000000004, grad=1.0)"
    assert f"{y:.3f} {y:8.1e} {x}" == "0.300  3.0e-01 Value(data=0.1, grad=3.0, label='x')"
    with pytest.raises(ValueError, match="format"):
        f"{y:s}"


@pytest.mark.parametrize("name", ["gard", "value", "requires_grad"])
def test_a_misspelt_attribute_is_an_error(name):
    with pytest.raises(AttributeError):
        setattr(Value(1.0), name, 1.0)


@pytest.mark.parametrize("name", ["inputs", "local_grads"])
def test_what_was_recorded_cannot_be_assigned(name):
    with pytest.raises(AttributeError):
        setattr(Value(1.0), name, ())


def test_a_subclass_of_value_is_a_value():
    class Weight(Value):
        __slots__ = ()

    w = Weight(2.0)
    y = affine([w, 1], [w, w], 1) + w * 3
    y.backward()
    assert w.grad == 4.0 + 1.0 + 3.0


# ── The import ─────────────────────────────────────────────────────────────────────────────────


def test_the_import_is_light():
    heavy = ["numpy", "graphviz", "pygraphviz", "matplotlib", "rich", "click", "IPython", "jax", "torch"]
    code = f"import sys, microgradlike; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
