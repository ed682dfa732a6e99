"""Networks in columns and rows: where their boxes stand, open and closed, and that the boxes have the size reckoned with."""

import random
import re

import pytest
from graphs import SHAPES, network

import microgradlike
from microgradlike import Value, nn, steps
from microgradlike.value import topological_order
from microgradlike.view.boxes import text_width
from microgradlike.view.diagram import render
from microgradlike.view.dot import draw, drawing
from microgradlike.view.grid import GAP, PAD, TITLE, network_groups
from microgradlike.view.labels import Edge, _overlap, find_spots


def drawings(loss):
    """A network by name: all boxes open, its neurons closed, but one, and its layers."""
    groups = groups_of(drawing(loss, max_nodes=1000, live=True).write())
    neurons, layers = ([group for group in groups if len(group) == n] for n in (2, 1))
    closed = {
        "open": [],
        "neurons": neurons,
        "one": [each for each in neurons if each[1] != "neuron 2"],
        "layers": layers,
    }
    return {name: drawing(loss, max_nodes=1000, live=True, closed=which) for name, which in closed.items()}


def views(loss):
    """The pictures of a network by the names of its drawings."""
    return {name: drawn.write() for name, drawn in drawings(loss).items()}


def groups_of(drawn):
    return [tuple(title.split(", ")) for id, title in drawn.titles.items() if re.fullmatch(r"c\d+", id)]


