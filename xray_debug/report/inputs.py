"""What a run folder holds for the report: tables that are there, and for each that is not, the reason."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xray_debug.config import PipelineConfig
from xray_debug.report.scores import Cell

STAGES = ("prepare", "train", "explain", "detect", "audit", "clean", "retrain", "report")
CLASS_ORDER = ("normal", "pneumonia", "COVID-19", "negative", "positive", "level1", "level2")
REVEALS = {
    "prepare/manifest.parquet": "faults set aside, repaired shares by class and source, pictures of flagged cases",
    "train/predictions.parquet": "scores of the model trained on the original images",
    "retrain/predictions.parquet": "scores after cleaning and after the control cleaning: the rest of the 2x2",
    "explain/explanations.parquet": "deletion and insertion of the explanations",
    "detect/text_boxes.parquet": "boxes on the pictures of flagged cases",
    "audit/cases.parquet": "flagged cases",
    "audit/verdict.json": "the verdict and the no-evidence baselines",
    "clean/changes.parquet": "repaired share by class and source, residual text",
    "clean/probe.json": "the inpainting probe",
}


@dataclass
class RunFiles:
    """The run's tables (None where absent) and what cannot be shown without them."""

    folder: Path
    config: PipelineConfig
    manifest: pd.DataFrame | None = None
    predictions: pd.DataFrame | None = None
    explanations: pd.DataFrame | None = None
    boxes: pd.DataFrame | None = None
    cases: pd.DataFrame | None = None
    changes: pd.DataFrame | None = None
    verdict: dict | None = None
    probe: dict | None = None
    root: Path | None = None
    records: dict[str, dict] = field(default_factory=dict)
    not_shown: list[dict[str, str]] = field(default_factory=list)

    def leave_out(self, what: str, why: str) -> None:
        """Notes that `what` is not in the report, and why."""
        entry = {"what": what, "why": why}
        if entry not in self.not_shown:
            self.not_shown.append(entry)

    @property
    def usable(self) -> pd.DataFrame | None:
        """Rows of the manifest without a problem."""
        return None if self.manifest is None else self.manifest[self.manifest["problem"].fillna("") == ""]

    @property
    def classes(self) -> list[str]:
        frame = self.predictions if self.predictions is not None else self.usable
        if frame is None:
            return []
        if self.predictions is not None:
            named = [c[2:] for c in frame.columns if c.startswith("p_")]
            found = set(named) or set(frame["label"]) | set(frame["predicted"])
        else:
            found = set(frame["label"])
        return [c for c in CLASS_ORDER if c in found] + sorted(found - set(CLASS_ORDER))


