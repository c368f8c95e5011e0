"""Scores of several models (seeds) on the same images, with bootstrap intervals over the images.

A resample of images is a vector of counts, and every score is a function of the confusion matrix, so all
resamples of all seeds are one matrix product: counts (B, n) times the one-hot cells (n, S K K). Images of one
patient are no independent evidence and are drawn together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from xray_debug.stats.groups import clustered_share
from xray_debug.stats.intervals import LEVEL, Interval, percentile_interval, wilson
from xray_debug.stats.metrics import OVERALL, scores
from xray_debug.stats.resampling import resample_weights
from xray_debug.stats.seeds import seed_of

VERSIONS = ("original", "cleaned", "control")  # of the images, in reading order


@dataclass(frozen=True, eq=False)
class Cell:
    """Predictions of every seed's model on one test set: one cell of the 2x2."""

    image_ids: np.ndarray  # (n,) sorted
    labels: np.ndarray  # (n,) class indices
    sources: np.ndarray  # (n,)
    predicted: np.ndarray  # (S, n) class indices
    probabilities: np.ndarray | None  # (S, n, K), rows sum to 1
    seeds: tuple[int, ...]
    classes: tuple[str, ...]
    patients: np.ndarray | None = None  # (n,) whose image it is; None: every image is somebody else's
    incomplete: int = 0  # images that were left out, because not every seed's model predicted them
    draws: dict = field(default_factory=dict, repr=False)  # resampled scores by (samples, seed)

    @property
    def correct(self) -> np.ndarray:
        """(S, n) bool."""
        return self.predicted == self.labels[None]

    @property
    def owners(self) -> np.ndarray:
        """(n,) who is drawn in a resample: patients, or the images where patients are not known."""
        return self.image_ids if self.patients is None else self.patients

    def take(self, images: np.ndarray, seeds: Sequence[int] | None = None) -> Cell:
        """The cell of the images at these positions and of these seeds."""
        rows = [self.seeds.index(seed) for seed in (self.seeds if seeds is None else seeds)]
        probabilities = None if self.probabilities is None else self.probabilities[rows][:, images]
        return Cell(self.image_ids[images], self.labels[images], self.sources[images], self.predicted[rows][:, images],
                    probabilities, tuple(self.seeds[row] for row in rows), self.classes,
                    None if self.patients is None else self.patients[images])  # fmt: skip


Key = tuple[str, str, str]  # trained on, tested on, test set
Cells = dict[Key, Cell]


# ---------------------------------------------------------------------------------------------- from predictions


def cells_of(predictions: pd.DataFrame, classes: Sequence[str], patients: Mapping | pd.Series | None = None) -> Cells:
    """(trained_on, tested_on, test_set) -> Cell, in reading order, of the models that saw every source.

    Args:
        predictions: a run's table of predictions; rows without a test set and of models that a source was kept from
            (column `without`) are passed over, and so are images that a seed lacks (see Cell.incomplete).
        classes: the model's, in order.
        patients: image_id -> patient; not used for a cell of which it does not know every image.

    ValueError for a label that is none of the classes.
    """
    return _cells(predictions[_without(predictions) == ""], classes, patients)


def cells_without(predictions: pd.DataFrame, classes: Sequence[str], patients: Mapping | pd.Series | None = None
                  ) -> dict[str, Cells]:  # fmt: skip
    """Source -> the cells of the models that never saw it, in order of name."""
    groups = predictions.groupby(_without(predictions))
    return {str(source): _cells(part, classes, patients) for source, part in groups if source != ""}


def _without(predictions: pd.DataFrame) -> pd.Series:
    if "without" not in predictions:
        return pd.Series("", index=predictions.index)
    return predictions["without"].fillna("")


def _cells(predictions: pd.DataFrame, classes: Sequence[str], patients) -> Cells:
    tested = predictions[predictions["test_set"].fillna("") != ""]
    groups = dict(list(tested.groupby(["trained_on", "tested_on", "test_set"], sort=False)))
    cells = {key: _cell(groups[key], classes, patients) for key in sorted(groups, key=_reading_order)}
    return {key: cell for key, cell in cells.items() if len(cell.labels) or cell.incomplete}


