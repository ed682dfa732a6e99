"""Drawings: what the DOT says, what the SVG holds, and the three ways to run Graphviz."""

import importlib.util
import os
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from itertools import pairwise, product
from pathlib import Path

import pytest
from graphs import random_graph

import microgradlike
from microgradlike import Value, affine, constant, dot, explain, nn, operation, ops, topological_order
from microgradlike.notation import formula
from microgradlike.notation.digits import format_number
from microgradlike.testing import assert_grads
from microgradlike.view import boxes, diagram, style
from microgradlike.view import drawing as drawings
from microgradlike.view.dot import by_layer, draw, drawing, render
from microgradlike.view.stepper import screens

SVG = "{http://www.w3.org/2000/svg}"


def parse(drawn, prefix=""):
    return ET.fromstring(drawn.svg(prefix))


def groups(svg):
    """The node, edge and cluster groups of an SVG by id."""
    found = {g.get("id"): g for g in svg.iter(f"{SVG}g")}
    assert len(found) == len(list(svg.iter(f"{SVG}g"))), "an id stands twice"
    return found


def texts(element):
    return ["".join(t.itertext()) for t in element.iter(f"{SVG}text")]


def titles(svg):
    return {id: g.findtext(f"{SVG}title") for id, g in groups(svg).items()}


def neuron():
    """The neuron of the micrograd lecture."""
    x1, x2, w1, w2 = Value(2.0, "x1"), Value(0.0, "x2"), Value(-3.0, "w1"), Value(1.0, "w2")
    b = Value(6.8813735870195432, "b")
    n = x1 * w1 + x2 * w2 + b
    n.label = "n"
    o = n.tanh()
    o.label = "o"
    return o


def layer(sizes=(3, 2)):
    """A network written out with affine and tanh, labelled as `nn` does."""
    up, down = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"), str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
    a = [Value(0.25 * (k + 1), f"x{k + 1}".translate(down)) for k in range(sizes[0])]
    for l, (nin, nout) in enumerate(pairwise(sizes), start=1):  # noqa: E741
        outputs = []
        for j in range(1, nout + 1):
            tag = str(l).translate(up) + str(j).translate(down)
            w = [Value(0.5 / (j + k), f"w{tag}" + str(k).translate(down)) for k in range(1, nin + 1)]
            z = affine(w, a, Value(0.125, f"b{tag}"))
            z.label = f"z{tag}"
            outputs.append(z.tanh())
            outputs[-1].label = f"a{tag}"
        a = outputs
    return microgradlike.sum(a)


# ── What is drawn ──────────────────────────────────────────────────────────────────────────────


def test_every_node_and_edge_has_its_number_and_its_numbers():
    o = neuron()
    o.backward()
    order = microgradlike.topological_order(o)
    svg = parse(draw(o))
    found = groups(svg)
    for i, node in enumerate(order):
        words = texts(found[f"n{i}"])
        assert f"{node.data:.4g}" in words
        assert f"∇ {node.grad:.4g}" in words
        if node.label:
            assert node.label in words
        if node.op:
            assert node.op.symbol in words
        for k, local_grad in enumerate(node.local_grads):
            assert texts(found[f"e{i}_{k}"]) == [f"∂{'₁₂₃'[k]} {local_grad:.4g}"]
    edges = {id for id in found if id.startswith("e")}
    assert edges == {f"e{i}_{k}" for i, node in enumerate(order) for k in range(len(node.inputs))}
    assert {id for id in found if id.startswith("n")} == {f"n{i}" for i in range(len(order))}


def test_titles_say_it_in_words_and_in_full():
    o = neuron()
    o.backward()
    found = titles(parse(draw(o)))
    assert found["graph"] == "Computation graph of o: 10 nodes"
    assert found["n0"].startswith("x1 = 2.0, ∇ -1.4999999999")
    assert found["n9"] == "o = tanh(n) = 0.7071067811865477, ∇ 1.0"
    rule = formula.derivative(o, 0, {o: "o", o.inputs[0]: "n"})
    assert found["e9_0"] == f"∂₁o = {rule} = {o.local_grads[0]!r}"


def test_gradients_are_a_dash_before_backward_and_numbers_after():
    o = neuron()
    words = texts(parse(draw(o)))
    assert words.count("∇ –") == 10 and not any(re.match("∇ [-0-9]", word) for word in words)
    o.backward()
    assert "∇ –" not in texts(parse(draw(o)))


def test_what_is_not_computed_is_a_dash_in_every_output_and_a_computed_0_is_0():
    def outputs(root, nodes):
        """Each output, and how often it shows a gradient that is not computed, and one that is 0."""
        drawn, screen = draw(root), str(next(screens(explain(root))))
        with pytest.raises(AssertionError) as failed:
            assert_grads(dict.fromkeys(nodes, 7.0))
        wrong = [line for line in str(failed.value).splitlines() if "7" in line]
        yield Counter(word for word in texts(parse(drawn)) if word[0] == "∇")
        yield Counter(re.findall(r"∇ [–\d]+", " ".join(drawn.titles.values())))
        yield Counter(f"∇ {re.search('grad=([^,)]*)', repr(node))[1].removesuffix('.0')}" for node in nodes)
        yield Counter(f"∇ {line.split()[1]}" for line in wrong)
        assert re.findall("∂.*? = (.*)", screen) == ["–"] * len(nodes)  # before the passes of their own begin

    x, c = Value(-1.0, "x"), constant(2.0)
    c.label = "c"
    product = x * c
    y = product.relu()
    nodes = [x, product, y]
    for none in (x.grad, None):
        x.grad = y.grad = none
        assert not c.has_grad
        assert all(found == {"∇ –": 3} for found in outputs(y, nodes))
        assert all(word != "∇ 0" for word in texts(parse(draw(c))))
    y.backward()
    assert all(found == {"∇ 0": 2, "∇ 1": 1} for found in outputs(y, nodes))
    assert not c.has_grad and texts(groups(parse(draw(y)))["n0"]) == ["c", "2"]
    with pytest.raises(AssertionError, match=r"c\.grad +– +7 +← not computed"):
        assert_grads({c: 7.0})


