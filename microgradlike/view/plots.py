"""Pictures of training, by matplotlib: the loss as it falls, and digits with what the network takes them for."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

from microgradlike.support.extras import needed_for
from microgradlike.view.files import replace_file

with needed_for("a plot", extra="plots"):
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator


def loss_curve(losses: Sequence[float], title: str) -> Figure:
    """Plot the loss of every step, and its mean over the last twentieth of the steps until then."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel="step", ylabel="loss of a minibatch", yscale="log")
    window = max(1, len(losses) // 20)
    steps = range(1, len(losses) + 1)
    sums = [sum(losses[max(0, i - window) : i]) / min(i, window) for i in steps]
    axes.plot(steps, losses, color="0.75", linewidth=0.8, label="each step")
    axes.plot(steps, sums, color="black", linewidth=1.8, label=f"mean of {window} steps")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def digit_sheet(images: Sequence[Sequence[float]], predicted: Sequence[int], classes: Sequence[int]) -> Figure:
    """Plot images of 8 × 8 grey levels with their predicted classes; wrong ones are framed and name the right one."""
    columns = 10
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(columns * 0.8, rows * 0.95 + 0.5), layout="constrained")
    wrong = sum(p != c for p, c in zip(predicted, classes, strict=True))
    figure.suptitle(f"{len(images)} digits and what the network takes them for: {wrong} wrong, framed", fontsize=11)
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes, image, p, c in zip(grid, images, predicted, classes, strict=False):
        axes.imshow([image[i : i + 8] for i in range(0, 64, 8)], cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(f"{p}" if p == c else f"{p}, is {c}", fontsize=10, color="black" if p == c else "#c8541c", pad=3)
        axes.spines[:].set(visible=p != c, color="#c8541c", linewidth=2)
    for axes in figure.axes:
        axes.set(xticks=[], yticks=[])
        if not axes.images:
            axes.axis("off")
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure in the format that the suffix names (.png, .svg, .pdf, …), whole or not at all."""
    path = Path(path)
    picture = io.BytesIO()
    with np.errstate(over="ignore"):  # the margin above a loss of 1e300
        figure.savefig(picture, format=path.suffix.removeprefix(".") or "png", dpi=150)
    return replace_file(path, picture.getvalue())
