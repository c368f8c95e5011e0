"""The checks one by one, and a check of another package that takes part in everything."""

import math
import textwrap
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from xray_debug.audit.auditor import audit_dataset
from xray_debug.audit.checks import CHECKS, Check, all_checks, per_class
from xray_debug.audit.checks.absence import Absence, swap_measures
from xray_debug.audit.checks.field import MARGIN
from xray_debug.audit.checks.region import RegionCheck, margin_mask, without
from xray_debug.audit.checks.regions import UserRegionsCheck
from xray_debug.audit.checks.text import Text, text_effects
from xray_debug.audit.frames import Case, Frames, prepare_case
from xray_debug.audit.hypotheses import Hypothesis, beyond_controls
from xray_debug.audit.measures import Outcomes
from xray_debug.audit.summary import paired
from xray_debug.audit.swaps import Donor
from xray_debug.audit.worker import check_cost
from xray_debug.config import AuditConfig, CleanConfig
from xray_debug.data.boxes import rasterise_boxes
from xray_debug.data.images import write_image
from xray_debug.data.view import ModelView

VIEW, CLASSES = ModelView(40), ["a", "b"]


def case(boxes=((4, 4, 14, 12),), config=None, **more) -> Case:
    image = np.random.default_rng(0).integers(60, 160, (80, 80)).astype(np.uint8)
    return prepare_case("a.png", "a", image, boxes, VIEW, config or AuditConfig(), CleanConfig(), 0, **more)


def framed(check: Check, found: Case):
    frames = Frames()
    kept = check.frames(found, frames)
    return dict(zip(frames.names, frames.images, strict=True)), kept


def outcomes(**frames):
    names = [name.replace("__", "/") for name in frames]
    return Outcomes(names, np.array([(p, 1 - p) for p in frames.values()]), CLASSES)


# ------------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize(("devices", "off"), [(((20, 0, 80, 80), (0, 40, 20, 80)), True), (((0, 0, 80, 80),), False)])
def test_controls_are_placed_off_devices_where_there_is_room(devices, off):
    """Devices that leave a strip free, and devices all over the film, where a control on one is better than none."""
    found = case(config=AuditConfig(controls=4), devices=devices)
    frames, controls = framed(Text(found.config), found)
    under = VIEW.mask_to_view(rasterise_boxes(devices, 80, 80)) > 0.5
    assert len(controls) >= 4 and all(control.mask.any() for control in controls)
    assert all((control.mask[under] > 0.5).any() != off for control in controls)


def test_revealed_and_blurred_text_add_up_to_image_and_baseline():
    found = case()
    frames, controls = framed(Text(AuditConfig()), found)
    assert np.allclose(frames["text_only"] + frames["text_blurred"], found.view + found.baseline)
    for index in range(len(controls)):
        total = frames[f"control_only/{index}"] + frames[f"control_blurred/{index}"]
        assert np.allclose(total, found.view + found.baseline)
    assert np.array_equal(frames["text_inpainted"], found.text_free)
    assert {"text_smoothed", "text_mirrored", "control_mirrored/0"} <= set(frames)
    assert len(frames) == 5 + 5 * len(controls) <= Text(AuditConfig()).most_frames()


def test_controls_leave_the_text_where_it_is():
    found = case()
    frames, controls = framed(Text(AuditConfig()), found)
    for index, control in enumerate(controls):
        assert not (control.mask * found.text.mask).any()
        unchanged = control.mask == 0
        assert np.array_equal(frames[f"control_inpainted/{index}"][unchanged], found.view[unchanged])


def test_text_effects_by_hand():
    row = text_effects(outcomes(image=0.9, text_inpainted=0.3, control_inpainted__0=0.8, control_inpainted__1=0.9))
    assert row["effect_a"] == pytest.approx(0.6) and row["effect_b"] == pytest.approx(-0.6)
    assert row["control_effect_a"] == pytest.approx(0.05) and row["p_text_inpainted_a"] == pytest.approx(0.3)
    row = text_effects(outcomes(image=0.9, text_inpainted=0.7, text_smoothed=0.3, control_inpainted__0=0.9,
                                control_smoothed__0=0.75))
    assert row["effect_a"] == pytest.approx(0.6) and row["control_effect_a"] == pytest.approx(0.15)
    row = text_effects(outcomes(image=0.9))
    assert math.isnan(row["effect_a"]) and math.isnan(row["control_effect_a"])


def test_columns_of_an_image_without_text():
    found = case(boxes=())
    row = Text(AuditConfig()).columns(found, outcomes(image=0.9, baseline=0.5), None)
    assert (row["text_visible"], row["controls"], row["effect"], row["text_place"]) == (0, 0, 0.0, "")
    assert row["decision_text_removed"] == "" and math.isnan(row["control_effect"])


