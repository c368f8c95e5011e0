"""Detectors by name: built in, from another package, unknown; options settled once for all workers."""

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest

import xray_debug.text.detectors
from xray_debug.text import DETECTORS, DetectWorker, TextBox, load_detector, resolved_options
from xray_debug.text.detectors import craft_lite

FOREIGN = """
from xray_debug.text import TextBox

class Corner:
    name = "corner"

    def __init__(self, weights=None, size=4):
        self.size = size

    def detect(self, images):
        return [[TextBox(0, 0, self.size, self.size, 0.5, "device")] for _ in images]
"""


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    (tmp_path / "corner_detector.py").write_text(FOREIGN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    points = [importlib.metadata.EntryPoint("corner", "corner_detector:Corner", "xray_debug.detectors"),
              importlib.metadata.EntryPoint("broken", "not_there:Thing", "xray_debug.detectors")]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == DETECTORS.group else [])


def test_the_built_in_ones_are_there():
    assert {"craft-lite", "craft", "ppocr"} <= set(DETECTORS)
    assert all(DETECTORS.help[name] for name in ("craft-lite", "craft", "ppocr"))


def test_a_detector_of_another_package_works_like_one_of_ours(foreign, tmp_path):
    from xray_debug.data.images import write_image

    assert "corner" in DETECTORS and "corner" in DETECTORS.names()
    assert load_detector("corner", size=3).detect([np.zeros((9, 9), np.uint8)]) == [
        [TextBox(0, 0, 3, 3, 0.5, "device")]]
    assert resolved_options("corner", {"size": 5}) == {"size": 5}
    with pytest.raises(ValueError, match="detector corner has no option 'colour'"):
        load_detector("corner", colour=1)
    with pytest.raises(ImportError, match="'broken' .not_there:Thing. cannot be loaded"):
        load_detector("broken")
    write_image(tmp_path / "a.png", np.zeros((9, 9), np.uint8))
    worker = DetectWorker("corner", options={"size": 2})
    worker.open()
    assert worker([{"image_id": "a", "file": str(tmp_path / "a.png")}]) == [
        {"image_id": "a", "boxes": [[0, 0, 2, 2, 0.5]], "kinds": ["device"]}]


def test_requests_that_cannot_be_met():
    with pytest.raises(ValueError, match="unknown detector 'crafty': expected one of .*craft-lite"):
        load_detector("crafty")
    with pytest.raises(ValueError, match="unknown detector 'crafty'"):
        resolved_options("crafty", {})
    with pytest.raises(ValueError, match="has no option 'treshold'"):
        load_detector("craft-lite", treshold=1)


@pytest.mark.parametrize("given, expected", [
    ({}, {"precision": "bf16"}), ({"precision": "auto", "look": 0.1}, {"precision": "bf16", "look": 0.1}),
    ({"precision": "fp32"}, {"precision": "fp32"}), ({"device": "cuda"}, {"device": "cuda", "precision": "fp32"}),
])
def test_the_precision_is_settled_once(monkeypatch, given, expected):
    monkeypatch.setattr(craft_lite, "measured_precision", lambda: "bf16")
    before = dict(given)
    assert resolved_options("craft-lite", given) == expected and given == before
    assert resolved_options("ppocr", given) == given


def test_detectors_do_not_need_the_training():
    files = sorted(Path(xray_debug.text.detectors.__file__).parent.glob("*.py"))
    assert len(files) >= 6 and not [f.name for f in files if "text.training" in f.read_text(encoding="utf-8")]
