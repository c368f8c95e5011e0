"""What moves a film's look: for each property a family of changes with one amount in [-1, 1].

Amount 0 leaves the image as it is, a larger one raises the property, a negative one lowers it; how far a film is moved
at most says `end`. An image is float32 (H, W) in [0, 1]; what comes back is the same, a new array.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from xray_debug.audit.look.measures import GRID, gaussian, tone

Family = Callable[[np.ndarray, float, int], np.ndarray]  # image, amount, seed of the grain
EASED = 0.1  # amount up to which a film sampled down is mixed with itself: the first pixel less is a large step


def clipped(image: np.ndarray) -> np.ndarray:
    return np.clip(image, 0, 1, out=image).astype(np.float32, copy=False)


def brightness(image: np.ndarray, amount: float, seed: int) -> np.ndarray:
    """The same added everywhere."""
    return clipped(image + np.float32(amount * abs(amount)))


def contrast(image: np.ndarray, amount: float, seed: int) -> np.ndarray:
    """Stretched about the mean, up to 20 times and down to a 20th."""
    mean = np.float32(image.mean())
    return clipped(mean + (image - mean) * np.float32(np.exp(3 * amount)))


def gamma(image: np.ndarray, amount: float, seed: int) -> np.ndarray:
    """A power of the grey scale between its ends; brightness and contrast are brought back to what they were."""
    low, _, high = tone(image)
    if high <= low:
        return image.copy()
    scale = (image - np.float32(low)) / np.float32(high - low)
    curve = np.where((scale > 0) & (scale < 1), np.clip(scale, 1e-6, 1) ** np.float32(np.exp(-2.5 * amount)), scale)
    spread = float(curve.std())
    if spread < 1e-6:
        return image.copy()
    return clipped((curve - curve.mean()) * np.float32(image.std() / spread) + np.float32(image.mean()))


def sharpness(image: np.ndarray, amount: float, seed: int) -> np.ndarray:
    """Blurred by a Gaussian; or unsharp masking of radius 2."""
    if amount < 0:
        return blurred(image, -amount)
    return clipped(image + np.float32(8 * amount) * (image - gaussian(image, 2.0)))


def noise(image: np.ndarray, amount: float, seed: int) -> np.ndarray:
    """White grain added; or small details shrunk (soft threshold), with more amount ever larger ones."""
    if amount >= 0:
        return clipped(image + np.float32(0.5 * amount**2) * grain(image.shape, seed))
    smooth = gaussian(image, 0.8 + 8 * amount**2)
    details, least = image - smooth, np.float32(0.5 * amount**2)
    return clipped(smooth + np.sign(details) * np.maximum(np.abs(details) - least, 0))


def jpeg(image: np.ndarray, amount: float, seed: int) -> np.ndarray:
    """Encoded as a JPEG of quality 100 to 1; or the steps between blocks levelled out, with more amount blurred too."""
    if amount > 0:
        quality = max(1, round(100 * (1 - amount)))
        coded = cv2.imencode(".jpg", np.round(image * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE).astype(np.float32) / np.float32(255)
    level = deblocked(deblocked(image, min(1.0, -2 * amount)).T, min(1.0, -2 * amount)).T
    return clipped(np.ascontiguousarray(level) if amount > -0.5 else blurred(level, -2 * amount - 1))


def resolution(image: np.ndarray, amount: float, seed: int) -> np.ndarray:
    """Sampled down, to a twelfth at most, and up again; or fine grain added, as no film can be made finer."""
    if amount > 0:
        fine = grain(image.shape, seed)
        fine -= gaussian(fine, 1.0)
        return clipped(image + np.float32(0.5 * amount**2) * fine)
    height, width = image.shape
    share, mixed = 1 / (1 + 11 * max(amount**2, EASED**2)), np.float32(min(1.0, -amount / EASED))
    size = (max(2, min(width - 1, round(width * share))), max(2, min(height - 1, round(height * share))))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return clipped(image + mixed * (coarse - image))


def blurred(image: np.ndarray, amount: float) -> np.ndarray:
    """By a Gaussian that amounts to 8 pixels at `amount` 1."""
    sigma = 8 * amount**2
    return clipped(gaussian(np.ascontiguousarray(image), sigma)) if sigma > 0.15 else image.copy()


def deblocked(image: np.ndarray, share: float) -> np.ndarray:
    """(H, W), `share` of what the steps between columns of blocks have beyond their neighbours spread over blocks."""
    result, width = image.copy(), image.shape[1]
    half = GRID // 2
    for edge in range(GRID, width - 1, GRID):
        step = image[:, edge] - image[:, edge - 1]
        beside = (image[:, edge - 1] - image[:, edge - 2] + image[:, edge + 1] - image[:, edge]) / 2
        excess = np.float32(share) * (step - beside)
        for place in range(min(half, width - edge)):
            weight = np.float32((half - place) / (2 * half))
            result[:, edge - 1 - place] += weight * excess
            result[:, edge + place] -= weight * excess
    return result


def grain(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """White noise, mean 0, deviation 1."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


FAMILIES: dict[str, Family] = {
    "brightness": brightness, "contrast": contrast, "gamma": gamma, "sharpness": sharpness, "noise": noise,
    "jpeg": jpeg, "resolution": resolution,
}  # fmt: skip


def end(name: str, sign: float) -> float:
    """The largest amount, in (0, 1], by which the property is moved that way: the grid is not blurred away."""
    return 0.5 if (name, sign) == ("jpeg", -1.0) else 1.0
