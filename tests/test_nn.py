import copy
import gc
import inspect
import pickle
import random
import re
import sys
import textwrap
import threading
from math import sqrt

import pytest
from optional import optional

from microgradlike import Value, affine, check_gradients, nn, operation, ops, topological_order, vectorize
from microgradlike.datasets import moons
from microgradlike.nn import MLP, Layer, Module, Neuron, modules

micrograd_nn = optional("micrograd.nn")
mpmath = optional("mpmath")
np = optional("numpy")


def data(parameters):
    return [p.data for p in parameters]


def labels(values):
    return [v.label for v in values]


# ── Initialisation ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sizes", [(2, [16, 16, 1]), (3, [4, 4, 1]), (1, [1])])
def test_the_global_seed_gives_the_network_that_micrograd_gives(sizes):
    random.seed(1337)
    theirs = micrograd_nn.MLP(*sizes)
    random.seed(1337)
    ours = MLP(*sizes)
    assert data(ours.parameters()) == data(theirs.parameters())
    x = [0.25, -1.5, 3.0][: sizes[0]]
    assert ours(x).data == theirs(x).data


def test_a_seed_repeats_and_leaves_the_global_generator_alone():
    random.seed(5)
    expected = random.random()
    random.seed(5)
    first, again, other = (data(MLP(3, [4, 2], seed=s).parameters()) for s in (1, 1, 2))
    assert first == again != other
    assert random.random() == expected


def test_a_seed_is_the_generator_of_that_seed():
    rng = random.Random(7)
    assert data(MLP(2, [3, 1], seed=7).parameters()) == data(MLP(2, [3, 1], seed=rng).parameters())
    assert data(Layer(2, 1, seed=7).parameters()) == data(Neuron(2, seed=np.int64(7)).parameters())
    rng = random.Random(7)
    assert data(Neuron(2, seed=7).w) == [rng.uniform(-1, 1), rng.uniform(-1, 1)]


@pytest.mark.parametrize("activation", nn.ACTIVATIONS)
def test_biases_start_at_zero(activation):
    layer = Layer(3, 4, activation, seed=0)
    assert all(b.data == 0 for neuron in layer.neurons for _, b in neuron.pieces())
    assert len(layer.parameters()) == (32 if activation == "maxout" else 16)


@pytest.mark.parametrize(
    ("init", "bound", "variance"),
    [
        ("uniform", 1.0, 1 / 3),
        ("xavier", sqrt(6 / 150), 2 / 150),  # r²/3
        ("he", 5.5 * sqrt(2 / 100), 2 / 100),
    ],
)
def test_initial_weights_have_the_spread_of_their_source(init, bound, variance):
    weights = data(p for neuron in Layer(100, 50, seed=1, init=init).neurons for p in neuron.w)
    assert len(weights) == 5000
    assert max(map(abs, weights)) <= bound
    assert max(map(abs, weights)) > 0.6 * bound
    assert abs(np.mean(weights)) < 4 * sqrt(variance / 5000)
    assert np.mean(np.square(weights)) == pytest.approx(variance, rel=0.1)


# ── What a call records ────────────────────────────────────────────────────────────────────────

SIGMA = {  # written out again, on floats
    "linear": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: max(0.0, z),
    "leaky_relu": lambda z: max(0.1 * z, z),
    "elu": lambda z: z if z >= 0 else np.exp(z) - 1,
}


@pytest.mark.parametrize("activation", SIGMA)
def test_a_neuron_is_sigma_of_one_affine_node(activation):
    neuron = Neuron(2, activation)
    for w, number in zip(neuron.w, (0.5, -2.0), strict=True):
        w.data = number
    neuron.b.data = 0.25
    for x in ([1.0, 0.125], [-1.5, 0.5], [0.0, 0.125]):
        a = neuron(x)
        z = 0.25 + 0.5 * x[0] - 2.0 * x[1]
        assert neuron.z.data == z
        assert neuron.z.op is ops.AFFINE
        assert neuron.z.inputs[:2] == tuple(neuron.w)
        assert neuron.z.inputs[-1] is neuron.b
        assert a is neuron.a
        assert a.data == pytest.approx(SIGMA[activation](z), rel=1e-15)
        assert (a is neuron.z) if activation == "linear" else (a.inputs == (neuron.z,))


