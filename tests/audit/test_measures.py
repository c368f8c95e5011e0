import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_debug.audit.measures import Outcomes, adversarial_suspicion, saliency_share, smallest_share
from xray_debug.audit.removals import REMOVALS

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


def test_adversarial_suspicion():
    assert adversarial_suspicion(0.1, 0.8, 0.9) == pytest.approx(0)
    assert adversarial_suspicion(0.0, 0.0, 0.7) == pytest.approx(1)
    assert adversarial_suspicion(0.1, 0.1, 0.8) == pytest.approx(0.75)
    assert adversarial_suspicion(0.5, 0.9, 0.9) == 0
    assert math.isnan(adversarial_suspicion(math.nan, math.nan, 0.9)) and math.isnan(adversarial_suspicion(0, 0, 0.0))


def test_smallest_share():
    assert smallest_share([0.01, 0.04, 0.25], [False, True, True]) == 0.04
    assert math.isnan(smallest_share([0.01], [False]))


def outcomes(**frames):
    names = [name.replace("__", "/") for name in frames]
    return Outcomes(names, np.array([(p, 1 - p) for p in frames.values()]), CLASSES)


def test_the_removal_that_costs_the_predicted_class_most_counts_for_text_and_for_controls():
    out = outcomes(image=0.9, text_inpainted=0.7, text_smoothed=0.3, text_mirrored=0.5,
                   control_inpainted__0=0.9, control_mirrored__0=0.7, control_inpainted__1=0.8, control_mirrored__1=0.9)
    name, vector = out.removed("text", REMOVALS)
    assert name == "smoothed" and vector.tolist() == pytest.approx([0.3, 0.7])
    assert out.removed_controls(REMOVALS)[:, 0].tolist() == pytest.approx([0.7, 0.8])
    other = outcomes(image=0.2, text_inpainted=0.1, text_smoothed=0.3)  # predicted: b
    assert other.removed("text", REMOVALS)[0] == "smoothed"
    assert out.removed("nothing", REMOVALS)[0] == "" and np.isnan(out.removed("nothing", REMOVALS)[1]).all()


def test_what_is_without_text_is_the_image_where_there_was_none():
    assert outcomes(image=0.9, text_inpainted=0.2).without_text == "text_inpainted"
    assert outcomes(image=0.9).without_text == "image"
