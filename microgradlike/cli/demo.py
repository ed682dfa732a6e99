"""The main job: learn handwritten digits, then look at the backward pass of one of them from every side."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from microgradlike import nn, training
from microgradlike.check.crosscheck import agreement
from microgradlike.view.dot import draw
from microgradlike.view.explanation import Explanation, abbreviated, explain
from microgradlike.view.files import replace_file, writable
from microgradlike.view.page import Steps
from microgradlike.view.plots import digit_sheet, save
from microgradlike.view.table import Row, Table, clean, terminal

FILES = {
    "backward.html": "open it first: both passes of a part, live, in a browser",
    "explanation.txt": "every step of the whole backward pass, as text",
    "digits.png": "digits and what the network takes them for",
    "graph.svg": "a part of the graph, with values, gradients and local derivatives",
}


def run(out: Path, steps: int, seed: int) -> None:
    """Print the demo, and write its pictures and tables to the folder `out`."""
    console = terminal()
    task = training.digits()
    model = nn.MLP(task.sizes[0], task.sizes[1:], activation="tanh", seed=seed, init="xavier")
    parameters = model.parameters()
    out.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        writable(out / name)

    _heading(console, "1. Train")
    sizes = list(task.sizes)
    console.print(f"{len(task.train)} handwritten digits; a {sizes} network of {len(parameters)} scalar parameters")
    losses = training.steps(model, task.train, nn.SGD(parameters, lr=0.3), batch_size=10, seed=seed)
    training.with_progress_bar(losses, steps)
    predicted = [training.predict(model, x) for x, _ in task.test]
    right = sum(p == y for p, (_, y) in zip(predicted, task.test, strict=True))
    console.print(f"Of {len(task.test)} others it has not seen, {right} are recognised: {right / len(task.test):.1%}.")

    _heading(console, "2. What loss.backward() does")
    x, y = task.test[0]
    loss = nn.cross_entropy(model(x), y)
    explanation = replace(explain(loss), how_to_see_all="explanation.txt")
    console.print(f"The loss C of one more digit, a {y}, is a graph of {len(explanation.steps)} scalar nodes.")
    console.print("The backward pass begins at C, and ends at the weights that lead into layer 1:\n")
    console.print(Table(_ends(explanation)))

    _heading(console, "3. The matrix form, found in the scalar graph")
    console.print(training.program(model, (x, y)))

    _heading(console, "4. The same gradient in five ways")
    console.print(agreement("cross_entropy", model, x, y))

    model.zero_grad()
    loss.backward()
    full = explain(loss, full=True)
    images, classes = zip(*task.test[:50], strict=True)
    steepest = max(model.layers[0].parameters(), key=lambda parameter: abs(parameter.grad))
    write: dict[str, Callable[[Path], object]] = {
        "backward.html": lambda path: Steps(explain(loss), only=(steepest,)).save(path),
        "explanation.txt": lambda path: replace_file(path, f"{full}\n".encode()),
        "digits.png": lambda path: save(digit_sheet(images, predicted[:50], classes), path),
        "graph.svg": draw(loss, depth=3, max_terms=3).save,
    }

    _heading(console, "5. Look")
    failures = []
    for name, content in FILES.items():
        try:
            write[name](out / name)
        except RuntimeError as no_graphviz:
            failures.append(no_graphviz)
        else:
            path = f"  {clean(str(out / name))}"
            fits = len(path) + 18 - len(name) + len(content) <= console.width
            console.print(path + (" " * (18 - len(name)) if fits else "\n      ") + content, soft_wrap=True)
    if failures:
        raise failures[0]
    command = "microgradlike"
    if not shutil.which(command):  # `make demo` leaves no PATH set
        command = os.path.relpath(sys.argv[0]) if Path(sys.argv[0]).is_relative_to(Path.cwd()) else sys.argv[0]
    console.print("\nNext:")
    for arguments in (
        'explain "sigmoid(w*x + b)" w=2 x=-1 b=0.5',
        "check --sizes 4,3,2 --activation relu",
        "train moons",
    ):
        console.print(f"  {command} {arguments}", soft_wrap=True)
    console.print("and microgradlike/value.py, the page that does it all.")


def _heading(console: Console, text: str) -> None:
    console.print()
    console.rule(Text(text, "bold"), style="dim")
    console.print()


def _ends(it: Explanation) -> Iterator[Row]:
    """Yield the rows of the first three steps, and of the last."""
    steps = [(str(i), step) for i, step in enumerate((step for step in it.steps if step.terms), start=1)]
    for item in abbreviated(steps, 4, ends=(3, 1)):
        if isinstance(item, range):
            yield from ([], [[(f"  … {len(item)} more steps, back to the first layer …", "dim")]], [])
        else:
            yield from it.rows(item[1], item[0])
