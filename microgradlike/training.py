"""Training by stochastic gradient descent, as a stream of steps: whoever consumes it may stop at any time."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from microgradlike import datasets
from microgradlike.functions import sum
from microgradlike.nn import MLP, cross_entropy
from microgradlike.nn.optim import Optimizer

Sample = tuple[list[float], int]  # what goes into the network, and its class


@dataclass(frozen=True, slots=True)
class Task:
    """Samples to train on and others to test on, and the sizes of a network that learns them."""

    train: list[Sample]
    test: list[Sample]
    sizes: tuple[int, ...]


def moons() -> Task:
    """Two interlocking half circles of points; the class is the sign of the only output."""
    train, test = (list(zip(*datasets.moons(200, seed=seed), strict=True)) for seed in (0, 1))
    return Task(train, test, sizes=(2, 16, 16, 1))


def digits() -> Task:
    """Handwritten digits: 1500 to train on, and the 297 that follow, many by other hands, to test on."""
    samples = list(zip(*datasets.digits(), strict=True))
    return Task(samples[:1500], samples[1500:], sizes=(64, 16, 10))


TASKS = {"moons": moons, "digits": digits}


def steps(model: MLP, samples: list[Sample], optimizer: Optimizer, batch_size: int, seed: int) -> Iterator[float]:
    """Endless steps: each records the mean loss of a minibatch, runs backward, updates, and yields the loss.

    The minibatches go through the samples in random order, again and again; the loss is the
    cross-entropy of the outputs, which are logits (a single one for two classes).
    """
    rng = random.Random(seed)
    while True:
        rng.shuffle(samples := list(samples))
        for start in range(0, len(samples), batch_size):
            batch = samples[start : start + batch_size]
            loss = sum(cross_entropy(model(x), y) for x, y in batch) / len(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.data


def predict(model: MLP, x: list[float]) -> int:
    """The class of the largest output, or 0 or 1 by the sign of a single one."""
    outputs = model(x)
    if not isinstance(outputs, list):
        return int(outputs > 0)
    return max(range(len(outputs)), key=lambda k: outputs[k].data)


def correct(model: MLP, samples: list[Sample]) -> int:
    """How many of the samples the network puts in the right class."""
    return [predict(model, x) == y for x, y in samples].count(True)


def watched(losses: Iterator[float], n: int) -> list[float]:
    """The losses of the first n steps, with a progress bar; fewer where Ctrl-C stops them."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    done: list[float] = []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns) as bar:
        task = bar.add_task("training", total=n)
        try:
            for loss in islice(losses, n):
                done.append(loss)
                recent = done[-50:]
                bar.update(task, advance=1, description=f"loss {math.fsum(recent) / len(recent):.3f}")
        except KeyboardInterrupt:
            bar.update(task, description=f"stopped after {len(done)} steps")
    return done
