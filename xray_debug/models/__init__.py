"""Classifiers of radiographs: covidnet, covidnext50 and any torchvision classifier; their checkpoints."""

from xray_debug.models.checkpoint import load_checkpoint, save_checkpoint
from xray_debug.models.classifier import XrayClassifier
from xray_debug.models.registry import NETWORKS, build_model

__all__ = ["NETWORKS", "XrayClassifier", "build_model", "load_checkpoint", "save_checkpoint"]