def places(drawn):
    """The middle of each box and of each frame, as the DOT has them."""
    found = {
        id: tuple(map(float, xy))
        for id, *xy in re.findall(r"^\s*(\w+) \[.*\bpos=\"([-\d.]+),([-\d.]+)\"", drawn.source, re.M)
    }
    for frame, i in re.findall(r"bb=\"([-\d.,]+)\".*\bid=(c\d+)", drawn.source):
        left, bottom, right, top = map(float, frame.split(","))
        found[i] = (left + right) / 2, (bottom + top) / 2
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_neurons_and_inputs_stand_below_each_other_in_their_order_open_and_closed(shape):
    loss = SHAPES[shape]()
    number = {node: i for i, node in enumerate(topological_order(loss))}
    for drawn in views(loss).values():
        at, groups = places(drawn), groups_of(drawn)
        neurons = [
            (layer, int(name.split()[1]), at[f"c{g}"])
            for g, (layer, *rest) in enumerate(groups)
            for name in rest
            if f"c{g}" in at
        ]
        for layer in {layer for layer, _, _ in neurons}:
            column = sorted((j, x, y) for each, j, (x, y) in neurons if each == layer)
            assert len({round(x) for _, x, _ in column}) == 1
            assert [y for _, _, y in column] == sorted((y for _, _, y in column), reverse=True)
        inputs = [(node.label, at[f"n{i}"]) for node, i in number.items() if node.label[:1] == "x" and f"n{i}" in at]
        assert len({round(x) for _, (x, _) in inputs}) == 1
        for sample in range(len(inputs) // len({label for label, _ in inputs})):
            own = [
                next(iter([xy for each, xy in inputs if each == label][sample:]))
                for label in sorted({label for label, _ in inputs}, key=lambda label: (len(label), label))
            ]
            assert [y for _, y in own] == sorted((y for _, y in own), reverse=True)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_box_that_opens_keeps_its_middle_and_moves_nothing_outside_its_layer(shape):
    loss = SHAPES[shape]()
    order = topological_order(loss)
    groups = groups_of(drawing(loss, max_nodes=1000, live=True).write())
    neurons = [group for group in groups if len(group) == 2]
    before = places(drawing(loss, max_nodes=1000, live=True, closed=neurons).write())
    inside = {f"n{i}": group for i, group in enumerate(map(network_groups(order).get, order))}
    inside |= {f"c{i}": group for i, group in enumerate(groups)}
    for one in {neurons[0], neurons[1], neurons[-1]}:
        closed = [each for each in neurons if each != one]
        after = places(drawing(loss, max_nodes=1000, live=True, closed=closed).write())
        moved = {
            id: (after[id][0] - before[id][0], after[id][1] - before[id][1]) for id in before.keys() & after.keys()
        }
        beside = {id for id in moved if len(inside.get(id) or ()) and inside[id][0] == one[0] and inside[id] != one}
        beside -= {f"c{i}" for i, group in enumerate(groups) if len(group) == 1}
        assert len(moved) > 4 and max(abs(x) for x, _ in moved.values()) < 0.2  # as exact as the DOT is
        assert max(abs(y) for id, (_, y) in moved.items() if id not in beside and id[0] != "m") < 0.2
        middle = before[f"c{groups.index(one)}"][1]
        away = [moved[id][1] * (1 if before[id][1] > middle else -1) for id in beside if id[0] == "c"]
        assert away == pytest.approx(away[:1] * len(away), abs=0.2) and all(by > 10 for by in away)


@pytest.mark.parametrize("shape", ["2-3-1", "10-16-10", "softmax", "a minibatch"])
def test_layers_that_close_move_nothing_and_every_picture_is_equally_wide(shape):
    opened, neurons, *others = views(SHAPES[shape]()).values()
    for closed in (neurons, *others):
        common = places(opened).keys() & places(closed).keys()
        assert max(abs(places(closed)[id][0] - places(opened)[id][0]) for id in common) < 0.2
    widths = {re.search(r'<svg[^>]*\bwidth="(\d+)pt"', each.svg())[1] for each in (neurons, *others)}
    assert len(widths) == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_frames_have_the_same_margins_everywhere(shape):
    for name, drawn in drawings(SHAPES[shape]()).items():
        grid = drawn._grid
        for path, frame in grid.frames.items():
            inside = [id for id, its in grid.path.items() if its[: len(path)] == path]
            if path in grid.closed:
                extent, title = grid.boxes[path], TITLE + 2 * PAD if len(path) == 1 else 0
                assert frame.cross_end - frame.cross > extent.cross + title - 1e-6
                assert frame.main_end - frame.main > extent.main - 1e-6
                if len(path) == 1:  # what is closed in it keeps its order, for what comes from there
                    places = {grid.place[id][1] for id in inside}
                    assert len(places) == len(inside) and frame.cross < min(places) <= max(places) < frame.cross_end
            inside = [id for id in inside if not any(grid.path[id][:n] in grid.closed for n in (1, 2))]
            if not inside:
                continue
            left = min(grid.place[id][0] - grid.size[id].main / 2 for id in inside) - frame.main
            right = frame.main_end - max(grid.place[id][0] + grid.size[id].main / 2 for id in inside)
            assert min(left, right) > (3 - len(path)) * PAD - 1e-6
            if name == "open" and len(path) == 1:
                assert left == pytest.approx(right) and left < 4 * PAD
            top = min(grid.place[id][1] - grid.size[id].cross / 2 for id in inside) - frame.cross
            bottom = frame.cross_end - max(grid.place[id][1] + grid.size[id].cross / 2 for id in inside)
            if len(path) == 2:
                assert (top, bottom) == pytest.approx((PAD + TITLE, PAD))
            elif name == "open":
                assert top - bottom == pytest.approx(2 * TITLE) and bottom >= 2 * PAD


def random_picture(seed):
    """A random network of `nn`, some of its boxes closed, drawn any way round."""
    rng = random.Random(seed)
    sizes = [rng.randint(1, 4) for _ in range(rng.randint(2, 4))]
    activation, output = rng.choice(["sigmoid", "relu", "maxout"]), rng.choice(["linear", "tanh", "softmax"])
    loss = network(*sizes, activation=activation, output=output, samples=rng.randint(1, 3))
    options = {
        "rankdir": rng.choice(["LR", "TB", "RL", "BT"]),
        "live": rng.random() < 0.5,
        "fold": rng.random() < 0.8,
        "max_terms": rng.choice([2, 10]),
        "max_nodes": 1000,
    }
    groups = groups_of(drawing(loss, **options).write())
    return drawing(loss, closed=[each for each in groups if rng.random() < 0.3], **options)


@pytest.mark.parametrize("seed", range(40))
def test_in_a_random_network_there_is_a_gap_between_all_boxes_and_names_stand_on_none(seed):
    drawn = random_picture(seed)
    grid, level = drawn._grid, drawn.rankdir in ("LR", "RL")
    is_shown = {path: grid._is_open(path[:-1]) for path in grid.frames}
    boxes = [(*grid.place[id], *size) for id, size in grid.size.items() if grid._is_open(grid.path.get(id, ()))]
    boxes += [(*frame.centre, *grid.boxes[path]) for path, frame in grid.frames.items()
              if path in grid.closed and is_shown[path]]  # fmt: skip
    for i, (main, cross, wide, high) in enumerate(boxes):
        for other, at, w, h in boxes[i + 1 :]:
            assert abs(main - other) > (wide + w) / 2 or abs(cross - at) - (high + h) / 2 > GAP - 1e-6
    for path in grid.frames:
        if path not in grid.closed and is_shown[path]:
            x, y = map(float, drawn._frame(path)["lp"].split(","))
            width = text_width([path[-1]], 12) - 5
            for main, cross, wide, high in boxes:
                u, v = drawn._point(main, cross)
                w, h = (wide, high) if level else (high, wide)
                assert abs(x - u) > (w + width) / 2 or abs(y - v) > (h + 12) / 2, (path, drawn.rankdir)


# The page's picture has 1,260×344 pixels in a window of 1280×800, and shrinks to three quarters before it scrolls.
@pytest.mark.parametrize("shape", ["2-3-1", "4-4-4-1", "maxout", "written out", "softmax"])
def test_a_small_network_is_shown_whole_and_readable(shape):
    page = steps(SHAPES[shape]())
    width, height = map(int, re.search(r'<svg[^>]*\bwidth="(\d+)pt" height="(\d+)pt"', page.views[0][2].svg()).groups())
    assert page.views[0][0] == "neurons as boxes"
    assert width < 1260 / 0.75 and height < 344 / 0.75


@pytest.mark.parametrize("shape", ["2-3-1", "maxout", "written out"])
def test_what_is_in_a_neuron_stands_below_each_other(shape):
    loss = SHAPES[shape]()
    order, groups = topological_order(loss), network_groups(topological_order(loss))
    at = places(draw(loss))
    place = {node: at[f"n{i}"] for i, node in enumerate(order) if f"n{i}" in at}
    inside = [
        (node, v) for node in order for v in node.inputs if v.inputs and v in groups and groups[v] == groups.get(node)
    ]
    assert inside and all(place[v][0] == place[node][0] and place[v][1] > place[node][1] + 20 for node, v in inside)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("live", [False, True])
def test_boxes_overlap_nowhere(shape, live):
    loss = SHAPES[shape]()
    groups = groups_of(drawing(loss, max_nodes=1000).write())
    for closed in ([], [group for group in groups if len(group) > 1]):
        drawn = drawing(loss, max_nodes=1000, live=live, closed=closed).write()
        straight = re.sub(r"splines=\w+", "splines=line", drawn.source)
        lines = [line.split() for line in re.sub(r"\\\n", "", render(straight, "plain").decode()).splitlines()]
        boxes = [tuple(float(number) * 72 for number in line[2:6]) for line in lines if line[0] == "node"]
        boxes.sort()
        for i, (x, y, width, height) in enumerate(boxes):
            for u, v, w, h in boxes[i + 1 :]:
                assert u - x >= (width + w) / 2 - 1 or abs(v - y) >= (height + h) / 2 - 1
        assert all(x > 0 for x, *_ in boxes)


@pytest.mark.parametrize(
    "rankdir, shape", [("LR", "4-4-4-1"), ("LR", "10-16-10"), ("LR", "softmax"), ("RL", "maxout"), ("TB", "2-3-1")]
)
def test_numbers_on_edges_stand_neither_on_each_other_nor_on_boxes(rankdir, shape):
    drawn = draw(SHAPES[shape](), max_nodes=1000, rankdir=rankdir)
    statements = re.sub(r"\\\n", "", render(drawn.source, "dot").decode()).split(";\n")
    taken, numbers = [], []
    for each in statements:
        found = dict(re.findall(r"\b(pos|head_lp|width|height)=\"?([-\d.,e+]*\d)", each))
        if "head_lp" in found:
            numbers.append(
                (
                    *map(float, found["head_lp"].split(",")),
                    0.9 * (text_width([re.search("∂[^<]*", each)[0]], 9) - 5),
                    11,
                )
            )
        elif " -> " not in each and "pos" in found:
            taken.append(
                (*map(float, found["pos"].split(",")), 72 * float(found["width"]), 72 * float(found["height"]))
            )
    assert len(numbers) > 10 and len(taken) > 10
    on_something = [
        (x, y)
        for i, (x, y, width, height) in enumerate(numbers)
        for u, v, wide, high in taken + numbers[:i]
        if abs(x - u) < (width + wide) / 2 - 4 and abs(y - v) < (height + high) / 2 - 3
    ]
    assert len(on_something) <= len(numbers) / 30  # where Graphviz bends an edge


def test_a_number_stands_by_the_end_of_its_edge_unless_something_is_in_its_way():
    slanting = Edge((0.0, 100.0), (100.0, 0.0), 30.0, 12.0, 0)
    free = find_spots({"e": slanting}, [])["e"]
    assert free.angle == 0 and 20 < free.distance < 40
    away = find_spots({"e": slanting}, [(80.0, 20.0, 16.0, 16.0)])["e"]
    assert away.distance > free.distance
    two = find_spots({"e": slanting, "f": slanting}, [])
    assert two["e"] == free != two["f"]
    nowhere = find_spots({"e": slanting}, [(50.0, 50.0, 200.0, 200.0)])["e"]
    assert nowhere == free
    level = find_spots({"e": Edge((0.0, 0.0), (100.0, 0.0), 30.0, 12.0, 0)}, [])["e"]
    assert level.angle != 0  # beside it


def test_the_area_that_two_boxes_share_is_that_of_what_lies_in_both():
    rng = random.Random(0)
    for _ in range(300):
        one, other = ([rng.randint(-9, 9), rng.randint(-9, 9), rng.randint(1, 9), rng.randint(1, 9)] for _ in range(2))
        sides = [min(a + w, b + v) - max(a - w, b - v) for (a, w), (b, v) in zip(
            zip(one[:2], one[2:], strict=True), zip(other[:2], other[2:], strict=True), strict=True)]  # fmt: skip
        assert _overlap(one, other) == max(0, sides[0]) * max(0, sides[1])


def test_the_boxes_between_two_layers_have_an_edge_for_each_pair():
    drawn = views(SHAPES["2-3-1"]())["neurons"]
    order = topological_order(SHAPES["2-3-1"]())
    place = {node: i for i, node in enumerate(order)}
    for node, i in place.items():
        if node.label[:1] in "za" and node.label:
            for k, input in enumerate(node.inputs):
                if input.label[:1] in ("z", "a"):
                    assert re.search(rf"\bid=\"?e{i}_{k}\"?", drawn.source)
                    assert drawn.titles[f"n{place[input]}"] and f'id="n{i}"' in drawn.source


def test_what_is_left_out_is_said_in_every_view():
    loss = SHAPES["64-16-10"]()
    for name, drawn in views(loss).items():
        assert "⋯ 54 more" in drawn.source
        assert name == "layers" or "⋯ 6 more" in drawn.source
        assert drawn.left_out == ("6 of the 16 neurons of layer 1", "54 of the 64 inputs of layer 1")
    assert steps(network(14, 2, 1)).note == "Not drawn: 4 of the 14 inputs of layer 1."
    assert steps(SHAPES["2-3-1"]()).note == "" and not draw(SHAPES["2-3-1"]()).left_out
    wide = draw(microgradlike.sum([Value(1.0) for _ in range(30)]))
    assert wide.left_out == ("20 of the 30 inputs of L",)


def test_nodes_whose_number_is_0_are_drawn_as_others_are():
    model = nn.MLP(14, [2, 1], "relu", "linear", seed=1)
    for parameter in model.parameters():
        parameter.data = 0.0
    drawn = views(nn.quadratic(model([0.1 * i for i in range(14)]), 1.0))["neurons"]
    assert len(re.findall("∂₁ 0<", drawn.source)) == 2  # in each neuron of layer 1, between z and a
    assert "⋯ 4 more" in drawn.source


def test_nodes_between_a_z_and_its_a_belong_to_the_neuron_and_what_all_share_to_the_layer():
    groups = network_groups(topological_order(SHAPES["softmax"]()))
    inner = {(node.op.name, path) for node, path in groups.items() if not node.label}
    assert inner == {("logsumexp", ("layer 2",))} | {("sub", ("layer 2", f"neuron {j}")) for j in (1, 2, 3)}
    groups = network_groups(topological_order(SHAPES["written out"]()))
    inner = {(node.op.name, path) for node, path in groups.items() if not node.label}
    names = ("neg", "exp", "add", "constant")
    assert inner == {(name, ("layer 1", f"neuron {j}")) for name in names for j in (1, 2)}
    assert not network_groups(topological_order(Value(1.0, "x") * Value(2.0)))


# ── Graphs that would take Graphviz minutes ────────────────────────────────────────────────────


def recurrence(size):
    """A chain that uses four leaves over and over."""
    h, *leaves = [Value(0.1 * i + 0.3, f"p{i}") for i in range(4)]
    for i in range(size // 3):
        h = (h * leaves[0] + leaves[1 + i % 2]).tanh()
    return h


def scattered(size):
    choose = random.Random(2)
    nodes = [Value(0.1 * i) for i in range(4)]
    while len(nodes) < size:
        nodes.append(microgradlike.sum(choose.sample(nodes, 3)))
    return microgradlike.sum(nodes)


@pytest.mark.parametrize("make", [recurrence, scattered])
def test_long_edges_are_drawn_when_the_boxes_have_their_places(make):
    root = make(60)
    drawn = draw(root, max_terms=100)
    late = re.findall(r" id=(e\d+_\d+).*\blate=true", drawn.source)
    svg = drawn.svg()
    assert late and all(
        re.search(rf'<g id="{id}" class="edge[^>]*>\s*<title>[^<]*</title>\s*<path', svg) for id in late
    )
    for id in late:  # their numbers stand by the boxes that they are about
        node = id[1:].partition("_")[0]
        edge, box = (re.search(rf'<g id="{each}".*?</g>', svg, re.DOTALL)[0] for each in (id, f"n{node}"))
        (x, y), (u, v) = (
            map(float, re.search(r'<text[^>]* x="([-\d.]+)" y="([-\d.]+)"', each).groups()) for each in (edge, box)
        )
        assert abs(x - u) < 120 and abs(y - v) < 60
    assert drawn.svg() == svg
    assert "late" not in draw(make(6)).source