def _reading_order(key: Key) -> tuple:
    trained, tested, test_set = key

    def place(name: str) -> tuple:
        return (VERSIONS.index(name) if name in VERSIONS else len(VERSIONS), name)

    return (test_set != "test", test_set, place(trained), place(tested))


def _cell(part: pd.DataFrame, classes: Sequence[str], patients) -> Cell:
    unknown = sorted((set(part["label"]) | set(part["predicted"])) - set(classes))
    if unknown:
        raise ValueError(f"predictions: {unknown[0]!r} is none of the model's classes {', '.join(classes)}")
    index = {name: i for i, name in enumerate(classes)}
    seeds = sorted(part["seed"].unique().tolist())
    by_seed = [part[part["seed"] == seed].set_index("image_id").sort_index() for seed in seeds]
    ids = by_seed[0].index
    for other in by_seed[1:]:
        ids = ids.intersection(other.index)
    ids = ids.sort_values()
    lacking = part["image_id"].nunique() - len(ids)
    by_seed = [rows if len(rows) == len(ids) else rows.loc[ids] for rows in by_seed]
    columns, probabilities = [f"p_{name}" for name in classes], None
    if all(name in part for name in columns) and not part[columns].isna().any(axis=None):
        probabilities = np.stack([rows[columns].to_numpy(np.float64) for rows in by_seed])
    predicted = np.stack([rows["predicted"].map(index).to_numpy(np.int64) for rows in by_seed])
    labels = by_seed[0]["label"].map(index).to_numpy(np.int64)
    return Cell(ids.to_numpy(str), labels, by_seed[0]["source"].to_numpy(str), predicted, probabilities, tuple(seeds),
                tuple(classes), _owners(patients, ids), lacking)  # fmt: skip


def _owners(patients: Mapping | pd.Series | None, image_ids: pd.Index) -> np.ndarray | None:
    """(n,) patients of the images, None where not all are known."""
    if patients is None:
        return None
    owners = pd.Series(patients, dtype=object).reindex(image_ids)
    return None if owners.isna().any() else owners.to_numpy(str)


