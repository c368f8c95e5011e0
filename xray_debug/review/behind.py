"""How far the cleaned dataset on the disk is behind the decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from xray_debug.review.decisions import ReviewDB
from xray_debug.run.store import Store


class Behind(NamedTuple):
    """The images whose decision is not the one that the dataset was made with, in the order of their names.

    Args:
        decisions: all of them; of some the change log alone will differ.
        images: those of them that will be another file, or none, or one again.
    """

    decisions: list[str]
    images: list[str]

    @property
    def sentence(self) -> str:
        """For a person; "" where nothing is behind."""
        if not self.decisions:
            return ""
        return (f"the cleaned dataset is behind: of {len(self.decisions)} images the decision is another than the one "
                f"that it was made with, {len(self.images)} of them will change; xray-debug clean makes these anew")


def behind(store: Store) -> Behind | None:
    """How far the run's dataset is behind its review file; None where there is no dataset yet (or one of a version that
    did not note its decisions). Cheap: nothing heavy is imported, no image is read."""
    if not store.has("decided"):
        return None
    before = store.json("decided")["images"]
    now = made_with(ReviewDB(store.review_file).latest()) if store.review_file.exists() else {}
    names = sorted({*before, *now})
    said = [name for name in names if _as_made(before.get(name)) != _as_made(now.get(name))]
    plain = ("approve", None)  # what is done without a decision, too
    done = [name for name in said if (_as_made(before.get(name)) or plain) != (_as_made(now.get(name)) or plain)]
    return Behind(said, done)


def behind_sentence(store: Store) -> str:
    """`behind` for a person, "" where nothing is; why it cannot be told, where a file is damaged."""
    try:
        found = behind(store)
    except ValueError as error:
        return f"how far the cleaned dataset is behind cannot be told: {error}"
    return found.sentence if found else ""


def made_with(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict]:
    """The rows of ReviewDB.latest() as a dataset notes what it was made with: image_id -> decision, boxes, event ..."""
    return {row["image_id"]: {"decision": row["decision"], "boxes": row["boxes"], "event": row["id"],
                              "reviewer": row["reviewer"]} for row in rows}  # fmt: skip


def _as_made(noted: Mapping[str, Any] | None) -> tuple | None:
    return None if noted is None else (noted.get("decision"), noted.get("boxes"))
