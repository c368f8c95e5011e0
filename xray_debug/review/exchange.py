"""The events of a review file as JSON Lines or CSV, out and in again: nothing is lost, nothing comes twice.

A whole export that is read into an empty review file gives the same export again, byte for byte. What a file brings to
events that are there already is added after them.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from xray_debug.data.files import write_text
from xray_debug.review import schema
from xray_debug.review.decisions import ReviewDB, add
from xray_debug.review.events import DECISIONS, TURNS, ReviewError, checked_decision

FIELDS = ["id", "image_id", "decision", "boxes", "reviewer", "note", "decided_at", "seen", "of", "bulk"]
TEXTS = ("image_id", "reviewer", "note")
NUMBERS = {"id": 1, "seen": 0, "of": 1, "bulk": 1}  # the smallest there is; None where there is none, but for id
SUFFIXES = (".jsonl", ".csv")
FORMULA = re.compile(r"\s*[=+\-@'＝＋－＠\t\r\n]")  # what a spreadsheet takes for more than text, and our own mark
FARTHEST = 2**53  # numbers that every reader of JSON holds
Sizes = Mapping[str, tuple[int, int]]


def write_events(review: ReviewDB, file: Path) -> int:
    """Writes every event to `file` (.jsonl or .csv), oldest first, withdrawn ones too; how many."""
    rows = _rows_of(review)
    write_text(file, _as_csv(rows) if file.suffix.lower() == ".csv" else _as_json_lines(rows))
    return len(rows)


def events_csv(review: ReviewDB) -> str:
    """What `write_events` writes to a .csv."""
    return _as_csv(_rows_of(review))


def _rows_of(review: ReviewDB) -> list[dict]:
    return [{name: getattr(event, name) for name in FIELDS} for event in review.events()]


def read_events(review: ReviewDB, file: Path, sizes: Sizes) -> tuple[int, int]:
    """Adds the events of a file that `write_events` wrote and that are not there yet, all of them or none.

    An event is there where one of the same image, decision, boxes, reviewer, note and time is, as often as that.
    `sizes`: (height, width) of every image of the run. Gives how many were added and how many were there.
    ReviewError names the file and the row (in CSV the header is row 1) of the first that cannot be used.
    """
    rows = list(_rows(file))
    checked = _checked(file, rows, sizes)
    with schema.transaction(review.path) as connection:
        added = _added(connection, review, checked)
    return added, len(checked) - added


# ------------------------------------------------------------------------------------------------- the files


def _as_json_lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _as_csv(rows: list[dict]) -> str:
    """Every cell quoted; text that a spreadsheet would take for a formula begins with an apostrophe."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in rows:
        cells = {name: "" if value is None else value for name, value in row.items()}
        cells["boxes"] = "" if row["boxes"] is None else json.dumps(row["boxes"])
        cells |= {name: f"'{row[name]}" if FORMULA.match(row[name]) else row[name] for name in TEXTS}
        writer.writerow(cells.values())
    return file.getvalue()


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number of the row, its values) of all rows of the file."""
    if file.suffix.lower() not in SUFFIXES:
        raise ReviewError(f"{file}: expected a file of events, {' or '.join(SUFFIXES)}")
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ReviewError(f"{file}: expected a readable file of events: {why}") from error
    yield from (_csv_rows if file.suffix.lower() == ".csv" else _json_rows)(file, text)


def _json_rows(file: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ReviewError(f"{file}, row {number}: expected a JSON mapping: {error}") from error
        if not isinstance(found, dict) or set(found) != set(FIELDS):
            raise ReviewError(f"{file}, row {number}: expected a JSON mapping of {', '.join(FIELDS)}")
        yield number, found


def _csv_rows(file: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    before = csv.field_size_limit(max(len(text), 1))
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = next(reader, [])
        if sorted(header) != sorted(FIELDS):
            raise ReviewError(f"{file}, row 1: expected the columns {', '.join(FIELDS)}, got {', '.join(header)}")
        for number, cells in enumerate(reader, 2):
            if len(cells) != len(header):
                raise ReviewError(f"{file}, row {number}: expected {len(header)} cells, got {len(cells)}")
            yield number, _cells(file, number, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise ReviewError(f"{file}: expected a CSV file: {error}") from error
    finally:
        csv.field_size_limit(before)


def _cells(file: Path, number: int, row: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = row | {name: row[name].removeprefix("'") for name in TEXTS}
    try:
        found |= {name: int(row[name]) if row[name] else None for name in NUMBERS}
        found["boxes"] = json.loads(row["boxes"]) if row["boxes"] else None
    except (ValueError, RecursionError) as error:
        raise ReviewError(f"{file}, row {number}: expected whole numbers, and boxes as JSON: {error}") from error
    return found


# ------------------------------------------------------------------------------------------------- what is in them


def _checked(file: Path, rows: list[tuple[int, dict]], sizes: Sizes) -> list[dict[str, Any]]:
    """The rows with whole boxes; ReviewError for the first that no review file could hold."""
    known: dict[int, dict] = {}
    for number, row in rows:
        try:
            _check_values(row)
            if row["image_id"] not in sizes:
                raise ReviewError(f"no image of this run is called {row['image_id']}")
            if row["decision"] in TURNS:
                _check_turn(row, known)
            else:
                row["boxes"] = checked_decision(row["image_id"], row["decision"], row["boxes"], sizes[row["image_id"]])
            if row["id"] <= max(known, default=0):
                raise ReviewError(f"id: expected a number above {max(known)}, that of the row before, got {row['id']}")
        except ReviewError as error:
            raise ReviewError(f"{file}, row {number}: {error}") from error
        known[row["id"]] = row
    return list(known.values())


def _check_values(row: dict[str, Any]) -> None:
    for name, least in NUMBERS.items():
        value, wanted = row[name], "a whole number" if name == "id" else "a whole number or nothing"
        if value is None and name != "id":
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= FARTHEST:
            raise ReviewError(f"{name}: expected {wanted} from {least} on, got {value!r}")
    for name in (*TEXTS, "decision", "decided_at"):
        if not isinstance(row[name], str) or _broken(row[name]):
            raise ReviewError(f"{name}: expected text, got {row[name]!r}")
    if row["decision"] not in (*DECISIONS, *TURNS):
        raise ReviewError(f"decision: expected one of {', '.join((*DECISIONS, *TURNS))}, got {row['decision']!r}")
    try:
        when = datetime.fromisoformat(row["decided_at"])
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise ReviewError(f"decided_at: expected a time like 2026-01-31T12:00:00.000+00:00, got {row['decided_at']!r}")
    if row["decision"] in DECISIONS and row["of"] is not None:
        raise ReviewError(f"of: expected nothing with {row['decision']}, got {row['of']}")


def _broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _check_turn(row: dict[str, Any], known: dict[int, dict]) -> None:
    """A withdrawal or reinstatement is of its reviewer's own decision, of an earlier row, on the same image."""
    about = known.get(row["of"])
    if about is None or about["decision"] not in DECISIONS:
        raise ReviewError(f"of: expected the id of a decision in a row before, got {row['of']}")
    if (about["image_id"], about["reviewer"]) != (row["image_id"], row["reviewer"]):
        raise ReviewError(f"of: expected a decision of the same reviewer on the same image, got {row['of']}")
    if row["boxes"] is not None:
        raise ReviewError(f"boxes: expected nothing with {row['decision']}")


