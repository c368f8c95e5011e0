"""The explanations of a run in figures: deletion and insertion areas and their mean curves."""

from __future__ import annotations

import numpy as np

from xray_debug.report.inputs import RunFiles
from xray_debug.stats.intervals import percentile_interval

LEVEL = 0.95


def mean_with_interval(values, samples: int, seed: int, level: float = LEVEL) -> dict[str, float]:
    """Mean of (n,) values with its bootstrap interval."""
    values = np.asarray(values, float)
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (samples, len(values)))].mean(1)
    return percentile_interval(values.mean(), means, level)._asdict()


def explanations(run: RunFiles, samples: int, seed: int) -> dict | None:
    """Method, number of cases, areas with intervals, seconds a case and the mean curves; None without any."""
    table = run.explanations
    if table is None:
        return None
    if not len(table):
        run.leave_out("deletion and insertion of the explanations", "no image fits explain.select")
        return None
    return {
        "method": str(table["method"].iloc[0]),
        "mask_size": int(table["mask_size"].iloc[0]),
        "cases": len(table),
        "seconds": float(table["seconds"].mean()),
        "deletion": mean_with_interval(table["deletion"], samples, seed),
        "insertion": mean_with_interval(table["insertion"], samples, seed),
        "curves": mean_curves(run, table["image_id"]),
    }


def mean_curves(run: RunFiles, image_ids) -> dict | None:
    """Mean and quartiles of the stored curves over the cases; None where the maps hold none of one length."""
    found = {"deletion": [], "insertion": []}
    for image_id in image_ids:
        path = run.folder / "explain" / "maps" / f"{image_id}.npz"
        if not path.exists():
            continue
        with np.load(path, allow_pickle=False) as stored:
            if all(f"{name}_curve" in stored for name in found):
                for name, curves in found.items():
                    curves.append(np.asarray(stored[f"{name}_curve"], float).ravel())
    lengths = {len(curve) for curves in found.values() for curve in curves}
    if len(lengths) != 1:
        return None
    result = {"share": np.linspace(0, 1, lengths.pop()).tolist()}
    for name, curves in found.items():
        low, high = np.quantile(curves, [0.25, 0.75], axis=0)
        result[name] = {"mean": np.mean(curves, axis=0).tolist(), "low": low.tolist(), "high": high.tolist()}
    return result
