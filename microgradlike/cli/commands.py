"""The command `microgradlike`: what the library shows, without writing a program."""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import click

from microgradlike import __version__, nn
from microgradlike.cli import expression as language
from microgradlike.support.extras import needed_for
from microgradlike.view.table import clean, terminal

SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True}
ACTIVATION, LOSS = click.Choice(list(nn.ACTIVATIONS)), click.Choice(list(nn.LOSSES))
OPTIMIZERS = {"sgd": (nn.SGD, 0.3), "adam": (nn.Adam, 0.01)}  # and their learning rates
RATES = ", ".join(f"{rate} for {name}" for name, (_, rate) in OPTIMIZERS.items())
CLOSED_PIPE = 141  # as shells report a program that was writing to a pipe when its reader went away


@contextmanager
def bad_input(*also: type[Exception]) -> Iterator[None]:
    """Report the library's errors as usage errors."""
    errors: tuple[type[Exception], ...] = (ValueError, OSError, *also)
    try:
        yield
    except errors as error:
        if _of_the_output(error):
            raise
        raise click.UsageError(_said(error)) from error


@contextmanager
def _closed_pipe() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit(CLOSED_PIPE) from None


class Commands(click.Group):
    """Answers bad input, and an output that cannot be written, with one line and exit code 2.

    Exit code 1 is left to a check that finds a disagreement. Ctrl-C gives 130 and a closed pipe 141,
    as in shells.
    """

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        for stream in sys.stdout, sys.stderr:
            if isinstance(stream, io.TextIOWrapper):  # and None where a program has no console at all
                # A terminal knows what it can show, and gets a ? for the rest. A file or a pipe would
                # get Windows' code page, which has no ∂ and no σ.
                stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="replace")
        try:
            code = super().main(*args, **kwargs | {"standalone_mode": False})
        except click.ClickException as error:
            code = _fail(error.format_message(), error.exit_code)
        except click.Abort:
            code = 130
        except OSError as error:
            if not _of_the_output(error):
                raise
            code = _fail(f"cannot write the output: {error.strerror}")
        _let_go(sys.stdout)
        _let_go(sys.stderr)
        raise SystemExit(code)

    # Click would exit with code 1 where a pipe is closed, from either of these.
    make_context = _closed_pipe()(click.Group.make_context)
    invoke = _closed_pipe()(click.Group.invoke)


def _of_the_output(error: Exception) -> bool:
    """Return whether the system refused what was printed: such an error names no file."""
    return isinstance(error, OSError) and error.errno is not None and error.filename is None


def _said(error: Exception) -> str:
    """Return what an error says, as commands say it: without Python's number of it."""
    named = isinstance(error, OSError) and error.strerror and error.filename is not None
    return f"{error.filename}: {error.strerror}" if named else str(error)  # type: ignore[attr-defined]


def _fail(message: str, code: int = 2) -> int:
    with suppress(OSError):
        text = f"Error: {clean(' '.join(message.split()))}"
        if getattr(sys.stderr, "isatty", bool)():  # in a pipe it is one line, in a terminal it breaks between words
            wide = shutil.get_terminal_size().columns
            text = textwrap.fill(text, wide, break_long_words=False, break_on_hyphens=False)
        click.echo(text, err=True)
    return code


