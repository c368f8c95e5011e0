"""The decisions database: it only grows, the latest decision counts, several writers may share it."""

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.review import schema
from xray_debug.review.decisions import COLUMNS, SCHEMA_VERSION, Conflict, Locked, ReviewDB, ReviewError


@pytest.fixture
def review(tmp_path):
    return ReviewDB(tmp_path / "review.sqlite")


def test_latest_decision_counts_and_history_stays(review):
    review.decide("a.png", "approve", reviewer="ada", note="clear")
    review.decide("b.png", "reject")
    review.decide("a.png", "edit", [(1, 2, 30, 40)], "bob")
    latest = review.decisions()
    assert latest["image_id"].tolist() == ["a.png", "b.png"]
    assert latest["decision"].tolist() == ["edit", "reject"]
    assert latest["boxes"].tolist() == [[[1, 2, 30, 40]], None]
    history = review.history("a.png")
    assert history["decision"].tolist() == ["approve", "edit"]
    assert history["reviewer"].tolist() == ["ada", "bob"]
    assert history["note"].tolist() == ["clear", ""]
    assert len(review.history()) == 3
    assert history["decided_at"].is_monotonic_increasing


def test_empty_file_has_no_decisions(review):
    assert list(review.decisions().columns) == COLUMNS
    assert review.latest() == [] and review.of("x.png") is None and review.version("x.png") == review.count() == 0
    assert len(review.decisions()) == len(review.history("x.png")) == 0


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["approve", "reject"])), max_size=8))
def test_decisions_are_the_last_of_the_history(tmp_path_factory, made):
    review = ReviewDB(tmp_path_factory.mktemp("review") / "review.sqlite")
    for image_id, decision in made:
        review.decide(image_id, decision)
    assert dict(review.decisions()[["image_id", "decision"]].values.tolist()) == dict(made)
    assert review.history()[["image_id", "decision"]].values.tolist() == [list(pair) for pair in made]


@pytest.mark.parametrize(
    ("decision", "boxes", "words"),
    [
        ("maybe", None, "approve, reject, edit, exclude, got 'maybe'"),
        ("edit", None, "needs boxes"),
        ("approve", [(0, 0, 1, 1)], "takes no boxes"),
        ("edit", [(0, 0, 1)], "four numbers"),
        ("edit", [(5, 0, 5, 1)], "expected 0 <= x0 < x1"),
        ("edit", [(-1, 0, 5, 1)], "expected 0 <= x0 < x1"),
        ("edit", [(0, 0, float("nan"), 1)], "finite"),
        ("edit", ["abcd"], "boxes of a.png"),
    ],
)
def test_bad_decisions_are_refused_and_not_stored(review, decision, boxes, words):
    with pytest.raises(ReviewError, match=words):
        review.decide("a.png", decision, boxes)
    assert len(review.history()) == 0


@pytest.mark.parametrize("image_id", ["", None, 3])
def test_an_image_needs_a_name(review, image_id):
    with pytest.raises(ReviewError, match="expected a file name"):
        review.decide(image_id, "approve")


def test_names_are_data_not_sql(review):
    name = "x'); DROP TABLE decisions; --.png"
    review.decide(name, "reject", note="'; DELETE FROM decisions")
    assert review.decisions()["image_id"].tolist() == [name]


def test_boxes_from_arrays_are_stored_as_whole_pixels(review):
    review.decide("a.png", "edit", np.array([[0.4, 1.2, 8.1, 9.0]]))
    assert review.decisions()["boxes"][0] == [[0, 1, 9, 9]]
    review.decide("a.png", "edit", [])
    assert review.decisions()["boxes"][0] == []


def test_rows_cannot_be_changed_or_deleted(review):
    review.decide("a.png", "approve")
    connection = sqlite3.connect(review.path)
    for statement in ("UPDATE events SET decision = 'reject'", "DELETE FROM events",
                      "INSERT OR REPLACE INTO events SELECT 1, 'a.png', 'reject', NULL, '', '', '', NULL, NULL, NULL"):
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            connection.execute(statement)
    connection.close()
    assert review.decisions()["decision"].tolist() == ["approve"]


