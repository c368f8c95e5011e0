"""Saliency over a film: the one way in which report, review, explain-image and notebooks show it. No torch here.

The colours are "inferno". Its lightness only rises, so it keeps its order in print and for every kind of colour vision,
and on a grey film its salient half stays coloured; "cividis" passes through grey there (docs/saliency.md, Overlays).
Each map is scaled to its own peak, or little could be seen of most; `map_facts` says what that hides.
"""

from __future__ import annotations

import cv2
import numpy as np

COLOURS = cv2.COLORMAP_INFERNO
DARKEST = 0.15  # of the colour scale, at the least salient: below it inferno is as black as the film's ground
OPACITY = 0.65


def gray_bytes(image: np.ndarray) -> np.ndarray:
    """Floats in [0, 1] or uint8, (H, W), (1, H, W) or (H, W, 3), as uint8; others raise ValueError."""
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[0] == 1:
        image = image[0]
    if image.dtype != np.uint8:
        image = np.round(np.clip(image.astype(np.float64), 0, 1) * 255).astype(np.uint8)
    if image.ndim not in (2, 3) or image.ndim == 3 and image.shape[2] != 3:
        raise ValueError(f"expected an image (H, W) or (H, W, 3), got shape {image.shape}")
    return image


def resized_map(saliency: np.ndarray, height: int, width: int) -> np.ndarray:
    """(m, m) or (1, m, m) saliency in [0, 1] -> float32 (height, width), bilinear."""
    saliency = np.asarray(saliency, np.float32)
    saliency = saliency[0] if saliency.ndim == 3 and saliency.shape[0] == 1 else saliency
    if saliency.ndim != 2:
        raise ValueError(f"expected a map (m, m), got shape {saliency.shape}")
    return cv2.resize(saliency, (width, height), interpolation=cv2.INTER_LINEAR).clip(0, 1)


def scaled_map(saliency: np.ndarray) -> np.ndarray:
    """The map over its own peak, so that its heat can be seen; an empty map stays empty."""
    return saliency / max(float(saliency.max()), 1e-6)


def heat_colours(values: np.ndarray) -> np.ndarray:
    """Values (H, W) in [0, 1] as RGB uint8."""
    return cv2.applyColorMap(np.round(np.asarray(values) * 255).astype(np.uint8), COLOURS)[..., ::-1]


def heat_overlay(image: np.ndarray, saliency: np.ndarray, opacity: float = OPACITY) -> np.ndarray:
    """RGB uint8 (H, W, 3): `image` under the map, scaled to its peak; the more salient, the more opaque.

    image: uint8 or floats in [0, 1], (H, W) or (H, W, 3); saliency: (m, m) of any m, in [0, 1]; `opacity` in [0, 1], at
    the peak. Where the saliency is 0 the image stays as it is.
    """
    gray = gray_bytes(image)
    rgb = gray if gray.ndim == 3 else np.repeat(gray[..., None], 3, axis=2)
    fine = scaled_map(resized_map(saliency, *rgb.shape[:2]))
    heat = heat_colours(DARKEST + (1 - DARKEST) * fine).astype(np.float32)
    alpha = (np.float32(min(max(opacity, 0.0), 1.0)) * fine)[..., None]
    return np.round((1 - alpha) * rgb + alpha * heat).astype(np.uint8)


def map_facts(saliency: np.ndarray) -> str:
    """What scaling hides: the peak, and the share of the map above half of it."""
    saliency = np.asarray(saliency, float)
    peak = float(saliency.max())
    return f"peak {peak:.2f}, {100 * float((saliency > peak / 2).mean()):.0f} % above half of it"
