"""Drawing: poses, areas, blur."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.phantom.canvas import Canvas, _blur_bytes, ellipse


def test_canvas_poses_shapes():
    still = Canvas(100)
    disc = still.fill(ellipse((0.5, 0.5), (0.2, 0.2)))
    assert disc.sum() == pytest.approx(np.pi * 20.5**2, rel=0.02)  # OpenCV's outline adds half a pixel
    larger = Canvas(100, scale=1.5).fill(ellipse((0.5, 0.5), (0.2, 0.2)))
    assert larger.sum() == pytest.approx(np.pi * 30.5**2, rel=0.02)
    moved = Canvas(100, shift=(0.2, 0.0)).fill(ellipse((0.5, 0.5), (0.1, 0.1)))
    assert (moved * np.arange(100)).sum() / moved.sum() == pytest.approx(69.5, abs=0.3)
    bar = np.array([(0.5, 0.3), (0.5, 0.7)])
    turned = Canvas(100, degrees=90).strokes(([bar], 0.05, 1.0))
    rows, columns = np.nonzero(turned > 0.5)
    assert np.ptp(columns) > 35 and np.ptp(rows) < 8


@pytest.mark.parametrize("sigma", [0.005, 0.02, 0.1])
def test_blur_keeps_the_mass_of_a_shape(sigma):
    canvas = Canvas(128)
    sharp = canvas.fill(ellipse((0.5, 0.5), (0.08, 0.08)))
    soft = canvas.blur(sharp, sigma)
    assert soft.sum() == pytest.approx(sharp.sum(), rel=0.03)
    assert soft.max() <= sharp.max() + 1e-6


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 2.999), st.sampled_from([(40, 40), (33, 70)]), st.integers(0, 3))
def test_bytes_are_blurred_as_if_the_whole_film_were(seed, sigma, shape, dots):
    rng, mask = np.random.default_rng(seed), np.zeros(shape, np.uint8)
    for _ in range(dots):
        y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        mask[y:y + rng.integers(1, 12), x:x + rng.integers(1, 12)] = rng.integers(1, 256)
    whole = cv2.GaussianBlur(mask, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    np.testing.assert_array_equal(_blur_bytes(mask, sigma), whole)
