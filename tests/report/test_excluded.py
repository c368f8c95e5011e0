"""Images that reviewers have excluded: out of every row of the scores and of the counts of cleaning, and said."""

import pandas as pd
import pytest
from report_fixture import STAGES, TEST, TRAIN, make_run, small_config

from xray_debug.report.cleaning import faults, repaired_flags
from xray_debug.report.inputs import read_cells, read_run
from xray_debug.report.tables import table4

EXCLUDED = {"test-003.png": 4, "reversed-001.png": 7, "train-002.png": 9}


@pytest.fixture
def run(tmp_path):
    config = small_config()
    store = make_run(tmp_path / "run", config)
    log = store.table("changes")
    more = pd.DataFrame([{"image_id": name, "boxes": "", "file": "", "label": "normal", "source": "nih",
                          "split": "test", "test_set": "test"} for name in EXCLUDED])  # fmt: skip
    log = log[~log["image_id"].isin(list(EXCLUDED))]
    store.write_table("changes", pd.concat([log, more], ignore_index=True))
    store.write_json("cleaning facts", {"failed": {}, "remarks": [], "excluded": EXCLUDED})
    return read_run(store, config, STAGES)


def test_every_row_of_the_scores_is_over_the_same_images(run):
    cells, _ = read_cells(run)
    assert len(table4(cells, 100, 0)) == 12
    for (_, _, test_set), cell in cells.items():
        assert len(cell.labels) == TEST - 1 and not set(cell.image_ids) & set(EXCLUDED), test_set


def test_the_counts_of_cleaning_are_of_the_cleaned_dataset(run):
    flags = repaired_flags(run)
    assert len(flags) == TRAIN + 2 * TEST - 1 - len(EXCLUDED)  # one image is set aside
    assert not set(flags["image_id"]) & set(EXCLUDED) and not set(run.changes["image_id"]) & set(EXCLUDED)


def test_the_report_says_how_many_and_which(run):
    assert {"what": "3 images that reviewers have excluded, 2 of them test images",
            "why": "they are in no cleaned dataset, and in no row of the scores; the audit has seen them"
            } in run.not_shown  # fmt: skip
    found = faults(run)
    assert found["excluded"] == 3
    assert {"stage": "review", "problem": "test-003.png: excluded by event 4"} in found["later"]