def test_many_writers_lose_nothing(tmp_path):
    path = tmp_path / "review.sqlite"

    def write(writer: int) -> None:
        review = ReviewDB(path)  # all of them make the file at once
        for i in range(10):
            review.decide(f"{i}.png", "approve", reviewer=str(writer))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    review = ReviewDB(path)
    assert len(review.history()) == 60
    assert len(review.decisions()) == 10


def test_foreign_and_newer_files_are_refused(tmp_path):
    with pytest.raises(ReviewError, match="folder does not exist"):
        ReviewDB(tmp_path / "missing" / "review.sqlite")
    (tmp_path / "text.sqlite").write_text("not a database at all, but long enough to look at" * 9)
    with pytest.raises(ReviewError, match="text.sqlite: the review file cannot be used"):
        ReviewDB(tmp_path / "text.sqlite")
    newer = ReviewDB(tmp_path / "newer.sqlite")
    connection = sqlite3.connect(newer.path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(ReviewError, match="expected a review file of version"):
        ReviewDB(newer.path)
    connection = sqlite3.connect(tmp_path / "other.sqlite")
    connection.execute("CREATE TABLE something (a)")
    connection.close()
    with pytest.raises(ReviewError, match="another program's tables"):
        ReviewDB(tmp_path / "other.sqlite")


def test_review_needs_neither_torch_nor_streamlit():
    code = "\n".join(["import sys, xray_debug.review.decisions, xray_debug.review.view",
                      "print({'torch', 'streamlit'} & set(sys.modules))"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parents[2])  # fmt: skip
    assert done.stdout.strip() == "set()"


def test_exclude_is_a_decision_without_boxes(review):
    number = review.decide("a.png", "exclude", reviewer="ada")
    assert review.of("a.png") | {"decided_at": ""} == {
        "id": number, "image_id": "a.png", "decision": "exclude", "boxes": None, "reviewer": "ada", "note": "",
        "decided_at": "", "seen": None, "withdrawn": False, "of": None, "bulk": None}  # fmt: skip


@pytest.mark.parametrize("box", [[0, 0, 61, 5], [0, 0, 5, 41], [60, 0, 61, 1], [9000, 2, 9500, 43]])
def test_a_box_outside_the_image_is_refused(review, box):
    with pytest.raises(ReviewError, match=r"boxes of a.png: expected a box inside the image of 60 x 40 pixels, got"):
        review.decide("a.png", "edit", [[0, 0, 60, 40], box], size=(40, 60))
    assert review.count() == 0
    review.decide("a.png", "edit", [[0, 0, 60, 40]], size=(40, 60))
    assert review.of("a.png")["boxes"] == [[0, 0, 60, 40]]


def test_text_that_no_file_can_hold_is_refused(review):
    for named in ({"image_id": "\udcff.png"}, {"image_id": "a.png", "note": "\ud800"}):
        with pytest.raises(ReviewError, match="expected text that can be written as UTF-8"):
            review.decide(**named, decision="approve")
    assert review.count() == 0


def test_a_decision_on_an_outdated_view_is_not_stored(review):
    first = review.decide("a.png", "approve", reviewer="ada", seen=0)
    review.decide("b.png", "approve", reviewer="ada", seen=0)  # another image's event does not matter
    with pytest.raises(Conflict, match=r"not stored, since ada has decided approve at .* \(event 1\)") as error:
        review.decide("a.png", "reject", reviewer="bob", seen=0)
    assert (error.value.other.reviewer, error.value.other.decision, error.value.other.id) == ("ada", "approve", first)
    assert review.version("a.png") == first and review.of("a.png")["decision"] == "approve"
    second = review.decide("a.png", "reject", reviewer="bob", seen=error.value.other.id)  # on the fresh view
    assert review.of("a.png")["decision"] == "reject" and review.of("a.png")["seen"] == first
    review.undo("bob")  # the other page's view is outdated by that as well
    with pytest.raises(Conflict, match="bob has decided withdraw") as error:
        review.decide("a.png", "exclude", reviewer="ada", seen=second)
    assert (error.value.other.of, review.of("a.png")["decision"]) == (second, "approve")
    with pytest.raises(ReviewError, match="has seen event 99, which .* lacks"):
        review.decide("a.png", "exclude", seen=99)
    for seen in (-1, True, "1", 1.0):
        with pytest.raises(ReviewError, match="expected the number of an event or 0"):
            review.decide("a.png", "exclude", seen=seen)


def test_undo_withdraws_and_redo_reinstates_without_end(review):
    for name, decision in (("a.png", "approve"), ("b.png", "reject"), ("a.png", "exclude")):
        review.decide(name, decision, reviewer="ada")
    review.decide("c.png", "reject", reviewer="bob")
    undone = [review.undo("ada") for _ in range(4)]
    assert [(event.id, event.withdrawn) for event in undone[:3]] == [(3, True), (2, True), (1, True)]
    assert undone[3] is None and [row["image_id"] for row in review.latest()] == ["c.png"]
    redone = [review.redo("ada") for _ in range(4)]
    assert [(event.id, event.withdrawn) for event in redone[:3]] == [(1, False), (2, False), (3, False)]
    assert redone[3] is None and review.of("a.png")["decision"] == "exclude"
    assert review.undo("ada").id == 3 and review.of("a.png")["decision"] == "approve"  # what stood before
    history = review.history("a.png")
    assert history["decision"].tolist() == ["approve", "exclude", "withdraw", "withdraw", "reinstate", "reinstate",
                                            "withdraw"]  # fmt: skip
    assert history["withdrawn"].tolist() == [False, True] + [False] * 5
    assert review.count() == 11 and review.version("a.png") == 11
    assert review.undo("nobody") is None and review.redo("bob") is None
    review.decide("d.png", "approve", reviewer="ada")
    assert review.redo("ada") is None  # a new decision ends what could be done again


def test_of_two_reviewers_each_undoes_their_own(review):
    review.decide("a.png", "approve", reviewer="ada")
    review.decide("a.png", "reject", reviewer="bob")
    assert review.undo("ada").reviewer == "ada" and review.of("a.png")["decision"] == "reject"
    review.redo("ada")
    assert review.of("a.png")["decision"] == "reject"  # bob's is later and goes on to count
    review.undo("bob")
    assert review.of("a.png")["decision"] == "approve"


STEPS = st.lists(st.sampled_from(["ada a.png approve", "ada a.png reject", "ada b.png reject", "bob a.png exclude",
                                  "ada undo", "ada redo", "bob undo", "bob redo"]), max_size=25)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_undo_and_redo_are_those_of_an_editor(tmp_path_factory, steps):
    """Against two stacks for each reviewer."""
    review = ReviewDB(tmp_path_factory.mktemp("review") / "review.sqlite")
    done, undone, counts = {"ada": [], "bob": []}, {"ada": [], "bob": []}, {}
    for step in steps:
        who, *what = step.split()
        if what == ["undo"]:
            found = review.undo(who)
            assert (found and found.id) == (done[who][-1] if done[who] else None)
            undone[who] += [done[who].pop()] if done[who] else []
        elif what == ["redo"]:
            found = review.redo(who)
            assert (found and found.id) == (undone[who][-1] if undone[who] else None)
            done[who] += [undone[who].pop()] if undone[who] else []
        else:
            number = review.decide(*what, reviewer=who)
            counts[number] = what
            done[who].append(number)
            undone[who].clear()
    standing = sorted(done["ada"] + done["bob"])
    latest = {counts[number][0]: counts[number][1] for number in standing}
    assert {row["image_id"]: row["decision"] for row in review.latest()} == latest
    assert {event.id for event in review.events() if event.withdrawn} == set(counts) - set(standing)


def test_a_bulk_is_stored_whole_and_withdrawn_at_one_stroke(review):
    review.decide("b.png", "reject", reviewer="ada")
    rows = [{"image_id": f"{name}.png", "decision": "approve", "seen": seen}
            for name, seen in (("a", 0), ("b", 1), ("c", 0))]  # fmt: skip
    assert review.decide_many(rows, "ada", "all of one kind") == 3
    assert {row["note"] for row in review.latest()} == {"all of one kind"}
    with pytest.raises(Conflict):  # one outdated view, and none is stored
        review.decide_many([{"image_id": "d.png", "decision": "reject", "seen": 0}, *rows], "bob")
    with pytest.raises(ReviewError, match="decision on : expected|image_id: expected a file name"):
        review.decide_many([{"image_id": "d.png", "decision": "reject"}, {"image_id": "", "decision": "reject"}], "bob")
    assert review.count() == 4 and review.decide_many([]) == 0
    assert review.undo("ada").image_id == "c.png"
    assert [(row["image_id"], row["decision"]) for row in review.latest()] == [("b.png", "reject")]
    assert review.redo("ada").image_id == "c.png"
    assert [row["decision"] for row in review.latest()] == ["approve"] * 3
    review.undo("ada")
    assert review.undo("ada").decision == "reject" and review.latest() == []


def test_disagreement_stays_visible_after_the_last_word(review):
    review.decide("a.png", "approve", reviewer="ada")
    review.decide("a.png", "reject", reviewer="bob")
    review.decide("b.png", "edit", [[1, 2, 3, 4], [5, 6, 7, 8]], "ada")
    review.decide("b.png", "edit", [[5, 6, 7, 8], [1, 2, 3, 4]], "bob")  # the same boxes
    review.decide("c.png", "edit", [[1, 2, 3, 4]], "ada")
    review.decide("c.png", "edit", [[1, 2, 3, 5]], "bob")
    review.decide("d.png", "approve", reviewer="ada")
    review.decide("d.png", "reject", reviewer="ada")  # one person changes their mind
    assert review.disagreements() == {"a.png", "c.png"}
    review.decide("a.png", "reject", reviewer="ada")
    assert review.disagreements() == {"c.png"}
    review.undo("ada")
    review.undo("bob")
    assert review.disagreements() == {"a.png"}


def test_agreement_of_each_pair_is_cohens_kappa(review):
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(0)
    words = {name: rng.choice(["approve", "reject", "exclude"], 40, p=[0.6, 0.3, 0.1]) for name in ("ada", "bob")}
    for name, own in words.items():
        for i, word in enumerate(own):
            review.decide(f"{i + 5 * (name == 'bob')}.png", word, reviewer=name)
    review.decide("0.png", "approve", reviewer="eve")
    with_ada, with_eve = review.agreement()
    assert (with_ada.pair, with_ada.images) == (("ada", "bob"), 35)
    assert with_ada.kappa == pytest.approx(cohen_kappa_score(words["ada"][5:], words["bob"][:35]), abs=1e-12)
    assert with_ada.interval.low < with_ada.kappa < with_ada.interval.high
    assert (with_eve.pair, with_eve.images) == (("ada", "eve"), 1)


# ------------------------------------------------------------------------------------------------- the file

VERSION_1 = """
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    image_id TEXT NOT NULL CHECK (length(image_id) > 0),
    decision TEXT NOT NULL CHECK (decision IN ('approve', 'reject', 'edit')),
    boxes TEXT CHECK ((decision = 'edit') = (boxes IS NOT NULL)),
    reviewer TEXT NOT NULL, note TEXT NOT NULL, decided_at TEXT NOT NULL);
CREATE INDEX decisions_of_image ON decisions (image_id, id);
CREATE TRIGGER decisions_stay BEFORE UPDATE ON decisions BEGIN SELECT RAISE(ABORT, 'decisions are never changed'); END;
CREATE TRIGGER decisions_last BEFORE DELETE ON decisions BEGIN SELECT RAISE(ABORT, 'decisions are never deleted'); END;
PRAGMA user_version = 1;
"""
OLD = [(1, "a.png", "approve", None, "ada", "", "2026-01-02T03:04:05.678+00:00"),
       (2, "b.png", "edit", "[[1, 2, 30, 40]]", "bob", "no 'R'", "2026-01-02T03:04:06.000+00:00"),
       (3, "a.png", "reject", None, "", "", "2026-01-02T03:04:07.000+00:00")]  # fmt: skip


def version_1(path: Path) -> Path:
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)
    connection.executemany("INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?)", OLD)
    connection.commit()
    connection.close()
    return path


def test_a_file_of_the_first_version_keeps_every_decision(tmp_path):
    review = ReviewDB(version_1(tmp_path / "review.sqlite"))
    found = [(e.id, e.image_id, e.decision, None if e.boxes is None else str(e.boxes), e.reviewer, e.note,
              e.decided_at) for e in review.events()]  # fmt: skip
    assert found == OLD
    assert [row["decision"] for row in review.latest()] == ["reject", "edit"]
    assert review.decide("c.png", "exclude", seen=0) == 4
    assert ReviewDB(review.path).count() == 4
    connection = sqlite3.connect(review.path)
    assert connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION == 2
    assert not connection.execute("SELECT count(*) FROM sqlite_master WHERE name LIKE 'decisions%'").fetchone()[0]
    connection.close()


INTERRUPTED = """
import os, signal, sqlite3, sys
from xray_debug.review import schema
from xray_debug.review.decisions import ReviewDB
statements = list(schema._statements(schema._SCHEMA + schema._FROM_1))
after = int(sys.argv[2]) % (len(statements) + 1)

def interrupted(script):
    yield from statements[:after]
    os.kill(os.getpid(), signal.SIGKILL) if hasattr(signal, "SIGKILL") else os._exit(9)

schema._statements = interrupted
ReviewDB(sys.argv[1])
"""


@pytest.mark.parametrize("after", [0, 1, 9, -2, -1])
def test_a_killed_change_of_version_leaves_the_old_file(tmp_path, after):
    path = version_1(tmp_path / "review.sqlite")
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, str(path), str(after)], cwd=Path(__file__).parents[2],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode in (-9, 9), done.stderr
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone()[0] == 1
    assert connection.execute("SELECT * FROM decisions ORDER BY id").fetchall() == OLD
    connection.close()
    assert [event.id for event in ReviewDB(path).events()] == [1, 2, 3]


