import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_debug.audit.measures import (
    Outcomes,
    adversarial_suspicion,
    area_under,
    class_effects,
    saliency_share,
    smallest_share,
    swap_measures,
)
from xray_debug.audit.swaps import Donor

CLASSES = ["a", "b"]


def test_even_saliency_has_the_area_s_share_and_enrichment_one():
    mask = np.zeros((10, 10))
    mask[:3, :5] = 1
    assert saliency_share(np.ones((10, 10)), mask) == pytest.approx((0.15, 1.0))


def test_saliency_only_inside_and_only_outside():
    mask = np.zeros((10, 10))
    mask[:2] = 1
    assert saliency_share(mask, mask) == pytest.approx((1.0, 5.0))
    assert saliency_share(1 - mask, mask) == (0.0, 0.0)


def test_no_saliency_or_no_mask_is_nan():
    assert all(map(math.isnan, saliency_share(np.zeros((4, 4)), np.ones((4, 4)))))
    assert all(map(math.isnan, saliency_share(np.ones((4, 4)), np.zeros((4, 4)))))


@given(st.integers(0, 500))
def test_inside_and_outside_add_up(seed):
    rng = np.random.default_rng(seed)
    saliency, mask = rng.random((6, 6)), (rng.random((6, 6)) < 0.5).astype(float)
    if 0 < mask.sum() < 36:
        assert saliency_share(saliency, mask)[0] + saliency_share(saliency, 1 - mask)[0] == pytest.approx(1)


def test_area_under_a_line_and_a_step():
    assert area_under([1, 0.75, 0.5, 0.25, 0]) == pytest.approx(0.5)
    assert area_under([1, 1, 0, 0]) == pytest.approx(0.5)
    assert area_under([0.3] * 7) == pytest.approx(0.3)


def test_adversarial_suspicion():
    assert adversarial_suspicion(0.1, 0.8, 0.9) == pytest.approx(0)
    assert adversarial_suspicion(0.0, 0.0, 0.7) == pytest.approx(1)
    assert adversarial_suspicion(0.1, 0.1, 0.8) == pytest.approx(0.75)
    assert adversarial_suspicion(0.5, 0.9, 0.9) == 0


def test_smallest_share():
    assert smallest_share([0.01, 0.04, 0.25], [False, True, True]) == 0.04
    assert math.isnan(smallest_share([0.01], [False]))


def outcomes(**frames):
    names = [name.replace("__", "/") for name in frames]
    return Outcomes(names, np.array([(p, 1 - p) for p in frames.values()]), CLASSES)


def test_class_effects_by_hand():
    out = outcomes(image=0.9, text_inpainted=0.3, control_inpainted__0=0.8, control_inpainted__1=0.9,
                   swap__0=0.1, swap_control__0=0.25)
    row = class_effects(out, [])
    assert row["effect_a"] == pytest.approx(0.6) and row["effect_b"] == pytest.approx(-0.6)
    assert row["control_effect_a"] == pytest.approx(0.05)
    assert row["paste_effect_a"] == pytest.approx(0.2)  # from the text-free image, not from the image
    assert row["paste_control_effect_b"] == pytest.approx(-0.05)


def test_the_removal_that_costs_the_predicted_class_most_counts_for_text_and_for_controls():
    out = outcomes(image=0.9, text_inpainted=0.7, text_smoothed=0.3, text_mirrored=0.5,
                   control_inpainted__0=0.9, control_mirrored__0=0.7, control_inpainted__1=0.8, control_mirrored__1=0.9)
    name, vector = out.removed("text")
    assert name == "smoothed" and vector.tolist() == pytest.approx([0.3, 0.7])
    assert out.removed_controls()[:, 0].tolist() == pytest.approx([0.7, 0.8])
    row = class_effects(out, [])
    assert row["effect_a"] == pytest.approx(0.6) and row["control_effect_a"] == pytest.approx(0.15)
    assert row["p_text_inpainted_a"] == pytest.approx(0.7)
    assert outcomes(image=0.2, text_inpainted=0.1, text_smoothed=0.3).removed("text")[0] == "smoothed"  # predicted: b
    assert out.removed("nothing")[0] == "" and np.isnan(out.removed("nothing")[1]).all()


def test_class_effects_without_text_start_from_the_image():
    row = class_effects(outcomes(image=0.9, swap__0=0.5, swap_control__0=0.9), [])
    assert row["paste_effect_a"] == pytest.approx(0.4)
    assert math.isnan(row["effect_a"]) and math.isnan(row["control_effect_a"])


def test_region_effects_start_from_the_text_free_image():
    frames = {"image": 0.9, "text_inpainted": 0.6, "region/r/inpainted": 0.2, "region/r/control/0/inpainted": 0.6,
              "region/r/control/1/inpainted": 0.4}
    out = Outcomes(list(frames), np.array([(p, 1 - p) for p in frames.values()]), CLASSES)
    row = class_effects(out, ["r"])
    assert row["region_r_effect_a"] == pytest.approx(0.4)
    assert row["region_r_control_effect_a"] == pytest.approx(0.1)


def test_swaps_that_cannot_move_the_decision_are_not_counted():
    donors = [Donor("1", "b", 8, 8, (), ()), Donor("2", "a", 8, 8, (), ()), Donor("3", "b", 8, 8, (), ())]
    out = outcomes(image=0.9, swap__0=0.1, swap__1=0.9, swap__2=0.8, swap_control__0=0.9, swap_control__1=0.9,
                   swap_control__2=0.9)
    row = swap_measures(out, donors)
    assert (row["swaps"], row["swap_followed"], row["swap_control_followed"]) == (2, 0.5, 0.0)
