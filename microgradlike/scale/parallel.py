"""Data-parallel training: each device takes its part of a batch, and all have the same parameters.

One compiled step says that the batch lies over the devices and that the parameters lie on each of them. That the
gradients of the parts must be added up, XLA finds by itself.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from microgradlike.matrix import Program
from microgradlike.nn.optim import SGD, Adam, Optimizer
from microgradlike.support.extras import needed_for

VIRTUAL = "--xla_force_host_platform_device_count"


def prepare(devices: int) -> None:
    """Have JAX compute in float64, and divide the processor into so many devices, unless XLA_FLAGS says how many.

    Call it before JAX is used: later, the devices are what they are. Raises MissingPackage without JAX.
    """
    if VIRTUAL not in (flags := os.environ.get("XLA_FLAGS", "")):
        os.environ["XLA_FLAGS"] = f"{flags} {VIRTUAL}={devices}".strip()
    with needed_for("training on devices"):
        import jax
    jax.config.update("jax_enable_x64", True)


class State(NamedTuple):
    """What a step changes: the parameters by name, and what the optimiser keeps."""

    parameters: dict[str, Any]
    optimizer: Any


class DataParallel:
    """Training steps of a program on several devices: w → w − η ∂C/∂w, or Adam's, for the mean loss C of a batch.

        trainer = DataParallel(program, nn.SGD(program.parameters, lr=0.3), devices=8)
        state = trainer.start()
        for X, Y in batches:
            state, loss = trainer.step(state, X, Y)
        trainer.finish(state)

    The samples of a batch lie over the devices, the parameters on each of them. Over several processes
    (`jax.distributed`) the devices are those of all; each process gives the same batch. But for the order in which
    sums are added up, the losses are those of one device. `dtype` is that of `Program.to_jax`.

    Raises MissingPackage without JAX, ValueError for more devices than there are, TypeError for another optimiser
    than SGD and Adam, and what `Program.to_jax` raises.
    """

    def __init__(self, program: Program, optimizer: Optimizer, devices: int = 1, dtype: Any = None) -> None:
        with needed_for("training on devices"):
            import jax
            import optax

        self.program = program
        self._losses = program.to_jax(dtype)
        self._optimizer = _in_optax(optimizer, optax)
        there = jax.devices()
        each, here = devices // jax.process_count(), range(jax.process_count())  # as many of every process
        chosen = [device for i in here for device in [d for d in there if d.process_index == i][:each]]
        if devices < 1 or len(chosen) != devices:
            raise ValueError(
                f"{devices} devices were asked for, and JAX has {len(there)} ({there[0].platform}): "
                f"a processor is divided into more by XLA_FLAGS={VIRTUAL}={devices}, set before JAX starts"
            )
        self.mesh = jax.sharding.Mesh(np.array(chosen), ("batch",))
        self._on_each, self._divided = (
            jax.sharding.NamedSharding(self.mesh, jax.sharding.PartitionSpec(*axes)) for axes in ((), ("batch",))
        )
        self._place = jax.make_array_from_callback
        self._fresh = jax.jit(self._optimizer.init, out_shardings=self._on_each)

        def step(state: State, *batch: Any) -> tuple[State, Any]:
            def mean(parameters: dict[str, Any]) -> Any:
                return self._losses(parameters, *batch).mean()

            loss, slopes = jax.value_and_grad(mean)(state.parameters)
            changes, kept = self._optimizer.update(slopes, state.optimizer)
            return State(optax.apply_updates(state.parameters, changes), kept), loss

        self._step = jax.jit(step, out_shardings=self._on_each)

    def start(self) -> State:
        """Return the program's parameters, and what the optimiser keeps at first, on each device."""
        parameters = {p.name: self._put(p.data, self._on_each) for p in self.program.parameters}
        return State(parameters, self._fresh(parameters))

    def step(self, state: State, *batch: Any, rest: bool = False) -> tuple[State, Any]:
        """Return the state after one step, and the mean loss of the batch before it.

        A batch that is the `rest` of the samples need not divide: every device takes the whole of it. Raises
        ValueError for another batch that does not divide over the devices, and what the function of
        `Program.to_jax` raises.
        """
        arrays = [np.asarray(x) for x in batch]
        self.program.check_shapes([x.shape for x in arrays])
        m = len(arrays[0]) if arrays else 1
        if not rest:
            self.check_batch_size(m)
        where = self._on_each if m % self.mesh.size else self._divided
        state, loss = self._step(state, *(self._put(x, where) for x in arrays))
        return state, loss

    def check_batch_size(self, m: int) -> None:
        """Raise ValueError unless m samples divide over the devices."""
        devices = self.mesh.size
        below = m // devices * devices
        if m != below:
            either = f"{below} or {below + devices}" if below else devices
            raise ValueError(f"a batch of {m} samples does not divide over {devices} devices: take {either}")

    def finish(self, state: State) -> None:
        """Give the program and its Values the numbers of the parameters."""
        for p in self.program.parameters:
            p.data = np.asarray(state.parameters[p.name])
        self.program.push()

    def _put(self, x: Any, where: Any) -> Any:
        x = np.array(x)  # the devices may read it where it lies
        return self._place(x.shape, where, lambda part: x[part])


def _in_optax(optimizer: Optimizer, optax: Any) -> Any:
    """Return the optimiser as a pair of pure functions."""
    if type(optimizer) is SGD:
        return optax.sgd(optimizer.lr)
    if type(optimizer) is Adam:
        return optax.adam(optimizer.lr, *optimizer.betas, eps=optimizer.eps)
    raise TypeError(f"expected SGD or Adam of microgradlike.nn, got {type(optimizer).__name__}")
