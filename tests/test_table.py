"""A table lines up in the terminal, never takes a label for markup, and leaks no style."""

import io
import sys
from unicodedata import category
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optional import optional

from microgradlike import Value, explain
from microgradlike.view.table import GAP, INDENT, STYLES, Table, clean, text_width

Console = optional("rich.console").Console
cell_len = optional("rich.cells").cell_len
wcswidth = optional("wcwidth").wcswidth


def row(*texts):
    return [[(text, "")] for text in texts]


def test_second_cells_stand_in_a_column():
    assert str(Table([row("a title that is longer than the cells"), row("a", "1"), [], row("bbb", "2")])) == (
        "a title that is longer than the cells\na     1\n\nbbb   2"
    )


@pytest.mark.parametrize("label", ["σ", "w²₁₃", "日本", "🙂", "é", "e\u0301", "👩‍🔬"])
def test_columns_line_up_whatever_the_label(label):
    lines = str(Table([row(label, "|"), row("abcdef", "|")])).splitlines()
    assert [wcswidth(line) for line in lines] == [6 + GAP + 1] * 2


def test_every_character_takes_as_many_cells_as_rich_gives_it():
    categories = ((character, category(character)) for character in map(chr, range(sys.maxunicode + 1)))
    shown = [character for character, of in categories if of[0] != "C" and of not in ("Zl", "Zp")]
    assert [each for each in shown if text_width(each) != cell_len(each)] == []
    emoji = [each for each in shown if cell_len(f"{each}\ufe0f") != cell_len(each)]
    assert len(emoji) > 200 and [each for each in emoji if text_width(f"{each}\ufe0f") != 2] == []


@given(
    st.lists(
        st.sampled_from(
            ["a", "∂", "w²", "日", "한", "각", "e\u0301", "👍🏽", "🇩🇪", "❤\ufe0f", "1\ufe0f\u20e3", "👩\u200d🔬"]
        )
    )
)
def test_a_text_takes_as_many_cells_as_rich_and_terminals_give_it(parts):
    text = "".join(parts)
    assert text_width(text) == cell_len(text) == wcswidth(text)


def test_what_does_not_fit_the_column_stands_in_the_next_line_in_one_of_two_columns():
    table = Table([*[row("a" * 40, "b" * 10)] * 7, row("a" * 30, "b" * 45), row("a" * 66, "b" * 20)])
    assert [line.rstrip() for line in str(table).splitlines()] == [
        *["a" * 40 + "   " + "b" * 10] * 7,
        "a" * 30,
        " " * INDENT + "b" * 45,
        "a" * 66,
        " " * 43 + "b" * 20,
    ]


def test_where_few_rows_have_room_all_second_cells_stand_below():
    table = Table([*[row("a" * 40, "b" * 10)] * 3, *[row("a" * 50, "b" * 40)] * 3])
    assert [line.index("b") for line in str(table).splitlines() if "b" in line] == [INDENT] * 6


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1),
    st.sampled_from([40, 60, 80, 120]),
)
def test_second_cells_never_zigzag(sizes, width):
    table = Table([row("a" * a, "b" * b) for a, b in sizes])
    starts = {"".join(text for text, _ in line).find("b") for line in table.lines(width)} - {-1}
    assert len(starts - {INDENT}) <= 1


def test_the_column_suits_most_rows():
    table = Table([*[row("a" * 20, "b" * 20)] * 5, row("a" * 60, "b")])
    assert str(table).splitlines()[0].index("b") == 20 + GAP


def test_long_cells_part_before_a_space():
    cell = [("a" * 30, ""), (" = ", ""), ("b" * 30, ""), (" = ", ""), ("c" * 30, "")]
    assert str(Table([[cell]])) == "a" * 30 + " = " + "b" * 30 + "\n      = " + "c" * 30


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.sampled_from([40, 60, 80]))
def test_no_word_is_broken(sizes, width):
    words = ["w" * size for size in sizes]
    lines = ["".join(text for text, _ in line) for line in Table([[[(" ".join(words), "")]]]).lines(width)]
    assert [word for line in lines for word in line.split()] == words
    assert max(map(len, lines)) <= width


