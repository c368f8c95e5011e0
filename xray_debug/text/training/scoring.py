"""How good detections are for cleaning, on annotated radiographs.

Annotations: {image: {"boxes": [{"box": [x0, y0, x1, y1], "outer"?, "kind", "style", "text"}], "ignore"?, "arrows"?}}.
Let D be the union of an image's detections, the pixels that would be inpainted; N the annotated boxes and their outer
shapes (circle, plate) grown by 6 pixels; I the regions that count neither way (ignore, arrows). Then

    covered   share of annotated boxes with at least 80 % of their area in D
    touched   the same with at least 30 %
    cleaned   share of the images with text in which every box is covered
    false     detections per image with under 20 % of their area in N or I
    erased    share of the image in D but outside N and I, mean over all images
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np

from xray_debug.data.boxes import TextBox, as_boxes, rasterise_boxes

COVERED, TOUCHED, HALF, TRUE, MARGIN = 0.8, 0.3, 0.5, 0.2, 6


@dataclass(frozen=True)
class TextScore:
    """Shares in [0, 1]; `groups`: {kind, style, class, lone or word: (covered, all)}; `missed`: (image, box)."""

    images: int
    boxes: int
    detections: int
    covered: float
    touched: float
    cleaned: float
    false_per_image: float
    erased: float
    groups: dict[str, tuple[int, int]] = field(default_factory=dict)
    missed: list[tuple[str, list[int]]] = field(default_factory=list)
    false: list[tuple[str, list[int]]] = field(default_factory=list)

    def as_dict(self) -> dict:
        return asdict(self)


def read_annotations(path: str | Path) -> dict[str, dict]:
    """An annotation file; ValueError names the file and the image where it is not one."""
    try:
        truth = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not an annotation file: {error}") from error
    if not isinstance(truth, dict):
        raise ValueError(f"{path}: expected images with their boxes, got {type(truth).__name__}")
    for name, entry in truth.items():
        boxes = entry.get("boxes") if isinstance(entry, dict) else None
        if not isinstance(boxes, list) or not all(isinstance(b, dict) and len(b.get("box", ())) == 4 for b in boxes):
            raise ValueError(f'{path}: {name}: expected "boxes", each with a "box" of four numbers')
    return truth


def _share(mask: np.ndarray, box: Sequence[float]) -> float:
    x0, y0, x1, y1 = as_boxes([box])[0]
    window = mask[max(0, y0):max(0, y1), max(0, x0):max(0, x1)]
    return float(window.mean()) if window.size else 0.0


def _labels(entry: dict, box: dict) -> list[str]:
    styles = [style for style in str(box.get("style", "")).split(",") if style]
    names = [box.get("kind"), *styles, entry.get("class"), "lone" if len(str(box.get("text", ""))) == 1 else "word"]
    return [str(name) for name in names if name]


def score_detections(
    truth: Mapping[str, dict], detections: Mapping[str, Sequence[Sequence[float]]],
    shapes: Mapping[str, tuple[int, int]],
) -> TextScore:
    """`detections`: {image: boxes}; `shapes`: {image: (height, width)}. An image without detections may be absent."""
    covered, touched, cleaned, erased, count = [], [], [], [], 0
    groups: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    missed, false = [], []
    for name, entry in truth.items():
        shape, found = shapes[name], [tuple(box)[:4] for box in detections.get(name, ())]
        text = [box["box"] for box in entry["boxes"]]
        outer = [box["outer"] for box in entry["boxes"] if box.get("outer")]
        near = as_boxes(text + outer) + np.array([-MARGIN, -MARGIN, MARGIN, MARGIN])
        neither = [box.get("box") if isinstance(box, dict) else box
                   for key in ("ignore", "arrows") for box in entry.get(key) or ()]
        union, allowed = rasterise_boxes(found, *shape), rasterise_boxes([*near, *neither], *shape)
        here = [_share(union, box) for box in text]
        covered += [share >= COVERED for share in here]
        touched += [share >= TOUCHED for share in here]
        cleaned += [all(share >= COVERED for share in here)] if text else []
        missed += [(name, list(box)) for box, share in zip(text, here, strict=True) if share < COVERED]
        for box, share in zip(entry["boxes"], here, strict=True):
            for label in _labels(entry, box):
                groups[label][0] += share >= COVERED
                groups[label][1] += 1
        false += [(name, [int(v) for v in box]) for box in found if _share(allowed, box) < TRUE]
        count += len(found)
        erased.append(float((union & ~allowed).mean()))
    return TextScore(
        images=len(truth), boxes=len(covered), detections=count, covered=_mean(covered), touched=_mean(touched),
        cleaned=_mean(cleaned), false_per_image=len(false) / max(len(truth), 1), erased=_mean(erased),
        groups={label: tuple(value) for label, value in sorted(groups.items())}, missed=missed, false=false,
    )


@dataclass(frozen=True)
class DeviceScore:
    """Of `devices`: how many were found as devices and how many taken for text; `groups`: {kind: (found, text, all)}.

    Both by half of a device's area, which lies under the boxes of that kind together; faint ones count too, and once
    more under "faint". `false_per_image`: device boxes with under TRUE of their area near a device, a line or `ignore`.
    """

    devices: int
    found: int
    as_text: int
    false_per_image: float
    groups: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def as_dict(self) -> dict:
        return asdict(self)


def score_devices(
    truth: Mapping[str, dict], found: Mapping[str, Sequence[TextBox]], shapes: Mapping[str, tuple[int, int]],
) -> DeviceScore:
    """`truth`: {image: {"devices": [{"box", "kind", "faint"?}], "lines": [polylines], "ignore"?: boxes}}."""
    groups: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    false, total = 0, [0, 0, 0]
    for name, entry in truth.items():
        boxes = {kind: [box.box for box in found.get(name, ()) if box.kind == kind] for kind in ("device", "text")}
        covers = [rasterise_boxes(boxes[kind], *shapes[name]) for kind in ("device", "text")]
        for device in entry["devices"]:
            seen = [int(_share(cover, device["box"]) >= HALF) for cover in covers] + [1]
            for counts in (total, groups[device["kind"]], *([groups["faint"]] if device.get("faint") else [])):
                counts[:] = [a + b for a, b in zip(counts, seen, strict=True)]
        near = as_boxes([device["box"] for device in entry["devices"]] + list(entry.get("ignore", ())))
        allowed = rasterise_boxes(near + np.array([-MARGIN, -MARGIN, MARGIN, MARGIN]), *shapes[name]).astype(np.uint8)
        lines = [np.array(line, np.int32) for line in entry.get("lines", ())]
        cv2.polylines(allowed, lines, False, 1, 4 * MARGIN)  # drawn by hand, and a piece's box is wider than its line
        false += sum(_share(allowed, box) < TRUE for box in boxes["device"])
    return DeviceScore(total[2], total[0], total[1], false / max(len(truth), 1),
                       {kind: tuple(counts) for kind, counts in sorted(groups.items())})


def _mean(values: list) -> float:
    """The mean, and not-a-number of nothing."""
    return float(np.mean(values)) if values else float("nan")