def test_a_locked_file_is_told_at_once(review):
    review.decide("a.png", "approve")
    other = sqlite3.connect(review.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(Locked, match=r"review.sqlite: the review file is locked by another program") as error:
            review.decide("b.png", "approve")
        assert "\n" not in str(error.value)
        assert review.of("a.png")["decision"] == "approve"  # a reader does not wait
        assert ReviewDB(review.path).count() == 1
    finally:
        other.close()
    assert review.decide("b.png", "approve") == 2
    assert schema.WAIT_SECONDS <= 2


WRITER = """
import sys
from xray_debug.review.decisions import ReviewDB
review = ReviewDB(sys.argv[1])
for i in range(int(sys.argv[3])):
    print(review.decide(f"{i % 50}.png", "approve", reviewer=sys.argv[2], note=str(i)), flush=True)
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, str(count)], stdout=subprocess.PIPE,
                            text=True, cwd=Path(__file__).parents[2])  # fmt: skip


def test_of_two_processes_and_a_thousand_decisions_none_is_lost(tmp_path):
    path = tmp_path / "review.sqlite"
    children = [writer(path, name, 500) for name in ("ada", "bob")]
    told = {name: [int(line) for line in child.communicate(timeout=120)[0].split()]
            for name, child in zip(("ada", "bob"), children, strict=True)}  # fmt: skip
    assert [child.returncode for child in children] == [0, 0]
    events = ReviewDB(path).events()
    assert [event.id for event in events] == list(range(1, 1001))
    for name, numbers in told.items():
        own = [event for event in events if event.reviewer == name]
        assert [event.id for event in own] == numbers and [event.note for event in own] == [str(i) for i in range(500)]


def test_what_was_acknowledged_outlives_a_kill(tmp_path):
    path = tmp_path / "review.sqlite"
    child = writer(path, "ada", 100_000)
    told = [int(child.stdout.readline()) for _ in range(60)]
    child.kill()
    told += [int(line) for line in child.communicate()[0].splitlines(keepends=True) if line.endswith("\n")]
    found = [event.id for event in ReviewDB(path).events()]
    assert found[: len(told)] == told and len(found) <= len(told) + 1
    assert ReviewDB(path).decide("a.png", "reject") == len(found) + 1
