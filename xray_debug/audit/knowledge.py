"""How well the source, an attribute or the look of the film can be read off a model's features: suspicions.

A network that tells the hospital from its features could use it. It need not: features of random weights tell it too,
so the pixels (a thumbnail) are asked the same, and so is the label alone, which goes with the hospital where the
data are confounded. What the decision owes to it only an intervention says.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from xray_debug.audit.checks.attributes import PREFIX
from xray_debug.audit.checks.look import SAID
from xray_debug.audit.checks.properties import named_bins
from xray_debug.audit.look.measures import FILM, FILM_MEASURES
from xray_debug.audit.no_evidence import FOLDS, make_folds
from xray_debug.stats.groups import named_groups
from xray_debug.stats.intervals import percentile_interval
from xray_debug.stats.ranking import ranking_scores
from xray_debug.stats.resampling import resample_weights
from xray_debug.stats.seeds import seed_of
from xray_debug.stats.tests import holm

MOST_IMAGES = 600
SIDE = 32  # of the thumbnail
COMPONENTS = 50  # that are read, of features and pixels alike
STRENGTH = 0.1  # C of the logistic regression on whitened components
FEWEST = 10  # images of a group, below which it is left out
MOST_GROUPS = 12  # the largest ones
BINS = 4  # of a measure of the film
LEVEL = 0.05  # of the corrected p, from which a row is put into words


class Asked(NamedTuple):
    """`rows` of the manifest, their views, and features (n, D); None, and why, where these cannot be had."""

    rows: np.ndarray
    images: np.ndarray
    features: np.ndarray | None
    problem: str = ""


def ask_features(model, frame: pd.DataFrame, views, seed: int) -> Asked:
    """The model's features of chosen_rows. `frame`: the manifest with the columns film_*; `views`: uint8 (N, S, S), one
    for each of its rows."""
    from xray_debug.models.penultimate import penultimate_features

    rows = chosen_rows(frame, seed)
    images = views[rows]
    try:
        return Asked(rows, images, penultimate_features(model, images))
    except ValueError as error:
        return Asked(rows, images, None, str(error))


def what_features_tell(asked: Asked, frame: pd.DataFrame, seed: int, permutations: int) -> dict:
    """`knowledge` of a model on a manifest's images; {"problem"} where its features cannot be had."""
    if asked.features is None:
        return {"problem": asked.problem}
    chosen = frame.iloc[asked.rows]
    labels = chosen["label"].to_numpy(str)
    return knowledge(asked.features, thumbnails(asked.images), labels, targets_of(chosen), seed, permutations)


def chosen_rows(frame: pd.DataFrame, seed: int) -> np.ndarray:
    """Sorted positions of at most MOST_IMAGES usable images, one of a patient, classes in turn, test images before
    those that the model was trained on; where films were measured, of those."""
    usable = frame.reset_index(drop=True)
    usable = usable[usable[[name for name in usable if name.startswith(FILM)]].notna().all(axis=1)]
    usable = usable[usable["problem"].fillna("") == ""] if "problem" in usable else usable
    usable = usable.sample(frac=1, random_state=seed % 2**32)
    usable = usable.assign(seen=usable["split"] != "test").sort_values("seen", kind="stable")
    usable = usable.drop_duplicates("patient_id")
    usable = usable.assign(turn=usable.groupby(["seen", "label"]).cumcount())
    return np.sort(usable.sort_values(["seen", "turn"], kind="stable").index[:MOST_IMAGES].to_numpy())


