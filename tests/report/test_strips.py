"""Strips of flagged cases: they can be opened, have the right size, and show what they are given."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from xray_debug.report.strips import GAP, LINE, SIDE, case_figure
from xray_debug.saliency.plots import Panel

IMAGE = np.tile(np.arange(40, dtype=np.uint8) * 6, (30, 1))


def pixels_of(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_panels_stand_side_by_side_with_their_boxes(tmp_path):
    panels = [Panel(IMAGE, "original", "p(a) = 0.50", [(10, 15, 20, 30)]), Panel(IMAGE, "costs $5 and $6")]
    path = case_figure(panels, tmp_path / "deep" / "case.png")
    pixels = pixels_of(path)
    assert pixels.shape == (SIDE + 2 * LINE, 2 * (SIDE + GAP), 3) and [path] == list(path.parent.iterdir())
    sky = abs(pixels - [0x56, 0xB4, 0xE9]).sum(axis=2) == 0
    rows, columns = np.flatnonzero(sky.any(1)), np.flatnonzero(sky.any(0))
    scale, top = SIDE / 40, LINE + (SIDE - round(30 * SIDE / 40)) // 2
    assert columns[0] == round(10 * scale) + GAP // 2 and columns[-1] == round(20 * scale) + GAP // 2 - 1
    assert rows[0] == top + round(15 * scale) and rows[-1] == top + round(30 * scale) - 1
    for half in (pixels[:, : SIDE + GAP], pixels[:, SIDE + GAP :]):  # a title above, and a line below the first alone
        assert (half[:LINE] < 120).any()
    assert (pixels[-LINE:, : SIDE + GAP] < 120).any() and (pixels[-LINE:, SIDE + GAP :] == 255).all()


def test_a_picture_keeps_its_shape_and_colours(tmp_path):
    tall = np.zeros((90, 30, 3), np.uint8)
    tall[..., 0] = 200
    red = (pixels_of(case_figure([Panel(tall, "")], tmp_path / "a.png")) == [200, 0, 0]).all(axis=2)
    assert red.sum() == SIDE * round(SIDE / 3) and red.any(1).sum() == SIDE


def test_a_long_text_stays_inside_its_panel(tmp_path):
    name = "p(Pleural_Thickening_and_more) = 0.50"
    pixels = pixels_of(case_figure([Panel(IMAGE, "a"), Panel(IMAGE, "b", name), Panel(IMAGE, "c")], tmp_path / "a.png"))
    line = (pixels[-LINE:] < 120).any(axis=(0, 2))
    assert line.any() and not line[: SIDE + GAP].any() and not line[-SIDE - GAP :].any()


def test_no_panels_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="at least one panel"):
        case_figure([], tmp_path / "none.png")


def test_figures_are_the_same_from_threads(tmp_path):
    def draw(number):
        return case_figure([Panel(IMAGE, "a", "b")], tmp_path / f"{number}.png").read_bytes()

    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(draw, range(6)))
    assert len(set(pictures)) == 1
