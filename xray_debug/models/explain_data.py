"""One explanation as files for other programs: the film, the map, the curves and the facts."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path

import cv2
import numpy as np

from xray_debug.data.files import atomic_write, write_json, write_text
from xray_debug.data.images import Film, ModelView, write_image

FILM, MAP, CURVES, FACTS = "film.png", "map.npy", "curves.csv", "facts.json"
LARGEST = 2048  # pixels of the film's longer side
KEPT = ("target", "probability", "method", "mask_size", "deletion", "insertion", "hardly_moved")


def write_explanation(folder: Path, image: str, film: Film, view: ModelView, row: dict, **facts) -> None:
    """Writes into `folder`, made where absent, of one `row` of ExplainWorker:

    film.png    the film as it is shown, grey 8 bits, at most LARGEST pixels a side
    map.npy     the map (m, m) float32 in [0, 1], 1 = most salient, over what the model sees
    curves.csv  share (0 to 1 of the pixels), deletion, insertion: the class's probability
    facts.json  image, width and height of the original, view (of the model), KEPT of the row, and `facts`; comes last
    """
    folder.mkdir(parents=True, exist_ok=True)
    gray = film.gray
    height, width = gray.shape
    scale = min(1.0, LARGEST / max(height, width))
    if scale < 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    write_image(folder / FILM, gray)
    atomic_write(folder / MAP, lambda file: np.save(file, row["saliency"], allow_pickle=False))
    write_text(folder / CURVES, _curves(row))
    write_json(folder / FACTS, {
        "image": image, "width": width, "height": height, "view": dataclasses.asdict(view),
        **{name: row[name] for name in KEPT}, **facts,
    })  # fmt: skip


def _curves(row: dict) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["share", "deletion", "insertion"])
    steps = len(row["deletion_curve"]) - 1
    for step, values in enumerate(zip(row["deletion_curve"], row["insertion_curve"], strict=True)):
        writer.writerow([round(step / steps, 6), *(f"{value:.6f}" for value in values)])
    return file.getvalue()
