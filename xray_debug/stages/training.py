"""The stages train and retrain: one model per seed and version of the data, each tested once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xray_debug.run.folder import RunError, write_json
from xray_debug.run.tables import Context, class_names, cleaned_frame, dataset_root, manifest, write_table

BOOTSTRAP = 2000  # resamples behind the intervals of metrics.json


def image_cache(context: Context, frame: pd.DataFrame, root: Path, file: Path, what: str) -> np.ndarray:
    """All images of `frame` as the model sees them, uint8 (N, S, S); decoded once."""
    from xray_debug.data.cache import build_cache
    from xray_debug.data.images import ModelView

    view = ModelView.from_config(context.config.train.view)
    images, problems = build_cache([root / p for p in frame["path"]], view, file, progress=context.progress(what))
    if problems:
        first = next(iter(problems.values()))
        raise RunError(
            f"{len(problems)} images of {root} cannot be read any more, the first: {first}; run prepare again"
        )
    return images


def _fit(
    context: Context, frame: pd.DataFrame, images: np.ndarray, folder: Path, seed: int, what: str,
    without: str | None = None,
):  # fmt: skip
    """The model of one seed, trained (on nothing of the source `without`) or, where it is finished, loaded."""
    from xray_debug.data.images import ModelView
    from xray_debug.models import build_model, load_checkpoint
    from xray_debug.models.fit import fit, seed_everything

    done = folder / "done.json"
    if not done.exists():
        settings = context.config.train
        classes = class_names(frame["label"])
        codes = frame["label"].map(classes.index).to_numpy()
        seed_everything(seed)
        view = ModelView.from_config(settings.view)
        model = build_model(settings.model, classes, view, settings.pretrained, **settings.model_options)
        train, val = (np.flatnonzero((frame["split"] == s) & (frame["source"] != without)) for s in ("train", "val"))
        if not len(train) or not len(val):
            raise RunError(f"training needs train and val images, the manifest has {len(train)} and {len(val)}")
        result = fit(
            model, Subset(images, train), codes[train], Subset(images, val), codes[val], settings, folder, seed,
            context.progress(what),
        )  # fmt: skip
        write_json(done, {"best_epoch": int(result.best_epoch), "seconds": float(result.seconds)})
    return load_checkpoint(folder).to(context.device)


class Subset:
    """Rows of an image array by index, without copying the array."""

    def __init__(self, images: np.ndarray, rows: np.ndarray):
        self.images, self.rows, self.shape = images, rows, (len(rows), *images.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index) -> np.ndarray:
        return self.images[self.rows[index]]


def _predictions(
    model, frame: pd.DataFrame, images: np.ndarray, source: str | None = None, **labels: Any
) -> pd.DataFrame:
    """Tall table of the probabilities of the test images, or of those of one source."""
    from xray_debug.models.predict import probabilities as predict

    rows = np.flatnonzero((frame["split"] == "test") & ((frame["source"] == source) | (source is None)))
    probabilities = predict(model, Subset(images, rows))
    table = frame.iloc[rows][["test_set", "image_id", "label", "source"]].reset_index(drop=True)
    for name, value in labels.items():
        table[name] = value
    table["predicted"] = [model.classes[i] for i in probabilities.argmax(1)]
    for i, name in enumerate(model.classes):
        table[f"p_{name}"] = probabilities[:, i]
    return table


def _metrics(table: pd.DataFrame, classes: list[str], seed: int) -> dict[str, Any]:
    """Metrics with intervals of every cell, for the first seed's model."""
    from xray_debug.stats.metrics import metrics_with_intervals

    found = {}
    for (trained, tested, name), part in table[table["seed"] == seed].groupby(["trained_on", "tested_on", "test_set"]):
        labels = part["label"].map(classes.index).to_numpy()
        probabilities = part[[f"p_{c}" for c in classes]].to_numpy()
        found[f"{trained}/{tested}/{name}"] = metrics_with_intervals(labels, probabilities, classes, BOOTSTRAP, seed)
    return found