def test_the_gradient_of_a_later_root_is_not_invented():
    a = Value(2.0, "a")
    b = a * 3
    b.backward()
    assert texts(groups(parse(draw(b + 1)))["n4"])[-1] == "∇ –"


def test_a_single_leaf():
    drawn = draw(Value(1.5, "x"))
    found = groups(parse(drawn))
    assert set(found) == {"graph", "n0"}
    assert texts(found["n0"]) == ["x", "1.5", "∇ –"]
    assert str(drawn) == "Computation graph of x: 1 node\n  x = 1.5, ∇ –"


def test_both_edges_of_x_times_x():
    x = Value(3.0, "x")
    y = x * x
    y.backward()
    found = groups(parse(draw(y)))
    assert texts(found["e1_0"]) == ["∂₁ 3"]
    assert texts(found["e1_1"]) == ["∂₂ 3"]
    assert texts(found["n0"]) == ["x", "3", "∇ 6"]


def test_a_shared_node_is_drawn_once():
    a = Value(2.0, "a")
    b = a.exp()
    source = draw(b * b + b).source
    nodes = Counter(re.findall(r"^\s*(n\d+) \[", source, re.MULTILINE))
    assert nodes == {"n0": 1, "n1": 1, "n2": 1, "n3": 1}
    assert len(re.findall("->", source)) == 5


def test_the_order_of_operands_can_be_read():
    a, b = Value(1.0, "a"), Value(2.0, "b")
    assert " = a − b = -1.0, " in draw(a - b).titles["n2"]
    assert " = b − a = 1.0, " in draw(b - a).titles["n2"]

    def heights(v):
        found = groups(parse(draw(v)))
        return [float(found[id].find(f"{SVG}text").get("y")) for id in ("n0", "n1")]

    (a_first, b_second), (a_second, b_first) = heights(a - b), heights(b - a)
    assert a_first < b_second and b_first < a_second


def test_constants_show_their_number_only():
    x = Value(3.0, "x")
    y = 2 * x + constant(0.5)
    y.backward()
    found = groups(parse(draw(y)))
    constants = [g for g in found.values() if g.get("class") == "node constant"]
    assert sorted(texts(g) for g in constants) == [["0.5"], ["2"]]


def test_kinds_differ_by_outline_not_by_colour_alone():
    source = draw(2 * Value(1.0, "x")).source
    node = dict(re.findall(r"^\s*(n\d) (\[.*\])$", source, re.MULTILINE))
    assert 'style="rounded,filled,dashed"' in node["n0"] and "class=constant" in node["n0"]
    assert "style=filled" in node["n1"] and "class=leaf" in node["n1"]
    assert 'style="rounded,filled"' in node["n2"] and 'class="operation root"' in node["n2"]
    assert "peripheries=2" in node["n2"] and "peripheries" not in node["n0"] + node["n1"]


def test_extreme_numbers():
    numbers = {float("nan"): "nan", float("inf"): "inf", -float("inf"): "-inf", 1e-300: "1e-300", 123456.0: "123456"}
    total = microgradlike.sum([Value(x, "x") * Value(1.0) for x in numbers])
    words = texts(parse(draw(total)))
    for text in numbers.values():
        assert words.count(text) >= 2  # the node and the product
        assert f"∂₂ {text}" in words


def test_what_to_show_can_be_chosen():
    o = neuron()
    o.backward()
    words = texts(parse(draw(o, grad=False, local_grads=False)))
    assert not any("∇" in word for word in words)
    assert Counter(words)["1"] == 1  # the data of w2; no local derivative


def test_direction():
    def ends(rankdir):
        found = groups(parse(draw(Value(1.0, "x").exp(), rankdir=rankdir)))
        boxes = [found[id].find(f"{SVG}text") for id in ("n0", "n1")]
        return [(float(b.get("x")), float(b.get("y"))) for b in boxes]

    (x0, _), (x1, _) = ends("LR")
    assert x0 < x1
    (_, y0), (_, y1) = ends("TB")
    assert y0 < y1
    (x0, _), (x1, _) = ends("RL")
    assert x0 > x1


# ── Networks ───────────────────────────────────────────────────────────────────────────────────


def test_weights_stand_in_the_box_of_their_neuron():
    loss = layer()
    loss.backward()
    number = {node: i for i, node in enumerate(microgradlike.topological_order(loss))}
    drawn = draw(loss)
    found = groups(parse(drawn))
    for node, i in number.items():
        assert f"∇ {node.grad:.4g}" in texts(found[f"n{i}"])
        for k, local_grad in enumerate(node.local_grads):
            assert texts(found[f"e{i}_{k}"]) == [f"∂{'₁₂₃₄₅₆₇'[k]} {local_grad:.4g}"]
        if node.label.startswith("z"):
            inside = {g.get("id") for g in found[f"n{i}"].iter(f"{SVG}g")}
            own = [number[w] for w in node.inputs if w.label[0] in "wb"]
            assert inside == {f"n{i}", *(f"n{j}" for j in own)} | {
                f"e{i}_{k}" for k, w in enumerate(node.inputs) if w.label[0] in "wb"
            }
    assert "a xlink" not in drawn.svg() and "<a " not in drawn.svg()


def test_the_edge_of_each_input_ends_at_its_weight():
    source = draw(layer((2, 1))).source
    order = [node.label for node in microgradlike.topological_order(layer((2, 1)))]
    z = order.index("z¹₁")
    for x, w in (("x₁", "w¹₁₁"), ("x₂", "w¹₁₂")):
        assert f"n{order.index(x)}:e -> n{z}:n{order.index(w)}:w [" in source


