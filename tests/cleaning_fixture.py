"""A small dataset with markers in known places, for the tests of cleaning."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from xray_debug.config import CleanConfig
from xray_debug.data.boxes import TextBox
from xray_debug.data.images import write_image

COLUMNS = ["image_id", "x0", "y0", "x1", "y1"]
BOX = (20, 15, 50, 35)
SETTINGS = CleanConfig(dilation=0.15)
GROWN = np.zeros((80, 90), bool)
GROWN[12:38, 17:53] = True  # BOX is 20 pixels high: grown by 3


def film(seed: int, dtype=np.uint8, channels=0, marker=True) -> np.ndarray:
    """Smooth and fine-grained, (80, 90), with a bright bar inside BOX."""
    rng = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(rng.random((80, 90)), (0, 0), 10)
    smooth = 0.25 + 0.5 * (smooth - smooth.min()) / (smooth.max() - smooth.min())
    image = ((smooth + rng.normal(0, 0.01, smooth.shape)).clip(0, 1) * np.iinfo(dtype).max).astype(dtype)
    if marker:
        image[20:30, 25:45] = np.iinfo(dtype).max
    return np.repeat(image[..., None], channels, 2) if channels else image


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files(folder: Path) -> dict[str, str]:
    """Name below the folder -> sha256, of all files."""
    return {str(p.relative_to(folder)): sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def frame(rows: list[tuple], root: Path) -> pd.DataFrame:
    """Manifest rows from (image_id, split, label, test_set)."""
    table = pd.DataFrame(rows, columns=["image_id", "split", "label", "test_set"])
    folder = table["split"].map({"train": "train", "val": "train", "test": "test"})
    table["path"] = [f"{f}/{n}" if t in ("", "test") else f"{t}/test/{n}"
                     for f, n, t in zip(folder, table["image_id"], table["test_set"], strict=True)]
    table["patient_id"], table["source"], table["problem"] = table["image_id"].str[:1], "cohen", ""
    table["sha256"] = [sha256(root / path) if (root / path).exists() else "" for path in table["path"]]
    return table


def dataset(root: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Manifest and boxes of six images in train, val, test and a further test set; b and e carry no box."""
    rows = [("a.png", "train", "COVID-19", ""), ("b.png", "train", "normal", ""), ("c.jpg", "val", "COVID-19", ""),
            ("d.png", "test", "pneumonia", "test"), ("e.png", "test", "normal", "test"),
            ("f.tif", "test", "normal", "reversed")]  # fmt: skip
    for folder in ("train", "test", "reversed/test"):
        (root / folder).mkdir(parents=True)
    write_image(root / "train/a.png", film(0, np.uint16))
    write_image(root / "train/b.png", film(1))
    write_image(root / "train/c.jpg", film(2))
    write_image(root / "test/d.png", film(3, np.uint8, 3))
    write_image(root / "test/e.png", film(4))
    write_image(root / "reversed/test/f.tif", film(5, np.uint16))
    boxes = pd.DataFrame([(name, *BOX, 0.9, "craft") for name in ("a.png", "c.jpg", "d.png", "f.tif")],
                         columns=[*COLUMNS, "score", "detector"])  # fmt: skip
    return frame(rows, root), boxes


class BrightSpots:
    """A reader that finds as many boxes as there are bright areas."""

    def detect(self, images):
        assert all(image.dtype == np.uint8 for image in images)
        gray = [image if image.ndim == 2 else image[..., 0] for image in images]
        return [[TextBox(0, 0, 1, 1)] * (cv2.connectedComponents((g > 250).astype(np.uint8))[0] - 1) for g in gray]
