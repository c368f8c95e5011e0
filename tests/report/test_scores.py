"""The section "Scores": against scikit-learn on the same images; groups worst first; what each page says of them."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from report_fixture import STAGES, make_run, small_config
from scores_fixture import CLASSES, make_cell
from sklearn.metrics import accuracy_score, average_precision_score, recall_score, roc_auc_score

from xray_debug.report.calibration import calibration
from xray_debug.report.groups import ALL, LEAST, attributes_of, groups, whole_groups, worst_groups
from xray_debug.report.report import write_report
from xray_debug.report.scores import scores
from xray_debug.stats.calibration import expected_calibration_error
from xray_debug.stats.intervals import wilson
from xray_debug.stats.ranking import MEASURES
from xray_debug.stats.scores import Cell

KEY = ("original", "original", "test")


def run_of(cell: Cell, **attributes) -> SimpleNamespace:
    """What `groups` reads of a run: the manifest's rows of the cell's images."""
    return SimpleNamespace(usable=pd.DataFrame({"image_id": cell.image_ids, **attributes}))


def owned(cell: Cell, patients) -> Cell:
    return Cell(cell.image_ids, cell.labels, cell.sources, cell.predicted, cell.probabilities, cell.seeds, CLASSES,
                np.asarray(patients))  # fmt: skip


def test_scores_are_scikit_learns_with_intervals_about_them():
    cell = make_cell(90, skill=0.6)
    (row,) = scores({KEY: cell}, 200, 0)
    wanted = [roc_auc_score(cell.labels, p, multi_class="ovr") for p in cell.probabilities]
    assert row["auroc"] == pytest.approx(np.mean(wanted))
    for k, line in enumerate(row["classes"]):
        precision = [average_precision_score(cell.labels == k, p[:, k]) for p in cell.probabilities]
        assert line["class"] == CLASSES[k] and line["auprc"] == pytest.approx(np.mean(precision))
        assert line["images"] == 30 and line["share"] == pytest.approx(1 / 3)
    for found in (row, *row["classes"]):
        assert all(found[f"{name}_low"] <= found[name] <= found[f"{name}_high"] for name in MEASURES[:2])
    assert (row["images"], row["patients"], row["seeds"]) == (90, None, 2)


def test_images_of_a_patient_widen_the_intervals():
    cell = make_cell(240, seeds=(0,), skill=0.6)
    alone, together = (scores({KEY: owned(cell, owners)}, 300, 0)[0]
                       for owners in (np.arange(240), np.arange(240) // 24))  # fmt: skip
    assert together["patients"] == 10 and alone["auroc"] == together["auroc"]
    copies = cell.take(np.repeat(np.arange(60), 4))
    copied = scores({KEY: owned(copies, np.repeat(np.arange(60), 4))}, 300, 0)[0]
    assert [copied[f"auroc{end}"] for end in ("", "_low", "_high")] == pytest.approx(
        [scores({KEY: cell.take(np.arange(60))}, 300, 0)[0][f"auroc{end}"] for end in ("", "_low", "_high")])


def test_a_class_that_is_not_among_the_images_is_not_judged():
    cell = make_cell(40, labels=np.arange(40) % 2)
    (row,) = scores({KEY: cell}, 100, 0)
    assert np.isnan(row["classes"][2]["auroc"]) and not np.isnan(row["auroc"])
    assert row["auroc"] == pytest.approx(np.mean([line["auroc"] for line in row["classes"][:2]]))
    bare = Cell(cell.image_ids, cell.labels, cell.sources, cell.predicted, None, cell.seeds, CLASSES)
    assert scores({KEY: bare}, 100, 0) == []


def test_calibration_has_intervals_and_what_chance_gives():
    cell = make_cell(200, seeds=(0,), skill=0.5)
    (row,) = calibration({KEY: cell}, None, 200, 0)
    for name in ("ece", "brier", "overconfidence"):
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    assert row["overconfidence"] == pytest.approx(row["confidence"] - row["accuracy"])
    assert row["overconfidence_low"] > 0 and row["ece"] > row["ece_calibrated"] > 0  # it is right half as often as sure


def test_groups_are_scored_on_their_own_images_alone():
    cell = make_cell(120, skill=0.7)
    sexes = np.where(np.arange(120) % 4 < 2, "F", "M")
    found, _ = groups({KEY: cell}, run_of(cell, attr_sex=sexes), 100, 0)
    rows = {(row["attribute"], row["value"], row["label"]): row for row in found}
    assert len(rows) == len(found) and {attribute for attribute, *_ in rows} == {"source", "sex"}
    inside = np.flatnonzero(sexes == "F")
    whole, own = rows["sex", "F", ALL], rows["sex", "F", "pneumonia"]
    labels, of_class = cell.labels[inside], inside[cell.labels[inside] == 1]
    predicted = [p[inside] for p in cell.predicted]
    assert whole["images"] == 60 and own["images"] == len(of_class) == 20
    assert whole["accuracy"] == pytest.approx(np.mean([accuracy_score(labels, p) for p in predicted]))
    assert whole["recall"] == pytest.approx(np.mean([recall_score(labels, p, average="macro") for p in predicted]))
    recalls = [recall_score(labels, p, average=None)[1] for p in predicted]
    assert own["accuracy"] == pytest.approx(np.mean(recalls)) == pytest.approx(own["recall"])
    hits = sum(recalls) / 2 * 20
    assert (own["accuracy_low"], own["accuracy_high"]) == pytest.approx(tuple(wilson(hits, 20))[1:])
    areas = [roc_auc_score(labels == 1, p[inside, 1]) for p in cell.probabilities]
    assert own["auroc"] == pytest.approx(np.mean(areas))
    errors = [expected_calibration_error(p[of_class], cell.labels[of_class]) for p in cell.probabilities]
    assert own["ece"] == pytest.approx(np.mean(errors)) and np.array(whole["confusion"]).sum() == 120


def test_the_worst_group_comes_first_and_small_ones_are_named_and_not_ranked():
    cell = make_cell(150, seeds=(0,), skill=1.0)
    sites = np.array(["good"] * 70 + ["bad"] * 70 + ["tiny"] * 10)
    wrong = np.flatnonzero((sites == "bad") & (cell.labels == 2))
    predicted = cell.predicted.copy()
    predicted[0, wrong[: len(wrong) // 2]] = 0
    predicted[0, 140:] = (cell.labels[140:] + 1) % 3  # all of them wrong, and too few
    owners = np.arange(150)
    owners[140:] = 140 + np.arange(10) // 2
    cell = owned(Cell(cell.image_ids, cell.labels, cell.sources, predicted, cell.probabilities, (0,), CLASSES), owners)
    found, left = groups({KEY: cell}, run_of(cell, attr_site=sites, attr_same=["x"] * 150), 100, 0)
    ranked = [row for row in found if row["rank"]]
    assert [row["rank"] for row in ranked] == list(range(1, len(ranked) + 1))
    assert [row["accuracy"] for row in ranked] == sorted(row["accuracy"] for row in ranked)
    assert (ranked[0]["attribute"], ranked[0]["value"], ranked[0]["label"]) == ("site", "bad", "COVID-19")
    assert "same" not in {row["attribute"] for row in found}  # one group is the whole
    assert all(row["patients"] >= LEAST for row in found)
    (small,) = [entry for entry in left if entry["attribute"] == "site"]
    assert small["groups"] == [{"value": "tiny", "label": ALL, "images": 10}]
    (worst,) = worst_groups({"groups": found}, 2)
    assert worst["rows"] == ranked[:2] and worst["of"] == len(ranked)
    assert {row["label"] for row in whole_groups({"groups": found})} == {ALL}


def test_groups_need_no_probabilities_and_take_originals_alone():
    cell = make_cell(60, seeds=(0,))
    bare = Cell(cell.image_ids, cell.labels, cell.sources, cell.predicted, None, (0,), CLASSES)
    cells = {KEY: bare, ("original", "cleaned", "test"): bare}
    found, _ = groups(cells, SimpleNamespace(usable=None), 100, 0)
    assert {row["tested_on"] for row in found} == {"original"}
    assert not {"auroc", "ece"} & set(found[0]) and found[0]["recall_low"] is not None
    assert set(attributes_of(SimpleNamespace(usable=None), cell)) == {"source"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    config = small_config(seeds=[0], report={"bootstrap": 100, "max_flagged": 1})
    store = make_run(tmp_path_factory.mktemp("runs") / "fake", config, test_sets=("test",))
    with pytest.MonkeyPatch.context() as patch:  # the figures of the tables are not what is asked for
        patch.setattr("xray_debug.report.report._draw", lambda report, folder: {})
        path = write_report(store, config, STAGES)
    return json.loads(path.read_text(encoding="utf-8")), path.parent


def test_every_page_tells_of_them(written):
    report, folder = written
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert html.index('id="table4"') < html.index('id="scores"') < html.index('id="classes"')
    part = html[html.index('id="scores"') : html.index('id="classes"')]
    worst = worst_groups(report)[0]["rows"][0]
    assert {row["attribute"] for row in report["groups"]} == {"source", "view"}
    assert f"{100 * worst['accuracy']:.1f}" in part and f"{100 * report['scores'][0]['auroc']:.1f}" in part
    assert "A&lt;P&gt;" in part and "A<P>" not in html and "fewer than 10 patients" in part
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert "## Scores" in markdown and "### The worst groups" in markdown and "A<P>" not in markdown
    assert f"| {worst['label']} | {worst['images']} | **{100 * worst['accuracy']:.1f}**" in markdown


def test_one_source_without_attributes_has_no_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("xray_debug.report.report._draw", lambda report, folder: {})
    config = small_config(seeds=[0], report={"bootstrap": 100, "max_flagged": 1})
    store = make_run(tmp_path / "run", config, test_sets=("test",))
    store.write_table("manifest", store.table("manifest").drop(columns="attr_view"))
    for name in ("predictions", "retrained predictions"):
        frame = store.table(name)
        store.write_table(name, frame[frame["without"] == ""].assign(source="one"))
    report = json.loads(write_report(store, config, STAGES).read_text(encoding="utf-8"))
    assert report["groups"] == []
    assert "No groups are shown" in store.path("page").read_text(encoding="utf-8")


def test_an_attribute_of_as_many_values_as_images_is_counted_and_not_scored(monkeypatch):
    """A date or a name: neither the report nor its time may grow with every image."""
    cell, taken, take = make_cell(300, seeds=(0,)), [], Cell.take
    monkeypatch.setattr(Cell, "take", lambda self, *a: taken.append(1) or take(self, *a))
    run = run_of(cell, attr_name=[f"n{number:03d}" for number in range(300)])
    rows, small = groups({KEY: cell}, run, 20, 0)
    names = [entry for entry in small if entry["attribute"] == "name"]
    assert [(entry["of"], len(entry["groups"]), entry["groups"][0]) for entry in names] == [
        (300, 100, {"value": "n000", "label": ALL, "images": 1})]  # fmt: skip
    assert not any(row["attribute"] == "name" for row in rows) and len(taken) < 30
