"""The tables of a run folder that several stages read, and the context every stage is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from xray_debug.config import PipelineConfig
from xray_debug.run.folder import Run, read_json

Progress = Callable[[str], Callable[[int, int], None]]  # description -> callback(done, total)


@dataclass(frozen=True)
class Context:
    """What every stage is given."""

    run: Run
    config: PipelineConfig
    progress: Progress
    say: Callable[[str], None]
    allow_download: bool = False

    @property
    def device(self) -> str:
        import torch

        if self.config.device != "auto":
            return self.config.device
        return "cuda" if torch.cuda.is_available() else "cpu"


def manifest(run: Run) -> pd.DataFrame:
    """The usable rows of the manifest; rows with a problem are set aside."""
    frame = pd.read_parquet(run.path("prepare", "manifest.parquet"))
    return frame[frame["problem"] == ""].reset_index(drop=True)


def dataset_root(run: Run) -> Path:
    root = Path(read_json(run.path("prepare", "dataset.json"))["root"])
    return root if root.is_absolute() else run.folder / root


def text_boxes(run: Run) -> pd.DataFrame:
    return pd.read_parquet(run.path("detect", "text_boxes.parquet"))


def class_names(labels: pd.Series) -> list[str]:
    """The classes in the order the field writes them; unknown ones follow in alphabetical order."""
    known = ["normal", "pneumonia", "COVID-19", "negative", "positive", "level1", "level2"]
    found = set(labels)
    return [name for name in known if name in found] + sorted(found - set(known))


def write_table(frame: pd.DataFrame, path: Path) -> None:
    temporary = path.with_name(path.name + ".tmp")
    frame.to_parquet(temporary, index=False)
    temporary.replace(path)


def cleaned_frame(run: Run, frame: pd.DataFrame) -> pd.DataFrame:
    """The manifest with the paths of COVIDx++ (relative to a clean/ dataset folder)."""
    changes = pd.read_parquet(run.path("clean", "changes.parquet"))
    renamed = dict(zip(changes["image_id"], changes["file"], strict=True))
    result = frame.copy()
    result["path"] = [
        str(Path("" if row.test_set in ("", "test") else row.test_set, "test" if row.split == "test" else "train",
                 renamed.get(row.image_id, row.image_id)))
        for row in frame.itertuples()
    ]  # fmt: skip
    return result


def boxes_by_image(boxes: pd.DataFrame) -> dict[str, np.ndarray]:
    return {
        image_id: part[["x0", "y0", "x1", "y1"]].to_numpy(np.int64)
        for image_id, part in boxes.groupby("image_id", sort=False)
    }


def read_maps(folder: Path) -> dict[str, np.ndarray]:
    """Saliency maps (m, m) by image_id."""
    maps = {}
    for file in sorted(folder.glob("*.npz")):
        with np.load(file, allow_pickle=False) as stored:
            maps[file.name[: -len(".npz")]] = stored["saliency"]
    return maps
