"""The found program on JAX: the same losses, and the derivatives of the table's rows to any order."""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")  # before JAX is imported

import gc
import json
import math
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import optax
import psutil
import pytest
from click.testing import CliRunner
from graphs import MODELS, RULES, random_network, split
from graphs import flat as all_of
from oracles import TABLE, logsumexp, sigmoid, softplus

from microgradlike import Value, gradient, nn, operation, ops, training, vectorize
from microgradlike import sum as sum_of
from microgradlike.cli.commands import main
from microgradlike.scale import Checkpoints, DataParallel
from microgradlike.scale.parallel import VIRTUAL
from microgradlike.value import apply

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)  # half the time to compile

ROOT = Path(__file__).parents[1]
FAR = [(x,) for x in (-1e300, -800.0, -40.0, -1.0, -1e-9, -0.0, 0.0, 1e-9, 0.3, 1.0, 40.0, 1000.0, 1e300)]
# (−2)⁰: ∂²/∂a∂b is 0·nan by the product rule. Here 0 · nan is 0, and what remains is the limit.
ZERO_TIMES_NAN = {("pow", (-2.0, 0.0))}


def parameters_of(program):
    return {p.name: p.data.copy() for p in program.parameters}


def mean_of(program, **settings):
    losses = program.to_jax(**settings)
    return lambda parameters, *batch: losses(parameters, *batch).mean()


def network(sizes=(4, 3, 2), activation="tanh", **settings):
    """(program, X, Y) of a network with random numbers."""
    model = nn.MLP(sizes[0], sizes[1:], activation, seed=0)
    x, y = ([Value(0.5, f"{name}{i}") for i in range(n)] for name, n in (("x", sizes[0]), ("y", sizes[-1])))
    rng = np.random.default_rng(0)
    X, Y = (rng.normal(size=(8, n)) for n in (sizes[0], sizes[-1]))
    return vectorize(nn.quadratic(model(x), y), batch=[x, y], **settings), X, Y


def points_of(row):
    """Operands on all sides of the kinks, at them and far out. JAX takes subnormal numbers for 0."""
    n = len(row.points[0])
    points = [*row.points, *(point for point, _ in row.kinks), *(FAR if n == 1 else [])]
    if n == 2:
        points += [(a, b) for a in (-2.0, -0.0, 0.0, 2.0) for b in (-1.0, 0.0, 0.5, 2.0)]
    normal = [p for p in points if all(math.isfinite(x) and (x == 0 or abs(x) > 1e-300) for x in p)]
    most = max({len(p) for p in normal}, key=[len(p) for p in normal].count)
    return [p for p in normal if len(p) == most]


def first_and_second(f, jacobian=jax.jacrev):
    """x ↦ (f, ∇f, Hessian), for a batch of x: the Jacobian, backward or forward, of the slope, backward."""

    def slope(x):
        y, back = jax.vjp(f, x)
        (dx,) = back(1.0)
        return dx, (y, dx)

    def both(x):
        second, (y, dx) = jacobian(slope, has_aux=True)(x)
        return y, dx, second

    return jax.jit(jax.vmap(both))


# ── Derivatives ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("row", [pytest.param(row, id=str(row)) for row in TABLE if row.op.name != "chosen"])
def test_first_and_second_derivatives_of_every_operation_are_those_of_the_scalar_engine(row):
    points = points_of(row)
    x = [Value(0.5) for _ in points[0]]
    losses = vectorize(apply(row.op, *x) * 1.0, [x]).to_jax()
    answers = first_and_second(lambda x: losses({}, x[None])[0])(np.array(points))
    for point, *got in zip(points, *answers, strict=True):
        x = [Value(each) for each in point]
        y = apply(row.op, *x)
        slopes = gradient(y, x)
        second = [[v.data for v in gradient(slope, x)] for slope in slopes]
        want = y.data, [v.data for v in slopes], second
        for a, b in zip(got, want, strict=True):
            if (row.op.name, point) not in ZERO_TIMES_NAN or np.ndim(b) < 2:
                np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-15, err_msg=f"{point}")


