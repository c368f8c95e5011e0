"""Pictures: they can be opened, have the right size, and show what they are given."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from xray_debug.report.figures import (
    Panel,
    case_figure,
    explain_figure,
    gray_bytes,
    heat_overlay,
    resized_map,
    table4_figure,
)

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


def test_case_figure_draws_its_panels(tmp_path):
    panels = [Panel(IMAGE, "original", "p(a) = 0.50", [(3, 4, 20, 18)]), Panel(IMAGE, "costs $5 and $6")]
    path = case_figure(panels, tmp_path / "deep" / "case.png", title="x_$y.png")
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert pixels.shape[1] == 350 and not list(path.parent.glob("*.tmp"))
    sky = (abs(pixels - [0x56, 0xB4, 0xE9]).sum(axis=2) < 60).sum()
    assert sky > 100  # the box
    with pytest.raises(ValueError, match="at least one panel"):
        case_figure([], tmp_path / "none.png")


def test_explain_figure_accepts_what_the_methods_return(tmp_path):
    rng = np.random.default_rng(0)
    curve = np.linspace(0.9, 0.1, 11)
    saliency, name = rng.random((1, 7, 7)), "a_b $c.png"
    path = explain_figure(IMAGE / 255, saliency, curve, curve[::-1], 0.5, 0.5, name, tmp_path / "e.png")
    with Image.open(path) as picture:
        assert picture.size == (1352, 357)


def test_figures_are_the_same_from_threads(tmp_path):
    def draw(number):
        return case_figure([Panel(IMAGE, "a", "b")], tmp_path / f"{number}.png").read_bytes()

    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(draw, range(6)))
    assert len(set(pictures)) == 1


def test_the_2x2_is_drawn_with_one_cell_and_with_unknown_names(tmp_path):
    row = {"trained_on": "original", "tested_on": "original", "test_set": "test", "accuracy": 0.9, "accuracy_low": 0.8,
           "accuracy_high": 0.95, "accuracy_per_seed": [0.9]}  # fmt: skip
    other = row | {"trained_on": "without:nih", "test_set": "other", "accuracy_per_seed": [0.8, 1.0]}
    sizes = []
    for name, rows in (("one", [row]), ("two", [row, other])):
        with Image.open(table4_figure(rows, tmp_path / f"{name}.png")) as picture:
            sizes.append(picture.size[0])
    assert sizes[0] < sizes[1]
