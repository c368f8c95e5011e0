"""Events out of a review file and in again: the same bytes, nothing twice, nothing of a file with one bad row."""

import csv
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.review.decisions import ReviewDB, ReviewError
from xray_debug.review.exchange import FIELDS, read_events, write_events

NAMES = ["a.png", "b.png", "=cmd|'/c calc'!A1.png", "'quoted'.png", "a, \"b\"\r\n\tc.png", "ünï\u2028.png"]
SIZES = dict.fromkeys(NAMES, (40, 60))


def new(folder) -> ReviewDB:
    folder.mkdir(exist_ok=True)
    return ReviewDB(folder / "review.sqlite")


def filled(folder) -> ReviewDB:
    """Every kind of event, by two reviewers, with names and notes that are hard on CSV."""
    review = new(folder)
    review.decide("a.png", "approve", reviewer="ada", note="=HYPERLINK(\"http://x\")", seen=0)
    review.decide("a.png", "edit", [[1, 2, 30, 40], [5, 5, 9, 9]], "+bob", "line\nend\rtab\t", seen=1)
    review.decide_many([{"image_id": name, "decision": "exclude"} for name in NAMES[2:]], "@eve", "'=1")
    review.decide("b.png", "edit", [], "-", "﻿ =1+1")
    review.undo("@eve")
    review.redo("@eve")
    review.undo("ada")
    review.decide("a.png", "approve", reviewer="ada", note="=HYPERLINK(\"http://x\")")
    return review


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_export_import_export_gives_the_same_bytes(tmp_path, suffix):
    review = filled(tmp_path / "one")
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    count = write_events(review, first)
    assert count == review.count() == 17
    other = new(tmp_path / "two")
    assert read_events(other, first, SIZES) == (count, 0)
    assert other.events() == review.events() and other.latest() == review.latest()
    write_events(other, second)
    assert second.read_bytes() == first.read_bytes()
    assert read_events(other, first, SIZES) == (0, count)  # twice is once
    assert other.count() == count


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_what_others_decided_is_added_after_what_is_there(tmp_path, suffix):
    one, two = new(tmp_path / "one"), new(tmp_path / "two")
    for review in (one, two):
        review.decide("a.png", "approve", reviewer="ada")
    one.decide("b.png", "reject", reviewer="ada", seen=0)
    two.decide("b.png", "approve", reviewer="bob")
    two.decide("a.png", "reject", reviewer="bob", seen=1)
    two.undo("bob")
    two.decide_many([{"image_id": name, "decision": "exclude"} for name in ("a.png", "b.png")], "bob")
    write_events(two, tmp_path / f"two{suffix}")
    added, there = read_events(one, tmp_path / f"two{suffix}", SIZES)
    both_approved = one.events()[0].decided_at == two.events()[0].decided_at  # in the same millisecond: one event
    assert (added, there) == ((5, 1) if both_approved else (6, 0))
    latest = {row["image_id"]: (row["decision"], row["reviewer"]) for row in one.latest()}
    assert latest == {"a.png": ("exclude", "bob"), "b.png": ("exclude", "bob")}
    assert one.disagreements() == {"a.png", "b.png"}
    assert one.undo("bob").image_id == "b.png"  # the bulk is one still
    assert {row["image_id"]: row["decision"] for row in one.latest()} == {"a.png": "approve", "b.png": "approve"}
    assert read_events(one, tmp_path / f"two{suffix}", SIZES) == (0, 6)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
STEP = st.tuples(st.sampled_from(NAMES), st.sampled_from(["approve", "reject", "exclude", "undo", "redo"]), TEXT, TEXT)


@settings(max_examples=25, deadline=None)
@given(st.lists(STEP, max_size=8), st.sampled_from([".jsonl", ".csv"]))
def test_any_history_comes_back(tmp_path_factory, steps, suffix):
    folder = tmp_path_factory.mktemp("exchange")
    review, other = new(folder / "one"), new(folder / "two")
    for name, what, reviewer, note in steps:
        if what in ("undo", "redo"):
            getattr(review, what)(reviewer)
        else:
            review.decide(name, what, reviewer=reviewer, note=note)
    write_events(review, folder / f"x{suffix}")
    read_events(other, folder / f"x{suffix}", SIZES)
    assert other.events() == review.events()


