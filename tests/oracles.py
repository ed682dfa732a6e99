"""What several test modules hold the package against: independent closed forms, and rules that are made wrong.

`TABLE` has for every row of `ops` its function in mpmath, written from the definition. It shares nothing with the
rules but the names, and neither does `COMPLEX_SIGMA` with the δ equations. `mistaken` and `broken` put a mistake into
a row for a while: a check that passes with it checks nothing.
"""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf, nan

from optional import optional

from microgradlike import ops, recording, value
from microgradlike.primitive import Operation, flat
from microgradlike.support.compiled import compile_rows

mpmath = optional("mpmath")
mp, mpf = mpmath.mp, mpmath.mpf
np = optional("numpy")

DIGITS = 400  # more than 50 of them remain of 1 − σ(710), and of log(1 + 5e-324)

# ── The rows of `ops`, against mpmath ──────────────────────────────────────────────────────────


@dataclass(frozen=True)
class ExactRow:
    op: Operation
    oracle: Callable  # on mpmath numbers, written independently of the row
    points: list  # of tuples of operands
    kinks: list = field(default_factory=list)  # (operands, the local derivatives we choose there)
    magnification: Callable = lambda *x: 1  # ULPS grow by this factor: how far the operands' own rounding shows

    def __str__(self):
        return repr(self.op)[11:-1]


def unary(*xs):
    return [(x,) for x in xs]


TINY, HUGE = 5e-324, 1e308
ANYWHERE = unary(
    -HUGE, -1e22, -800.5, -50.0, -3.7, -1.0, -0.3, -1e-9, -TINY, TINY, 1e-160, 1e-9, 0.1, 1.0, 2.5, 1e22, HUGE
)
CURVED = unary(*(s * x for x in (1e-300, 1e-9, 0.01, 0.5, 1.0, 2.0, 7.7, 20.0, 36.5, 40.0, 330.0, 700.0, 709.5, 1e4) for s in (-1, 1)), 0.0)  # fmt: skip
POSITIVE = unary(TINY, 1e-310, 1e-160, 0.3, 0.9999999, 1.0, 1.0000001, 2.0, 10.0, 1e22, HUGE)
PAIRS = [(a, b) for a in (-1e9, -2.5, -1e-9, 0.7, 3.0, 1e150) for b in (-1e100, -1.5, -1e-12, 0.3, 2.0, 1e9)]
LISTS = [(1.5,), (0.1, 0.2, 0.3), (-3.0, 1e-9, 2.0, 7.25), (1e100, -1e99, 3.0), (0.3, 0.1, 0.7, 1.9, 2.3, -4.0, 5.1)]
PRODUCTS = [(2.0, 3.5), (0.1, 0.2, 0.3, 0.4), (1.0, -2.0, 0.5, 3.0, 4.0, -1e-3), (1e100, 1e50, 1e-7, 1e100)]
FAR_APART = [
    (0.0,), (0.0, -40.0), (-40.0, 0.0), (0.0, 40.0), (0.0, -700.0), (1.0, 1.0), (1e4, 1e4), (1e4, 1e4 + 0.3), (-1e4, 1e4),
    (0.1, 0.2, 0.3), (-745.0, 3.0, -30.0, 2.0), (700.0, 710.0, 720.0), (1e300, 1.0), (-1e300, 1e-300), (-5.0, -50.0, -5.0),
]  # fmt: skip


def softplus(x):
    return mp.log(1 + mp.exp(x))


def sigmoid(x):
    return 1 / (1 + mp.exp(-x))


def logsumexp(*x):
    return mp.log(mpmath.fsum(mp.exp(each) for each in x))


def dot(*wx):
    n = len(wx) // 2
    return mpmath.fdot(wx[:n], wx[n : 2 * n]) + mpmath.fsum(wx[2 * n :])


def cancels(*terms):
    """Sums in floating point: the error is relative to the sum of the magnitudes."""
    return len(terms) * mpmath.fsum(map(abs, terms)) / abs(mpmath.fsum(terms))


