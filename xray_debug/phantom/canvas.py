"""Drawing for the phantom: shapes in unit coordinates, posed by one affine map, as float32 masks in [0, 1].

Unit coordinates: x from 0 (left edge of the film) to 1, y from 0 (top) to 1. Nothing here knows anatomy.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate

import cv2
import numpy as np

_SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates


def smooth_closed(points: np.ndarray, rounds: int = 3) -> np.ndarray:
    """Chaikin's corner cutting of a closed outline (N, 2) -> (N * 2**rounds, 2)."""
    for _ in range(rounds):
        after, cut = np.concatenate([points[1:], points[:1]]), np.empty((len(points), 2, 2))
        cut[:, 0] = 0.75 * points + 0.25 * after
        cut[:, 1] = 0.25 * points + 0.75 * after
        points = cut.reshape(-1, 2)
    return points


@lru_cache(maxsize=16)
def _circle(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of `points` equal steps around a circle."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.cos(angle), np.sin(angle)


def _outline(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(N,) and (N,) -> (N, 2)."""
    points = np.empty((len(x), 2))
    points[:, 0], points[:, 1] = x, y
    return points


def blob(rng: np.random.Generator, centre, radius, roughness: float = 0.2, points: int = 12) -> np.ndarray:
    """An irregular closed outline around `centre`; radius is one number or (rx, ry)."""
    cos, sin = _circle(points)
    reach = 1 + roughness * rng.standard_normal(points).clip(-2, 2)
    rx, ry = radius if isinstance(radius, tuple) else (radius, radius)
    return smooth_closed(_outline(centre[0] + rx * reach * cos, centre[1] + ry * reach * sin))


def ellipse(centre, axes, degrees: float = 0.0, points: int = 40) -> np.ndarray:
    """Outline of an ellipse."""
    (cos, sin), turn = _circle(points), np.deg2rad(degrees)
    x, y, across, down = axes[0] * cos, axes[1] * sin, np.cos(turn), np.sin(turn)
    return _outline(centre[0] + x * across - y * down, centre[1] + x * down + y * across)


def _blur_bytes(mask: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of bytes, worked out only where it can be above zero: in whole numbers, so nothing else changes."""
    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return mask
    reach = int(3 * sigma) + 2  # OpenCV's kernel for bytes ends at 3 sigma
    rows, columns = slice(max(y - reach, 0), y + height + reach), slice(max(x - reach, 0), x + width + reach)
    result = np.zeros_like(mask)
    result[rows, columns] = cv2.GaussianBlur(mask[rows, columns], (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return result


class Canvas:
    """Draws on (size, size) films in one pose: rotation in degrees, scale and shift about the film's centre."""

    def __init__(self, size: int, degrees: float = 0.0, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)):
        turn, self.size, self.scale = np.deg2rad(degrees), size, scale
        self.matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        self.offset = np.array([0.5, 0.5]) + shift - self.matrix @ np.array([0.5, 0.5])

    def pixels(self, points) -> np.ndarray:
        """Unit points (N, 2) -> pixel coordinates (N, 2)."""
        return (np.asarray(points, np.float64) @ self.matrix.T + self.offset) * self.size

    def _fixed(self, outlines) -> list[np.ndarray]:
        """Outlines (each (N, 2), unit lengths) in OpenCV's fixed-point pixels."""
        points = self.pixels(np.concatenate(outlines)) - 0.5
        points = np.round(points * (1 << _SHIFT)).astype(np.int32)
        ends = list(accumulate(len(outline) for outline in outlines))
        return [points[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def fill(self, *outlines, soft: float = 0.0) -> np.ndarray:
        """Union of filled outlines, edges blurred with sigma `soft` (unit lengths)."""
        mask = np.zeros((self.size, self.size), np.uint8)
        for outline in self._fixed(outlines):
            cv2.fillPoly(mask, [outline], 255, cv2.LINE_AA, _SHIFT)
        return self.blur(mask, soft)

    def strokes(self, *groups, soft: float = 0.0) -> np.ndarray:
        """Groups (lines, width in unit lengths, level in [0, 1]), later ones on top; a line is (N, 2) points."""
        mask = np.zeros((self.size, self.size), np.uint8)
        for lines, width, level in groups:
            thickness = max(1, round(float(width) * self.scale * self.size))
            cv2.polylines(mask, self._fixed(lines), False, round(255 * level), thickness, cv2.LINE_AA, _SHIFT)
        return self.blur(mask, soft)

    def blur(self, mask: np.ndarray, sigma: float) -> np.ndarray:
        """Gaussian blur with sigma in unit lengths; float32 in [0, 1] from uint8, range kept from float."""
        pixels = sigma * self.size * self.scale
        if mask.dtype == np.uint8:
            if 0.3 <= pixels < 3:  # OpenCV is several times faster on bytes, and steep edges leave no bands
                mask, pixels = _blur_bytes(mask, pixels), 0.0
            mask = mask.astype(np.float32) * np.float32(1 / 255)
        if pixels < 0.3:
            return mask
        shrink = 1
        while pixels / shrink > 5 and self.size // shrink > 32:
            shrink *= 2
        if shrink > 1:
            side = -(-self.size // shrink)
            mask = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
        mask = cv2.GaussianBlur(mask, (0, 0), pixels / shrink, borderType=cv2.BORDER_REPLICATE)
        return mask if shrink == 1 else cv2.resize(mask, (self.size, self.size), interpolation=cv2.INTER_LINEAR)

    def noise(self, rng: np.random.Generator, sigma: float) -> np.ndarray:
        """Gaussian noise of unit variance with correlation length `sigma` (unit lengths), (size, size)."""
        side = int(np.clip(round(1.0 / max(sigma, 1e-6)), 4, self.size))
        field = rng.standard_normal((side, side), dtype=np.float32)
        if side < self.size:
            field = cv2.resize(field, (self.size, self.size), interpolation=cv2.INTER_CUBIC)
        return field / max(float(field.std()), 1e-6)
