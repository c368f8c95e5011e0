"""One explanation as files, written for other programs and read by the review app. No torch here.

    film.png          the film as it is shown, grey 8 bits, at most LARGEST pixels a side
    map.npy           the map (m, m) float32 in [0, 1], 1 = most salient, over what the model sees
    curves.csv        share (0 to 1 of the pixels), deletion, insertion: the class's probability
    explanation.json  image, its width and height, the model's view, target, probability, method, ...; comes last
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from xray_debug.data.files import atomic_write, write_json, write_text
from xray_debug.data.images import Film, ImageError, ModelView, read_image, write_image
from xray_debug.data.overlay import OPACITY, heat_overlay

FILM, MAP, CURVES, FACTS = "film.png", "map.npy", "curves.csv", "explanation.json"
COLUMNS = ["share", "deletion", "insertion"]
LARGEST = 2048
KEPT = ("target", "probability", "method", "mask_size", "deletion", "insertion", "hardly_moved")


class ExplanationError(ValueError):
    """An explanation that cannot be begun or read; one sentence."""


def write_explanation(folder: Path, image: str, film: Film, view: ModelView, row: dict, **facts) -> None:
    """Writes the files into `folder`, made where absent.

    row: saliency (m, m), deletion_curve and insertion_curve (steps + 1,), and KEPT, which are noted with `facts`.
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
    writer.writerow(COLUMNS)
    steps = len(row["deletion_curve"]) - 1
    for step, values in enumerate(zip(row["deletion_curve"], row["insertion_curve"], strict=True)):
        writer.writerow([round(step / steps, 6), *(f"{value:.6f}" for value in values)])
    return file.getvalue()


@dataclass(frozen=True)
class ExplanationFiles:
    """What the files hold: film uint8 (H, W), saliency (m, m), curves float64 (steps + 1, 3) with the columns of
    curves.csv, and the facts."""

    film: np.ndarray
    saliency: np.ndarray
    curves: np.ndarray
    facts: dict

    @classmethod
    def read(cls, folder: Path) -> ExplanationFiles:
        """ExplanationError where a file is missing or damaged."""
        try:
            facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            saliency = np.load(folder / MAP, allow_pickle=False)
            with (folder / CURVES).open(encoding="utf-8", newline="") as file:
                head, *rows = csv.reader(file)
            if head != COLUMNS or len(rows) < 2:
                raise ValueError(f"{CURVES}: expected the columns {', '.join(COLUMNS)} and two rows at least")
            return cls(read_image(folder / FILM), saliency, np.array(rows, float), facts)
        except (OSError, ValueError, EOFError, ImageError) as error:
            raise ExplanationError(f"{folder}: no explanation that can be read: {error}") from error

    def overlay(self, opacity: float = OPACITY) -> np.ndarray:
        """The map over the film, uint8 (H, W, 3); at 0 the film itself."""
        fine = ModelView(**self.facts["view"]).map_to_image(self.saliency, *self.film.shape)
        return heat_overlay(self.film, fine, opacity)
