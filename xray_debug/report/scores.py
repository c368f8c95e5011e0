"""The report's section "Scores": AUROC, AUPRC and sensitivity at fixed specificity, macro and of each class.

`cells`, (trained_on, tested_on, test_set) -> Cell, become rows for report.json. Scores are averages over the seeds'
models; intervals are over images, patients drawn whole.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xray_debug.stats.calibration import error_interval
from xray_debug.stats.intervals import LEVEL, Interval, percentile_interval
from xray_debug.stats.ranking import MEASURES, cell_rankings, macro
from xray_debug.stats.resampling import resampled
from xray_debug.stats.scores import Cell, Cells

NAMES = ("trained_on", "tested_on", "test_set")
SAMPLES = 1000  # resamples at most: each orders the images anew, of every class and seed


def named(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def with_intervals(measured: Callable[[np.ndarray], dict[str, np.ndarray]], cell: Cell, samples: int, seed: int
                   ) -> dict[str, float]:  # fmt: skip
    """What `measured` makes of weights of the cell's images, name -> (B,), on the images as they are and resampled."""
    point, draws, row = measured(np.ones((1, len(cell.labels)))), resampled(cell.owners, measured, samples, seed), {}
    for name, values in point.items():
        interval = error_interval if name == "ece" else percentile_interval
        row |= named(name, interval(float(values[0]), draws[name], LEVEL))
    return row


def rankings(cell: Cell, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """MEASURES of each class, (B, K), and their macro means over the classes that can be judged, (B,) as macro_NAME."""
    found = cell_rankings(cell, weights)
    present = np.bincount(cell.labels, minlength=len(cell.classes))
    judged = (present > 0) & (present < len(cell.labels))
    return found | {f"macro_{name}": macro(found[name], judged) for name in MEASURES}


def scores(cells: Cells, samples: int, seed: int) -> list[dict]:
    """One row per cell with probabilities: macro AUROC and AUPRC, and under `classes` MEASURES of each class."""
    rows = []
    for key, cell in cells.items():
        if cell.probabilities is None:
            continue
        point, draws = rankings(cell), resampled(cell.owners, lambda w, c=cell: rankings(c, w),
                                               min(samples, SAMPLES), seed)  # fmt: skip
        row = {**dict(zip(NAMES, key, strict=True)), "images": len(cell.labels), "patients": patients_of(cell),
               "seeds": len(cell.seeds)}  # fmt: skip
        for name in MEASURES:
            row |= named(name, percentile_interval(point[f"macro_{name}"][0], draws[f"macro_{name}"], LEVEL))
        row["classes"] = _classes(cell, point, draws)
        rows.append(row)
    return rows


def _classes(cell: Cell, point: dict, draws: dict) -> list[dict]:
    rows = []
    for k, name in enumerate(cell.classes):
        images = int((cell.labels == k).sum())
        row = {"class": name, "images": images, "share": images / len(cell.labels)}
        for measure in MEASURES:
            row |= named(measure, percentile_interval(point[measure][0, k], draws[measure][:, k], LEVEL))
        rows.append(row)
    return rows


def patients_of(cell: Cell) -> int | None:
    return None if cell.patients is None else len(set(cell.patients))
