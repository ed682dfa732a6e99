"""Training by stochastic gradient descent, as a stream of steps: whoever consumes it may stop at any time."""

from __future__ import annotations

import math
import random
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from microgradlike import datasets
from microgradlike.functions import sum
from microgradlike.nn import MLP, cross_entropy
from microgradlike.nn.optim import Optimizer
from microgradlike.support.extras import needed_for
from microgradlike.value import Value
from microgradlike.view.table import terminal

if TYPE_CHECKING:
    from microgradlike.matrix import Program
    from microgradlike.scale import Checkpoints, DataParallel

Sample = tuple[list[float], int]  # what goes into the network, and its class


@dataclass(frozen=True, slots=True)
class Task:
    """Samples to train on and others to test on, and the sizes of a network that learns them."""

    train: list[Sample]
    test: list[Sample]
    sizes: tuple[int, ...]


def moons() -> Task:
    """Return the task of two interlocking half circles of points; the class is the sign of the only output."""
    train, test = (list(zip(*datasets.moons(200, seed=seed), strict=True)) for seed in (0, 1))
    return Task(train, test, sizes=(2, 16, 16, 1))


def digits() -> Task:
    """Return the task of handwritten digits: 1500 to train on; the 297 that follow, many by other hands, to test on."""
    samples = list(zip(*datasets.digits(), strict=True))
    return Task(samples[:1500], samples[1500:], sizes=(64, 16, 10))


TASKS = {"moons": moons, "digits": digits}


def steps(model: MLP, samples: list[Sample], optimizer: Optimizer, batch_size: int, seed: int) -> Generator[float]:
    """Train endlessly: each step records the mean loss of a minibatch, runs backward, updates, and yields the loss.

    The minibatches go through the samples in random order, again and again; the loss is the
    cross-entropy of the outputs, which are logits (a single one for two classes).
    """
    for batch in _minibatches(samples, batch_size, seed):
        loss = sum(cross_entropy(model(x), y) for x, y in batch) / len(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.data


def matrix_steps(
    program: Program, samples: list[Sample], optimizer: Optimizer, batch_size: int, seed: int
) -> Generator[float]:
    """Train as `steps` does, by the array program of one sample's loss, as `program` finds it.

    `optimizer` is one of `program.parameters`. The model gets its numbers when the generator is closed.
    """
    target = len(program.batch[1])
    try:
        for batch in _minibatches(samples, batch_size, seed):
            losses = program.backward([x for x, _ in batch], [_probabilities(y, target) for _, y in batch])
            optimizer.step()
            yield float(losses.mean())
    finally:
        program.push()


def jax_steps(
    trainer: DataParallel,
    samples: list[Sample],
    batch_size: int,
    seed: int,
    checkpoints: Checkpoints | None = None,
    every: int = 100,
) -> Generator[float]:
    """Train as `matrix_steps` does, by JAX, with each minibatch divided over the devices of `trainer`.

    What remains of the samples at the end, fewer than a minibatch, every device takes as a whole if it does not
    divide. With `checkpoints` it goes on from the last one, whose losses it yields again, and writes one `every` so
    many steps. Raises ValueError for a batch size that does not divide, and for a damaged checkpoint.
    """
    state, target, losses = trainer.start(), len(trainer.program.batch[1]), []
    if checkpoints:
        state, losses = checkpoints.restore(state), list(checkpoints.losses)
    try:
        yield from list(losses)
        for batch in islice(_minibatches(samples, batch_size, seed), len(losses), None):
            X, Y = [x for x, _ in batch], [_probabilities(y, target) for _, y in batch]
            state, loss = trainer.step(state, X, Y, rest=len(batch) < batch_size)
            losses.append(float(loss))
            if checkpoints and len(losses) % every == 0:
                checkpoints.save(state, losses)
            yield losses[-1]
    finally:
        trainer.finish(state)


def program(model: MLP, sample: Sample) -> Program:
    """Return the array program found in the scalar graph of the loss of one sample."""
    from microgradlike.matrix import vectorize

    x = [Value(number) for number in sample[0]]
    y = [Value(p) for p in _probabilities(sample[1], len(model.layers[-1].neurons))]
    return vectorize(cross_entropy(model(x), y), batch=[x, y])


def _minibatches(samples: list[Sample], batch_size: int, seed: int) -> Iterator[list[Sample]]:
    rng = random.Random(seed)
    while True:
        rng.shuffle(samples := list(samples))
        for start in range(0, len(samples), batch_size):
            yield samples[start : start + batch_size]


def _probabilities(y: int, outputs: int) -> list[float]:
    """Return the class as a cross-entropy takes it: one-hot, or itself where there is a single output."""
    return [float(k == y) for k in range(outputs)] if outputs > 1 else [float(y)]


def predict(model: MLP, x: list[float]) -> int:
    """Return the class of the largest output, or 0 or 1 by the sign of a single one."""
    outputs = model(x)
    if not isinstance(outputs, list):
        return int(outputs > 0)
    return max(range(len(outputs)), key=lambda k: outputs[k].data)


def correct(model: MLP, samples: list[Sample]) -> int:
    """Count the samples that the network puts in the right class."""
    return [predict(model, x) == y for x, y in samples].count(True)


def with_progress_bar(losses: Generator[float], n: int) -> list[float]:
    """Return the losses of the first n steps, with a progress bar; fewer where Ctrl-C stops them."""
    with needed_for("the progress bar"):
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    done: list[float] = []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=terminal()) as bar:
        task = bar.add_task("training", total=n)
        try:
            for loss in islice(losses, n):
                done.append(loss)
                recent = done[-50:]
                bar.update(task, advance=1, description=f"loss {math.fsum(x / len(recent) for x in recent):#.4g}")
        except KeyboardInterrupt:
            bar.update(task, description=f"stopped after {len(done)} steps")
        finally:
            losses.close()
    return done
