"""Neurons, layers and networks, recorded as scalar graphs.

    zˡⱼ = Σₖ wˡⱼₖ aˡ⁻¹ₖ + bˡⱼ        the weighted input of neuron j of layer l: one `affine` node
    aˡⱼ = σ(zˡⱼ)                    its activation

Layers are counted l = 1, …, L, and a⁰ = x. After a call each neuron keeps its z and a to be looked at, so
that after `loss.backward()` the neuron error δˡⱼ = ∂C/∂zˡⱼ is simply `z.grad`. Nothing computes from
what is kept: several threads may call one network, and `z` and `a` are those of the last call.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Iterable, Sequence
from math import sqrt
from typing import Any, NamedTuple

from microgradlike import ops
from microgradlike.functions import softmax
from microgradlike.ieee import ieee
from microgradlike.notation.digits import subscript, superscript
from microgradlike.ops import AFFINE
from microgradlike.primitive import Operation
from microgradlike.value import Value, apply, constant, record, unary

Sigma = str | Callable[[Value], Value]  # a name in ACTIVATIONS, or a function of z


class Activation(NamedTuple):
    """How a comes from z: by `op` (None: a is z), on one z or several (`pieces`), or on the whole layer."""

    op: Operation | Callable[[Value], Value] | None
    pieces: int = 1
    whole_layer: bool = False


class Activations(dict[str, Activation]):
    """The activation functions σ by name, for `Neuron`, `Layer` and `MLP`: a dict of `Activation`s.

    linear      σ(z) = z
    sigmoid     σ(z) = 1 / (1 + e⁻ᶻ)
    tanh        σ(z) = (eᶻ − e⁻ᶻ) / (eᶻ + e⁻ᶻ)
    relu        σ(z) = max(0, z)
    leaky_relu  σ(z) = max(0.1 z, z)                 Maas et al. 2013, there with 0.01
    elu         σ(z) = z for z > 0, else eᶻ − 1      Clevert et al. 2015
    maxout      σ(z′, z″) = max(z′, z″)              Goodfellow et al. 2013
    softmax     σ(z)ⱼ = exp(zⱼ) / Σₖ exp(zₖ)          of a whole layer
    """


ACTIVATIONS = Activations({
    "linear": Activation(None),
    "sigmoid": Activation(ops.SIGMOID),
    "tanh": Activation(ops.TANH),
    "relu": Activation(ops.RELU),
    "leaky_relu": Activation(ops.leaky_relu(0.1)),
    "elu": Activation(ops.elu(1.0)),
    "maxout": Activation(ops.MAX, pieces=2),
    "softmax": Activation(None, whole_layer=True),
})  # fmt: skip

# What draws a weight of a layer with nin inputs and nout neurons.
INITS: dict[str, Callable[[Any, int, int], float]] = {
    "uniform": lambda rng, nin, nout: rng.uniform(-1, 1),
    "xavier": lambda rng, nin, nout: rng.uniform(-1, 1) * sqrt(6 / (nin + nout)),
    "he": lambda rng, nin, nout: rng.gauss(0, sqrt(2 / nin)),
}


class Module:
    """Something with parameters: a neuron, a layer, a network, or a class of your own that lists its `parameters`."""

    def parameters(self) -> list[Value]:
        """Return all weights and biases, in a fixed order."""
        return []

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to 0, as is due before each `backward()`."""
        for p in self.parameters():
            p.grad = 0.0


