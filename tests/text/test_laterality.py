"""Laterality letters: which boxes could hold one, and what is read in them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_debug.data.images import write_image
from xray_debug.phantom.markers import _burn, _piece
from xray_debug.text import laterality
from xray_debug.text.laterality import LateralityWorker, LetterReader, could_be_letters

CORNER, SIDE = st.integers(0, 300), st.integers(1, 90)
PLACED = st.tuples(CORNER, CORNER, SIDE, SIDE).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
BOXES = st.lists(PLACED, max_size=6)


@pytest.fixture(scope="module")
def reader():
    pytest.importorskip("rapidocr")
    return LetterReader()


def drawn(text: str, decoration: str, mirrored=False) -> tuple[np.ndarray, list[int]]:
    """A film with the text at (20, 20), and the box around all of it."""
    rng = np.random.default_rng(4)
    film = np.clip(70 + rng.normal(0, 4, (128, 220)), 0, 255).astype(np.uint8)
    entry = _burn(film, _piece(text, 30.0, 0.0, mirrored, decoration, rng), 20, 20, 0.9, 0.95)
    return film, entry.get("outer", entry["box"])


@pytest.mark.parametrize(("text", "decoration", "side"), [
    ("R", "", "R"), ("L", "", "L"), ("R", "circled", "R"), ("L", "circled", "L"), ("L", "boxed", "L"),
    ("K", "", ""), ("D", "circled", ""), ("AP", "", ""), ("RL", "boxed", ""), ("I", "", ""),
])  # fmt: skip
def test_a_lone_letter_is_read_and_nothing_else(reader, text, decoration, side):
    film, box = drawn(text, decoration)
    assert reader.side(film, box) == side


def test_a_mirrored_letter_is_one_and_a_j_is_none(reader):
    film, box = drawn("R", "", mirrored=True)
    assert reader.side(film, box) == "R"
    film, box = drawn("J", "")
    assert reader.side(film, box) == ""


@pytest.mark.parametrize(("boxes", "expected"), [
    ([(0, 0, 20, 30)], [True]),
    ([(0, 0, 20, 60)], [False]),  # three times as high as wide
    ([(0, 0, 20, 30), (40, 0, 90, 30)], [False, False]),  # 20 pixels on, a letter of 30: one line
    ([(0, 0, 20, 30), (51, 0, 90, 30)], [True, True]),  # 31 pixels: by itself
    ([(0, 0, 20, 30), (0, 32, 60, 50)], [True, False]),  # below is another line
    ([(0, 0, 20, 30), (0, 32, 20, 90)], [False, False]),  # a turned word goes on below it
    ([(0, 0, 20, 30), (0, 51, 20, 109)], [True, False]),  # 21 pixels below a letter of 20: by itself
    ([(0, 0, 0, 0)], [False]),
])  # fmt: skip
def test_shape_and_place(boxes, expected):
    assert could_be_letters(boxes).tolist() == expected


@given(BOXES)
def test_shape_and_place_do_not_depend_on_order_or_scale(boxes):
    found = could_be_letters(boxes)
    assert found.shape == (len(boxes),)
    assert could_be_letters(boxes[::-1]).tolist() == found[::-1].tolist()
    assert could_be_letters([[3 * v for v in box] for box in boxes]).tolist() == found.tolist()


class Says:
    """A reader that reads the same in every box, and remembers where it looked."""

    def __init__(self, side):
        self.said, self.asked = side, []

    def side(self, image, box):
        self.asked.append(tuple(int(v) for v in box))
        return self.said


def test_the_worker_reads_what_could_be_a_letter(tmp_path):
    write_image(tmp_path / "a.png", np.full((60, 80), 90, np.uint8))
    boxes = np.array([(5, 5, 15, 20), (5, 40, 70, 52), (70, 50, 95, 70)])  # the last sticks out
    row = {"image_id": "a.png", "file": tmp_path / "a.png", "sha256": "", "boxes": boxes}
    worker = LateralityWorker(Says("R"))
    worker.open()
    (found,) = worker([row])
    assert found == {"image_id": "a.png", "letters": [[5, 5, 15, 20], [70, 50, 95, 70]], "sides": ["R", "R"]}
    assert worker.reader.asked == [(5, 5, 15, 20), (70, 50, 80, 60)]
    assert LateralityWorker(Says(""))([row])[0]["letters"] == []
    assert LateralityWorker(None)([{**row, "boxes": boxes[1:2]}])[0]["letters"] == []  # nothing to read, no reader


def test_without_the_package_the_extra_is_named(monkeypatch):
    import builtins
    real = builtins.__import__

    def none(name, *rest, **more):
        if name == "rapidocr":
            raise ImportError("No module named 'rapidocr'")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", none)
    with pytest.raises(ImportError, match=r"xray-debug\[ppocr\]"):
        laterality.LetterReader()
