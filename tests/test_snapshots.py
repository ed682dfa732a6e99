"""Pictures as they were when somebody looked at them: their DOT and the places in it, in text files of `snapshots/`.

The same program draws the same picture. Where a picture is meant to change, these tests fail once: look at the new
picture, then write the files anew by `python tests/test_snapshots.py`, and look at their diff.
"""

import json
import re
import textwrap

from graphs import SHAPES, network
from kept import FOLDER, check, several, write

import microgradlike
from microgradlike import Value, affine, constant, dot, explain, gradient, maxout, nn, operation, ops, steps
from microgradlike.value import topological_order
from microgradlike.view import javascript
from microgradlike.view.animation import animate
from microgradlike.view.diagram import Diagram
from microgradlike.view.dot import draw, drawing
from microgradlike.view.layers import matrix_forms

# ── What is kept of a picture ──────────────────────────────────────────────────────────────────


def whole(diagram):
    """The DOT, with … for what almost every table has, and what every part of it stands for."""
    text = diagram.source.replace('cellborder="0" cellspacing="0" cellpadding="1"', "…")
    return "\n".join([text, *(f"{id}: {title}" for id, title in diagram.titles.items()), *diagram.left_out])


def brief(diagram):
    """The DOT without colours and fonts, of its labels the texts, each after the width of its cell, and what has a title."""
    text = re.sub(r'<td[^>]*?(?: width="(\d+)")?>', lambda td: f"[{td[1] or ''}]", diagram.source)
    text = re.sub(r"</?(table|tr|td|b|font)\b[^>]*>", "", text)
    text = re.sub(r' (color|fillcolor|style|labeljust|margin|fontsize|penwidth)=(?:"[^"]*"|[\w.]+)', "", text)
    text = re.sub(r"^\s*(node|edge) \[.*\n", "", text, flags=re.M).replace(' label=""', "").replace("\t", " ")
    text = re.sub(r"(bgcolor|fontcolor|fontname|nodesep|pad|ordering)=\S+ ", "", text)
    text = re.sub(r"^(\s*(\w+) \[.*) id=\2\b", r"\1", text, flags=re.M).replace(" class=operation", "")
    return "\n".join([text.strip(), " ".join(diagram.titles), *diagram.left_out])


def places(diagram):
    """Where boxes and frames stand, and where edges begin and end and have their numbers."""
    found = []
    for line in diagram.source.splitlines():
        has = dict(re.findall(r'\b(id|pos|bb|label(?:angle|distance))="?([^"\s\]]*)', line))
        ends = re.match(r"\s*(\S+) -> (\S+)", line)
        names = ("labeldistance", "labelangle") if ends else ("pos", "bb")
        at = (["→".join(ends.groups())] if ends else []) + [has[name] for name in names if name in has]
        if at and "id" in has:
            found.append(" ".join([has["id"], *at]))
    return found


def filled(parts):
    return textwrap.fill("; ".join(parts), 120, break_long_words=False, break_on_hyphens=False)


# ── What is drawn ──────────────────────────────────────────────────────────────────────────────


def named(node, label):
    node.label = label
    return node


def lecture_neuron():
    """The neuron of the micrograd lecture, in steps."""
    x1, x2, w1, w2 = Value(2.0, "x1"), Value(0.0, "x2"), Value(-3.0, "w1"), Value(1.0, "w2")
    n = x1 * w1 + x2 * w2 + Value(6.881373587019543, "b")
    n.label = "n"
    o = n.tanh()
    o.label = "o"
    o.backward()
    return o


def weighted():
    """One w·x + b of a hand-written neuron, with a weight that is shared and a constant; a sum of squares; odd labels."""
    w, x = [Value(0.5, "w₁"), Value(-2.0, "w₂"), Value(0.25, "w₃")], [Value(1.0, "x <1>"), constant(2.0), Value(3.0)]
    z = affine(w, x, Value(0.125, "bias & more"))
    z.label = "a very long label that is cut where it has forty letters, or nearly so"
    norm = dot(w[:1], w[:1]) + dot([x[2], z], [x[2], z])
    loss = z.relu() * named(constant(0.5), "½") + norm - maxout([x[0], z, constant(-1.5)])
    loss.label = "損失"
    loss.backward()
    return loss


def trained():
    """A graph whose leaves were changed after the recording: most local derivatives have kept what they were."""
    a, b, c, d, e = (Value(float(i + 2), name) for i, name in enumerate("abcde"))
    loss = a * b + c.tanh() + d + e
    loss.backward()
    for each in (a, c, d, e):
        each.data += 0.5
    return loss


