"""The radiographs that markers are drawn on, and what is known of the text already in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from ..boxes import rasterise_boxes
from ..images import SUFFIXES, ImageError, read_image, to_gray8
from .detectors import CraftLiteDetector, load_detector
from .samples import Background
from .scales import BASE, resize_to
from .targets import Character, draw_targets

SURE, DOUBTFUL = 0.6, 0.2  # the teacher's peaks: text from SURE on, none under DOUBTFUL, between them nothing is learnt


def load_backgrounds(
    folder: Path, limit: int = 2000, seed: int = 0, boxes_file: Path | None = None, teacher: Path | None = None,
    review: Path | None = None, phantoms: int = 0, progress: Callable[[int, int], None] | None = None,
) -> list[Background]:
    """Up to `limit` radiographs of `folder` (and its subfolders), long side 768, in the order of their names.

    With a teacher, its reading is what is known of their text, `review` correcting it; else text is masked where
    rapidocr suspects it. Files that are no images are passed over. ValueError if there is none at all.
    """
    files = sorted(f for f in Path(folder).rglob("*") if f.suffix.lower() in SUFFIXES)
    if len(files) > limit:
        files = [files[i] for i in sorted(np.random.default_rng(seed).permutation(len(files))[:limit])]
    corrections = json.loads(review.read_text()) if review else {}
    suspected = json.loads(boxes_file.read_text()) if boxes_file and boxes_file.exists() and not teacher else {}
    reader = CraftLiteDetector(teacher) if teacher else load_detector("ppocr")
    result, total = [], len(files) + phantoms
    for i, file in enumerate(files):
        try:
            image = to_gray8(read_image(file))
        except ImageError:
            continue
        if teacher:
            result.append(pseudo_label(reader, resize_to(image, BASE), corrections.get(file.name, {}), image.shape))
        else:
            if file.name not in suspected:
                suspected[file.name] = [box.box for box in reader.detect([image])[0]]
            result.append(masked(image, suspected[file.name]))
        if progress:
            progress(i + 1, total)
    if boxes_file and not teacher:
        boxes_file.write_text(json.dumps(suspected))
    result += phantom_backgrounds(phantoms, seed)
    if not result:
        raise ValueError(f"{folder}: expected radiographs ({' '.join(SUFFIXES)}), found none")
    return result


def _half_boxes(boxes, image: np.ndarray, shape: tuple[int, int], margin: float) -> np.ndarray:
    """Boxes of an image of `shape`, grown by `margin` pixels, in pixels of half of `image`."""
    scale = np.array([image.shape[1] / shape[1], image.shape[0] / shape[0]] * 2) / 2
    grown = np.array([box[:4] for box in boxes], np.float64).reshape(-1, 4) * scale
    return grown + np.array([-1, -1, 1, 1]) * margin / 2


def masked(image: np.ndarray, boxes) -> Background:
    """The background of an image in whose `boxes` nothing is learnt."""
    small = resize_to(image, BASE)
    half = (small.shape[0] + 1) // 2, (small.shape[1] + 1) // 2
    return Background(small, unsure=rasterise_boxes(_half_boxes(boxes, small, image.shape, 8), *half))


def pseudo_label(reader: CraftLiteDetector, image: np.ndarray, correction: dict, shape: tuple[int, int]) -> Background:
    """What the teacher reads in `image` (long side 768) and in its mirror image, as targets.

    Characters are drawn anew from the blobs of the region map, so that a student does not inherit its blur.
    `correction`: "not_text" and "text" boxes in pixels of the original, of `shape`; a text box may end with its
    number of characters.
    """
    straight, turned = reader.score_maps(image), reader.score_maps(np.ascontiguousarray(image[:, ::-1]))
    width = image.shape[1] // 2
    maps = straight.copy()
    maps[:, :, :width] = (straight[:, :, :width] + turned[:, :, :width][:, :, ::-1]) / 2
    known, unsure = _blobs(maps)
    outside = rasterise_boxes(_half_boxes(correction.get("not_text", []), image, shape, 0), *unsure.shape)
    known[:, outside], unsure[outside] = 0, False
    for box in correction.get("text", []):
        drawn = draw_targets(_spread(_half_boxes([box], image, shape, 0)[0] * 2, box), *image.shape)
        drawn = np.pad(drawn, ((0, 0), (0, known.shape[1] - drawn.shape[1]), (0, known.shape[2] - drawn.shape[2])))
        known = np.maximum(known, drawn)
        unsure &= drawn[0] < 0.05
    return Background(image, (known * 255).round().astype(np.uint8), unsure)


def _spread(box: np.ndarray, given) -> list[Character]:
    """Characters side by side along the longer side of a box x0, y0, x1, y1."""
    count = int(given[4]) if len(given) > 4 else 1
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    axis = int(half[1] > half[0]) if count > 1 else 0
    step = np.eye(2)[axis] * half / count
    right, down = np.array([half[0], 0.0]), np.array([0.0, half[1]])
    (down if axis else right)[:] /= count
    return [Character(centre + step * (2 * i + 1 - count), right, down) for i in range(count)]


def _blobs(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((2, h, w) float32 targets, (h, w) bool unsure) from averaged score maps."""
    known, unsure = np.zeros_like(maps), np.zeros(maps.shape[1:], bool)
    faint = ((maps[0] > DOUBTFUL) | (maps[1] > 0.4)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(faint, connectivity=4)
    characters, keep = [], np.zeros(unsure.shape, np.uint8)
    for label in range(1, count):
        inside = labels == label
        if (maps[0] * inside).max() < SURE:
            unsure |= inside
            continue
        keep |= inside.astype(np.uint8)
        core = ((maps[0] > 0.45) & inside).astype(np.uint8)
        number, parts, boxes, _ = cv2.connectedComponentsWithStats(core, connectivity=4)
        for part in range(1, number):
            x, y, w, h, area = boxes[part]
            if area >= 4:
                half = np.array([w, h]) / 0.8  # at 0.45 a Gaussian has fallen to 0.79 of the way to the edge
                characters.append(Character(np.array([2 * x + w, 2 * y + h], float), np.array([half[0], 0]),
                                            np.array([0, half[1]]), len(characters)))
    known[0] = draw_targets(characters, 2 * maps.shape[1], 2 * maps.shape[2])[0]
    known[1] = maps[1] * keep
    unsure = cv2.dilate(unsure.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return known, unsure & (keep == 0)


def phantom_backgrounds(count: int, seed: int) -> list[Background]:
    """Marker-free synthetic radiographs; nothing in them is text."""
    if not count:
        return []
    from ..config import PhantomConfig
    from ..phantom import make_case

    result = []
    for i in range(count):
        label = ("normal", "pneumonia", "COVID-19")[i % 3]
        image = resize_to(make_case(PhantomConfig(), label, seed + i).clean, BASE)
        half = (image.shape[0] + 1) // 2, (image.shape[1] + 1) // 2
        result.append(Background(image, np.zeros((2, *half), np.uint8)))
    return result
