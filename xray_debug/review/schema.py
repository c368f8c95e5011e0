"""The review file's tables (SQLite), how an earlier version's become today's, and short transactions on them."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from xray_debug.review.events import DECISIONS, TURNS, Locked, ReviewError

SCHEMA_VERSION = 2
WAIT_SECONDS = 2  # for another writer who stores nothing: a transaction takes milliseconds, so that one is stuck
LONGEST_SECONDS = 30  # for others who store one thing after the other

_KINDS = ", ".join(f"'{name}'" for name in (*DECISIONS, *TURNS))
_TURNS = ", ".join(f"'{name}'" for name in TURNS)
_SCHEMA = f"""
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    image_id TEXT NOT NULL CHECK (length(image_id) > 0),
    decision TEXT NOT NULL CHECK (decision IN ({_KINDS})),
    boxes TEXT CHECK ((decision = 'edit') = (boxes IS NOT NULL)),
    reviewer TEXT NOT NULL,
    note TEXT NOT NULL,
    decided_at TEXT NOT NULL,
    seen INTEGER CHECK (seen >= 0),
    of INTEGER REFERENCES events (id) CHECK ((decision IN ({_TURNS})) = (of IS NOT NULL)),
    bulk INTEGER
);
CREATE INDEX events_of_image ON events (image_id, id);
CREATE INDEX events_of_reviewer ON events (reviewer, id);
CREATE INDEX events_about ON events (of, id) WHERE of IS NOT NULL;
CREATE VIEW history AS SELECT *, (
    SELECT turn.decision FROM events AS turn WHERE turn.of = events.id ORDER BY turn.id DESC LIMIT 1
    ) IS 'withdraw' AS withdrawn FROM events;
CREATE VIEW standing AS SELECT * FROM history WHERE of IS NULL AND NOT withdrawn;
CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER events_last BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;
CREATE TRIGGER events_once BEFORE INSERT ON events WHEN NEW.id IN (SELECT id FROM events)
    BEGIN SELECT RAISE(ABORT, 'events are never replaced'); END;
"""
TABLES = {  # version -> the table of that version and its columns
    1: ("decisions", ["id", "image_id", "decision", "boxes", "reviewer", "note", "decided_at"]),
    2: ("events", ["id", "image_id", "decision", "boxes", "reviewer", "note", "decided_at", "seen", "of", "bulk"]),
}
_FROM_1 = """
INSERT INTO events (id, image_id, decision, boxes, reviewer, note, decided_at)
    SELECT id, image_id, decision, boxes, reviewer, note, decided_at FROM decisions ORDER BY id;
DROP TABLE decisions;
"""


def make(path: Path) -> None:
    """Makes the review file where it is missing, and today's of an earlier version's, in one transaction.

    ReviewError where another program, or a later version of this one, has made it: such a file is not touched.
    """
    if "\0" in str(path):
        raise ReviewError(f"{path}: no file can have a NUL in its name")
    if not os.path.isdir(path.parent):
        raise ReviewError(f"{path}: its folder does not exist")
    with contextlib.suppress(OSError):  # private from its first byte; SQLite's further files follow it
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    with transaction(path, "DEFERRED") as connection:
        if _version(connection, path) == SCHEMA_VERSION:
            return
    with transaction(path, "EXCLUSIVE", log=True) as connection:
        version = _version(connection, path)  # another program may just have done it
        if version == SCHEMA_VERSION:
            return
        for statement in _statements(_SCHEMA + (_FROM_1 if version == 1 else "")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


@contextlib.contextmanager
def transaction(path: Path, kind: str = "IMMEDIATE", log: bool = False) -> Iterator[sqlite3.Connection]:
    """One short transaction on a connection of its own, so that threads and processes never share one.

    `log`: switch the file to a write-ahead log before, so that readers never wait for a writer. Locked where another
    program holds the file; ReviewError where it cannot be used.
    """
    connection = None
    try:
        connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)
        connection.row_factory = sqlite3.Row
        if log:
            with contextlib.suppress(sqlite3.OperationalError):  # another program is just switching it
                connection.execute("PRAGMA journal_mode = WAL")
        _begin(connection, kind)
        yield connection
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if _is_busy(error):
            raise Locked(f"{path}: the review file is locked by another program, nothing was stored; try again when "
                         f"that has finished") from error  # fmt: skip
        raise ReviewError(f"{path}: the review file cannot be used: {error}") from error
    finally:
        if connection is not None:
            connection.close()  # rolls back what was not committed


def _begin(connection: sqlite3.Connection, kind: str) -> None:
    """Begins a transaction; waits for as long as others go on to store, which SQLite's own waiting does not see."""
    start = last = time.monotonic()
    seen = None
    while True:
        try:
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute(f"BEGIN {kind}")
            connection.execute(f"PRAGMA busy_timeout = {1000 * WAIT_SECONDS}")
            return
        except sqlite3.OperationalError as error:
            now = time.monotonic()
            if not _is_busy(error) or now - last > WAIT_SECONDS or now - start > LONGEST_SECONDS:
                raise
        with contextlib.suppress(sqlite3.OperationalError):
            found = connection.execute("PRAGMA data_version").fetchone()[0]
            if seen is not None and found != seen:
                last = time.monotonic()
            seen = found
        time.sleep(0.003)


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of the review file, 0 of a new one; ReviewError where it is neither."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    found = f"version {version}"
    if version in (0, *TABLES):
        table, columns = TABLES.get(version, ("", []))
        there = [row["name"] for row in connection.execute(f"PRAGMA table_info({table})")] if table else []
        new = version == 0 and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if new or table and there == columns:
            return version
        found = "another program's tables"
    raise ReviewError(f"{path}: expected a review file of version {SCHEMA_VERSION} or earlier, found {found}")


def _statements(script: str) -> Iterator[str]:
    """The script's statements one by one: executescript would commit the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
