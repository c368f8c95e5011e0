"""The probe finds a trace where there is one, and its figures are what they are called."""

import cv2
import numpy as np
import pytest
from cleaning_fixture import SETTINGS, film

from xray_debug.cleaning import residue
from xray_debug.cleaning.controls import moved_region
from xray_debug.cleaning.erase import clean_image
from xray_debug.cleaning.residue import FEATURES, PATCHES_PER_IMAGE, probe_features, probe_result


def features_of(i: int, box, trace: bool, untouched=True) -> np.ndarray:
    image = film(i, marker=False)
    cleaned, region = clean_image(image, [box], SETTINGS)
    if trace:
        x0, y0, x1, _ = box
        cleaned[y0 - 4 : y0 - 2, x0:x1] = 255  # the top of a letter beyond the box
    placed, moved = moved_region(image, [box], SETTINGS, i)
    other = film(100 + i, marker=False) if untouched else None
    return probe_features(cleaned, region, np.array([box]), placed, moved, other, SETTINGS, i)


def probed(trace: bool, images=24) -> dict:
    places = np.random.default_rng(0).integers(5, 50, (images, 2)).tolist()
    return probe_result([features_of(i, (x, y, x + 20, y + 16), trace) for i, (x, y) in enumerate(places)], samples=200)


def test_probe_finds_a_trace_where_there_is_one():
    result = probed(trace=True)
    assert result["auc"] > 0.9 and result["auc_untouched"] > 0.9
    assert result["images"] == result["patches"] == 24


def test_probe_finds_none_where_markers_were_nothing_but_places():
    result = probed(trace=False)
    assert result["low"] <= 0.5 <= result["high"] or result["auc"] < 0.5
    assert 0 <= result["low"] <= result["auc"] <= result["high"] <= 1


def test_features_are_those_of_the_repaired_places_their_controls_and_another_image():
    box = (20, 30, 40, 46)
    found = features_of(0, box, trace=False)
    assert found.shape == (3, PATCHES_PER_IMAGE, FEATURES) and found.dtype == np.float64
    known = ~np.isnan(found).any(axis=2)
    assert known.tolist() == [[True, False, False]] * 3
    assert (np.isnan(found).all(axis=2) == ~known).all()
    np.testing.assert_array_equal(found, features_of(0, box, trace=False))
    cleaned, _ = clean_image(film(0, marker=False), [box], SETTINGS)
    grown = (17, 27, 43, 49)  # 16 pixels high: grown by 3
    np.testing.assert_array_equal(found[0, 0], residue._features(cleaned, grown))
    alone = features_of(0, box, trace=False, untouched=False)
    assert np.isnan(alone[2]).all()
    np.testing.assert_array_equal(alone[:2], found[:2])


def test_boxes_larger_than_the_other_image_are_left_out_there():
    image = film(0)
    cleaned, region = clean_image(image, [(20, 30, 40, 46)], SETTINGS)
    placed, moved = moved_region(image, [(20, 30, 40, 46)], SETTINGS, 0)
    small = np.ascontiguousarray(image[:40, :30])
    found = probe_features(cleaned, region, np.array([(20, 30, 40, 46)]), placed, moved, small, SETTINGS, 0)
    assert np.isnan(found[2]).all() and not np.isnan(found[0, 0]).any()


def test_patch_profile_of_a_step_lies_at_the_edge():
    gray = np.full((60, 60), 100, np.uint8)
    gray[20:40, 20:40] = 160
    found = residue._features(gray, (20, 20, 40, 40))
    bins = len(residue.EDGE_BINS) + 1
    gradient = found[bins : 2 * bins]
    edge = np.digitize(0.0, residue.EDGE_BINS)  # the first ring outside
    assert gradient.argmax() in (edge - 1, edge)
    assert gradient[0] == gradient[-1] == 0
    small = found[2 * bins :].reshape(residue.PATCH, residue.PATCH)
    patch = gray[10:50, 10:50].astype(np.float32)
    expected = cv2.resize((patch - patch.mean()) / (patch.std() + 1), (20, 20), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(small, expected, rtol=1e-5)


def test_too_few_images_give_no_figure():
    result = probe_result([features_of(i, (20, 30, 40, 46), trace=False) for i in range(9)])
    assert [result[name] for name in ("auc", "low", "high", "auc_untouched")] == [None] * 4
    assert result["images"] == 9
    assert probe_result([]) == dict.fromkeys(
        ("auc", "low", "high", "auc_untouched", "low_untouched", "high_untouched")
    ) | {"patches": 0, "images": 0}


def pairwise(labels, scores) -> float:
    """Oracle: the share of ordered pairs."""
    return np.mean([(a > b) + 0.5 * (a == b) for a in scores[labels == 1] for b in scores[labels == 0]])


def test_auc_is_the_share_of_ordered_pairs():
    rng = np.random.default_rng(0)
    labels, scores = np.r_[np.ones(7), np.zeros(9)], rng.integers(0, 6, 16).astype(float)
    assert residue._auc(labels, scores)[0] == pytest.approx(pairwise(labels, scores))


def test_auc_of_resamples_is_that_of_the_patches_as_often_as_they_were_drawn():
    rng = np.random.default_rng(1)
    labels, scores = np.r_[np.ones(7), np.zeros(9)], rng.integers(0, 6, 16).astype(float)
    times = rng.integers(0, 3, (20, 16))
    times[:, [0, 15]] = 1
    expected = [pairwise(np.repeat(labels, row), np.repeat(scores, row)) for row in times]
    np.testing.assert_allclose(residue._auc(labels, scores, times), expected)
