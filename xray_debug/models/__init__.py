"""Classifiers of radiographs: covidnet, covidnext50 and any torchvision classifier; training them and asking them."""

from xray_debug.models.build import build_model
from xray_debug.models.checkpoint import load_checkpoint, save_checkpoint
from xray_debug.models.classifier import XrayClassifier
from xray_debug.models.registry import NETWORKS

__all__ = ["NETWORKS", "XrayClassifier", "build_model", "load_checkpoint", "save_checkpoint"]