def test_leaky_relu_and_elu_are_those_of_value():
    assert nn.ACTIVATIONS["leaky_relu"].op is Value(1.0).leaky_relu().op
    assert nn.ACTIVATIONS["elu"].op is Value(1.0).elu().op


def test_a_maxout_neuron_is_the_larger_of_two_weighted_inputs():
    neuron = Neuron(2, "maxout", seed=0)
    for p, number in zip(neuron.parameters(), [1.0, 2.0, 0.5, -1.0, 3.0, 0.25], strict=True):
        p.data = number
    assert [data(w) for w in neuron.w] == [[1.0, 2.0], [-1.0, 3.0]]
    assert data(neuron.b) == [0.5, 0.25]
    a = neuron([2.0, 1.0])
    assert data(neuron.z) == [4.5, 1.25]
    assert a.data == 4.5
    a.backward()
    assert [z.grad for z in neuron.z] == [1.0, 0.0]


def test_a_softmax_layer_acts_on_all_of_its_weighted_inputs():
    layer = Layer(2, 3, "softmax", seed=4)
    a = layer([0.5, -1.0])
    e = np.exp(data(layer.z))
    assert data(a) == pytest.approx(e / e.sum(), rel=1e-15)
    assert layer.a == a
    a[0].backward()
    p = data(a)
    assert [z.grad for z in layer.z] == pytest.approx([p[0] * (1 - p[0]), -p[0] * p[1], -p[0] * p[2]], rel=1e-14)


def test_one_output_comes_alone_and_may_be_fed_on():
    model = MLP(2, [1, 1, 2], "tanh", seed=0)  # micrograd cannot run through a layer of one neuron
    assert len(model([1.0, 2.0])) == 2
    layer, following = Layer(2, 1, seed=0), Layer(1, 1, "tanh", seed=1)
    assert isinstance(layer([1.0, 2.0]), Value)
    assert isinstance(following(layer([1.0, 2.0])), Value)
    assert following(0.5).data == following([0.5]).data


def test_numbers_become_labelled_constants_once_for_a_layer():
    model = MLP(2, [3, 2], "tanh", seed=0)
    out = model([1, np.float32(0.5)])
    xs = [v for v in topological_order(out[0] + out[1]) if v.op is ops.CONSTANT]
    assert labels(xs) == ["x₁", "x₂"]
    assert data(xs) == [1.0, 0.5]


def test_values_are_taken_as_they_are():
    x = [Value(1.0, "height"), Value(2.0), 3.0]
    layer = Layer(3, 1, "linear", seed=0)
    z = layer(x)
    assert z.inputs[3] is x[0]
    assert z.inputs[4] is x[1]
    assert labels(z.inputs[3:6]) == ["height", "", "x₃"]
    z.backward()
    assert x[1].grad == layer.neurons[0].w[1].data


@pytest.mark.parametrize("x", [(1.0, 2.0), np.array([1.0, 2.0]), iter([1, 2]), np.array([1, 2], dtype=np.float32)])
def test_any_sequence_of_numbers_will_do(x):
    model = MLP(2, [3, 1], seed=0)
    assert model(x).data == model([1.0, 2.0]).data


def test_parameters_may_be_replaced_between_calls():
    neuron = Neuron(2, "linear", seed=0)
    first = neuron([3.0, 5.0])
    neuron.w[0], neuron.w[1], neuron.b = Value(2.0), -1.0, 0.5  # plain numbers are constants
    second = neuron([3.0, 5.0])
    assert (second.data, second.label) == (1.5, "z")
    assert [v.op for v in second.inputs[:2]] == [ops.LEAF, ops.CONSTANT]
    neuron.w.reverse()
    assert neuron([3.0, 5.0]).data == 7.5
    second.backward()
    assert second.inputs[0].grad == 3.0 and neuron.w[1] is second.inputs[0]
    assert neuron.w[1] not in first.inputs


def test_the_gradients_are_those_of_the_recorded_call():
    layer = Layer(2, 2, "linear", seed=0)
    x = [Value(3.0), Value(5.0)]
    z = layer(x)
    w = [[v.data for v in neuron.w] for neuron in layer.neurons]
    for v in (*layer.parameters(), *x):
        v.data = 100.0
    (z[0] + 2 * z[1]).backward()
    assert data(x) == [100.0, 100.0]
    assert [v.grad for v in x] == [w[0][k] + 2 * w[1][k] for k in (0, 1)]
    assert [[v.grad for v in neuron.w] for neuron in layer.neurons] == [[3.0, 5.0], [6.0, 10.0]]


