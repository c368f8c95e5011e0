"""What a run holds for the report, read through the store: what is there, and for what is not, the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from xray_debug.config import PipelineConfig
from xray_debug.data.classes import class_order
from xray_debug.run.store import OUTPUTS, Store
from xray_debug.stats.scores import Cells, cells_of, cells_without


@dataclass(frozen=True)
class StageInfo:
    """A stage as the report tells of it: its name and what it does, one line."""

    name: str
    help: str = ""


@dataclass
class RunFiles:
    """The run's tables (None where absent) and what cannot be shown without them."""

    store: Store
    config: PipelineConfig
    stages: tuple[StageInfo, ...] = ()
    manifest: pd.DataFrame | None = None
    predictions: pd.DataFrame | None = None
    explanations: pd.DataFrame | None = None
    sanity: pd.DataFrame | None = None
    boxes: dict[str, np.ndarray] = field(default_factory=dict)
    cases: pd.DataFrame | None = None
    changes: pd.DataFrame | None = None
    readings: pd.DataFrame | None = None
    verdict: dict | None = None
    probe: dict | None = None
    records: dict[str, dict] = field(default_factory=dict)
    excluded: dict[str, int] = field(default_factory=dict)  # image_id -> event, by reviewers, from the cleaned data
    patch: Callable[[str], bytes | None] = lambda image_id: None  # that erases an image's text
    not_shown: list[dict[str, str]] = field(default_factory=list)

    def leave_out(self, what: str, why: str) -> None:
        """Notes that `what` is not in the report, and why."""
        entry = {"what": what, "why": why}
        if entry not in self.not_shown:
            self.not_shown.append(entry)

    @cached_property
    def usable(self) -> pd.DataFrame | None:
        """Rows of the manifest without a problem."""
        return None if self.manifest is None else self.manifest[self.manifest["problem"].fillna("") == ""]

    @cached_property
    def classes(self) -> list[str]:
        frame = self.predictions if self.predictions is not None else self.usable
        if frame is None:
            return []
        named = [name[2:] for name in frame.columns if name.startswith("p_")]
        return class_order(named or [*frame["label"], *frame.get("predicted", [])])

    @cached_property
    def patients(self) -> pd.Series | None:
        """image_id -> patient, where the manifest knows patients."""
        if self.usable is None or "patient_id" not in self.usable:
            return None
        return self.usable.drop_duplicates("image_id").set_index("image_id")["patient_id"]

    def seconds_an_image(self, name: str) -> float | None:
        """Of the stage that made the result `name`, where its record says so."""
        record = self.records.get(OUTPUTS[name].stage) or {}
        return record["seconds"] / record["images"] if record.get("images") and record.get("seconds") else None


def read_run(store: Store, config: PipelineConfig, stages: Iterable[StageInfo]) -> RunFiles:
    """What the report needs from a run; ValueError where it is no folder or a file in it is broken."""
    folder = store.folder
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a run folder, found {'a file' if folder.exists() else 'nothing'}")
    own = OUTPUTS["report"].stage
    run = RunFiles(store, config, tuple(stage for stage in stages if stage.name != own))
    for name, output in OUTPUTS.items():
        if output.shows and not store.has(name):
            run.leave_out(output.shows, store.why_absent(name))
    run.manifest = store.manifest(usable=False) if store.has("manifest") else None
    run.predictions = store.predictions() if store.has("predictions") or store.has("retrained predictions") else None
    run.boxes = store.boxes() if store.has("regions") else {}
    for name in ("explanations", "sanity", "cases", "changes", "readings", "verdict", "probe"):
        setattr(run, name, _known(store, name))
    _without_excluded(run)
    run.patch = store.patches()
    run.records = {stage.name: record for stage in run.stages if (record := store.record(stage.name)) is not None}
    return run


def _without_excluded(run: RunFiles) -> None:
    """Leaves out of every score, and of the counts of cleaning, the images that reviewers have excluded; says so.

    The models of the original images are scored without them, too: every row is over the same images.
    """
    if not run.store.has("cleaning facts"):
        return
    run.excluded = run.store.json("cleaning facts").get("excluded", {})
    if not run.excluded:
        return
    test = 0
    if run.predictions is not None:
        gone = run.predictions["image_id"].isin(list(run.excluded))
        test = run.predictions["image_id"][gone].nunique()
        run.predictions = run.predictions[~gone].reset_index(drop=True)
    if run.changes is not None:
        run.changes = run.changes[~run.changes["image_id"].isin(list(run.excluded))].reset_index(drop=True)
    if run.readings is not None:
        run.readings = run.readings[~run.readings["image_id"].isin(list(run.excluded))].reset_index(drop=True)
    why = "they are in no cleaned dataset, and in no row of the scores; the audit has seen them"
    if learned := _learned(run):
        why += (f"; the models of the original images were trained with {learned} of them, those of cleaned and "
                "control images without, so that their difference holds this, too")  # fmt: skip
    run.leave_out(f"{len(run.excluded)} images that reviewers have excluded, {test} of them test images", why)


def _learned(run: RunFiles) -> int:
    """How many excluded images a model that was trained here has learned from."""
    if run.usable is None or run.config.model is not None or not run.store.has("retrained predictions"):
        return 0
    gone = run.usable["image_id"].isin(list(run.excluded))
    return int((gone & run.usable["split"].isin(["train", "val"])).sum())


def _known(store: Store, name: str) -> Any:
    if not store.has(name):
        return None
    return store.json(name) if OUTPUTS[name].kind == "json" else store.table(name)


def read_cells(run: RunFiles) -> tuple[Cells, dict[str, Cells]]:
    """The cells of the usual models, and by source those of models that never saw it.

    Images that a seed lacks are left out and noted.
    """
    if run.predictions is None or not len(run.predictions):
        return {}, {}
    cells = cells_of(run.predictions, run.classes, run.patients)
    without = cells_without(run.predictions, run.classes, run.patients)
    for source, found in [("", cells), *without.items()]:
        for key, cell in list(found.items()):
            if cell.incomplete:
                name = " / ".join(key) + (f", trained without {source}" if source else "")
                total = cell.incomplete + len(cell.labels)
                run.leave_out(f"{cell.incomplete} of {total} images of {name}",
                              "not predicted by the models of all seeds")  # fmt: skip
            if not len(cell.labels):
                del found[key]
    return cells, without
