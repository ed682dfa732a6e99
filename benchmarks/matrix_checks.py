"""What the found program costs and keeps: gradients, and training a GPT.

    python -m benchmarks.matrix_checks [--json FILE]

The cheap gradient principle says a gradient costs a small multiple of its function, however many
parameters there are; finite differences cost one function a parameter. The GPT is trained by the
scalar engine and by the program side by side, and their losses are compared.
"""

import argparse

import numpy as np

from benchmarks import machine
from benchmarks import matrix_speed as speed
from microgradlike import Value, nn
from microgradlike.matrix import vectorize


def ratio(name, program, args):
    function = speed.seconds(lambda: program(*args))
    gradient = speed.seconds(lambda: program.backward(*args))
    count = sum(p.data.size for p in program.parameters)
    print(
        f"{name:15} loss {function * 1e6:8.1f} µs, loss and gradient {gradient * 1e6:8.1f} µs: ratio {gradient / function:.2f}; "
        f"finite differences in {count} parameters: {count * function * 1e3:.0f} ms"
    )
    return {"what": name, "loss": function, "gradient": gradient, "parameters": count}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    machine.options(parser)
    options = parser.parse_args()
    print(machine.describe())
    X, Y = speed.nielsen_data(100)[:2]
    model = nn.MLP(784, [30, 10], "sigmoid", output="sigmoid", seed=1)
    x, y = [Value(0.5) for _ in range(784)], [Value(0.5) for _ in range(10)]
    network = vectorize(nn.losses.quadratic(model(x), y), [x, y])
    ratios = [
        ratio("minibatch 10", network, (X[:10], Y[:10])),
        ratio("minibatch 100", network, (X, Y)),
        ratio("GPT", speed.gpt_found(), [np.array([a]) for a in speed.text(0)]),
    ]

    (scalar, _), (program, _) = speed.gpt_scalar(optimize=True), speed.gpt_program(optimize=True)
    worst, losses = 0.0, []
    for _ in range(100):
        a, b = scalar(), program()
        worst = max(worst, abs(a - b))
        losses.append(b)
    print(
        f"GPT: loss {losses[0]:.4f} → {losses[-1]:.4f} in 100 steps of Adam; the two engines differ by at most {worst:.1e}"
    )
    machine.save(options.json, {"ratios": ratios, "gpt": losses[-1], "apart": worst})


if __name__ == "__main__":
    main()
