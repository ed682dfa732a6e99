"""The explanation is the backward pass, bit for bit, and its table says so."""

import io
from struct import pack
from textwrap import dedent
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optional import optional

import microgradlike
import microgradlike.view.table
from microgradlike import Value, affine, constant, draw, explain, maximum, nn, operation, ops, steps
from microgradlike import sum as sum_of

Console = optional("rich.console").Console
wcswidth = optional("wcwidth").wcswidth


def labelled(node, label):
    node.label = label
    return node


def neuron():
    w, x, b = Value(2.0, "w"), Value(-1.0, "x"), Value(0.5, "b")
    return labelled(labelled(w * x + b, "z").sigmoid(), "L")


def shared():
    a, b = Value(-2.0, "a"), Value(3.0, "b")
    return labelled(labelled(a * b, "d") * labelled(a + b, "e"), "f")


# ── The numbers are those of backward() ────────────────────────────────────────────────────────


OPERATIONS = [
    lambda a, b, c: a * c,
    lambda a, b, c: c - a,
    lambda a, b, c: a / c,
    lambda a, b, c: a.tanh(),
    lambda a, b, c: a * a,
    lambda a, b, c: a**c,
    lambda a, b, c: maximum(a, b),
    lambda a, b, c: affine([a, c, b], [b, a, a], c),
]


@st.composite
def graphs(draw):
    """A graph with shared nodes, squares, constants, and numbers that must be rounded."""
    floats = st.floats(-3, 3)
    nodes = [Value(draw(floats)) for _ in range(draw(st.integers(1, 3)))]
    for _ in range(draw(st.integers(0, 12))):
        a, b = (draw(st.sampled_from(nodes)) for _ in "ab")
        c = draw(st.sampled_from([b, draw(floats)]))
        nodes.append(draw(st.sampled_from(OPERATIONS))(a, b, c))
    return nodes[-1]


def bits(x):
    return pack("d", x)


@given(graphs())
def test_every_number_is_that_of_backward(root):
    explanation = explain(root)
    assert all(not step.node.has_grad for step in explanation.steps)
    root.backward()
    for step in explanation.steps:
        if step.node.op is ops.CONSTANT:  # which keeps none
            assert not step.node.has_grad
        elif step.upstream == step.upstream:
            assert bits(step.upstream) == bits(step.node.grad)
        else:
            assert step.node.grad != step.node.grad
        assert step.data is step.node.data
        assert tuple(term.input for term in step.terms) == step.node.inputs
        assert tuple(term.local_grad for term in step.terms) == step.node.local_grads
        assert [term.position for term in step.terms] == list(range(len(step.terms)))
        assert {term.upstream for term in step.terms} <= {step.upstream}


@given(graphs(), st.data())
def test_a_part_has_the_ways_that_are_asked_for_with_the_gradients_of_the_whole(root, data):
    def reads(node):
        return node in only or any(map(reads, node.inputs))

    whole = explain(root)
    only = set(data.draw(st.lists(st.sampled_from([step.node for step in whole.steps]), max_size=3)))
    part = explain(root, only=only)
    assert [step.node for step in part.steps] == [s.node for s in whole.steps if s.node is root or reads(s.node)]
    kept = {step.node: step for step in part.steps}
    for step in whole.steps:
        if step.node in kept:
            same = kept[step.node]
            assert (bits(same.upstream), same.name, same.definition) == (
                bits(step.upstream),
                step.name,
                step.definition,
            )
            assert [(t.position, repr(t.after)) for t in same.terms] == [
                (t.position, repr(t.after)) for t in step.terms if t.input in kept
            ]
    assert part.leaves == [kept[step.node] for step in whole.leaves if step.node in kept]
    assert str(part).startswith(str(whole).splitlines()[0])


@given(graphs())
def test_contributions_add_up(root):
    explanation = explain(root)
    for step in explanation.steps:
        total = None
        for term in explanation.ledger[step.node]:
            assert term.input is step.node and term.before is total
            assert repr(term.product) == repr(term.upstream * term.local_grad)
            assert repr(term.after) == repr((total or 0.0) + term.product)
            total = term.after
        assert step.node is root or total is step.upstream


