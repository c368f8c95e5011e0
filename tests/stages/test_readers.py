"""Detectors as stages use them: decided once for all workers."""

from types import SimpleNamespace

import pytest

from xray_debug.config import parse_config
from xray_debug.run.store import Store
from xray_debug.stages import clean
from xray_debug.stages.readers import PACKAGES, decided_options, packages_of
from xray_debug.text import DETECTORS
from xray_debug.text.detectors import craft_lite


def context(folder, second: str):
    config = parse_config({"phantom": {}, "detect": {"detector": "ppocr", "second": second}})
    return SimpleNamespace(config=config, scratch=folder / "scratch", store=Store(folder), say=print)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_second_readers_precision_is_decided_once(tmp_path, monkeypatch, precision):
    """Workers on other machines, and a resume, read as the first did, whatever they would measure."""
    monkeypatch.setattr(craft_lite, "measured_precision", lambda: precision)
    assert clean.second_reader(context(tmp_path, "craft-lite")).keywords == {"precision": precision}
    monkeypatch.setattr(craft_lite, "measured_precision", lambda: "fp32" if precision == "bf16" else "bf16")
    again = clean.second_reader(context(tmp_path, "craft-lite"))
    assert again.keywords == {"precision": precision}
    assert str(again().dtype) == {"fp32": "torch.float32", "bf16": "torch.bfloat16"}[precision]


def test_options_that_were_asked_for_are_kept(tmp_path):
    asked = {"precision": "bf16", "look": None}
    assert decided_options(tmp_path / "a" / "options.json", "craft-lite", asked) == asked
    assert decided_options(tmp_path / "a" / "options.json", "craft-lite", {}) == asked  # of the first to begin


def test_every_detector_that_needs_a_package_says_which():
    assert set(PACKAGES) <= set(DETECTORS)
    assert packages_of("craft-lite") == "" and packages_of("somebody's") == ""
    for name in PACKAGES:
        assert packages_of(name)