def _added(connection: sqlite3.Connection, review: ReviewDB, rows: list[dict[str, Any]]) -> int:
    """Writes those that are not there; numbers in the file become those that the events have here."""
    there: dict[tuple, int] = {}
    names: dict[int, tuple] = {}
    seen: Counter = Counter()
    for event in review.events_in(connection):
        names[event.id] = _identity(vars(event), names.get(event.of), seen)
        there[names[event.id]] = event.id
    here: dict[int, int] = {0: 0}
    own: dict[int, tuple] = {}
    seen.clear()
    added = 0
    following = max(names, default=0) + 1
    for row in rows:
        own[row["id"]] = _identity(row, own.get(row["of"]), seen)
        number = there.get(own[row["id"]])
        if number is None:
            here[row["id"]] = following
            numbers = (here.get(row[name]) for name in ("seen", "of", "bulk"))
            number = add(connection, row["image_id"], row["decision"], row["boxes"], row["reviewer"], row["note"],
                         row["decided_at"], *numbers)  # fmt: skip
            following, added = number + 1, added + 1
        here[row["id"]] = number
    return added


def _identity(row: Mapping[str, Any], about: tuple | None, seen: Counter) -> tuple:
    """What tells an event from others wherever it is: all but its numbers, and how many alike came before."""
    values = (row["image_id"], row["decision"], json.dumps(row["boxes"]), row["reviewer"], row["note"],
              row["decided_at"], about)  # fmt: skip
    seen[values] += 1
    return (*values, seen[values])
