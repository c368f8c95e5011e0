"""Markers: tight boxes, letters that can be read, sizes that follow the film's."""

import numpy as np
import pytest

from xray_debug.config import PhantomConfig
from xray_debug.phantom import CLASSES, make_case
from xray_debug.phantom.markers import draw_marker


def test_boxes_are_tight_around_the_letters():
    film = np.zeros((256, 256), np.uint8)
    for seed in range(8):
        image, boxes = draw_marker(film, CLASSES[seed % 3], "bright", np.random.default_rng(seed))
        seen = np.zeros_like(film, bool)
        for x0, y0, x1, y1 in (box["box"] for box in boxes):
            ink = image[y0:y1, x0:x1] > 0
            assert ink[[0, -1]].any(axis=1).all() and ink[:, [0, -1]].any(axis=0).all()
            seen[y0:y1, x0:x1] = True
        assert not image[~seen].any()


@pytest.mark.parametrize(("ground", "polarity"), [(20, "bright"), (240, "dark")])
def test_letters_stand_out_on_any_ground(ground, polarity):
    film = np.full((256, 256), ground, np.uint8)
    for seed in range(6):
        image, boxes = draw_marker(film, CLASSES[seed % 3], "faint", np.random.default_rng(seed))
        x0, y0, x1, y1 = boxes[0]["box"]
        assert boxes[0]["polarity"] == polarity
        assert np.abs(image[y0:y1, x0:x1].astype(int) - ground).max() > 30


def test_markers_grow_with_the_image():
    for seed in range(3):
        small = make_case(PhantomConfig(size=256), "normal", seed, "normal").boxes[0]["box"]
        large = make_case(PhantomConfig(size=512), "normal", seed, "normal").boxes[0]["box"]
        assert (large[3] - large[1]) / (small[3] - small[1]) == pytest.approx(2, abs=0.25)
        assert 14 <= small[3] - small[1] <= 60