@pytest.mark.parametrize(
    "options",
    [{"grad": False}, {"local_grads": False}, {"rankdir": "TB"}, {"rankdir": "RL"}, {"max_terms": 1}, {"depth": 3}],
    ids=str,
)
def test_all_that_has_a_title_is_drawn(options):
    drawn = draw(layer((3, 2, 2)), **options)
    shown = set(groups(parse(drawn)))
    assert shown == {id for id in drawn.titles if id in shown or not id.startswith("em")}


def test_weights_can_stand_alone():
    loss = layer()
    folded, open_ = groups(parse(draw(loss))), groups(parse(draw(loss, fold=False)))
    assert set(folded) == set(open_)
    assert not [g for g in open_.values() if g.get("class") == "node leaf" and g.find(f"{SVG}path") is not None]
    assert all(len(list(g.iter(f"{SVG}g"))) == 1 for id, g in open_.items() if id[0] == "n")


def test_a_shared_weight_stands_alone():
    w, x = Value(2.0, "w"), Value(3.0, "x")
    y = affine([w], [x], 1.0)
    assert "port" in draw(y).source
    assert "port" not in draw(y + w * w).source  # weight decay uses w too


def test_dot_of_a_vector_with_itself():
    v = [Value(1.0, "p"), Value(2.0, "q")]
    found = groups(parse(draw(dot(v, v))))
    assert {id for id in found if id[0] == "e"} == {"e2_0", "e2_1", "e2_2", "e2_3"}


@pytest.mark.parametrize(
    "label, group",
    [
        ("w²₁₃", ("layer 2", "neuron 1")),
        ("w¹₁₂,₃", ("layer 1", "neuron 12")),
        ("w¹₁,₂₃", ("layer 1", "neuron 1")),
        ("w′²₁₃", ("layer 2", "neuron 1")),
        ("b¹₂", ("layer 1", "neuron 2")),
        ("z¹²₁₀", ("layer 12", "neuron 10")),
        ("a³₁", ("layer 3", "neuron 1")),
        ("x₁", None),
        ("x²₁", None),
        ("a²", None),
        ("w1", None),
        ("", None),
        ("C", None),
    ],
)
def test_layers_are_read_from_labels(label, group):
    assert by_layer(Value(1.0, label)) == group


def test_clusters_nest():
    found = parse(draw(layer((2, 2, 1))))
    names = {id: t for id, t in titles(found).items() if id[0] == "c"}
    assert list(names.values()) == [
        "layer 1",
        "layer 1, neuron 1",
        "layer 1, neuron 2",
        "layer 2",
        "layer 2, neuron 1",
    ]
    assert sorted(names) == [f"c{i}" for i in range(5)]
    source = draw(layer((2, 2, 1)), clusters=False).source
    assert "cluster" not in source


def test_clusters_of_ones_own():
    a, b = Value(1.0, "a"), Value(2.0, "b")
    c = a * b
    drawn = draw(c, clusters=lambda node: "leaves" if not node.inputs else None)
    assert drawn.titles["c0"] == "leaves"
    assert drawn.source.count("subgraph") == 1


def test_colours_and_legend():
    a, b = Value(1.0, "a"), Value(2.0, "b")
    c = a * b + a
    drawn = draw(c, color_by=lambda node: {"a": "W¹ & co", "b": "x"}.get(node.label))
    assert drawn.titles["n0"].endswith(", in W¹ & co")
    words = texts(parse(drawn))
    assert "W¹ & co" in words and "x" in words
    fills = re.findall(r"^\s*n\d \[.*fillcolor=\"(#\w+)\"", drawn.source, re.MULTILINE)
    assert len(fills) == 4 and len(set(fills)) == 4


def test_thirty_two_groups_look_each_like_no_other():
    w, x = [Value(1.0, f"w{i}") for i in range(16)], [Value(1.0, f"x{i}") for i in range(16)]
    drawn = draw(affine(w, x, 0.0), max_terms=99, color_by=lambda node: node.label or None)
    look = {
        id: re.findall(r'(?:color|bgcolor|border|style)="[^"]*"', cell)
        for cell, id in re.findall(r'(<td id="(n\d+)"[^>]*>)', drawn.source)
    }
    assert len(look) == 16 and len({tuple(each) for each in look.values()}) == 16
    outlined = re.findall(r"^\s*n\d+ \[.*class=leaf (.*?) id=n\d+ (.*)\]$", drawn.source, re.MULTILINE)
    assert len(outlined) == 16 and len(set(outlined)) == 16


def test_a_row_is_dotted_where_its_group_is():
    rows = re.findall(r'<td id="n\d+"[^>]*>', draw(layer((9, 2)), color_by=lambda node: node.label).source)
    assert ['style="dotted"' in row for row in rows] == [False] * 7 + [True] * 13


def test_a_sum_of_squares_is_no_product_with_weights():
    v, w = [Value(1.0, "p"), Value(2.0, "q")], [Value(3.0, "r"), Value(4.0, "s")]
    assert "Σx²" in texts(parse(draw(dot(v, v)))) and "Σx²" not in texts(parse(draw(dot(w, v))))


def test_a_live_picture_has_room_for_any_number():
    x = Value(1.0, "x")
    y = x.exp()
    assert boxes.text_width([boxes.WIDEST]) >= max(
        boxes.text_width([format_number(n)]) for n in (-1.2345e-308, -9999999.0, -0.00012345)
    )
    for node in ("n0", "n1"):
        still, live = (float(size) for size in (plain(draw(y))[node], plain(drawing(y, live=True).write())[node]))
        assert live * 72 >= boxes.text_width([f"∇ {boxes.WIDEST}"]) > still * 72


