"""What the review app shows of a run, without Streamlit and without torch: cases, pictures, numbers.

Read through the store; but for the manifest and the dataset's folder everything may be missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from xray_debug.config import ConfigError, load_config
from xray_debug.data.boxes import clip_boxes
from xray_debug.data.images import ImageError, ModelView
from xray_debug.data.overlay import heat_overlay
from xray_debug.data.unchanged import read_known
from xray_debug.run.store import Store, StoreError

BOX_COLOUR = (255, 64, 200)
LARGEST_SIDE = 1024  # pixels shown
NOT_NUMBERS = ("image_id", "label", "predicted", "source", "split", "test_set", "reasons", "flagged", "file", "path")


class ViewError(ValueError):
    """A run folder that cannot be shown; the message is one sentence."""


@dataclass(frozen=True)
class RunView:
    """What is known of a run's cases, flagged ones first and these in the order of the audit."""

    store: Store
    manifest: pd.DataFrame  # indexed by image_id
    cases: pd.DataFrame  # the audit's, indexed by image_id; empty where it has not run
    boxes: dict[str, np.ndarray]
    view: ModelView

    def image_ids(self, flagged_only: bool = True) -> list[str]:
        """The flagged cases, or all: of the audit where it has run, else the images with boxes or a saliency map."""
        if len(self.cases):
            cases = self.cases.sort_values("rank", kind="stable") if "rank" in self.cases else self.cases
            flagged = cases["flagged"].eq(True)
            rest = [] if flagged_only else list(cases.index[~flagged])
            return [name for name in [*cases.index[flagged], *rest] if name in self.manifest.index]
        known = self.store.explained() | set(self.boxes)
        return [name for name in self.manifest.index if name in known]

    def boxes_of(self, image_id: str) -> np.ndarray:
        return self.boxes.get(image_id, np.zeros((0, 4), np.int64))

    def image(self, image_id: str) -> np.ndarray:
        """The image as uint8 (H, W); ViewError or ImageError in one sentence."""
        try:
            file = self.store.image_file(self.manifest.loc[image_id, "path"])
        except StoreError as error:
            raise ViewError(f"{image_id}: {error}") from error
        return read_known(file, str(self.manifest.loc[image_id].get("sha256") or "")).gray

    def saliency(self, image_id: str) -> np.ndarray | None:
        """The case's saliency map (m, m), 1 = most salient; None where it was not explained or cannot be read."""
        try:
            return self.store.saliency(image_id)
        except StoreError:
            return None

    def facts(self, image_id: str) -> dict[str, str]:
        """Label, prediction, source and so on, as far as known."""
        row = self.manifest.loc[image_id].to_dict()
        row |= self.cases.loc[image_id].to_dict() if image_id in self.cases.index else {}
        names = ("label", "predicted", "source", "split", "test_set", "reasons")
        return {name: str(row[name]) for name in names if row.get(name) not in (None, "") and row[name] == row[name]}

    def numbers(self, image_id: str) -> pd.DataFrame:
        """The audit's measures of one case: columns measure, value; no rows where the audit lacks it."""
        row = self.cases.loc[image_id].to_dict() if image_id in self.cases.index else {}
        kept = [(k, float(v)) for k, v in row.items() if k not in NOT_NUMBERS and _is_number(v)]
        return pd.DataFrame(kept, columns=["measure", "value"])


def _is_number(value) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, np.bool_)) and value == value


def load_run(store: Store) -> RunView:
    """The run's cases; ViewError where it is no run, its dataset was not prepared or a table is damaged."""
    folder = store.folder
    if not folder.is_dir():
        raise ViewError(f"{folder}: expected a run folder, found {'a file' if folder.exists() else 'nothing'}")
    try:
        manifest = store.manifest()
        store.dataset_root()
        cases = store.table("cases") if store.has("cases") else None
        boxes = store.boxes() if store.has("regions") else {}
        view = ModelView(224)
        if store.pipeline_file.exists():  # what the model saw
            view = ModelView.from_config(load_config(store.pipeline_file).view)
    except (StoreError, ConfigError) as error:
        raise ViewError(str(error)) from error
    return RunView(
        store,
        manifest.drop_duplicates("image_id").set_index("image_id"),
        pd.DataFrame() if cases is None else cases.drop_duplicates("image_id").set_index("image_id"),
        boxes,
        view,
    )


# ------------------------------------------------------------------------------------------------- pictures


def picture(
    image: np.ndarray, boxes: np.ndarray, saliency: np.ndarray | None, view: ModelView, opacity: float
) -> np.ndarray:
    """RGB uint8 of at most LARGEST_SIDE pixels: the image, the saliency over it at `opacity` (0..1), the boxes."""
    height, width = image.shape
    scale = min(1.0, LARGEST_SIDE / max(height, width))
    shown = cv2.resize(image, (max(round(width * scale), 1), max(round(height * scale), 1)),
                       interpolation=cv2.INTER_AREA)  # fmt: skip
    shown = np.repeat(shown[..., None], 3, axis=2)
    if saliency is not None and opacity > 0:
        shown = heat_overlay(shown, view.map_to_image(saliency, *shown.shape[:2]), opacity)
    thickness = max(1, round(max(shown.shape) / 400))
    for x0, y0, x1, y1 in (clip_boxes(boxes, height, width) * scale).round().astype(int).tolist():
        cv2.rectangle(shown, (x0, y0), (max(x1 - 1, x0), max(y1 - 1, y0)), BOX_COLOUR, thickness)
    return shown


def parse_boxes(rows: Sequence[dict]) -> list[list[int]]:
    """Boxes from an edited table with columns x0 y0 x1 y1; rows left empty are dropped.

    ViewError where a row is incomplete or no box.
    """
    boxes = []
    for number, row in enumerate(rows, start=1):
        values = [row.get(name) for name in ("x0", "y0", "x1", "y1")]
        missing = [value is None or value != value for value in values]
        if all(missing):
            continue
        if any(missing):
            raise ViewError(f"box {number}: expected x0, y0, x1 and y1, got {values}")
        box = [int(value) for value in values]
        if box[0] < 0 or box[1] < 0 or box[2] <= box[0] or box[3] <= box[1]:
            raise ViewError(f"box {number}: expected 0 <= x0 < x1 and 0 <= y0 < y1, got {box}")
        boxes.append(box)
    return boxes


__all__ = ["ImageError", "RunView", "ViewError", "load_run", "parse_boxes", "picture"]
