"""What cleaning left behind: text a second reader still finds, and traces that give a repaired place away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from xray_debug.cleaning.controls import image_seed, moved_region, place, transplant
from xray_debug.cleaning.files import cleaned_path
from xray_debug.cleaning.inpainting import growth, inpaint_region, text_region
from xray_debug.config import CleanConfig
from xray_debug.data.boxes import dilate_boxes
from xray_debug.data.images import read_image, to_gray8

PATCH = 20  # pixels a side of the patches that the probe sees
EDGE_BINS = (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0)  # distance to the region's edge over half the shorter side
PATCHES_PER_IMAGE = 3
FOLDS = 5
FEWEST_IMAGES = 10
Progress = Callable[[int, int], None]


def add_residual(
    changes: pd.DataFrame, out: str | Path, detector, progress: Progress | None = None, batch_size: int = 8
) -> pd.DataFrame:
    """The change log with a column `residual`: how many text boxes `detector` finds in each cleaned image.

    `detector` should be another one than the first, so that it has other blind spots.
    """
    rows, counts = list(changes.itertuples(index=False)), []
    for start in range(0, len(rows), batch_size):
        images = [_readable(read_image(cleaned_path(out, row))) for row in rows[start : start + batch_size]]
        counts += [len(found) for found in detector.detect(images)]
        if progress is not None:
            progress(len(counts), len(rows))
    return changes.assign(residual=np.array(counts, np.int64))


def _readable(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.uint8 else to_gray8(image)


# ------------------------------------------------------------------------------------------------- the probe


def inpainting_probe(
    changes: pd.DataFrame,
    data_root: str | Path,
    out: str | Path,
    manifest: pd.DataFrame,
    config: CleanConfig,
    seed: int = 0,
    max_images: int = 300,
    samples: int = 1000,
    progress: Progress | None = None,
) -> dict:
    """How well a small classifier tells repaired places from places without text that were inpainted the same way.

    The other places are, for `auc`, in the same cleaned image and, for `auc_untouched`, in images of the same
    source that were not repaired (any source where it has none). The classifier is a logistic regression on the
    profile of gradients and grey levels across the region's edge and on principal components of the patch, cross-
    validated by image; 0.5 = nothing to tell, 1 = always. Intervals (95 %) are bootstrapped over images. None where
    fewer than 10 images give patches. Also: patches, images (how many of each entered).
    """
    rng = np.random.default_rng(seed)
    picked = changes.iloc[np.sort(rng.permutation(len(changes))[:max_images])]
    paths = dict(zip(manifest["image_id"], manifest["path"], strict=True))
    untouched = manifest[~manifest["image_id"].isin(changes["image_id"])]
    repaired, same, other = [], [], []
    for group, row in enumerate(picked.itertuples(index=False)):
        original, cleaned = read_image(Path(data_root) / paths[row.image_id]), read_image(cleaned_path(out, row))
        found = _patches(row, original, cleaned, config, image_seed(seed, row.image_id))
        for rows, features in zip((repaired, same), found, strict=True):
            rows += [(group, f) for f in features]
        elsewhere = _elsewhere(row, original, untouched, data_root, config, image_seed(seed + 1, row.image_id))
        other += [(group, f) for f in elsewhere]
        if progress is not None:
            progress(group + 1, len(picked))
    result = dict(zip(("auc", "low", "high"), _auc_of_probe(repaired, same, seed, samples), strict=True))
    names = ("auc_untouched", "low_untouched", "high_untouched")
    result |= dict(zip(names, _auc_of_probe(repaired, other, seed, samples), strict=True))
    return result | {"patches": len(repaired), "images": len({group for group, _ in repaired})}


def _patches(row, original, cleaned, config, seed) -> tuple[list, list]:
    """Features of the repaired places of one image, and of as many control places in it."""
    boxes = json.loads(row.boxes)
    height, width = original.shape[:2]
    grown = dilate_boxes(boxes, growth(boxes, config.dilation, config.min_dilation), height, width)
    try:
        placed, region = moved_region(original, boxes, config, seed)
    except ValueError:
        return [], []
    gray = to_gray8(cleaned)
    control = to_gray8(inpaint_region(cleaned, region, config.radius, config.method))
    count = min(len(grown), len(placed), PATCHES_PER_IMAGE)
    return [_features(gray, box) for box in grown[:count]], [_features(control, box) for box in placed[:count]]


def _elsewhere(row, original, untouched, data_root, config, seed) -> list:
    """Features of the same regions inpainted in an image that was not repaired."""
    alike = untouched[untouched["source"] == row.source]
    pool = alike if len(alike) else untouched
    if not len(pool):
        return []
    rng = np.random.default_rng(seed)
    image = read_image(Path(data_root) / pool["path"].iloc[int(rng.integers(len(pool)))])
    boxes = json.loads(row.boxes)
    region = text_region(original, boxes, config.shape, config.dilation, config.min_dilation, config.method)
    grown = dilate_boxes(boxes, growth(boxes, config.dilation, config.min_dilation), *original.shape[:2])
    grown = grown[(grown[:, 2] <= image.shape[1]) & (grown[:, 3] <= image.shape[0])][:PATCHES_PER_IMAGE]
    placed = np.full_like(grown, -1)
    for i, box in enumerate(grown):
        placed[i] = place([box], *image.shape[:2], seed=int(rng.integers(2**31)))[0][0]
    moved = transplant(region, grown, placed, image.shape[:2])
    if moved.all():
        return []
    filled = to_gray8(inpaint_region(image, moved, config.radius, config.method))
    return [_features(filled, box) for box in placed[placed[:, 0] >= 0]]


def _features(gray: np.ndarray, box) -> np.ndarray:
    """What gives a repaired place away: gradient and grey level by distance to the box's edge, and the patch itself.

    Grey levels are standardised within the patch, so that bright and dark places look alike.
    """
    x0, y0, x1, y1 = (int(v) for v in box)
    margin = max(4, min(x1 - x0, y1 - y0) // 2)
    top, left = max(y0 - margin, 0), max(x0 - margin, 0)
    patch = gray[top : y1 + margin, left : x1 + margin].astype(np.float32)
    patch = (patch - patch.mean()) / (patch.std() + 1)
    rows, columns = np.arange(patch.shape[0])[:, None] + top, np.arange(patch.shape[1])[None] + left
    across = np.maximum(np.maximum(y0 - rows, rows - y1 + 1), np.maximum(x0 - columns, columns - x1 + 1))
    bins = np.digitize(across / margin, EDGE_BINS)
    gradient = np.hypot(cv2.Sobel(patch, cv2.CV_32F, 1, 0), cv2.Sobel(patch, cv2.CV_32F, 0, 1))
    counts = np.bincount(bins.ravel(), minlength=len(EDGE_BINS) + 1).clip(1)
    profile = [
        np.bincount(bins.ravel(), weights=np.abs(v).ravel(), minlength=len(EDGE_BINS) + 1) / counts
        for v in (patch, gradient)
    ]
    small = cv2.resize(patch, (PATCH, PATCH), interpolation=cv2.INTER_AREA)
    return np.concatenate([*profile, small.ravel()])


def _auc_of_probe(repaired: list, control: list, seed: int, samples: int) -> tuple:
    """Area under the ROC curve of out-of-fold scores with its interval over images, or three times None."""
    groups = np.array([group for group, _ in repaired + control])
    shared = np.intersect1d([group for group, _ in repaired], [group for group, _ in control])
    if len(shared) < FEWEST_IMAGES:
        return None, None, None
    features = np.array([f for _, f in repaired + control], np.float64)
    labels = np.r_[np.ones(len(repaired)), np.zeros(len(control))]
    keep = np.isin(groups, shared)
    groups, features, labels = groups[keep], features[keep], labels[keep]
    scores = _cross_validated(features, labels, groups)
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == g) for g in shared]
    again = []
    for _ in range(samples):
        rows = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        again.append(_auc(labels[rows], scores[rows]))
    low, high = np.quantile(again, [0.025, 0.975])
    return round(_auc(labels, scores), 4), round(float(low), 4), round(float(high), 4)


def _cross_validated(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Scores of each patch by a classifier that saw no patch of its image."""
    from sklearn.compose import ColumnTransformer
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    profile = features.shape[1] - PATCH * PATCH
    components = min(12, len(np.unique(groups)) // 2)
    parts = ColumnTransformer([
        ("profile", "passthrough", slice(0, profile)),
        ("patch", PCA(components, random_state=0), slice(profile, None)),
    ])  # fmt: skip
    scores = np.zeros(len(labels))
    for train, test in GroupKFold(FOLDS).split(features, labels, groups):
        model = make_pipeline(parts, StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
        scores[test] = model.fit(features[train], labels[train]).decision_function(features[test])
    return scores


def _auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Probability that a repaired patch scores above another; ties count half."""
    from scipy.stats import rankdata

    ranks, positive = rankdata(scores), labels > 0.5
    pairs = positive.sum() * (~positive).sum()
    return float((ranks[positive].sum() - positive.sum() * (positive.sum() + 1) / 2) / pairs)
