"""Burned-in text of radiographs: detectors, and the training of the bundled one."""

from xray_debug.data.boxes import TextBox
from xray_debug.text.detectors.registry import DETECTORS, Detector, load_detector
from xray_debug.text.table import detect_table

__all__ = ["DETECTORS", "Detector", "TextBox", "detect_table", "load_detector"]
