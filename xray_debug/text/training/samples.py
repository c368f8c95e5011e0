"""Training samples: a crop of a radiograph with random markers, devices and bones, its score maps, where they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from xray_debug.text.training.devices import Line, Part, add_devices
from xray_debug.text.training.distractors import add_distractors
from xray_debug.text.training.kinds import add_band, add_marker
from xray_debug.text.training.targets import Character, clipped, draw_devices, draw_targets, visible_share

NOTHING, UNLABELLED, KNOWN = 0, 1, 2  # weights: nothing is learnt; background nobody labelled; the target is known


@dataclass(frozen=True)
class Background:
    """A radiograph, grey uint8 (H, W), long side 768, and what is known of the text in it, at half resolution.

    `known`: (2, H / 2, W / 2) uint8, region and affinity times 255 (None: no text known); `unsure`: bool, where
    nothing may be learnt (None: nowhere); `devices`: (2, H / 2, W / 2) uint8, their map times 255 and its weights
    (None: nobody looked for them); `places`: (P, 2) x, y in pixels of the image that are worth looking at.
    """

    image: np.ndarray
    known: np.ndarray | None = None
    unsure: np.ndarray | None = None
    devices: np.ndarray | None = None
    places: np.ndarray | None = None


@dataclass
class Sample:
    """`image` uint8 (S, S); `maps` float32 (3, S/2, S/2), as craft.OUTPUTS; `weights` uint8 (2, S/2, S/2).

    The weights, NOTHING, UNLABELLED or KNOWN, are those of text (region and affinity) and of devices. Where something
    was drawn the renderer's word is final; elsewhere the background may hold what nobody has marked.
    """

    image: np.ndarray
    maps: np.ndarray
    weights: np.ndarray
    characters: list[Character] = field(default_factory=list)
    devices: list[Part] = field(default_factory=list)


def _window(background: Background, size: int, rng: np.random.Generator) -> np.ndarray:
    """(2, 3) matrix from the background to a crop of `size` pixels: place, scale, and turns and mirrors sometimes.

    Half of the crops hold one of the background's `places`, if it has any; half of the rest lie at the edge of the
    film, where markers do; a crop may reach over it.
    """
    height, width = background.image.shape
    far = rng.random() < 0.2  # as small films enlarged, and large ones read at twice the size, look
    scale = np.exp(rng.uniform(*np.log((0.45, 2.2) if far else (0.6, 1.4))))
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
    return cv2.warpAffine(values, matrix, (size, size), **({"flags": cv2.INTER_LINEAR} | options))


def _exposure(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gamma, contrast and brightness of float32 grey values; rarely the negative."""
    image = 255 * (np.clip(image, 0, 255) / 255) ** np.float32(np.exp(rng.normal() * 0.35))
    image = image * np.float32(rng.uniform(0.6, 1.1)) + np.float32(rng.uniform(-10, 30) * (rng.random() < 0.5))
    return 255 - image if rng.random() < 0.04 else image


def _camera(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What befalls the finished picture: negative, blur, lost resolution, noise, JPEG. float32 in, uint8 out."""
    size = image.shape[0]
    if rng.random() < 0.05:
        image = 255 - image
    if rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.0))
    if rng.random() < 0.15:
        small = round(size * rng.uniform(0.4, 0.95))
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
    known, of_devices = _labelled_devices(background, matrix, size)
    unsure = np.zeros((size // 2, size // 2), bool)
    if background.known is not None:
        maps = np.stack([_warp(plane, matrix, size, True) for plane in background.known]).astype(np.float32) / 255
    if background.unsure is not None:
        unsure = _warp(background.unsure.astype(np.uint8), matrix, size, True) > 0
    taken = cv2.resize((unsure | (maps[0] > 0.1) | (known > 0.1)).astype(np.uint8), (size, size)) > 0
    before, characters, devices, doubtful = image.copy(), [], [], []
    if rng.random() >= plain:
        add_distractors(image, rng, size / 10, int(rng.integers(0, 3)))
        some = int(rng.integers(0, 4)), size / 10 * rng.uniform(0.5, 1.5)
        devices, doubtful = add_devices(image, rng, some[1], some[0], taken)
        if rng.random() < 0.06:
            characters += add_band(image, rng, taken)
        for _ in range(rng.integers(0, 5)):
            characters += [_renumbered(c, len(characters)) for c in add_marker(image, rng, taken)]
    drawn = cv2.resize((np.abs(image - before) > 4).astype(np.uint8), (size // 2, size // 2)) > 0
    drawn = cv2.dilate(drawn.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    maps = np.maximum(maps, _targets(characters, size, unsure))
    labelled = background.known is not None
    sure = drawn | (maps[0] > 0.05) | labelled
    of_text = np.where(unsure, NOTHING, np.where(sure, KNOWN, UNLABELLED))
    heat, hidden = _device_targets(devices, doubtful, size)
    of_devices = np.where(drawn | (heat > 0.05) | (maps[0] > 0.3), KNOWN, of_devices)
    of_devices = np.where((hidden | drawn & (known > 0.05)) & (heat < 0.5), NOTHING, of_devices)  # may be drawn over
    heat = np.maximum(known, heat)
    weights = np.stack([of_text, of_devices]).astype(np.uint8)
    return Sample(_camera(image, rng), np.concatenate([maps, heat[None]]), weights, characters, devices)


def _labelled_devices(background: Background, matrix: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The map (float32) and weights (uint8) of the background's own devices in the crop, (S/2, S/2) each."""
    shape = size // 2, size // 2
    if background.devices is None:
        return np.zeros(shape, np.float32), np.full(shape, UNLABELLED, np.uint8)
    heat, weights = background.devices
    laid = _warp(weights, matrix, size, True, flags=cv2.INTER_NEAREST, borderValue=KNOWN)  # no device beyond the film
    return _warp(heat, matrix, size, True).astype(np.float32) / 255, laid


def _device_targets(devices: Sequence[Part], doubtful: Sequence[Part], size: int) -> tuple[np.ndarray, np.ndarray]:
    """The map of drawn devices, float32 (S/2, S/2), and where nothing is learnt of them: the doubtful, the cut off."""
    bodies = [part for part in devices if isinstance(part, Character)]
    seen = [clipped(body, size, size) for body in bodies if visible_share(body, size, size) > 0.3]
    cut = [body for body in bodies if visible_share(body, size, size) <= 0.3]
    heat = draw_devices(seen, [(part.points, part.half) for part in devices if isinstance(part, Line)], size, size)
    lines = [(part.points, part.half) for part in doubtful if isinstance(part, Line)]
    hidden = draw_devices([*cut, *(part for part in doubtful if isinstance(part, Character))], lines, size, size) > 0.05
    return heat, hidden


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