def metrics_of(predictions: pd.DataFrame, classes: Sequence[str], patients: Mapping | pd.Series | None, samples: int,
               seed: int, level: float = LEVEL) -> dict[str, dict]:  # fmt: skip
    """The figures of every cell for JSON, by "trained on/tested on/test set": scores, classes and confusion matrix.

    Arguments as for `cells_of` and `cell_scores`; the confusion matrix (row: the label) is summed over the seeds.
    """
    return {
        "/".join(key): {
            **cell_scores(cell, samples, seed, level),
            "patients": None if cell.patients is None else len(set(cell.patients)),
            "per_class": {row.pop("class"): row for row in class_scores(cell, level)},
            "confusion": confusion_matrices(cell).sum(0).astype(int).tolist(),
        }
        for key, cell in cells_of(predictions, classes, patients).items() if len(cell.labels)
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------- scores of a cell


def confusion_matrices(cell: Cell, weights: np.ndarray | None = None) -> np.ndarray:
    """Confusion matrices (S, K, K), or (B, S, K, K) with (B, n) `weights` of the images."""
    kinds = len(cell.classes)
    index = cell.labels[None] * kinds + cell.predicted
    onehot = (index[..., None] == np.arange(kinds * kinds)).astype(np.float32)  # (S, n, K K)
    if weights is None:
        return onehot.sum(1).reshape(-1, kinds, kinds)
    flat = onehot.transpose(1, 0, 2).reshape(len(cell.labels), -1)
    return (weights.astype(np.float32) @ flat).reshape(len(weights), -1, kinds, kinds)


def resampled_scores(cell: Cell, samples: int, seed: int, chunk: int = 500) -> dict[str, np.ndarray]:
    """(B,) scores, averaged over the seeds' models, of `samples` bootstrap resamples of the images, patient by patient.

    Cells with the same images and the same `seed` are resampled alike: the difference of two such results is a paired
    bootstrap. A cell keeps its results.
    """
    known = cell.draws.get((samples, seed))
    if known is not None:
        return known
    parts = []
    for weights in resample_weights(cell.owners, samples, seed, chunk):
        found = scores(confusion_matrices(cell, weights))
        parts.append({name: found[name].mean(1) for name in OVERALL})
    cell.draws[samples, seed] = {name: np.concatenate([part[name] for part in parts]) for name in OVERALL}
    return cell.draws[samples, seed]


def _named(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def cell_scores(cell: Cell, samples: int, seed: int, level: float = LEVEL) -> dict:
    """Each metric averaged over the seeds, its interval over images and its spread (sd) over seeds.

    Keys: METRIC, METRIC_low, METRIC_high, METRIC_spread (None for one seed), METRIC_per_seed; seeds, images.
    """
    per_seed = scores(confusion_matrices(cell))
    resampled = resampled_scores(cell, samples, seed)
    result: dict = {}
    for name in OVERALL:
        result |= _named(name, percentile_interval(per_seed[name].mean(), resampled[name], level))
        result[f"{name}_spread"] = float(per_seed[name].std(ddof=1)) if len(cell.seeds) > 1 else None
        result[f"{name}_per_seed"] = [float(value) for value in per_seed[name]]
    return {**result, "seeds": len(cell.seeds), "images": len(cell.labels)}


def class_scores(cell: Cell, level: float = LEVEL) -> list[dict]:
    """Sensitivity and positive predictive value of each class, counts averaged over seeds, with Wilson's intervals;
    that of the sensitivity takes the images of a patient together."""
    matrix, rows = confusion_matrices(cell).mean(0).astype(float), []
    for k, name in enumerate(cell.classes):
        own = cell.labels == k
        found = clustered_share((cell.predicted[:, own] == k).mean(0), cell.owners[own], level) if own.any() else None
        rows.append({
            "class": name, "images": int(matrix[k].sum()), "predicted": float(matrix[:, k].sum()),
            **({"sensitivity": None, "sensitivity_low": None, "sensitivity_high": None} if found is None else
               {key: float(value) for key, value in _named("sensitivity", found).items()}),
            **proportion(matrix[k, k], matrix[:, k].sum(), "ppv", level),
        })  # fmt: skip
    return rows


def proportion(hits: float, total: float, name: str, level: float = LEVEL) -> dict[str, float | None]:
    """{name, name_low, name_high}: a share with its Wilson interval; None where there is nothing to count."""
    if total <= 0:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {key: float(value) for key, value in _named(name, wilson(hits, total, level)).items()}


# ---------------------------------------------------------------------------------------------- differences


def common(first: Cell, second: Cell) -> tuple[Cell, Cell]:
    """Both cells cut to the images and seeds they share, in the same order.

    Raises ValueError where they share none, or where an image's label differs between them.
    """
    if first.seeds != second.seeds or not np.array_equal(first.image_ids, second.image_ids):
        seeds = [seed for seed in first.seeds if seed in second.seeds]
        shared, left, right = np.intersect1d(first.image_ids, second.image_ids, return_indices=True)
        if not len(shared) or not seeds:
            raise ValueError("the two sets of predictions share no image or no seed")
        first, second = first.take(left, seeds), second.take(right, seeds)
    unlike = np.flatnonzero(first.labels != second.labels)
    if len(unlike):
        names = [cell.classes[cell.labels[unlike[0]]] for cell in (first, second)]
        raise ValueError(f"{first.image_ids[unlike[0]]} has two labels in the predictions: {' and '.join(names)}")
    return first, second


def paired_difference(first: Cell, second: Cell, samples: int, seed: int, level: float = LEVEL) -> dict[str, float]:
    """Second minus first, averaged over seeds, with paired bootstrap intervals over the shared images."""
    first, second = common(first, second)
    a, b = (resampled_scores(cell, samples, seed) for cell in (first, second))
    point_a, point_b = (scores(confusion_matrices(cell)) for cell in (first, second))
    result: dict[str, float] = {}
    for name in OVERALL:
        value = point_b[name].mean() - point_a[name].mean()
        result |= _named(name, percentile_interval(value, b[name] - a[name], level))
    return result


def unpaired_difference(first: Cell, second: Cell, samples: int, seed: int, level: float = LEVEL) -> dict[str, float]:
    """Accuracy on second minus on first where the images differ: each is resampled by itself."""
    a = resampled_scores(first, samples, seed)["accuracy"]
    b = resampled_scores(second, samples, seed_of(seed, "other images"))["accuracy"]
    return _named("accuracy", percentile_interval(second.correct.mean() - first.correct.mean(), b - a, level))