# ------------------------------------------------------------------------------------------------- absence


def test_pasting_starts_from_the_image_without_text():
    row = Absence(AuditConfig()).columns(case(), outcomes(
        image=0.9, text_inpainted=0.3, swap__0=0.1, swap_control__0=0.25), [])
    assert row["paste_effect_a"] == pytest.approx(0.2) and row["paste_control_effect_b"] == pytest.approx(-0.05)
    row = Absence(AuditConfig()).columns(case(), outcomes(image=0.9, swap__0=0.5, swap_control__0=0.9), [])
    assert row["paste_effect_a"] == pytest.approx(0.4)


def test_swaps_that_cannot_move_the_decision_are_not_counted():
    donors = [Donor("1", "b", 8, 8, (), ()), Donor("2", "a", 8, 8, (), ()), Donor("3", "b", 8, 8, (), ())]
    out = outcomes(image=0.9, swap__0=0.1, swap__1=0.9, swap__2=0.8, swap_control__0=0.9, swap_control__1=0.9,
                   swap_control__2=0.9)
    row = swap_measures(out, donors)
    assert (row["swaps"], row["swap_followed"], row["swap_control_followed"]) == (2, 0.5, 0.0)


# ------------------------------------------------------------------------------------------------- regions


def test_margin_mask_covers_what_the_central_field_does_not():
    mask = margin_mask(40, MARGIN)
    assert mask.sum() == 40 * 40 - 30 * 30 and not mask[5:35, 5:35].any()


def test_without_changes_the_mask_alone():
    image = np.random.default_rng(1).random((40, 40)).astype(np.float32)
    mask = np.zeros((40, 40), bool)
    mask[10:14, 20:30] = True
    result = without(image, mask)
    assert np.array_equal(result[~mask], image[~mask]) and not np.allclose(result[mask], image[mask])