@pytest.mark.parametrize("jacobian", [jax.jacrev, jax.jacfwd])
@pytest.mark.parametrize(
    ("record", "exact", "points"),
    [
        (Value.sigmoid, sigmoid, [0.0, 1e-9, -3.0, 40.0, -700.0]),
        (Value.softplus, softplus, [0.0, -1e-9, 5.0, 40.0]),
        (Value.tanh, mpmath.tanh, [0.0, 1e-9, 2.0, -20.0]),
        (Value.elu, lambda x: x if x > 0 else mpmath.expm1(x), [1000.0, 3.0, -1.0, -40.0]),
        (lambda *x: apply(ops.LOGSUMEXP, *x), logsumexp, [(1.0, 1.0), (1000.0, 1000.0), (-800.0, 3.0), (0.0, -1e-9)]),
    ],
    ids=["sigmoid", "softplus", "tanh", "elu", "logsumexp"],
)
def test_the_stable_forms_have_the_derivatives_of_mathematics_at_ordinary_points(record, exact, points, jacobian):
    """Fresh biases make z = 0; JAX's own derivatives there are those of exp(−|x|), maximum(x, 0) and max."""
    points = [p if isinstance(p, tuple) else (p,) for p in points]
    x = [Value(0.5) for _ in points[0]]
    losses = vectorize(record(*x) * 1.0, [x]).to_jax()
    answers = first_and_second(lambda x: losses({}, x[None])[0], jacobian)(np.array(points))
    with mpmath.workdps(400):
        for point, got in zip(points, zip(*answers, strict=True), strict=True):
            n = range(len(point))

            def partial(*orders, point=point):
                return float(mpmath.diff(exact, tuple(map(mpmath.mpf, point)), orders))

            first = [partial(*(int(i == k) for k in n)) for i in n]
            second = [[partial(*((i == k) + (j == k) for k in n)) for j in n] for i in n]
            for a, b in zip(got[1:], (first, second), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-11, atol=2e-16, err_msg=f"{point}")


def test_what_jax_makes_of_the_same_lines_by_itself_is_not_that():
    """The test above can fail: differentiated by JAX, the value rules give other numbers."""
    from microgradlike.ieee import Namespace

    xp = Namespace.of(jnp)
    slope = {op: jax.grad(lambda x, op=op: op.value(xp, x)) for op in (ops.SIGMOID, ops.SOFTPLUS, ops.elu(1.0))}
    assert slope[ops.SIGMOID](0.0) != 0.25 and slope[ops.SOFTPLUS](0.0) != 0.5
    assert math.isnan(slope[ops.elu(1.0)](1000.0))


def test_third_derivatives_go_on():
    x = [Value(0.0)]
    losses = vectorize(x[0].sigmoid() * 1.0, [x]).to_jax()
    third = jax.jit(jax.grad(jax.grad(jax.grad(lambda x: losses({}, x[None, None])[0]))))
    assert third(0.0) == -0.125


@pytest.mark.parametrize("make", [*MODELS, random_network], ids=lambda make: make.__name__)
def test_losses_and_gradients_are_those_of_the_program(make):
    rng = random.Random(5)
    loss, batch = make(rng)
    if make is random_network:
        batch = split(rng, all_of(batch))
    program = vectorize(loss, batch)
    X = [np.array([[rng.uniform(0.3, 2) for _ in all_of(each)] for _ in range(3)]) for each in batch]
    losses = program.backward(*X)
    f = program.to_jax()
    slopes, got = jax.jit(jax.grad(lambda p, *X: (f(p, *X).mean(), f(p, *X)), has_aux=True))(parameters_of(program), *X)
    np.testing.assert_allclose(got, losses, rtol=1e-11, atol=1e-13)
    steepest = max((abs(p.grad).max() for p in program.parameters), default=0.0)
    for p in program.parameters:
        np.testing.assert_allclose(slopes[p.name], p.grad, rtol=1e-10, atol=1e-13 * steepest, err_msg=p.name)


@pytest.mark.parametrize("rule", RULES)
def test_rules_of_your_own_may_compare_and_choose(rule):
    record = operation("rule", RULES[rule], lambda xp, y, x: 1.0 + 0.0 * x)
    x, w = [Value(0.9), Value(0.3)], [Value(1.0), Value(0.8)]
    program = vectorize(sum_of([record(a) * record(b) for a, b in zip(w, x, strict=True)]), [x])
    numbers = np.array([[0.0, -0.0], [1.0, 0.3], [0.8, 0.9], [1.4, 0.6]])
    got = jax.jit(program.to_jax())(parameters_of(program), numbers)
    np.testing.assert_allclose(got, program(numbers), rtol=1e-14)


