"""What the report says of the second reader: its recall beside its count, and what both missed, with the caveats."""

from __future__ import annotations

import html
import json
import re

import numpy as np
import pandas as pd
import pytest
from report_fixture import STAGES, complete, make_run, small_config

from xray_debug.report.inputs import read_run
from xray_debug.report.markdown import _text
from xray_debug.report.report import write_report
from xray_debug.report.second_reader import second_reader
from xray_debug.stats.capture_recapture import missed_interval, share_interval


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "fake", small_config())


@pytest.fixture
def told(store):
    """What is said of these readings; none: of the fixture's own."""

    def tell(changes: dict | None = None, **config) -> dict | None:
        run = read_run(store, small_config(**config), STAGES)
        if changes is not None:
            run.readings = run.readings.assign(**changes)
        return second_reader(run, 100, 3)

    return tell


def test_the_figures_are_those_of_the_table(store, told):
    found, rows = told(), store.table("readings")
    patients = rows["patient_id"].tolist()
    assert (found["images"], found["failed"]) == (len(rows), 0)
    for name in ("erased", "seen", "found", "alone"):
        assert found[name] == rows[name].sum() == found["rows"][0][name]
        assert sum(row[name] for row in found["rows"] if row["group"] == "label") == found[name]
    recall = share_interval(rows["seen"].to_numpy(int), rows["erased"].to_numpy(int), patients, 100, 3)
    assert (found["recall"], found["recall_low"], found["recall_high"]) == recall
    assert found["confirmed"] == pytest.approx(1 - found["alone"] / found["found"])
    counts = np.stack([rows["erased"], rows["seen"] + rows["alone"], rows["seen"]], axis=-1).astype(int)
    missed = missed_interval(counts, patients, 100, 3)
    assert (found["missed"], found["missed_low"], found["missed_high"]) == missed
    assert found["missed_per_image"] == missed.value / len(rows)
    assert found["boxes"] == pytest.approx(found["erased"] + found["alone"] + missed.value)


def test_the_sentences_hold_the_recall_the_estimate_and_both_caveats(told):
    found = told()
    whole = " ".join(found["says"])
    assert f"it sees {100 * found['recall']:.1f} % ({100 * found['recall_low']:.1f} to" in whole
    assert f"it would miss {100 - 100 * found['recall']:.1f} %" in whole
    assert f"both missed {found['missed']:.2f} boxes in these images ({found['missed_low']:.2f} to" in whole
    assert "too low where both miss the same faint letters" in whole and "too high by what" in whole


def test_html_markdown_pdf_and_json_say_it_beside_the_count(store, monkeypatch):
    config = small_config(report={"bootstrap": 100, "max_flagged": 1})
    monkeypatch.setattr("xray_debug.report.report._draw", lambda report, folder: {})
    drawn = []
    monkeypatch.setattr("xray_debug.report.paper.Paper.paragraph", lambda self, text, *more, **of: drawn.append(text))
    complete(store, "clean", second_reader="craft", seconds=1.0, images=9)
    path = write_report(store, config, STAGES)
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report["residual"]["detector"] == report["second_reader"]["detector"] == "craft"
    assert report["second_reader"]["asked"] == "auto"
    page = html.unescape((path.parent / "report.html").read_text(encoding="utf-8"))
    markdown = (path.parent / "report.md").read_text(encoding="utf-8")
    for sentence in report["second_reader"]["says"]:
        assert sentence in page and _text(sentence) in markdown
    assert " ".join(report["second_reader"]["says"]) in drawn
    left = report["residual"]["rows"][0]
    assert f"(craft) still reads text in {left['with_text']} of {left['images']} cleaned images" in markdown
    assert page.index("Text left, read by a second detector (craft)") < page.index("What craft sees of text")


@pytest.mark.parametrize(("changes", "said"), [
    ({"erased": 0, "seen": 0}, "Nothing was erased in the"),
    ({"found": 0, "seen": 0, "alone": 0}, "It found nothing in these originals"),
    ({"seen": 0, "found": 1, "alone": 1}, "no upper limit to what both missed"),
    ({"erased": 1, "seen": 1, "found": 1, "alone": 0}, "both missed 0.00 boxes in these images (0.00 to 0."),
])  # fmt: skip
def test_what_cannot_be_said_is_not_said(told, changes, said):
    found = told(changes)
    assert said in " ".join(found["says"]) and "None" not in " ".join(found["says"])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert not re.search(r"\b(nan|inf)\b", " ".join(found["says"]))


def test_few_boxes_seen_by_both_are_told(store, told):
    seen = pd.Series([1] * 3 + [0] * (len(store.table("readings")) - 3), dtype="Int64")
    found = told({"erased": 1, "seen": seen, "found": 1, "alone": 1 - seen})
    assert "Only 3 boxes were seen by both, so this is rough." in found["says"]


def test_images_that_it_failed_on_count_as_not_read(told):
    assert told({"found": pd.NA}) is None
    some = told({"found": pd.Series([pd.NA, 1, 1], dtype="Int64"), "seen": 1, "alone": 0, "erased": 1})
    assert some["images"] == 2 and some["failed"] > 0


def test_a_run_whose_reader_read_no_original_says_so(store):
    run = read_run(store, small_config(), STAGES)
    run.readings = run.readings.iloc[:0]
    assert second_reader(run, 100, 3) is None
    assert any("detect.recall_images" in entry["why"] for entry in run.not_shown)
    run.readings = None
    assert second_reader(run, 100, 3) is None
