import math
import re

import pytest
from optional import optional

from microgradlike import Value, vectorize
from microgradlike.nn import MLP, SGD, Adam
from microgradlike.nn.optim import Optimizer

np = optional("numpy")


def test_sgd_takes_a_step_against_the_gradient():
    w, b = Value(2.0), Value(-1.0)
    (3.0 * w + 0.5 * b).backward()
    optimizer = SGD([w, b], lr=0.25)
    optimizer.step()
    assert (w.data, b.data) == (2.0 - 0.25 * 3.0, -1.0 - 0.25 * 0.5)
    optimizer.lr = 0.5
    optimizer.step()
    assert w.data == 1.25 - 0.5 * 3.0
    optimizer.zero_grad()
    assert (w.grad, b.grad) == (0.0, 0.0)
    optimizer.step()
    assert w.data == -0.25


def kingma_ba(theta, gradients, alpha, betas, epsilon):
    """Algorithm 1 of the paper on arrays, line by line: the moments, their corrections, the update."""
    m, v, path = np.zeros_like(theta), np.zeros_like(theta), []
    for t, g in enumerate(gradients, start=1):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        theta = theta - alpha * m_hat / (np.sqrt(v_hat) + epsilon)
        path.append(theta)
    return path


@pytest.mark.parametrize(
    "settings",
    [{}, {"lr": 0.1}, {"lr": 0.01, "betas": (0.5, 0.75), "eps": 0.1}, {"lr": 1.0, "betas": (0.0, 0.0)}],
)
def test_adam_follows_the_published_algorithm(settings):
    start = np.array([0.5, -2.0, 100.0])
    gradients = np.random.RandomState(0).normal(size=(30, 3)) * [1.0, 1e-3, 1e3]
    expected = kingma_ba(
        start, gradients, settings.get("lr", 0.001), settings.get("betas", (0.9, 0.999)), settings.get("eps", 1e-8)
    )
    parameters = [Value(number) for number in start]
    optimizer = Adam(parameters, **settings)
    for gradient, theta in zip(gradients, expected, strict=True):
        for p, g in zip(parameters, gradient, strict=True):
            p.grad = float(g)
        optimizer.step()
        assert [p.data for p in parameters] == pytest.approx(list(theta), rel=1e-14)


def test_adam_by_hand():
    """m̂₁ = g and v̂₁ = g²: the first step is lr, against the sign of g. The second, for g = 1 and then 3:
    m₂ = 0.09 + 0.3 = 0.39, m̂₂ = 0.39 / 0.19; v₂ = 0.000999 + 0.009 = 0.009999, v̂₂ = 0.009999 / 0.001999.
    """
    w = Value(1.0)
    optimizer = Adam([w], lr=0.5, eps=0.0)
    w.grad = 1.0
    optimizer.step()
    assert w.data == pytest.approx(0.5, rel=1e-14)
    w.grad = 3.0
    optimizer.step()
    assert w.data == pytest.approx(0.5 - 0.5 * (0.39 / 0.19) / math.sqrt(0.009999 / 0.001999), rel=1e-12)


@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_what_no_gradient_has_reached_stays(optimizer):
    used, unused = Value(1.0), Value(1.0)
    (2.0 * used).backward()
    step = optimizer([used, unused], lr=0.1)
    step.step()
    assert used.data < 1.0
    assert unused.data == 1.0
    used.grad, unused.grad = None, 2.0
    before = used.data
    step.step()
    assert used.data == before
    assert unused.data == pytest.approx({SGD: 1.0 - 0.2, Adam: 1.0 - 0.1}[optimizer])  # Adam: its first step


def test_gradients_beyond_every_bound_raise_no_python_error():
    w = Value(1.0)
    w.grad = 1e300
    Adam([w]).step()
    assert w.data == 1.0  # 1e300² is inf: a step of 0
    w.grad = 0.0
    Adam([w], eps=0.0).step()
    assert math.isnan(w.data)  # 0/0, as in PyTorch


@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_each_parameter_takes_one_step_however_often_it_is_listed(optimizer):
    w, once, other = Value(2.0), Value(2.0), Value(2.0)  # equal numbers, but not the same parameter
    for p in (w, once, other):
        p.grad = 3.0
    step = optimizer(iter([w, other, w, w]), lr=0.25)
    step.step()
    optimizer([once], lr=0.25).step()
    assert w.data == other.data == once.data < 2.0
    assert step.parameters == [w, other]


