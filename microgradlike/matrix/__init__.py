"""The scalar graph becomes the matrix form: arrays, matrix products and the δ equations, found and run.

    canonical   chains of + and × become sums of products
    colours     nodes that play the same part get the same colour: they are one array
    match       which entry is which operand; which sums are matrix products
    code        the rules of `ops`, written down as NumPy calls with preallocated buffers
    build       forward and backward
    equations   the same, to be read
    program     `vectorize` and what it returns

A regular graph of a million nodes becomes a few dozen NumPy calls. An irregular one (a random
graph, a formula) has as many colours as nodes: it comes out right, but is slower than the scalar
engine for one sample, and worth it only for large batches.
"""

from microgradlike.matrix.guards import Guards
from microgradlike.matrix.program import Parameter, Place, Program, gradients, vectorize

__all__ = ["Guards", "Parameter", "Place", "Program", "gradients", "vectorize"]
