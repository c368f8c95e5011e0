"""Pictures of explanations: they can be opened, have the right size, and show what they are given."""

import numpy as np
import pytest
from PIL import Image

from xray_debug.saliency.plots import explain_figure, gray_bytes, heat_overlay, map_facts, resized_map

IMAGE = np.tile(np.arange(40, dtype=np.uint8) * 6, (30, 1))


def test_gray_bytes_takes_floats_and_bytes():
    assert np.array_equal(gray_bytes(IMAGE), IMAGE)
    assert np.array_equal(gray_bytes(IMAGE / 255), IMAGE)
    assert gray_bytes(np.array([[-1.0, 0.5, 2.0]])).tolist() == [[0, 128, 255]]
    assert gray_bytes(IMAGE[None]).shape == (30, 40)
    with pytest.raises(ValueError, match=r"got shape \(2, 3, 4\)"):
        gray_bytes(np.zeros((2, 3, 4)))


def test_an_overlay_without_saliency_is_the_image():
    overlay = heat_overlay(IMAGE, np.zeros((4, 4)))
    assert np.array_equal(overlay, np.repeat(IMAGE[..., None], 3, axis=2))
    hot = heat_overlay(IMAGE, np.ones((4, 4)), opacity=1.0)
    assert (hot == hot[0, 0]).all() and hot[0, 0, 0] > 200  # the end of the colour scale everywhere


def test_a_map_is_resized_where_it_belongs():
    saliency = np.zeros((4, 4), np.float32)
    saliency[0, 3] = 1
    fine = resized_map(saliency, 40, 80)
    assert fine.shape == (40, 80) and np.unravel_index(fine.argmax(), fine.shape)[0] < 10
    assert fine[:, :50].max() == 0 and np.array_equal(resized_map(saliency[None], 40, 80), fine)
    with pytest.raises(ValueError, match="expected a map"):
        resized_map(np.zeros((2, 3, 4)), 8, 8)


def test_explain_figure_accepts_what_the_methods_return(tmp_path):
    rng = np.random.default_rng(0)
    curve = np.linspace(0.9, 0.1, 11)
    saliency, name = rng.random((1, 7, 7)), "a_b $c.png"
    path = explain_figure(IMAGE / 255, saliency, curve, curve[::-1], 0.5, 0.5, name, tmp_path / "e.png")
    with Image.open(path) as picture:
        assert picture.size == (1352, 357)


def test_an_overlay_is_scaled_to_its_peak_and_the_peak_is_said():
    saliency = np.zeros((4, 4))
    saliency[1, 1] = 0.2
    assert np.array_equal(heat_overlay(IMAGE, saliency), heat_overlay(IMAGE, 5 * saliency))
    assert map_facts(saliency) == "peak 0.20, 6 % above half of it"