def neuron():
    """A small one, for every mark that its box may have."""
    z = named(affine([Value(0.5, "w")], [Value(2.0, "x")], Value(-1.0, "b")), "z")
    return named(z.tanh(), "a") + named(constant(0.25), "c")


def regularised():
    """Parameters that stand in boxes of their own, for the loss uses them too."""
    model = nn.MLP(3, [1, 1], "tanh", "linear", seed=3)
    loss = nn.quadratic(model([Value(0.5, "x₁"), Value(-1.0, "x₂"), Value(2.0, "x₃")]), 1.0)
    loss = loss + 0.01 * microgradlike.sum([p * p for p in model.parameters() if p.label[0] == "w"])
    loss.label = "C"
    loss.backward()
    return loss


def between():
    """Nodes between the layers, and inputs that enter later: a gate, a mean, a sum of logarithms."""
    x = [Value(0.5, "x₁"), Value(-1.0, "x₂"), Value(2.0, "x₃")]
    model, gate = nn.MLP(3, [2, 3, 2], "sigmoid", "linear", seed=5), Value(1.5, "gate")
    a = model.layers[0](x)
    mean = (a[0] + a[1]) / 2
    a = model.layers[1]([a[0] - mean, (a[1] - mean) * gate])
    y = model.layers[2]([a[0] * x[0], a[1] * x[1] - a[2], gate])
    loss = (y[0].exp() + y[1].exp() + Value(1.0, "ε")).log() - y[1] * named(constant(0.5), "t") + x[0]
    loss.backward()
    return loss


def chain():
    """Many results of each other after a single neuron, and two neurons of one layer that meet again."""
    model = nn.MLP(1, [1, 2], "relu", "linear", seed=2)
    p, q = model([Value(0.75, "x")])
    loss = ((((p * 2.0).exp() + 1.0).log() - q).tanh() ** 2 + q).sqrt()
    loss.backward()
    return loss


def recurrent():
    """One layer, three times, with its own outputs beside an input."""
    layer = nn.MLP(3, [2], "tanh", "tanh", seed=7).layers[0]
    h = [named(constant(0.0), "h₁"), named(constant(0.0), "h₂")]
    for t, x in enumerate((0.5, -0.25, 1.0), start=1):
        h = layer([Value(x, f"x{t}"), *h])
    loss = nn.quadratic(h, [1.0, 0.0])
    loss.backward()
    return loss


def classes():
    """A minibatch with cross-entropy, which the logits enter."""
    model = nn.MLP(2, [3, 3], "relu", "linear", seed=4)
    loss = microgradlike.sum([nn.cross_entropy(model([0.5, s - 1.0]), s) for s in range(2)]) / 2
    loss.backward()
    return loss


def feedback():
    """Two layers, the first of them once more on what the second gives."""
    first, second = nn.MLP(2, [2, 2], "tanh", "tanh", seed=8).layers
    loss = nn.quadratic(first(second(first([Value(0.5, "x₁"), Value(-1.0, "x₂")]))), [1.0, 0.0])
    loss.backward()
    return loss


def shared_constant():
    """Activations that all use one constant, and that each use another one twice."""
    one = constant(1.0)

    def activation(z):
        two = constant(2.0)
        return z / (one + (-z).exp() * two) * two

    return network(2, 2, 1, activation=activation, output="linear")


def two_ways():
    """A layer of two neurons, one of them written with + and ×."""
    x = Value(2.0, "x₁")
    z = named(affine([Value(0.5, "w¹₁₁")], [x], Value(0.25, "b¹₁")), "z¹₁")
    other = named(Value(-1.0, "w¹₂₁") * x + Value(1.5, "b¹₂"), "z¹₂")
    loss = named(z.tanh(), "a¹₁") * named(other.tanh(), "a¹₂")
    loss.backward()
    return loss


def penalty():
    """What is computed from leaves alone, and a z that the loss uses too."""
    model = nn.MLP(2, [2, 2], "tanh", "tanh", seed=6)
    (z, _), (_, a) = model.feedforward([Value(0.5, "x₁"), Value(-1.0, "x₂")])
    size, rate = Value(0.25, "size"), Value(0.5, "rate")
    loss = nn.quadratic(a, [1.0, 0.0]) + (size * rate).exp() + z[1] * z[1]
    loss.backward()
    return loss


