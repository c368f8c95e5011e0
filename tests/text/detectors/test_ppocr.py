"""rapidocr's detector: only its detection model is loaded, and boxes as large as the film are dropped."""

import numpy as np
import pytest
from text_fixture import film

from xray_debug.data.boxes import TextBox
from xray_debug.text import load_detector
from xray_debug.text.detectors.ppocr import PPOCRDetector


@pytest.fixture(scope="module")
def ppocr():
    pytest.importorskip("rapidocr", reason="extra ppocr is not installed")
    pytest.importorskip("onnxruntime", reason="extra ppocr is not installed")
    return load_detector("ppocr", threads=1)


def test_ppocr_finds_a_word_and_loads_no_reader(ppocr):
    image = film(400, 500, "PORTABLE", (60, 120), 3)
    (found,) = ppocr.detect([image])
    assert found and found[0].x0 < 90 and found[0].x1 > 250
    assert ppocr.engine.text_rec is None and ppocr.engine.text_cls is None
    assert ppocr.detect([film(400, 500, "")]) == [[]]


def test_ppocr_drops_what_is_as_large_as_the_film_and_what_is_faint(ppocr, monkeypatch):
    class Found:
        boxes = np.array([[[0, 0], [99, 0], [99, 79], [0, 79]], [[5, 5], [30, 5], [30, 15], [5, 15]],
                          [[50, 5], [80, 5], [80, 15], [50, 15]]], float)
        scores = [0.9, 0.8, 0.3]

    monkeypatch.setattr(ppocr, "engine", lambda *args, **options: Found)
    assert ppocr.detect([np.zeros((80, 100), np.uint8)]) == [[TextBox(5, 5, 30, 15, 0.8)]]


def test_ppocr_without_its_model_says_so(tmp_path):
    pytest.importorskip("rapidocr", reason="extra ppocr is not installed")
    with pytest.raises(ValueError, match="no such weight file"):
        PPOCRDetector(tmp_path / "det.onnx")


def test_ppocr_without_its_package_names_the_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(ImportError, match="needs the extra ppocr"):
        load_detector("ppocr")