def test_second_derivatives_of_an_operation_of_your_own_are_those_of_its_rules():
    wave = operation("wave", lambda xp, x: xp.sin(x) / abs(x), lambda xp, y, x: xp.cos(x) / abs(x) - y / x)
    x, w = [Value(-1.3)], Value(0.7)
    program = vectorize(wave(x[0] * w), [x])
    want = gradient(gradient(wave(x[0] * w), [w])[0], [w])[0].data
    (name,) = parameters_of(program)
    got = jax.jit(jax.hessian(mean_of(program)))({name: np.array([0.7])}, np.array([[-1.3]]))[name][name]
    assert got.item() == pytest.approx(want, rel=1e-12)


def test_a_branch_that_a_choice_leaves_out_sends_back_nothing():
    """A gradient penalty: ∂elu/∂x at 1000 is 1, and e¹⁰⁰⁰ = ∞ stands in the branch not taken."""
    x, w = [Value(-1.0)], Value(1.0)
    slope = gradient((x[0] * w).elu(), x)[0]
    program = vectorize(slope * slope, [x])
    X = np.array([[-1.0], [1000.0]])
    want = program.gradients(X)
    got = jax.jit(jax.grad(mean_of(program)))(parameters_of(program), X)
    assert [got[name].tolist() for name in want] == [pytest.approx(want[name].tolist()) for name in want]


def test_a_comparison_that_comes_out_otherwise_gives_nan_for_that_sample():
    x, w = Value(2.0), Value(3.0)
    program = vectorize(lambda: w * x if x > 0 else w, [x])
    X = np.array([[2.0], [-1.0], [1.0]])
    f, parameters = program.to_jax(), parameters_of(program)
    assert np.isnan(f(parameters, X)).tolist() == [False, True, False]
    assert np.isnan(jax.jit(jax.grad(mean_of(program)))(parameters, X)["w₁"]).all()
    assert f(parameters, X[::2]).tolist() == program(X[::2]).tolist()


# ── Composes with the rest of JAX ──────────────────────────────────────────────────────────────


def test_it_maps_over_parameters_and_trains_with_optax():
    program, X, Y = network()
    mean, parameters = mean_of(program), parameters_of(program)
    several = {name: np.stack([x, 2 * x]) for name, x in parameters.items()}
    both = jax.jit(jax.vmap(mean, in_axes=(0, None, None)))(several, X, Y)
    np.testing.assert_allclose(both[0], program(X, Y).mean(), rtol=1e-14)
    optimizer = optax.adam(0.01)
    state = optimizer.init(parameters)
    ours = nn.Adam(program.parameters, lr=0.01)
    step = jax.jit(jax.value_and_grad(mean))
    for _ in range(5):
        want = program.backward(X, Y).mean()
        ours.step()
        loss, slopes = step(parameters, X, Y)
        changes, state = optimizer.update(slopes, state)
        parameters = optax.apply_updates(parameters, changes)
        assert loss == pytest.approx(want, rel=1e-12)
    for p in program.parameters:
        np.testing.assert_allclose(parameters[p.name], p.data, rtol=1e-10)


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-14), ("float32", 1e-6), ("bfloat16", 0.02)])
def test_it_computes_in_the_dtype_that_is_asked_for(dtype, bound):
    """Some forty operations of 53, 24 and 8 bits; a gradient has the dtype of its parameter."""
    program, X, Y = network(activation="sigmoid")
    losses, want = jax.jit(program.to_jax(dtype))(parameters_of(program), X, Y), program.gradients(X, Y)
    assert losses.dtype == dtype
    np.testing.assert_allclose(losses.astype(float), program(X, Y), rtol=bound)
    for of_parameters in {dtype, "float32"}:
        given = {name: jnp.asarray(x, of_parameters) for name, x in parameters_of(program).items()}
        for name, slope in jax.jit(jax.grad(mean_of(program, dtype=dtype)))(given, X, Y).items():
            assert slope.dtype == of_parameters
            within = max(bound, 1e-6 if of_parameters == "float32" else 0) * abs(want[name]).max()
            np.testing.assert_allclose(slope.astype(float), want[name], atol=within, rtol=0, err_msg=name)


def test_a_program_in_float32_needs_no_float64():
    program, X, Y = network(dtype=np.float32)
    with jax.enable_x64(False):
        losses = jax.jit(program.to_jax())(parameters_of(program), X, Y)
        assert losses.dtype == np.float32
        np.testing.assert_allclose(losses, program(X, Y), rtol=1e-5)