def test_steps_run_backward_and_forward():
    explanation = explain(shared())
    assert [step.name for step in explanation.steps] == ["f", "e", "d", "b", "a"]
    assert [step.name for step in explanation.forward] == ["a", "b", "d", "e", "f"]
    assert [step.name for step in explanation.leaves] == ["a", "b"]
    assert [(step.definition, step.constant) for step in explanation.steps] == [
        ("d·e", False), ("a + b", False), ("a·b", False), ("", False), ("", False),
    ]  # fmt: skip
    first = explanation.steps[0].terms[0]
    assert (first.name, first.position, first.formula, first.constant) == ("d", 0, "e", False)


def test_constants_are_there_and_marked():
    explanation = explain(Value(-3.0, "x") ** 2)
    x, two = explanation.steps[0].terms
    assert (x.constant, two.constant, two.name) == (False, True, "2")
    assert two.local_grad != two.local_grad  # −3² · log(−3): no number, and no table shows it
    assert "nan" not in str(explanation)
    assert [step.constant for step in explanation.steps] == [False, False, True]


def test_explaining_leaves_no_trace():
    root = shared()
    root.backward()
    grads = [v.grad for v in microgradlike.topological_order(root)]
    explain(root)
    assert [v.grad for v in microgradlike.topological_order(root)] == grads


def test_data_changed_later_does_not_change_an_explanation():
    root = neuron()
    explanation = explain(root)
    before = str(explanation)
    for leaf in explanation.leaves:
        leaf.node.data = 77.0
    assert str(explanation) == before


def test_a_part_within_the_graph_ends_where_it_begins():
    root = shared()
    d, _ = root.inputs
    table = """\
        f = d·e = -6

           gradient, and what it hands on     function, local derivative
         1 ∂f/∂f = 1                          f = d·e = -6
           ∂f/∂d += ∂f/∂f · ∂₁f = 1 × 1 = 1   ∂₁f = e
         2 ∂f/∂d = 1                          d = a·b = -6"""
    assert str(explain(root, only=[d])) == dedent(table)
    assert len(explain(root, only=[]).steps) == 1
    for view in (explain, draw, steps):
        with pytest.raises(ValueError, match="is not in the graph: `only` takes nodes that the result depends on"):
            view(root, only=[d, Value(1.0, "stranger")])


@pytest.mark.parametrize("wrong", [1.0, [Value(1.0)], None, "x"])
def test_only_a_value_can_be_explained(wrong):
    with pytest.raises(TypeError, match="expected the Value to start from, such as a loss, got"):
        explain(wrong)


def test_the_name_is_the_function_whatever_is_imported():
    import microgradlike.view.explanation

    assert microgradlike.explain is explain


# ── The table ──────────────────────────────────────────────────────────────────────────────────

own = operation("own", lambda xp, a, b: a * b, lambda xp, y, a, b: (b if a > 0 else -b, a))  # a Python `if`: no formula