def test_region_frames_start_from_the_text_free_image(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("image_id,x0,y0,x1,y1,name\na.png,40,40,60,60,disc\nb.png,0,0,80,80,film\n")
    found, check = case(), UserRegionsCheck(AuditConfig(regions=str(path)))
    frames, masks = framed(check, found)
    assert check.regions == ("disc", "film") and list(masks) == ["disc"]
    mask = masks["disc"]
    assert mask[20:30, 20:30].all() and mask.sum() == 12 * 12  # one pixel of rim
    assert len(frames) == 5 and not np.array_equal(found.text_free, found.view)
    assert np.array_equal(frames["region/disc/inpainted"][~mask], found.text_free[~mask])
    assert np.array_equal(frames["region/disc/only"][mask], found.text_free[mask])
    assert np.array_equal(frames["region/disc/only"][~mask], found.baseline[~mask])
    for index in range(2):
        assert np.array_equal(frames[f"region/disc/control/{index}"][mask], found.text_free[mask])


def test_a_region_that_is_all_of_the_view_is_left_out(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("image_id,x0,y0,x1,y1\na.png,0,0,80,80\n")
    assert framed(UserRegionsCheck(AuditConfig(regions=str(path))), case()) == ({}, {})


def test_region_columns_by_hand():
    class Region(RegionCheck):
        regions = ("r",)

        def masks(self, case):
            return {"r": margin_mask(40, 0.25)}

    frames = {"image": 0.9, "baseline": 0.1, "text_inpainted": 0.6, "region/r/inpainted": 0.2, "region/r/blurred": 0.3,
              "region/r/only": 0.45, "region/r/control/0": 0.6, "region/r/control/1": 0.4}
    out = Outcomes(list(frames), np.array([(p, 1 - p) for p in frames.values()]), CLASSES)
    row = Region(AuditConfig()).columns(case(), out, {"r": margin_mask(40, 0.25)})
    assert row["region_r_effect_a"] == pytest.approx(0.4) and row["region_r_control_effect_a"] == pytest.approx(0.1)
    assert row["region_r_alone_a"] == pytest.approx(0.35) and row["region_r_area"] == 0.75
    assert row["region_r_p_inpainted"] == 0.2 and row["region_r_decision"] == "b"
    assert row["region_r_p_control"] == pytest.approx(0.5)


def test_a_region_of_the_user_may_not_bear_the_name_of_another(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("image_id,x0,y0,x1,y1,name\na.png,4,4,9,9,border\n")
    with pytest.raises(ValueError, match="another name than 'border'"):
        all_checks(AuditConfig(regions=str(path)))


# ------------------------------------------------------------------------------------------------- another's check


class Corner(Check):
    """Blanks the upper left corner of what the model sees; the lower right one is the control. All there is to it."""

    def most_frames(self):
        return 2

    def frames(self, case, frames):
        for name, where in (("corner", np.s_[:6, :6]), ("corner_control", np.s_[-6:, -6:])):
            image = case.view.copy()
            image[where] = case.baseline[where]
            frames.add(name, image)

    def columns(self, case, out, kept):
        image = out.vector("image")
        return per_class(out.classes, corner_effect=image - out.vector("corner"),
                         corner_control_effect=image - out.vector("corner_control"))

    def hypotheses(self, cases, label):
        names, mine = (f"corner_effect_{label}", f"corner_control_effect_{label}"), (cases["label"] == label).to_numpy()
        return [Hypothesis(label, "region:corner", *paired(cases[mine], *names), words="relies on the corner",
                           said=f"relies on the corner: blanking it lowers the probability of {label}",
                           beyond=beyond_controls(cases, *names), own=mine)]

    def predictors(self, manifest, boxes):
        return {"parity": np.arange(len(manifest)) % 2}


class CornerReader(nn.Module):
    def __init__(self):
        super().__init__()
        self.view, self.classes, self.weight = ModelView(24), CLASSES, nn.Parameter(torch.tensor(40.0))

    def forward(self, images):
        bright = images[:, 0, :4, :4].mean((1, 2)) - 0.5
        return self.weight * torch.stack([bright, -bright], dim=1)


@pytest.fixture
def foreign(monkeypatch):
    points = {"xray_debug.checks": [metadata.EntryPoint("corner", f"{__name__}:Corner", "xray_debug.checks")]}
    monkeypatch.setattr(metadata, "entry_points", lambda group: points.get(group, []))


@pytest.fixture
def films(tmp_path):
    rows = []
    for index in range(20):
        image = np.random.default_rng(index).integers(100, 130, (48, 48)).astype(np.uint8)
        image[:10, :10] = 230 if index % 2 else 20
        write_image(tmp_path / f"f{index}.png", image)
        rows.append((f"f{index}.png", CLASSES[1 - index % 2], "s", "test", str(tmp_path / f"f{index}.png")))
    return pd.DataFrame(rows, columns=["image_id", "label", "source", "test_set", "file"])


def test_a_check_of_another_package_takes_part_in_all(foreign, films):
    assert CHECKS.names()[-1] == "corner"
    found = audit_dataset(CornerReader(), films, {}, {}, AuditConfig(swaps=0), CleanConfig())
    assert (found.cases["corner_effect_a"].to_numpy()[films["label"] == "a"] > 0.3).all()
    assert found.verdict["classes"]["a"]["regions"]["corner"]["shown"]
    assert "a relies on the corner" in found.verdict["verdict"]
    assert any(s.startswith("a relies on the corner: blanking it lowers the probability of a by 0.")
               for s in found.verdict["sentences"])
    rows = found.checks[found.checks["check"] == "corner"].set_index("label")
    assert rows.loc["a", "shown"] and rows.loc["a", "question"] == "region:corner" and rows.loc["a", "n"] == 10
    entry = found.verdict["classes"]["a"]["regions"]["corner"]
    assert rows.loc["a", "effect"] == entry["effect"]["value"] and rows.loc["a", "p"] == entry["p"]
    assert rows.loc["a", "difference_low"] == entry["difference"]["low"]


def test_its_predictors_are_suspicions(foreign):
    from xray_debug.audit.no_evidence import no_evidence

    frame = pd.DataFrame({"image_id": [f"i{i}.png" for i in range(40)], "label": CLASSES * 20, "source": "s",
                          "patient_id": range(40), "width": 90, "height": 90, "bit_depth": 8, "split": "test",
                          "test_set": "test"})
    found = no_evidence(frame, {}, permutations=60)["predictors"]["parity"]
    assert (found["check"], found["mean_recall"]) == ("corner", 1.0) and found["p"] < 0.05


def test_the_check_in_the_manual_works():
    text = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
    code = text.partition("    # mycheck.py\n")[2].partition("\nAn entry point")[0]
    names: dict = {}
    exec(textwrap.dedent(code), names)
    found = case()
    frames, masks = framed(names["Corner"](AuditConfig()), found)
    assert masks["corner"].sum() == 25 and len(frames) == 5
    assert np.array_equal(frames["region/corner/only"][:5, :5], found.text_free[:5, :5])


def test_its_frames_count_in_the_cost(foreign, monkeypatch):
    check_cost(AuditConfig())
    monkeypatch.setattr(Corner, "most_frames", lambda self: 150)
    with pytest.raises(ValueError, match="forward passes a case, expected at most 200"):
        check_cost(AuditConfig())
