"""The long run of the random trials: `make fuzz`, or python tests/fuzz.py --minutes 10.

Every trial follows from a seed, which is printed with what failed and repeats it: --seed N --trials 1.
A program that fails is shortened as far as it still fails the same way, and printed as a file that
runs by itself. Where JAX is installed, each program's loss and gradients at one sample are compared
with those of jax.grad as well, where they are smooth.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from programs import Program, record
from trials import LIMIT, Figures, Trial, Wrong, answers, random_trial

from microgradlike import Value, topological_order

# ── Shortening ─────────────────────────────────────────────────────────────────────────────────


def failure(trial: Trial) -> str:
    """How a trial fails, in the few words that stay the same when it is shortened; "" where it does not."""
    try:
        trial.run()
    except Wrong as error:
        return f"Wrong: {str(error).split('(')[0].split('[')[0]:.24}"
    except Exception as error:
        return f"{type(error).__name__}: {error!s:.24}"
    return ""


def shortened(trial: Trial, attempts: int = 2000) -> Trial:
    """The shortest trial found in so many attempts that fails the same way."""
    kind, progress = failure(trial), True
    while progress:
        progress = False
        for program in _shorter(trial.program):
            attempts -= 1
            if attempts < 0:
                return trial
            candidate = replace(trial, program=program, figures=Figures())
            if failure(candidate) == kind:
                trial, progress = candidate, True
                break
    return trial


def _shorter(program: Program) -> Iterator[Program]:
    """Programs with something left out."""
    if len(program.losses) > 1:
        for loss in program.losses:
            yield replace(program, losses=(loss,))
    tree = ast.parse(program.text)
    for i in reversed(range(len(tree.body))):
        yield _of([*tree.body[:i], *tree.body[i + 1 :]], program)
    for i, statement in enumerate(tree.body):  # another name for something
        match statement:
            case ast.Assign([ast.Name(name)], ast.Name() | ast.Subscript() as value) if name not in program.losses:
                rest = [_Renamed(name, value).visit(copy.deepcopy(each)) for each in tree.body[i + 1 :]]
                yield _of([*tree.body[:i], *rest], program)
    for i in reversed(range(len(tree.body))):
        for statement in _simpler(tree.body[i]):
            yield _of([*tree.body[:i], statement, *tree.body[i + 1 :]], program)
    for name, shape in program.shapes.items():
        for axis, n in enumerate(shape):
            if n > 1:
                yield replace(program, shapes=program.shapes | {name: (*shape[:axis], n - 1, *shape[axis + 1 :])})


class _Renamed(ast.NodeTransformer):
    def __init__(self, name: str, value: ast.expr) -> None:
        self.name, self.value = name, value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """The value in the place of its name."""
        return self.value if node.id == self.name else node


def _of(body: list[ast.stmt], program: Program) -> Program:
    """The program of these statements, without the leaves that are not mentioned."""
    used = {node.id for statement in body for node in ast.walk(statement) if isinstance(node, ast.Name)}
    text = "\n".join(map(ast.unparse, body))
    return replace(program, text=text, shapes={k: shape for k, shape in program.shapes.items() if k in used})


def _simpler(statement: ast.AST) -> Iterator[ast.AST]:
    """Copies of a piece of syntax with one expression in it replaced by a part of it, or left out of a list."""
    for name, value in ast.iter_fields(statement):
        children = value if isinstance(value, list) else [value]
        for i, child in enumerate(children):
            if not isinstance(child, ast.AST):
                continue
            others: list[ast.AST | None] = []
            if isinstance(child, ast.expr):
                others += _parts(child)
            if isinstance(statement, ast.List | ast.Call) and isinstance(value, list) and len(value) > 1:
                others.append(None)
            for other in [*others, *_simpler(child)]:
                changed = copy.copy(statement)
                if isinstance(value, list):
                    setattr(changed, name, [*value[:i], *([] if other is None else [other]), *value[i + 1 :]])
                else:
                    setattr(changed, name, other)
                yield changed


def _parts(expression: ast.expr) -> list[ast.AST | None]:
    match expression:
        case ast.BinOp(left, _, right):
            return [left, right]
        case ast.UnaryOp(_, operand):
            return [operand]
        case ast.Call(ast.Attribute(value), _):
            return [value]
        case ast.Call(_, [argument, *_]):
            return [argument]
        case ast.Subscript(ast.List([first, *_])):
            return [first]
    return []


# ── JAX ────────────────────────────────────────────────────────────────────────────────────────


def smooth(loss: Value) -> bool:
    """Whether no kink is hit: there engines may choose."""
    for node in topological_order(loss):
        numbers = [x.data for x in node.inputs]
        match node.op and node.op.name:
            case "relu" | "leaky_relu" | "elu" | "abs" | "pow" | "nonzero":
                kink = numbers[0] == 0
            case "maximum" | "minimum" | "max":
                kink = sum(x in (max(numbers), min(numbers)) for x in numbers) > 2 or len(set(numbers)) < len(numbers)
            case "threshold":
                kink = numbers[0] == 0.25
            case "outside" | "inside":
                kink = numbers[0] in (-1.0, -0.5, 0.5, 1.0)
            case _:
                continue
        if kink:
            return False
    return True


def compare_with_jax(trial: Trial) -> None:
    """Raise Wrong where the scalar engine's loss and gradients are not those of jax.grad."""
    from jax_engine import loss_and_gradients

    for sample in range(-1, trial.samples):

        def number(leaf: tuple[str, tuple[int, ...]], sample: int = sample) -> float:
            return trial.number(leaf, sample)

        losses = record(trial.program, number)[1]
        ours = answers(trial.program, number)
        if all(answer.finite and answer.defined for answer in ours) and all(map(smooth, losses)):
            break
    else:
        return
    huge = max(abs(number(leaf)) for leaf in trial.program.leaves) > 1e50
    for k, answer in enumerate(ours):
        digits_lost = 1e-11 * (1.0 + max(map(abs, answer.grads.values()), default=0.0))  # by 1 − tanh² and its like
        loss, gradients = loss_and_gradients(trial.program, number, k)
        pairs = [("the loss", answer.loss, loss, answer.loss_unit)]
        pairs += [(f"∂/∂{v}", g, gradients[v], answer.units[v]) for v, g in answer.grads.items()]
        for what, mine, other, unit in pairs:
            if huge and not math.isfinite(other):
                continue  # JAX multiplies in another order, which overflows where ours does not
            if not abs(mine - other) <= LIMIT * 2.0**-52 * unit + digits_lost:
                raise Wrong(f"JAX: {what} is {mine!r} for {other!r} at sample {sample}")
            trial.figures.against_jax += what == "the loss"


