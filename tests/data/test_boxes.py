import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_debug.data.boxes import (
    TextBox,
    as_boxes,
    box_areas,
    clip_boxes,
    dilate_boxes,
    intersection_areas,
    iou,
    match_boxes,
    rasterise_boxes,
    thirds_of_largest,
)

coordinate = st.integers(-20, 60)
box = st.tuples(coordinate, coordinate, coordinate, coordinate)


@given(st.lists(box, max_size=6), st.integers(1, 40), st.integers(1, 40))
def test_clipped_boxes_cover_exactly_the_same_pixels(boxes, height, width):
    slow = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            slow[y, x] = any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes)
    assert (rasterise_boxes(boxes, height, width) == slow).all()
    clipped = clip_boxes(boxes, height, width)
    assert (box_areas(clipped) > 0).all()
    assert (clipped >= 0).all() and (clipped[:, 2] <= width).all() and (clipped[:, 3] <= height).all()


@given(st.lists(box, min_size=1, max_size=5), st.lists(box, min_size=1, max_size=5))
def test_intersection_equals_common_pixels(first, second):
    first, second = clip_boxes(first, 60, 60), clip_boxes(second, 60, 60)
    common, overlap = intersection_areas(first, second), iou(first, second)
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            one, other = rasterise_boxes([a], 60, 60), rasterise_boxes([b], 60, 60)
            assert common[i, j] == (one & other).sum()
            assert overlap[i, j] == pytest.approx((one & other).sum() / (one | other).sum())


def test_dilation_grows_every_side_and_stops_at_the_border():
    assert dilate_boxes([(2, 3, 5, 6)], 2, 10, 10).tolist() == [[0, 1, 7, 8]]
    assert dilate_boxes([(0, 0, 10, 10)], 3, 10, 10).tolist() == [[0, 0, 10, 10]]
    assert dilate_boxes([(5, 5, 6, 6), (5, 5, 6, 6)], [0, 1], 10, 10).tolist() == [[5, 5, 6, 6], [4, 4, 7, 7]]


def test_fractions_grow_outwards_and_text_boxes_are_boxes():
    assert as_boxes([(0.2, 1.8, 3.1, 4.0), TextBox(1, 2, 3, 4, 0.9)]).tolist() == [[0, 1, 4, 4], [1, 2, 3, 4]]
    assert TextBox(1, 2, 3, 4, 0.9).box == (1, 2, 3, 4)
    assert as_boxes([]).shape == (0, 4)


@pytest.mark.parametrize("wrong", [[(1, 2, 3)], [(0, 0, float("nan"), 1)], [(0, 0, float("inf"), 1)]])
def test_what_is_no_box_is_refused(wrong):
    with pytest.raises(ValueError, match="box"):
        as_boxes(wrong)


def test_matching_takes_the_best_pair_first_and_uses_each_box_once():
    first = [(0, 0, 10, 10), (1, 0, 11, 10)]
    second = [(1, 0, 11, 10), (100, 100, 110, 110)]
    assert match_boxes(first, second) == [(1, 0)]
    assert match_boxes([], second) == []


def test_thirds_of_the_largest_box():
    boxes = [(0, 0, 5, 5), (70, 40, 90, 50), (0, 80, 10, 90)]
    assert thirds_of_largest(boxes, 90, 90) == (1, 2)
    assert thirds_of_largest(boxes[2:], 90, 90) == (2, 0)
    assert thirds_of_largest([(0, 0, 90, 90)], 90, 90) == (1, 1)
    assert thirds_of_largest([], 90, 90) is None


@pytest.mark.parametrize("number", [1e30, -1e30, 2.0**63, 2.0**31])
def test_a_box_beyond_any_image_is_no_box(number):
    with pytest.raises(ValueError, match="a box lies within 2147483647 pixels"):
        as_boxes([(0, 0, 1, 1), (0, 0, number, 5)])
    assert as_boxes([(-5, 0, 2**31 - 1, 5)]).tolist() == [[-5, 0, 2147483647, 5]]
