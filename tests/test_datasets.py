import math
import string

import pytest

from microgradlike.datasets import digits, moons, names


def test_digits_are_those_of_the_data_set():
    images, classes = digits()
    assert len(images) == len(classes) == 1797
    assert [classes.count(k) for k in range(10)] == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert {len(image) for image in images} == {64}
    assert {grey * 16 for image in images for grey in image} == set(range(17))
    assert classes[:12] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    first_rows = [0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0]  # of the first image, a 0
    assert [16 * grey for grey in images[0][:16]] == first_rows
    assert sum(16 * sum(image) for image in images) == 561718


def test_names_are_those_of_the_census():
    listed = names()
    assert len(listed) == len(set(listed)) == 5163
    assert listed[:5] == ["james", "john", "robert", "michael", "mary"]  # Michael 2.629 + 0.012 %, Mary 2.629 + 0.009 %
    assert {"jessie", "lynn", "zoe", "kai", "aaron"} <= set(listed)
    assert set("".join(listed)) == set(string.ascii_lowercase)
    assert {min(map(len, listed)), max(map(len, listed))} == {2, 11}
    assert sum(map(len, listed)) == 30959


def test_a_list_of_names_is_the_callers_own():
    names().clear()
    assert names()


@pytest.mark.parametrize("n", [99, 100])
def test_moons_without_noise_lie_on_two_half_circles_from_end_to_end(n):
    points, classes = moons(n, noise=0.0)
    assert (classes.count(0), classes.count(1)) == (50, n // 2)
    for (x, y), c in zip(points, classes, strict=True):
        centre = (0.0, 0.0) if c == 0 else (1.0, 0.5)
        assert math.isclose(math.dist((x, y), centre), 1.0)
        assert (y >= -1e-12) if c == 0 else (y <= 0.5 + 1e-12)
    assert points[0] == [1.0, 0.0]
    assert points[1] == [0.0, 0.5]
    (last,) = (points[i] for i in (n - 2, n - 1) if classes[i] == 0)
    assert last == pytest.approx([-1.0, 0.0])
    if n == 100:
        assert points[-1] == pytest.approx([2.0, 0.5])


def test_moons_repeat_with_their_seed():
    assert moons(10, seed=3) == moons(10, seed=3) != moons(10, seed=4)
    assert moons(1)[1] == [0]
    assert moons(0) == ([], [])
