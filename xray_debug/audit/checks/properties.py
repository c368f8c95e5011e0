"""What a file shows without its lungs (size, shape, type, text) as guesses of the label: suspicions, no evidence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from xray_debug.audit.checks.base import CHECKS, Check
from xray_debug.data.boxes import clip_boxes, thirds_of_largest


@CHECKS.register("properties", help="how well size, aspect ratio, file type and text boxes alone guess the label")
class Properties(Check):
    def predictors(self, manifest: pd.DataFrame, boxes: Mapping) -> dict[str, np.ndarray]:
        width, height = manifest["width"].to_numpy(float), manifest["height"].to_numpy(float)
        suffix = manifest["image_id"].map(lambda name: Path(name).suffix.lower())
        count, place = text_categories(manifest, boxes)
        return {
            "image size": quantile_bins(width, 6) * 6 + quantile_bins(height, 6),
            "aspect ratio": named_bins(width / np.maximum(height, 1), 8),
            "file type": (suffix + ", " + manifest["bit_depth"].astype(str) + " bits").to_numpy(str),
            "presence of text": (count > 0).astype(int),
            "amount of text": count,
            "place of text": place,
        }


def quantile_bins(values: np.ndarray, bins: int) -> np.ndarray:
    """(N,) -> category 0..bins - 1 by quantiles; equal values share a category, few values keep their own."""
    values = np.asarray(values, float)
    distinct = np.unique(values)
    if len(distinct) <= bins:
        return np.searchsorted(distinct, values)
    return np.searchsorted(np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1])), values, side="right")


def named_bins(values: np.ndarray, bins: int) -> np.ndarray:
    """(N,) -> name of its bin of quantile_bins, "0.41 to 0.52" by its smallest and largest value; NaN is ""."""
    values = np.asarray(values, float)
    known = np.flatnonzero(~np.isnan(values))
    names = np.full(len(values), "", object)
    codes = quantile_bins(values[known], bins) if len(known) else np.zeros(0, int)
    for code in np.unique(codes):
        rows = known[codes == code]
        low, high = f"{values[rows].min():.3g}", f"{values[rows].max():.3g}"
        names[rows] = low if low == high else f"{low} to {high}"
    return names.astype(str)


def text_categories(manifest: pd.DataFrame, boxes: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Number of text boxes (0, 1, 2, 3 for more), and where the largest lies: 0 for no text, 1 to 9 for thirds."""
    counts, places = np.zeros(len(manifest), int), np.zeros(len(manifest), int)
    for index, (name, width, height) in enumerate(manifest[["image_id", "width", "height"]].itertuples(index=False)):
        found = clip_boxes(boxes.get(name, ()), int(height), int(width))
        where = thirds_of_largest(found, int(height), int(width))
        if where is not None:
            counts[index], places[index] = min(len(found), 3), 1 + 3 * where[0] + where[1]
    return counts, places