@pytest.mark.parametrize("live", [False, True])
def test_a_box_is_as_large_as_reckoned(live):
    row = boxes.Row("n0", "w¹₁", "0.25", "∇ 1", "", "", style.LEAF)
    with_edge = row._replace(edge_id="e1_0", local_grad="∂₁ 2")
    made = {boxes.chip("∂₁ 2", "#000000", live): style.EDGE | {"shape": "plain"}}
    made |= {boxes.constant(name, "3"): style.NODE for name in ("", "c")}
    for rows, more, labelled, below, gradient in product(
        ([], [row], [with_edge] * 2), (None, ("m1", "⋯ 3 more")), (False, True), (False, True), ("", "∇ 1")
    ):
        made[boxes.box("z¹₁", "w·x + b", "3", gradient, rows, more, labelled, live, below)] = style.NODE
    lines = [
        f"{i} [label={box.label} " + " ".join(f'{key}="{value}"' for key, value in look.items()) + "]"
        for i, (box, look) in enumerate(made.items())
    ]
    rendered = re.sub(r"\\\n", "", render("digraph {" + "\n".join(lines) + "}", "plain").decode()).splitlines()
    nodes = sorted((line.split() for line in rendered if line.startswith("node")), key=lambda line: int(line[1]))
    sizes = [line[4:6] for line in nodes]
    for box, size in zip(made, sizes, strict=True):
        for reckoned, drawn in zip((box.width, box.height), map(float, size), strict=True):
            assert -1.5 < reckoned - 72 * drawn < 9, box


def plain(drawn):
    """The widths of the boxes."""
    lines = [line.split() for line in re.sub(r"\\\n", "", render(drawn.source, "plain").decode()).splitlines()]
    return {line[1]: line[4] for line in lines if line[0] == "node"}


def test_edges_from_constants_can_be_told():
    found = groups(parse(draw(2 * Value(1.0, "x"))))
    assert [found[id].get("class") for id in ("e2_0", "e2_1")] == ["edge constant", "edge"]


def test_a_png_has_a_ground_and_a_pdf_no_margin(tmp_path):
    drawn = draw(neuron())
    sizes = re.search(r'width="(\d+)pt" height="(\d+)pt"', drawn.svg()).groups()
    box = re.search(rb"MediaBox\s*\[ 0 0 (\d+) (\d+)", drawn.save(tmp_path / "x.pdf").read_bytes()).groups()
    assert all(abs(int(pdf) - int(svg)) <= 1 for pdf, svg in zip(box, sizes, strict=True))
    png = drawn.save(tmp_path / "x.png").read_bytes()
    assert png == render(re.sub(r' href="#\w+"', "", drawn.source).replace("transparent", '"#ffffff"'), "png")
    assert png != render(re.sub(r' href="#\w+"', "", drawn.source), "png")


def test_the_legend_has_its_colours_and_the_note():
    looks = {name: {"color": "#000000", "fillcolor": "#ffffff"} for name in ("W¹", "b¹")}
    for note in ("", "w was 2 and is 3 now"):
        label = boxes.legend(looks, note)
        assert label.count("W¹") == label.count("b¹") == 1 and note in label
    assert boxes.legend({}, "a note").count("<td") == 1  # and no empty row of colours


def test_a_closed_group_within_an_open_one_is_one_box():
    model = nn.MLP(2, [2, 1], seed=0)
    closed = [("layer 1", "neuron 1"), ("layer 1", "neuron 2")]
    source = draw(nn.quadratic(model([1.0, 2.0]), 1.0), closed=closed).source
    assert sorted(Counter(re.findall(r"^\s*(c\d+) \[", source, re.MULTILINE)).values()) == [1, 1]


def edges_of(drawn):
    """How many edges lead from which box to which: nodes by their ids, closed boxes by their names."""
    ids = re.findall(r"^\s*(\w+)\S* -> (\w+)", drawn.source, re.MULTILINE)
    return Counter(tuple(drawn.titles[id] if id[0] == "c" else id for id in pair) for pair in ids)


@pytest.mark.parametrize("seed", range(30))
def test_one_edge_stands_for_all_between_closed_parts(seed):
    rng = random.Random(seed)
    root, _ = random_graph(rng)
    order = topological_order(root)
    part = {node: rng.choice(["one", "two", ("three", "four"), None]) for node in order}
    box = {
        node: {("three", "four"): "three", None: f"n{i}"}.get(part[node], part[node]) for i, node in enumerate(order)
    }
    for leaf in (node for node in order if node.op is ops.CONSTANT and not part[node]):
        users = {box[node] for node in order if leaf in node.inputs}
        if len(users) == 1 and min(users)[0] != "n":
            box[leaf] = min(users)
    wanted = Counter((box[i], box[node]) for node in order for i in node.inputs if box[i] != box[node])
    once = {pair: n if all(id[0] == "n" for id in pair) else 1 for pair, n in wanted.items()}
    assert edges_of(draw(root, clusters=part.get, closed=True, fold=False)) == once


def test_a_graph_of_any_size_can_be_drawn_in_boxes():
    end = chain(6000)
    thousands = {node: f"part {i // 2000}" for i, node in enumerate(topological_order(end))}
    drawn = draw(end, clusters=thousands.get, closed=True, max_nodes=3)
    assert edges_of(drawn) == {("part 0", "part 1"): 1, ("part 1", "part 2"): 1}
    assert len(drawn.source) < 4000
    found = groups(parse(drawn))
    assert texts(found["c2"]) == ["part 2 ▸", "⋯ 1999 more", "L", format_number(end.data), "∇ –"]
    with pytest.raises(ValueError, match=r"^2,002 nodes to draw, and max_nodes=200"):  # and what is open counts
        draw(end, clusters=thousands.get, closed=["part 1", "part 2"])


def test_sums_and_weights_stand_in_closed_boxes_with_all_their_terms():
    n = 30
    w, x = ([Value(1.0, f"{letter}{i}") for i in range(n)] for letter in "wx")
    y = affine(w, x, Value(0.0, "b")) / 2
    part = dict.fromkeys(w, "w") | dict.fromkeys(x, "x")
    drawn = draw(y, clusters=part.get, closed=True)
    assert edges_of(drawn) == {("w", "n62"): 1, ("x", "n62"): 1, ("n62", "n63"): 1, ("n0", "n63"): 1}
    assert "not drawn" not in drawn.source
    assert drawn.titles["e62_0"].endswith("; and 29 edges more")
    part |= dict.fromkeys(y.inputs, "z")
    assert edges_of(draw(y, clusters=part.get, closed=True)) == {("w", "z"): 1, ("x", "z"): 1, ("z", "n63"): 1}
    assert edges_of(draw(y, clusters=part.get, closed="w")).keys() >= {("w", "n62")}