def train(context: Context, folder: Path) -> None:
    frame = manifest(context.run)
    images = image_cache(context, frame, dataset_root(context.run), folder / "cache.npy", "decode and resize")
    seeds, tables = context.config.all_seeds, []
    for seed in seeds:
        model = _fit(context, frame, images, folder / f"seed-{seed}", seed, f"train, seed {seed}")
        tables.append(_predictions(model, frame, images, trained_on="original", tested_on="original", seed=seed))
    for name in ("model.safetensors", "model.json", "history.csv"):
        shutil.copyfile(folder / f"seed-{seeds[0]}" / name, folder / name)
    table = pd.concat(tables, ignore_index=True)
    write_table(table, folder / "predictions.parquet")
    found = _metrics(table, model.classes, seeds[0])
    write_json(folder / "metrics.json", found)


def retrain(context: Context, folder: Path) -> None:
    """Trains on COVIDx++ and on the control cleaning; every model of every seed sees both test versions once.

    With retrain.leave_sources_out the originals and COVIDx++ are also learned without each source that can be spared.
    """
    run, seeds = context.run, context.config.all_seeds
    frame = manifest(run)
    cleaned = cleaned_frame(run, frame)
    original = image_cache(context, frame, dataset_root(run), run.path("train", "cache.npy"), "decode and resize")
    views = {"original": original}
    folders = {"cleaned": run.path("clean", "dataset")}
    if context.config.clean.control:
        folders["control"] = run.path("clean", "control")
    for name, root in folders.items():
        views[name] = image_cache(context, cleaned, root, folder / f"cache-{name}.npy", f"decode the {name} images")
    tables = []
    for seed in seeds:
        for trained_on in views:
            where = run.path("train") if trained_on == "original" else folder / trained_on
            what = f"train on {trained_on}, seed {seed}"
            model = _fit(context, frame, views[trained_on], where / f"seed-{seed}", seed, what)
            for tested_on in ("original", "cleaned"):
                if (trained_on, tested_on) != ("original", "original"):
                    labels = {"trained_on": trained_on, "tested_on": tested_on, "seed": seed}
                    tables.append(_predictions(model, frame, views[tested_on], **labels))
    found = _metrics(pd.concat(tables), model.classes, seeds[0])
    if context.config.retrain.leave_sources_out:
        tables += _without_sources(context, frame, views, folder / "without")
    for name in ("model.safetensors", "model.json", "history.csv"):
        shutil.copyfile(folder / "cleaned" / f"seed-{seeds[0]}" / name, folder / name)
    write_table(pd.concat(tables, ignore_index=True), folder / "predictions.parquet")
    write_json(folder / "metrics.json", found)


def sources_to_leave_out(frame: pd.DataFrame) -> list[str]:
    """Sources that a model can be trained without and tested on.

    They hold test images of several classes, and of each class there are train and val images elsewhere.
    """
    counts = frame.groupby(["source", "label", "split"]).size().unstack("split", fill_value=0)
    counts = counts.reindex(columns=["train", "val", "test"], fill_value=0)
    total, result = counts.groupby("label").sum(), []
    for source, own in counts.groupby("source"):
        left = total.sub(own.droplevel("source"), fill_value=0)
        if source and (own["test"] > 0).sum() > 1 and (left[["train", "val"]] > 0).all(axis=None):
            result.append(str(source))
    return result


def _without_sources(context: Context, frame: pd.DataFrame, views: dict, folder: Path) -> list[pd.DataFrame]:
    """Predictions of models that never saw a source on that source's test images."""
    sources, tables = sources_to_leave_out(frame), []
    context.say(f"sources left out in turn: {', '.join(sources) or 'none can be'}")
    for number, source in enumerate(sources):  # folders by number: a source may be named as no folder can be
        for version in ("original", "cleaned"):
            for seed in context.config.all_seeds:
                what = f"train on {version} without {source}, seed {seed}"
                where = folder / f"{number}-{version}" / f"seed-{seed}"
                model = _fit(context, frame, views[version], where, seed, what, without=source)
                labels = {"trained_on": f"{version} without {source}", "seed": seed}
                for tested_on in ("original", "cleaned"):
                    tables.append(_predictions(model, frame, views[tested_on], source, tested_on=tested_on, **labels))
    return tables