def test_delta_is_z_grad():
    """δ³ = a³ − y, δ² = (w³)ᵀδ³ ⊙ σ'(z²), written out for one chain of neurons."""
    model = MLP(1, [1, 1, 1], "tanh", seed=3)
    nn.quadratic(model(0.75), 0.5).backward()
    one, two, three = model.layers
    delta3 = three.a[0].data - 0.5
    delta2 = three.neurons[0].w[0].data * delta3 * (1 - two.a[0].data ** 2)
    delta1 = two.neurons[0].w[0].data * delta2 * (1 - one.a[0].data ** 2)
    for layer, delta in ((one, delta1), (two, delta2), (three, delta3)):
        assert layer.z[0].grad == pytest.approx(delta, rel=1e-14)
        assert layer.neurons[0].b.grad == layer.z[0].grad


def numbers_of_a_call(model, x):
    return [node.data for node in topological_order(nn.cross_entropy(model(x), 1)) if node.inputs]


@pytest.mark.parametrize("activation", [*nn.ACTIVATIONS, Value.softplus])
def test_a_call_reads_nothing_that_another_call_has_left(monkeypatch, activation):
    """As if another thread called the network whenever this one has recorded a weighted input."""
    model = MLP(3, [4, 4, 3], activation, "softmax", seed=2)
    alone = numbers_of_a_call(model, [0.1, -0.2, 0.3])
    record, calls = modules._weighted_input, []

    def interrupted(*args):
        z = record(*args)
        if not calls:
            calls.append(model)
            model([3.0, 2.0, 1.0])
            calls.clear()
        return z

    monkeypatch.setattr(modules, "_weighted_input", interrupted)
    assert numbers_of_a_call(model, [0.1, -0.2, 0.3]) == alone


def test_one_network_serves_several_threads():
    model = MLP(3, [8, 8, 4], "maxout", "softmax", seed=2)
    samples = [[0.1 * t, -0.2 * t, 0.3] for t in range(4)]
    alone, wrong = [numbers_of_a_call(model, x) for x in samples], []

    def work(i):
        for _ in range(40):
            if numbers_of_a_call(model, samples[i]) != alone[i]:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(samples))]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


# ── An activation of your own ──────────────────────────────────────────────────────────────────

# The worked example of the documentation, as it stands there.
documented = {"operation": operation, "__name__": __name__}
exec(
    textwrap.dedent(re.search(r"    def v\(x\):.*?\n    \)\n", inspect.cleandoc(operation.__doc__), re.DOTALL)[0]),
    documented,
)
gelu = documented["gelu"]


