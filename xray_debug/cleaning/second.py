"""The second reader: which images it reads, what it finds in them, and how that lies to what is erased.

Of originals that it reads, whether or not anything is erased in them, each gives four numbers, `Reading`: from them
follow what share of the erased boxes this reader sees, and what both it and the detector may have missed
(stats/capture_recapture.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from xray_debug.data.boxes import TextBox, as_boxes, as_found, covered
from xray_debug.data.images import GreyWindow, to_gray8
from xray_debug.stats.seeds import seed_of

SEEN = 0.5  # share of an erased box under the reader's boxes, from which the reader has seen it
ALONE = 0.2  # share of a reader's box on erased ones, under which the reader alone has found it
KIND = "text"  # what is read: a device is no writing
READINGS = ["image_id", "patient_id", "label", "source", "split", "test_set", "erased", "seen", "found", "alone",
            "note"]  # fmt: skip


class Reading(NamedTuple):
    """Of one original: boxes that are erased, how many of them the reader sees, its own, those it found alone."""

    erased: int
    seen: int
    found: int
    alone: int


def drawn(plan: pd.DataFrame, rows: np.ndarray, stream: tuple, count: int | None) -> np.ndarray:
    """`count` of `rows` (None: all): those whose own numbers in the stream are the smallest."""
    if count is None or count >= len(rows):
        return rows
    numbers = [seed_of(*stream, name) for name in plan["image_id"].iloc[rows]] if count else []
    return rows[np.argsort(np.array(numbers, np.uint64), kind="stable")[:count]]


def spread(plan: pd.DataFrame, rows: np.ndarray, stream: tuple, count: int) -> np.ndarray:
    """`count` of `rows`, in their order, over classes and splits: one of each where there is room, the others in
    proportion to its images. Within one they are drawn as by `drawn`, so that one decision changes few."""
    if count >= len(rows):
        return rows
    keys = list(zip(plan["label"].iloc[rows].astype(str), plan["split"].iloc[rows].astype(str), strict=True))
    parts = [rows[[key == name for key in keys]] for name in sorted(set(keys))]
    if count < len(parts):
        return np.sort(drawn(plan, rows, stream, count))
    sizes = np.array([len(part) - 1 for part in parts])
    exact = (count - len(parts)) * sizes / max(sizes.sum(), 1)
    numbers = np.floor(exact).astype(int)
    left = count - len(parts) - numbers.sum()
    numbers[np.argsort(numbers - exact, kind="stable")[:left]] += 1
    chosen = [drawn(plan, part, stream, 1 + number) for part, number in zip(parts, numbers, strict=True)]
    return np.sort(np.concatenate(chosen))


def read_boxes(reader: Any, pixels: np.ndarray, window: GreyWindow) -> tuple[list[TextBox] | None, str]:
    """The reader's boxes, or None and why it has none to give: whatever it does, the repair does not depend on it."""
    try:
        (found,) = reader.detect([pixels if pixels.dtype == np.uint8 else to_gray8(pixels, window)])
        return as_found(found, getattr(reader, "name", "that reads again")), ""
    except Exception as error:  # of whatever kind: another's reader may raise anything
        return None, str(error) or type(error).__name__


def without_kept(found: Sequence[TextBox], kept: Sequence, height: int, width: int) -> list[TextBox]:
    """The reader's boxes without those that lie on text that stays (half of their area)."""
    on = covered(as_boxes(found), as_boxes(kept), height, width) >= SEEN
    return [box for box, stays in zip(found, on, strict=True) if not stays]


def reading_of(erased: Sequence, found: Sequence[TextBox], height: int, width: int) -> Reading:
    """What the reader's boxes are to the erased ones of an image of that size; its boxes of other kinds are none."""
    erased, own = as_boxes(erased), as_boxes([box.box for box in found if box.kind == KIND])
    seen = covered(erased, own, height, width) >= SEEN
    alone = covered(own, erased, height, width) < ALONE
    return Reading(len(erased), int(seen.sum()), len(own), int(alone.sum()))


def readings_table(plan: pd.DataFrame, results: pd.DataFrame | Sequence[Mapping]) -> pd.DataFrame:
    """One row (READINGS) for each original that was to be read; its numbers are empty where the reader failed, and
    `note` says why. `results`: CleanWorker's of all rows of the plan, in order."""
    found = pd.DataFrame(results).reset_index(drop=True).reindex(columns=["reading", "reading_note"])
    asked = np.flatnonzero([boxes is not None for boxes in plan["compared"]])
    rows = []
    for row, numbers, note in zip(plan.iloc[asked][READINGS[:6]].to_dict("records"), found["reading"].iloc[asked],
                                  found["reading_note"].iloc[asked], strict=True):  # fmt: skip
        known = isinstance(numbers, (list, tuple, np.ndarray))
        said = note if isinstance(note, str) else "" if known else "the image could not be done"
        rows.append(row | (Reading(*map(int, numbers))._asdict() if known else {}) | {"note": said})
    table = pd.DataFrame(rows, columns=READINGS)
    return table.astype({name: "Int64" for name in Reading._fields} | {"note": object})
