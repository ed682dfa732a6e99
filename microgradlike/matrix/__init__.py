"""The scalar graph becomes the matrix form: arrays, matrix products and the δ equations, found and run.

Find    canonical    chains of + and × become sums of products
        colours      nodes that play the same part get the same colour: they are one array
        common       what is written repeatedly is one node, and common factors come out of sums
        match        which entry of which array each operand is
        products     which sums are matrix products
        guards       `if v > 0` while recording, to be checked on every call
        arrays       what is found: arrays, and the instructions that compute them
        find         one pass after the other
Define  interpreter  what the instructions mean, in any array library
        on_jax       in JAX, with the derivatives of the rows
Emit    symbols      the rules of `ops` run on views of buffers that do not exist yet
        lines        the NumPy calls that they make
        stacks       calls that do the same to different arrays are one, for few samples
        memory       where the buffers lie
        emit         forward and backward
Run     walk         node by node, where arrays hold hardly more than one number
        program      `vectorize` and what it returns
Read    names        what the arrays are called
        reading      what instructions read, as indices: xᵢ, x[i + 1]
        entries      expressions for one entry: Σₖ Wᵢₖ xₖ
        writing      in matrix notation where there is one, W x, else entry by entry
        equations    forward and backward, as the textbook writes them

Sums of products are linear algebra, and are treated as such (canonical, emit). Every other operation
computes by its row of `ops`; `equations` only words a few derivatives more briefly than it.

`print(passes(loss, batch))` shows what each of these makes of a small example.

A regular graph of a million nodes becomes a few dozen NumPy calls, found in 2 µs and 400 bytes a node. An
irregular one (a random graph, a formula, a recurrence) has nearly as many colours as nodes. Finding it takes 10 to
35 µs and below 1 KB a node. A call for one sample goes node by node in Python's floats, which takes 0.1 to 0.7 times
what it takes to record and differentiate the graph anew (benchmarks/irregular.py). For several samples lines of
NumPy are written first, in 200 to 400 µs and 10 KB a node; a call takes all samples at once.

The numbers are those of the scalar engine, but for rounding: sums are added up in the order of the arrays, so
they differ by some ulp of Σ|terms|, and where a partial sum overflows in one order, it may not in the other.
A difference a − b that a sum adds stays one. A factor that many terms of a sum share comes out of it,
Σᵢⱼ (xᵢ·Aᵢⱼ)·yⱼ = Σⱼ (Σᵢ xᵢ·Aᵢⱼ)·yⱼ, and sums of different lengths are padded with zeros: where inf or nan comes of that,
the call runs once more as recorded. Constant factors are joined, c·(d·x) = (c·d)·x, where both lie between 10⁻⁹
and 10⁹. Other products are taken in another order than recorded only in sums, Σ (xᵢ·yⱼ)·Aᵢⱼ = Σ xᵢ·(Aᵢⱼ·yⱼ),
w·(m·x) = (m·w)·x and (p + q)·x = p·x + q·x, and where every factor is 0 or between 10⁻³⁰ and 10³⁰ (10⁻⁹ and 10⁹ in
float32): else, too, the call runs as recorded. A zero may lose its sign, and a gradient below 10⁻²⁶⁰ digits.
"""

from microgradlike.support.extras import needed_for

with needed_for("the matrix form"):
    from microgradlike.matrix.find import IrregularGraph
    from microgradlike.matrix.program import Parameter, Place, Program, gradients, passes, vectorize

__all__ = ["IrregularGraph", "Parameter", "Place", "Program", "gradients", "passes", "vectorize"]