@pytest.mark.parametrize("x", [-30.0, -8.0, -3.0, -0.5, -1e-8, 0.0, 0.3, 2.0, 5.0, 12.0, 100.0])
def test_the_gelu_of_the_documentation_is_the_published_one(x):
    with mpmath.workdps(60):

        def exact(x):
            return x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)))

        y, slope = float(exact(mpmath.mpf(x))), float(mpmath.diff(exact, x))
    a = Value(x)
    b = gelu(a)
    b.backward()
    assert (b.data, a.grad) == (pytest.approx(y, rel=1e-12, abs=1e-300), pytest.approx(slope, rel=1e-12, abs=1e-300))
    X = Value(0.7)
    program = vectorize(gelu(X), batch=[X])
    assert program([[x]]) == pytest.approx([y], rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("activation", [gelu, Value.softplus, lambda z: z * z.sigmoid(), lambda z: z])
def test_an_activation_may_be_a_function_of_z(activation):
    model = MLP(2, [3, 1], activation, activation, seed=0)
    by_hand = [activation(z) for z in MLP(2, [3], "linear", seed=0)([0.5, -1.0])]
    assert model([0.5, -1.0]).data == pytest.approx(
        activation(affine(model.layers[1].neurons[0].w, by_hand, 0.0)).data, rel=1e-15
    )
    layer = model.layers[0]
    assert data(layer.a) == data(by_hand)
    x = [Value(0.5, "x1"), Value(-1.0, "x2")]
    assert check_gradients(lambda: model(x), [*model.parameters(), *x]).ok
    program = vectorize(model(x), batch=[x])
    X = [[0.1, 0.2], [-3.0, 2.0]]
    assert program(X) == pytest.approx([model(row).data for row in X], rel=1e-13)


def test_a_network_with_an_operation_as_its_activation_is_copied_printed_and_checked():
    model = MLP(2, [3, 1], gelu, seed=0)
    assert repr(model) == "MLP of [Layer(2, 3, gelu), Layer(3, 1, 'linear')]"
    twin = pickle.loads(pickle.dumps(model))
    assert twin([0.5, 1.0]).data == copy.deepcopy(model)([0.5, 1.0]).data == model([0.5, 1.0]).data
    assert labels(model.layers[0].a) == ["a¹₁", "a¹₂", "a¹₃"]
    from microgradlike.nn import deltas

    with pytest.raises(ValueError, match="layer 1: unknown activation of your own, gelu; known are linear, sigmoid"):
        deltas.backpropagate(*deltas.arrays(model), [0.5, 1.0], 1.0)


# ── Names, copies, errors ──────────────────────────────────────────────────────────────────────


def test_labels_read_like_the_textbook():
    model = MLP(3, [2, 1], "relu", seed=0)
    first, second = model.layers
    assert labels(model.parameters()) == [
        "w¹₁₁", "w¹₁₂", "w¹₁₃", "b¹₁", "w¹₂₁", "w¹₂₂", "w¹₂₃", "b¹₂", "w²₁₁", "w²₁₂", "b²₁",
    ]  # fmt: skip
    model([1, 2, 3])
    assert labels(first.z + first.a) == ["z¹₁", "z¹₂", "a¹₁", "a¹₂"]
    assert labels(second.z + second.a) == ["z²₁", "z²₁"]  # linear: a is z

    layer, neuron = Layer(2, 2, "softmax"), Neuron(2, "maxout")
    layer([1, 2])
    assert labels(layer.parameters()) == ["w₁₁", "w₁₂", "b₁", "w₂₁", "w₂₂", "b₂"]
    assert labels(layer.z + layer.a) == ["z₁", "z₂", "a₁", "a₂"]
    neuron([1, 2])
    assert labels(neuron.parameters()) == ["w′₁", "w′₂", "b′", "w″₁", "w″₂", "b″"]
    assert labels([*neuron.z, neuron.a]) == ["z′", "z″", "a"]


@pytest.mark.parametrize("nin, last", [(10, "₁₀"), (12, "₁₂")])
def test_a_comma_parts_indices_of_two_digits(nin, last):
    model = MLP(nin, [11, 2], seed=0)
    neuron = model.layers[0].neurons[0]
    assert (neuron.w[2].label, neuron.w[-1].label) == ("w¹₁,₃", f"w¹₁,{last}")
    assert MLP(9, [9], seed=0).layers[0].neurons[8].w[8].label == "w¹₉₉"
    assert model.layers[0].neurons[10].w[2].label == "w¹₁₁,₃"
    assert model.layers[0].neurons[10].b.label == "b¹₁₁"
    assert len(set(labels(model.parameters()))) == len(model.parameters())


@pytest.mark.parametrize("activation", nn.ACTIVATIONS)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_model_can_be_copied_also_after_a_call(activation, duplicate):
    model = MLP(2, [3, 2], activation, activation, seed=0)
    out = model([0.5, -0.25])
    out[0].backward()
    twin = duplicate(model)
    assert data(twin.parameters()) == data(model.parameters())
    assert labels(twin.parameters()) == labels(model.parameters())
    assert not set(twin.parameters()) & set(model.parameters())
    assert twin.layers[0].z == [None] * 3
    assert model.layers[1].a == out
    assert data(twin([0.5, -0.25])) == data(out)


def test_repr_shows_the_structure():
    model = MLP(2, [16, 1], "tanh", "sigmoid", seed=0)
    assert repr(model) == "MLP of [Layer(2, 16, 'tanh'), Layer(16, 1, 'sigmoid')]"
    assert repr(Neuron(3, "maxout")) == "Neuron(3, 'maxout')"


def test_your_own_module():
    class Scaled(Module):
        def __init__(self):
            self.scale = Value(2.0)

        def parameters(self):
            return [self.scale]

    module = Scaled()
    (module.scale * 3).backward()
    assert module.scale.grad == 3
    module.zero_grad()
    assert module.scale.grad == 0.0
    assert Module().parameters() == []


def test_a_model_leaves_nothing_to_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        model = MLP(2, [4, 2], "maxout", "softmax", seed=0)
        nn.cross_entropy(model.layers[-1].z if model([1, 2]) else [], 1).backward()
        del model
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("mistake", "error", "message"),
    [
        (lambda: MLP(3, [2])([1, 2]), ValueError, "Layer(3, 2, 'linear') expects 3 inputs, got 2"),
        (lambda: Neuron(1)([1, 2]), ValueError, "Neuron(1, 'relu') expects 1 inputs, got 2"),
        (lambda: Neuron(1)([]), ValueError, "got 0"),
        (lambda: Neuron(2)(["1", "2"]), TypeError, "convert it first: float(x)"),
        (lambda: Neuron(2)(np.ones((2, 2))), TypeError, "expected a real number"),
        (lambda: Layer(2, 2, "rleu"), ValueError, "unknown activation 'rleu'; known are linear, sigmoid, tanh, relu"),
        (lambda: MLP(2, [2, 1], output="logits"), ValueError, "unknown activation 'logits'"),
        (lambda: MLP(2, [3], activation="foo"), ValueError, "unknown activation 'foo'"),
        (lambda: Neuron(2, "softmax"), ValueError, "softmax acts on a whole layer: use Layer(nin, nout, 'softmax')"),
        (lambda: MLP(2, [2], init="glorot"), ValueError, "unknown init 'glorot'; known are uniform, xavier, he"),
        (lambda: MLP(2, 3), TypeError, "nouts must be the list of layer sizes, as in MLP(2, [3, 1]), got 3"),
        (lambda: MLP(2, []), ValueError, "at least one layer"),
        (lambda: MLP(0, [1]), ValueError, "nin must be at least 1, got 0"),
        (lambda: Layer(2, -1), ValueError, "nout must be at least 1, got -1"),
        (lambda: Layer(2, 2.5), TypeError, "nout must be a whole number, got 2.5"),
        (lambda: MLP(2, [1], output=lambda z: 1.0)([1, 2]), TypeError, "<lambda> returned 1.0"),
        (lambda: MLP(2, [1], activation=None), ValueError, "unknown activation None; known are linear"),
        (lambda: MLP(2, [1], seed="a"), TypeError, "'str' object cannot be interpreted as an integer"),
    ],
)
def test_mistakes_are_explained(mistake, error, message):
    with pytest.raises(error, match=re.escape(message)):
        mistake()


