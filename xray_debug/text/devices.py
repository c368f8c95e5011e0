"""Devices in a network's third map: electrodes, pacemakers, ports, clips, jewellery, and lines that are sharply drawn.

A compact device is one box. A line would be one box around all that it crosses; it is cut into short pieces instead.
"""

from __future__ import annotations

import cv2
import numpy as np

from xray_debug.text.craft import Thresholds, Word, find_words

PIECE = 24  # pixels of the map, side of the pieces that a long and thin find is cut into
# By which a lone character must be surer than a device: snaps and clips look like letters, and never like several in a
# row, which only need to be as sure. Chosen on reviewed training films, where up to 0.2 only false boxes go, and drawn
# ones, where lone letters go beyond 0.1
SURER = 0.1
CHARACTER = 0.4  # of the region map, above which a word comes apart into its characters
FULL = 0.4  # share of its upright box that a compact device fills at least


def find_devices(heat: np.ndarray, thresholds: Thresholds) -> list[Word]:
    """The finds of a device map, float32 (h, w) in [0, 1]: components above `low` with a peak of `text`, as of words.

    One longer than PIECE that fills less than FULL of its upright box comes in pieces, each with its own peak as score.
    """
    found = []
    for device in find_words(heat, np.zeros_like(heat), thresholds):
        found += _pieces(device, heat) if _is_long(device) else [device]
    return [piece for piece in found if piece.score >= thresholds.text]


def _is_long(device: Word) -> bool:
    x0, y0, x1, y1 = device.rectangle
    return max(x1 - x0, y1 - y0) > PIECE and len(device.points) < FULL * (x1 - x0) * (y1 - y0)


def _pieces(device: Word, heat: np.ndarray) -> list[Word]:
    cells = (device.points - device.points.min(axis=0)) // PIECE
    _, where = np.unique(cells, axis=0, return_inverse=True)
    parts = [device.points[where.ravel() == i] for i in range(where.max() + 1)]
    return [Word(part, float(heat[part[:, 1], part[:, 0]].max())) for part in parts]


def settle(words: list[Word], devices: list[Word], region: np.ndarray, heat: np.ndarray
           ) -> tuple[list[Word], list[Word]]:
    """Words and devices of one reading, each place of one kind.

    A word is a device where one was found and the device map, averaged over the word (by its own map: the middle counts
    most), exceeds its score, for a lone character less SURER. A device is text where words that are left take more than
    half of it. So the snap in an electrode's middle is no letter, while print on a large device stays, and so does a
    letter that a line crosses.
    """
    found = _under(devices, heat.shape)
    words = [word for word in words if not found[word.points[:, 1], word.points[:, 0]].any()
             or word.score >= _mean(heat, word.points, region) + (SURER if _is_lone(word, region) else 0)]
    taken = _under(words, heat.shape)
    return words, [device for device in devices if taken[device.points[:, 1], device.points[:, 0]].mean() <= 0.5]


def _under(finds: list[Word], shape: tuple[int, int]) -> np.ndarray:
    """bool (h, w): the pixels of the finds."""
    taken = np.zeros(shape, bool)
    for find in finds:
        taken[find.points[:, 1], find.points[:, 0]] = True
    return taken


def _is_lone(word: Word, region: np.ndarray) -> bool:
    """Whether the word is one character: its pixels above CHARACTER hang together, but for specks of under 4 pixels."""
    at = word.points - word.points.min(axis=0)
    high = np.zeros(at.max(axis=0)[::-1] + 1, np.uint8)
    high[at[:, 1], at[:, 0]] = region[word.points[:, 1], word.points[:, 0]] > CHARACTER
    _, _, stats, _ = cv2.connectedComponentsWithStats(high, connectivity=4)
    return int((stats[1:, cv2.CC_STAT_AREA] >= 4).sum()) < 2


def _mean(values: np.ndarray, points: np.ndarray, weights: np.ndarray) -> float:
    at = points[:, 1], points[:, 0]
    return float((values[at] * weights[at]).sum() / max(weights[at].sum(), 1e-6))

