"""The explanations of a run in figures: deletion and insertion areas and their mean curves."""

from __future__ import annotations

import numpy as np

from xray_debug.report.inputs import RunFiles
from xray_debug.stats.intervals import LEVEL, bootstrap

CURVES = ("deletion", "insertion")


def explanations(run: RunFiles, samples: int, seed: int) -> dict | None:
    """Method, number of cases, areas with intervals, seconds a case and the mean curves; None without any."""
    table = run.explanations
    if table is None:
        return None
    if not len(table):
        run.leave_out("deletion and insertion of the explanations", "no image fits explain.select")
        return None
    areas = {name: bootstrap(np.mean, [table[name].to_numpy(float)], samples, seed, LEVEL)._asdict() for name in CURVES}
    return {
        "method": str(table["method"].iloc[0]),
        "mask_size": int(table["mask_size"].iloc[0]),
        "cases": len(table),
        "seconds": run.seconds_an_image("explanations"),
        **areas,
        "curves": mean_curves(run, set(table["image_id"])),
    }


def mean_curves(run: RunFiles, image_ids: set[str]) -> dict | None:
    """Mean and quartiles of the stored curves over the cases; None where there are none of one length."""
    columns = [f"{name}_curve" for name in CURVES]
    rows = [[row.get(column) for column in columns] for row in run.store.saliency_maps(["image_id", *columns])
            if row["image_id"] in image_ids]  # fmt: skip
    rows = [[np.ravel(curve) for curve in row] for row in rows if all(curve is not None for curve in row)]
    lengths = {len(curve) for row in rows for curve in row}
    if len(lengths) != 1:
        return None
    result = {"share": np.linspace(0, 1, lengths.pop()).tolist()}
    for name, curves in zip(CURVES, np.array(rows, float).transpose(1, 0, 2), strict=True):
        low, high = np.quantile(curves, [0.25, 0.75], axis=0)
        result[name] = {"mean": curves.mean(0).tolist(), "low": low.tolist(), "high": high.tolist()}
    return result
