"""compare: what is shared, differences against scikit-learn and scipy, verdicts against the checks' cases, words."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from compare_fixture import finished_run
from report_fixture import CLASSES, small_config
from scipy.stats import binomtest
from scores_fixture import make_cell
from sklearn.metrics import f1_score, recall_score, roc_auc_score

from xray_debug.audit.checks import all_checks
from xray_debug.audit.hypotheses import ALL
from xray_debug.config import AuditConfig, ConfigError, ModelConfig
from xray_debug.report.compare import ALIKE, compare_runs, score_rows, shared_images
from xray_debug.report.compare_pages import render_html, render_markdown
from xray_debug.report.compare_verdicts import beyond, reads
from xray_debug.report.compare_words import UNSHARED, model_name, sentences
from xray_debug.report.inputs import read_run
from xray_debug.run.store import StoreError
from xray_debug.stats.delong import delong
from xray_debug.stats.tests import holm

CONFIG = small_config(seeds=[0], report={"bootstrap": 100})
KEY = ("original", "original", "test")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    return [finished_run(folder / name, strength, skill, seeds=[0])
            for name, strength, skill in (("first", 0.4, 0.5), ("second", 0.02, 0.97))]  # fmt: skip


@pytest.fixture(scope="module")
def report(stores):
    return compare_runs(*((store, CONFIG) for store in stores))


@pytest.fixture
def changed(stores):
    """Puts what a table of the second run is made into, and the table back afterwards."""
    kept = {}

    def change(name: str, act) -> None:
        frame = stores[1].table(name)
        kept.setdefault(name, frame)
        stores[1].write_table(name, act(frame))

    yield change
    for name, frame in kept.items():
        stores[1].write_table(name, frame)


def test_scores_are_scikit_learns_and_tests_are_exact():
    a, b = make_cell(90, seeds=(0,), skill=0.5), make_cell(90, seeds=(0,), skill=0.9, seed=1)
    rows = {(row["what"], row["class"]): row for row in score_rows(KEY, a, b, 200, 0)}
    accuracy, labels = rows["accuracy", ""], a.labels
    only = [int((x.correct[0] & ~y.correct[0]).sum()) for x, y in ((a, b), (b, a))]
    assert accuracy["p"] == pytest.approx(binomtest(only[0], sum(only)).pvalue)
    assert accuracy["difference"] == pytest.approx((only[1] - only[0]) / 90)
    for cell, side in ((a, "a"), (b, "b")):
        assert rows["macro F1", ""][side] == pytest.approx(f1_score(labels, cell.predicted[0], average="macro"))
        area = roc_auc_score(labels, cell.probabilities[0], multi_class="ovr")
        assert rows["AUROC, mean over classes", ""][side] == pytest.approx(area)
        recalls = recall_score(labels, cell.predicted[0], average=None)
        assert [rows["sensitivity", name][side] for name in CLASSES] == pytest.approx(recalls)
    own = labels == 1
    only = [int((x.correct[0] & ~y.correct[0])[own].sum()) for x, y in ((a, b), (b, a))]
    assert rows["sensitivity", "pneumonia"]["p"] == pytest.approx(binomtest(only[0], sum(only)).pvalue)
    test = delong(a.probabilities[0, :, 1], b.probabilities[0, :, 1], own)
    found = rows["AUROC", "pneumonia"]
    assert (found["p"], found["difference_low"], found["difference_high"]) == pytest.approx(
        (test.p, test.low, test.high))  # fmt: skip
    tested = [row for row in rows.values() if row["p"] is not None]
    assert [row["p_holm"] for row in tested] == pytest.approx(holm([row["p"] for row in tested]))
    assert accuracy["reads"] == "B is better" and rows["macro F1", ""]["reads"] == ""
    for row in rows.values():
        assert row["difference"] == pytest.approx(row["b"] - row["a"])
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]


def test_a_run_against_itself_differs_by_nothing(stores):
    found = compare_runs((stores[0], CONFIG), (stores[0], CONFIG))
    assert all(row[f"difference{end}"] == 0 for row in found["scores"] for end in ("", "_low", "_high"))
    assert {row["reads"] for row in found["scores"]} == {ALIKE, ""}
    assert all(row["change"] in (0, None) for row in found["verdicts"])
    assert {row["reads"] for row in found["verdicts"]} <= {"shown in both", "shown in neither"}


def test_a_model_that_was_given_is_not_said_to_be_trained_here(stores):
    given = CONFIG.model_copy(update={"model": ModelConfig(file="mine.pt", arch="resnet18", classes=list(CLASSES))})
    both = compare_runs((stores[0], given), (stores[1], given))
    one = compare_runs((stores[0], CONFIG), (stores[1], given))
    assert both["scores"][0]["trained_on"] == "as given" and both["sentences"][1].startswith("The models as given, on")
    assert one["scores"][0]["trained_on"] == "original, B as given"
    assert one["sentences"][1].startswith("Trained on original images (B as given), on")
    assert {row["trained_on"] for row in one["scores"]} == {"original, B as given", "cleaned", "control"}


def test_the_verdicts_stand_side_by_side(report):
    rows = {(row["test_set"], row["question"], row["label"]): row for row in report["verdicts"]}
    text = rows["test", "text", "normal"]
    assert text["a"]["shown"] and not text["b"]["shown"] and text["reads"] == "shown in A alone; weaker in B"
    assert text["change"] == pytest.approx(-0.38, abs=0.03) and text["change_high"] < -0.3 and text["cases"] == 12
    border = rows["test", "region:border", "normal"]
    assert border["reads"] == "shown in neither" and border["change_low"] < 0 < border["change_high"]
    few = rows["test", "text", "COVID-19"]  # three images with text
    assert few["change"] is None and few["cases"] == 3
    assert [row["test_set"] for row in report["verdicts"]] == ["test"] * 9 + ["reversed"] * 9


def test_the_change_is_that_of_the_same_cases(stores, report):
    tables = [store.table("cases").set_index("image_id") for store in stores]
    own = [t[(t["label"] == "normal") & (t["test_set"] == "test") & (t["text_visible"] > 0)] for t in tables]
    moved = [(t["effect_normal"] - t["control_effect_normal"]) for t in own]
    patients = stores[0].manifest().set_index("image_id")["patient_id"]
    expected = (moved[1] - moved[0]).groupby(patients).mean().mean()
    (row,) = [row for row in report["verdicts"]
              if (row["test_set"], row["question"], row["label"]) == ("test", "text", "normal")]  # fmt: skip
    assert row["change"] == pytest.approx(expected)


def test_effects_are_those_of_the_checks_own_questions():
    """A question's columns are known here by a rule; the checks themselves must find the same in them."""
    rng, count = np.random.default_rng(0), 60
    config = AuditConfig()
    cases = pd.DataFrame({"image_id": [f"i{n}" for n in range(count)], "label": np.resize(CLASSES, count),
                          "text_visible": rng.integers(0, 2, count)})  # fmt: skip
    prefixes = ["", "paste_", *(f"region_{name}_" for name in ("border", "field", "devices"))]
    for prefix in prefixes:
        for label in CLASSES:
            for kind in ("effect", "control_effect"):
                cases[f"{prefix}{kind}_{label}"] = np.where(rng.random(count) < 0.1, np.nan, rng.normal(size=count))
        cases[f"{prefix}p_inpainted"] = 0.5
    asked = 0
    for check in all_checks(config):
        for label in CLASSES:
            for h in check.hypotheses(cases, label):
                found = beyond(cases, h.name, label)
                assert found.to_numpy() == pytest.approx(h.effect - h.control), (check.name, h.name)
                asked += len(found) > 0
        for h in check.over_all_classes(cases, list(CLASSES)):
            assert sorted(beyond(cases, h.name, ALL)) == pytest.approx(sorted(h.effect - h.control))
            asked += 1
    assert asked >= 3 * 4 + 1
    assert not len(beyond(cases, "unheard of", "normal"))


