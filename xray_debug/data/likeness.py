"""What tells that two pictures are one: an outline map of the film, corners of it, and how well two of them agree.

The outline is the size of the gradient, locally normalised: inversion, gamma and CLAHE change it little. It is taken
after a uniform border is cut away, and stretched to a square, so that a crop is an affine map of it.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

SIDE = 128  # pixels of an outline
CORNERS = 48  # at most, of an outline
BYTES = 32  # of a corner's ORB descriptor
SHAPE = (SIDE, SIDE)
NONE = 255  # place of a corner there is not
DISTANCE = 72  # bits of 256 that two corners of the same thing differ in at most
INLIERS = 5  # corners that must agree on one affine map
SCALES = (0.65, 1.55)  # of that map, along each axis
OVERLAP = 0.5  # share of the square that both must cover
MARGIN = 0.08  # that a correlation at half the size may stay below the one asked for
HALF = np.float64([[1, 1, 0.5], [1, 1, 0.5]])  # an affine map of pictures of half the size
SPREAD = 4.0  # grey levels: a row that spreads less is border


class Seen(NamedTuple):
    """An outline, or its mirror image, with its corners: uint8 (CORNERS, BYTES), and their places (CORNERS, 2)."""

    outline: np.ndarray
    corners: np.ndarray
    places: np.ndarray


def trimmed(gray: np.ndarray) -> np.ndarray:
    """`gray` (H, W) uint8 without rows and columns at its edges that are about one grey; whole if that is all."""
    for _ in range(2):  # a row across a side border spreads until that border is gone
        for axis in (1, 0):
            inside = np.flatnonzero(gray.std(axis=axis) > SPREAD)
            if len(inside) < SIDE // 4:
                return gray
            part = slice(inside[0], inside[-1] + 1)
            gray = gray[part] if axis == 1 else gray[:, part]
    return gray


def reduced(gray: np.ndarray) -> np.ndarray:
    """A grey image (H, W) uint8 in whole steps down to 1.5 to 3 times SIDE: enough for an outline and a hash."""
    step = min(gray.shape) * 2 // (3 * SIDE)
    if step < 2:
        return gray
    height, width = (side // step for side in gray.shape)
    return cv2.resize(gray[: height * step, : width * step], (width, height), interpolation=cv2.INTER_AREA)


def outline(gray: np.ndarray) -> np.ndarray:
    """uint8 SHAPE of a grey image (H, W) uint8, best `reduced`."""
    small = cv2.resize(trimmed(gray), (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    small = cv2.GaussianBlur(small, (0, 0), 1.2)
    size = cv2.magnitude(cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1))
    return cv2.convertScaleAbs(size / (cv2.blur(size, (25, 25)) + 2), alpha=90)


def corners(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(descriptors uint8 (CORNERS, BYTES), places uint8 (CORNERS, 2)) of an outline."""
    finder = cv2.ORB_create(CORNERS, scaleFactor=1.2, nlevels=4, edgeThreshold=8, patchSize=25, fastThreshold=8)
    points, found = finder.detectAndCompute(picture, None)
    descriptors, places = np.zeros((CORNERS, BYTES), np.uint8), np.full((CORNERS, 2), NONE, np.uint8)
    count = min(len(points), CORNERS)
    if count:
        descriptors[:count] = found[:count]
        places[:count] = np.rint([point.pt for point in points[:count]])
    return descriptors, places


def agreement(first: Seen, second: Seen, least: float, whole: bool = False) -> float:
    """How well two pictures agree: a correlation in [-1, 1], 0 where none is found.

    Corners that fit propose an affine map (RANSAC); it is refined on the outlines by enhanced correlation
    (Evangelidis and Psarakis, 2008), whose value is returned where the map is one of a crop. `least`: the correlation
    asked for; 0 may stand for one clearly below it. `whole`: where too few corners fit, the pictures are laid on each
    other as they are.
    """
    pairs = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(first.corners, second.corners)
    pairs = [(pair.queryIdx, pair.trainIdx) for pair in pairs if pair.distance <= DISTANCE]
    pairs = [(i, j) for i, j in pairs if first.places[i, 0] != NONE and second.places[j, 0] != NONE]
    affine = _map_of(pairs, first.places, second.places)
    if affine is None and whole:
        affine = np.eye(2, 3)
    return 0.0 if affine is None else _laid_on(first.outline, second.outline, affine, least)


def _map_of(pairs: list[tuple[int, int]], at_one: np.ndarray, at_two: np.ndarray) -> np.ndarray | None:
    """The affine map (2, 3) from the second to the first that most pairs fit; None for too few."""
    if len(pairs) < INLIERS:
        return None
    source = np.float32([at_one[i] for i, _ in pairs])
    target = np.float32([at_two[j] for _, j in pairs])
    cv2.setRNGSeed(0)
    affine, inliers = cv2.estimateAffine2D(target, source, ransacReprojThreshold=3, maxIters=500)
    if affine is None or inliers.sum() < INLIERS or not _is_crop(affine):
        return None
    return affine


def _laid_on(first: np.ndarray, second: np.ndarray, affine: np.ndarray, least: float) -> float:
    """The enhanced correlation of both outlines after `affine` was refined; 0 where it leaves what a crop can do.

    Refined at half the size first, which costs a quarter; 0 for pictures that stay MARGIN below `least` there.
    """
    small = [cv2.resize(picture, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA) for picture in (first, second)]
    value, found = _refined(*small, affine * HALF, 10, 1)
    if value < least - MARGIN:
        return 0.0
    value, found = _refined(first, second, found / HALF, 10, 5)
    return min(value, 1.0) if _is_crop(found) else 0.0


def _refined(first: np.ndarray, second: np.ndarray, affine: np.ndarray, steps: int, blur: int) -> tuple:
    """(correlation, the affine map it has) after `steps` of refinement; 0 where they do not converge."""
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, steps, 1e-4)
    try:
        value, found = cv2.findTransformECC(
            second, np.ascontiguousarray(first), affine.astype(np.float32), cv2.MOTION_AFFINE, stop, None, blur
        )  # fmt: skip
    except cv2.error:
        return 0.0, affine
    return float(value), found


def _is_crop(affine: np.ndarray) -> bool:
    """Whether the map is about upright, of a scale in SCALES, and keeps OVERLAP of the square inside."""
    across, down = affine[0, 0], affine[1, 1]
    if not all(SCALES[0] <= scale <= SCALES[1] for scale in (across, down)):
        return False
    if max(abs(affine[0, 1]), abs(affine[1, 0])) > 0.15:
        return False
    ends = affine @ np.float32([[0, 0, 1], [SIDE, SIDE, 1]]).T
    inside = np.clip(ends[:, 1], 0, SIDE) - np.clip(ends[:, 0], 0, SIDE)
    return bool(inside.min() > 0 and inside.prod() / SIDE**2 >= OVERLAP)
