"""Figures of the tables: they can be opened, and their texts can be read."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from xray_debug.report.figures import confusion_figure, table4_figure


def test_the_2x2_is_drawn_with_one_cell_and_with_unknown_names(tmp_path):
    row = {"trained_on": "original", "tested_on": "original", "test_set": "test", "accuracy": 0.9, "accuracy_low": 0.8,
           "accuracy_high": 0.95, "accuracy_per_seed": [0.9]}  # fmt: skip
    other = row | {"trained_on": "without:nih", "test_set": "other", "accuracy_per_seed": [0.8, 1.0]}
    sizes = []
    for name, rows in (("one", [row]), ("two", [row, other])):
        with Image.open(table4_figure(rows, tmp_path / f"{name}.png")) as picture:
            sizes.append(picture.size[0])
    assert sizes[0] < sizes[1]


TWO = ["test", "reversed"]
MANY = [f"a long name of class {i}" for i in range(18)]


@pytest.mark.parametrize(("classes", "test_sets"), [
    (["no", "yes"], ["test"]), (["normal", "pneumonia", "COVID-19"], TWO), (["W" * 60, "i" * 60], TWO),
    (["Pleural_Thickening", *"abcdef", "$x_1$ & more"], ["test"]), (["MMMMMMMMMMMMMMMM", "two\nlines", ""], TWO),
    (["no", "yes"], ["W" * 30, "b", "c", "d"]), (MANY, ["test"]),
], ids=["two", "three", "long", "eight", "odd", "four test sets", "eighteen"])  # fmt: skip
def test_no_text_of_the_confusion_matrices_lies_on_another(tmp_path, monkeypatch, classes, test_sets):
    drawn = []
    monkeypatch.setattr("xray_debug.report.figures.save_figure", lambda figure, path, dpi: drawn.append(figure) or path)
    shares = np.linspace(0, 1, len(classes) ** 2).reshape(len(classes), -1).tolist()
    rows = [{"trained_on": trained, "tested_on": tested, "test_set": name, "classes": classes, "shares": shares}
            for name in test_sets for trained in ("original", "cleaned") for tested in ("original", "cleaned")]
    confusion_figure(rows, tmp_path / "c.png")
    (figure,) = drawn
    figure.draw_without_rendering()
    texts = [text for axes in figure.axes for text in axes.texts if text.get_text()]
    assert sum(text.get_text() == "predicted" for text in texts) == len(rows)
    x0, y0, x1, y1 = np.array([text.get_window_extent().extents for text in texts]).T[:, :, None]
    assert x0.min() >= 0 and y0.min() >= 0 and x1.max() <= figure.bbox.x1 and y1.max() <= figure.bbox.y1
    overlap = (x0 < x1.T) & (x1 > x0.T) & (y0 < y1.T) & (y1 > y0.T)
    slanted = np.array([[text.get_rotation() == 40] for text in texts])  # side by side, though their boxes overlap
    meet = np.argwhere(np.triu(overlap & ~(slanted & slanted.T), 1))
    assert [(texts[i].get_text(), texts[j].get_text()) for i, j in meet[:3]] == []


def test_a_confusion_matrix_is_a_picture(tmp_path):
    row = {"trained_on": "original", "tested_on": "original", "test_set": "test", "classes": ["a", "b"]}
    with Image.open(confusion_figure([row | {"shares": [[1, 0], [0, 1]]}], tmp_path / "c.png")) as picture:
        pixels = np.asarray(picture.convert("L"))
    dark = pixels < 70  # the diagonal: two cells of at least CELL inches
    assert dark.sum() > 2 * (0.37 * 130) ** 2 * 0.8


@pytest.mark.parametrize("test_sets", [["test"], ["test", "reversed"], ["W" * 30, "b" * 90, "c", "d", "e", "f"]])
def test_no_title_of_the_2x2_lies_on_another(tmp_path, monkeypatch, test_sets):
    drawn = []
    monkeypatch.setattr("xray_debug.report.figures.save_figure", lambda figure, path, dpi: drawn.append(figure) or path)
    rows = [{"trained_on": trained, "tested_on": tested, "test_set": name, "accuracy": 0.9, "accuracy_low": 0.8,
             "accuracy_high": 0.95, "accuracy_per_seed": [0.9]}
            for name in test_sets for trained in ("original", "cleaned") for tested in ("original", "cleaned")]
    table4_figure(rows, tmp_path / "t.png")
    drawn[0].draw_without_rendering()
    boxes = [axes.title.get_window_extent() for axes in drawn[0].axes] + [drawn[0].legends[0].get_window_extent()]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])