def test_no_cell_is_a_formula(tmp_path):
    review = filled(tmp_path / "one")
    write_events(review, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert len(cells) == 18 * len(FIELDS)
    assert not [cell for cell in cells if cell.lstrip()[:1] in tuple("=+-@\t\r") and cell.lstrip()]
    assert "'=HYPERLINK(\"http://x\")" in cells and "''=1" in cells and "'-" in cells


def row(**changes) -> dict:
    when = "2026-01-31T12:00:00.000+00:00"
    return {"id": 1, "image_id": "a.png", "decision": "approve", "boxes": None, "reviewer": "ada", "note": "",
            "decided_at": when, "seen": None, "of": None, "bulk": None} | changes  # fmt: skip


BAD = [
    (row(image_id="gone.png"), "no image of this run is called gone.png"),
    (row(image_id=""), "no image of this run is called "),
    (row(decision="maybe"), "expected one of approve, reject, edit, exclude, withdraw, reinstate, got 'maybe'"),
    (row(decision="edit"), "decision on a.png: needs boxes"),
    (row(boxes=[[1, 2, 3, 4]]), "takes no boxes with 'approve'"),
    (row(decision="edit", boxes=[[50, 2, 70, 9]]), "expected a box inside the image of 60 x 40 pixels"),
    (row(decision="edit", boxes=[[5, 2, 5, 9]]), "expected 0 <= x0 < x1"),
    (row(decision="edit", boxes=[[1, 2, float("nan"), 9]]), "finite"),
    (row(decision="edit", boxes={"x": 1}), "boxes of a.png"),
    (row(decided_at="yesterday"), "decided_at: expected a time like"),
    (row(decided_at="2026-01-31T12:00:00"), "decided_at: expected a time like"),
    (row(id=0), "id: expected a whole number from 1 on, got 0"),
    (row(id=None), "id: expected a whole number from 1 on, got None"),
    (row(id=2**63), "id: expected a whole number from 1 on"),
    (row(seen=-1), "seen: expected a whole number or nothing from 0 on, got -1"),
    (row(of=1), "of: expected nothing with approve, got 1"),
    (row(id=9, decision="withdraw", of=7), "of: expected the id of a decision in a row before, got 7"),
    (row(id=9, decision="withdraw"), "of: expected the id of a decision in a row before, got None"),
    (row(id=9, decision="withdraw", of=8, reviewer="bob"), "of the same reviewer on the same image, got 8"),
    (row(id=9, decision="withdraw", of=8, boxes=[[1, 2, 3, 4]]), "boxes: expected nothing with withdraw"),
    (row(id=8), "id: expected a number above 8, that of the row before, got 8"),
]


@pytest.mark.parametrize(("bad", "words"), BAD)
def test_a_bad_row_is_named_and_nothing_is_added(tmp_path, bad, words):
    review, file = new(tmp_path / "one"), tmp_path / "x.jsonl"
    good = row(id=8 if bad["id"] in (8, 9) else 0)
    lines = [good] * (good["id"] == 8) + [bad]
    file.write_text("\n" + "".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ReviewError) as error:
        read_events(review, file, SIZES)
    assert str(error.value).startswith(f"{file}, row {len(lines) + 1}: ") and words in str(error.value)
    assert "\n" not in str(error.value) and review.count() == 0


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.jsonl", b"[1]\n", "x.jsonl, row 1: expected a JSON mapping of id, image_id"),
        ("x.jsonl", b"{\n", "x.jsonl, row 1: expected a JSON mapping"),
        ("x.jsonl", b"\xff\xfe", "x.jsonl: expected a readable file of events: it is not UTF-8"),
        ("x.jsonl", b"[" * 100_000, "x.jsonl, row 1: expected a JSON mapping"),
        ("x.csv", b"id,image_id\n1,a.png\n", "x.csv, row 1: expected the columns id, image_id"),
        ("x.csv", b"", "x.csv, row 1: expected the columns"),
        ("x.csv", (",".join(FIELDS) + "\n1,a.png\n").encode(), "x.csv, row 2: expected 10 cells, got 2"),
        ("x.csv", (",".join(FIELDS) + "\none,a.png,approve,,,,,,,\n").encode(), "row 2: expected whole numbers"),
        ("x.csv", (",".join(FIELDS) + '\n1,"a.png').encode(), "x.csv: expected a CSV file"),
        ("x.txt", b"", "x.txt: expected a file of events, .jsonl or .csv"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_refused(tmp_path, name, content, words):
    review, file = new(tmp_path / "one"), tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ReviewError, match=words.replace("[", r"\[")):
        read_events(review, file, SIZES)
    with pytest.raises(ReviewError, match="No such file"):
        read_events(review, tmp_path / "missing.csv", SIZES)
    assert review.count() == 0


def test_a_spreadsheets_csv_is_read(tmp_path):
    """With a byte order mark, its own line ends and only the quotes that it needs."""
    review, other = filled(tmp_path / "one"), new(tmp_path / "two")
    write_events(review, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    with (tmp_path / "y.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, lineterminator="\r\n").writerows(rows)
    read_events(other, tmp_path / "y.csv", SIZES)
    assert other.events() == review.events()


def test_a_locked_file_takes_nothing(tmp_path):
    import sqlite3

    review, other = filled(tmp_path / "one"), new(tmp_path / "two")
    write_events(review, tmp_path / "x.csv")
    lock = sqlite3.connect(other.path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    with pytest.raises(ReviewError, match="is locked by another program"):
        read_events(other, tmp_path / "x.csv", SIZES)
    lock.close()
    assert other.count() == 0
