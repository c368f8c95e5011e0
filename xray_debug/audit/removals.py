"""Taking text, and boxes of the same shape elsewhere, out of an image in three ways, as the model then sees it.

Removal by inpainting works on the original pixels exactly as cleaning does, and is then seen through the model's view;
the other fills (cleaning/fills.py) work in the view's pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from xray_debug.cleaning.erase import clean_image, erase
from xray_debug.cleaning.fills import FILLS, Fills
from xray_debug.config import CleanConfig
from xray_debug.data.view import GreyWindow, ModelView

REMOVALS = ("inpainted", *FILLS)  # ways in which text and its controls are taken away
SAID = {"inpainted": "inpainted", "smoothed": "smoothed over", "mirrored": "filled from the other side"}  # to a reader


def as_input(image: np.ndarray) -> np.ndarray:
    """uint8 (S, S) -> float32 in [0, 1]; floats are passed on as float32."""
    return image.astype(np.float32) / np.float32(255) if image.dtype == np.uint8 else image.astype(np.float32)


@dataclass(frozen=True)
class Removed:
    """An image without some boxes.

    mask      (S, S) float32 in [0, 1], the share of each view pixel that inpainting may have touched
    views     name of the removal -> (S, S) float32, what the model sees; empty where nothing was removed
    original  the image's own pixels after inpainting
    patch     the inpainting as bytes, for later stages
    """

    mask: np.ndarray
    original: np.ndarray
    views: dict[str, np.ndarray] = field(default_factory=dict)
    patch: bytes = b""


class Remover:
    """Removes boxes from one image, first its text, then controls.

    `view`: (S, S) float32, what the model sees; `window`: the grey window of the original.
    """

    def __init__(self, original: np.ndarray, view: np.ndarray, viewer: ModelView, clean: CleanConfig,
                 window: GreyWindow):
        self.original, self.view, self.viewer, self.clean = original, view, viewer, clean
        self.window, self.fills = window, Fills(view, np.zeros_like(view))

    def text(self, boxes: np.ndarray, known: bytes | None = None) -> Removed:
        """The image without all its text."""
        inpainted, region, patch = erase(self.original, boxes, self.clean, known)
        mask = self.viewer.mask_to_view(region)
        self.fills = Fills(self.view, mask)
        return Removed(mask, inpainted, self._views(inpainted, mask), patch)

    def control(self, boxes: np.ndarray) -> Removed:
        """The image, text and all, without other boxes."""
        inpainted, region = clean_image(self.original, boxes, self.clean)
        mask = self.viewer.mask_to_view(region)
        return Removed(mask, inpainted, self._views(inpainted, mask))

    def _views(self, inpainted: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
        return {"inpainted": as_input(self.viewer.apply(inpainted, self.window)), **self.fills.of(mask)}
