"""Placement of controls: against counting by hand, and what may not be touched."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.cleaning.controls import (
    BORDER_TOLERANCE,
    _Ground,
    cropped_margins,
    image_seed,
    mirrored,
    moved_masks,
    place,
    place_controls,
)
from xray_debug.data.boxes import rasterise_boxes
from xray_debug.data.view import ModelView
from xray_debug.stats.seeds import seed_of

VIEW = ModelView(32)


def free_by_hand(taken, h, w):
    height, width = taken.shape
    return np.array([[not taken[y : y + h, x : x + w].any() for x in range(width - w + 1)]
                     for y in range(height - h + 1)])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_free_corners_against_looking_at_every_window(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(3, 14, 2)
    taken = rng.random((height, width)) < 0.1
    h, w = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
    assert np.array_equal(_Ground(taken, True).free(h, w), free_by_hand(taken, h, w))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_fitting_corners_are_at_about_the_box_s_distance_to_the_border(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(v) for v in rng.integers(10, 40, 2))
    w, h = int(rng.integers(1, width // 2)), int(rng.integers(1, height // 2))
    x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
    fitting = _Ground(np.zeros((height, width), bool), True).fitting(np.array([x, y, x + w, y + h]), h, w)

    def distance(left, top):
        return min(left, top, width - left - w, height - top - h)

    wanted, slack = distance(x, y), BORDER_TOLERANCE * min(height, width)
    assert np.array_equal(fitting, [[abs(distance(a, b) - wanted) <= slack for a in range(width - w + 1)]
                                    for b in range(height - h + 1)])


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_moved_boxes_overlap_nothing_where_there_is_room(seed):
    boxes = np.array([(2, 3, 12, 9), (30, 30, 40, 34), (5, 40, 9, 60)])
    for moved in place(boxes, 80, 80, seed, count=3):
        count = sum(rasterise_boxes([box], 80, 80).astype(int) for box in [*boxes, *moved])
        assert count.max() == 1
        assert np.array_equal(moved[:, 2:] - moved[:, :2], boxes[:, 2:] - boxes[:, :2])


def test_every_fitting_place_is_equally_likely():
    box, drawn = [(0, 0, 4, 4)], {}
    for seed in range(3000):
        found = tuple(place(box, 4, 12, seed)[0][0].tolist())
        drawn[found] = drawn.get(found, 0) + 1
    assert sorted(drawn) == [(x, 0, x + 4, 4) for x in range(4, 9)]
    assert all(abs(count - 600) < 5 * (600 * 0.8) ** 0.5 for count in drawn.values())


def test_a_box_without_a_free_place():
    assert place([(0, 0, 8, 8)], 10, 10, 0)[0].tolist() == [[-1, -1, -1, -1]]


def test_seeds_are_those_of_the_package():
    assert image_seed(3, "a.png") == seed_of(3, "a.png")


def test_controls_touch_no_text_and_lie_inside_the_view():
    view = ModelView(32, crop_top=0.25, crop_left=0.25)
    text = np.array([[40, 40, 52, 46]])
    places = place_controls(text, text, view, 64, 64, seed=1, count=6)
    assert len(places) >= 6
    for found in places:
        assert (found[:, 2:] - found[:, :2] == [12, 6]).all()
        assert (view.visible_fraction(found, 64, 64) == 1).all()
        x0, y0, x1, y1 = found[0]
        assert x1 <= 40 or x0 >= 52 or y1 <= 40 or y0 >= 46


def test_mirror_image_is_a_control_only_where_it_is_text_free():
    alone = place_controls(np.array([[2, 2, 10, 8]]), np.array([[2, 2, 10, 8]]), VIEW, 64, 64, 0, 1)
    both = np.array([[2, 2, 10, 8], [50, 2, 62, 8]])
    assert alone[-1].tolist() == [[54, 2, 62, 8]]
    assert len(place_controls(both, both, VIEW, 64, 64, 0, 1)) == 1


@given(st.integers(0, 40), st.integers(1, 24), st.integers(64, 100))
def test_mirroring_twice_changes_nothing(x, width, total):
    boxes = np.array([[x, 3, x + width, 9]])
    assert np.array_equal(mirrored(mirrored(boxes, total), total), boxes)


def test_cropped_margins_and_the_window_cover_the_image_once():
    view = ModelView(16, 0.1, 0.2, 0.3, 0.05)
    count = np.zeros((50, 40), int)
    for x0, y0, x1, y1 in [*cropped_margins(view, 50, 40), view.window(50, 40)]:
        count[y0:y1, x0:x1] = 1
    x0, y0, x1, y1 = view.window(50, 40)
    outside = count.copy()
    outside[y0:y1, x0:x1] = 0
    assert count.all() and outside.sum() == 50 * 40 - (y1 - y0) * (x1 - x0)


@pytest.mark.parametrize("seed", range(5))
def test_small_masks_are_moved_as_they_are_and_off_the_original(seed):
    mask, avoid = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    mask[3:9, 5:8] = True
    avoid[:, 30:] = True
    for moved in moved_masks(mask, avoid, seed, 3):
        assert moved.sum() == mask.sum() and not (moved & (mask | avoid)).any()
        ys, xs = np.nonzero(moved)
        assert (np.ptp(ys), np.ptp(xs)) == (5, 2)


def test_controls_of_large_masks_have_about_their_area_and_keep_off_text():
    mask, avoid = np.ones((40, 40), bool), np.zeros((40, 40), bool)
    mask[5:35, 5:35] = False
    avoid[10:14, 10:20] = True
    for moved in moved_masks(mask, avoid, 1, 3):
        assert 0 <= moved.sum() - mask.sum() < 16 and not (moved & avoid).any()  # at most one block too many