AT_ZERO = [((0.0,), (0.0,)), ((-0.0,), (0.0,))]

TIES = [((2.0, 2.0), (0.0, 0.0)), ((0.0, -0.0), (0.0, 0.0)), ((inf, inf), (0.0, 0.0))]

TABLE = [
    ExactRow(ops.NEG, lambda x: -x, ANYWHERE),
    ExactRow(ops.ABS, abs, ANYWHERE, AT_ZERO),
    ExactRow(ops.EXP, mp.exp, CURVED),
    ExactRow(ops.EXPM1, lambda x: mp.exp(x) - 1, CURVED),
    ExactRow(ops.LOG, mp.log, POSITIVE),
    ExactRow(ops.LOG1P, lambda x: mp.log(1 + x), [*POSITIVE, *unary(-0.999999, -0.5, -1e-9, -1e-300)]),
    ExactRow(ops.SQRT, mp.sqrt, POSITIVE),
    ExactRow(ops.SIN, mp.sin, ANYWHERE),
    ExactRow(ops.COS, mp.cos, ANYWHERE),
    ExactRow(ops.SIGMOID, sigmoid, CURVED),
    ExactRow(ops.TANH, mp.tanh, CURVED),
    ExactRow(ops.SOFTPLUS, softplus, CURVED),
    ExactRow(ops.RELU, lambda x: max(x, 0), ANYWHERE, AT_ZERO),
    ExactRow(ops.leaky_relu(0.1), lambda x: max(mpf(0.1) * x, x), ANYWHERE, [((0.0,), (0.1,)), ((-0.0,), (0.1,))]),
    ExactRow(ops.leaky_relu(0.25), lambda x: max(x / 4, x), ANYWHERE, [((0.0,), (0.25,))]),
    ExactRow(ops.elu(1.0), lambda x: x if x > 0 else mp.exp(x) - 1, CURVED),
    ExactRow(ops.elu(0.3), lambda x: x if x > 0 else mpf(0.3) * (mp.exp(x) - 1), CURVED[:-1], [((0.0,), (0.3,))]),
    ExactRow(ops.ADD, lambda a, b: a + b, PAIRS),
    ExactRow(ops.SUB, lambda a, b: a - b, PAIRS),
    ExactRow(ops.MUL, lambda a, b: a * b, PAIRS),
    ExactRow(ops.DIV, lambda a, b: a / b, PAIRS),
    ExactRow(
        ops.POW,
        lambda a, b: a**b,
        [(a, b) for a in (1e-300, 1e-9, 0.3, 1.0, 1.7, 55.0, 1e20) for b in (-2.5, -1.0, -1e-9, 0.3, 0.5, 1.0, 2.0, 13.0)],
        [  # no derivative by b for a negative base; at 0 the limits, as in PyTorch
            ((-2.0, 3.0), (12.0, nan)), ((-2.0, -1.0), (-0.25, nan)), ((-2.0, 0.0), (0.0, nan)), ((0.0, 2.0), (0.0, 0.0)),
            ((0.0, 1.0), (1.0, 0.0)), ((0.0, 0.5), (inf, 0.0)), ((0.0, 0.0), (0.0, 0.0)), ((0.0, -1.0), (-inf, -inf)),
        ],
        lambda a, b: 1 + abs(mp.log(a)),  # b − 1 is rounded, and a^(b−1) shows it times log a
    ),
    ExactRow(ops.MAXIMUM, max, PAIRS, [((2.0, 2.0), (0.5, 0.5)), ((0.0, -0.0), (0.5, 0.5)), ((inf, inf), (0.5, 0.5))]),
    ExactRow(ops.MINIMUM, min, PAIRS, [((2.0, 2.0), (0.5, 0.5)), ((0.0, -0.0), (0.5, 0.5)), ((-inf, -inf), (0.5, 0.5))]),
    ExactRow(recording.LESS, lambda a, b: int(a < b), PAIRS, TIES),
    ExactRow(recording.LESS_EQUAL, lambda a, b: int(a <= b), PAIRS, TIES),
    ExactRow(recording.EQUAL, lambda a, b: int(a == b), PAIRS, TIES),
    ExactRow(
        recording.WHERE,
        lambda c, a, b: a if c else b,
        [(c, a, b) for c in (1.0, -2.5) for a, b in [(2.0, 3.0), (-1e300, 0.1), (0.0, TINY)]],
        [((0.0, 2.0, 3.0), (0.0, 0.0, 1.0)), ((-0.0, -1e300, 0.1), (0.0, 0.0, 1.0)), ((nan, 2.0, 3.0), (0.0, 1.0, 0.0))],
    ),
    ExactRow(recording.CHOSEN, lambda x: x, ANYWHERE),
    ExactRow(recording.MAGNITUDE, abs, ANYWHERE, [((0.0,), (1.0,)), ((-0.0,), (1.0,))]),
    ExactRow(ops.SUM, lambda *x: mpmath.fsum(x), LISTS, magnification=cancels),
    ExactRow(
        ops.DOT,
        dot,
        PRODUCTS,
        magnification=lambda *wx: cancels(*(w * x for w, x in zip(wx[: len(wx) // 2], wx[len(wx) // 2 :], strict=True))),
    ),
    ExactRow(
        ops.AFFINE,
        dot,
        [(*wx, b) for wx in PRODUCTS for b in (-0.7, 1e-9)],
        magnification=lambda *wxb: cancels(wxb[-1], *(w * x for w, x in zip(wxb[: len(wxb) // 2], wxb[len(wxb) // 2 :], strict=False))),
    ),
    ExactRow(
        ops.MAX,
        lambda *x: max(x),
        LISTS,
        [((2.0, 2.0), (0.5, 0.5)), ((3.0, 1.0, 3.0, 3.0), (1 / 3, 0.0, 1 / 3, 1 / 3)), ((-0.0, 0.0), (0.5, 0.5))],
    ),
    ExactRow(
        ops.LOGSUMEXP,
        logsumexp,
        FAR_APART,
        # xᵢ − y is rounded, and its exponential shows it times xᵢ − y
        magnification=lambda *x: 1 + max(abs(each - logsumexp(*x)) for each in x if abs(each - logsumexp(*x)) < 750),
    ),
]  # fmt: skip


# ── Activations, from their definitions ──────────────────────────────────────────────────────────

COMPLEX_SIGMA = {  # σ of a layer, for complex numbers as well: steps along i then differentiate without rounding
    "linear": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.where(z.real > 0, z, 0),
    "leaky_relu": lambda z: np.where(z.real > 0, z, 0.1 * z),
    "elu": lambda z: np.where(z.real > 0, z, np.exp(z) - 1),
    "maxout": lambda z: np.where(z[0].real > z[1].real, z[0], z[1]),
    "softmax": lambda z: np.exp(z) / np.exp(z).sum(),
}


# ── Mistakes in a row ──────────────────────────────────────────────────────────────────────────


@contextmanager
def compiled_anew():
    """Methods of Value that are written out anew from the rows as they are now; afterwards they are those of before."""
    kept = {name: member for name, member in vars(value.Value).items() if callable(member)}
    try:
        compile_rows(vars(value))
        yield
    finally:
        for name, member in kept.items():
            if vars(value.Value)[name] is not member:
                setattr(value.Value, name, member)


@contextmanager
def broken(op, **attributes):
    """The row with other attributes, for a while."""
    kept = {name: getattr(op, name) for name in attributes}
    try:
        for name, attribute in attributes.items():  # it is frozen, so that nobody does so by mistake
            object.__setattr__(op, name, attribute)
        with compiled_anew():
            yield
    finally:
        for name, attribute in kept.items():
            object.__setattr__(op, name, attribute)


def mistaken(op, mistake):
    """The row for a while with a mistake in its local derivatives: a function of all of them."""
    right = op.local_grads
    return broken(op, local_grads=lambda xp, y, *x: op.grouped(mistake(flat(right(xp, y, *x)))))
