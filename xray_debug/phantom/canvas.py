"""Drawing for the phantom: shapes in unit coordinates, posed by one affine map, as float32 masks in [0, 1].

Unit coordinates: x from 0 (left edge of the film) to 1, y from 0 (top) to 1. Nothing here knows anatomy.
"""

from __future__ import annotations

import cv2
import numpy as np

_SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates


def smooth_closed(points: np.ndarray, rounds: int = 3) -> np.ndarray:
    """Chaikin's corner cutting of a closed outline (N, 2) -> (N * 2**rounds, 2)."""
    for _ in range(rounds):
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], axis=1).reshape(-1, 2)
    return points


def blob(rng: np.random.Generator, centre, radius, roughness: float = 0.2, points: int = 12) -> np.ndarray:
    """An irregular closed outline around `centre`; radius is one number or (rx, ry)."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    reach = 1 + roughness * rng.standard_normal(points).clip(-2, 2)
    rx, ry = np.broadcast_to(radius, (2,))
    return smooth_closed(np.stack([centre[0] + rx * reach * np.cos(angle), centre[1] + ry * reach * np.sin(angle)], 1))


def ellipse(centre, axes, degrees: float = 0.0, points: int = 40) -> np.ndarray:
    """Outline of an ellipse."""
    angle, turn = np.linspace(0, 2 * np.pi, points, endpoint=False), np.deg2rad(degrees)
    x, y = axes[0] * np.cos(angle), axes[1] * np.sin(angle)
    return np.stack([centre[0] + x * np.cos(turn) - y * np.sin(turn), centre[1] + x * np.sin(turn) + y * np.cos(turn)],
                    axis=1)


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
        cuts = np.cumsum([len(outline) for outline in outlines])[:-1]
        return np.split(np.round(points * (1 << _SHIFT)).astype(np.int32), cuts)

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
                mask, pixels = cv2.GaussianBlur(mask, (0, 0), pixels, borderType=cv2.BORDER_REPLICATE), 0.0
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