# ── The run ────────────────────────────────────────────────────────────────────────────────────


def main() -> int:
    """Run trials until the time is over; the exit status says whether one failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first trial; the others follow")
    parser.add_argument("--trials", type=int, help="so many at most")
    parser.add_argument("--failures", type=int, default=5, help="stop after so many")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    try:
        import jax
    except ImportError:
        jax = None
        print("JAX is not installed: its gradients are not compared (pip install jax)")
    print(f"seed {options.seed}", flush=True)
    figures, failed, start, seed = Figures(), 0, time.monotonic(), options.seed
    while time.monotonic() - start < 60 * options.minutes and failed < options.failures:
        if options.trials is not None and seed >= options.seed + options.trials:
            break
        trial = random_trial(seed)
        try:
            trial.run()
            if jax and seed % 2 == 0 and "decide" not in trial.program.text:
                compare_with_jax(trial)
        except Exception as error:
            failed += 1
            print(f"\nseed {seed}: {type(error).__name__}: {error}", flush=True)
            short = shortened(trial) if failure(trial) else trial
            print(
                f"# {short.arguments_mode} arguments, from a function: {short.from_function}, {short.samples} samples"
            )
            print(short.program.listing(lambda leaf, t=short: t.number(leaf, -1)))
            print(f"# fails with {failure(short) or error}", flush=True)
        figures += trial.figures
        seed += 1
    print(f"\n{seed - options.seed} trials in {time.monotonic() - start:.0f} s: {figures}")
    print(f"{failed} failed" if failed else "all agree")
    if options.json:
        options.json.write_text(json.dumps(vars(figures) | {"failed": failed, "seed": options.seed}, indent=1) + "\n")
    return failed > 0


if __name__ == "__main__":
    raise SystemExit(main())