def test_all_layers_can_be_closed():
    loss = nn.quadratic(nn.MLP(2, [2, 1], seed=0)([1.0, 2.0]), 1.0)
    assert draw(loss, closed=True).source == draw(loss, closed=["layer 1", "layer 2"]).source
    assert draw(loss, closed="layer 2").source == draw(loss, closed=[("layer 2",)]).source
    assert draw(loss, closed=False).source == draw(loss).source
    assert draw(chain(3), closed=True).source == draw(chain(3)).source  # there is no group


def test_what_is_to_be_closed_must_be_there():
    loss = nn.MLP(2, [2, 1], seed=0)([1.0, 2.0])
    with pytest.raises(ValueError, match=r"^closed: there is no group \('layer 9',\); the groups are \('layer 1',\), "):
        draw(loss, closed=["layer 9"])
    for n, end in (7, r"'neuron 7'\)"), (8, r"'neuron 7'\), …"):
        with pytest.raises(ValueError, match=rf"the groups are \('layer 1',\), .* \('layer 1', {end}$"):
            draw(microgradlike.sum(nn.MLP(1, [n], seed=0)([1.0])), closed=["layer 9"])
    with pytest.raises(ValueError, match=r"; there are no groups$"):
        draw(loss, clusters=False, closed=["layer 1"])


# ── Large graphs ───────────────────────────────────────────────────────────────────────────────


def chain(n):
    x = Value(1.0, "x")
    for _ in range(n - 1):
        x = x.sin()
    return x


def test_too_many_nodes_is_an_error_that_helps():
    with pytest.raises(ValueError, match=r"^500 nodes to draw, and max_nodes=200.*depth=199.*max_nodes=500"):
        draw(chain(500))
    assert draw(chain(500), depth=199)  # what the error proposes works


def test_500_nodes():
    svg = parse(draw(chain(500), max_nodes=600))
    assert len([id for id in groups(svg) if id[0] == "n"]) == 500


def test_depth_cuts_and_says_so():
    x = chain(10)
    found = groups(parse(draw(x, depth=2)))
    assert set(found) == {"graph", "n7", "n8", "n9", "e8_0", "e9_0", "m7", "em7"}
    assert texts(found["m7"]) == ["⋯ 1 input not drawn"]
    assert set(groups(parse(draw(x, depth=0)))) == {"graph", "n9", "m9", "em9"}


def test_a_graph_of_any_size_can_be_cut():
    drawn = draw(chain(100_000), depth=3)
    assert " = sin(v₉₉₉₉₈) = " in drawn.titles["n99999"]


@pytest.mark.parametrize("n, drawn_terms", [(5, 5), (11, 11), (12, 10), (64, 10)])
def test_many_operands_are_abbreviated(n, drawn_terms):
    w = [Value(1.0, f"w{i}") for i in range(n)]
    x = [Value(1.0, f"x{i}") for i in range(n)]
    drawn = draw(affine(w, x, Value(0.0, "b")))
    i = 2 * n + 1
    edges = [id for id in drawn.titles if id.startswith(f"e{i}_")]
    assert len(edges) == 2 * drawn_terms + 1
    hidden = 2 * (n - drawn_terms)
    assert drawn.titles.get(f"m{i}") == (f"⋯ {hidden} inputs not drawn" if hidden else None)
    assert not hidden or f"⋯ {hidden} inputs not drawn" in texts(groups(parse(drawn))[f"m{i}"])


def test_all_terms_on_demand():
    x = [Value(1.0) for _ in range(129)]
    found = groups(parse(draw(microgradlike.sum(x), max_terms=129)))
    assert len([id for id in found if id.startswith("e129_")]) == 129


# ── Same program, same picture ─────────────────────────────────────────────────────────────────

GOLDEN = """\
digraph {
	graph [bgcolor=transparent fontcolor="#1f2328" fontname="Helvetica,Arial,sans-serif" fontsize=10 id="graph" margin=0 nodesep=0.15 ordering=in pad=0.1 rankdir=LR ranksep=0.3]
	node [fontcolor="#1f2328" fontname="Helvetica,Arial,sans-serif" fontsize=11 height=0 margin="0.08,0.03" shape=box width=0]
	edge [arrowsize=0.6 color="#808a96" fontcolor="#0b57a8" fontname="Helvetica,Arial,sans-serif" fontsize=9]
"""


def test_a_softmax_layer_runs_from_left_to_right_as_well():
    drawn = draw(nn.quadratic(nn.MLP(2, [3], output="softmax", seed=0)([1, 2]), [0, 1, 0]))
    lines = [line.split() for line in render(drawn.source, "plain").decode().splitlines()]
    at = {line[1]: (float(line[2]), -float(line[3])) for line in lines if line[0] == "node"}
    assert all(at[line[1]] < at[line[2]] for line in lines if line[0] == "edge")  # or, within a neuron, downwards


def test_neurons_of_several_samples_stand_below_each_other():
    model = nn.MLP(2, [2, 1], seed=0)
    drawn = draw(microgradlike.sum(model(x) for x in ([0, 1], [1, 0])))
    lines = [line.split() for line in render(drawn.source, "plain").decode().splitlines()]
    layer_1 = {line[2] for line in lines if line[0] == "node" and "z¹" in " ".join(line)}
    assert len(layer_1) == 1


def test_the_source_is_the_same_in_every_process():
    program = (
        "from test_draw import layer, draw\n"
        "loss = layer((3, 4, 2)); loss.backward()\n"
        "print(draw(loss, color_by=lambda node: node.label[:1] or None).source)"
    )
    sources = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parent,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONUTF8": "1"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(sources) == 1