@pytest.mark.parametrize(("shown", "low", "high", "said"), [
    ((True, True), -0.2, -0.1, "shown in both; weaker in B"), ((True, True), -0.1, 0.1, "shown in both"),
    ((True, False), -0.2, 0.1, "shown in A alone; a difference is not shown"),
    ((False, True), 0.1, 0.2, "shown in B alone; stronger in B"),
    ((False, True), -0.2, -0.1, "shown in B alone; a difference is not shown"),
    ((False, False), math.nan, math.nan, "shown in neither"), ((None, True), 0.1, 0.2, "not asked in A"),
])  # fmt: skip
def test_shown_and_not_shown_is_no_difference_by_itself(shown, low, high, said):
    sides = [None if side is None else {"shown": side} for side in shown]
    assert reads({"a": sides[0], "b": sides[1], "change_low": low, "change_high": high}) == said


def test_only_the_same_images_are_compared(stores, changed):
    names = [f"test-{n:03d}.png" for n in range(1, 8)]
    changed("predictions", lambda t: t[t["image_id"] != names[0]].assign(
        label=lambda rest: rest["label"].where(rest["image_id"] != names[1], "normal")))  # fmt: skip
    changed("retrained predictions", lambda t: t[~t["image_id"].isin(names[:2])])
    hashes = {names[2]: "other", names[3]: "same"}
    changed("manifest", lambda t: t.assign(sha256=t["image_id"].map(hashes).fillna("")))
    first = stores[0].table("manifest")
    stores[0].write_table("manifest", first.assign(sha256=np.where(first["image_id"].isin(names[2:4]), "same", "")))
    runs = [read_run(store, CONFIG, ()) for store in stores]
    stores[0].write_table("manifest", first)
    shared = shared_images(*runs)
    assert shared.counts == {"only_a": 1, "only_b": 0, "another_label": 1, "another_file": 1,
                             "contents_not_known": 72 - 4}  # fmt: skip
    assert len(shared.ids) == 69 and not set(names[:3]) & set(shared.ids) and names[3] in shared.ids
    found = compare_runs(*((store, CONFIG) for store in stores))
    row = next(row for row in found["scores"] if row["what"] == "accuracy" and row["test_set"] == "test")
    assert row["images"] == 34 and "left out: 1 that only A has predicted, 1 with another label" in (
        found["sentences"][0])  # fmt: skip


