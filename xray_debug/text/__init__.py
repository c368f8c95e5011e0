"""Burned-in text of radiographs: detectors, and the training of the bundled one."""

from xray_debug.data.boxes import TextBox
from xray_debug.text.detectors import DETECTORS, Detector, load_detector, resolved_options
from xray_debug.text.worker import DetectWorker, boxes_table, detect_table

__all__ = ["DETECTORS", "DetectWorker", "Detector", "TextBox", "boxes_table", "detect_table", "load_detector",
           "resolved_options"]
