"""The reviewers' decisions: an SQLite file that only grows. No Streamlit and no torch here.

Each decision is one event; the latest one of an image that has not been withdrawn counts, and all stay as its history.
Undo and redo are events, too: they withdraw a decision or reinstate it. Several programs may write at once (write-ahead
log, short transactions).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from xray_debug.review import schema
from xray_debug.review.events import (
    COLUMNS,
    DECISIONS,
    Conflict,
    Event,
    Locked,
    ReviewError,
    checked_decision,
    event_of,
)
from xray_debug.review.schema import SCHEMA_VERSION

if TYPE_CHECKING:  # status reads decisions and imports nothing heavy
    import pandas as pd

    from xray_debug.stats.intervals import Interval

__all__ = ["COLUMNS", "DECISIONS", "SCHEMA_VERSION", "Agreement", "Conflict", "Event", "Locked", "ReviewDB",
           "ReviewError", "as_table"]  # fmt: skip

_EVENTS = "SELECT * FROM history"
_LATEST = f"{_EVENTS} WHERE id IN (SELECT max(id) FROM standing GROUP BY image_id)"
_UNDONE = ("SELECT id, bulk, of FROM events WHERE reviewer = ? AND decision = 'withdraw' "
           "AND id = (SELECT max(turn.id) FROM events AS turn WHERE turn.of = events.of)")  # fmt: skip


class Agreement(NamedTuple):
    """Cohen's kappa of two reviewers: their names, on how many images both decided, and kappa with its interval.

    kappa is nan where both said the same one thing of all images; then there is no chance to be better than.
    """

    pair: tuple[str, str]
    images: int
    kappa: float
    interval: Interval


class ReviewDB:
    """The decisions in the file `path`, which is made where it is missing."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        schema.make(self.path)

    # ------------------------------------------------------------------------------------------ deciding

    def decide(
        self,
        image_id: str,
        decision: str,
        boxes=None,
        reviewer: str = "",
        note: str = "",
        seen: int | None = None,
        size: tuple[int, int] | None = None,
    ) -> int:
        """Adds a decision on one image and returns its number; it is on the disk then.

        "approve": erase the boxes found; "reject": leave the image as it is; "edit": erase `boxes` (N, 4) instead,
        pixels of the image, none of them to erase nothing; "exclude": leave the image out of the cleaned data.

        Args:
            seen: the image's `version` that the reviewer was shown; None: it is not looked at.
            size: (height, width) of the image, in which the boxes must lie.

        Raises:
            Conflict: an event came after `seen`; nothing is stored.
            ReviewError: another word, or boxes missing, malformed, outside, or given without "edit".
            Locked: another program holds the file.
        """
        row = {"image_id": image_id, "decision": decision, "boxes": boxes, "seen": seen, "size": size}
        return self._store([row], reviewer, note)[0]

    def decide_many(self, rows: Iterable[Mapping[str, Any]], reviewer: str = "", note: str = "",
                    seen: int | None = None) -> int:  # fmt: skip
        """Stores decisions on many images, all or none, and returns how many; one `undo` withdraws them all.

        `rows`: mappings with `image_id`, `decision` and, as in `decide`, `boxes`, `seen`, `size`. `seen`: the number of
        the last event of all that the reviewer was shown; Conflict where another came, on whatever image.
        """
        return len(self._store(list(rows), reviewer, note, seen))

    def _store(self, rows: list[Mapping[str, Any]], reviewer: str, note: str, last: int | None = None) -> list[int]:
        checked = [(row["image_id"], row["decision"],
                    checked_decision(row["image_id"], row["decision"], row.get("boxes"), row.get("size")),
                    _version(row["image_id"], row.get("seen"))) for row in rows]  # fmt: skip
        for text in (reviewer, note, *(row[0] for row in checked)):
            _check_text(text)
        now, numbers = _now(), []
        with schema.transaction(self.path) as connection:
            first = None if len(checked) < 2 else _last(connection) + 1
            if last is not None:
                self._check_seen(connection, last)
            for image_id, _, _, seen in checked:
                if seen is not None:
                    self._check_seen(connection, seen, image_id)
            for image_id, decision, boxes, seen in checked:
                numbers.append(add(connection, image_id, decision, boxes, reviewer, note, now, seen, bulk=first))
        return numbers

    def _check_seen(self, connection: sqlite3.Connection, seen: int, image_id: str | None = None) -> None:
        """Conflict where an event, on this image or on any, came after number `seen`."""
        of, values = ("", ()) if image_id is None else ("WHERE image_id = ?", (image_id,))
        last = connection.execute(f"{_EVENTS} {of} ORDER BY id DESC LIMIT 1", values).fetchone()
        if (last["id"] if last else 0) < seen:
            raise ReviewError(f"decision on {image_id or 'several images'}: the page has seen event {seen}, which "
                              f"{self.path} lacks")  # fmt: skip
        if last is not None and last["id"] > seen:
            raise Conflict(event_of(last, self.path))

    def undo(self, reviewer: str) -> Event | None:
        """Withdraws the reviewer's last decision that counts (of a bulk: all of it); None where there is none."""
        with schema.transaction(self.path) as connection:
            last = connection.execute(
                "SELECT id, bulk FROM standing WHERE reviewer = ? ORDER BY id DESC LIMIT 1", (reviewer,)
            ).fetchone()
            if last is None:
                return None
            those = connection.execute(
                "SELECT id FROM standing WHERE reviewer = ? AND (id = ? OR bulk = ?) ORDER BY id", (reviewer, *last)
            ).fetchall()
            return self._turn(connection, "withdraw", [row["id"] for row in those], reviewer)

    def redo(self, reviewer: str) -> Event | None:
        """Reinstates what the reviewer's last `undo` withdrew; None where there is none, or a decision came since.

        A decision that another reviewer has made meanwhile is later and goes on to count.
        """
        with schema.transaction(self.path) as connection:
            last = connection.execute(f"{_UNDONE} ORDER BY id DESC LIMIT 1", (reviewer,)).fetchone()
            since = connection.execute(
                "SELECT id FROM events WHERE reviewer = ? AND of IS NULL ORDER BY id DESC LIMIT 1", (reviewer,)
            ).fetchone()
            if last is None or since["id"] > last["id"]:
                return None
            those = connection.execute(
                f"{_UNDONE} AND (id = ? OR bulk = ?) ORDER BY of", (reviewer, last["id"], last["bulk"])
            ).fetchall()
            return self._turn(connection, "reinstate", [row["of"] for row in those], reviewer)

    def _turn(self, connection: sqlite3.Connection, turn: str, numbers: list[int], reviewer: str) -> Event:
        now, first = _now(), None if len(numbers) < 2 else _last(connection) + 1
        for number in numbers:
            (image_id,) = connection.execute("SELECT image_id FROM events WHERE id = ?", (number,)).fetchone()
            add(connection, image_id, turn, None, reviewer, "", now, of=number, bulk=first)
        found = connection.execute(f"{_EVENTS} WHERE id = ?", (numbers[-1],)).fetchone()
        return event_of(found, self.path)

    # ------------------------------------------------------------------------------------------ reading

    def decisions(self) -> pd.DataFrame:
        """The decision of each image that counts, in the order of image_id; columns: COLUMNS, as in `Event`."""
        return as_table(self.latest())

    def latest(self) -> list[dict[str, Any]]:
        """The rows of `decisions`."""
        return [dict(vars(event)) for event in self._read(f"{_LATEST} ORDER BY image_id")]

    def of(self, image_id: str) -> dict[str, Any] | None:
        """The decision on one image that counts, as in `latest`; None where there is none."""
        found = self._read(f"{_EVENTS} WHERE id = (SELECT max(id) FROM standing WHERE image_id = ?)", (image_id,))
        return dict(vars(found[0])) if found else None

    def version(self, image_id: str) -> int:
        """The number of the image's latest event of any kind, 0 where there is none: what `decide(seen=)` is given."""
        return self._number("SELECT max(id) FROM events WHERE image_id = ?", (image_id,))

    def count(self) -> int:
        """How many events there are."""
        return self._number("SELECT count(*) FROM events")

    def last(self) -> int:
        """The number of the last event of all, 0 where there is none: another than before says that one was added."""
        return self._number("SELECT max(id) FROM events")

    def since(self, number: int) -> list[str]:
        """The images of the events after that number, each once."""
        with schema.transaction(self.path, "DEFERRED") as connection:
            query = "SELECT DISTINCT image_id FROM events WHERE id > ?"
            return [row["image_id"] for row in connection.execute(query, (number,)).fetchall()]

    def history(self, image_id: str | None = None) -> pd.DataFrame:
        """Every event, oldest first, withdrawn ones and undo and redo too; of one image or of all. Columns: COLUMNS."""
        return as_table([dict(vars(event)) for event in self.events(image_id)])

    def together(self, event: Event) -> int:
        """How many decisions were stored at one stroke with this one, itself among them."""
        return 1 if event.bulk is None else self._number("SELECT count(*) FROM events WHERE bulk = ?", (event.bulk,))

    def events(self, image_id: str | None = None) -> list[Event]:
        """The rows of `history`."""
        if image_id is None:
            return self._read(f"{_EVENTS} ORDER BY id")
        return self._read(f"{_EVENTS} WHERE image_id = ? ORDER BY id", (image_id,))

    def events_in(self, connection: sqlite3.Connection) -> list[Event]:
        """All events, as a transaction that is under way sees them."""
        return [event_of(row, self.path) for row in connection.execute(f"{_EVENTS} ORDER BY id").fetchall()]

    def by_reviewer(self, image_id: str | None = None) -> dict[str, dict[str, Event]]:
        """reviewer -> image_id -> the decision of that reviewer that stands, whoever decided last; of all or one."""
        found: dict[str, dict[str, Event]] = {}
        of, values = ("", ()) if image_id is None else ("WHERE image_id = ?", (image_id,))
        query = f"{_EVENTS} WHERE id IN (SELECT max(id) FROM standing {of} GROUP BY image_id, reviewer) ORDER BY id"
        for event in self._read(query, values):
            found.setdefault(event.reviewer, {})[event.image_id] = event
        return found

    def disagreements(self, image_id: str | None = None) -> set[str]:
        """The images, or this one, of which two reviewers' standing decisions differ, an edit's boxes included."""
        said: dict[str, set[str]] = {}
        for own in self.by_reviewer(image_id).values():
            for image_id, event in own.items():
                said.setdefault(image_id, set()).add(f"{event.decision} {sorted(event.boxes or [])}")
        return {image_id for image_id, answers in said.items() if len(answers) > 1}

    def agreement(self) -> list[Agreement]:
        """Cohen's kappa of every pair of reviewers who have decided on the same images, in the order of their names.

        An edit agrees with an edit, whatever its boxes.
        """
        from xray_debug.stats.agreement import cohen_kappa

        said, found = self.by_reviewer(), []
        for first, second in combinations(sorted(said), 2):
            both = sorted(set(said[first]) & set(said[second]))
            if both:
                words = ([said[name][image_id].decision for image_id in both] for name in (first, second))
                interval = cohen_kappa(*words)
                found.append(Agreement((first, second), len(both), interval.value, interval))
        return found

    def _read(self, query: str, values: tuple = ()) -> list[Event]:
        with schema.transaction(self.path, "DEFERRED") as connection:
            return [event_of(row, self.path) for row in connection.execute(query, values).fetchall()]

    def _number(self, query: str, values: tuple = ()) -> int:
        with schema.transaction(self.path, "DEFERRED") as connection:
            return int(connection.execute(query, values).fetchone()[0] or 0)


