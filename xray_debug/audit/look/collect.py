"""What is typical of each class, from a table of images: made once before the audit, handed to every worker.

Text is not to count as contrast or sharpness: what stands in its boxes is inpainted in the view first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from xray_debug.audit.checks.region import without
from xray_debug.audit.look.typical import as_film, chosen_images, looks_of, needs_looks
from xray_debug.config import AuditConfig
from xray_debug.data.boxes import as_boxes, rasterise_boxes
from xray_debug.data.unchanged import read_known
from xray_debug.data.view import ModelView

RIM = 2  # view pixels by which a box is grown


def make_looks(cases: pd.DataFrame, boxes: Mapping[str, Iterable], view: ModelView, config: AuditConfig,
               seed: int = 0) -> dict | None:  # fmt: skip
    """Of `cases` (image_id label file), which are read for it, as plain values (Looks.as_dict); None where no look is
    moved.

    `boxes`: image_id -> (N, 4) of its text.
    """
    return looks_of(_read(chosen_images(cases, seed), boxes, view), config).as_dict() if needs_looks(config) else None


def looks_of_views(frame: pd.DataFrame, boxes: Mapping[str, Iterable], views, view: ModelView, config: AuditConfig,
                   seed: int = 0) -> dict | None:  # fmt: skip
    """The same of a manifest's usable training images, or of all where it has none, from what the model sees of them.

    `views`: uint8 (N, S, S), one for each row of the manifest.
    """
    if not needs_looks(config):
        return None
    frame = frame.reset_index(drop=True)
    usable = frame[frame["problem"].fillna("") == ""] if "problem" in frame else frame
    train = usable[usable["split"].isin(["train", "val"])]
    chosen = chosen_images(usable if train.empty else train, seed)
    films = ((row.label, text_free(image, view, int(row.height), int(row.width), boxes.get(row.image_id, ())))
             for row, image in zip(chosen.itertuples(), views.rows(chosen.index.to_numpy()), strict=True))
    return looks_of(films, config).as_dict()


def _read(chosen: pd.DataFrame, boxes: Mapping[str, Iterable], view: ModelView) -> Iterator[tuple[str, np.ndarray]]:
    for row in chosen.to_dict("records"):
        try:
            image, window = read_known(row["file"], row.get("sha256", ""))
        except ValueError:  # the case itself reports what is wrong with it
            continue
        found = boxes.get(row["image_id"], ())
        yield row["label"], text_free(view.apply(image, window), view, *image.shape[:2], found)


def text_free(image: np.ndarray, view: ModelView, height: int, width: int, boxes: Iterable) -> np.ndarray:
    """The film in a view, uint8 (S, S), of a (height, width) image: float32 in [0, 1], its boxes inpainted."""
    whole = image.astype(np.float32) / np.float32(255)
    seen = view.boxes_to_view(boxes, height, width)
    seen = seen[(seen[:, 2] > seen[:, 0]) & (seen[:, 3] > seen[:, 1])]
    mask = rasterise_boxes(as_boxes(seen) + np.array([-RIM, -RIM, RIM, RIM]), view.size, view.size)
    return as_film(without(whole, mask) if mask.any() and not mask.all() else whole, view, height, width)