def test_a_shared_layer_takes_one_step():
    model = MLP(2, [2, 2, 1], "tanh", seed=0)
    model.layers[1] = model.layers[0]
    before = [p.data for p in model.layers[0].parameters()]
    loss = model([1.0, 2.0])
    model.zero_grad()
    loss.backward()
    SGD(model.parameters(), lr=0.5).step()
    assert [p.data for p in model.layers[0].parameters()] == [
        x - 0.5 * p.grad for x, p in zip(before, model.layers[0].parameters(), strict=True)
    ]


@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_a_step_before_any_backward_says_what_to_call(optimizer):
    w, b = Value(1.0), Value(2.0)
    step = optimizer([w, b], lr=0.1)
    with pytest.warns(UserWarning, match=r"no parameter has a gradient, .*: call loss\.backward\(\) first") as seen:
        step.step()
    assert seen[0].filename == __file__
    assert (w.data, b.data) == (1.0, 2.0)
    (2.0 * w).backward()
    step.step()  # b has none: that is silent
    assert w.data < 1.0 and b.data == 2.0
    step.zero_grad()
    step.step()  # gradients of 0 are gradients
    x = Value(3.0)
    program = vectorize(w * x, batch=[x])
    with pytest.warns(UserWarning, match=r"call program\.backward\(…\) first"):
        optimizer(program.parameters, lr=0.1).step()


def test_the_parameters_of_a_program_are_a_list_that_may_be_called():
    w, x = Value(1.0), Value(3.0)
    program = vectorize(w * x, batch=[x])
    optimizer = SGD(program.parameters(), lr=0.5)
    assert optimizer.parameters == program.parameters == program.parameters()
    program.backward([[3.0]])
    optimizer.step()
    assert program.parameters[0].data == -0.5


def test_an_optimizer_of_your_own_states_its_step():
    class Signs(Optimizer):
        def step(self):
            for _, p in self.reached():
                p.data -= self.lr * math.copysign(1.0, p.grad)

    w = Value(1.0)
    w.grad = -7.0
    Signs([w], lr=0.5).step()
    assert w.data == 1.5
    with pytest.raises(NotImplementedError, match=r"Optimizer\.step: change p\.data for every p"):
        Optimizer([w], lr=0.5).step()


def test_the_default_learning_rate_is_that_of_pytorch():
    w = Value(1.0)
    assert SGD([w]).lr == Adam([w]).lr == 0.001


@pytest.mark.parametrize(
    ("mistake", "error", "message"),
    [
        (lambda: SGD(MLP(2, [1])), TypeError, "the parameters, not the MLP itself: add .parameters()"),
        (lambda: Adam(MLP(2, [1])), TypeError, "add .parameters()"),
        (lambda: SGD(MLP(2, [1]).parameters), TypeError, "got a function: call it, model.parameters()"),
        (
            lambda: SGD(vectorize(Value(1.0) * 2.0)),
            TypeError,
            "the parameters, not the Program itself: add .parameters()",
        ),
        (lambda: SGD(Value(1.0)), TypeError, "or [w, b]: got Value(data=1.0"),
        (lambda: SGD(None), TypeError, "or [w, b]: got None"),
        (lambda: SGD([[Value(1.0)]]), TypeError, "as model.parameters() gives it"),
        (lambda: SGD([], lr=0.1), TypeError, "as model.parameters() gives it"),
        (lambda: SGD([1.0], lr=0.1), TypeError, "as model.parameters() gives it"),
        (
            lambda: SGD([Value(1.0)], lr=-0.1),
            ValueError,
            "the learning rate must be a finite number, and not negative: got -0.1",
        ),
        (lambda: SGD([Value(1.0)], lr=math.inf), ValueError, "the learning rate must be a finite number"),
        (lambda: SGD([Value(1.0)], lr=math.nan), ValueError, "the learning rate must be a finite number"),
        (lambda: Adam([Value(1.0)], betas=(0.9, 1.0)), ValueError, "betas must lie from 0 to below 1, got (0.9, 1.0)"),
        (lambda: Adam([Value(1.0)], eps=-1.0), ValueError, "eps must not be negative"),
    ],
)
def test_mistakes_are_explained(mistake, error, message):
    with pytest.raises(error, match=re.escape(message)):
        mistake()
