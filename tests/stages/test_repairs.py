"""retrain.repairs: what may be asked for, and the groups that repairs balance."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from xray_debug.config import ConfigError, parse_config
from xray_debug.data.views import Views
from xray_debug.models import inference, predict
from xray_debug.run.folder import RunError
from xray_debug.stages import audit_again, repairs, retrain
from xray_debug.stages.registry import STAGES, check_options
from xray_debug.stats.groups import named_groups

CLASSES = ["normal", "COVID-19"]


def config(**options):
    return parse_config({"retrain": options, "detect": {"second": None}})


@pytest.mark.parametrize(("names", "said"), [
    (["dfr", "scrub"], "expected some of dfr, reweight, group_dro, paste, or clean+ before one of them, got 'scrub'"),
    (["clean+scrub"], "got 'clean+scrub'"), (["clean"], "got 'clean'"),
    (["dfr", "dfr"], "expected different repairs, got dfr, dfr"),
    (["clean+paste"], "paste learns from cleaned images as it is, expected it without clean+, got 'clean+paste'"),
])  # fmt: skip
def test_repairs_that_there_are_not_are_told_before_anything_runs(names, said):
    with pytest.raises(ConfigError, match="retrain.repairs: ") as told:
        check_options(config(repairs=names), "retrain")
    assert said in str(told.value)


def test_all_repairs_are_a_choice_and_a_given_model_has_none():
    names = ["dfr", "reweight", "group_dro", "paste", "clean+dfr", "clean+reweight", "clean+group_dro"]
    check_options(config(repairs=names), "retrain")
    given = parse_config({"model": {"arch": "resnet18", "file": "x.pt", "classes": CLASSES},
                          "retrain": {"repairs": ["dfr"]}})  # fmt: skip
    with pytest.raises(ConfigError, match="retrain.repairs: repairs a model that is trained here"):
        retrain.check(given)


@pytest.mark.parametrize("by", ["text", "attr_", "sources"])
def test_groups_are_by_marker_source_or_attribute(by):
    with pytest.raises(ConfigError, match=r"retrain\.groups"):
        config(groups=by)


def context(by, tmp_path=None):
    return SimpleNamespace(config=config(groups=by), store=SimpleNamespace(path=lambda name: tmp_path), device="cpu")


FRAME = pd.DataFrame({"image_id": list("abcd"), "label": ["normal", "COVID-19"] * 2, "source": list("xxyy"),
                      "attr_sex": ["f", None, "m", "m"]})  # fmt: skip


def test_groups_by_a_column():
    assert repairs.groups_of(context("source"), FRAME, {}).tolist() == [
        "normal, x", "COVID-19, x", "normal, y", "COVID-19, y"]  # fmt: skip
    assert repairs.groups_of(context("attr_sex"), FRAME, {})[1] == "COVID-19, not known"
    with pytest.raises(RunError, match="retrain.groups: expected marker, source, attr_sex, got attr_age"):
        repairs.groups_of(context("attr_age"), FRAME, {})


def test_numbers_are_grouped_in_the_bands_of_the_report():
    """Ages, as DICOM writes them or as numbers: four bands of 3 each, and what is not known; few codes stay."""
    ages = [f"{age:03d}Y" for age in range(20, 68, 4)]
    frame = pd.DataFrame({"label": ["normal"] * 13, "attr_age": [*ages, None], "attr_years": [*range(20, 68, 4), None],
                          "attr_code": [1, 2, 3] * 4 + [1]})  # fmt: skip
    found = repairs.groups_of(context("attr_age"), frame, {})
    assert found.tolist() == [f"normal, {band}" for band in (
        ["20 to 31"] * 3 + ["31 to 42"] * 3 + ["42 to 53"] * 3 + ["53 to 64"] * 3 + ["not known"])]  # fmt: skip
    assert repairs.groups_of(context("attr_years"), frame, {}).tolist() == found.tolist()
    assert [f"normal, {name}" for name in named_groups(frame["attr_age"])] == found.tolist()
    assert sorted(set(repairs.groups_of(context("attr_code"), frame, {}))) == ["normal, 1", "normal, 2", "normal, 3"]


def test_groups_by_marker_are_the_class_that_the_text_speaks_for(monkeypatch):
    """By the log of the probability: where the model is sure of a class, its text still speaks for one or another."""
    images = np.zeros((4, 8, 8), np.uint8)
    images[:3, 0, 0] = [1, 2, 3]  # the text; the fourth has none
    views = {"original": Views.of(images), "cleaned": Views.of(np.zeros_like(images))}
    answers = {"original": [(0.999, 0.001), (0.4, 0.6), (0.9, 0.1), (0.5, 0.5)],
               "cleaned": [(0.99999, 0.00001), (0.2, 0.8), (0.2, 0.8), (0.5, 0.5)]}  # fmt: skip
    model = SimpleNamespace(classes=CLASSES)
    monkeypatch.setattr(inference, "load_for_inference", lambda *a: model)
    monkeypatch.setattr(predict, "probabilities_side_by_side", lambda model, images: np.array(
        answers["original" if images[0].any() else "cleaned"], np.float32))  # fmt: skip
    assert repairs.groups_of(context("marker"), FRAME, views).tolist() == [
        "normal, text speaks for COVID-19", "COVID-19, text speaks for normal", "normal, text speaks for normal",
        "COVID-19, no text"]  # fmt: skip


def test_without_repairs_the_audit_is_nothing_to_retrain():
    """Neither its results nor its code make the trainings stale that nobody wants audited again."""
    stage = STAGES["retrain"]
    store = SimpleNamespace(record=lambda name: {"outputs": {"cases": "c", "verdict": "v", "regions": "r"}})
    assert stage.inputs(store, config()) == {} and stage.skips(config()) == ("xray_debug.stages.audit_again",)
    assert set(stage.inputs(store, config(repairs=["dfr"])).values()) == {"c", "v", "r"}
    assert stage.skips(config(repairs=["dfr"])) == ()


def test_without_a_measured_case_nothing_is_audited_again():
    """All cases set aside, or all excluded by reviewers: that ends no run."""
    said = []
    store = SimpleNamespace(table=lambda name: pd.DataFrame(
        {"image_id": FRAME["image_id"], "problem": "damaged", "test_set": "test"}))  # fmt: skip
    audit_again.audit_again(SimpleNamespace(store=store, config=config(repairs=["dfr"]), say=said.append), FRAME, [])
    assert said == ["the repaired models are not audited again: no case of the audit was measured"]
