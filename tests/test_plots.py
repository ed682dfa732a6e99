"""The pictures of training show the numbers that they are given."""

import pytest

from microgradlike.view.plots import digit_sheet, loss_curve, save


@pytest.mark.parametrize("n, window", [(1, 1), (19, 1), (39, 1), (40, 2), (100, 5)])
def test_the_curve_shows_every_loss_and_the_mean_of_the_last_twentieth(n, window):
    losses = [1.0 + (7 * i) % 5 for i in range(n)]
    (axes,) = loss_curve(losses, "moons").axes
    each, mean = axes.lines
    assert list(each.get_xdata()) == list(mean.get_xdata()) == list(range(1, n + 1))
    assert list(each.get_ydata()) == losses
    last = [losses[max(0, i - window) : i] for i in range(1, n + 1)]
    assert list(mean.get_ydata()) == pytest.approx([sum(some) / len(some) for some in last])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["each step", f"mean of {window} steps"]
    assert (axes.get_title(), axes.get_yscale(), axes.get_xlabel()) == ("moons", "log", "step")
    assert [axes.spines[side].get_visible() for side in ("top", "right", "bottom")] == [False, False, True]
    assert n == 1 or all(tick == int(tick) for tick in axes.get_xticks())


def test_the_sheet_shows_every_digit_and_frames_the_wrong_ones():
    images = [[(i + j) % 17 / 16 for j in range(64)] for i in range(13)]
    classes = [i % 10 for i in range(13)]
    predicted = [9 if i == 3 else c for i, c in enumerate(classes)]
    figure = digit_sheet(images, predicted, classes)
    assert figure.get_suptitle() == "13 digits and what the network takes them for: 1 wrong, framed"
    assert len(figure.axes) == 20
    for i, axes in enumerate(figure.axes):
        assert len(axes.get_xticks()) == len(axes.get_yticks()) == 0
        assert axes.axison == bool(axes.images) == (i < 13)
    for i, axes in enumerate(figure.axes[:13]):
        assert axes.images[0].get_array().flatten().tolist() == images[i] and axes.images[0].get_clim()[0] == 0
        assert axes.get_title() == ("9, is 3" if i == 3 else str(classes[i]))
        assert axes.spines["left"].get_visible() == (i == 3)
        assert (axes.title.get_color() == "black") == (i != 3)


@pytest.mark.parametrize(
    "name, begins", [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF"), ("a", b"\x89PNG")]
)
def test_a_figure_is_saved_in_the_format_that_the_suffix_names(tmp_path, name, begins):
    path = save(loss_curve([1.0, 0.5], "a"), tmp_path / name)
    assert path == tmp_path / name and path.read_bytes().startswith(begins)
