"""Pictures: they can be opened, have the right size, and show what they are given."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from xray_debug.report.figures import Panel, case_figure, table4_figure

IMAGE = np.tile(np.arange(40, dtype=np.uint8) * 6, (30, 1))


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