# ── It learns ──────────────────────────────────────────────────────────────────────────────────

XOR = [([0, 0], 0), ([0, 1], 1), ([1, 0], 1), ([1, 1], 0)]


@pytest.mark.parametrize(
    ("activation", "optimizer"),
    [("tanh", nn.SGD), ("sigmoid", nn.Adam), ("relu", nn.Adam), ("maxout", nn.SGD), ("elu", nn.Adam)],
)
def test_a_tiny_network_learns_xor(activation, optimizer):
    model = MLP(2, [8, 1], activation, seed=0)
    steps = optimizer(model.parameters(), lr=0.1)
    for _ in range(250):
        loss = sum(nn.cross_entropy(model(x), y) for x, y in XOR)
        steps.zero_grad()
        loss.backward()
        steps.step()
    assert loss.data < 0.2
    assert all((model(x) > 0) == (y == 1) for x, y in XOR)


def test_a_softmax_output_learns_xor_under_the_quadratic_cost():
    model = MLP(2, [4, 2], "tanh", "softmax", seed=1)
    steps = nn.Adam(model.parameters(), lr=0.05)
    for _ in range(150):
        loss = sum(nn.quadratic(model(x), [1 - y, y]) for x, y in XOR)
        steps.zero_grad()
        loss.backward()
        steps.step()
    assert loss.data < 0.01


def test_a_small_network_parts_the_moons():
    points, classes = moons(60, noise=0.1, seed=0)
    model = MLP(2, [8, 1], "tanh", seed=0)
    optimizer = nn.Adam(model.parameters(), lr=0.1)
    for _ in range(60):
        loss = sum(nn.hinge(model(x), 2 * y - 1) for x, y in zip(points, classes, strict=True)) / 60
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    right = sum((model(x) > 0) == (y == 1) for x, y in zip(points, classes, strict=True))
    assert right >= 58
