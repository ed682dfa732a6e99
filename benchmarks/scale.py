"""Seconds of a training step against batch, width, depth and devices: scalar engine, found program, JAX.

    python -m benchmarks.scale [--json FILE]

Networks 64-n-…-n-10 with tanh and the quadratic loss in float64, of which one of four numbers changes: 64 samples,
n = 64, two layers, one device. Each figure is the least of several steps, in one process; scalar steps of more than
half a million products are left out. NumPy's BLAS has one thread. Devices are the processor divided into virtual ones, which add no cores.
"""

import argparse
import os
import time

from benchmarks import machine

CHANGES = {
    "samples": (1, 4, 16, 64, 256, 1024, 4096),
    "width": (8, 16, 32, 64, 128, 256, 512),
    "layers": (2, 4, 8, 16),
    "virtual devices": (1, 2, 4, 8),
}
USUAL = {"samples": 64, "width": 64, "layers": 2, "virtual devices": 1}
ENOUGH = 0.5  # seconds for the steps of one figure
SCALAR = 500_000  # products of a step


def least(step):
    """The least seconds of a step, after a first one."""
    step()
    times = []
    while len(times) < 5 or sum(times) < ENOUGH:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(samples, width, layers, devices):
    """{engine: seconds of a step}."""
    import numpy as np

    from microgradlike import Value, nn, vectorize
    from microgradlike.scale import DataParallel

    sizes = [64, *[width] * (layers - 1), 10]
    model = nn.MLP(sizes[0], sizes[1:], "tanh", seed=0, init="xavier")
    x, y = ([Value(0.0) for _ in range(n)] for n in (64, 10))
    program = vectorize(nn.quadratic(model(x), y), batch=[x, y])
    X, Y = (np.random.default_rng(0).random((samples, n)) for n in (64, 10))
    seconds = {}
    if devices == 1:
        seconds["found program, NumPy"] = least(lambda: program.descend(X, Y, lr=0.01))
    trainer = DataParallel(program, nn.SGD(program.parameters, lr=0.01), devices)
    state = trainer.start()
    seconds["found program, JAX"] = least(lambda: float(trainer.step(state, X, Y)[1]))
    parameters = model.parameters()
    if devices == 1 and samples * len(parameters) <= SCALAR:
        optimizer = nn.SGD(parameters, lr=0.01)

        def step():
            loss = sum(nn.quadratic(model(a), b) for a, b in zip(X.tolist(), Y.tolist(), strict=True)) / samples
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        seconds["scalar engine"] = least(step)
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    machine.options(parser)
    options = parser.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is loaded
    from microgradlike.scale import prepare

    print(machine.describe())
    prepare(8)
    curves = {}
    for what, numbers in CHANGES.items():
        for number in numbers:
            for engine, seconds in measure(*(USUAL | {what: number}).values()).items():
                curves.setdefault(what, {}).setdefault(engine, []).append((number, seconds))
                print(f"{what:>15} {number:5}  {engine:21} {seconds * 1e3:10.3f} ms a step")
    machine.save(options.json, curves)


def draw(curves, path):
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 4, figsize=(12, 4), sharey=True, layout="constrained")
    looks = {"scalar engine": "^-", "found program, NumPy": "s--", "found program, JAX": "o-"}
    for axes, (what, engines) in zip(panels, curves.items(), strict=True):
        for engine, look in looks.items():
            if engine in engines:
                axes.loglog(*zip(*engines[engine], strict=True), look, label=engine)
        axes.set_xlabel(what)
        axes.set_xticks(CHANGES[what], [f"{n}" for n in CHANGES[what]], rotation=45)
        axes.minorticks_off()
    panels[0].set_ylabel("seconds a step")
    panels[2].legend(*panels[0].get_legend_handles_labels(), loc="center")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