def _let_go(stream: Any) -> None:
    """Drop what could not be written, which Python would try again at its exit."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except AttributeError:  # None
        pass


def assignment(text: str) -> tuple[str, float]:
    """Parse name=number into a pair."""
    name, _, value = text.partition("=")
    with suppress(ValueError):
        if name.strip().isidentifier():
            return language.variable(name.strip()), float(value)
    raise click.BadParameter(f"expected name=number, as in w=2, got {text!r}")


def picture_path(text: str, suffixes: tuple[str, ...] = (".svg", ".png", ".pdf")) -> Path:
    """Parse the name of a picture, and check now, not after the work, that it can be written."""
    from microgradlike.view.files import writable

    path = Path(text)
    if path.suffix.lower() not in suffixes:
        raise click.BadParameter(f"expected a name that ends in {' or '.join(suffixes)}, got {text!r}")
    try:
        writable(path)
    except OSError as error:
        raise click.BadParameter(_said(error)) from None
    return path


def page_path(text: str) -> Path:
    """Parse the name of a page, and check that it can be written."""
    return picture_path(text, (".html",))


def layer_sizes(text: str) -> list[int]:
    """Parse the sizes of layers: 4,3,2 into a list."""
    sizes = [int(size) if size.strip().isdecimal() else 0 for size in text.split(",")]
    if len(sizes) < 2 or min(sizes) < 1:
        raise click.BadParameter(f"expected the number of inputs and the size of each layer, as in 4,3,2, got {text!r}")
    return sizes


@click.group(cls=Commands, invoke_without_command=True, context_settings=SETTINGS)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """What loss.backward() does, shown step by step.

    An expression is recorded as a graph of scalar operations; the backward pass multiplies local
    derivatives along its edges. Start with

    \b
      microgradlike explain "sigmoid(w*x + b)" w=2 x=-1 b=0.5
      microgradlike demo
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@main.command()
@click.option("--out", default="demo", type=click.Path(path_type=Path), help="Folder to write to.")
@click.option("--steps", default=600, type=click.IntRange(0), help="Training steps.")
@click.option("--seed", default=0, help="Of the weights and the order of the digits.")
def demo(out: Path, steps: int, seed: int) -> None:
    """The whole of it, on real handwritten digits, in under a minute.

    Trains a [64, 16, 10] network with scalars alone, explains and draws the backward pass of one
    digit's loss, and prints the matrix form found in it, and computes that gradient in five
    ways. Ctrl-C ends the training early, and the rest follows.
    """
    with needed_for("the demo", extra="all"):
        from microgradlike.cli.demo import run

    with bad_input(RuntimeError):
        run(out, steps, seed)


@main.command(context_settings={"ignore_unknown_options": True})  # an expression may begin with a minus
@click.argument("expression")
@click.argument("numbers", nargs=-1, type=assignment, metavar="[NAME=NUMBER]...")
@click.option("--svg", type=picture_path, metavar="FILE", help="Draw the graph as well: a .svg, .png or .pdf.")
@click.option("--html", type=page_path, metavar="FILE", help="Write a page that steps through it, for a browser.")
@click.option("--depth", type=click.IntRange(0), help="Draw only the nodes so many edges away from the result.")
@click.option("--step", is_flag=True, help="Step through it here, with the arrow keys.")
@click.option("--full", is_flag=True, help="Every step, however long the table gets.")
def explain(
    expression: str, numbers: tuple[tuple[str, float], ...], svg: Path | None, html: Path | None, depth: int | None,
    step: bool, full: bool,
) -> None:  # fmt: skip
    """An expression's backward pass, product by product.

    EXPRESSION has numbers, variables, + - * / ** and the functions {functions}; of lists
    {functions_of_lists}. Each variable needs a NAME=NUMBER.

    \b
    A neuron:
      microgradlike explain "sigmoid(w*x + b)" w=2 x=-1 b=0.5
    A value used twice, whose gradient adds up:
      microgradlike explain "x*x + x" x=3
    A picture of the graph:
      microgradlike explain "tanh(dot([w1, w2], [x1, x2]))" w1=1 w2=-2 x1=3 x2=1 --svg graph.svg
    """
    from dataclasses import replace

    from microgradlike import draw
    from microgradlike import explain as explained
    from microgradlike.view.dot import TooManyNodes
    from microgradlike.view.page import steps
    from microgradlike.view.stepper import step_through

    if step and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("--step needs a terminal: leave it out for the whole table at once")
    if twice := [name for i, (name, _) in enumerate(numbers) if name in dict(numbers[:i])]:
        raise click.UsageError(f"two numbers for {', '.join(twice)}: give one")
    with bad_input():
        result = language.record(expression, dict(numbers))
        result.backward()
    explanation = replace(explained(result, full=full), how_to_see_all="--full")
    if step:
        step_through(explanation, _show, _key)
    else:
        terminal().print(explanation)
    for path, content, of in ((svg, "graph", draw), (html, "page", steps)):
        if path:
            with bad_input(RuntimeError):
                try:
                    of(result, depth=depth).save(path)
                except TooManyNodes as error:
                    raise ValueError(
                        f"{error.nodes:,} nodes are too many to draw: "
                        f"--depth {error.depth} draws those nearest to the result"
                    ) from error
            click.echo(f"\nThe {content} is in {clean(str(path))}")
            if content == "page":
                click.echo(
                    "To share it, send the file: it needs nothing else. In the browser its address holds the state,\n"
                    "after the #: send that part too, or put the file on a website and send the whole address."
                )


