"""Erasing boxes from images and datasets, its controls, and what it leaves behind."""

from xray_debug.cleaning.inpainting import inpaint_boxes, inpaint_region

__all__ = ["inpaint_boxes", "inpaint_region"]