def add(connection: sqlite3.Connection, image_id: str, decision: str, boxes: list | None, reviewer: str, note: str,
        decided_at: str, seen: int | None = None, of: int | None = None, bulk: int | None = None) -> int:  # fmt: skip
    """Writes one event, whose values were checked, and returns its number."""
    added = connection.execute(
        "INSERT INTO events (image_id, decision, boxes, reviewer, note, decided_at, seen, of, bulk) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (image_id, decision, None if boxes is None else json.dumps(boxes), str(reviewer), str(note), decided_at, seen,
         of, bulk),
    )  # fmt: skip
    return int(added.lastrowid)


def as_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows of `latest` as `decisions` gives them."""
    import pandas as pd

    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def _version(image_id: str, seen) -> int | None:
    if seen is not None and (isinstance(seen, bool) or not isinstance(seen, int) or seen < 0):
        raise ReviewError(f"decision on {image_id}: seen: expected the number of an event or 0, got {seen!r}")
    return seen


def _check_text(text) -> None:
    try:
        str(text).encode()
    except UnicodeEncodeError as error:
        raise ReviewError(f"{text!r}: expected text that can be written as UTF-8") from error


def _last(connection: sqlite3.Connection) -> int:
    """The number of the last event, 0 where there is none."""
    return int(connection.execute("SELECT max(id) FROM events").fetchone()[0] or 0)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
