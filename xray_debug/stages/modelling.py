"""What train and retrain share: trainings of several seeds and versions of the data, and their test predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xray_debug.config import TrainConfig
from xray_debug.data.classes import class_order
from xray_debug.data.files import copy_file, write_json
from xray_debug.run.fingerprint import code_state, digest, named_files
from xray_debug.run.folder import RunError
from xray_debug.run.plugins import plugin_code
from xray_debug.stages.base import Context

if TYPE_CHECKING:
    import pandas as pd

    from xray_debug.data.views import Views
    from xray_debug.models.fit import FitJob

MODEL_FILES = ("model.safetensors", "model.json", "history.csv")


def training(context: Context, frame: pd.DataFrame, views: Views, folder: Path, seed: int,
             without: str | None = None, digest: str = "") -> FitJob:  # fmt: skip
    """The training of one seed on train and val, on nothing of the source `without`.

    `digest`: what tells one state of the files that hold the views from another.
    """
    import numpy as np

    from xray_debug.models.fit import FitJob

    classes = class_order(frame["label"])
    codes = frame["label"].map(classes.index).to_numpy(np.int64)
    train, val = (np.flatnonzero((frame["split"] == s) & (frame["source"] != without)) for s in ("train", "val"))
    if not len(train) or not len(val):
        raise RunError(f"training needs train and val images, the manifest has {len(train)} and {len(val)}")
    return FitJob(
        images=views, train=train, labels=codes[train], val=val, val_labels=codes[val], classes=classes,
        config=context.config.train, seed=seed, folder=folder, images_digest=digest,
        code=_code(context.config.train),
    )  # fmt: skip


def _code(config: TrainConfig) -> str:
    """What tells one state of the code that trains from another, and of the files that the options name."""
    plugin = plugin_code([("xray_debug.models", config.model)])
    return digest([code_state("xray_debug.models.fit"), plugin, named_files({"train": config.model_dump(mode="json")})])


def recorded(context: Context, stage: str, name: str) -> str:
    """The digest of a finished stage's result."""
    return ((context.store.record(stage) or {}).get("outputs") or {}).get(name, "")


def train_all(context: Context, jobs: Sequence[FitJob], what: str) -> None:
    """Trains what is not trained yet; finished folders whose key holds are left as they are."""
    from xray_debug.models.fit import fit_all
    from xray_debug.models.threads import threads_of

    workers = context.config.train.workers or context.engine.config.workers
    context.facts["threads"] = threads = _threads(context)
    with threads_of(threads):
        results = fit_all(jobs, workers, context.progress(what), context.say, _precision(context))
    context.facts["precision"] = results[0].precision


def _precision(context: Context) -> str:
    """What `precision: auto` comes to: what it came to in stage train, so that only the data differ.

    "" in stage train itself, and where this machine cannot compute in it, which is said.
    """
    from xray_debug.models.precision import on_gpu

    if context.config.train.precision != "auto" or "train" in context.store.work:
        return ""
    found = (context.store.record("train") or {}).get("precision") or ""
    if found == "16-mixed" and not on_gpu(context.config.train.accelerator):
        context.say("stage train computed in 16-mixed, which this machine cannot: its models and these differ in more "
                    "than their data")  # fmt: skip
        return ""
    return found


def _threads(context: Context) -> int:
    """CPU threads of the stage's trainings together: as many as it began with, or stage train had, so that a run that
    goes on elsewhere ends as one left in peace; as many as torch has now, where there are not so many cores."""
    import torch

    from xray_debug.run.engine import cores

    now, file = torch.get_num_threads(), context.scratch / "threads.json"
    before = json.loads(file.read_text()) if file.exists() else 0
    if not before and "train" not in context.store.work:
        before = (context.store.record("train") or {}).get("threads") or 0
    if before > max(cores(), now):
        context.say(f"training began with {before} CPU threads and goes on with {now}: the last digits of the models' "
                    f"answers can depend on it")  # fmt: skip
    elif before not in (0, now):
        context.say(f"training with {before} CPU threads, as it began, and not with {now}")
        now = before
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, now)
    return now


def predicted(context: Context, folder: Path, frame: pd.DataFrame, views: Views, trained_on: str, tested_on: str,
              seed: int, without: str = "") -> pd.DataFrame:  # fmt: skip
    """Tall table of a model's probabilities of the test images; of those of the source `without`, if it is one."""
    import numpy as np

    from xray_debug.models.inference import load_for_inference
    from xray_debug.models.predict import NotFinite, probabilities_side_by_side

    model = load_for_inference(folder, context.device)
    rows = np.flatnonzero((frame["split"] == "test") & ((frame["source"] == without) | (without == "")))
    try:
        found = probabilities_side_by_side(model, views.rows(rows))
    except NotFinite as error:
        names = frame["image_id"].iloc[rows[error.rows]]
        raise NotFinite(error.rows, f"{names.iloc[0]}, tested {tested_on} ({folder})") from error
    table = frame.iloc[rows][["test_set", "image_id", "label", "source"]].reset_index(drop=True)
    table = table.assign(trained_on=trained_on, without=without, tested_on=tested_on, seed=seed)
    table["predicted"] = [model.classes[i] for i in found.argmax(1)]
    return table.assign(**{f"p_{name}": found[:, i] for i, name in enumerate(model.classes)})


def metrics(context: Context, frame: pd.DataFrame, table: pd.DataFrame) -> dict:
    """The figures of every cell, the same as the report's: intervals by patient, over all seeds."""
    from xray_debug.stats.scores import metrics_of

    patients = frame.drop_duplicates("image_id").set_index("image_id")["patient_id"]
    classes = class_order(frame["label"])
    return metrics_of(table, classes, patients, context.config.report.bootstrap, context.config.seed)


def copy_model(source: Path, target: Path) -> None:
    """The first seed's model also lies in the stage's own folder."""
    for name in MODEL_FILES:
        copy_file(source / name, target / name)
