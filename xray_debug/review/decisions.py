"""The reviewers' decisions: an SQLite file that only grows. No Streamlit and no torch here.

Each decision is one row; the latest one of an image counts, earlier ones stay as its history. Several programs
may write at once (write-ahead log, short transactions).
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xray_debug.data.boxes import as_boxes

if TYPE_CHECKING:
    import pandas as pd

DECISIONS = ("approve", "reject", "edit")
COLUMNS = ["image_id", "decision", "boxes", "reviewer", "note", "decided_at"]
SCHEMA_VERSION = 1
WAIT_SECONDS = 30  # for another writer

_SCHEMA = """
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    image_id TEXT NOT NULL CHECK (length(image_id) > 0),
    decision TEXT NOT NULL CHECK (decision IN ('approve', 'reject', 'edit')),
    boxes TEXT CHECK ((decision = 'edit') = (boxes IS NOT NULL)),
    reviewer TEXT NOT NULL,
    note TEXT NOT NULL,
    decided_at TEXT NOT NULL
);
CREATE INDEX decisions_of_image ON decisions (image_id, id);
CREATE TRIGGER decisions_stay BEFORE UPDATE ON decisions BEGIN SELECT RAISE(ABORT, 'decisions are never changed'); END;
CREATE TRIGGER decisions_last BEFORE DELETE ON decisions BEGIN SELECT RAISE(ABORT, 'decisions are never deleted'); END;
"""


class ReviewError(ValueError):
    """A review file or a decision that cannot be used; the message is one sentence."""


class ReviewDB:
    """The decisions in the file `path`, which is made where it is missing."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if "\0" in str(self.path):
            raise ReviewError(f"{self.path}: no file can have a NUL in its name")
        if not os.path.isdir(self.path.parent):
            raise ReviewError(f"{self.path}: its folder does not exist")
        with contextlib.suppress(OSError):  # private from its first byte; SQLite's further files follow it
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        with self._connection("EXCLUSIVE") as connection:
            self._prepare(connection)

    def decide(self, image_id: str, decision: str, boxes=None, reviewer: str = "", note: str = "") -> int:
        """Adds a decision on one image and returns its number.

        "approve": erase the boxes found; "reject": leave the image as it is; "edit": erase `boxes` (N, 4) instead,
        pixels of the image. ReviewError for another word, or boxes missing, malformed or given without "edit".
        """
        if not isinstance(image_id, str) or not image_id:
            raise ReviewError(f"image_id: expected a file name, got {image_id!r}")
        if decision not in DECISIONS:
            raise ReviewError(f"decision on {image_id}: expected one of {', '.join(DECISIONS)}, got {decision!r}")
        if (decision == "edit") != (boxes is not None):
            need = "needs boxes" if decision == "edit" else f"takes no boxes with {decision!r}, only with 'edit'"
            raise ReviewError(f"decision on {image_id}: {need}")
        stored = None if boxes is None else json.dumps(_checked(image_id, boxes))
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._connection() as connection:
            added = connection.execute(
                "INSERT INTO decisions (image_id, decision, boxes, reviewer, note, decided_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (image_id, decision, stored, str(reviewer), str(note), now),
            )
            return int(added.lastrowid)

    def decisions(self) -> pd.DataFrame:
        """The latest decision of each image, in the order of image_id.

        Columns: image_id, decision, boxes (list of [x0, y0, x1, y1], or None), reviewer, note, decided_at (UTC).
        """
        return as_table(self.latest())

    def latest(self) -> list[dict[str, Any]]:
        """The rows of `decisions`."""
        return self._read(
            "SELECT * FROM decisions WHERE id IN (SELECT max(id) FROM decisions GROUP BY image_id) ORDER BY image_id"
        )

    def history(self, image_id: str | None = None) -> pd.DataFrame:
        """Every decision ever made, oldest first; of one image or of all. Columns as in `decisions`."""
        if image_id is None:
            return as_table(self._read("SELECT * FROM decisions ORDER BY id"))
        return as_table(self._read("SELECT * FROM decisions WHERE image_id = ? ORDER BY id", (image_id,)))

    def _read(self, query: str, values: tuple = ()) -> list[dict[str, Any]]:
        with self._connection("DEFERRED") as connection:
            rows = connection.execute(query, values).fetchall()
        return [{name: self._boxes(row) if name == "boxes" else row[name] for name in COLUMNS} for row in rows]

    def _boxes(self, row: sqlite3.Row) -> list[list[int]] | None:
        try:
            return None if row["boxes"] is None else _checked(row["image_id"], json.loads(row["boxes"]))
        except (ValueError, TypeError, RecursionError) as error:
            raise ReviewError(f"{self.path}: decision {row['id']} cannot be used: {error}") from error

    @contextlib.contextmanager
    def _connection(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """One short transaction on a connection of its own, so that threads and processes never share one."""
        connection = None
        try:
            connection = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)
            connection.row_factory = sqlite3.Row
            if kind == "EXCLUSIVE" and not self._foreign(connection):  # what is not ours is not touched
                with contextlib.suppress(sqlite3.OperationalError):  # another program is just switching it
                    connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"BEGIN {kind}")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise ReviewError(f"{self.path}: the review file cannot be used: {error}") from error
        finally:
            if connection is not None:
                connection.close()  # rolls back what was not committed

    def _foreign(self, connection: sqlite3.Connection) -> str:
        """What the file is, where it is neither new nor a review file of this version."""
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            return f"version {version}"
        columns = [row["name"] for row in connection.execute("PRAGMA table_info(decisions)")]
        ours = columns == ["id", *COLUMNS] and version == SCHEMA_VERSION
        new = version == 0 and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return "" if ours or new else "another program's tables"

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if found := self._foreign(connection):
            raise ReviewError(f"{self.path}: expected a review file of version {SCHEMA_VERSION}, found {found}")
        if connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION:
            return
        for statement in _statements(_SCHEMA):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def as_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows of `latest` as `decisions` gives them."""
    import pandas as pd

    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def _statements(script: str) -> Iterator[str]:
    """The script's statements one by one: executescript would commit the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _checked(image_id: str, boxes) -> list[list[int]]:
    try:
        array = as_boxes(boxes)
    except (ValueError, TypeError) as error:
        raise ReviewError(f"boxes of {image_id}: {error}") from error
    for box in array.tolist():
        if box[0] < 0 or box[1] < 0 or box[2] <= box[0] or box[3] <= box[1]:
            raise ReviewError(f"boxes of {image_id}: expected 0 <= x0 < x1 and 0 <= y0 < y1, got {box}")
    return array.tolist()