class Neuron(Module):
    """a = σ(z) of the weighted input z = w·x + b.

    `w` is the list of the nin weights and `b` the bias; maxout has two of each, and a = max(z₁, z₂).
    After a call, `z` is the weighted input (for maxout the pair of them) and `a` the activation.

    `activation` is a name in ACTIVATIONS, or a function of z, such as an `operation` of your own or
    `Value.softplus`. `init` says how the weights are drawn; biases are 0:

    - "uniform": from U(−1, 1), as in micrograd;
    - "xavier": from U(−r, r), r = √(6 / (nin + nout)) (Glorot and Bengio 2010, eq. 16);
    - "he": from N(0, 2 / nin) (He et al. 2015, eq. 10).

    `seed` is an int, a `random.Random`, or None for the generator that `random.seed()` sets.
    `nout` is the number of neurons in the layer, which only "xavier" asks for.

    Raises ValueError for unknown names, sizes below 1 and "softmax", which acts on a whole layer, and TypeError for
    a size that is no whole number. A call raises ValueError for a wrong number of inputs, and TypeError where an
    activation of your own returns no Value.
    """

    def __init__(
        self,
        nin: int,
        activation: Sigma = "relu",
        seed: int | random.Random | None = None,
        init: str = "uniform",
        nout: int = 1,
    ) -> None:
        sigma = _activation(activation)
        if sigma.whole_layer:
            raise ValueError(f"{activation} acts on a whole layer: use Layer(nin, nout, {activation!r})")
        draw, rng = _known(init, INITS, "init"), _generator(seed) or random
        nin, nout = _size(nin, "nin"), _size(nout, "nout")
        self.activation = activation
        w = [[Value(draw(rng, nin, nout)) for _ in range(nin)] for _ in range(sigma.pieces)]
        b = [Value(0.0) for _ in w]
        self.w: Any = w if len(w) > 1 else w[0]
        self.b: Any = b if len(b) > 1 else b[0]
        self.z: Any = None
        self.a: Any = None
        self._name()

    def __call__(self, x: Iterable[Any]) -> Value:
        _, (a,) = _feedforward([self], _inputs(x, self), _activation(self.activation))
        return a

    @property
    def nin(self) -> int:
        """The number of inputs."""
        return len(self.pieces()[0][0])

    def parameters(self) -> list[Value]:
        """Return the nin weights, then the bias (for maxout: of the first piece, then of the second)."""
        return [p for w, b in self.pieces() for p in (*w, b)]

    def pieces(self) -> list[tuple[list[Value], Value]]:
        """Return the (weights, bias) of each weighted input: one pair, or two for maxout."""
        return list(zip(self.w, self.b, strict=True)) if type(self.b) is list else [(self.w, self.b)]

    def _name(self, layer: int | str = "", j: int | str = "") -> None:
        """Label w, b, z and a as those of neuron j in a layer: w²₁₃, b²₁, z²₁, a²₁."""
        place = superscript(layer) + subscript(j)
        marks = ["′", "″"] if type(self.b) is list else [""]
        for mark, (w, b) in zip(marks, self.pieces(), strict=True):
            b.label = f"b{mark}{place}"
            for k, weight in enumerate(w, start=1):
                comma = "," if j and max(int(j), len(w)) > 9 else ""
                weight.label = f"w{mark}{place}{comma}{subscript(k)}"
        self._z_labels = [f"z{mark}{place}" for mark in marks]
        self._a_label = f"a{place}"

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles hold: the parameters, without the graph of the last call."""
        return {**self.__dict__, "z": None, "a": None}

    def __repr__(self) -> str:
        return f"Neuron({self.nin}, {_called(self.activation)})"


class Layer(Module):
    """nout neurons on the same nin inputs. The arguments are those of `Neuron`, besides "softmax".

    A call with a list of nin inputs returns the list of the nout activations, or for a single neuron its
    activation alone. After it, `z` and `a` are the lists of the neurons' weighted inputs (for maxout, pairs) and
    activations. Raises ValueError and TypeError as `Neuron` does.
    """

    def __init__(
        self,
        nin: int,
        nout: int,
        activation: Sigma = "relu",
        seed: int | random.Random | None = None,
        init: str = "uniform",
    ) -> None:
        self.activation = activation
        own = "linear" if _activation(activation).whole_layer else activation
        rng = _generator(seed)
        self.neurons = [Neuron(nin, own, rng, init, nout) for _ in range(_size(nout, "nout"))]
        self._name()

    def __call__(self, x: Iterable[Any]) -> Any:
        return _alone(self.feedforward(_inputs(x, self))[1])

    def feedforward(self, x: Sequence[Value]) -> tuple[list[Any], list[Value]]:
        """Return the lists (z, a) of the neurons, for inputs that are nin Values already."""
        return _feedforward(self.neurons, x, _activation(self.activation))

    @property
    def nin(self) -> int:
        """The number of inputs."""
        return self.neurons[0].nin

    @property
    def z(self) -> list[Any]:
        """The weighted inputs of the last call; their `grad` is the neuron error δ."""
        return [neuron.z for neuron in self.neurons]

    @property
    def a(self) -> list[Any]:
        """The activations of the last call."""
        return [neuron.a for neuron in self.neurons]

    def parameters(self) -> list[Value]:
        """Return the parameters of each neuron in turn."""
        return [p for neuron in self.neurons for p in neuron.parameters()]

    def _name(self, layer: int | str = "") -> None:
        for j, neuron in enumerate(self.neurons, start=1):
            neuron._name(layer, j)

    def __repr__(self) -> str:
        return f"Layer({self.nin}, {len(self.neurons)}, {_called(self.activation)})"


class MLP(Module):
    """A multilayer perceptron: layers of the sizes `nouts`, on nin inputs.

        a⁰ = x,   aˡ = σ(wˡ aˡ⁻¹ + bˡ) for l = 1, …, L       (Nielsen, ch. 2, eq. 25)

    `activation` is the σ of the hidden layers and `output` that of the last; `seed` and `init` are
    those of `Neuron`. `layers[l − 1]` is layer l, with nouts[l − 1] neurons. A call with a list of nin inputs
    returns the list of the nouts[−1] outputs aᴸ, or for a single one that Value alone.
    With the defaults, `MLP(nin, nouts)` after `random.seed(s)` is the same network as micrograd's.

    Raises TypeError for nouts that are no list and sizes that are no whole numbers, ValueError for no layer, sizes
    below 1 and unknown names. A call raises as that of `Neuron` does.
    """

    def __init__(
        self,
        nin: int,
        nouts: Sequence[int],
        activation: Sigma = "relu",
        output: Sigma = "linear",
        seed: int | random.Random | None = None,
        init: str = "uniform",
    ) -> None:
        try:
            sizes = [nin, *nouts]
        except TypeError:
            raise TypeError(f"nouts must be the list of layer sizes, as in MLP(2, [3, 1]), got {nouts!r}") from None
        if len(sizes) < 2:
            raise ValueError("a network needs at least one layer: nouts is empty")
        _activation(activation)  # also where there is no hidden layer to have it
        rng = _generator(seed)
        activations = [activation] * (len(sizes) - 2) + [output]
        self.layers = [Layer(n, m, sigma, rng, init) for n, m, sigma in zip(sizes, sizes[1:], activations)]
        for i, layer in enumerate(self.layers, start=1):
            layer._name(i)

    def __call__(self, x: Iterable[Any]) -> Any:
        return _alone(self.feedforward(x)[-1][1])

    def feedforward(self, x: Iterable[Any]) -> list[tuple[list[Any], list[Value]]]:
        """Return the lists (z, a) of each layer, the first layer first."""
        layers = []
        a: Sequence[Value] = _inputs(x, self.layers[0])
        for layer in self.layers:
            z, a = layer.feedforward(a)
            layers.append((z, a))
        return layers

    def parameters(self) -> list[Value]:
        """Return the parameters of each layer in turn."""
        return [p for layer in self.layers for p in layer.parameters()]

    def __repr__(self) -> str:
        return f"MLP of [{', '.join(map(repr, self.layers))}]"


def _feedforward(neurons: list[Neuron], x: Sequence[Value], sigma: Activation) -> tuple[list[Any], list[Value]]:
    """Record z = w·x + b and a = σ(z) for each of the neurons, which all have the inputs x."""
    op, pieces, whole_layer = sigma
    x_data = [v._data for v in x]
    if pieces == 1:
        z: list[Any] = [_weighted_input(neuron.w, x, x_data, neuron.b, neuron._z_labels[0]) for neuron in neurons]
    else:
        z = [
            tuple(_weighted_input(w, x, x_data, b, label) for (w, b), label in zip(neuron.pieces(), neuron._z_labels))
            for neuron in neurons
        ]
    if whole_layer:
        a = softmax(z)
    elif op is None:
        a = z
    elif isinstance(op, Operation):
        a = [unary(op, z_j) if pieces == 1 else apply(op, *z_j) for z_j in z]
    else:
        a = [_checked(op(z_j), op) for z_j in z]
    for neuron, z_j, a_j in zip(neurons, z, a):
        neuron.z, neuron.a = z_j, a_j
        if a_j is not z_j:
            a_j._label = neuron._a_label
    return z, a


def _weighted_input(w: list[Value], x: Sequence[Value], x_data: list[float], b: Value, label: str) -> Value:
    """Record `affine(w, x, b)`, labelled. A layer gathers the numbers of x once for all its neurons: `x_data`."""
    try:
        w_data, b_data = [v._data for v in w], b._data
    except AttributeError:  # somebody put a plain number in the place of a parameter: a constant
        z = apply(AFFINE, *w, *x, b)
    else:
        y = AFFINE.value(ieee, w_data, x_data, b_data)
        dw, dx, db = AFFINE.local_grads(ieee, y, w_data, x_data, b_data)
        z = record(AFFINE, y, (*w, *x, b), (*dw, *dx, db))
    z._label = label
    return z


def as_labelled_values(x: Iterable[Any], letter: str) -> list[Value]:
    """Return a list of Values; plain numbers become constants x₁, x₂, …, and one alone is a list of one."""
    try:
        items = list(x)
    except TypeError:
        items = [x]
    for i, item in enumerate(items):
        if not isinstance(item, Value):
            items[i] = constant(item)
            items[i].label = letter + subscript(i + 1)
    return items


def _inputs(x: Iterable[Any], module: Neuron | Layer) -> list[Value]:
    inputs = as_labelled_values(x, "x")
    if len(inputs) != module.nin:
        raise ValueError(f"{module!r} expects {module.nin} inputs, got {len(inputs)}")
    return inputs


def _alone(a: Sequence[Value]) -> Any:
    return a[0] if len(a) == 1 else a


def _generator(seed: int | random.Random | None) -> random.Random | None:
    """Return one generator for all that a constructor makes; None stands for the module `random` itself."""
    return seed if seed is None or isinstance(seed, random.Random) else random.Random(operator.index(seed))


def _activation(activation: Sigma) -> Activation:
    return Activation(activation) if callable(activation) else _known(activation, ACTIVATIONS, "activation")


def _checked(a: Any, activation: Callable[[Value], Value]) -> Value:
    if not isinstance(a, Value):
        raise TypeError(f"an activation makes a Value of a Value, and {_called(activation)} returned {a!r:.60}")
    return a


def _called(activation: Sigma) -> str:
    return repr(activation) if isinstance(activation, str) else getattr(activation, "__name__", repr(activation))


def _known(name: str, table: dict[str, Any], kind: str) -> Any:
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r}; known are {', '.join(table)}")
    return table[name]


def _size(n: Any, name: str) -> int:
    try:
        size = operator.index(n)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {n!r}") from None
    if size < 1:
        raise ValueError(f"{name} must be at least 1, got {size}")
    return size