def read_run(folder: str | Path, config: PipelineConfig) -> RunFiles:
    """What the report needs from the run `folder`; ValueError where it is no folder or a file in it is broken."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a run folder, found {'a file' if folder.exists() else 'nothing'}")
    run = RunFiles(folder, config)
    run.manifest = _table(run, "prepare/manifest.parquet")
    run.predictions = _predictions(run)
    run.explanations = _table(run, "explain/explanations.parquet")
    run.boxes = _table(run, "detect/text_boxes.parquet")
    run.cases = _table(run, "audit/cases.parquet")
    run.verdict = _json(run, "audit/verdict.json")
    run.changes = _table(run, "clean/changes.parquet")
    run.probe = _json(run, "clean/probe.json")
    dataset = _json(run, "prepare/dataset.json", note=False)
    if dataset and dataset.get("root"):
        run.root = folder / dataset["root"]  # an absolute root replaces the folder
    for stage in STAGES:
        record = _json(run, f"{stage}/stage.json", note=False)
        if record is not None:
            run.records[stage] = record
    return run


def _absent(run: RunFiles, name: str) -> None:
    stage = name.split("/")[0]
    state = "has not finished" if _unfinished(run, name) else "has not run"
    run.leave_out(REVEALS[name], f"{name} is not in the run folder: stage {stage} {state}")


def _table(run: RunFiles, name: str) -> pd.DataFrame | None:
    path = run.folder / name
    if not path.exists() or _unfinished(run, name):
        _absent(run, name)
        return None
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a readable table: {str(error).splitlines()[0]}") from error


def _unfinished(run: RunFiles, name: str) -> bool:
    """Whether the stage that writes the file has begun but not ended: what lies there is not its result."""
    return (run.folder / name.split("/")[0] / ".partial.json").exists()


def _json(run: RunFiles, name: str, note: bool = True) -> Any:
    path = run.folder / name
    if not path.exists() or _unfinished(run, name):
        if note:
            _absent(run, name)
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from error


def _predictions(run: RunFiles) -> pd.DataFrame | None:
    """Predictions of the test images by all models: one row per model, test version and image."""
    needed, parts = ["trained_on", "tested_on", "test_set", "seed", "image_id", "label", "source", "predicted"], []
    for name in ("train/predictions.parquet", "retrain/predictions.parquet"):
        part = _table(run, name)
        if part is None or not len(part):
            continue
        absent = [column for column in needed if column not in part.columns]
        if absent:
            raise ValueError(f"{name}: expected the columns {', '.join(needed)}, {', '.join(absent)} missing")
        parts.append(part)
    if not parts:
        return None
    frame = pd.concat(parts, ignore_index=True)
    frame = frame[frame["test_set"].fillna("") != ""]
    keys = ["trained_on", "tested_on", "test_set", "seed", "image_id"]
    twice = frame[frame.duplicated(keys)]
    if len(twice):
        row = twice.iloc[0]
        raise ValueError(f"predictions.parquet: {row['image_id']} is predicted twice by the model trained on "
                         f"{row['trained_on']}, seed {row['seed']}, tested on {row['tested_on']}")  # fmt: skip
    return frame.reset_index(drop=True)


def read_cells(run: RunFiles) -> dict[tuple[str, str, str], Cell]:
    """(trained_on, tested_on, test_set) -> Cell, in reading order; images that a seed lacks are left out and noted."""
    if run.predictions is None or not len(run.predictions):
        return {}
    classes, cells = run.classes, {}
    groups = dict(list(run.predictions.groupby(["trained_on", "tested_on", "test_set"], sort=False)))
    for key in sorted(groups, key=_cell_order):
        cells[key] = _cell(run, " / ".join(key), groups[key], classes)
    return {key: cell for key, cell in cells.items() if len(cell.labels)}


def _cell_order(key: tuple[str, str, str]) -> tuple:
    trained, tested, test_set = key
    rank = ["original", "cleaned", "control"]
    place = lambda name: (rank.index(name) if name in rank else len(rank), name)  # noqa: E731
    return (test_set != "test", test_set, place(trained), place(tested))


def _cell(run: RunFiles, name: str, part: pd.DataFrame, classes: list[str]) -> Cell:
    seeds = sorted(part["seed"].unique().tolist())
    wide = part.pivot(index="image_id", columns="seed", values="predicted").sort_index()
    whole = wide.notna().all(axis=1)
    if not whole.all():
        lacking = f"{int((~whole).sum())} of {len(whole)} images of {name}"
        run.leave_out(lacking, "not predicted by the models of all seeds")
    ids = wide.index[whole]
    first = part.drop_duplicates("image_id").set_index("image_id").loc[ids]
    unknown = set(first["label"]) - set(classes)
    if unknown:
        raise ValueError(f"predictions.parquet: label {sorted(unknown)[0]!r} is none of the model's classes {classes}")
    index = {c: i for i, c in enumerate(classes)}
    predicted = np.stack([wide.loc[ids, seed].map(index).to_numpy() for seed in seeds]).astype(np.int64)
    columns = [f"p_{c}" for c in classes]
    probabilities = None
    if all(c in part.columns for c in columns) and not part[columns].isna().any().any():
        probabilities = np.stack([
            part[part["seed"] == seed].set_index("image_id").loc[ids, columns].to_numpy(np.float64) for seed in seeds
        ])  # fmt: skip
    return Cell(ids.to_numpy(str), first["label"].map(index).to_numpy(np.int64), first["source"].to_numpy(str),
                predicted, probabilities, tuple(seeds), tuple(classes), _patients(run, ids))  # fmt: skip


def _patients(run: RunFiles, image_ids: pd.Index) -> np.ndarray | None:
    """(n,) patients of the images, None where the manifest does not know them all."""
    frame = run.usable
    if frame is None or "patient_id" not in frame:
        return None
    owners = frame.drop_duplicates("image_id").set_index("image_id")["patient_id"].reindex(image_ids)
    return None if owners.isna().any() else owners.to_numpy(str)
