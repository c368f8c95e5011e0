"""Flagged cases for the report: one record and one strip of pictures each, in the audit's order.

The pictures repeat the audit's interventions; their probabilities are those the audit measured, nothing is run again.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from xray_debug.audit.frames import composite, prepare_case, ranks, top_share
from xray_debug.audit.removals import REMOVALS, SAID
from xray_debug.data.images import ImageError, ModelView, to_gray8
from xray_debug.data.overlay import gray_bytes, heat_overlay, map_facts
from xray_debug.data.unchanged import read_known
from xray_debug.report.inputs import RunFiles
from xray_debug.report.strips import case_figure
from xray_debug.run.store import OUTPUTS
from xray_debug.saliency.plots import Panel

INSERTED, DELETED = 0.06, 0.12  # shares of the most salient pixels shown
HEAT = "saliency"  # the title of the overlay
SHOWN_SIDE = 420  # pixels, the original's longer side in the strip
FACTS = ("image_id", "label", "source", "test_set", "predicted", "probability", "effect", "control_effect", "kind",
         "rank", "deletion", "insertion", "saliency_in_text", "saliency_enrichment", "text_visible", "text_hidden")


def flagged_cases(run: RunFiles, figures: Path) -> tuple[list[dict], dict | None]:
    """Records of the flagged cases shown, with their figures written, and counts of all flagged; None without audit."""
    if run.cases is None:
        return [], None
    cases = run.cases
    chosen = cases[cases["flagged"].astype(bool)]
    if "rank" in chosen:
        chosen = chosen.sort_values("rank")
    counts = {"cases": len(cases), "flagged": len(chosen), "shown": min(len(chosen), run.config.report.max_flagged)}
    for column in ("kind", "predicted", "source", "test_set"):
        if column in chosen:
            counts[f"by_{column}"] = {str(k): int(n) for k, n in chosen[column].value_counts().items()}
    if counts["shown"] < counts["flagged"]:
        hidden = counts["flagged"] - counts["shown"]
        why = f"report.max_flagged, explained cases first; {OUTPUTS['cases'].where} holds them all"
        run.leave_out(f"pictures of {hidden} of {counts['flagged']} flagged cases", why)
    records = [
        _record(run, row, figures / f"case-{number:03d}.png")
        for number, (_, row) in enumerate(_shown(run, chosen, counts["shown"]).iterrows(), 1)
    ]
    return records, counts


def _shown(run: RunFiles, chosen: pd.DataFrame, count: int) -> pd.DataFrame:
    """The first `count` cases, those with a saliency map before those without; in the order given."""
    without = ~chosen["image_id"].isin(run.store.explained()).to_numpy()
    return chosen.iloc[np.sort(np.argsort(without, kind="stable")[:count])]


def _record(run: RunFiles, row: pd.Series, path: Path) -> dict:
    record = {name: row[name] for name in FACTS if name in row}
    record["reasons"] = _sentences(row.get("reasons", ""))
    record["remarks"] = _sentences(row.get("remarks", ""))
    try:
        panels, boxes = _panels(run, row)
    except (ImageError, OSError, ValueError) as error:
        run.leave_out(f"pictures of {row['image_id']}", str(error).replace(str(run.store.folder), "RUN"))
        return {**record, "figure": None, "panels": [], "boxes": []}
    case_figure([panel for panel, _ in panels], path)
    shown = [{"title": panel.title, "probability": value} for panel, value in panels]
    return {**record, "figure": f"{path.parent.name}/{path.name}", "panels": shown, "boxes": boxes}


def _sentences(value) -> str:
    """Reasons as one text, whether stored as a sentence or as a JSON list."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return value
    return " ".join(str(part) for part in value) if isinstance(value, (list, tuple, np.ndarray)) else str(value or "")


def _panels(run: RunFiles, row: pd.Series) -> tuple[list[tuple[Panel, float | None]], list]:
    """The pictures of one case with their probabilities, and its boxes in image pixels.

    What the audit put before the model is made by the audit's own code.
    """
    name = row["image_id"]
    image, window = read_known(*_file_of(run, name))
    case = prepare_case(name, row["label"], image, run.boxes.get(name, ()), ModelView.from_config(run.config.view),
                        run.config.audit, run.config.clean, known=run.patch(name), window=window,
                        saliency=run.store.saliency(name))
    small, scale = _shrunk(to_gray8(image, window))
    panels = [_panel(row, small, "original, text boxes", "probability", case.boxes * scale)]
    if case.has("map"):
        rank = ranks(case.saliency, case.view.shape[0])
        inserted = composite(case.view, case.baseline, top_share(rank, INSERTED))
        deleted = composite(case.baseline, case.view, top_share(rank, DELETED))
        panels += [
            (Panel(heat_overlay(case.view, case.saliency), HEAT, map_facts(case.saliency)), None),
            _panel(row, inserted, f"top {100 * INSERTED:.0f} % inserted", f"p_inserted_{INSERTED:g}"),
            _panel(row, deleted, f"top {100 * DELETED:.0f} % deleted", f"p_deleted_{DELETED:g}"),
        ]
    else:
        run.leave_out("heatmaps of flagged cases without a map", "other cases were explained (explain.select)")
    if case.has("text"):
        alone = composite(case.view, case.baseline, case.text.mask)
        panels.append(_panel(row, alone, "text only", "p_text_only"))
        by = row.get("removed_by")
        by = by if by in case.text.views else REMOVALS[0]
        panels.append(_panel(row, case.text.views[by], f"text {SAID[by]}", f"p_text_{by}"))
    return panels, case.boxes.tolist()


def _panel(row: pd.Series, image: np.ndarray, title: str, column: str | None, boxes=()) -> tuple[Panel, float | None]:
    value = row.get(column) if column else None
    value = None if value is None or not math.isfinite(value) else float(value)
    caption = "" if value is None else f"p({row['predicted']}) = {value:.2f}"
    return Panel(gray_bytes(image), title, caption, boxes), value


def _file_of(run: RunFiles, image_id: str) -> tuple[Path, str]:
    """The original file, which must lie inside the dataset, and the sha256 that prepare found."""
    if run.usable is None:
        raise ValueError(f"{image_id}: the manifest is not known")
    rows = run.usable[run.usable["image_id"] == image_id]
    if not len(rows):
        raise ValueError(f"{image_id}: not in the manifest")
    return run.store.image_file(rows["path"].iloc[0]), str(rows["sha256"].iloc[0] or "") if "sha256" in rows else ""


def _shrunk(gray: np.ndarray) -> tuple[np.ndarray, float]:
    """The image with its longer side at most SHOWN_SIDE, and the factor."""
    scale = min(1.0, SHOWN_SIDE / max(gray.shape))
    if scale == 1.0:
        return gray, 1.0
    size = (max(round(gray.shape[1] * scale), 1), max(round(gray.shape[0] * scale), 1))
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA), scale
