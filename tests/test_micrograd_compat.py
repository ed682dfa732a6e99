"""micrograd's example, test and demo run with only the import changed, and give the same numbers."""

import random
from types import SimpleNamespace

import pytest
from optional import optional

from microgradlike.datasets import moons


@pytest.fixture(params=["micrograd", "microgradlike"])
def package(request):
    engine = optional("micrograd.engine" if request.param == "micrograd" else "microgradlike")
    return SimpleNamespace(Value=engine.Value, nn=optional(f"{request.param}.nn"))


def test_the_example_of_its_readme(package):
    Value = package.Value

    a = Value(-4.0)
    b = Value(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    assert f"{g.data:.4f}" == "24.7041"
    g.backward()
    assert f"{a.grad:.4f}" == "138.8338"
    assert f"{b.grad:.4f}" == "645.5773"


def test_its_sanity_check(package):
    Value = package.Value

    x = Value(-4.0)
    z = 2 * x + 2 + x
    q = z.relu() + z * x
    h = (z * z).relu()
    y = h + q + q * x
    y.backward()
    assert (x.data, y.data, x.grad) == (-4.0, -20.0, 46.0)


def test_a_neuron(package):
    Value = package.Value

    random.seed(1337)
    n = package.nn.Neuron(2)
    x = [Value(1.0), Value(-2.0)]
    y = n(x)
    y.backward()
    random.seed(1337)
    w = [random.uniform(-1, 1) for _ in range(2)]
    assert [p.data for p in n.parameters()] == [*w, 0]
    z = w[0] - 2 * w[1]
    assert y.data == pytest.approx(max(0, z), rel=1e-15)
    assert z > 0, "this seed opens the ReLU"
    assert [p.grad for p in n.parameters()] == [1.0, -2.0, 1.0]
    assert [v.grad for v in x] == w


def train(package, X, y, steps):
    """The training loop of its demo notebook; the losses, the accuracies and the last parameters."""
    Value, MLP = package.Value, package.nn.MLP
    random.seed(1337)
    model = MLP(2, [16, 16, 1])  # 2-layer neural network

    def loss():
        inputs = [list(map(Value, xrow)) for xrow in X]

        # forward the model to get scores
        scores = list(map(model, inputs))

        # svm "max-margin" loss
        losses = [(1 + -yi * scorei).relu() for yi, scorei in zip(y, scores, strict=True)]
        data_loss = sum(losses) * (1.0 / len(losses))
        # L2 regularization
        alpha = 1e-4
        reg_loss = alpha * sum(p * p for p in model.parameters())
        total_loss = data_loss + reg_loss

        # also get accuracy
        accuracy = [(yi > 0) == (scorei.data > 0) for yi, scorei in zip(y, scores, strict=True)]
        return total_loss, sum(accuracy) / len(accuracy)

    history = []
    for k in range(steps):
        # forward
        total_loss, acc = loss()

        # backward
        model.zero_grad()
        total_loss.backward()

        # update (sgd)
        learning_rate = 1.0 - 0.9 * k / 100
        for p in model.parameters():
            p.data -= learning_rate * p.grad

        history.append((total_loss.data, acc))
    return history, [p.data for p in model.parameters()]


def test_the_training_loop_of_its_demo():
    X, classes = moons(20)
    y = [2 * c - 1 for c in classes]
    theirs, ours = (
        train(SimpleNamespace(Value=optional(engine).Value, nn=optional(nn)), X, y, 12)
        for engine, nn in [("micrograd.engine", "micrograd.nn"), ("microgradlike", "microgradlike.nn")]
    )
    assert len(ours[1]) == 337
    assert ours[0] == [(pytest.approx(loss, rel=1e-9), accuracy) for loss, accuracy in theirs[0]]
    assert ours[1] == pytest.approx(theirs[1], rel=1e-9, abs=1e-12)
    assert ours[0][-1][0] < ours[0][0][0] / 2, "it learns"


def test_what_the_readme_says_is_different():
    from microgradlike import Value
    from microgradlike.nn import Neuron

    with pytest.raises(TypeError, match="nonlin"):
        Neuron(3, nonlin=False)
    assert Neuron(3, activation="linear").activation == "linear"
    assert Value(1.0) != Value(1.0) and not Value(0.0)