def test_what_jax_compiles_does_not_grow_with_the_scalar_graph():
    def lines(width):
        program, X, Y = network((width, width, 4))
        return len(jax.make_jaxpr(jax.grad(mean_of(program)))(parameters_of(program), X, Y).eqns)

    assert lines(32) == lines(8)


# ── Bad input ──────────────────────────────────────────────────────────────────────────────────

GIVEN, X, Y = network()
P = parameters_of(GIVEN)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda f: f(P, X), TypeError, "expected 2 arrays (x0 … x3 of shape (m, 4), y0 … y1 of shape (m, 2)), got 1"),
        (lambda f: f(P, X, Y[:5]), ValueError, "expected arrays of one number of samples m"),
        (lambda f: f(P, X[:, :3], Y), ValueError, "x0 … x3 of shape (m, 4)"),
        (lambda f: f(P, 1.0, Y), ValueError, "samples on the first axis"),
        (lambda f: f(P, X + 1j, Y), TypeError, "array of real numbers, got one of complex128"),
        (lambda f: f([*P.values()], X, Y), TypeError, "{p.name: p.data for p in program.parameters}, got list"),
        (lambda f: f({}, X, Y), ValueError, "expected the parameters W¹, b¹, W², b², got none"),
        (lambda f: f(P | {"b¹": np.zeros(4)}, X, Y), ValueError, "expected the parameter b¹ of shape (3,), got (4,)"),
        (lambda f: f(P | {"b¹": np.zeros(3, bool)}, X, Y), TypeError, "real numbers, got one of bool"),
        (lambda f: GIVEN.to_jax("float16"), TypeError, "dtype must be float64, float32 or bfloat16, got float16"),
    ],
)
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["called", "compiled"])
def test_bad_input_is_named(transform, call, error, said):
    with pytest.raises(error) as caught:
        call(transform(GIVEN.to_jax()))
    assert said in str(caught.value)


def test_float64_where_jax_is_not_told_to_use_it_is_an_error():
    f = GIVEN.to_jax()
    with jax.enable_x64(False):
        for call in (GIVEN.to_jax, lambda: f(P, X, Y)):
            with pytest.raises(ValueError, match="jax_enable_x64"):
                call()
        assert jax.eval_shape(GIVEN.to_jax("float32"), P, X, Y).dtype == np.float32


# ── Several devices ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("optimizer", [nn.SGD, nn.Adam])
def test_eight_devices_and_one_train_as_the_scalar_graph_does(optimizer):
    """Past the end of the samples: 44 are five minibatches of 8, and 4 that do not divide over 8 devices."""
    samples = training.moons().train[:44]
    streams = {}
    for devices in (0, 1, 8):
        model = nn.MLP(2, [4, 1], "sigmoid", seed=0)
        if devices:
            program = training.program(model, samples[0])
            trainer = DataParallel(program, optimizer(program.parameters, lr=0.1), devices)
            streams[devices] = training.jax_steps(trainer, samples, batch_size=8, seed=0), model
        else:
            streams[0] = training.steps(model, samples, optimizer(model.parameters(), lr=0.1), 8, seed=0), model
    want, *others = ([next(stream) for _ in range(14)] for stream, _ in streams.values())
    for losses in others:
        np.testing.assert_allclose(losses, want, rtol=1e-12)
    for stream, model in streams.values():  # which gives the model its numbers
        stream.close()
        np.testing.assert_allclose(*([v.data for v in m.parameters()] for m in (model, streams[0][1])), rtol=1e-11)


