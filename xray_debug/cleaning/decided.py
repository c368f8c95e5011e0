"""Reviewers' decisions as cleaning uses them, and what is wrong with those that it cannot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from xray_debug.data.boxes import as_boxes, clip_boxes, covered

DECISIONS = ("approve", "reject", "edit", "exclude")


class Decided(NamedTuple):
    """A decision: the word ("" for none), the reviewer's boxes of an edit, the number of its event, and who made it."""

    decision: str = ""
    boxes: np.ndarray | None = None
    event: int = 0
    reviewer: str = ""


UNDECIDED = Decided()
COVERED = 0.5  # share of a box under others, from which it goes with them


def boxes_to_erase(decided: Decided, found) -> np.ndarray:
    """What is erased in an image whose detector's boxes are `found`: (N, 4)."""
    if decided.decision in ("reject", "exclude"):
        return as_boxes([])
    return as_boxes(found) if decided.boxes is None else decided.boxes


def left_in_place(decided: Decided, found, keep) -> tuple[np.ndarray, np.ndarray]:
    """(`found` without `keep`, what of `keep` stays in the image): (N, 4) each; both hold boxes of the detector.

    Reviewers overrule: beside an edit's boxes stays what these do not cover (half of it), and what they decide of an
    image as a whole (reject, exclude) needs nothing kept.
    """
    found, keep = as_boxes(found), as_boxes(keep)
    spared = set(map(tuple, keep.tolist()))
    rest = as_boxes([box for box in found.tolist() if tuple(box) not in spared])
    if decided.decision in ("reject", "exclude"):
        return rest, as_boxes([])
    if decided.boxes is not None and len(keep):
        width, height = np.concatenate([keep, decided.boxes])[:, 2:].max(axis=0)
        keep = keep[covered(keep, decided.boxes, height, width) < COVERED]
    return rest, keep


def usable_decisions(
    decisions: pd.DataFrame | None, manifest: pd.DataFrame
) -> tuple[dict[str, Decided], list[str]]:
    """(image_id -> what was decided, a sentence for each that is not done as it stands).

    `decisions` has image_id, decision, boxes and, where they are known, id and reviewer.

    Decisions on images that are not in `manifest` (usable ones) are left out; boxes are cut to the film where
    `manifest` has its width and height, and left out where nothing of them lies inside.
    ValueError: a decision that is none, or an edit without boxes.
    """
    if decisions is None or not len(decisions):
        return {}, []
    sizes = _sizes(manifest)
    decided, remarks = {}, []
    known = decisions.reindex(columns=["image_id", "decision", "boxes", "id", "reviewer"]).astype(object)
    for image_id, decision, boxes, event, reviewer in known.itertuples(index=False):
        if decision not in DECISIONS:
            raise ValueError(f"decision on {image_id}: expected one of {', '.join(DECISIONS)}, got {decision!r}")
        if decision == "edit" and not isinstance(boxes, (str, Sequence, np.ndarray)):
            raise ValueError(f"decision on {image_id}: edit needs boxes, got {boxes!r}")
        if image_id not in sizes:
            remarks.append(f"decision on {image_id}: no usable image has that name, so it changes nothing")
            continue
        own = None
        if decision == "edit":
            own = _inside(image_id, json.loads(boxes) if isinstance(boxes, str) and boxes else boxes, sizes, remarks)
        decided[image_id] = Decided(decision, own, 0 if pd.isna(event) else int(event),
                                    "" if pd.isna(reviewer) else str(reviewer))
    return decided, remarks


def _sizes(manifest: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """image_id -> (height, width), zeros where they are not known."""
    if not {"width", "height"} <= set(manifest):
        return dict.fromkeys(manifest["image_id"], (0, 0))
    return dict(zip(manifest["image_id"], zip(manifest["height"], manifest["width"], strict=True), strict=True))


def _inside(image_id: str, boxes, sizes: dict[str, tuple[int, int]], remarks: list[str]) -> np.ndarray:
    try:
        array = as_boxes(boxes)
    except (TypeError, ValueError) as error:
        raise ValueError(f"decision on {image_id}: {error}") from error
    height, width = (int(side) for side in sizes[image_id])
    if not (height and width):
        return array
    kept = []
    for box in array:
        cut = clip_boxes([box], height, width)
        if len(cut) and (cut[0] == box).all():
            kept.append(box)
            continue
        what = "is cut to it" if len(cut) else "is left out"
        film = f"the film of {width} x {height} pixels"
        remarks.append(f"decision on {image_id}: box {box.tolist()} is not inside {film} and {what}")
        kept += list(cut)
    return as_boxes(kept)