def test_the_same_expression_gives_the_same_picture():
    assert draw(neuron()).svg() == draw(neuron()).svg()
    assert draw(neuron()).source == draw(neuron()).source


def test_the_source_as_written():
    x = Value(3.0, "x")
    y = x * x
    y.label = "y"
    assert (
        draw(y).source
        == GOLDEN
        + (
            '\tn0 [label=<<table border="0" cellborder="0" cellspacing="0" cellpadding="1">'
            '<tr><td align="left" width="14"><b>x</b></td><td align="right" width="26"></td></tr>'
            '<tr><td align="left" width="14">3</td>'
            '<td align="left" width="26"><font color="#b42318">∇ –</font></td></tr></table>>'
            ' class=leaf color="#4a7fb5" fillcolor="#e3eefb" id=n0 style=filled]\n'
            '\tn1 [label=<<table border="0" cellborder="0" cellspacing="0" cellpadding="1">'
            '<tr><td align="left" width="14"><b>y</b></td>'
            '<td align="right" width="26"><font color="#59636e">×</font></td></tr>'
            '<tr><td align="left" width="14">9</td>'
            '<td align="left" width="26"><font color="#b42318">∇ –</font></td></tr></table>>'
            ' class="operation root" color="#8a6a00" fillcolor="#fff4cc" id=n1 peripheries=2 style="rounded,filled"]\n'
        )
        + "".join(
            f'\tn0 -> n1 [label=<<table border="0" cellborder="0" cellspacing="2" cellpadding="1">'
            '<tr><td align="left" width="26"><table border="0" cellborder="0" cellspacing="0" cellpadding="1">'
            f'<tr><td bgcolor="#ffffff" style="rounded" cellpadding="1"><font color="#0b57a8">∂{"₁₂"[k]} 3</font></td></tr></table>'
            "</td></tr></table>>"
            f" id=e1_{k}]\n"
            for k in (0, 1)
        )
        + "}\n"
    )


# ── Labels are text ────────────────────────────────────────────────────────────────────────────

LABELS = [
    "<script>alert(1)</script>", "a & b", "\"q\" 's", "\\N \\G \\L \\", "\\", "\\\\", "{r|<p>x}", "🙂", "👩‍🔬", "%3",
    "<b>", ">", "&lt;", "n0:p", "--", "->", "<", "]", "// no", "/* no */", "#1", "ünïcödé", "שלום", "</text>", "]]>",
]  # fmt: skip


def test_labels_are_shown_as_text():
    def label(node):
        return node.label or None

    drawn = draw(microgradlike.sum([Value(1.0, l) for l in LABELS]), clusters=label, color_by=label, max_terms=99)  # noqa: E741
    svg = parse(drawn)
    found, said, shown = groups(svg), titles(svg), Counter(texts(svg))
    for i, label in enumerate(LABELS):
        assert texts(found[f"n{i}"])[0] == label
        assert shown[label] == 3  # the node, the cluster and the legend
        assert said[f"n{i}"] == f"{label} = 1.0, ∇ –, in {label}"
    assert not list(svg.iter(f"{SVG}script"))


def test_labels_in_rows_are_shown_as_text():
    w = [Value(1.0, label) for label in LABELS]
    found = groups(parse(draw(affine(w, [1.0] * len(w), Value(0.0, "bias")), max_terms=99)))
    rows = [texts(g)[0] for g in found.values() if g.get("class") == "node leaf"]
    assert sorted(rows) == sorted([*LABELS, "bias"])


def test_labels_of_several_lines_and_unprintable_ones():
    assert texts(parse(draw(Value(1.0, "two\nlines"))))[:2] == ["two", "lines"]
    characters = ("\x00", "\x1b", "\ud800", "\ufffe", "\r", "\t")
    drawn = draw(microgradlike.sum([Value(1.0, f"a{c}b") for c in characters]))
    assert texts(parse(drawn)).count("a\ufffdb") == len(characters)
    assert all(title.isprintable() for title in drawn.titles.values())
    long = microgradlike.sum([Value(1.0, "x" * 500), Value(1.0, " ")])
    assert "x" * 39 + "…" in texts(parse(draw(long)))


def test_own_operations_are_drawn():
    cube = operation("cube", lambda xp, x: x * x * x, lambda xp, y, x: 3.0 * x * x, symbol="<x³>")
    found = groups(parse(draw(cube(Value(2.0, "x")))))
    assert texts(found["n1"])[1:] == ["<x³>", "8", "∇ –"]
    assert texts(found["e1_0"]) == ["∂₁ 12"]


# ── Bad input ──────────────────────────────────────────────────────────────────────────────────


def test_groups_and_gradients_may_be_numbers_and_a_group_may_be_nameless():
    x, y = Value(1.0, "x"), Value(2.0, "y")
    found = groups(parse(draw(x * y, grad={x: 0.5}, color_by=lambda node: {x: 0, y: ""}.get(node))))
    assert texts(found["n0"]) == ["x", "1", "∇ 0.5"] and texts(found["n1"])[-1] == "∇ –"
    colours = [found[id].find(f"{SVG}polygon").get("stroke") for id in ("n0", "n1")]
    assert len({*colours, found["n2"].find(f"{SVG}path").get("stroke")}) == 3


def test_limits_are_numbers():
    with pytest.raises(ValueError, match=r"max_nodes=None, .*: expected 1 or more"):
        draw(Value(1.0), max_nodes=None)
    assert draw(Value(1.0), max_nodes=float("inf")).source == draw(Value(1.0)).source


@pytest.mark.parametrize("what", [3.0, [Value(1.0)], None, "x"])
def test_only_values_can_be_drawn(what):
    with pytest.raises(TypeError, match="draw takes one Value, got"):
        draw(what)


