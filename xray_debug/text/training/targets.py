"""From boxes to the score maps that are learnt: CRAFT's Gaussians of characters and their neighbours, and devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

EDGE = 1.6  # standard deviations from a character's centre to its edge: 0.4 is crossed at 85 % of the way
THIN_LINE = 3.0  # pixels, half the width that a line is taken to have at least
THIN = 0.3  # a thin character (I, 1) is taken to be at least this wide, as a share of its height


@dataclass(frozen=True)
class Character:
    """A character's box, possibly turned: `centre`, half its width `right` and half its height `down`, (2,) x, y."""

    centre: np.ndarray
    right: np.ndarray
    down: np.ndarray
    word: int = 0

    @property
    def corners(self) -> np.ndarray:
        """(4, 2), in order around the box."""
        return np.stack([self.centre + a * self.right + b * self.down for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))])

    def moved(self, matrix: np.ndarray) -> Character:
        """Through the affine (2, 3) matrix."""
        turn = matrix[:, :2]
        return Character(turn @ self.centre + matrix[:, 2], turn @ self.right, turn @ self.down, self.word)

    def bounds(self) -> np.ndarray:
        """(4,) x0, y0, x1, y1 of the upright box around it."""
        corners = self.corners
        return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def visible_share(character: Character, height: int, width: int) -> float:
    """Share of the upright box around the character inside the image."""
    x0, y0, x1, y1 = character.bounds()
    seen = max(0.0, min(width, x1) - max(0.0, x0)) * max(0.0, min(height, y1) - max(0.0, y0))
    return seen / max((x1 - x0) * (y1 - y0), 1e-9)


def clipped(character: Character, height: int, width: int) -> Character:
    """What is seen of a character that the image's edge cuts, as an upright box; others as they are."""
    if visible_share(character, height, width) > 0.97:
        return character
    x0, y0, x1, y1 = character.bounds()
    x0, x1, y0, y1 = max(0.0, x0), min(width, x1), max(0.0, y0), min(height, y1)
    return Character(np.array([x0 + x1, y0 + y1]) / 2, np.array([(x1 - x0) / 2, 0]), np.array([0, (y1 - y0) / 2]),
                     character.word)


def add_gaussian(heat: np.ndarray, centre: np.ndarray, right: np.ndarray, down: np.ndarray) -> None:
    """Lays exp(-(EDGE * a)^2 / 2) over `heat` by maximum, a the distance in half sides; in place.

    Coordinates are pixels of `heat`, pixel (i, j) being at (j + 0.5, i + 0.5).
    """
    here = _around(heat, centre, right, down, 2.0)  # exp(-(1.6 * 2)^2 / 2) = 0.006: nothing beyond
    if here is None:
        return
    window, across, along = here
    square = across**2 + along**2
    np.maximum(window, np.exp(-0.5 * EDGE**2 * square), out=window)


def _widened(character: Character) -> tuple[np.ndarray, np.ndarray]:
    """Half width and half height, neither under THIN of the other."""
    wide, high = np.linalg.norm(character.right), np.linalg.norm(character.down)
    return (character.right * max(1.0, THIN * high / max(wide, 1e-6)),
            character.down * max(1.0, THIN * wide / max(high, 1e-6)))


def draw_targets(characters: list[Character], height: int, width: int) -> np.ndarray:
    """(2, height / 2, width / 2) float32 in [0, 1]: region and affinity of an image's characters.

    Characters of one `word`, in the order given, are linked: the Gaussian between two neighbours spans from centre to
    centre and two thirds of their height, the quadrilateral of CRAFT's section 3.2.1.
    """
    maps = np.zeros((2, height // 2, width // 2), np.float32)
    halves = [Character(c.centre / 2, c.right / 2, c.down / 2, c.word) for c in characters]
    for character in halves:
        add_gaussian(maps[0], character.centre, *_widened(character))
    for a, b in zip(halves[:-1], halves[1:], strict=True):
        if a.word == b.word:
            add_gaussian(maps[1], (a.centre + b.centre) / 2, (b.centre - a.centre) / 2, (a.down + b.down) / 3)
    return maps


def add_plateau(heat: np.ndarray, centre: np.ndarray, right: np.ndarray, down: np.ndarray) -> None:
    """Lays 2^-(a^4 + b^4) over `heat` by maximum, a and b the distances in half sides; in place. A half at the edge.

    Flat inside, for a device is one all over, and a letter-like part of it must not outshine the whole.
    """
    here = _around(heat, centre, right, down, 1.7)  # 2^-(1.7^4) = 0.003
    if here is None:
        return
    window, across, along = here
    fourth = across**4 + along**4
    np.maximum(window, np.exp2(-fourth), out=window)


def draw_devices(bodies: Sequence[Character], lines: Sequence[tuple[np.ndarray, float]], height: int, width: int
                 ) -> np.ndarray:
    """(height / 2, width / 2) float32 in [0, 1]: the map of an image's devices.

    `bodies`: compact ones, as turned boxes; `lines`: points (P, 2) x, y with half the width, in pixels of the image.
    Both are flat inside and a half at their edge; a thin line is taken to be 2 THIN_LINE wide.
    """
    heat = np.zeros((height // 2, width // 2), np.float32)
    for body in bodies:
        add_plateau(heat, body.centre / 2, body.right / 2, body.down / 2)
    for points, half in lines:
        ground = np.ones(heat.shape, np.uint8)
        cv2.polylines(ground, [((points / 2 - 0.5) * 8).round().astype(np.int32)], False, 0, 1, cv2.LINE_8, 3)
        if not ground.all():
            far = cv2.distanceTransform(ground, cv2.DIST_L2, 3) / (max(half + 1, THIN_LINE) / 2)
            np.maximum(heat, np.exp2(-np.minimum(far, 4) ** 4), out=heat)
    return heat


def _around(heat: np.ndarray, centre: np.ndarray, right: np.ndarray, down: np.ndarray, reach: float):
    """The part of `heat` within `reach` half sides of a quadrilateral, and each pixel's place in it along both half
    sides, in their lengths; None where it has no area or lies outside."""
    basis = np.stack([right, down], axis=1)
    if abs(np.linalg.det(basis)) < 1e-6:
        return None
    far = reach * (np.abs(right) + np.abs(down))
    x0, y0 = np.maximum(0, np.floor(centre - far)).astype(int)
    x1, y1 = np.minimum(heat.shape[::-1], np.ceil(centre + far)).astype(int)
    if x1 <= x0 or y1 <= y0:
        return None
    inverse = np.linalg.inv(basis)
    x, y = np.arange(x0, x1) + 0.5 - centre[0], (np.arange(y0, y1) + 0.5 - centre[1])[:, None]
    return heat[y0:y1, x0:x1], inverse[0, 0] * x + inverse[0, 1] * y, inverse[1, 0] * x + inverse[1, 1] * y