def pieces():
    """A maxout neuron written out, whose second piece is recorded after the first."""
    x, inputs = Value(2.0, "x₁"), []
    for piece, w in (("′", 0.5), ("″", -1.0)):
        z = affine([Value(w, f"w{piece}¹₁₁")], [x], Value(0.25, f"b{piece}¹₁"))
        inputs.append(named(z, f"z{piece}¹₁"))
    loss = named(maxout(inputs), "a¹₁") * 2.0
    loss.backward()
    return loss


def one_neuron():
    loss = nn.MLP(1, [1], "sigmoid", "sigmoid", seed=0)(2.0)
    loss.backward()
    return loss


def parts(node):
    """Groups in groups, for a graph without a network."""
    return {"x": ("in", "first"), "y": ("in",)}.get(node.label) or (
        ("out",) if node.op in (ops.EXP, ops.TANH) else None
    )


def grouped():
    x, y = Value(0.5, "x"), Value(-1.5, "y")
    both = (x * y, x + y)
    loss = (both[0].exp() * both[1].tanh()).tanh() - 3.0 * (x / y).exp()
    loss.backward()
    return loss


LARGE = {"4-4-4-1", "10-16-10", "64-16-10", "a minibatch", "ten samples"}
NETWORKS = {name: make for name, make in SHAPES.items() if name not in LARGE} | {
    "regularised": regularised, "between": between, "a chain": chain, "recurrent": recurrent, "classes": classes,
    "one neuron": one_neuron, "few of many": lambda: network(4, 4, 3), "a minibatch": lambda: network(2, 2, 1, samples=3),
    "feedback": feedback, "a shared constant": shared_constant, "a penalty": penalty, "two ways": two_ways, "pieces": pieces,
}  # fmt: skip