@pytest.mark.parametrize(
    "options", [{"rankdir": "UP"}, {"max_nodes": 0}, {"max_terms": 0}, {"depth": -1}, {"depth": "two"}]
)
def test_options_are_checked(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        draw(Value(1.0), **options)
    assert draw(Value(1.0), max_nodes=1, max_terms=1, depth=0).source == draw(Value(1.0)).source


@pytest.mark.parametrize(
    "make, options",
    [
        (lambda: layer((3, 2, 2)), {}),
        (lambda: layer((3, 2, 2)), {"fold": False}),
        (lambda: layer((3, 2, 2)), {"clusters": by_layer}),
        (lambda: layer((3, 2, 2)), {"clusters": by_layer, "closed": ["layer 1"]}),
        (neuron, {}),
    ],
)
def test_edges_are_straight_where_boxes_times_edges_are_too_many(make, options, monkeypatch):
    drawn = draw(make(), **options)
    open_boxes, closed = (re.findall(rf"^\s*{kind}\d+ \[.*", drawn.source, re.M) for kind in "nc")
    edges = drawn.source.count(" -> ") + sum(box.count('<td id="e') for box in open_boxes)
    product = (len(open_boxes) + len(closed)) * edges
    for most, straight in ((product, False), (product - 1, True)):
        monkeypatch.setattr(drawings, "MOST_BENT", most)
        assert ("splines=line" in draw(make(), **options).source) == straight


def test_edges_that_cross_many_columns_are_drawn_late_the_longest_first():
    def late(n):
        x, y = Value(0.5, "x"), Value(0.25, "y")
        h = x * y
        for _ in range(n):
            h = h.tanh()
        loss = h + x + y
        place = {node: i for i, node in enumerate(topological_order(loss))}
        found = re.findall(r" id=(e\d+_\d+).*\blate=true", draw(loss, max_nodes=1000).source)
        return ["xy".index(name) for name in "xy" if f"e{place[loss if name == 'y' else loss.inputs[0]]}_1" in found]

    assert [late(n) for n in (248, 249, 498, 499, 500, 501)] == [[], [1], [1], [1], [0, 1], [0, 1]]


def test_the_number_of_an_edge_that_is_drawn_late_ends_ten_points_before_its_head():
    x, y = Value(0.5), Value(0.25)
    h = x * y
    for _ in range(300):
        h = h.tanh()
    late = [line for line in draw(h * x * y, max_nodes=1000).source.splitlines() if "late=true" in line]
    assert len(late) == 1
    width = 4 + int(re.search(r'<td align="left" width="(\d+)"', late[0])[1])
    far, angle = (float(re.search(rf"{name}=([\d.]+)", late[0])[1]) for name in ("labeldistance", "labelangle"))
    assert (10 * far, angle) == (pytest.approx(width / 2 + 10, abs=0.1), 25.0)


# ── Saving and showing ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name, start", [("x.svg", b"<svg "), ("x.PNG", b"\x89PNG"), ("x.pdf", b"%PDF"), ("x.dot", b"digraph")]
)
def test_save(tmp_path, name, start):
    path = tmp_path / name
    path.write_text("old", encoding="utf-8")
    assert draw(neuron()).save(path) == path
    assert path.read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert draw(neuron()).save(str(path)) == path


@pytest.mark.parametrize("name", ["x.jpeg", "x", "svg", "x.svg.zip"])
def test_save_knows_four_formats(tmp_path, name):
    with pytest.raises(ValueError, match=r"expected a name that ends in \.svg, \.png, \.pdf or \.dot"):
        draw(neuron()).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_save_leaves_the_old_file_where_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "x.svg"
    path.write_text("old", encoding="utf-8")
    monkeypatch.setattr(diagram, "_graphvizes", lambda: iter(()))
    with pytest.raises(RuntimeError):
        draw(neuron()).save(path)
    monkeypatch.undo()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        draw(neuron()).save(path)
    assert path.read_text(encoding="utf-8") == "old" and len(list(tmp_path.iterdir())) == 1


def test_save_into_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        draw(neuron()).save(tmp_path / "none" / "x.dot")


def test_ids_take_a_prefix():
    drawn = draw(layer())
    plain, prefixed = groups(parse(drawn)), groups(parse(drawn, "cell-3_"))
    assert {f"cell-3_{id}" for id in plain} == set(prefixed)
    for bad in ("3", "a b", '"><script>', "é"):
        with pytest.raises(ValueError, match="prefix"):
            drawn.svg(bad)


def test_notebooks_get_an_image_svg_and_text():
    import base64

    drawn = draw(neuron())
    svg = drawn.svg()
    bundle = drawn._repr_mimebundle_()
    assert bundle["image/svg+xml"] == svg
    assert bundle["text/plain"] == str(drawn) == repr(drawn)
    image = ET.fromstring(bundle["text/html"].replace(">", "/>"))
    head, data = image.get("src").split(",")
    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(data).decode() == svg
    assert image.get("alt") == "Computation graph of o: 10 nodes"


def test_notebooks_get_text_where_there_is_no_graphviz(monkeypatch):
    monkeypatch.setattr(diagram, "_graphvizes", lambda: iter(()))
    bundle = draw(neuron())._repr_mimebundle_()
    assert set(bundle) == {"text/plain"}
    assert "o = tanh(n)" in bundle["text/plain"] and "pip install" in bundle["text/plain"]


def test_str_is_short():
    lines = str(draw(chain(100))).splitlines()
    assert len(lines) == 12 and lines[6] == "  ⋯ 90 more"


# ── Running Graphviz ───────────────────────────────────────────────────────────────────────────


def fake_dot(folder, code):
    """A program `dot` on PATH that runs this Python code."""
    script = folder / "fake.py"
    script.write_text(code, encoding="utf-8")
    if os.name == "nt":
        (folder / "dot.bat").write_text(f'@"{sys.executable}" "{script}" %*\n', encoding="utf-8")
    else:
        (folder / "dot").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n', encoding="utf-8")
        (folder / "dot").chmod(0o755)


