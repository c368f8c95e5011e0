"""Markers lifted off images and pasted into others (the swap test), with text-free patches as controls.

What is lifted is the difference between an image and the same image inpainted: the letters alone, in grey levels,
without the ground they stand on, so a pasted marker has no edges of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from xray_debug.cleaning.controls import place_controls
from xray_debug.cleaning.erase import clean_image, erase
from xray_debug.cleaning.inpainting import growth
from xray_debug.config import CleanConfig
from xray_debug.data.boxes import clip_boxes, dilate_boxes
from xray_debug.data.view import GreyWindow, ModelView, to_gray8


@dataclass(frozen=True)
class Piece:
    """A patch of grey-level differences, float32 (h, w), and the place of its centre in fractions of the image."""

    difference: np.ndarray
    x: float
    y: float


@dataclass(frozen=True)
class Donor:
    """The markers of one image, and as many text-free patches of the same shapes that stand where the markers do."""

    image_id: str
    label: str
    height: int
    width: int
    markers: tuple[Piece, ...]
    controls: tuple[Piece, ...]
    patch: bytes = b""  # how its text was erased, for later stages


def _pieces(difference: np.ndarray, boxes: np.ndarray, places: np.ndarray, clean: CleanConfig) -> tuple[Piece, ...]:
    """The differences (H, W) inside `boxes`, to be pasted at `places`."""
    height, width = difference.shape
    grown = dilate_boxes(boxes, growth(boxes, clean.dilation, clean.min_dilation), height, width)
    return tuple(
        Piece(difference[y0:y1, x0:x1].copy(), float(a + c) / 2 / width, float(b + d) / 2 / height)
        for (x0, y0, x1, y1), (a, b, c, d) in zip(grown, places, strict=True)
    )


def lifted(gray: np.ndarray, erased: np.ndarray, boxes: np.ndarray, clean: CleanConfig) -> tuple[Piece, ...]:
    """What stands in `boxes` of an image, uint8 (H, W), that was erased in the other: pieces at their own places."""
    return _pieces(gray.astype(np.float32) - erased, boxes, boxes, clean)


def make_donor(image_id: str, label: str, image: np.ndarray, boxes, viewer: ModelView, clean: CleanConfig,
               seed: int, window: GreyWindow | None = None) -> Donor | None:
    """The donor of an image, or None where the view shows none of its text or there is no place for a control.

    `window`: the image's grey window, its own without it; pieces are differences in the grey levels seen through it.
    """
    height, width = image.shape[:2]
    text = clip_boxes(boxes, height, width)
    visible = text[viewer.visible_fraction(text, height, width) > 0]
    if not len(visible):
        return None
    places = [p for p in place_controls(visible, text, viewer, height, width, seed, 1) if len(p) == len(visible)]
    if not places:
        return None
    window = GreyWindow.of(image) if window is None else window
    gray = to_gray8(image, window).astype(np.float32)
    erased, _, patch = erase(image, text, clean)
    elsewhere, _ = clean_image(image, places[0], clean)
    return Donor(image_id, label, height, width, _pieces(gray - to_gray8(erased, window), visible, visible, clean),
                 _pieces(gray - to_gray8(elsewhere, window), places[0], visible, clean), patch)


def paste(gray: np.ndarray, donor: Donor, pieces: Sequence[Piece]) -> np.ndarray:
    """`gray`, uint8 (H, W) as seen through its film's window, with the pieces added at their places.

    They are scaled as the image's height is to the donor's."""
    height, width = gray.shape
    scale, patches = height / donor.height, []
    for piece in pieces:
        rows, columns = (max(1, min(limit, round(side * scale)))
                         for side, limit in zip(piece.difference.shape, gray.shape, strict=True))
        patch = cv2.resize(piece.difference, (columns, rows), interpolation=cv2.INTER_AREA if scale < 1
                           else cv2.INTER_LINEAR)
        x = int(np.clip(round(piece.x * width - columns / 2), 0, width - columns))
        y = int(np.clip(round(piece.y * height - rows / 2), 0, height - rows))
        patches.append((y, x, patch))
    top, left = (min((p[i] for p in patches), default=0) for i in (0, 1))
    bottom, right = (max((p[i] + p[2].shape[i] for p in patches), default=0) for i in (0, 1))
    part = gray[top:bottom, left:right].astype(np.float32)  # nothing else changes
    for y, x, patch in patches:
        part[y - top : y - top + patch.shape[0], x - left : x - left + patch.shape[1]] += patch
    result = gray.copy()
    result[top:bottom, left:right] = np.round(part.clip(0, 255)).astype(np.uint8)
    return result


def choose_donors(donors: Sequence[Donor], label: str, count: int, seed: int) -> list[Donor]:
    """`count` donors of other classes, the classes taken in turn, without repeats while there are enough."""
    rng = np.random.default_rng(seed)
    groups = {}
    for donor in donors:
        if donor.label != label:
            groups.setdefault(donor.label, []).append(donor)
    queues = [[group[i] for i in rng.permutation(len(group))] for _, group in sorted(groups.items())]
    rng.shuffle(queues)
    chosen = []
    while queues and len(chosen) < count:
        queues = [queue for queue in queues if queue]
        for queue in queues[: count - len(chosen)]:
            chosen.append(queue.pop())
    return chosen
