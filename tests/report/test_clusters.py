"""Candidates in the report: contact sheets of the films that are known, bounded in number, and kinds of text."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from report_fixture import make_clusters, make_verdict

from xray_debug.report.clusters import GAP, MOST, SIDE, candidate_rows, clusters, contact_sheet, sheet_bytes
from xray_debug.report.html import kind_rows, unit_of


def small_run(left: list, maps=("a.png",)):
    views = np.random.default_rng(0).integers(0, 255, (3, 32, 32)).astype(np.uint8)
    store = SimpleNamespace(views=lambda: views, folder="RUN",
                            saliency=lambda name: np.eye(7, dtype=np.float32) if name in maps else None)  # fmt: skip
    return SimpleNamespace(store=store, usable=pd.DataFrame({"image_id": ["a.png", "b.png", "c.png"]}),
                           leave_out=lambda *why: left.append(why))  # fmt: skip


def found(cases, count=1) -> dict:
    kind = make_clusters()["candidates"][0]
    return {**make_clusters(), "candidates": [{**kind, "cases": list(cases)} for _ in range(count)]}


@pytest.mark.parametrize(("maps", "rows"), [(("a.png",), 2), ((), 1)])
def test_a_sheet_has_a_column_for_each_known_film(tmp_path, maps, rows):
    told = clusters(small_run([], maps), found(["a.png", "gone.png", "c.png"]), tmp_path)
    (candidate,) = told["candidates"]
    assert candidate["figure"] == f"{tmp_path.name}/cluster-01.png"
    with Image.open(tmp_path / "cluster-01.png") as sheet:
        assert sheet.size == (2 * SIDE + GAP, rows * SIDE + (rows - 1) * GAP)
    assert sheet_bytes(tmp_path / "cluster-01.png")[8:12] == b"WEBP"


def test_sheets_are_bounded_and_what_is_left_out_is_said(tmp_path):
    left = []
    told = clusters(small_run(left), found(["a.png"], MOST + 2), tmp_path)
    assert [bool(c["figure"]) for c in told["candidates"]] == [True] * MOST + [False] * 2
    assert len(list(tmp_path.iterdir())) == MOST and left[0][0] == "contact sheets of 2 candidates"
    assert clusters(small_run([]), found(["gone.png"]), tmp_path)["candidates"][0]["figure"] is None
    assert clusters(small_run([]), None, tmp_path) is None and candidate_rows(None) == []


def test_views_that_cannot_be_read_are_named(tmp_path):
    left, run = [], small_run([])
    run.leave_out = lambda *why: left.append(why)

    def broken():
        raise ValueError("RUN/prepare/views: not readable")

    run.store.views = broken
    assert clusters(run, found(["a.png"]), tmp_path)["candidates"][0]["figure"] is None
    assert "not readable" in left[0][1]


def test_the_same_films_give_the_same_sheet(tmp_path):
    film = np.random.default_rng(1).integers(0, 255, (40, 40)).astype(np.uint8)
    for name in ("one.png", "two.png"):
        contact_sheet([(film, np.eye(5, dtype=np.float32)), (film, None)], tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_kinds_of_text_are_lines_below_the_verdict():
    rows = kind_rows(make_verdict())
    assert [row["label"] for row in rows] == ["normal", "pneumonia", "COVID-19"]
    assert rows[0]["kind"] == "lone letter" and rows[0]["n"] == 19 and rows[0]["difference"]["value"] == 0.39
    assert kind_rows(None) == []
    word = {"n": 8, "effect": {}, "control": {}, "difference": {}}
    together = {"overall": {"unit": "patients", "kinds": {"word": word}}, "classes": {}}
    assert [(row["label"], row["kind"]) for row in kind_rows(together)] == [("all classes", "word")]
    assert unit_of(kind_rows(together)) == "patients"  # as the verdict counts them
