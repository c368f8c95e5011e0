"""Detectors of text behind one interface, one file each; `DETECTORS` lists them."""

from xray_debug.text.detectors import craft, craft_lite, ppocr  # noqa: F401  they register themselves
from xray_debug.text.detectors.registry import DETECTORS, Detector, load_detector, resolved_options

__all__ = ["DETECTORS", "Detector", "load_detector", "resolved_options"]