def test_a_word_longer_than_the_line_stands_alone_in_it():
    lines = Table([[[(f" {'w' * 90} = 1", "")]]]).lines(60)
    assert ["".join(text for text, _ in line).strip() for line in lines] == ["w" * 90, "= 1"]


@pytest.mark.parametrize("width", [30, 60, 80])
def test_rich_keeps_to_the_width_and_shows_the_same_text(width):
    screen = io.StringIO()
    console = Console(file=screen, width=width, force_terminal=True, color_system="256", legacy_windows=False)
    console.print(Table([[[("[red]x[/red] :smile:", "upstream")], [("y = 1", "local")]]]))
    text = Console(file=io.StringIO())
    plain = "".join(segment.text for segment in text.render(Table([row("[red]x[/red]", "y")])))
    assert "[red]x[/red]" in plain
    assert "\x1b[38;5;166m[red]x[/red] :smile:" in screen.getvalue()
    assert all(wcswidth(line) <= width for line in plain.splitlines())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb\tc", "a�b�c"),
        ("\x1b[31mred", "�[31mred"),
        ("left\u202eright", "left�right"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        ("w²₁₃ σ′", "w²₁₃ σ′"),
        ("a\u2028b\u00a0c", "a�b\u00a0c"),
        ("\ud800", "�"),
    ],
)
def test_what_would_command_a_terminal_is_shown_as_a_box(text, expected):
    assert clean(text) == expected


HOSTILE = "<script>alert(\"1\")</script>&<img src=x onerror='alert(1)'>"


def test_html_shows_labels_as_text():
    page = ElementTree.fromstring(Table([row(HOSTILE, "a  b"), [[(HOSTILE, "upstream")]]])._repr_html_())
    assert {tag.tag for tag in page.iter()} == {"div", "table", "tbody", "tr", "td", "span"}
    assert ["".join(cell.itertext()) for cell in page.iter("td")] == [HOSTILE, "a\u00a0\u00a0b", HOSTILE]


@pytest.mark.browser
def test_nbconvert_keeps_its_spaces(browse, tmp_path):
    nbformat = pytest.importorskip("nbformat.v4")
    x = Value(3.0, "x")
    table = explain(x * x + x).table()
    output = nbformat.new_output("display_data", data={"text/html": table._repr_html_()})
    notebook = nbformat.new_notebook(cells=[nbformat.new_code_cell("explain(L)", outputs=[output])])
    exporter = pytest.importorskip("nbconvert").HTMLExporter(mathjax_url="", require_js_url="", jquery_url="")
    html = exporter.from_notebook_node(notebook)[0].replace('<script src=""></script>', "")
    (tmp_path / "notebook.html").write_text(html, encoding="utf-8")
    page = browse((tmp_path / "notebook.html").as_uri())
    shown = [text.replace("\u00a0", " ") for text in page.locator("td").all_inner_texts()]
    assert shown == ["".join(text for text, _ in cell) or " " for row in table.rows for cell in row or [[]]]
    assert page.locator("td span").first.evaluate("each => getComputedStyle(each).whiteSpace") == "pre"


def test_html_has_one_span_for_neighbours_of_one_role_and_none_for_what_has_no_role():
    pieces = [("v = ", ""), ("1", "upstream"), (" × 2", "upstream"), ("3", "strong"), (" left", "")]
    cell = ElementTree.fromstring(Table([[pieces]])._repr_html_()).find(".//td")
    assert (cell.text, [(span.text, span.tail) for span in cell]) == ("v = ", [("1 × 2", None), ("3", "\u00a0left")])
    assert [span.get("style") for span in cell] == [STYLES["upstream"][1], "font-weight:bold"]


def test_html_neither_takes_on_nor_leaks_style():
    page = ElementTree.fromstring(Table([row("a", "b"), [], row("c")])._repr_html_())
    assert {attribute for tag in page.iter() for attribute in tag.attrib} == {"style", "colspan", "tabindex"}
    (scrolls,) = (tag for tag in page.iter() if tag.get("tabindex"))  # what is cut off is reached by the keyboard
    assert (scrolls.tag, scrolls.get("tabindex"), scrolls.get("style")) == ("div", "0", "overflow-x:auto")


def test_it_prints_as_itself():
    table = Table([row("a", "b")])
    assert repr(table) == str(table) == "a   b"
