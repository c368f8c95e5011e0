"""Training samples: a crop of a radiograph with random markers and distractors, its score maps and where they hold."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from xray_debug.text.training.distractors import add_distractors
from xray_debug.text.training.kinds import add_band, add_marker
from xray_debug.text.training.targets import Character, clipped, draw_targets, visible_share


@dataclass(frozen=True)
class Background:
    """A radiograph, grey uint8 (H, W), long side 768, and what is known of the text in it, at half resolution.

    `known`: (2, H / 2, W / 2) uint8, region and affinity times 255 (None: no text known); `unsure`: bool, where
    nothing may be learnt (None: nowhere); `places`: (P, 2) x, y in pixels of the image that are worth looking at.
    """

    image: np.ndarray
    known: np.ndarray | None = None
    unsure: np.ndarray | None = None
    places: np.ndarray | None = None


@dataclass
class Sample:
    """`image` uint8 (S, S); `maps` float32 (2, S/2, S/2); `valid` and `drawn` bool (S/2, S/2).

    Nothing is learnt where not `valid`. `drawn` is where the renderer's word is final; elsewhere the background may
    hold text that nobody has marked.
    """

    image: np.ndarray
    maps: np.ndarray
    valid: np.ndarray
    drawn: np.ndarray
    characters: list[Character] = field(default_factory=list)


def _window(background: Background, size: int, rng: np.random.Generator) -> np.ndarray:
    """(2, 3) matrix from the background to a crop of `size` pixels: place, scale, and turns and mirrors sometimes.

    Half of the crops hold one of the background's `places`, if it has any; half of the rest lie at the edge of the
    film, where markers do; a crop may reach over it.
    """
    height, width = background.image.shape
    scale = np.exp(rng.uniform(np.log(0.6), np.log(1.4)))
    span = size / scale
    low, high = np.array([-0.1, -0.1]) * span, np.array([width, height]) - 0.9 * span
    high = np.maximum(high, low)
    origin = rng.uniform(low, high)
    if background.places is not None and len(background.places) and rng.random() < 0.5:
        place = background.places[rng.integers(len(background.places))]
        origin = np.clip(place - rng.uniform(0.15, 0.85, 2) * span, low, high)
    elif rng.random() < 0.5:
        side = rng.integers(2)
        origin[side] = np.clip(rng.choice((0, (width, height)[side] - span)) + rng.normal() * span * 0.1,
                               low[side], high[side])
    matrix = np.array([[scale, 0, -origin[0] * scale], [0, scale, -origin[1] * scale]])
    angle = rng.normal() * 3 + (rng.choice((90, 180, 270)) if rng.random() < 0.12 else 0)
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    turn = np.array([[c * (-1 if rng.random() < 0.5 else 1), -s], [s * (-1 if rng.random() < 0.5 else 1), c]])
    middle = np.full(2, size / 2)
    return np.concatenate([turn @ matrix[:, :2], (turn @ (matrix[:, 2] - middle) + middle)[:, None]], axis=1)


def _warp(values: np.ndarray, matrix: np.ndarray, size: int, half: bool = False, **options) -> np.ndarray:
    """The crop of one plane; `half`: of a plane at half resolution, to half the crop's size."""
    matrix = matrix.copy()
    if half:
        matrix[:, 2] /= 2
        size //= 2
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV counts from pixel centres
    return cv2.warpAffine(values, matrix, (size, size), flags=cv2.INTER_LINEAR, **options)


def _exposure(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gamma, contrast and brightness of float32 grey values; rarely the negative."""
    image = 255 * (np.clip(image, 0, 255) / 255) ** np.float32(np.exp(rng.normal() * 0.35))
    image = image * np.float32(rng.uniform(0.6, 1.1)) + np.float32(rng.uniform(-10, 30) * (rng.random() < 0.5))
    return 255 - image if rng.random() < 0.04 else image


def _camera(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What befalls the finished picture: blur, lost resolution, noise, JPEG. float32 in, uint8 out."""
    size = image.shape[0]
    if rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.0))
    if rng.random() < 0.15:
        small = round(size * rng.uniform(0.55, 0.95))
        image = cv2.resize(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), (size, size))
    if rng.random() < 0.4:
        image = image + rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0.5, 5))
    pixels = np.clip(image, 0, 255).round().astype(np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))]
        pixels = cv2.imdecode(cv2.imencode(".jpg", pixels, quality)[1], cv2.IMREAD_GRAYSCALE)
    return pixels


def make_sample(background: Background, rng: np.random.Generator, size: int = 320, plain: float = 0.15) -> Sample:
    """One sample of `size` pixels (a multiple of 32); a share `plain` of them shows the background as it is."""
    matrix = _window(background, size, rng)
    image = _exposure(_warp(background.image.astype(np.float32), matrix, size), rng)
    maps = np.zeros((2, size // 2, size // 2), np.float32)
    unsure = np.zeros((size // 2, size // 2), bool)
    if background.known is not None:
        maps = np.stack([_warp(plane, matrix, size, True) for plane in background.known]).astype(np.float32) / 255
    if background.unsure is not None:
        unsure = _warp(background.unsure.astype(np.uint8), matrix, size, True) > 0
    taken = cv2.resize((unsure | (maps[0] > 0.1)).astype(np.uint8), (size, size)) > 0
    before, characters = image.copy(), []
    if rng.random() >= plain:
        add_distractors(image, rng, size / 10, int(rng.integers(0, 4)))
        if rng.random() < 0.06:
            characters += add_band(image, rng, taken)
        for _ in range(rng.integers(0, 5)):
            characters += [_renumbered(c, len(characters)) for c in add_marker(image, rng, taken)]
    drawn = cv2.resize((np.abs(image - before) > 4).astype(np.uint8), (size // 2, size // 2)) > 0
    drawn = cv2.dilate(drawn.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    maps = np.maximum(maps, _targets(characters, size, unsure))
    return Sample(_camera(image, rng), maps, ~unsure, drawn, characters)


def _renumbered(character: Character, first: int) -> Character:
    return Character(character.centre, character.right, character.down, character.word + 1000 * (first + 1))


def _targets(characters: list[Character], size: int, unsure: np.ndarray) -> np.ndarray:
    """Score maps of the drawn characters; of one that the edge hides nearly, nothing is learnt (`unsure`, in place)."""
    seen = []
    for character in characters:
        share = visible_share(character, size, size)
        if share > 0.3:
            seen.append(clipped(character, size, size))
        elif share > 0:
            x0, y0, x1, y1 = np.clip(character.bounds() / 2, 0, size // 2).round().astype(int)
            unsure[y0:y1 + 1, x0:x1 + 1] = True
    return draw_targets(seen, size, size)
