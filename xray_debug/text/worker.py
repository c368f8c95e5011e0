"""Text in many files: the engine's worker, and the table of what it found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xray_debug.data.boxes import as_found
from xray_debug.data.unchanged import read_known
from xray_debug.text.detectors import Detector, load_detector

COLUMNS = {"image_id": "object", "kind": "object", "x0": "int64", "y0": "int64", "x1": "int64", "y1": "int64",
           "score": "float64", "detector": "object"}


@dataclass
class DetectWorker:
    """Rows with `image_id` and `file` (a path) -> {"image_id", "boxes", "kinds"}: a list of [x0, y0, x1, y1, score] in
    pixels, ends exclusive, and of what kind each is ("text").

    `batch_size`: images decoded and handed to the detector at once, which bounds memory and changes no result.
    `options` should come from `resolved_options`, so that all workers of a run read alike. ValueError naming the file:
    it cannot be read, or the detector refuses it or gives what are no boxes, or its bytes have another sha256 than the
    row's `sha256` (if any).
    """

    detector: str = "craft-lite"
    weights: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 8
    reader: Detector | None = field(default=None, repr=False)  # made by `open`

    def __post_init__(self):
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")

    def open(self) -> None:
        self.reader = load_detector(self.detector, self.weights, **self.options)

    def __call__(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        starts = range(0, len(rows), self.batch_size)
        return [result for start in starts for result in self._batch(rows[start:start + self.batch_size])]

    def _batch(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        images = [film.pixels if film.pixels.dtype == np.uint8 else film.gray for film in
                  (read_known(row["file"], row.get("sha256", "")) for row in rows)]  # a reader sees what the model sees
        try:
            found = [as_found(boxes, self.detector) for boxes in self.reader.detect(images)]
            if len(found) != len(rows):
                many = f"{len(found)} lists of boxes for {len(rows)} images"
                raise ValueError(f"the detector {self.detector} gives {many}")
        except (TypeError, ValueError) as error:
            if len(rows) > 1:
                raise
            raise ValueError(f"{rows[0]['file']}: {error}") from error
        return [{"image_id": row["image_id"], "boxes": [[*box.box, box.score] for box in boxes],
                 "kinds": [box.kind for box in boxes]} for row, boxes in zip(rows, found, strict=True)]


def boxes_table(results: Iterable[dict[str, Any]], detector: str) -> pd.DataFrame:
    """The worker's rows as a table with one row per box: image_id kind x0 y0 x1 y1 score detector.

    An image without boxes has no row.
    """
    rows = [(row["image_id"], kind, *(int(v) for v in box[:4]), float(box[4]), detector)
            for row in results if not row.get("problem")
            for box, kind in zip(row["boxes"], row["kinds"], strict=True)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def detect_table(detector: Detector, items: Sequence[tuple[str, str | Path]]) -> tuple[pd.DataFrame, dict[str, str]]:
    """(table of boxes, {image_id: problem}) for `items` of (image_id, path), one after another in this process.

    A file that cannot be read or detected in is named in the problems and left out.
    """
    worker, results, problems = DetectWorker(detector.name, reader=detector), [], {}
    for name, path in items:
        try:
            results += worker([{"image_id": name, "file": path}])
        except (TypeError, ValueError, OSError) as error:
            problems[name] = str(error)
    return boxes_table(results, detector.name), problems