def test_dot_on_path_is_used_first(tmp_path, monkeypatch):
    picture = "<svg xmlns='http://www.w3.org/2000/svg'>{}|{}</svg>"
    fake_dot(tmp_path, f"import sys; print({picture!r}.format(*sys.argv[1:], sys.stdin.read()), end='')")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert render("digraph {}", "svg").decode() == picture.format("-Tsvg", "digraph {}")


needs_pygraphviz = pytest.mark.skipif(not importlib.util.find_spec("pygraphviz"), reason="pygraphviz is not installed")


@needs_pygraphviz
def test_the_bundled_graphviz_is_used_where_there_is_no_dot(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert b"<svg" in render("digraph { a -> b }", "svg")
    assert capfd.readouterr() == ("", "")


@needs_pygraphviz
def test_the_bundled_graphviz_is_used_where_dot_is_broken(tmp_path, monkeypatch):
    fake_dot(tmp_path, "import sys; sys.exit('no layout plugin')")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert b"<svg" in render("digraph { a -> b }", "svg")


def test_no_graphviz_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(diagram.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"there is none.*pip install .microgradlike\[draw\].*graphviz\.org"):
        draw(neuron()).svg()
    draw(neuron()).save(tmp_path / "x.dot")


@needs_pygraphviz
def test_every_failure_is_told(tmp_path, monkeypatch):
    fake_dot(tmp_path, "import sys; sys.exit('no layout plugin')")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"(?s)dot: no layout plugin.*pygraphviz: .*syntax error"):
        render("digraph {", "svg")


PICTURES = "import os, pathlib, sys; good = pathlib.Path(__file__).with_name('good.' + sys.argv[1][2:]).read_bytes(); "
BROKEN = {
    "does not start": ("sys.exit('no layout plugin')", "no layout plugin"),
    "is killed": ("os.kill(os.getpid(), 9)", "exit code -9"),
    "fails after a good picture": ("sys.stdout.buffer.write(good); sys.stdout.flush(); os._exit(3)", "exit code 3"),
    "hangs": ("import time; time.sleep(30)", "no picture within 2 seconds"),
    "hangs after half a picture": (
        "os.write(1, good[:99]); import time; time.sleep(30)",
        "no picture within 2 seconds",
    ),
    "leaves a child that hangs": (
        "import subprocess, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(5)']); time.sleep(30)",
        "no picture within 2 seconds",
    ),
    "writes nothing": ("pass", "no whole"),
    "writes rubbish": ("print('Segmentation fault')", "no whole"),
    "writes rubbish before": ("os.write(1, b'warning: x' + good)", "no whole"),
    "writes half": ("os.write(1, good[:len(good) // 2])", "no whole"),
    "writes all but the end": ("os.write(1, good[:-9])", "no whole"),
    "writes bytes": ("os.write(1, bytes(range(256)))", "no whole"),
}


def save_film(path):
    return microgradlike.steps(neuron()).save(path)


@pytest.mark.parametrize("code, why", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize(
    "save, name",
    [(draw(neuron()).save, f"x.{suffix}") for suffix in ("svg", "png", "pdf")]
    + [(save_film, "x.svg"), (save_film, "x.html")],
)
def test_a_broken_dot_never_replaces_a_good_file(code, why, save, name, tmp_path, monkeypatch):
    for format in ("svg", "png", "pdf"):
        (tmp_path / f"good.{format}").write_bytes(render(draw(neuron()).source, format))
    (tmp_path / "files").mkdir()
    path = tmp_path / "files" / name
    path.write_bytes(b"old")
    fake_dot(tmp_path, PICTURES + code)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(diagram, "TIME_LIMIT", 2.0 if "time" in code else 60.0)
    with monkeypatch.context() as patch:
        patch.setattr(diagram.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(
            RuntimeError, match=rf"(?s)drawing needs Graphviz, and it failed:.*dot: .*{why}.*pip install"
        ):
            save(path)
    assert path.read_bytes() == b"old" and len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize("code, why", BROKEN.values(), ids=BROKEN)
def test_where_dot_is_broken_the_bundled_graphviz_draws(code, why, tmp_path, monkeypatch):
    good = render(draw(neuron()).source, "svg")
    (tmp_path / "good.svg").write_bytes(good)
    fake_dot(tmp_path, PICTURES + code)
    monkeypatch.setenv("PATH", str(tmp_path))
    run = subprocess.run

    def soon(command, **options):  # that there is a limit is another test's business
        return run(command, **options | {"timeout": 2.0 if command[0].endswith("dot") and "time" in code else 60.0})

    monkeypatch.setattr(diagram.subprocess, "run", soon)
    assert render(draw(neuron()).source, "svg") == good


def test_a_picture_of_something_else_is_refused(tmp_path, monkeypatch):
    (tmp_path / "good.svg").write_bytes(render(draw(Value(1.0)).source, "svg"))
    fake_dot(tmp_path, PICTURES + "os.write(1, good)")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="drew something other than this graph"):
        draw(neuron()).save(tmp_path / "x.svg")
    assert not (tmp_path / "x.svg").exists()


@needs_pygraphviz
def test_pygraphviz_without_a_graphviz_of_its_own(tmp_path, monkeypatch):
    """As built from source: the module is there, and what it needs is not."""
    (tmp_path / "pygraphviz.py").write_text("raise ImportError('libgvc.so.6: cannot open shared object file')")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        RuntimeError, match=r"pygraphviz: ImportError: libgvc.so.6: cannot open[^\n]*\nInstall it by .*dot"
    ):
        render("digraph {}", "svg")


def test_larger_graphs_get_more_time(monkeypatch):
    limits = []
    monkeypatch.setattr(diagram.subprocess, "run", lambda *_, timeout, **__: limits.append(timeout) or 1 / 0)
    for n in (10, 200, 2000):
        with pytest.raises(ZeroDivisionError):
            draw(chain(n), max_nodes=n).svg()
    assert limits[:2] == [60.0, 60.0] and limits[2] > 300


def test_threads_may_draw():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(lambda _: draw(neuron()).svg(), range(4)))
    assert len(set(pictures)) == 1
