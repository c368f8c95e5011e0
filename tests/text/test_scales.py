"""Working sizes, tiles, places to read closely, merging, and boxes of the map in the image."""

import itertools

import numpy as np
import pytest

from xray_debug.data.boxes import TextBox
from xray_debug.text import scales
from xray_debug.text.scales import CONTEXT, REACH, STRIDE, close_ups


@pytest.mark.parametrize("shape, sides", [
    ((100, 90), [200]), ((1, 1), [32]), ((768, 600), [768]), ((384, 20), [768]), ((1100, 700), [768]),
    ((1200, 900), [768, 1200]), ((900, 4000), [768, 1536]),
])
def test_working_sides(shape, sides):
    assert scales.working_sides(*shape) == sides


@pytest.mark.parametrize("shape", [(64, 64), (200, 64), (260, 324)])
def test_tiles_equal_the_whole_for_a_local_network(shape):
    def network(values):  # halves the resolution; looks no further than a pixel
        return values[:, ::2, ::2] + values[:, 1::2, 1::2]

    values = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    np.testing.assert_array_equal(scales.in_tiles(values, network, 64, 16), network(values))


def test_merging_keeps_the_larger_box_and_the_higher_score():
    found = scales.merge([[TextBox(0, 0, 10, 10, 0.8), TextBox(50, 0, 60, 10, 0.7)], [TextBox(1, 1, 9, 9, 0.9)]])
    assert found == [TextBox(0, 0, 10, 10, 0.9), TextBox(50, 0, 60, 10, 0.7)]
    assert scales.merge([]) == []


def test_two_finds_of_one_reading_are_both_kept_unless_one_lies_wholly_in_the_other():
    """Initials that stick out under a large letter: what sticks out would stay in the film."""
    letter, initials = TextBox(0, 0, 100, 100, 0.9), TextBox(30, 75, 50, 110, 0.8)
    assert scales.merge([[letter, initials]]) == [letter, initials]
    assert scales.merge([[letter], [initials]]) == [letter]  # another size's sight of the same
    assert scales.merge([[letter, TextBox(30, 75, 50, 100, 0.95)]]) == [letter._replace(score=0.95)]
    assert scales.merge([[letter, initials], [TextBox(31, 76, 49, 108, 0.7)]]) == [letter, initials]
    larger = TextBox(0, 0, 101, 101, 0.9)  # the other reading's letter is the larger one
    assert scales.merge([[letter, initials], [larger]]) == [larger, initials]
    assert scales.merge([[letter], [TextBox(1, 1, 99, 99, 0.9), initials]]) == [letter, initials]


@pytest.mark.parametrize("rectangle, expected", [((0, 0, 5, 5), (0, 0, 10, 15)), ((-3, -1, 2, 2), (0, 0, 4, 6)),
                                                 ((60, 2, 70, 4), None)])
def test_rectangles_of_the_map_in_the_image(rectangle, expected):
    box = scales.to_image(np.array(rectangle, float), (2.0, 3.0), 90, 100, 0.5)
    assert (box.box if box else None) == expected


@pytest.mark.parametrize("seed", range(8))
def test_places_hold_all_traces_with_reach_and_context(seed):
    """Pixel by pixel: what lies within REACH of a trace is in a place, CONTEXT cells or the film's edge away."""
    rng = np.random.default_rng(seed)
    height, width, scale = 416, 544, (4.0, 3.9)
    seen = rng.random((104, 136)) < rng.choice([0.0002, 0.001, 0.01])
    places = close_ups(seen, scale, height, width)
    for x0, y0, x1, y1 in places:
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height and not any(v % STRIDE for v in (x0, y0, x1, y1))
    margin = CONTEXT * STRIDE
    for row, column in np.argwhere(seen):
        for dy, dx in itertools.product((-REACH, -5, 0, 9, REACH), repeat=2):
            y = min(max((row + 0.5) * scale[1] + dy, 0), height - 1)
            x = min(max((column + 0.5) * scale[0] + dx, 0), width - 1)
            assert any(max(0, x - margin) >= x0 and min(width, x + margin) <= x1 and max(0, y - margin) >= y0
                       and min(height, y + margin) <= y1 for x0, y0, x1, y1 in places)


def test_places_are_joined_where_that_costs_no_more():
    seen = np.zeros((256, 256), bool)
    seen[10, 10] = seen[10, 40] = seen[250, 250] = True  # two near, one far away
    assert close_ups(seen, (2.0, 2.0), 512, 512) == [(0, 0, 192, 128), (416, 416, 512, 512)]
    assert close_ups(np.zeros((256, 256), bool), (2.0, 2.0), 512, 512) == []
    assert close_ups(np.ones((256, 256), bool), (2.0, 2.0), 512, 512) == [(0, 0, 512, 512)]
