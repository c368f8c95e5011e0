"""Numbers of how a film looks, each in [0, 1] and cheap. An image is float32 (H, W) in [0, 1].

Seven can be moved (MEASURES); two more are only measured (FILM_MEASURES).

They are kept apart as far as they can be: gamma does not change with brightness and contrast, sharpness and resolution
do not either, noise hardly with edges. Blurring a grainy film still takes its noise away too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
from scipy import fft, special

GRID = 8  # pixels of a JPEG block
CALM = 0.75  # share of the smallest values of the Laplacian that count as noise; the others are edges
ENDS = (0.02, 0.98)  # quantiles between which gamma is measured
FILM = "film_"  # prefix of columns that hold them
GREYS = 64  # of the histogram behind the entropy
BLACK = 0.02  # grey value up to which a margin is black
MARGIN = 0.99  # share of a row's or column's pixels that must be
ROLL_OFF = 0.95  # share of the weighted spectrum that lies below the cut-off
_LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)  # blind to edges and planes; norm 6


def gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blurred by a Gaussian of `sigma` pixels, borders mirrored."""
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)


def brightness(image: np.ndarray) -> float:
    """The mean."""
    return float(image.mean(dtype=np.float64))


def contrast(image: np.ndarray) -> float:
    """Twice the standard deviation: 1 for half black, half white."""
    return float(2 * image.std(dtype=np.float64))


def tone(image: np.ndarray) -> tuple[float, float, float]:
    """Quantiles 0.02, 0.5 and 0.98."""
    low, middle, high = np.quantile(image, (ENDS[0], 0.5, ENDS[1]))
    return float(low), float(middle), float(high)


def gamma(image: np.ndarray) -> float:
    """Where the median lies between the ends of the grey scale: 0 at the dark one, 1 at the bright one."""
    low, middle, high = tone(image)
    return (middle - low) / (high - low) if high > low else 0.5


def sharpness(image: np.ndarray) -> float:
    """Deviation of the details of 1 to 2 pixels (a difference of Gaussians) over that of the image."""
    spread = float(image.std(dtype=np.float64))
    details = gaussian(image, 1.0) - gaussian(image, 2.0)
    return min(1.0, float(details.std(dtype=np.float64)) / spread) if spread > 1e-6 else 0.0


def noise(image: np.ndarray) -> float:
    """Standard deviation of white noise, from the smaller part of |Laplacian| (Immerkaer, 1996, made robust).

    The mean of the smallest CALM of |N(0, s)| is s * 2 (phi(0) - phi(z)) / CALM with P(|N(0, 1)| < z) = CALM.
    """
    found = np.abs(cv2.filter2D(image, -1, _LAPLACIAN, borderType=cv2.BORDER_REFLECT_101)[1:-1, 1:-1]).ravel()
    count = int(CALM * found.size)
    if not count:
        return 0.0
    return min(1.0, float(np.partition(found, count - 1)[:count].mean(dtype=np.float64)) / (6 * _CALM_MEAN))


def _calm_mean() -> float:
    z = float(special.ndtri((1 + CALM) / 2))
    return 2 * (1 - math.exp(-z * z / 2)) / math.sqrt(2 * math.pi) / CALM


_CALM_MEAN = _calm_mean()


def jpeg(image: np.ndarray) -> float:
    """How much of the steps between 8 x 8 blocks is the grid's: E / (E + I).

    E: mean over the grid's lines of |step| less the mean of the two steps beside it, 0 where negative; I: mean |step|
    inside blocks. 0 for a film without grid, 1 for even blocks. The grid begins at the image's corner.
    """
    grid, inside = 0.0, 0.0
    for steps in (np.abs(np.diff(image, axis=1)).mean(0, dtype=np.float64),
                  np.abs(np.diff(image, axis=0)).mean(1, dtype=np.float64)):  # fmt: skip
        lines = np.arange(GRID - 1, len(steps) - 1, GRID)
        if not len(lines):
            return 0.0
        within = np.delete(steps, np.arange(GRID - 1, len(steps), GRID))
        grid += float((steps[lines] - (steps[lines - 1] + steps[lines + 1]) / 2).mean())
        inside += float(within.mean())
    grid = max(0.0, grid)
    return grid / (grid + inside) if grid > 1e-9 else 0.0


def resolution(image: np.ndarray) -> float:
    """The effective cut-off as a share of the highest frequency: below it lies ROLL_OFF of the spectrum.

    Energy is weighted with the squared frequency (the energy of the slopes), which levels the spectrum of films, after
    a Hann window; frequencies beyond the circle are left out.
    """
    height, width = image.shape
    weights, bins, count = _rings(height, width)
    if count < 3:
        return 0.0
    energy = np.abs(fft.rfft2((image - image.mean()) * _window(height, width))) ** 2
    rings = np.bincount(bins.ravel(), (energy * weights).ravel(), count + 1)[:count]
    total = float(rings.sum())
    if total <= 1e-12:
        return 0.0
    sums = np.cumsum(rings) / total
    ring = int(np.searchsorted(sums, ROLL_OFF))
    before = float(sums[ring - 1]) if ring else 0.0
    return float((ring + (ROLL_OFF - before) / max(float(sums[ring]) - before, 1e-12)) / count)


@lru_cache(maxsize=2)  # a run's views are of one size
def _rings(height: int, width: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Weight of each frequency, the ring that it lies in, and how many rings there are."""
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    radius, count = np.sqrt(down**2 + across**2), min(height, width) // 2
    twice = np.where((across == 0) | (across == 0.5), 1.0, 2.0)  # half of the plane stands for both
    bins = np.minimum((radius / 0.5 * count).astype(np.int64), count)
    return (radius**2 * twice).astype(np.float32), bins, count


@lru_cache(maxsize=2)
def _window(height: int, width: int) -> np.ndarray:
    return (np.hanning(height)[:, None] * np.hanning(width)[None]).astype(np.float32)


def entropy(image: np.ndarray) -> float:
    """Of the histogram of GREYS grey values, as a share of the largest there can be: 0 for one value, 1 for all alike.

    `image`: float32 (H, W) in [0, 1].
    """
    places = np.minimum((image.ravel() * GREYS).astype(np.int64), GREYS - 1)
    shares = np.bincount(places, minlength=GREYS) / image.size
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum() / np.log(GREYS))


def black_margin(image: np.ndarray) -> float:
    """Share of the image that lies in the black rows and columns at its four sides; 1 for a black image."""
    black = image <= BLACK
    rows, columns = (_inside(black.mean(axis) >= MARGIN) for axis in (1, 0))
    return 1.0 - rows * columns / image.size


def _inside(black: np.ndarray) -> int:
    """How many rows are left without the black ones at both ends."""
    bright = np.flatnonzero(~black)
    return int(bright[-1] - bright[0] + 1) if len(bright) else 0


MEASURES: dict[str, Callable[[np.ndarray], float]] = {
    "brightness": brightness, "contrast": contrast, "gamma": gamma, "sharpness": sharpness, "noise": noise,
    "jpeg": jpeg, "resolution": resolution,
}  # fmt: skip
FILM_MEASURES = {**MEASURES, "entropy": entropy, "black margin": black_margin}


def measured(image: np.ndarray) -> dict[str, float]:
    """MEASURES of one image."""
    return {name: measure(image) for name, measure in MEASURES.items()}
