"""The decisions database: it only grows, the latest decision counts, several writers may share it."""

import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.review.decisions import SCHEMA_VERSION, ReviewDB, ReviewError


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
    assert list(review.decisions().columns) == ["image_id", "decision", "boxes", "reviewer", "note", "decided_at"]
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
        ("maybe", None, "approve, reject, edit, got 'maybe'"),
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
    for statement in ("UPDATE decisions SET decision = 'reject'", "DELETE FROM decisions"):
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
    import subprocess

    code = "\n".join(["import sys, xray_debug.review.decisions, xray_debug.review.view",
                      "print({'torch', 'streamlit'} & set(sys.modules))"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parents[2])  # fmt: skip
    assert done.stdout.strip() == "set()"