def test_the_compiler_adds_up_the_gradients_of_the_devices():
    program, X, Y = network()
    trainer = DataParallel(program, nn.SGD(program.parameters, lr=0.1), devices=8)
    state = trainer.start()
    text = trainer._step.lower(state, *(trainer._put(x, trainer._divided) for x in (X, Y))).compile().as_text()
    assert "all-reduce(" in text
    assert {len(x.addressable_shards) for x in trainer.step(state, X, Y)[0].parameters.values()} == {8}


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda t: t(devices=99), ValueError, "99 devices were asked for, and JAX has 8 (cpu)"),
        (lambda t: t(devices=0), ValueError, "0 devices were asked for"),
        (lambda t: t().step(None, X[:5], Y[:5]), ValueError, "5 samples does not divide over 8 devices: take 8"),
        (lambda t: t(devices=3).step(None, X, Y), ValueError, "8 samples does not divide over 3 devices: take 6 or 9"),
        (lambda t: t().step(None, X, Y[:7]), ValueError, "arrays of one number of samples m"),
        (lambda t: t(optimizer=object()), TypeError, "expected SGD or Adam of microgradlike.nn, got object"),
    ],
)
def test_what_cannot_be_divided_is_named(call, error, said):
    def trainer(optimizer=None, devices=8):
        return DataParallel(GIVEN, optimizer or nn.SGD(GIVEN.parameters, lr=0.1), devices)

    with pytest.raises(error) as caught:
        call(trainer)
    assert said in str(caught.value)


# ── Checkpoints and processes ──────────────────────────────────────────────────────────────────

SAMPLES = training.moons().train[:40]


def stream_of(folder, sizes=(2, 3, 1), devices=8, lr=0.01):
    """(losses, trainer) of a training with a checkpoint every three steps."""
    model = nn.MLP(sizes[0], sizes[1:], "sigmoid", seed=0)
    program = training.program(model, SAMPLES[0])
    trainer = DataParallel(program, nn.Adam(program.parameters, lr=lr), devices)
    checkpoints = folder and Checkpoints(folder, {"sizes": list(sizes), "lr": lr})
    return training.jax_steps(trainer, SAMPLES, 8, 0, checkpoints, every=3), trainer