def targets_of(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """name -> (N,) group of each image, "" where it is not known: the source, the attributes, the look of the film.

    `frame`: the manifest's columns, and film_* (look.films). A group of fewer than FEWEST images is "" too; what is
    then the same everywhere is left out.
    """
    found = {"source": named_groups(frame["source"].tolist())}
    found |= {f"attribute {name.removeprefix(PREFIX)}": named_groups(frame[name].tolist())
              for name in frame if name.startswith(PREFIX)}  # fmt: skip
    found |= {f"{SAID.get(name, name)} of the film": named_bins(frame[FILM + name].to_numpy(float), BINS)
              for name in FILM_MEASURES if FILM + name in frame}  # fmt: skip
    kept = {name: _large(groups) for name, groups in found.items()}
    return {name: groups for name, groups in kept.items() if len(set(groups.tolist()) - {""}) > 1}


def _large(groups: np.ndarray) -> np.ndarray:
    names, codes, counts = np.unique(groups.astype(str), return_inverse=True, return_counts=True)
    order = [i for i in np.argsort(-counts, kind="stable") if names[i] != "" and counts[i] >= FEWEST]
    keep = np.isin(np.arange(len(names)), order[:MOST_GROUPS])
    return np.where(keep[codes], groups.astype(str), "")


def thumbnails(images) -> np.ndarray:
    """float64 (n, SIDE * SIDE) of uint8 (n, S, S)."""
    small = [cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images]
    return np.stack(small).reshape(len(small), -1).astype(np.float64) / 255


class Reader:
    """Held-out logistic regressions on the first components of features (n, D); components are learned in each fold."""

    def __init__(self, features: np.ndarray, folds: np.ndarray):
        self.folds, self.parts = folds, []
        for fold in range(FOLDS):
            train = folds != fold
            mean, scale = features[train].mean(0), features[train].std(0)
            x = (features - mean) / np.where(scale > 1e-9 * max(float(scale.max()), 1e-9), scale, np.inf)
            _, size, directions = np.linalg.svd(x[train], full_matrices=False)
            kept = size[:COMPONENTS] > 1e-6 * max(float(size[0]), 1e-12)
            spread = size[:COMPONENTS][kept] / np.sqrt(train.sum())
            self.parts.append(x @ directions[:COMPONENTS][kept].T / spread)

    def scores(self, codes: np.ndarray) -> np.ndarray:
        """(n, G) held-out log odds of each of the G groups; `codes` (n,), -1 for an image that is not asked (nan)."""
        groups = int(codes.max()) + 1
        found = np.full((len(codes), groups), np.nan)
        for fold, x in enumerate(self.parts):
            train, test = (self.folds != fold) & (codes >= 0), (self.folds == fold) & (codes >= 0)
            found[test] = _read(x[train], codes[train], x[test], groups)
        return found


def _read(x: np.ndarray, codes: np.ndarray, others: np.ndarray, groups: int) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    found, seen = np.full((len(others), groups), -1e3), np.unique(codes)
    if len(seen) < 2 or not len(others) or not x.shape[1]:
        return np.zeros_like(found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged to the last digit
        # groups weigh alike: else a fold's intercept would be high where the held-out share is low
        model = LogisticRegression(C=STRENGTH, max_iter=200, class_weight="balanced").fit(x, codes)
    shares = model.predict_proba(others)
    found[:, seen] = np.log(np.maximum(shares, 1e-300)) - np.log(np.maximum(1 - shares, 1e-300))
    return found


def label_scores(labels: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(n, G) share of each group among the images of the image's label: no score of the label has a higher AUROC.

    `labels` and `codes`: (n,) from 0.
    """
    counts = np.zeros((int(labels.max()) + 1, int(codes.max()) + 1))
    np.add.at(counts, (labels, codes), 1)
    return (counts / np.maximum(counts.sum(1, keepdims=True), 1))[labels]


def macro_auroc(scores: np.ndarray, codes: np.ndarray) -> float:
    """Mean over the groups of the AUROC of each against the rest; `scores` (n, G), `codes` (n,), every group in it."""
    return _of_ranks(_ranks(scores), codes)


def _ranks(scores: np.ndarray) -> np.ndarray:
    """(n, G) ranks from 1 in each column, the mean of those that tie."""
    found = np.empty(scores.shape)
    for g, column in enumerate(scores.T):
        _, places, counts = np.unique(column, return_inverse=True, return_counts=True)
        found[:, g] = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return found


def _of_ranks(ranks: np.ndarray, codes: np.ndarray) -> float:
    n, groups = ranks.shape
    own = np.bincount(codes, minlength=groups)
    sums = np.bincount(codes, ranks[np.arange(n), codes], minlength=groups)
    return float(((sums - own * (own + 1) / 2) / (own * (n - own))).mean())


def _interval(scores: np.ndarray, codes: np.ndarray, samples: int, seed: int) -> dict[str, float]:
    """Bootstrap interval of macro_auroc over images, one of a patient."""
    draws = np.concatenate([
        np.mean([ranking_scores(scores[:, g], codes == g, weights)["auroc"] for g in range(scores.shape[1])], axis=0)
        for weights in resample_weights(np.arange(len(codes)), samples, seed)])  # fmt: skip
    found = percentile_interval(macro_auroc(scores, codes), draws)
    return {"value": found.value, "low": found.low, "high": found.high}


def permuted_within(scores: np.ndarray, codes: np.ndarray, labels: np.ndarray, permutations: int, seed: int,
                    most: int = 0) -> float:  # fmt: skip
    """p of the held-out scores' macro AUROC among those with groups permuted among the images of each label.

    So it says whether they tell the group beyond what they tell of the label. `most`: as many permutations, where none
    of the first comes up to it.
    """
    rng, order, ranks = np.random.default_rng(seed), np.argsort(labels, kind="stable"), _ranks(scores)
    observed, shuffled = _of_ranks(ranks, codes), np.empty_like(codes)

    def reached(count: int) -> int:
        hits = 0
        for _ in range(count):
            shuffled[order] = codes[np.lexsort((rng.random(len(codes)), labels))]
            hits += _of_ranks(ranks, shuffled) >= observed - 1e-12
        return hits

    hits, done = reached(permutations), permutations
    if not hits and most > permutations:
        hits, done = reached(most - permutations), most
    return (1 + hits) / (1 + done)


def knowledge(features: np.ndarray, pixels: np.ndarray, labels: np.ndarray, targets: Mapping[str, np.ndarray],
              seed: int = 0, permutations: int = 500, samples: int = 500) -> dict:  # fmt: skip
    """{"images", "dimension", "rows": [...], "sentences"}.

    A row: name; groups, their names; images; features, pixels and label, the macro AUROC {value, low, high} with which
    the group is read off the model's features and off thumbnails, held out over FOLDS folds, and off the label alone
    (the most that it can tell of these images); p that the features tell it beyond the label, p_adjusted over all rows.

    `features` (n, D) and `pixels` (n, P) of n images of different patients, their `labels` (n,), `targets` as
    targets_of gives them.
    """
    _, classes = np.unique(labels, return_inverse=True)
    folds = make_folds(classes, seed)
    readers = {"features": Reader(features, folds), "pixels": Reader(pixels, folds)}
    rows = []
    for name, groups in targets.items():
        names = sorted(set(groups.tolist()) - {""})
        codes = np.array([names.index(group) if group else -1 for group in groups.tolist()])
        known, own = codes >= 0, seed_of(seed, name)
        scores = {kind: reader.scores(codes)[known] for kind, reader in readers.items()}
        scores["label"] = label_scores(classes[known], codes[known])
        row = {"name": name, "groups": names, "images": int(known.sum())}
        row |= {kind: _interval(found, codes[known], samples, own) for kind, found in scores.items()}
        present = np.unique(classes[known], return_inverse=True)[1]
        row["p"] = permuted_within(scores["features"], codes[known], present, permutations, own, 40 * len(targets))
        rows.append(row)
    for row, p in zip(rows, holm([row["p"] for row in rows]) if rows else (), strict=True):
        row["p_adjusted"] = float(p)
    return {"images": len(classes), "dimension": features.shape[1], "rows": rows, "sentences": sentences(rows)}


def sentences(rows: list[dict]) -> list[str]:
    """One for each row that the features tell beyond the label, the best first."""
    telling = sorted((row for row in rows if row["p_adjusted"] <= LEVEL), key=lambda row: -row["features"]["value"])
    return [f"The model's features tell the {row['name']} with AUROC {row['features']['value']:.2f} (pixels "
            f"{row['pixels']['value']:.2f}, label alone {row['label']['value']:.2f}, corrected "
            f"p = {row['p_adjusted']:.3f})." for row in telling]  # fmt: skip