def test_another_test_set_of_the_other_run_is_no_matter(stores, changed, report):
    for name in ("predictions", "retrained predictions"):
        changed(name, lambda t: t.assign(test_set=t["test_set"].replace("test", "external")))
    assert compare_runs(*((store, CONFIG) for store in stores))["scores"] == report["scores"]


def test_runs_with_unlike_seeds_are_paired_in_their_order(stores, changed):
    changed("predictions", lambda t: pd.concat([t.assign(seed=7), t.assign(seed=8)]))
    found = compare_runs(*((store, CONFIG) for store in stores))
    assert any("the runs have 1 and 2; the first 1 of each count" in entry["why"] for entry in found["not_shown"])
    assert {row["trained_on"] for row in found["scores"]} == {"original", "cleaned", "control"}


def test_runs_that_cannot_be_compared_are_told_in_a_sentence(stores, changed):
    changed("predictions", lambda t: t.rename(columns={"p_normal": "p_well"}).replace({"normal": "well"}))
    changed("retrained predictions", lambda t: t.head(0))
    with pytest.raises(ConfigError, match="expected two runs with the same classes, .*first has normal, pneumonia, "
                                          "COVID-19 and .*second has"):  # fmt: skip
        compare_runs(*((store, CONFIG) for store in stores))
    changed("predictions", lambda t: t.rename(columns={"p_well": "p_normal"}).replace({"well": "normal"}).assign(
        image_id=t["image_id"] + "x"))  # fmt: skip
    with pytest.raises(ConfigError, match="share none .only_a: 72, only_b: 72"):
        compare_runs(*((store, CONFIG) for store in stores))
    changed("predictions", lambda t: t.head(0))
    with pytest.raises(StoreError, match="second"):
        compare_runs(*((store, CONFIG) for store in stores))


def test_without_an_audit_the_scores_are_compared(stores, tmp_path):
    bare = finished_run(tmp_path / "bare", 0.0, seeds=[0])
    bare.path("checks").unlink()
    found = compare_runs((stores[0], CONFIG), (bare, CONFIG))
    assert found["verdicts"] == [] and found["scores"]
    assert [entry["what"] for entry in found["not_shown"]] == ["the verdict of B"]
    assert "one of the runs was not audited" in render_html(found)


def test_the_pages_escape_every_name_and_hold_every_sentence(report):
    odd = json.loads(json.dumps(report).replace("pneumonia", "<i>|`*pneumonia"))
    html, markdown = render_html(odd), render_markdown(odd)
    assert "&lt;i&gt;|`*pneumonia" in html and r"&lt;i&gt;\|\`\*pneumonia" in markdown
    assert "<i>" not in html + markdown and "<script" not in html
    assert "default-src 'none'" in html and html.count("shown in A alone; weaker in B") >= 4
    assert len(report["sentences"]) >= 5 and "adjusted p" in report["sentences"][1]
    for row in report["scores"]:
        assert f"{100 * row['b']:.1f}" in html and f"{100 * row['b']:.1f}" in markdown
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_a_table_of_checks_of_another_version_is_named(stores, changed):
    changed("checks", lambda frame: frame.drop(columns=["question", "unit"]))
    found = compare_runs(*((store, CONFIG) for store in stores))
    told = [entry for entry in found["not_shown"] if entry["what"] == "the verdict of B"]
    assert not found["verdicts"] and "lacks question, unit" in told[0]["why"]


def test_repaired_models_are_called_so_and_what_one_run_alone_has_is_told(stores, changed):
    """A repair is no version of the images that a model was trained on."""
    assert model_name("cleaned") == "trained on cleaned images" and model_name("clean+dfr") == "repaired by clean+dfr"
    row = {"trained_on": "dfr", "test_set": "test", "what": "accuracy", "reads": ALIKE, "images": 9, "p_holm": 1.0,
           **dict.fromkeys(("a", "b", "difference", "difference_low", "difference_high"), 0.5)}
    report = {"scores": [row], "verdicts": [], "runs": {name: {"name": name, "folder": name} for name in "ab"},
              "images": {"shared": 9, "patients": None, **dict.fromkeys(UNSHARED, 0), "contents_not_known": 0}}
    assert sentences(report)[1].startswith("Repaired by dfr, on the dataset's own test set, accuracy is 50.0 %")
    changed("retrained predictions", lambda frame: frame[frame["trained_on"] != "cleaned"])
    found = compare_runs(*((store, CONFIG) for store in stores))
    assert {"what": "models trained on cleaned images", "why": "on these images A alone has them"} in found["not_shown"]
