"""One event of the review, what may be decided, and what of it is refused before anything is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from xray_debug.data.boxes import as_boxes

DECISIONS = ("approve", "reject", "edit", "exclude")
TURNS = ("withdraw", "reinstate")  # events about a decision: undo and redo


class ReviewError(ValueError):
    """A review file or a decision that cannot be used; the message is one sentence."""


class Locked(ReviewError):
    """Another program holds the review file; nothing was read or stored."""


@dataclass(frozen=True)
class Event:
    """A row of the review file, which is never changed: a decision, or that one was withdrawn or reinstated.

    Args:
        id: its number; later events have larger ones.
        image_id: of the image that was decided on.
        decision: one of DECISIONS, or of TURNS.
        boxes: of "edit": [x0, y0, x1, y1] each, pixels of the image; else None.
        reviewer: who; "" where nobody gave a name.
        note: a remark.
        decided_at: UTC, ISO 8601.
        seen: number of the image's latest event that was on the screen (0: none); None: not known.
        withdrawn: whether this decision does not count, as things stand.
        of: of a withdrawal or reinstatement: the number of the decision it is about.
        bulk: number of the first of the events that were stored at one stroke; None: stored alone.
    """

    id: int
    image_id: str
    decision: str
    boxes: list[list[int]] | None
    reviewer: str
    note: str
    decided_at: str
    seen: int | None
    withdrawn: bool
    of: int | None = None
    bulk: int | None = None


COLUMNS = [field.name for field in fields(Event)]


class Conflict(ReviewError):
    """Another event came after what the reviewer saw: nothing is stored. `other` is that event."""

    def __init__(self, other: Event):
        said = f"{other.decision} at {other.decided_at}"
        super().__init__(
            f"decision on {other.image_id}: not stored, since {other.reviewer or 'somebody'} has decided {said} after "
            f"this view was drawn (event {other.id}); look at it and decide again"
        )
        self.other = other


def checked_decision(
    image_id: str, decision: str, boxes=None, size: tuple[int, int] | None = None
) -> list[list[int]] | None:
    """The boxes as they are stored; ReviewError for what is no decision. `size`: (height, width) of the image."""
    if not isinstance(image_id, str) or not image_id:
        raise ReviewError(f"image_id: expected a file name, got {image_id!r}")
    if decision not in DECISIONS:
        raise ReviewError(f"decision on {image_id}: expected one of {', '.join(DECISIONS)}, got {decision!r}")
    if (decision == "edit") != (boxes is not None):
        need = "needs boxes" if decision == "edit" else f"takes no boxes with {decision!r}, only with 'edit'"
        raise ReviewError(f"decision on {image_id}: {need}")
    return None if boxes is None else checked_boxes(image_id, boxes, size)


def checked_boxes(image_id: str, boxes, size: tuple[int, int] | None = None) -> list[list[int]]:
    """Boxes in whole pixels (fractions grow outwards); ReviewError for malformed ones and those outside the image."""
    try:
        array = as_boxes(boxes)
    except (ValueError, TypeError) as error:
        raise ReviewError(f"boxes of {image_id}: {error}") from error
    for box in array.tolist():
        if box[0] < 0 or box[1] < 0 or box[2] <= box[0] or box[3] <= box[1]:
            raise ReviewError(f"boxes of {image_id}: expected 0 <= x0 < x1 and 0 <= y0 < y1, got {box}")
        if size is not None and (box[2] > size[1] or box[3] > size[0]):
            film = f"the image of {size[1]} x {size[0]} pixels"
            raise ReviewError(f"boxes of {image_id}: expected a box inside {film}, got {box}")
    return array.tolist()


def event_of(row: Mapping[str, Any], path) -> Event:
    """A row of the review file `path` as an event; ReviewError where its boxes cannot be used."""
    values = {name: row[name] for name in COLUMNS}
    try:
        values["boxes"] = None if row["boxes"] is None else checked_boxes(row["image_id"], json.loads(row["boxes"]))
    except (ValueError, TypeError, RecursionError) as error:
        raise ReviewError(f"{path}: decision {row['id']} cannot be used: {error}") from error
    return Event(**values | {"withdrawn": bool(row["withdrawn"])})
