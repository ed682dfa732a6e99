"""The film of the two passes: what it shows at each moment is what `explain` says, read in a browser."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from microgradlike import Value, steps
from microgradlike import sum as sum_of
from microgradlike.notation.digits import format_number
from microgradlike.view.animation import BACKWARD, END, FORWARD, START
from microgradlike.view.explanation import explain

PICTURE = Path(__file__).parents[1] / "notebooks/pictures/backward.svg"
VISIBLE = """() => [...document.querySelectorAll("text")].filter(e => getComputedStyle(e).opacity !== "0")
    .map(e => e.textContent)"""


def example():
    """The expression at the top of the README."""
    w, x, b = Value(2.0, "w"), Value(3.0, "x"), Value(-5.0, "b")
    z = w * x + b
    a = z.relu()
    e = a - 3
    L = e * e
    z.label, a.label, e.label, L.label = "z", "a", "e", "L"
    return L


@pytest.fixture
def film(browse, tmp_path):
    """A page with the film in it, and a function that winds it to a second and says what text is visible."""

    def play(loss, **settings):
        page = browse(**settings)
        page.set_content(f"<body>{steps(loss).save(tmp_path / 'film.svg').read_text(encoding='utf-8')}")

        def visible(second):
            page.evaluate(
                "ms => document.getAnimations().forEach(each => { each.pause(); each.currentTime = ms; })",
                second * 1000,
            )
            return page.evaluate(VISIBLE)

        return page, visible

    return play


@pytest.mark.browser
def test_every_moment_shows_the_numbers_of_explain(film):
    loss = example()
    it = explain(loss)
    _, visible = film(loss)
    forward = [step for step in it.forward if step.terms]
    backward = [step for step in it.steps if step.terms]
    known = {step.node: format_number(step.data) for step in it.steps if not step.terms}

    def numbers(gradients):
        nodes = [step for step in it.steps if not step.constant]
        return sorted(
            [known.get(step.node, "–") for step in nodes] + [f"∇ {gradients.get(step.node, '–')}" for step in nodes]
        )

    def shown(second):
        texts = visible(second)
        return sorted(text for text in texts if re.fullmatch(r"(∇ )?(–|-?[\d.]+)", text)), "\n".join(texts)

    edges = [format_number(term.local_grad) for step in it.steps for term in step.terms]
    constants = [format_number(step.data) for step in it.steps if step.constant]

    def check(second, gradients, *lines):
        texts, said = shown(second)
        assert texts == sorted(numbers(gradients) + edges + constants)
        for line in lines:
            assert line in said

    check(0.1, {})
    for i, step in enumerate(forward):
        known[step.node] = format_number(step.data)
        check(START + i * FORWARD + 0.1, {}, f"{step.name} = {step.definition} = {known[step.node]}")
    begin = START + len(forward) * FORWARD
    gradients = {loss: "1"}
    check(begin + 0.1, gradients, "∂L/∂L = 1")
    for i, step in enumerate(backward, start=1):
        gradients |= {term.input: format_number(term.after) for term in step.terms}
        lines = ["".join(piece for piece, _ in it.chain_rule(term)) for term in step.terms if not term.constant]
        check(begin + i * BACKWARD + 0.1, gradients, *lines)
    check(begin + (len(backward) + 1) * BACKWARD + END - 0.1, gradients)


@pytest.mark.browser
def test_where_nothing_may_move_the_end_is_shown(film, screenshot):
    page, _ = film(example(), reduced_motion="reduce")
    assert page.evaluate("document.getAnimations().length") == 0
    texts = page.evaluate(VISIBLE)
    assert "∇ -12" in texts
    assert "∇ –" not in texts
    screenshot(page, "film-end")


@pytest.mark.browser
def test_it_plays_in_an_image(browse, tmp_path, screenshot):
    page = browse(steps(example()).save(tmp_path / "film.svg").parent.as_uri())
    page.goto((tmp_path / "film.svg").as_uri())
    (tmp_path / "page.html").write_text("<img src='film.svg'>", encoding="utf-8")
    page.goto((tmp_path / "page.html").as_uri())
    box = page.locator("img").bounding_box()
    assert box["width"] > 300
    first = page.locator("img").screenshot()
    page.wait_for_timeout(2000)
    assert page.locator("img").screenshot() != first
    screenshot(page, "film")


def test_it_is_one_well_formed_file_without_script():
    svg = ElementTree.fromstring(steps_text())
    tags = {element.tag.rpartition("}")[2] for element in svg.iter()}
    assert tags <= {"svg", "g", "title", "path", "polygon", "text", "tspan", "style", "rect"}


@pytest.mark.parametrize("n", [3, 4, 5, 7])
def test_four_lines_are_shown_or_three_and_how_many_more(n, tmp_path):
    total = sum_of([Value(float(i), f"x{i}") for i in range(n)])
    film = steps(total).save(tmp_path / "film.svg").read_text(encoding="utf-8")
    assert (f"and {n - 3} lines more" in film) == (n > 4)


def test_hostile_labels_are_text(tmp_path):
    a = Value(1.0, "</style><script>x")
    svg = ElementTree.fromstring(steps(a * a).save(tmp_path / "a.svg").read_text(encoding="utf-8"))
    assert not [element for element in svg.iter() if element.tag.endswith("script")]
    assert "</style><script>x" in "".join(svg.itertext())


def test_the_film_in_the_readme_is_that_of_the_example():
    film = steps_text()
    assert re.findall(r">([^<>]+)</t", PICTURE.read_text(encoding="utf-8")) == re.findall(r">([^<>]+)</t", film)


def steps_text():
    from microgradlike.view.animation import animate

    result = steps(example())
    return animate(result.explanation, result.views[-1][2], {node: i for i, node in enumerate(result.order)})
