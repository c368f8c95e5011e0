"""Burned-in text of radiographs: detectors, and the training of the bundled one."""

from ..boxes import TextBox
from .detectors import DETECTORS, Detector, load_detector
from .table import detect_table

__all__ = ["DETECTORS", "Detector", "TextBox", "detect_table", "load_detector"]
