"""Any text that a user gives stands as text in every output: picture, film, page, table, report and equations."""

import io
import json
import re
from collections import Counter
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from optional import optional

import microgradlike
from microgradlike import Value, affine, check_gradients, constant, draw, explain, operation, steps, vectorize
from microgradlike.testing import assert_grads
from microgradlike.view.boxes import clean_for_svg
from microgradlike.view.table import Table, terminal

np = optional("numpy")

TEXTS = [
    "a < b", "<b>", "</b>", "<br/>", ">", "&", "&lt;", "&#0;", "&nbsp;", '"', "'", '"a"', "\\", "\\N \\G \\l", "a\\", "`",
    "<!--", "-->", "]]>", "<![CDATA[", "</script>", "<script>alert(1)</script>", "</style>", "</title>", "<x", "<>", "<<x>>",
    ' id="n0"', "<svg ", '<g id="n0">', "{a|b}", "n0:p", "->", "//", "/*", "#1", "%s", "%(x)d", "{0}", "{}", "${x}", "$x$",
    "[red]x", "[/red]", "[link=x]y[/link]", ":smile:", "\x1b[31m", "\x00", "a\x07b", "\r", "\t", "two\nlines", "\n", "\u2028",
    "\ud800", "x\udcff", "\ufffe", "\U0010ffff", "\ue000", "\u202e", "\u200d", "👩‍🔬", "µ", "ﬁ", "e\u0301", "שלום", "", " ", "x" * 300,
    "None", "0", "nan", "-1", "L", "v₁", "∂L/∂x", "lambda", "x, y", "x; y", "__proto__", "constructor",
]  # fmt: skip
SVG = "{http://www.w3.org/2000/svg}"


def ids(texts):
    return [ascii(text)[:24] for text in texts]


def everywhere(text):
    """A graph, and what to draw it with, where the text stands wherever a user's text can stand."""
    own = operation(text, lambda xp, x: 2.0 * x, lambda xp, y, x: 2.0, symbol=text)
    x, w, b, c = Value(1.0, text), Value(2.0, text), Value(3.0, "b"), constant(4.0)
    c.label = text
    z = affine([w], [x * c], b)
    z.label = text
    y = own(z)
    root = y * y
    root.label = text
    root.backward()
    group = {x: text, w: (text, text), z: ("outer", text), y: ("closed", text)}
    options = {
        "grad": dict.fromkeys(microgradlike.topological_order(root), text),
        "clusters": group.get,
        "closed": [("closed", text)],
        "color_by": lambda node: text,
    }
    return root, [x, w, b], options


def shown(text):
    """The text as far as a box has room for it, in lines."""
    text = text if len(text) <= 40 else text[:39] + "…"
    return [line for line in clean_for_svg(text).split("\n") if line.strip()]


def texts(svg):
    return Counter("".join(element.itertext()) for element in svg.iter(f"{SVG}text"))


def test_only_what_no_svg_may_hold_is_replaced():
    assert clean_for_svg("a\x1b\tb\n\uffff\ud800\u200b\u2028é🙂") == "a��b\n��\u200b\u2028é🙂"
    assert clean_for_svg("a\nb") == "a\nb" and clean_for_svg("\0") == "�"


@pytest.mark.parametrize("text", TEXTS, ids=ids(TEXTS))
def test_a_picture_shows_it_in_every_place(text, tmp_path):
    root, _, options = everywhere(text)
    drawn = draw(root, **options)
    svg = ElementTree.fromstring(drawn.save(tmp_path / "x.svg").read_bytes())
    found = texts(svg)
    for line in shown(text):
        # the leaf, the constant and z; the symbol of the operation; the root; two groups and one within
        # another; the legend. And after ∇, or on its own line, the gradient of five nodes.
        assert sum(n for words, n in found.items() if line in words) >= 9
    names = {element.tag.removeprefix(SVG) for element in svg.iter()}
    assert names <= {"svg", "g", "title", "path", "polygon", "polyline", "ellipse", "text"}
    drawn.save(tmp_path / "x.dot").read_text(encoding="utf-8")
    assert not re.search(r"[^\S ]|\x1b", repr(drawn).replace("\n", ""))
    json.dumps(drawn._repr_mimebundle_(), ensure_ascii=False).encode()


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg", ".dot"])
@pytest.mark.parametrize("fold", [True, False])
def test_every_format_can_show_all_of_them(suffix, fold, tmp_path):
    x = [Value(1.0, text) for text in TEXTS]
    loss = affine(x, [Value(2.0, text) for text in TEXTS], 1.0)
    assert draw(loss, fold=fold, max_terms=999, max_nodes=999).save(tmp_path / f"x{suffix}").stat().st_size > 1000


class Tags(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = Counter(), ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("text", TEXTS, ids=ids(TEXTS))
def test_the_film_and_the_page_hold_it_as_text(text, tmp_path):
    root, _, options = everywhere(text)
    plain, _, _ = everywhere("plain")
    color_by = {"color_by": options["color_by"]}
    film = ElementTree.parse(steps(root, **color_by).save(tmp_path / "film.svg")).getroot()
    names = {element.tag.removeprefix(SVG) for element in film.iter()}
    assert names <= {"svg", "g", "title", "path", "polygon", "text", "tspan", "style", "rect"}
    page = steps(root, **color_by)
    saved = page.save(tmp_path / "page.html").read_text(encoding="utf-8")
    assert Tags(saved).tags == Tags(steps(plain, **color_by).document()).tags
    bundle = page._repr_mimebundle_()
    assert bundle["text/plain"] == str(page) and Tags(bundle["text/html"]).tags["div"]
    json.dumps(bundle, ensure_ascii=False).encode()
    json.dumps([page.data, page.pictures], ensure_ascii=False).encode()  # as a widget sends them


@pytest.mark.parametrize("text", TEXTS, ids=ids(TEXTS))
def test_tables_reports_and_equations_print_it_in_lines_that_a_terminal_can_take(text):
    root, parameters, _ = everywhere(text)

    def again():
        own = operation(text, lambda xp, x: 2.0 * x, lambda xp, y, x: 3.0 * x, symbol=text)
        return own(parameters[0] * parameters[1]) + parameters[2]

    with pytest.raises(AssertionError) as failed:
        assert_grads({parameters[0]: 12345.0})
    program = vectorize(root, batch=[parameters[0]])
    for shows in (explain(root), check_gradients(again, parameters), program, str(failed.value)):
        lines = str(shows).split("\n")
        assert all(line.replace("\u200d", "").isprintable() for line in lines), lines  # but what joins emoji
        str(shows).encode()
        screen = io.StringIO()
        console = terminal()
        console.file = screen
        console.print(shows)
        screen.getvalue().encode()
    html = explain(root)._repr_html_()
    assert set(Tags(html).tags) <= {"div", "table", "tbody", "tr", "td", "span"}
    html.encode()
    assert np.isfinite(program([1.0])).all()


def test_nothing_printed_to_the_terminal_is_markup(capsys):
    for text in ("[red]x", "[/red]", ":smile:", "[link=a]b[/link]", "[bold]"):
        terminal().print(text)
        terminal().print(Table([[[(text, "strong")]]]))
        assert capsys.readouterr().out == f"{text}\n{text}\n"
