"""What saliency maps say of the same cases: how well methods find a planted marker, and the rule of thumb that accuses
a region which draws more than its share of the saliency."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import torch
from audit_plants import CLASSES

from xray_debug import saliency
from xray_debug.audit.checks.border import MARGIN as BORDER
from xray_debug.audit.checks.field import MARGIN as FIELD
from xray_debug.audit.checks.region import margin_mask
from xray_debug.audit.measures import saliency_share
from xray_debug.data.boxes import as_boxes, rasterise_boxes

METHODS = ("igos_pp", "igos", "rise", "gradcam", "integrated_gradients", "gradient")
RULE = ("igos_pp", "gradcam")  # methods by whose maps the rule of thumb is tried
EXPLAINED = 18  # test images of a dataset that are explained for it, evenly over the classes
RANKED = 12  # images of a dataset on which the methods are ranked


def explain(model, images: np.ndarray, targets: np.ndarray, method: str) -> tuple[np.ndarray, float]:
    """Saliency (N, m, m) and seconds an image."""
    batch = torch.from_numpy(images)[:, None].float() / 255
    explanation = getattr(saliency, method)(model, batch, torch.from_numpy(targets), seed=0)
    return explanation.saliency[:, 0].numpy(), explanation.seconds / len(images)


def boxes_mask(boxes: Sequence, shape: tuple[int, int], view) -> np.ndarray:
    """float (S, S) of boxes in an image of `shape`, as the network sees them."""
    return view.mask_to_view(rasterise_boxes(as_boxes(list(boxes)), *shape))


def region_masks(film, text: np.ndarray, view) -> dict[str, np.ndarray]:
    """kind of question -> float (S, S), of the regions that a drawn film has."""
    shape = film.image.shape
    found = {"text": boxes_mask(text, shape, view), "devices": boxes_mask(film.devices, shape, view),
             "regions": boxes_mask(film.regions, shape, view),
             "border": margin_mask(view.size, BORDER).astype(float),
             "field": margin_mask(view.size, FIELD).astype(float)}
    return {kind: mask for kind, mask in found.items() if mask.any()}


def scores(saliency_map: np.ndarray, mask: np.ndarray) -> tuple[float, float, float]:
    """(most salient pixel lies in the mask, share of the saliency in it, that over its share of the area)."""
    fine = cv2.resize(saliency_map, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return (float(mask.ravel()[fine.argmax()] > 0), *saliency_share(fine, mask))


def rule_of_thumb(model, images: np.ndarray, targets: np.ndarray, masks: list[dict[str, np.ndarray]]) -> dict:
    """method -> kind -> mean enrichment over the explained images that have the region: 1 is its share of the area."""
    rows, found = spread(len(images)), {}
    for method in RULE:
        maps, _ = explain(model, images[rows], targets[rows], method)
        kinds = sorted({kind for row in rows for kind in masks[row]})
        values = {kind: [scores(own, masks[row][kind])[2] for own, row in zip(maps, rows, strict=True)
                         if kind in masks[row]] for kind in kinds}
        found[method] = {kind: mean_of_known(enrichments) for kind, enrichments in values.items()}
    return found


def spread(count: int) -> np.ndarray:
    """Rows of EXPLAINED images; the classes come in turn, so that a stretch holds all of them."""
    return np.arange(min(count, EXPLAINED))


def mean_of_known(values: Iterable[float]) -> float | None:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else None


def rank_methods(model, images: np.ndarray, targets: np.ndarray, masks: np.ndarray, methods) -> dict[str, dict]:
    """Pointing (the most salient pixel lies in the marker), mass and enrichment of every method, means over images."""
    result = {}
    for method in methods:
        maps, seconds = explain(model, images, targets, method)
        found = np.array([scores(own, mask) for own, mask in zip(maps, masks, strict=True)], float)
        pointing, mass, enrichment = np.nanmean(found, axis=0).tolist()
        result[method] = {"n": len(images), "pointing": pointing, "mass": mass, "enrichment": enrichment,
                          "seconds": seconds}
    return result


def rank_planted(model, films, masks: list[dict], images: np.ndarray, probabilities: np.ndarray, methods) -> dict:
    """Ranks the methods on rightly classified test images that carry their own class's marker."""
    rows = [i for i, film in enumerate(films) if "text" in masks[i]
            and film.marker == film.label == CLASSES[probabilities[i].argmax()]][:RANKED]
    if not rows or not methods:
        return {}
    own = np.stack([masks[i]["text"] for i in rows])
    return rank_methods(model, images[rows], probabilities[rows].argmax(axis=1), own, methods)


def mean_ranking(records: list[dict]) -> dict:
    """Means over datasets, best enrichment first."""
    found: dict[str, list] = {}
    for record in records:
        for method, row in record.get("ranking", {}).items():
            found.setdefault(method, []).append(row)
    table = {method: {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
             for method, rows in found.items()}
    return dict(sorted(table.items(), key=lambda item: -item[1]["enrichment"]))
