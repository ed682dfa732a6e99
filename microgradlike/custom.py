"""Your own operation in three lines: a name, a value rule and the local derivatives."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from microgradlike.ieee import Namespace, ieee
from microgradlike.primitive import Operation, flat
from microgradlike.recording import value_namespace
from microgradlike.value import Value, apply


def operation(
    name: str,
    value: Callable[..., Any],
    local_grads: Callable[..., Any],
    *,
    symbol: str | None = None,
) -> Callable[..., Value]:
    """Return a function that records a new operation y = value(xp, *inputs), with its local derivatives.

    `value(xp, *inputs)` computes y. `local_grads(xp, y, *inputs)` computes ∂₁y, ∂₂y, …: one number
    for one input, else a tuple with one for each. Take functions from `xp` (`xp.exp`, `xp.where`,
    `xp.divide`, `xp.power`): the rules then run on floats, on arrays and on Values alike, and
    follow IEEE arithmetic. So does `xp.sum`; the built-in sum of floats rounds otherwise from Python 3.12 on.

        cube = operation("cube", lambda xp, x: x * x * x, lambda xp, y, x: 3.0 * x * x)
        y = cube(Value(2.0))

    GELU by tanh is ½x (1 + tanh u) with u = √(2/π) (x + 0.044715 x³), or, as ½(1 + tanh u) = σ(2u), x σ(v)
    with v = 2u. This keeps all digits where 1 + tanh u cancels. Its derivative is σ(v) + x σ(v) σ(−v) v′:

        def v(x):
            return 1.5957691216057308 * (x + 0.044715 * x * x * x)

        gelu = operation(
            "gelu",
            lambda xp, x: x * xp.sigmoid(v(x)),
            lambda xp, y, x: xp.sigmoid(v(x)) + y * xp.sigmoid(-v(x)) * 1.5957691216057308 * (1.0 + 0.134145 * x * x),
        )

    `nn.MLP(2, [8, 1], activation=gelu)` takes it as its activation, and `vectorize` runs it on batches.

    `dir(xp)` lists these functions, and `help(microgradlike.ieee.Namespace)` explains them.

    Raises TypeError for rules whose parameters are not these. A call raises
    TypeError for a wrong number of inputs, and ValueError where a rule fails or does not return one real
    number for each derivative; `vectorize` and `gradient` raise TypeError for a rule that runs on floats
    only. `check_gradients` finds a wrong rule.
    """
    operands = list(inspect.signature(value).parameters.values())[1:]
    n_ary = any(p.kind is p.VAR_POSITIONAL for p in operands)
    names = ", ".join(p.name for p in operands)
    if not operands:
        raise TypeError(f"operation {name!r}: value takes xp and then the inputs, as in lambda xp, x: x * x * x")
    try:
        inspect.signature(local_grads).bind("xp", "y", *operands)
    except TypeError:
        message = f"operation {name!r}: value takes (xp, {names}), so local_grads takes (xp, y, {names})"
        raise TypeError(message) from None
    single = len(operands) - n_ary  # a vector comes last

    def checked_value(xp: Any, *operands: Any) -> Any:
        inputs = flat(operands) if n_ary else operands
        y = _run(value, name, "value rule", inputs, xp, *inputs)
        return _real(y, name, "value rule", inputs) if xp is ieee else y

    def checked_local_grads(xp: Any, y: Any, *operands: Any) -> tuple[Any, ...]:
        inputs = flat(operands) if n_ary else operands
        grads = flat([_run(local_grads, name, "local_grads rule", inputs, xp, y, *inputs)])
        if len(grads) != len(inputs):
            raise ValueError(
                f"operation {name!r}: local_grads returned {len(grads)} derivatives for {len(inputs)} inputs; "
                "return a tuple with one for each input"
            )
        if xp is ieee:
            grads = tuple(_real(g, name, "local_grads rule", inputs) for g in grads)
        return (*grads[:single], grads[single:]) if n_ary else grads

    op = Operation(
        name,
        symbol or name,
        tuple(p.name + "{i}" if p.kind is p.VAR_POSITIONAL else p.name for p in operands),
        f"{name}({names})",
        checked_value,
        partial(_formulas, local_grads),
        checked_local_grads,
    )

    def record(*inputs: Any) -> Value:
        if not inputs or (len(inputs) != len(operands) and not n_ary):
            raise TypeError(f"operation {name!r} takes {len(operands)} inputs, got {len(inputs)}")
        return apply(op, *inputs)

    record.__name__ = record.__qualname__ = name
    record.__module__ = value.__module__  # where pickle looks for it, in a network whose activation it is
    record.__doc__ = f"The operation {name}({names}) on Values."
    return record


def _real(y: Any, name: str, rule: str, inputs: tuple[Any, ...]) -> float:
    if hasattr(y, "dtype") and y.ndim == 0:
        y = y.item()  # a complex64 as a complex number
    if isinstance(y, complex) or not hasattr(y, "__float__"):
        raise ValueError(f"operation {name!r}: its {rule} returned {y!r:.60} for {inputs}, expected a real number")
    return float(y)


def _run(function: Callable[..., Any], name: str, rule: str, inputs: tuple[Any, ...], xp: Any, *args: Any) -> Any:
    """Return function(xp, *args). Errors name the operation and say what to write."""
    try:
        return function(xp, *args)
    except (ArithmeticError, ValueError) as error:
        raise ValueError(
            f"operation {name!r}: its {rule} raised {type(error).__name__} ({error}) for inputs {inputs!r:.200}; "
            "xp.divide, xp.power, xp.exp and xp.log follow IEEE arithmetic and give inf or nan instead"
        ) from error
    except (TypeError, AttributeError) as error:
        if xp is ieee:
            raise
        kind = "Values" if xp is value_namespace else "arrays"
        raise TypeError(
            f"operation {name!r}: its {rule} does not run on {kind} ({error}); "
            f"write it with operators and with what xp has: {', '.join(dir(ieee))}"
        ) from error


# ── The text of a rule, read off by running it on symbols ──────────────────────────────────────


class _Symbol:
    """Stands for a number in a rule, and writes down what the rule does with it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __bool__(self) -> bool:
        raise ValueError("a rule with a Python `if` has no formula: use xp.where")


