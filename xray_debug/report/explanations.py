"""How the explanations of a run did: areas, sparseness, where they look, sanity checks, and their mean curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from xray_debug.data.images import ModelView
from xray_debug.report.inputs import RunFiles
from xray_debug.saliency.regions import area_share, pointing_game, relevance_mass_accuracy, relevance_rank_accuracy
from xray_debug.stats.intervals import LEVEL, bootstrap

CURVES = ("deletion", "insertion")
MOST = 2000  # cases whose maps are held against text boxes: each is ranked at the size of the view
LOCALISED = {"relevance_mass": relevance_mass_accuracy, "relevance_rank": relevance_rank_accuracy,
             "pointing_game": pointing_game}  # fmt: skip
# each measure as a reader is told of it: its name, and what it says
MEASURES = {
    "deletion": ("deletion", "area under the curve; the lower, the sooner the decision goes with the salient pixels"),
    "insertion": ("insertion", "area under the curve; the higher, the sooner the decision comes back"),
    "sparseness": ("sparseness", "Gini index of the map: 0 spread evenly, near 1 in one place"),
    "objective": ("final objective", "what the method minimised, at its result; comparable within a method only"),
    "relevance_mass": ("relevance mass in the text", "share of the saliency that lies in the detected text"),
    "relevance_rank": ("relevance rank in the text", "of as many salient pixels as the text has, the share in it"),
    "pointing_game": ("pointing game on the text", "how often the most salient pixel lies in the text"),
    "text_area": ("area of the text", "share of the view: what an even map would have in it"),
}
SANITY = {
    "mprt_output": ("MPRT, output layer", "rank correlation with the map of a network with a random output layer"),
    "mprt_all": ("MPRT, all layers", "the same with every layer drawn anew; near 1 the map does not follow the model"),
    "random_logit": ("random logit", "rank correlation with the map of another class; near 1 it explains no decision"),
    "max_sensitivity": ("max-sensitivity", "the map's largest move, over its length, when pixels hardly move"),
}


def explanations(run: RunFiles, samples: int, seed: int) -> dict | None:
    """Method, cases, each of MEASURES that there is (a mean with its interval), seconds a case, `sanity`, curves.

    None without any explanation.
    """
    table = run.explanations
    if table is None:
        return None
    if not len(table):
        run.leave_out("deletion and insertion of the explanations", "no image fits explain.select")
        return None
    table = table.merge(in_text(run, set(table["image_id"])), on="image_id", how="left")
    if table["relevance_mass"].isna().all():
        why = "no explained case has text boxes that the model sees"
        run.leave_out("how much of the explanations lies in text", why)
    found = {name: mean_of(table[name], samples, seed) for name in MEASURES}
    return {
        "method": str(table["method"].iloc[0]),
        "mask_size": int(table["mask_size"].iloc[0]),
        "cases": len(table),
        "seconds": run.seconds_an_image("explanations"),
        "hardly_moved": int(table["hardly_moved"].eq(True).sum()),
        **{name: mean for name, mean in found.items() if mean is not None},
        "sanity": sanity(run, samples, seed),
        "curves": mean_curves(run, set(table["image_id"])),
    }


def mean_of(values: pd.Series, samples: int, seed: int) -> dict | None:
    """Mean of the numbers among the values with its interval, and how many they are; None without any."""
    known = values.to_numpy(float)
    known = known[np.isfinite(known)]
    if not len(known):
        return None
    return {**bootstrap(np.mean, [known], samples, seed, LEVEL)._asdict(), "cases": len(known)}


def in_text(run: RunFiles, image_ids: set[str]) -> pd.DataFrame:
    """LOCALISED and text_area, by image_id, of explained cases whose text the model sees; of MOST at most."""
    view, rows = ModelView.from_config(run.config.view), []
    size, sizes = (view.size, view.size), {}
    if run.usable is not None:
        sizes = run.usable.drop_duplicates("image_id").set_index("image_id")[["height", "width"]].to_dict("index")
    known = sorted(image_ids & run.boxes.keys() & sizes.keys())
    known = set(known[:: -(-len(known) // MOST) or 1])
    for row in run.store.saliency_maps(["image_id", "saliency"]):
        name = row["image_id"]
        if name not in known or row.get("saliency") is None:
            continue
        boxes = [view.boxes_to_view(run.boxes[name], **sizes[name])]
        saliency = torch.from_numpy(np.array(row["saliency"], np.float32))[None, None]
        measures = {key: float(measure(saliency, boxes, size)) for key, measure in LOCALISED.items()}
        area = float(area_share(boxes, size))
        rows.append({"image_id": name, **measures, "text_area": area if area else np.nan})
    return pd.DataFrame(rows, columns=["image_id", *LOCALISED, "text_area"]).drop_duplicates("image_id")


def sanity(run: RunFiles, samples: int, seed: int) -> dict | None:
    """Number of cases that were checked and the mean of each of SANITY; None where none was."""
    if run.sanity is None:
        return None
    if not len(run.sanity):
        run.leave_out("sanity checks of the explanations", "explain.sanity_cases is 0")
        return None
    found = {name: mean_of(run.sanity[name], samples, seed) for name in SANITY}
    return {"cases": len(run.sanity), **{name: mean for name, mean in found.items() if mean is not None}}


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
