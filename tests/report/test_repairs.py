"""What each repair did: the rows, the rule by which one is taken, and how it is told."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from report_fixture import make_run, small_config
from scipy.stats import binomtest

from xray_debug.report.inputs import read_cells, read_run
from xray_debug.report.repairs import RULE, _shortcuts, choice, repairs, shown_of, worst_group
from xray_debug.report.report import write_report
from xray_debug.run.store import Store
from xray_debug.stats.scores import Cell

MODELS = ("original", "cleaned", "dfr")


def effect(value, shown):
    return {"check": "text", "question": "text", "label": "COVID-19", "shown": shown, "n": 12, "before": 0.5,
            **{name: {"value": value, "low": value - 0.1, "high": value + 0.1}
               for name in ("effect", "control", "difference")}}  # fmt: skip


def row(model, accuracy=0.8, worst=(0.6, 0.4, 0.75), left=0.5, shown=True, further=(), audited=True):
    value, low, high = worst
    return {"model": model, "accuracy": accuracy, "audited": audited, "further": list(further),
            "worst": {"group": "normal, x", "images": 9, "accuracy": value, "accuracy_low": low, "accuracy_high": high},
            "effects": [effect(left, shown)] if audited else []}  # fmt: skip


ORIGINAL = row("original", 0.9, (0.3, 0.1, 0.5))


def taken(*rows):
    return choice([ORIGINAL, *rows])[0]


def test_a_model_with_a_shortcut_is_not_taken():
    assert taken(row("cleaned", 0.95, (0.9, 0.8, 0.95)), row("dfr", shown=False)) == "dfr"
    assert taken(row("cleaned", 0.95, (0.9, 0.8, 0.95), shown=False, further=["normal: region:border"]),
                 row("dfr", shown=False)) == "dfr"  # fmt: skip


def test_the_worst_group_comes_first_and_accuracy_between_equals():
    best = row("dfr", 0.80, (0.70, 0.60, 0.80), shown=False)
    assert taken(row("cleaned", 0.85, (0.59, 0.4, 0.7), shown=False), best) == "dfr"  # beyond its interval
    assert taken(row("cleaned", 0.85, (0.61, 0.4, 0.7), shown=False), best) == "cleaned"  # within it, and more accurate
    assert taken(row("cleaned", 0.80, (0.61, 0.4, 0.7), shown=False), best) == "cleaned"  # the first of two alike


def test_the_control_and_what_was_not_audited_are_no_choice():
    assert taken(row("control", 0.99, (0.9, 0.8, 1.0), shown=False), row("dfr", shown=False)) == "dfr"
    assert taken(row("paste", 0.99, (0.9, 0.8, 1.0), audited=False), row("dfr", shown=False)) == "dfr"
    assert "were not audited again" in choice([ORIGINAL, row("dfr", audited=False)])[1]


def test_where_none_will_do_the_one_with_the_least_left_is_named():
    model, text = choice([ORIGINAL, row("cleaned", left=0.3), row("dfr", left=0.2)])
    assert model is None and "still shown of each of the 2 models" in text
    assert "dfr, whose largest effect beyond controls is +0.20 (+0.50 before)" in text


def test_without_a_group_large_enough_no_shortcut_is_made_up():
    rows = [{**row(name, shown=False), "worst": None} for name in ("cleaned", "dfr")]
    model, text = choice([ORIGINAL, *rows])
    assert model is None and "still shown" not in text
    assert text.startswith("No shortcut is shown any more of cleaned, dfr; no group has 5 test images")


def test_a_shortcut_that_was_not_measured_again_is_not_gone():
    blank = {**row("dfr", 0.99, (0.9, 0.8, 1.0), shown=False)}
    blank["effects"] = [{**effect(float("nan"), False), "n": 0}]
    assert taken(blank, row("paste", shown=False)) == "paste"
    model, text = choice([ORIGINAL, blank, row("paste", left=0.2)])
    assert model is None and "or could not be asked after, of each of the 2 models" in text
    assert "The least is left with paste" in text


def test_without_a_shortcut_there_is_nothing_to_repair():
    model, text = choice([{**ORIGINAL, "effects": []}, {**row("dfr"), "effects": []}])
    assert model is None and text.endswith("there is nothing to repair.")


def test_the_sentence_says_that_the_choice_was_made_on_these_images():
    text = choice([ORIGINAL, row("dfr", 0.82, shown=False)])[1]
    assert text.startswith("Take dfr: in its audit no shortcut is shown any more, its worst group (normal, x) reaches "
                           "60.0 % (40.0 to 75.0), and its accuracy is 82.0 % (90.0 % before).")  # fmt: skip
    assert "chosen on these test images" in text and "interval" in RULE


def test_what_speaks_against_the_model_that_is_taken_is_said():
    """An effect as large as before that a smaller audit did not show, and a worst group that got worse."""
    as_before = choice([ORIGINAL, row("dfr", 0.82, (0.2, 0.1, 0.3), left=0.45, shown=False)])[1]
    assert ("But COVID-19: text still has an effect of +0.45 (+0.35 to +0.55), +0.50 before: it is not shown, and not "
            "shown to be smaller. But the worst group of the original model (normal, x) reached 30.0 %. It was "
            "chosen") in as_before  # fmt: skip
    assert "But " not in choice([ORIGINAL, row("dfr", 0.82, left=0.1, shown=False)])[1]


def test_images_of_one_patient_do_not_narrow_the_worst_groups_interval():
    names, hits = np.array([f"i{number:02d}" for number in range(24)]), np.repeat([0, 1, 1], 8)
    groups = pd.Series("normal, x", index=names)

    def width(patients):
        cell = Cell(names, np.ones(24, int), np.full(24, "a"), hits[None], None, (0,), ("normal", "other"), patients)
        found = worst_group(cell, groups)
        return found["accuracy_high"] - found["accuracy_low"]

    assert width(np.repeat(["p", "q", "r", "s", "t", "u"], 4)) > 1.5 * width(None)


def test_the_worst_group_is_the_one_with_the_lowest_share_and_wilsons_interval():
    names = np.array([f"i{number:02d}" for number in range(17)])
    labels = np.zeros(17, int)
    wrong = np.isin(names, ["i00", "i01", "i02", "i12", "i16"]).astype(int)  # 3 of 8, 1 of 5, 1 of 4
    cell = Cell(names, labels, names, wrong[None], None, (0,), ("a", "b"))
    groups = pd.Series(np.repeat(["a, x", "a, y", "a, z"], [8, 5, 4]), index=names)
    found = worst_group(cell, groups)
    low, high = binomtest(5, 8).proportion_ci(method="wilson")
    assert (found["group"], found["images"], found["small"]) == ("a, x", 8, 1)
    assert (found["accuracy"], found["accuracy_low"], found["accuracy_high"]) == pytest.approx((5 / 8, low, high))
    assert worst_group(dataclasses.replace(cell, image_ids=np.array(["?"] * 17)), groups) is None


def write_repairs(store: Store, audited: bool = True) -> None:
    """As stage retrain leaves it: a model of dfr whose reliance on text is gone, one of cleaning whose is not."""
    frame = store.manifest()
    store.write_table("groups", frame[["image_id", "split", "test_set"]].assign(group=frame["label"] + ", <no text>"))
    store.write_json("repairs", {"by": "marker", "repairs": {"dfr": {"c": 0.3}}})
    told = store.table("retrained predictions")
    made = told[told["trained_on"] == "cleaned"].assign(trained_on="dfr")
    store.write_table("retrained predictions", pd.concat([told, made], ignore_index=True))
    if not audited:
        return
    rows = [
        {"kind": "intervention", "check": "text", "question": "text", "test_set": "test", "label": label, "n": 12,
         "model": model, "shown": model != "dfr" and label == "normal",
         **{f"{name}{end}": value + shift for name in ("effect", "control", "difference")
            for end, shift in (("", 0), ("_low", -0.1), ("_high", 0.1))}}
        for model, value in zip(MODELS, (0.62, 0.41, 0.05), strict=True) for label in ("normal", "COVID-19")
    ]  # fmt: skip
    rows.append({**rows[-1], "check": "border", "question": "region:border", "shown": True})  # of dfr alone
    store.write_table("repaired checks", pd.DataFrame(rows))
    cases = [{"model": model, "image_id": name, "label": "normal"} for model in MODELS for name in ("a", "b", "c")]
    store.write_table("repaired cases", pd.DataFrame(cases))


def test_a_run_with_repairs(tmp_path):
    store, config = make_run(tmp_path / "run", small_config()), small_config()
    write_repairs(store)
    report = json.loads(write_report(store, config).read_text())
    found = report["repairs"]
    rows = {entry["model"]: entry for entry in found["rows"]}
    assert list(rows) == ["original", "cleaned", "control", "dfr"] and found["cases"] == 3
    assert [entry["audited"] for entry in rows.values()] == [True, True, False, True]
    assert [(e["label"], e["difference"]["value"], e["shown"]) for e in rows["dfr"]["effects"]] == [
        ("normal", pytest.approx(0.05), False)]  # fmt: skip
    assert rows["dfr"]["further"] == ["COVID-19: region:border"] and rows["dfr"]["facts"] == {"c": 0.3}
    table4 = next(entry for entry in report["table4"]
                  if (entry["trained_on"], entry["tested_on"], entry["test_set"]) == ("dfr", "original", "test"))
    assert rows["dfr"]["accuracy"] == table4["accuracy"] and rows["dfr"]["worst"]["group"].endswith(", <no text>")
    page, summary = (store.path(name).read_text() for name in ("page", "summary"))
    assert "What each repair did" in page and "<no text>" not in page and "effect left:<br>normal: text" in page
    assert "## What each repair did" in summary and "<no text>" not in summary
    assert "**+0.05** (-0.05 to +0.15)" in summary and "**+0.62** (+0.52 to +0.72), shown" in summary
    assert found["take"] is None and found["text"] in [entry["text"] for entry in report["headline"]]


def test_repairs_that_were_not_audited_are_rows_without_effects(tmp_path):
    store, config = make_run(tmp_path / "run", small_config()), small_config()
    write_repairs(store, audited=False)
    run = read_run(store, config, ())
    found = repairs(run, read_cells(run)[0], 200, 0)
    assert [entry["model"] for entry in found["rows"]] == ["original", "cleaned", "control", "dfr"]
    assert not any(entry["audited"] or entry["effects"] for entry in found["rows"]) and found["take"] is None
    assert any(entry["what"] == "what the audit says of the repaired models" for entry in run.not_shown)


def test_a_run_without_repairs_has_no_such_part(tmp_path):
    run = read_run(make_run(tmp_path / "run", small_config()), small_config(), ())
    assert repairs(run, read_cells(run)[0], 200, 0) is None


def test_what_stage_audit_showed_of_the_original_is_no_shortcut_of_a_repair_alone():
    """On the repairs' fewer cases the original does not show it; the repaired model, as much as before, does."""
    def line(model, question, shown, label="normal", test_set="test"):
        numbers = {f"{name}{end}": 0.2 for name in ("effect", "control", "difference") for end in ("", "_low", "_high")}
        return {"model": model, "kind": "intervention", "check": "border", "question": question, "label": label,
                "test_set": test_set, "n": 20, "shown": shown, **numbers}  # fmt: skip

    again = pd.DataFrame([line("original", "border", False), line("dfr", "border", True),
                          line("original", "field", False), line("dfr", "field", True)])  # fmt: skip
    whole = pd.DataFrame([line("", "border", True), line("", "field", True, test_set="other"),
                          line("", "field", False)]).drop(columns="model")  # fmt: skip
    known = shown_of(whole, "test")
    assert known == {("border", "border", "normal"): 0.2}
    effects, further = _shortcuts(again, "dfr", known)
    assert [(entry["question"], entry["shown"]) for entry in effects] == [("border", True)]
    assert further == ["normal: field"]
    assert [entry["shown"] for entry in _shortcuts(again, "original", known)[0]] == [False]
    assert _shortcuts(again, "dfr", {}) == ([], ["normal: border", "normal: field"])
    (entry,) = _shortcuts(again, "dfr", {("text", "text", "all classes"): 0.4})[0]  # not asked on so few cases
    assert entry["n"] == 0 and entry["before"] == 0.4 and np.isnan(entry["difference"]["value"])