def after(steps, *arguments, **settings):
    """(losses, parameters) after so many steps."""
    stream, trainer = stream_of(*arguments, **settings)
    losses = [next(stream) for _ in range(steps)]
    stream.close()
    return losses, {p.name: p.data.tolist() for p in trainer.program.parameters}


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_training_goes_on_from_its_checkpoint_to_the_same_bits(tmp_path):
    after(7, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "6"]
    assert after(10, tmp_path) == after(10, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["6", "9"]


def test_a_checkpoint_of_another_training_is_named_and_kept(tmp_path):
    after(3, tmp_path)
    before = contents(tmp_path)
    for settings, said in (
        ({"sizes": (2, 4, 1)}, "with sizes [2, 3, 1], here [2, 4, 1]"),
        ({"lr": 0.1}, "with lr 0.01"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            stream_of(tmp_path, **settings)
    assert contents(tmp_path) == before
    with pytest.raises(ValueError, match="need a folder"):
        Checkpoints(next(iter(before)), {})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # orbax leaves what it began to read
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_goes_on(tmp_path):
    """Whichever file is damaged: it is noticed, or makes no difference."""
    folder = tmp_path / "checkpoints"
    want = after(7, folder)
    about, start = {"sizes": [2, 3, 1], "lr": 0.01}, stream_of(None)[1].start()
    whole_state, noticed = jax.tree.leaves(Checkpoints(folder, about).restore(start)), set()
    for path, whole in contents(folder / "6").items():
        part = bytes([*whole[:-9], *(255 - b for b in whole[-9:])])
        path.write_bytes(part)
        try:
            state = jax.tree.leaves(Checkpoints(folder, about).restore(start))
            assert [x.tolist() for x in state] == [x.tolist() for x in whole_state]
        except ValueError as error:
            assert f"{folder / '6'} is damaged: move that folder away to go on from step 3" in str(error)
            noticed.add(path.parent.name)
        assert path.read_bytes() == part
        path.write_bytes(whole)
    assert {"d", "about"} <= noticed
    shutil.rmtree(folder / "6/state")
    shutil.copytree(folder / "3/state", folder / "6/state")  # whole, and not what was written
    with pytest.raises(ValueError, match="is damaged"):
        Checkpoints(folder, about).restore(start)
    (folder / "6").rename(tmp_path / "6")
    assert after(7, folder) == want
    gc.collect()  # what orbax leaves complains here, and in no other test


def test_two_processes_train_as_one_does_and_go_on_after_one_is_killed(tmp_path):
    """The launcher ends within its time, with a code of its own, and the same command goes on.

    Each process has more devices than it needs: both take as many.
    """
    arguments = ["train", "moons", "--sizes", "2,4,1", "--engine", "jax", "--devices", "4", "--every", "20"]
    together = [sys.executable, "-m", "microgradlike", *arguments, "--processes", "2", "--checkpoint", "kept"]

    def start(steps):
        return subprocess.Popen(
            [*together, "--steps", str(steps)], cwd=tmp_path, text=True, encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": f"{VIRTUAL}=8", "PYTHONUTF8": "1"},
        )  # fmt: skip

    launcher = start(100_000)
    while not (tmp_path / "kept/40").exists():
        assert launcher.poll() is None, launcher.stderr.read()
        time.sleep(0.05)
    workers = psutil.Process(launcher.pid).children()
    workers[1].kill()
    began = time.monotonic()
    _, said = launcher.communicate(timeout=60)
    assert launcher.returncode == 3 and time.monotonic() - began < 30
    assert said == (
        "Error: process 2 of 2 was ended by signal 9, and the others were stopped. "
        "With --checkpoint, the same command goes on from the last one.\n"
    )
    assert not any(worker.is_running() for worker in workers)
    steps = max(int(path.name) for path in (tmp_path / "kept").iterdir() if path.name.isdecimal()) + 20
    launcher = start(steps)
    output, said = launcher.communicate(timeout=60)
    assert launcher.returncode == 0, said
    alone = CliRunner().invoke(
        main,
        [*arguments, "--steps", str(steps), "--checkpoint", str(tmp_path / "alone"), "--plot", str(tmp_path / "a.svg")],
    )
    assert output.split("Test accuracy")[1].split("\n")[0] == alone.output.split("Test accuracy")[1].split("\n")[0]
    losses = [
        json.loads((tmp_path / name / str(steps) / "about/metadata").read_text())["losses"]
        for name in ("kept", "alone")
    ]
    np.testing.assert_allclose(*losses, rtol=1e-12)


def test_bad_input_to_several_processes_is_said_once(tmp_path):
    (tmp_path / "file").touch()
    command = ["train", "moons", "--engine", "jax", "--processes", "2", "--checkpoint", "file"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": "", "PYTHONUTF8": "1"}
    result = subprocess.run(
        [sys.executable, "-m", "microgradlike", *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert (result.returncode, result.stderr) == (2, "Error: checkpoints need a folder, and file is none\n")


def command(*arguments):
    result = CliRunner().invoke(main, ["train", "moons", "--sizes", "2,2,1", "--steps", "2", *arguments])
    return result.exit_code, result.output


def test_the_command_trains_on_eight_devices(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, output = command("--engine", "jax", "--devices", "8")
    assert code == 0 and "2/2" in output and "Test accuracy" in output
    assert command("--engine", "matrix", "--batch-size", "16")[1].split("Test")[1] == output.split("Test")[1]


def test_the_command_divides_the_processor_into_devices(tmp_path):
    """Where the environment has not done it, as it has for these tests."""
    arguments = ["train", "moons", "--sizes", "2,1", "--steps", "1", "--engine", "jax", "--devices", "3"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": "", "PYTHONUTF8": "1"}
    run = [sys.executable, "-m", "microgradlike", *arguments]
    result = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert (result.returncode, result.stderr) == (0, "") and "Test accuracy" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "devices"),
    [("--devices 3", 3), ("--devices 6 --processes 3", 2), ("--processes 4", 1), ("", 1)],
)
def test_each_process_has_its_share_of_the_devices(arguments, devices, monkeypatch):
    def stop(n):
        raise ValueError(f"{n} devices here")

    monkeypatch.setattr("microgradlike.scale.prepare", stop)
    monkeypatch.setattr("microgradlike.scale.processes.is_worker", lambda: True)
    assert command("--engine", "jax", *arguments.split())[1] == f"Error: {devices} devices here\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "--engine jax --devices 8 --batch-size 10",
            "a batch of 10 samples does not divide over 8 devices: take 8 or 16",
        ),
        ("--engine jax --devices 99", "99 devices were asked for, and JAX has 8 (cpu)"),
        ("--devices 2", "--devices needs --engine jax: the engine scalar computes in this process alone"),
        ("--every 5", "--every needs --checkpoint FOLDER, where to keep what was learnt"),
        ("--engine jax --every 5", "--every needs --checkpoint FOLDER, where to keep what was learnt"),
        ("--engine jax --lr nan", "the learning rate must be a finite number"),
    ],
)
def test_the_command_answers_bad_input_in_one_sentence(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, output = command(*arguments.split())
    assert code == 2 and output.startswith(f"Error: {said}") and output.count("\n") == 1