def _write(template: str) -> Callable[..., _Symbol]:
    return lambda *args: _Symbol(template.format(*(a.text if isinstance(a, _Symbol) else repr(a) for a in args)))


for _name, _template in {
    "add": "({} + {})", "sub": "({} - {})", "mul": "({} * {})", "truediv": "({} / {})", "pow": "({} ** {})",
    "lt": "({} < {})", "le": "({} <= {})", "gt": "({} > {})", "ge": "({} >= {})", "eq": "({} == {})",
    "and": "({} and {})", "or": "({} or {})", "neg": "(-{})", "pos": "{}", "abs": "abs({})",
}.items():  # fmt: skip
    setattr(_Symbol, f"__{_name}__", _write(_template))
    if _name in ("add", "sub", "mul", "truediv", "pow"):
        setattr(_Symbol, f"__r{_name}__", _write(_template.format("{1}", "{0}")))

_symbols = Namespace(
    **{name: _write(f"{name}({{}})") for name in dir(ieee)}
    | {"divide": _write("({} / {})"), "power": _write("({} ** {})"), "where": _write("({1} if {0} else {2})")}
    | {"maximum": _write("max({}, {})"), "minimum": _write("min({}, {})")}
)


def _formulas(local_grads: Callable[..., Any], operands: tuple[str, ...]) -> tuple[str, ...]:
    try:
        grads = flat([local_grads(_symbols, _Symbol("y"), *map(_Symbol, operands))])
    except Exception:  # whatever a user's rule does with a symbol: then it is only named
        return tuple(f"d{x}" for x in operands)
    texts = [g.text if isinstance(g, _Symbol) else repr(g) for g in grads]
    return tuple(ast.unparse(ast.parse(text, mode="eval")) for text in texts)
