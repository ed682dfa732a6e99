"""Ask PyTorch and JAX for their answers at the edges of `EDGES`, and write them to data/more_edges.json for test_edges.py.

Run it where both are installed (`pip install torch jax`), after adding an edge: `python tests/record_edges.py`.
"""

import json
import os
from importlib.metadata import version
from pathlib import Path

os.environ["JAX_ENABLE_X64"] = "1"

import jax
import jax.numpy as jnp
import torch

FILE = Path(__file__).parent / "data" / "more_edges.json"

TORCH = {
    "abs": torch.abs, "cos": torch.cos, "exp": torch.exp, "expm1": torch.expm1, "log": torch.log, "log1p": torch.log1p,
    "sqrt": torch.sqrt, "sin": torch.sin, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu,
    "softplus": torch.nn.functional.softplus, "elu": torch.nn.functional.elu,
    "leaky_relu": lambda x: torch.nn.functional.leaky_relu(x, 0.1),
    "maximum": torch.maximum, "minimum": torch.minimum, "maxred": lambda *x: torch.amax(torch.stack(x), 0),
    "logsumexp": lambda *x: torch.logsumexp(torch.stack(x), 0), "softmax0": lambda *x: torch.softmax(torch.stack(x), 0)[0],
    "logsoftmax0": lambda *x: torch.log_softmax(torch.stack(x), 0)[0],
}  # fmt: skip
JAX = {
    "abs": jnp.abs, "cos": jnp.cos, "exp": jnp.exp, "expm1": jnp.expm1, "log": jnp.log, "log1p": jnp.log1p,
    "sqrt": jnp.sqrt, "sin": jnp.sin, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu,
    "softplus": jax.nn.softplus, "elu": jax.nn.elu, "leaky_relu": lambda x: jax.nn.leaky_relu(x, 0.1),
    "maximum": jnp.maximum, "minimum": jnp.minimum, "maxred": lambda *x: jnp.max(jnp.stack(x)),
    "logsumexp": lambda *x: jax.nn.logsumexp(jnp.stack(x)), "softmax0": lambda *x: jax.nn.softmax(jnp.stack(x))[0],
    "logsoftmax0": lambda *x: jax.nn.log_softmax(jnp.stack(x))[0],
}  # fmt: skip

EDGES = {
    "kink": {
        "maximum(x, y)": ["nan 1", "inf inf", "-inf -inf"],
        "minimum(x, y)": ["nan 1", "1 nan", "inf inf", "0.0 -0.0"],
        "maxred(x, y)": ["nan 1", "1 nan", "inf inf", "-inf -inf"],
        "relu(x)": ["nan", "-inf", "-0.0"],
        "leaky_relu(x)": ["nan", "inf", "0.0"],
        "elu(x)": ["nan", "-inf", "inf"],
        "abs(x)": ["nan", "inf", "-inf"],
    },
    "pow": {
        "x ** 2": ["-3", "-inf", "inf"],
        "x ** 309": ["-10"],
        "x ** 400": ["-10"],
        "x ** -1": ["0.0", "-0.0", "-inf"],
        "x ** -2": ["0.0"],
        "x ** 0.5": ["-0.0", "inf"],
        "2.0 ** x": ["3", "2000", "-inf"],
        "(-2.0) ** x": ["3", "0.5"],
        "1.0 ** x": ["nan", "inf"],
        "x ** y": ["-2 inf", "0.5 inf", "-0.0 -1", "nan 0", "1 nan"],
    },
    "domain": {
        "log(x)": ["-1", "inf", "nan"],
        "log1p(x)": ["-1", "-2", "inf", "1e-300"],
        "x / y": ["0.0 0.0", "inf inf", "1 inf", "-1 0.0"],
        "sqrt(x)": ["-0.0", "inf"],
    },
    "overflow": {"exp(x)": ["inf", "nan"], "expm1(x)": ["710", "-inf", "1e-300"]},
    "saturation": {
        "sigmoid(x)": ["-inf", "nan"],
        "tanh(x)": ["inf", "-inf", "nan", "20"],
        "softplus(x)": ["-inf", "nan", "-1000"],
        "logsumexp(x)": ["3", "inf", "-inf"],
        "logsumexp(x, y)": ["0.0 -inf", "inf 0.0", "0.0 inf", "inf inf", "inf -inf", "nan 0.0"],
        "logsumexp(x, y, z)": ["-inf 1 -inf"],
        "softmax0(x)": ["3", "inf", "-inf"],
        "softmax0(x, y)": ["inf 0.0", "0.0 inf", "inf inf", "-inf -inf", "0.0 -inf", "-inf 0.0"],
        "logsoftmax0(x)": ["3"],
        "logsoftmax0(x, y)": ["inf 0.0", "0.0 -inf", "-inf 0.0"],
    },
    "nan": {"x - y": ["inf inf"], "x * y": ["nan 0.0"], "cos(x)": ["-inf"], "sin(x)": ["nan"]},
}


def ask_torch(expression, inputs):
    tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in inputs]
    output = eval(expression, TORCH | dict(zip("xyz", tensors, strict=False)))
    output.backward()
    return output.item(), [x.grad.item() for x in tensors]


def ask_jax(expression, inputs):
    def function(arrays):
        return eval(expression, JAX | dict(zip("xyz", arrays, strict=False)))

    value, grads = jax.value_and_grad(function)([jnp.float64(x) for x in inputs])
    return value.item(), [g.item() for g in grads]


def written(x):
    """x as data/edge_cases.json has it: what is no number of JSON, and −0, as a text."""
    return x if x - x == 0 and (x or str(x) == "0.0") else str(x)


def case(category, expression, inputs):
    numbers = [float(x) for x in inputs.split()]
    answers = {"torch": ask_torch(expression, numbers), "jax": ask_jax(expression, numbers)}
    return {
        "id": f"{expression} at {', '.join(inputs.split())}",
        "category": category,
        "expr": expression,
        "inputs": [written(x) for x in numbers],
    } | {
        name: {"value": written(value), "grad": [written(g) for g in grads]} for name, (value, grads) in answers.items()
    }


cases = [
    case(category, expression, inputs)
    for category, expressions in EDGES.items()
    for expression, points in expressions.items()
    for inputs in points
]
about = f"Answers of PyTorch {version('torch').split('+')[0]} and JAX {version('jax')} in float64, by record_edges.py."
rows = ",\n".join(json.dumps(each) for each in cases)
FILE.write_text(f'{{"about": {json.dumps(about)}, "cases": [\n{rows}\n]}}\n', encoding="utf-8")
