"""The radiographs that markers are drawn on, and what is known of the text and devices already in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from xray_debug.data.boxes import rasterise_boxes
from xray_debug.data.files import atomic_write, file_sha256, write_json
from xray_debug.data.images import SUFFIXES, ImageError, read_film
from xray_debug.stats.seeds import rng_of
from xray_debug.text.detectors import load_detector
from xray_debug.text.detectors.craft_lite import CraftLiteDetector
from xray_debug.text.scales import BASE, resize_to
from xray_debug.text.training.samples import KNOWN, NOTHING, UNLABELLED, Background
from xray_debug.text.training.targets import EDGE, Character, draw_devices, draw_targets

# the teacher's peaks: text from SURE on, none under DOUBTFUL, between them nothing is learnt; FAINT: text if marked so
SURE, DOUBTFUL, FAINT = 0.6, 0.2, 0.15


def load_backgrounds(
    folder: Path, limit: int = 2000, seed: int = 0, boxes_file: Path | None = None, teacher: Path | None = None,
    review: Path | None = None, phantoms: int = 0, progress: Callable[[int, int], None] | None = None,
    devices: Path | None = None, slices: int = 0, readings: Path | None = None,
) -> list[Background]:
    """Up to `limit` radiographs of `folder` (and its subfolders), long side 768, in the order of their names.

    With a teacher, its reading is what is known of their text, `review` correcting it; else text is masked where
    rapidocr suspects it. `devices`: a person's labels, see `with_labels`. `readings`: folder where what the teacher
    read is kept, for a run that is started again. Files that are no images are passed over; ValueError without any.
    """
    files = sorted(f for f in Path(folder).rglob("*") if f.suffix.lower() in SUFFIXES)
    if len(files) > limit:
        files = [files[i] for i in sorted(rng_of(seed, "backgrounds").permutation(len(files))[:limit])]
    labels = json.loads(devices.read_text(encoding="utf-8")) if devices else {}
    corrections = json.loads(review.read_text(encoding="utf-8")) if review else None
    known = boxes_file is not None and boxes_file.exists() and not teacher
    suspected = json.loads(boxes_file.read_text(encoding="utf-8")) if known else {}
    reader = CraftLiteDetector(teacher, mirror=False) if teacher else load_detector("ppocr")
    result, total = [], len(files) + phantoms + slices
    for i, file in enumerate(files):
        try:
            image = read_film(file).gray
        except ImageError:
            continue
        if teacher:
            correction = corrections.get(file.name, {}) if corrections is not None else None
            kept = readings and readings / f"{file.name}.{file_sha256(teacher)[:12]}.npy"
            result.append(pseudo_label(reader, resize_to(image, BASE), correction, image.shape, kept))
        else:
            if file.name not in suspected:
                suspected[file.name] = [box.box for box in reader.detect([image])[0]]
            result.append(masked(image, suspected[file.name]))
        if file.name in labels:
            result[-1] = with_labels(result[-1], labels[file.name], image.shape)
        if progress:
            progress(i + 1, total)
    if boxes_file and not teacher:
        write_json(boxes_file, suspected)
    result += [*phantom_backgrounds(phantoms, seed), *slice_backgrounds(slices, seed)]
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


def _reading(reader: CraftLiteDetector, image: np.ndarray, kept: Path | None) -> np.ndarray:
    """(2, h, w) float32, in steps of half precision: what is read of text in the image and its mirror image."""
    if kept is not None and kept.exists():
        return np.load(kept, allow_pickle=False).astype(np.float32)
    straight, turned = (reader.score_maps(np.ascontiguousarray(side))[:2] for side in (image, image[:, ::-1]))
    maps, width = straight.copy(), image.shape[1] // 2
    maps[:, :, :width] = (straight[:, :, :width] + turned[:, :, :width][:, :, ::-1]) / 2
    half = maps.astype(np.float16)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(kept, lambda file: np.save(file, half, allow_pickle=False))
    return half.astype(np.float32)


def pseudo_label(reader: CraftLiteDetector, image: np.ndarray, correction: dict | None, shape: tuple[int, int],
                 kept: Path | None = None) -> Background:
    """What the teacher reads in `image` (long side 768) and in its mirror image, as targets.

    `correction` holds lists of boxes, in pixels of the original, of `shape`: "text" (the teacher is believed there
    from a faint reading on; where it reads nothing, nothing is learnt), "not_text" and "unsure". What the teacher reads
    elsewhere is then unsure; only without a correction (None) is it believed where it reads strongly. `kept`: the file
    that holds the reading, or will.
    """
    reviewed, correction = correction is not None, correction or {}
    maps = _reading(reader, image, kept)
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
                      places=np.array(places).reshape(-1, 2))


def with_labels(background: Background, labels: dict, shape: tuple[int, int]) -> Background:
    """The background with the map of its devices, from lists of boxes in pixels of the original, of `shape`.

    "device" are devices, "not_device" hold none, and of "unsure" nothing is learnt. Elsewhere there may be others that
    nobody marked, unless the image is said to be "complete". All that was marked is worth looking at.
    """
    height, width = ((side + 1) // 2 for side in background.image.shape)
    halves = {key: _half_boxes(labels.get(key, []), background.image, shape, 0)
              for key in ("device", "not_device", "unsure")}
    weights = np.full((height, width), KNOWN if labels.get("complete") else UNLABELLED, np.uint8)
    weights[rasterise_boxes(halves["not_device"], height, width)] = KNOWN
    weights[rasterise_boxes(halves["unsure"], height, width)] = NOTHING
    bodies = [Character(np.array([x0 + x1, y0 + y1]), np.array([x1 - x0, 0.0]), np.array([0.0, y1 - y0]))
              for x0, y0, x1, y1 in halves["device"]]  # of half boxes: whole pixels
    heat = draw_devices(bodies, [], 2 * height, 2 * width)
    weights[heat > 0.05] = KNOWN
    marked = [boxes[:, :2] + boxes[:, 2:] for boxes in halves.values()]  # of a half box, twice the middle
    places = np.concatenate([*marked, np.zeros((0, 2)) if background.places is None else background.places])
    return replace(background, devices=np.stack([(heat * 255).round().astype(np.uint8), weights]), places=places)


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
        result.append(_empty(image, half))
    return result


def _empty(image: np.ndarray, half: tuple[int, int]) -> Background:
    """The background of an image of which all is known: it holds neither text nor devices."""
    devices = np.stack([np.zeros(half, np.uint8), np.full(half, KNOWN, np.uint8)])
    return Background(image, np.zeros((2, *half), np.uint8), devices=devices)


def slice_backgrounds(count: int, seed: int) -> list[Background]:
    """Slices through a chest as a CT shows them: vessels, ribs and a vertebra are bright spots and rings, no text."""
    return [_empty(ct_slice(rng_of(seed, "slice", i)), (BASE // 2, BASE // 2)) for i in range(count)]


def ct_slice(rng: np.random.Generator, size: int = BASE) -> np.ndarray:
    """uint8 (size, size): an oval body on black with two lungs full of vessels, ribs around, a vertebra, the table."""
    image = np.zeros((size, size), np.uint8)

    def oval(x, y, wide, tall, value, line=-1, angle=0.0):
        box = (size * x, size * y), (2 * size * wide, 2 * size * tall), angle
        cv2.ellipse(image, box, int(value), line, cv2.LINE_AA)

    wide, tall, soft, air = rng.uniform(0.36, 0.46), rng.uniform(0.26, 0.36), rng.uniform(90, 160), rng.uniform(0, 40)
    oval(0.5, 0.5, wide, tall, soft)
    for side in (-1, 1):
        x, y = 0.5 + side * wide * 0.48, 0.48 + rng.normal() * 0.01
        oval(x, y, wide * 0.4, tall * 0.72, air)
        for _ in range(rng.integers(30, 110)):
            turn, far, small = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * 0.9, rng.uniform(0.002, 0.009)
            oval(x + wide * 0.36 * far * np.cos(turn), y + tall * 0.65 * far * np.sin(turn), small,
                 small * rng.uniform(0.7, 3), rng.uniform(soft * 0.6, 255), angle=rng.uniform(0, 180))  # fmt: skip
    for turn in np.linspace(0, 2 * np.pi, int(rng.integers(10, 20)), endpoint=False) + rng.normal() * 0.2:
        oval(0.5 + 0.9 * wide * np.cos(turn), 0.5 + 0.9 * tall * np.sin(turn), 0.035, 0.012, rng.uniform(190, 255),
             int(rng.integers(2, 6)), np.rad2deg(np.arctan2(wide * np.cos(turn), -tall * np.sin(turn))))  # fmt: skip
    oval(0.5, 0.5 + tall * 0.5, 0.055, 0.05, rng.uniform(170, 230))
    oval(0.5, 0.5 + tall * 0.72, 0.02, 0.02, air * 2 + 60)
    oval(0.5, 0.5 + tall * 0.72, 0.027, 0.027, 240, int(rng.integers(2, 7)))
    oval(0.5, 0.5 + tall * 1.6, wide * 1.3, tall * 0.5, rng.uniform(60, 200), 2)
    noisy = cv2.GaussianBlur(image.astype(np.float32), (0, 0), rng.uniform(0.6, 1.6))
    return np.clip(noisy + rng.standard_normal(image.shape) * rng.uniform(1, 8), 0, 255).round().astype(np.uint8)