def view(loss, name, **options):
    """A picture as a page has it: every box open, all neurons or layers closed, or all neurons but one."""
    groups = [path for path in drawing(loss, max_nodes=10_000, **options).clusters if path]
    layers, neurons = ([path for path in groups if len(path) == n] for n in (1, 2))
    one = neurons[len(neurons) // 2]
    closed = {"open": [], "neurons closed": neurons, "one open": set(neurons) - {one}, "layers closed": layers}[name]
    return drawing(loss, max_nodes=10_000, closed=closed, **options).write()


VIEWS = {
    "open": ("open", {}),
    "neurons closed": ("neurons closed", {}),
    "layers closed": ("layers closed", {}),
    "one open, live": ("one open", {"live": True}),
    "layers closed, live": ("layers closed", {"live": True}),
}
OPTIONS = {"few of many": {"max_terms": 2}, "pieces": {"fold": False}}
TURNED = {
    "from the top down": {"rankdir": "TB", "live": True},
    "from the right": {"rankdir": "RL"},
    "from below": {"rankdir": "BT"},
}


def all_places():
    """The places in every network, in several views: of each what is not in the one before. One of them is turned."""
    found = {}
    for i, (name, make) in enumerate(NETWORKS.items()):
        loss, turned = make(), list(TURNED)[i % 3]
        before = set()
        for each, (closed, options) in (VIEWS | {turned: ("one open", TURNED[turned])}).items():
            now = places(view(loss, closed, **options, **OPTIONS.get(name, {})))
            found[f"{name}, {each}"] = filled([part for part in now if part not in before])
            before = set(now)
    return several(found)


def boxes():
    return whole(draw(weighted(), max_terms=1)) + whole(drawing(neuron(), live=True).write())


def pictures():
    small, loss = SHAPES["2-3-1"](), weighted()
    terms = microgradlike.sum([Value(1.0) for _ in range(7)]) * dot([Value(1.0, f"w{i}") for i in range(5)], [1.0] * 5)
    return several({name: brief(diagram) for name, diagram in {
        "the neuron of the lecture": draw(lecture_neuron()),
        "changed since": draw(trained()),
        "from the top down": draw(loss, rankdir="TB"),
        "from the right, without gradients": draw(loss, rankdir="RL", grad=False),
        "from below, without local derivatives": draw(loss, rankdir="BT", local_grads=False),
        "without rows": draw(loss, fold=False),
        "in colours": draw(loss, color_by=lambda node: node.label[:1]),
        "gradients of one's own": draw(loss, grad={loss: "one", loss.inputs[0]: "two"}),
        "groups": draw(grouped(), clusters=parts),
        "some of them closed": draw(grouped(), clusters=parts, closed=[("in", "first"), "out"]),
        "all of them closed": draw(grouped(), clusters=parts, closed=True),
        "one within another": draw(grouped(), clusters=parts, closed=["in", ("in", "first")]),
        "two edges deep": draw(small, depth=2),
        "four edges deep": draw(small, depth=4),
        "what leads from a z": draw(small, only=[v for v in topological_order(small) if v.label == "z¹₂"]),
        "few terms": draw(terms, max_terms=3),
        "a small network": draw(small),
        "its layers closed": view(small, "layers closed"),
        "without any local derivatives": draw(small, local_grads=False),
        "one neuron of it open": view(small, "one open", live=True),
        "a softmax layer, closed": view(SHAPES["softmax"](), "neurons closed", live=True),
        "more than is drawn": view(network(4, 4, 2), "one open", live=True, max_terms=2),
    }.items()})  # fmt: skip


def numbered(loss):
    return {node: i for i, node in enumerate(topological_order(loss))}


def page():
    """What pages are told: of a graph with an infinity and a choice everything, of networks what their layers are."""
    x, y = Value(0.5, "x"), Value(-2.0, "a name that is longer than twenty letters")
    z = affine([Value(1.5, "twenty letters, done"), y], [x, constant(2.0)], Value(0.25, "21 letters, with this"))
    (chosen,) = gradient(z.relu() * x, [x])
    loss = chosen * y / (x - 0.5) + operation("cube", lambda xp, x: x * x * x, lambda xp, y, x: 3.0 * x * x)(z)
    everything = steps(loss, quiz=True, tolerance=0.125, only=[x])
    told = {**everything.data, **{f"{key} of a network": value for key, value in steps(SHAPES["2-3-1"]()).data.items()}}
    told |= {f"layers, {name}": matrix_forms(explain(loss := NETWORKS[name]()), numbered(loss)) for name in LAYERS}
    lines = []
    for key, value in told.items():
        if key not in ("nodes of a network", "values of a network"):
            inside = value if isinstance(value, list) and isinstance(value[0] if value else 0, dict) else [value]
            lines += [f"{key}: {json.dumps(each, ensure_ascii=False)}" for each in inside]
    rules = [
        javascript.script(everything.rules.values()),
        *map(str, map(javascript.is_exact, everything.rules.values())),
    ]
    return "\n".join([*lines, *rules, str(everything)])


LAYERS = [
    "softmax",
    "maxout",
    "written out",
    "residual",
    "a layer used twice",
    "classes",
    "a penalty",
    "two ways",
]


# ── The film ───────────────────────────────────────────────────────────────────────────────────

FILM_OF = FOLDER / "film_of.svg"  # as Graphviz drew it once


class Drawn(Diagram):
    def svg(self, prefix=""):
        return FILM_OF.read_text(encoding="utf-8")


def filmed():
    """A neuron and its square: parameters in rows, a constant, and two products that add up."""
    w, x = [Value(2.0, "w₁"), Value(-4.0, "w₂")], [named(constant(2.5), "x₁"), named(constant(0.4375), "x₂")]
    z = named(affine(w, x, Value(-0.75, "b")), "z")
    return named(z * z, "L")


def film():
    """The film of a picture that Graphviz drew once, without its colours: a line for each element."""
    loss = filmed()
    drawn = draw(loss)
    text = animate(explain(loss), Drawn(drawn.source, drawn.titles), numbered(loss))
    text = re.sub(r' (font-\w+|stroke[-\w]*|fill|style|paint-order|rx|transform-origin)="[^"]*"', "", text)
    text = re.sub(r' d="([^"]{12})[^"]{50,}"', r' d="\1…"', text)
    return re.sub(r"(?<=[>}])(?=<[^/]|@keyframes|\.)", "\n", text)


SNAPSHOTS = {
    "boxes.dot": boxes,
    "pictures.txt": pictures,
    "places.txt": all_places,
    "page.txt": page,
    "film.txt": film,
}


def test_the_boxes_of_a_picture_are_as_they_were():
    check("boxes.dot", boxes)


def test_pictures_are_as_they_were():
    check("pictures.txt", pictures)


def test_boxes_and_numbers_stand_where_they_stood():
    check("places.txt", all_places)


def test_a_page_is_told_what_it_was_told():
    check("page.txt", page)


def test_a_film_is_as_it_was():
    check("film.txt", film)


if __name__ == "__main__":
    if not FILM_OF.exists():
        draw(filmed()).save(FILM_OF)
    write(SNAPSHOTS)
