"""What the found program costs and keeps: gradient/function cost ratios, and 100 steps of training a GPT.

    python benchmarks/matrix_checks.py

The cheap gradient principle says a gradient costs a small multiple of its function, however many
parameters there are; finite differences cost one function a parameter. The GPT is trained by the
scalar engine and by the program side by side, and their losses are compared.
"""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import machine  # noqa: E402
import matrix_speed as speed  # noqa: E402
import numpy as np  # noqa: E402

from microgradlike import Value, nn  # noqa: E402
from microgradlike.matrix import vectorize  # noqa: E402


def ratio(name, program, args):
    function = speed.seconds(lambda: program(*args))
    gradient = speed.seconds(lambda: program.backward(*args))
    count = sum(p.data.size for p in program.parameters)
    print(
        f"{name:15} loss {function * 1e6:8.1f} µs, loss and gradient {gradient * 1e6:8.1f} µs: ratio {gradient / function:.2f}; "
        f"finite differences in {count} parameters: {count * function * 1e3:.0f} ms"
    )


def main():
    print(machine.describe())
    X, Y = speed.nielsen_data(100)[:2]
    model = nn.MLP(784, [30, 10], "sigmoid", output="sigmoid", seed=1)
    x, y = [Value(0.5) for _ in range(784)], [Value(0.5) for _ in range(10)]
    network = vectorize(nn.losses.quadratic(model(x), y), [x, y])
    ratio("minibatch 10", network, (X[:10], Y[:10]))
    ratio("minibatch 100", network, (X, Y))
    ratio("GPT", speed.gpt_found(), [np.array([a]) for a in speed.text(0)])

    scalar, program = speed.gpt_scalar(), speed.gpt_program(optimize=True)
    worst, losses = 0.0, []
    for _ in range(100):
        a, b = scalar(), program()
        worst = max(worst, abs(a - b))
        losses.append(b)
    print(
        f"GPT: loss {losses[0]:.4f} → {losses[-1]:.4f} in 100 steps of Adam; the two engines differ by at most {worst:.1e}"
    )


if __name__ == "__main__":
    main()
