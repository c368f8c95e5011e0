"""What the review app shows of a run, without Streamlit and without torch: cases, pictures, numbers.

Reads prepare/manifest.parquet, prepare/dataset.json, audit/cases.parquet, detect/text_boxes.parquet,
explain/maps/<image_id>.npz and pipeline.yaml. All but the first two may be missing.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import yaml

from xray_debug.data.boxes import clip_boxes
from xray_debug.data.images import ImageError, ModelView, read_image, to_gray8

HEAT_COLOURS = cv2.COLORMAP_TURBO
BOX_COLOUR = (255, 64, 200)
LARGEST_SIDE = 1024  # pixels shown
NOT_NUMBERS = ("image_id", "label", "predicted", "source", "split", "test_set", "reasons", "flagged", "file", "path")


class ViewError(ValueError):
    """A run folder that cannot be shown; the message is one sentence."""


@dataclass(frozen=True)
class RunView:
    """What is known of a run's cases, flagged ones first and these in the order of the audit."""

    folder: Path
    root: Path
    manifest: pd.DataFrame  # indexed by image_id
    cases: pd.DataFrame  # audit/cases.parquet, indexed by image_id; empty where the audit has not run
    boxes: dict[str, np.ndarray]
    view: ModelView

    def image_ids(self, flagged_only: bool = True) -> list[str]:
        """The flagged cases, or all: of the audit where it has run, else the images with boxes or a saliency map."""
        if len(self.cases):
            cases = self.cases.sort_values("rank", kind="stable") if "rank" in self.cases else self.cases
            flagged = cases["flagged"].eq(True) if "flagged" in cases else pd.Series(True, cases.index)
            rest = [] if flagged_only else list(cases.index[~flagged])
            return [name for name in [*cases.index[flagged], *rest] if name in self.manifest.index]
        maps = {file.name[: -len(".npz")] for file in (self.folder / "explain" / "maps").glob("*.npz")}
        return [name for name in self.manifest.index if name in self.boxes or name in maps]

    def boxes_of(self, image_id: str) -> np.ndarray:
        return self.boxes.get(image_id, np.zeros((0, 4), np.int64))

    def image_path(self, image_id: str) -> Path:
        """The image's file; ViewError where the manifest leads out of the dataset."""
        relative = Path(self.manifest.loc[image_id, "path"])
        if relative.is_absolute() or ".." in relative.parts:
            raise ViewError(f"{image_id}: its path {str(relative)!r} leads out of the dataset")
        return self.root / relative

    def image(self, image_id: str) -> np.ndarray:
        """The image as uint8 (H, W); ViewError or ImageError in one sentence."""
        return to_gray8(read_image(self.image_path(image_id)))

    def saliency(self, image_id: str) -> np.ndarray | None:
        """The case's saliency map (m, m), 1 = most salient; None where it was not explained."""
        if Path(image_id).name != image_id:
            return None
        try:
            with np.load(self.folder / "explain" / "maps" / f"{image_id}.npz", allow_pickle=False) as stored:
                saliency = np.squeeze(stored["saliency"]).astype(np.float32)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile):
            return None
        return saliency if saliency.ndim == 2 else None

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


def load_run(folder: str | Path) -> RunView:
    """The run in `folder`; ViewError where it is no run or its dataset was not prepared."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ViewError(f"{folder}: expected a run folder, found {'a file' if folder.exists() else 'nothing'}")
    manifest = _table(folder / "prepare" / "manifest.parquet")
    if manifest is None:
        raise ViewError(f"{folder}: prepare/manifest.parquet is missing, so the stage prepare has not run")
    if "problem" in manifest:
        manifest = manifest[manifest["problem"] == ""]
    try:
        root = Path(json.loads((folder / "prepare" / "dataset.json").read_text(encoding="utf-8"))["root"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ViewError(f"{folder}: prepare/dataset.json, expected the dataset's root, cannot be read") from error
    cases = _table(folder / "audit" / "cases.parquet")
    return RunView(
        folder,
        root if root.is_absolute() else folder / root,
        manifest.drop_duplicates("image_id").set_index("image_id"),
        pd.DataFrame() if cases is None else cases.drop_duplicates("image_id").set_index("image_id"),
        _boxes(_table(folder / "detect" / "text_boxes.parquet")),
        _view(folder / "pipeline.yaml"),
    )


def _table(path: Path) -> pd.DataFrame | None:
    if not path.exists():
        return None
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ViewError(f"{path}: not a readable table") from error


def _boxes(table: pd.DataFrame | None) -> dict[str, np.ndarray]:
    if table is None or not len(table):
        return {}
    columns = ["x0", "y0", "x1", "y1"]
    return {name: part[columns].to_numpy(np.int64) for name, part in table.groupby("image_id", sort=False)}


def _view(pipeline: Path) -> ModelView:
    """What the model saw, where the pipeline's file says so; else the whole image."""
    try:
        view = (yaml.safe_load(pipeline.read_text(encoding="utf-8")) or {})["train"]["view"]
        return ModelView(**{name: value for name, value in view.items() if name in ModelView.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return ModelView(224)


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
        shown = _blend(shown, view.map_to_image(saliency, *shown.shape[:2]), opacity)
    thickness = max(1, round(max(shown.shape) / 400))
    for x0, y0, x1, y1 in (clip_boxes(boxes, height, width) * scale).round().astype(int).tolist():
        cv2.rectangle(shown, (x0, y0), (max(x1 - 1, x0), max(y1 - 1, y0)), BOX_COLOUR, thickness)
    return shown


def _blend(shown: np.ndarray, saliency: np.ndarray, opacity: float) -> np.ndarray:
    """Salient places coloured; where the saliency is 0 the image stays as it is."""
    saliency = np.clip(saliency, 0, 1).astype(np.float32)
    heat = cv2.applyColorMap((saliency * 255).astype(np.uint8), HEAT_COLOURS)[..., ::-1].astype(np.float32)
    weight = np.float32(min(max(opacity, 0.0), 1.0)) * saliency[..., None]
    return np.round(shown * (1 - weight) + heat * weight).astype(np.uint8)


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