explain.help = (explain.help or "").format(
    functions=", ".join(name for name in (*language.METHODS, *language.FUNCTIONS) if not language.takes_lists(name)),
    functions_of_lists=", ".join(name for name in language.FUNCTIONS if language.takes_lists(name)),
)


def network(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that describe a network and its loss."""
    for option in (
        click.option("--seed", default=0, help="Of the weights, the input and the target."),
        click.option("--loss", default="quadratic", type=LOSS, help="The cost C."),
        click.option("--output", type=ACTIVATION, help="The last layer's σ.  [default: as fits the loss]"),
        click.option("--activation", default="tanh", type=ACTIVATION, help="Hidden layers' σ."),
        click.option(
            "--sizes", default="4,3,2", type=layer_sizes, metavar="N,N,…", help="Inputs, then neurons in each layer."
        ),
    ):
        command = option(command)
    return command


@main.command()
@network
def check(loss: str, **options: Any) -> None:
    """One gradient in five ways: they must agree.

    Makes a network and a sample at random and compares, layer by layer, the scalar graph's
    backward(), the δ equations BP1–BP4, the array form found in the graph, forward mode and
    finite differences. The exit code is 1 where they disagree.

    \b
      microgradlike check --sizes 4,3,2 --activation tanh
      microgradlike check --sizes 8,5,3 --activation maxout --loss cross_entropy
      microgradlike check --sizes 3,4,1 --activation relu --loss hinge
    """
    from microgradlike.check.crosscheck import agreement, random_network

    with bad_input():
        table = agreement(loss, *random_network(loss=loss, **options))
    terminal().print(table)
    if not table.ok:
        raise SystemExit(1)


@main.command()
@network
def equations(loss: str, **options: Any) -> None:
    """The matrix form, found in a network's scalar graph.

    Records the loss of one sample scalar by scalar, finds the arrays and matrix products in that
    graph, with no knowledge of layers, and prints them as a textbook writes them.

    \b
      microgradlike equations --sizes 4,3,2 --activation tanh
      microgradlike equations --sizes 4,8,3 --activation relu --loss cross_entropy
    """
    from microgradlike import Value
    from microgradlike.check.crosscheck import random_network
    from microgradlike.matrix import vectorize

    with bad_input():
        model, *numbers = random_network(loss=loss, **options)
        x, y = ([Value(number) for number in row] for row in numbers)
        program = vectorize(nn.LOSSES[loss](model(x), y), batch=[x, y])
    terminal().print(program)


@main.command()
@click.argument("task", type=click.Choice(["moons", "digits"]))
@click.option("--steps", default=600, type=click.IntRange(1), help="Minibatches to learn from.")
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    help="Samples in a minibatch.  [default: 10, or the next multiple of --devices]",
)
@click.option("--sizes", type=layer_sizes, metavar="N,N,…", help="The network.  [default: 2,16,16,1 or 64,16,10]")
@click.option("--activation", default="tanh", type=ACTIVATION, help="Hidden layers' σ.")
@click.option("--optimizer", default="sgd", type=click.Choice(list(OPTIMIZERS)), help="How to step.")
@click.option(
    "--engine",
    default="scalar",
    type=click.Choice(["scalar", "matrix", "jax"]),
    help="One number at a time; by the matrices found in the scalar graph; by JAX.",
)
@click.option("--devices", type=click.IntRange(1), help="With JAX: divide minibatches over so many.")
@click.option("--processes", type=click.IntRange(2), help="With JAX: divide the devices over so many processes.")
@click.option("--checkpoint", type=click.Path(path_type=Path), metavar="FOLDER", help="With JAX: keep what was learnt.")
@click.option("--every", type=click.IntRange(1), help="Steps from checkpoint to checkpoint.  [default: 100]")
@click.option("--lr", type=click.FloatRange(0), help=f"The learning rate η.  [default: {RATES}]")
@click.option("--seed", default=0, help="Of the weights and the order of the samples.")
@click.option("--plot", type=picture_path, metavar="FILE", help="Loss curve.  [default: TASK-loss.png]")
def train(
    task: str, steps: int, batch_size: int | None, sizes: list[int] | None, activation: str, optimizer: str,
    engine: str, devices: int | None, processes: int | None, checkpoint: Path | None, every: int | None, lr: float | None, seed: int, plot: Path | None,
) -> None:  # fmt: skip
    """Train a network, and test it.

    Shows the loss as it falls, the accuracy on samples it has never seen, and saves the loss
    curve. Ctrl-C stops early and keeps what was learnt until then.

    \b
      microgradlike train moons
      microgradlike train digits --steps 1500 --optimizer adam
      microgradlike train digits --steps 10000 --engine matrix
      microgradlike train digits --engine jax --devices 8
      microgradlike train moons --sizes 2,8,1 --activation relu --lr 0.1
    """
    from microgradlike import training
    from microgradlike.view.plots import loss_curve, save

    for name, given in {"devices": devices, "processes": processes, "checkpoint": checkpoint}.items():
        if given and engine != "jax":
            raise click.UsageError(f"--{name} needs --engine jax: the engine {engine} computes in this process alone")
    if every and not checkpoint:
        raise click.UsageError("--every needs --checkpoint FOLDER, where to keep what was learnt")
    devices = devices or processes or 1
    batch_size = batch_size or -(-10 // devices) * devices
    plot = plot or picture_path(f"{task}-loss.png")
    data = training.TASKS[task]()
    sizes = sizes or list(data.sizes)
    if (sizes[0], sizes[-1]) != (data.sizes[0], data.sizes[-1]):
        raise click.UsageError(f"{task} needs {data.sizes[0]} inputs and {data.sizes[-1]} outputs, got sizes {sizes}")
    with bad_input():
        model = nn.MLP(sizes[0], sizes[1:], activation, seed=seed, init="xavier")
        trained: Any = model if engine == "scalar" else training.program(model, data.train[0])
        parameters = model.parameters() if engine == "scalar" else trained.parameters
        make_optimizer, rate = OPTIMIZERS[optimizer]
        updates = make_optimizer(parameters, lr=rate if lr is None else lr)
        if engine == "jax":
            from microgradlike.scale import Checkpoints, DataParallel, prepare
            from microgradlike.scale import processes as together

            if processes and devices % processes:
                raise click.UsageError(f"{devices} devices do not divide over {processes} processes")
            if processes and not together.is_worker():
                raise SystemExit(together.launch(_arguments(), processes))
            prepare(devices // (processes or 1))
            together.join()
            trainer = DataParallel(trained, updates, devices)
            trainer.check_batch_size(batch_size)
            kept = None
            if checkpoint:
                about: dict[str, Any] = {"task": task, "sizes": sizes, "activation": activation, "optimizer": optimizer}
                about |= {"lr": updates.lr, "batch size": batch_size, "seed": seed}
                kept = Checkpoints(checkpoint, about)
                if kept.step > steps:
                    raise ValueError(f"the checkpoint in {checkpoint} is of step {kept.step}, beyond --steps {steps}")
            stream = training.jax_steps(trainer, data.train, batch_size, seed, kept, every or 100)
        else:
            run: Callable[..., Any] = training.steps if engine == "scalar" else training.matrix_steps
            stream = run(trained, data.train, updates, batch_size, seed)
    losses = training.with_progress_bar(stream, steps)
    right, of = training.correct(model, data.test), len(data.test)
    click.echo(f"Test accuracy {right / of:.1%}: {right} of {of} samples it has not seen are right.")
    if losses:
        with bad_input():
            save(loss_curve(losses, f"{task}, {'–'.join(map(str, sizes))} {activation} network"), plot)
        click.echo(f"The loss curve is in {clean(str(plot))}")
    if len(losses) < steps:
        raise SystemExit(130)


def _arguments() -> list[str]:
    """Return the arguments of the command that runs, written out."""
    context = click.get_current_context()
    written = [str(context.info_name)]
    for parameter in context.command.params:
        value = context.params[parameter.name or ""]
        if value is not None:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            written += [text] if isinstance(parameter, click.Argument) else [parameter.opts[0], text]
    return written


def _show(screen: Any, below: str) -> None:
    click.clear()
    terminal().print(screen)
    click.echo(f"\n{below}")


def _key() -> str:
    try:
        return click.getchar()
    except (KeyboardInterrupt, EOFError):
        return "q"
