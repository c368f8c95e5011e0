"""Images that are no frontal films: lateral views and CT slices, by what is said of them, else CT slices by outline.

Whether a film is lateral is not judged by its pixels: no rule for that has been measured (docs/data.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import cv2
import numpy as np

SIDE = 128  # pixels: the size the outline is looked at in
DARK = 0.12  # of the span of grey levels, above the darkest: what may be air around the body
OPENING = 9  # pixels: thinner things than this (a table, letters) are not the body
EDGE = 0.7  # share of the image's edge that must be air
TOUCH = 0.6  # share of the upper, and of the lower, edge that the body may touch
BOX = 0.92  # share of its bounding box that the body may fill: a film in a black frame fills it
ASPECT = 1.1  # the body must be so much wider than high

LATERAL, SLICE = "lateral view", "CT slice"
OUTLINE = " by outline"  # how it was seen, where nothing was said
_FRONTAL = {"pa", "ap", "frontal", "cr", "dx", "dr", "xr", "rg", "xray", "radiograph"}
_SIDEWAYS = {"lateral", "lat", "l", "ll", "rl"}
_CT = {"ct", "tomography", "axial", "coronal", "sagittal"}
_OTHER = {"mr": "MR image", "mri": "MR image", "us": "ultrasound image", "pt": "PET image", "nm": "scintigram"}


def said(text: str) -> str | None:
    """What a view or modality (`PA`, `LL`, `AP Supine`, `CT`, `X-ray`) makes of an image.

    "" for a frontal view or an X-ray modality, else LATERAL, SLICE or another kind of image; None for words not known.
    """
    words = re.findall(r"[a-z]+", text.casefold().replace("x-ray", "xray"))
    if not words:
        return None
    if _CT & set(words):
        return SLICE
    other = [_OTHER[word] for word in words if word in _OTHER]
    if other:
        return other[0]
    if _FRONTAL & set(words) or "decubitus" in words:  # a lateral decubitus film: the patient lies, the beam is frontal
        return ""
    return LATERAL if _SIDEWAYS & set(words) else None


def said_together(texts: Iterable[str]) -> str | None:
    """What several columns or tags say of one image: what is no frontal film goes before what is."""
    kinds = [kind for kind in map(said, texts) if kind is not None]
    return next((kind for kind in kinds if kind), "") if kinds else None


def is_slice(gray: np.ndarray) -> bool:
    """Whether a grey image (H, W) uint8 looks like a CT slice: a body wider than high, and air around it.

    In a frontal film the body reaches the lower edge, and mostly both sides.
    """
    height, width = gray.shape
    body = _body(cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    rows, columns = (np.flatnonzero(body.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return False
    tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
    upper, lower, left, right = (part.mean() for part in (body[0], body[-1], body[:, 0], body[:, -1]))
    air = 1 - (upper + lower + left + right) / 4
    return bool(air >= EDGE and max(upper, lower) <= TOUCH and body.sum() < BOX * tall * wide
                and wide * width >= ASPECT * tall * height)  # fmt: skip


def _body(small: np.ndarray) -> np.ndarray:
    """Bool, the largest thing in the image, filled: what no dark path joins to the edge."""
    low, high = np.percentile(small, [1, 99])
    framed = cv2.copyMakeBorder(small, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=int(low))
    _, parts = cv2.connectedComponents((framed <= low + DARK * max(high - low, 1)).astype(np.uint8), connectivity=4)
    inside = (parts != parts[0, 0])[1:-1, 1:-1].astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (OPENING, OPENING))
    inside = cv2.morphologyEx(inside, cv2.MORPH_OPEN, disc, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    count, parts, facts, _ = cv2.connectedComponentsWithStats(inside)
    return parts == 1 + facts[1:, cv2.CC_STAT_AREA].argmax() if count > 1 else inside > 0
