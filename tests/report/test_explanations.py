"""What the report says of a run's explanations, worked out by hand on a made-up run."""

import numpy as np
import pandas as pd
import pytest
from report_fixture import BOX, SIDE, STAGES, make_run, small_config

from xray_debug.report.explanations import MEASURES, SANITY, explanations
from xray_debug.report.html import render_html
from xray_debug.report.inputs import read_run
from xray_debug.report.markdown import render_markdown
from xray_debug.report.report import write_report
from xray_debug.run.store import Store


@pytest.fixture(scope="module")
def config():
    return small_config(report={"bootstrap": 100, "max_flagged": 1})


@pytest.fixture
def store(tmp_path, config):
    return make_run(tmp_path / "run", config, test_sets=("test",))


def said(store, config):
    run = read_run(store, config, STAGES)
    return run, explanations(run, 200, 0)


def test_means_over_the_explained_cases(store, config):
    table = store.table("explanations")
    table["deletion"], table["sparseness"] = [0.1, 0.2, 0.3, 0.6], [0.5, np.nan, 0.7, 0.6]
    store.write_table("explanations", table)
    _, found = said(store, config)
    assert found["cases"] == 4 and found["hardly_moved"] == 1
    assert found["deletion"]["value"] == pytest.approx(0.3) and found["deletion"]["cases"] == 4
    assert 0.1 <= found["deletion"]["low"] < 0.3 < found["deletion"]["high"] <= 0.6
    assert found["sparseness"]["value"] == pytest.approx(0.6) and found["sparseness"]["cases"] == 3
    assert found["objective"]["value"] == pytest.approx(-1.25)


def test_where_the_maps_look_is_measured_in_what_the_model_sees(store, config):
    """The view squeezes the film: a box of the film covers these pixels of the 32 x 32 view."""
    run, found = said(store, config)
    side, wide = 32, SIDE + 4
    x0, x1 = (round(x * side / wide) for x in BOX[::2])
    y0, y1 = (round(y * side / SIDE) for y in BOX[1::2])
    mass, seen = [], 0
    for row in store.saliency_maps(["image_id", "saliency"]):
        if row["image_id"] not in run.boxes:
            continue
        seen += 1
        steps = (np.arange(side) + 0.5) * 7 / side - 0.5  # bilinear from 7 x 7, pixel centres aligned
        low = np.clip(np.floor(steps), 0, 6).astype(int)
        part = np.clip(steps, 0, 6) - low
        high = np.minimum(low + 1, 6)
        rows = row["saliency"][low] * (1 - part)[:, None] + row["saliency"][high] * part[:, None]
        fine = rows[:, low] * (1 - part) + rows[:, high] * part
        mass.append(fine[y0:y1, x0:x1].sum() / fine.sum())
    assert 0 < seen < 4 and found["relevance_mass"]["cases"] == seen
    assert found["relevance_mass"]["value"] == pytest.approx(np.mean(mass), abs=1e-5)
    assert found["text_area"]["value"] == pytest.approx((y1 - y0) * (x1 - x0) / side**2)
    assert 0 <= found["relevance_rank"]["value"] <= 1 and found["pointing_game"]["value"] in (0, 0.5, 1)


def test_of_very_many_cases_some_are_taken(store, config, monkeypatch):
    _, found = said(store, config)
    monkeypatch.setattr("xray_debug.report.explanations.MOST", 1)
    _, fewer = said(store, config)
    assert fewer["relevance_mass"]["cases"] == 1 < found["relevance_mass"]["cases"]
    assert fewer["deletion"]["cases"] == found["deletion"]["cases"]


def test_without_boxes_it_says_so(store, config):
    store.write_table("regions", store.table("regions").iloc[:0])
    run, found = said(store, config)
    assert "relevance_mass" not in found and "text_area" not in found
    assert {"what": "how much of the explanations lies in text",
            "why": "no explained case has text boxes that the model sees"} in run.not_shown  # fmt: skip


def test_sanity_checks_count_what_could_be_compared(store, config):
    _, found = said(store, config)
    assert found["sanity"]["cases"] == 2 and "mprt_all" not in found["sanity"]  # NaN in both
    assert found["sanity"]["mprt_output"] == {"value": 0.5, "low": 0.5, "high": 0.5, "cases": 2}
    store.write_table("sanity", store.table("sanity").iloc[:0])
    run, found = said(store, config)
    assert found["sanity"] is None
    assert {"what": "sanity checks of the explanations", "why": "explain.sanity_cases is 0"} in run.not_shown


def test_page_and_summary_tell_all_of_it(store, config):
    write_report(store, config, STAGES)
    report = Store(store.folder, {"report": store.folder / "report"}).json("report")
    page, summary = render_html(report, store.folder / "report"), render_markdown(report)
    for name, _ in [value for key, value in MEASURES.items() if key in report["explanations"]]:
        assert f">{name}</th>" in page and f"| {name} |" in summary
    for key in ("mprt_output", "random_logit", "max_sensitivity"):
        assert SANITY[key][0] in page and SANITY[key][0] in summary
    assert SANITY["mprt_all"][0] not in page  # there is no figure for it
    assert "The masks of 1 of them hardly moved: those maps say little." in page and "1 hardly moved" in summary


def test_a_run_without_explanations_has_no_such_section(store, config):
    store.write_table("explanations", store.table("explanations").iloc[:0])
    run, found = said(store, config)
    assert found is None and any("no image fits" in entry["why"] for entry in run.not_shown)
    assert isinstance(run.sanity, pd.DataFrame)
