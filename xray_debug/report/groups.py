"""Groups of test images by source and attribute, and each of them by class: how the model does there, worst first."""

from __future__ import annotations

import numpy as np

from xray_debug.data.manifest import ATTRIBUTE
from xray_debug.report.inputs import RunFiles
from xray_debug.report.scores import NAMES, named, patients_of, rankings, with_intervals
from xray_debug.stats.calibration import weighted_calibration
from xray_debug.stats.groups import clustered_share, named_groups
from xray_debug.stats.intervals import LEVEL, percentile_interval
from xray_debug.stats.metrics import scores as metrics
from xray_debug.stats.ranking import MEASURES
from xray_debug.stats.resampling import resampled
from xray_debug.stats.scores import Cell, Cells, confusion_matrices
from xray_debug.stats.seeds import seed_of

ALL = "all classes"
LEAST = 10  # patients; groups of fewer are named, and neither scored nor ranked
WORST = 8  # shown of each model and test set
NAMED = 100  # too small groups of an attribute: of a name or a date there may be as many as images
SAMPLES = 500  # resamples of a group at most: there are many groups


def groups(cells: Cells, run: RunFiles, samples: int, seed: int) -> tuple[list[dict], list[dict]]:
    """The groups of the cells tested on the original images, worst first, and by attribute those that are too small.

    A row with `label` ALL is of all images of a group: accuracy, and over its classes the means of recall and of what
    ranks. A row with a class is of the group's images of that class: `accuracy` is the recall of the class there, and
    what ranks (auroc, auprc, sensitivity_at_90 and _95) holds the class against the rest of the group. `ece`,
    `overconfidence` and `brier` are of the row's images. `rank`: place of a row with a class, of all attributes
    together, by accuracy; the worst is 1. Accuracies have Wilson's interval, all else is resampled by patient. Too
    small is what has fewer than `least` patients (images, where patients are not known); the first NAMED are listed,
    `of` how many.
    """
    rows, small = [], []
    for key, cell in cells.items():
        if key[1] != "original":
            continue
        place, found = dict(zip(NAMES, key, strict=True)), []
        for attribute, values in attributes_of(run, cell).items():
            scored, left = _attribute(cell, values, min(samples, SAMPLES), seed_of(seed, attribute))
            found += [{**place, "attribute": attribute, **row} for row in scored]
            if left:
                small.append({**place, "attribute": attribute, "least": LEAST, "of": len(left), "groups": left[:NAMED]})
        rows += _ranked(found)
    return rows, small


def attributes_of(run: RunFiles, cell: Cell) -> dict[str, np.ndarray]:
    """Attribute -> (n,) group of each of the cell's images, of the source and of the manifest's attributes; those that
    make at least two groups."""
    found = {"source": named_groups(cell.sources)}
    if run.usable is not None:
        frame = run.usable.drop_duplicates("image_id").set_index("image_id").reindex(cell.image_ids)
        found |= {name.removeprefix(ATTRIBUTE): named_groups(frame[name]) for name in frame
                  if name.startswith(ATTRIBUTE)}  # fmt: skip
    return {name: values for name, values in found.items() if len(set(values)) > 1}


def _ranked(rows: list[dict]) -> list[dict]:
    """Rows of one cell in the order of their accuracy, the worst first, those with a class numbered and before."""
    rows = sorted(rows, key=lambda row: (row["label"] == ALL, row["accuracy"], row["accuracy_high"], -row["images"]))
    return [{**row, "rank": None if row["label"] == ALL else place} for place, row in enumerate(rows, 1)]


def _attribute(cell: Cell, values: np.ndarray, samples: int, seed: int) -> tuple[list[dict], list[dict]]:
    """The rows of one attribute's groups, and the groups that are too small: value, label, images."""
    rows, small = [], []
    names, codes, images = np.unique(values, return_inverse=True, return_counts=True)
    places = np.split(np.argsort(codes, kind="stable"), np.cumsum(images)[:-1])
    for value, members in zip(names.tolist(), places, strict=True):
        if len(members) < LEAST:  # before anything is made of it: there may be as many groups as images
            small.append({"value": value, "label": ALL, "images": len(members)})
            continue
        part = cell.take(members)
        ranked = _rankings(part, samples, seed_of(seed, value)) if _large(part) else {}
        for label, own in [(ALL, part), *_by_class(part)]:
            name = {"value": value, "label": label, "images": len(own.labels)}
            if not _large(own):
                small.append(name)
                if label == ALL:
                    break  # and with it all of its classes
            else:
                rows.append({**name, "patients": patients_of(own), **_shares(own, samples, seed_of(seed, value, label)),
                             **ranked.get(label, {})})  # fmt: skip
    return rows, small


def _large(cell: Cell) -> bool:
    return len(set(cell.owners)) >= LEAST


def _by_class(cell: Cell) -> list[tuple[str, Cell]]:
    return [(name, cell.take(rows)) for k, name in enumerate(cell.classes)
            if len(rows := np.flatnonzero(cell.labels == k))]  # fmt: skip


def _rankings(cell: Cell, samples: int, seed: int) -> dict[str, dict]:
    """Class, or ALL for the mean over classes -> MEASURES with their intervals; empty without probabilities."""
    if cell.probabilities is None:
        return {}
    point, draws = rankings(cell), resampled(cell.owners, lambda weights: rankings(cell, weights), samples, seed)
    found: dict[str, dict] = {name: {} for name in (ALL, *cell.classes)}
    for name in MEASURES:
        overall = f"macro_{name}"
        found[ALL] |= named(name, percentile_interval(point[overall][0], draws[overall], LEVEL))
        for k, label in enumerate(cell.classes):
            found[label] |= named(name, percentile_interval(point[name][0, k], draws[name][:, k], LEVEL))
    return found


def _shares(cell: Cell, samples: int, seed: int) -> dict:
    """Accuracy, mean recall, confusion and calibration of some images."""

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        found = {"recall": _mean_recall(confusion_matrices(cell, weights)).mean(1)}
        return found | ({} if cell.probabilities is None else weighted_calibration(cell.probabilities, cell.labels,
                                                                                   weights))  # fmt: skip

    return {**named("accuracy", clustered_share(cell.correct.mean(0), cell.owners)),
            **with_intervals(measured, cell, samples, seed),
            "confusion": confusion_matrices(cell).sum(0).astype(int).tolist()}


def _mean_recall(confusion: np.ndarray) -> np.ndarray:
    """(...) mean of the sensitivities of the classes that occur among the labels, of confusion matrices (..., K, K)."""
    occurs = confusion.sum(-1) > 0
    return (metrics(confusion)["sensitivity"] * occurs).sum(-1) / np.maximum(occurs.sum(-1), 1)


def worst_groups(report: dict, most: int = WORST) -> list[dict]:
    """Of each model and test set the `most` worst groups with a class: trained_on, test_set, rows, and `of` how many.

    The model that comes first is that of the original images, or the one that was given.
    """
    found: dict[tuple[str, str], list[dict]] = {}
    for row in report["groups"]:
        if row["label"] != ALL:
            found.setdefault((row["trained_on"], row["test_set"]), []).append(row)
    first = next(iter(found), ("",))[0]
    return [{"trained_on": trained, "test_set": test_set, "rows": rows[:most], "of": len(rows)}
            for (trained, test_set), rows in sorted(found.items(), key=lambda pair: pair[0][0] != first)]


def whole_groups(report: dict) -> list[dict]:
    """The groups of all classes together, of the first model and test set there are."""
    rows = [row for row in report["groups"] if row["label"] == ALL]
    return [row for row in rows if all(row[name] == rows[0][name] for name in NAMES)]
