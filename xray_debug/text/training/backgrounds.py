"""The radiographs that markers are drawn on, and what is known of the text already in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from xray_debug.data.boxes import rasterise_boxes
from xray_debug.data.files import write_json
from xray_debug.data.images import SUFFIXES, ImageError, read_film
from xray_debug.stats.seeds import rng_of
from xray_debug.text.detectors import load_detector
from xray_debug.text.detectors.craft_lite import CraftLiteDetector
from xray_debug.text.scales import BASE, resize_to
from xray_debug.text.training.samples import Background
from xray_debug.text.training.targets import EDGE, Character, draw_targets

# the teacher's peaks: text from SURE on, none under DOUBTFUL, between them nothing is learnt; FAINT: text if marked so
SURE, DOUBTFUL, FAINT = 0.6, 0.2, 0.15


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
        files = [files[i] for i in sorted(rng_of(seed, "backgrounds").permutation(len(files))[:limit])]
    corrections = json.loads(review.read_text(encoding="utf-8")) if review else None
    known = boxes_file is not None and boxes_file.exists() and not teacher
    suspected = json.loads(boxes_file.read_text(encoding="utf-8")) if known else {}
    reader = CraftLiteDetector(teacher, mirror=False) if teacher else load_detector("ppocr")
    result, total = [], len(files) + phantoms
    for i, file in enumerate(files):
        try:
            image = read_film(file).gray
        except ImageError:
            continue
        if teacher:
            correction = corrections.get(file.name, {}) if corrections is not None else None
            result.append(pseudo_label(reader, resize_to(image, BASE), correction, image.shape))
        else:
            if file.name not in suspected:
                suspected[file.name] = [box.box for box in reader.detect([image])[0]]
            result.append(masked(image, suspected[file.name]))
        if progress:
            progress(i + 1, total)
    if boxes_file and not teacher:
        write_json(boxes_file, suspected)
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


def pseudo_label(reader: CraftLiteDetector, image: np.ndarray, correction: dict | None,
                 shape: tuple[int, int]) -> Background:
    """What the teacher reads in `image` (long side 768) and in its mirror image, as targets.

    `correction` holds lists of boxes, in pixels of the original, of `shape`: "text" (the teacher is believed there
    from a faint reading on; where it reads nothing, nothing is learnt), "not_text" and "unsure". What the teacher reads
    elsewhere is then unsure; only without a correction (None) is it believed where it reads strongly.
    """
    reviewed, correction = correction is not None, correction or {}
    straight, turned = reader.score_maps(image), reader.score_maps(np.ascontiguousarray(image[:, ::-1]))
    width = image.shape[1] // 2
    maps = straight.copy()
    maps[:, :, :width] = (straight[:, :, :width] + turned[:, :, :width][:, :, ::-1]) / 2
    marks = {key: [rasterise_boxes([box], *maps.shape[1:])
                   for box in _half_boxes(correction.get(key, []), image, shape, 2)]
             for key in ("text", "not_text", "unsure")}
    nowhere = np.zeros(maps.shape[1:], bool)
    text, wrong = (np.any([nowhere, *marks[key]], axis=0) for key in ("text", "not_text"))
    characters, read = find_characters(maps[0], text, wrong, reviewed)
    size = 2 * maps.shape[1], 2 * maps.shape[2]
    known = np.stack([draw_targets(characters, *size)[0], maps[1] * _touching(maps, read)])
    unsure = cv2.dilate(((maps[0] > DOUBTFUL) & ~wrong & ~read).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    for mark in [*(m for m in marks["text"] if not (m & read).any()), *marks["unsure"]]:
        unsure |= mark & ~wrong
    boxes = _half_boxes([*correction.get("text", []), *correction.get("not_text", [])], image, shape, 0)
    places = [c.centre for c in characters] + list(boxes[:, :2] + boxes[:, 2:])  # of a half box, twice the middle
    return Background(image, (known * 255).round().astype(np.uint8), unsure & (known[0] < 0.05),
                      np.array(places).reshape(-1, 2))


def find_characters(region: np.ndarray, text: np.ndarray, wrong: np.ndarray,
                    reviewed: bool) -> tuple[list[Character], np.ndarray]:
    """Characters in a region map, and the pixels they were read from (bool); float32 and bool masks (h, w).

    Each is drawn anew from a blob's upright box, so that a student does not inherit the teacher's blur. Blobs count in
    `text` from FAINT on, never in `wrong`, and elsewhere if they are strong and nobody has `reviewed` the image.
    """
    characters, read = [], np.zeros(region.shape, bool)
    for level in (0.45, 0.3, FAINT):
        count, labels, stats, _ = cv2.connectedComponentsWithStats((region > level).astype(np.uint8), connectivity=4)
        for label in range(1, count):
            x, y, w, h, area = (int(v) for v in stats[label])
            inside, window = labels[y:y + h, x:x + w] == label, (slice(y, y + h), slice(x, x + w))
            peak = float(region[window][inside].max())
            marked = text[window][inside].mean() > 0.3
            enough = peak >= level + 0.05 if marked else peak >= SURE and not reviewed
            if area < 4 or not enough or (level < 0.45 and not marked):
                continue
            if wrong[window][inside].mean() > 0.5 or read[window][inside].any():
                continue
            # a Gaussian of this peak has fallen to `level` at this share of the way to the edge
            share = np.clip(np.sqrt(2 * np.log(min(peak, 1.0) / level)) / EDGE, 0.4, 1)
            half = np.array([w, h]) / share
            characters.append(Character(np.array([2.0 * x + w, 2.0 * y + h]), np.array([half[0], 0]),
                                        np.array([0, half[1]]), len(characters)))
            read[window] |= inside
    return characters, read


def _touching(maps: np.ndarray, read: np.ndarray) -> np.ndarray:
    """Where the affinity map belongs to characters that were read: float32 (h, w), 0 or 1."""
    linked = (maps[1] > 0.3) | read
    count, labels = cv2.connectedComponents(linked.astype(np.uint8), connectivity=4)
    good = np.zeros(count, np.float32)
    good[np.unique(labels[read])] = 1
    good[0] = 0
    return good[labels]


def phantom_backgrounds(count: int, seed: int) -> list[Background]:
    """Marker-free synthetic radiographs; nothing in them is text."""
    if not count:
        return []
    from xray_debug.config import PhantomConfig
    from xray_debug.phantom import make_case

    result = []
    for i in range(count):
        label = ("normal", "pneumonia", "COVID-19")[i % 3]
        image = resize_to(make_case(PhantomConfig(), label, seed + i).clean, BASE)
        half = (image.shape[0] + 1) // 2, (image.shape[1] + 1) // 2
        result.append(Background(image, np.zeros((2, *half), np.uint8)))
    return result