TABLES = {
    "neuron": (
        neuron,
        """
        L = σ(z) = 0.1824

           gradient, and what it hands on                   function, local derivative
         1 ∂L/∂L = 1                                        L = σ(z) = 0.1824
           ∂L/∂z += ∂L/∂L · ∂₁L = 1 × 0.1491 = 0.1491       ∂₁L = σ(z)·(1 − σ(z))
         2 ∂L/∂z = 0.1491                                   z = v₁ + b = -1.5
           ∂L/∂v₁ += ∂L/∂z · ∂₁z = 0.1491 × 1 = 0.1491      ∂₁z = 1
           ∂L/∂b += ∂L/∂z · ∂₂z = 0.1491 × 1 = 0.1491       ∂₂z = 1
         3 ∂L/∂v₁ = 0.1491                                  v₁ = w·x = -2
           ∂L/∂w += ∂L/∂v₁ · ∂₁v₁ = 0.1491 × -1 = -0.1491   ∂₁v₁ = x
           ∂L/∂x += ∂L/∂v₁ · ∂₂v₁ = 0.1491 × 2 = 0.2983     ∂₂v₁ = w

        Leaves
           ∂L/∂w = -0.1491                                  w = 2
           ∂L/∂x = 0.2983                                   x = -1
           ∂L/∂b = 0.1491                                   b = 0.5
        """,
    ),
    "shared": (
        shared,
        """
        f = d·e = -6

           gradient, and what it hands on       function, local derivative
         1 ∂f/∂f = 1                            f = d·e = -6
           ∂f/∂d += ∂f/∂f · ∂₁f = 1 × 1 = 1     ∂₁f = e
           ∂f/∂e += ∂f/∂f · ∂₂f = 1 × -6 = -6   ∂₂f = d
         2 ∂f/∂e = -6                           e = a + b = 1
           ∂f/∂a += ∂f/∂e · ∂₁e = -6 × 1 = -6   ∂₁e = 1
           ∂f/∂b += ∂f/∂e · ∂₂e = -6 × 1 = -6   ∂₂e = 1
         3 ∂f/∂d = 1                            d = a·b = -6
           ∂f/∂a += ∂f/∂d · ∂₁d = 1 × 3 = 3     ∂₁d = b
           ∂f/∂a  = -6 + 3 = -3                 running sum
           ∂f/∂b += ∂f/∂d · ∂₂d = 1 × -2 = -2   ∂₂d = a
           ∂f/∂b  = -6 + -2 = -8                running sum

        Leaves
           ∂f/∂a = -3                           a = -2
           ∂f/∂b = -8                           b = 3
        """,
    ),
    "squared": (
        lambda: labelled((lambda x: x * x)(Value(3.0, "x")), "y"),
        """
        y = x·x = 9

           gradient, and what it hands on     function, local derivative
         1 ∂y/∂y = 1                          y = x·x = 9
           ∂y/∂x += ∂y/∂y · ∂₁y = 1 × 3 = 3   ∂₁y = x
           ∂y/∂x += ∂y/∂y · ∂₂y = 1 × 3 = 3   ∂₂y = x
           ∂y/∂x  = 3 + 3 = 6                 running sum

        Leaves
           ∂y/∂x = 6                          x = 3
        """,
    ),
    "power": (
        lambda: Value(-3.0, "x") ** 2,
        """
        L = x² = 9

           gradient, and what it hands on       function, local derivative
         1 ∂L/∂L = 1                            L = x² = 9
           ∂L/∂x += ∂L/∂L · ∂₁L = 1 × -6 = -6   ∂₁L = 2·x

        Leaves
           ∂L/∂x = -6                           x = -3
        """,
    ),
    "leaf": (
        lambda: Value(3.0, "x"),
        """
        x = 3

        Leaves
           ∂x/∂x = 1   x = 3
        """,
    ),
    "constants": (
        lambda: constant(3.0) * 2,
        """
        L = 3·2 = 6

           gradient, and what it hands on   function, local derivative
         1 ∂L/∂L = 1                        L = 3·2 = 6

        No leaf but constants: nothing to compute a gradient for
        """,
    ),
    "not_finite": (
        lambda: Value(0.0, "x") * Value(float("inf"), "y") + 1,
        """
        L = x·y + 1 = nan

           gradient, and what it hands on           function, local derivative
         1 ∂L/∂L = 1                                L = v₁ + 1 = nan
           ∂L/∂v₁ += ∂L/∂L · ∂₁L = 1 × 1 = 1        ∂₁L = 1
         2 ∂L/∂v₁ = 1                               v₁ = x·y = nan
           ∂L/∂x += ∂L/∂v₁ · ∂₁v₁ = 1 × inf = inf   ∂₁v₁ = y
           ∂L/∂y += ∂L/∂v₁ · ∂₂v₁ = 1 × 0 = 0       ∂₂v₁ = x

        Leaves
           ∂L/∂x = inf                              x = 0
           ∂L/∂y = 0                                y = inf
        """,
    ),
    "own": (
        lambda: own(Value(2.0, "p"), Value(2.0, "p")),
        """
        L = own(p⁽¹⁾, p⁽²⁾) = 4

           gradient, and what it hands on        function, local derivative
         1 ∂L/∂L = 1                             L = own(p⁽¹⁾, p⁽²⁾) = 4
           ∂L/∂p⁽¹⁾ += ∂L/∂L · ∂₁L = 1 × 2 = 2   ∂₁L
           ∂L/∂p⁽²⁾ += ∂L/∂L · ∂₂L = 1 × 2 = 2   ∂₂L

        Leaves
           ∂L/∂p⁽¹⁾ = 2                          p⁽¹⁾ = 2
           ∂L/∂p⁽²⁾ = 2                          p⁽²⁾ = 2
        """,
    ),
    "affine64": (
        lambda: labelled(affine([Value(i / 64, f"w{i}") for i in range(64)], [0.5] * 64, Value(1.0, "b")), "z").tanh(),
        """
        L = tanh(z) = 1

             gradient, and what it hands on
                function, local derivative
           1 ∂L/∂L = 1                                              L = tanh(z) = 1
             ∂L/∂z += ∂L/∂L · ∂₁L = 1 × 1.13e-14 = 1.13e-14         ∂₁L = 1 − tanh(z)²
           2 ∂L/∂z = 1.13e-14
                z = w0·0.5 + w1·0.5 + … + w63·0.5 + b = 16.75
             ∂L/∂w0 += ∂L/∂z · ∂₁z = 1.13e-14 × 0.5 = 5.652e-15     ∂₁z = 0.5
             ∂L/∂w1 += ∂L/∂z · ∂₂z = 1.13e-14 × 0.5 = 5.652e-15     ∂₂z = 0.5
             ∂L/∂w2 += ∂L/∂z · ∂₃z = 1.13e-14 × 0.5 = 5.652e-15     ∂₃z = 0.5
             ∂L/∂w3 += ∂L/∂z · ∂₄z = 1.13e-14 × 0.5 = 5.652e-15     ∂₄z = 0.5
             ∂L/∂w4 += ∂L/∂z · ∂₅z = 1.13e-14 × 0.5 = 5.652e-15     ∂₅z = 0.5
             … 57 more inputs (explain(…, full=True) shows them all)
             ∂L/∂w62 += ∂L/∂z · ∂₆₃z = 1.13e-14 × 0.5 = 5.652e-15   ∂₆₃z = 0.5
             ∂L/∂w63 += ∂L/∂z · ∂₆₄z = 1.13e-14 × 0.5 = 5.652e-15   ∂₆₄z = 0.5
             ∂L/∂b += ∂L/∂z · ∂₁₂₉z = 1.13e-14 × 1 = 1.13e-14       ∂₁₂₉z = 1

        Leaves
             ∂L/∂w0 = 5.652e-15                                     w0 = 0
             ∂L/∂w1 = 5.652e-15                                     w1 = 0.01562
             ∂L/∂w2 = 5.652e-15                                     w2 = 0.03125
             ∂L/∂w3 = 5.652e-15                                     w3 = 0.04688
             ∂L/∂w4 = 5.652e-15                                     w4 = 0.0625
             … 57 more leaves (explain(…, full=True) shows them all)
             ∂L/∂w62 = 5.652e-15                                    w62 = 0.9688
             ∂L/∂w63 = 5.652e-15                                    w63 = 0.9844
             ∂L/∂b = 1.13e-14                                       b = 1
        """,
    ),
    "long_labels": (
        lambda: Value(1.0, "layer1.attention.query.weight") / Value(-3.0, "x+y") * -2.0,
        """
        L = (layer1.att…ry.weight/(x+y))·(-2) = 0.6667

           gradient, and what it hands on      function, local derivative
         1 ∂L/∂L = 1                           L = v₁·(-2) = 0.6667
           ∂L/∂v₁ += ∂L/∂L · ∂₁L = 1 × -2 = -2
                                               ∂₁L = -2
         2 ∂L/∂v₁ = -2                         v₁ = layer1.att…ry.weight/(x+y) = -0.3333
           ∂L/∂layer1.att…ry.weight += ∂L/∂v₁ · ∂₁v₁ = -2 × -0.3333 = 0.6667
                                               ∂₁v₁ = 1/(x+y)
           ∂L/∂(x+y) += ∂L/∂v₁ · ∂₂v₁ = -2 × -0.1111 = 0.2222
                                               ∂₂v₁ = −layer1.att…ry.weight/(x+y)²

        Leaves
           ∂L/∂layer1.att…ry.weight = 0.6667   layer1.att…ry.weight = 1
           ∂L/∂(x+y) = 0.2222                  x+y = -3
        """,
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_table(name):
    make, expected = TABLES[name]
    assert str(explain(make())) + "\n" == dedent(expected).lstrip("\n")


def chain(length):
    node = Value(1.0, "x")
    for _ in range(length):
        node = node.sin()
    return node


def test_a_long_pass_shows_its_ends_and_says_how_to_see_the_rest():
    text = str(explain(chain(1000)))
    assert "… steps 6 to 997 of 1,000 left out (explain(…, full=True) shows them all)" in text
    assert [line.split()[0] for line in text.splitlines() if line[:6].strip()][1:-1] == [
        "1", "2", "3", "4", "5", "998", "999", "1,000",
    ]  # fmt: skip
    full = str(explain(chain(1000), full=True))
    assert "left out" not in full and full.count("+=") == 1000


def test_all_of_many_inputs_with_full():
    node = sum_of([Value(i, f"x{i}") for i in range(100)])
    assert "… 92 more inputs" in str(explain(node)) and "… 92 more leaves" in str(explain(node))
    assert str(explain(node, full=True)).count("+=") == 100


def test_no_recursion_on_a_graph_of_a_hundred_thousand_nodes():
    explanation = explain(chain(100_000))
    assert len(explanation.steps) == 100_001
    assert len(str(explanation).splitlines()) < 40
    assert explanation.steps[-1].upstream == explanation.steps[-2].terms[0].after


HOSTILE = '</td><script>alert("1")</script>&\x1b[31m\n'


@pytest.mark.parametrize("label", ["σ′", "w²₁₃", "重み", "🙂", "w\u0301", "a+b"])
def test_columns_line_up(label):
    lines = str(explain(labelled(Value(2.0, label) * Value(3.0, "y"), "L"))).splitlines()
    starts = [wcswidth(line[: line.rindex("   ") + 3]) for line in lines[2:6]]
    assert len(set(starts)) == 1


@pytest.mark.parametrize("label", ["w", "重み" * 5, "a weight, described at some length", HOSTILE])
def test_lines_stay_within_80_cells(label):
    root = labelled(Value(2.0, label) * Value(3.0, "y") + 1.0, label).sigmoid() * -1e-300
    assert all(wcswidth(line) in range(81) for line in str(explain(root)).splitlines())


def test_html_shows_labels_as_text():
    page = ElementTree.fromstring(explain(Value(2.0, HOSTILE[:16]) * 3.0)._repr_html_())
    attributes = {attribute for tag in page.iter() for attribute in tag.attrib}
    assert attributes <= {"style", "colspan", "tabindex"}
    assert not {tag.tag for tag in page.iter()} & {"script", "style"}
    assert any(HOSTILE[:16] in "".join(cell.itertext()) for cell in page.iter("td"))


@given(graphs())
def test_html_says_what_the_text_says(root):
    explanation = explain(root, full=True)
    page = ElementTree.fromstring(explanation._repr_html_())
    cells = ["".join("".join(cell.itertext()).split()) for cell in page.iter("td")]
    assert "".join(cells) == "".join(str(explanation).split())


@pytest.mark.parametrize("width", [40, 80, 200])
def test_rich_shows_the_same_table_in_colour(width):
    screen = io.StringIO()
    Console(file=screen, width=width, force_terminal=True, color_system="256", legacy_windows=False).print(
        explain(shared())
    )
    assert "\x1b[38;5;166m∂f/∂e" in screen.getvalue()
    plain = io.StringIO()
    Console(file=plain, width=width).print(explain(shared()))
    assert "".join(plain.getvalue().split()) == "".join(str(explain(shared())).split())
    assert all(wcswidth(line) <= min(width, 100) for line in plain.getvalue().splitlines())


def test_rows_of_one_step():
    explanation = explain(shared())
    table = microgradlike.view.table.Table(explanation.rows(explanation.steps[1], "2"))
    assert str(table).splitlines()[0] == " 2 ∂f/∂e = -6                           e = a + b = 1"
    (term, _) = explanation.steps[1].terms
    assert "".join(text for text, _ in explanation.chain_rule(term)) == "∂f/∂a += ∂f/∂e · ∂₁e = -6 × 1 = -6"
    assert explanation.running_sum(term) == []
    term = explanation.steps[2].terms[0]
    assert "".join(text for text, _ in explanation.running_sum(term)) == "∂f/∂a  = -6 + 3 = -3"
    assert repr(explanation.steps[1]).endswith("after=-6.0)))")  # not with the names of the whole graph


def test_the_samples_of_a_minibatch_are_told_apart():
    model = nn.MLP(1, [2, 1], "tanh", "tanh", seed=0)
    it = explain(sum_of(nn.quadratic(model([x]), y) for x, y in ((0.1, 0.5), (0.2, -0.5))))
    named = {step.name: step for step in it.steps}
    assert named["L"].definition == "C⁽¹⁾ + C⁽²⁾"
    assert len(named) == len({step.node for step in it.steps if not step.constant or step.node.label}) + 1  # and 0.5
    for i, x in (("⁽¹⁾", 0.1), ("⁽²⁾", 0.2)):
        assert named[f"z¹₂{i}"].definition == f"w¹₂₁·x₁{i} + b¹₂"
        assert named[f"x₁{i}"].data == x
    assert "w²₁₁" in named


def test_numbers_are_those_of_the_recording_after_a_training_step():
    w, b, x = Value(2.0, "w"), Value(0.5, "b"), Value(3.0, "x")
    L = (w * x + b - 1.0) ** 2
    L.backward()
    before, drawn, page = str(explain(L)), draw(L), steps(L).data
    nn.SGD([w], lr=0.1).step()
    it = explain(L)
    assert it.note == "w was 2 and is -1.3 now: the numbers here are those of the recording."
    lines = str(it).splitlines()
    assert [lines[0], *lines[2:]] == before.splitlines()  # the note is the second
    assert lines[1] == it.note
    assert all(part in draw(L).source for part in ("w was 2 and is -1.3 now", "of the recording."))
    assert list(draw(L).titles.values()) == list(drawn.titles.values())
    assert steps(L).data == page
    b.data, x.data = 7.0, 4.0
    assert explain(L).note == (
        "w was 2 and is -1.3 now, x was 3 and is 4 now, b is 7 now: the numbers here are those of the recording, "
        "but for that of b, which it has not kept."
    )
    w.data, x.data, b.data = 2.0, 3.0, 0.5
    assert str(explain(L)) == before


def test_many_changed_numbers_are_abbreviated():
    model = nn.MLP(4, [3, 2], "tanh", "tanh", seed=0)
    C = nn.quadratic(model([0.1, 0.2, 0.3, 0.4]), [0.0, 1.0])
    C.backward()
    nn.SGD(model.parameters(), lr=0.1).step()
    note = explain(C).note
    assert note.startswith("w¹₁₁ was ")
    assert note.count(" was ") == 3 and "now, and 20 more: " in note
    assert max(map(len, str(explain(C)).splitlines()[:4])) <= 80
    z = Value(1.0, "z")
    y = z.exp() + z
    z.data = 1.0
    assert explain(y).note == ""
    z.data = 2.0
    assert explain(y).note.startswith("z is 2 now")
