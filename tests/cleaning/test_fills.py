"""Removals in the view: closed forms, a slow solver, and what must not change."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.cleaning.fills import Fills, Membrane, around, grown


def box(size=24, y=8, x=4, high=6, wide=7):
    mask = np.zeros((size, size), np.float32)
    mask[y : y + high, x : x + wide] = 1
    return mask


def chest(size=24):
    """Smooth and symmetric about the vertical middle line."""
    across = np.abs(np.arange(size) - (size - 1) / 2) / size
    return (0.2 + 0.5 * across[None] + 0.2 * np.linspace(0, 1, size)[:, None] ** 2).astype(np.float32)


def relaxed(values, region, sweeps=4000):
    """Laplace's equation by plain Jacobi sweeps, level at the image's edge."""
    result = np.array(values, float)
    result[region] = 0
    for _ in range(sweeps):
        padded = np.pad(result, 1, mode="edge")
        mean = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
        result[region] = mean[region]
    return result


def test_a_plane_is_continued_exactly():
    plane = 0.1 + 0.02 * np.arange(20)[None] + 0.01 * np.arange(20)[:, None]
    region = np.zeros((20, 20), bool)
    region[5:15, 4:12] = True
    hole = np.where(region, 9.0, plane)
    assert np.allclose(Membrane(region).fill(hole), plane)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000))
def test_the_membrane_agrees_with_slow_relaxation(seed):
    rng = np.random.default_rng(seed)
    region = rng.random((9, 9)) < 0.5
    region[rng.integers(9), rng.integers(9)] = False
    values = rng.random((9, 9))
    found = Membrane(region).fill(values)
    assert np.allclose(found, relaxed(values, region), atol=1e-6)
    inside = values[~region]
    assert found.min() >= inside.min() - 1e-9 and found.max() <= inside.max() + 1e-9


def test_a_symmetric_film_comes_back_under_the_mirrored_fill():
    clean, mask = chest(), box()
    marked = np.where(mask > 0, 1.0, clean).astype(np.float32)
    found = Fills(marked, mask).of(mask)
    assert np.abs(found["mirrored"] - clean)[mask > 0].max() < 0.01
    assert np.abs(marked - clean)[mask > 0].max() > 0.3


@pytest.mark.parametrize("name", ["smoothed", "mirrored"])
def test_only_the_mask_and_its_rim_change(name):
    rng = np.random.default_rng(0)
    image, mask = rng.random((24, 24)).astype(np.float32), box()
    found = Fills(image, mask).of(mask)[name]
    outside = ~grown(mask)
    assert found.dtype == np.float32 and np.array_equal(found[outside], image[outside])
    assert grown(mask).sum() == 8 * 9 and (found != image)[grown(mask)].all()
    assert found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize("name", ["smoothed", "mirrored"])
def test_what_the_mask_covers_has_no_say(name):
    image, mask = chest(), box()
    other = np.where(mask > 0, 1 - image, image).astype(np.float32)
    assert np.array_equal(Fills(image, mask).of(mask)[name], Fills(other, mask).of(mask)[name])


def test_the_mirrored_half_brings_no_other_text_back():
    clean, control = chest(), box(x=4)
    text = control[:, ::-1].copy()
    marked = np.where(text > 0, 1.0, clean).astype(np.float32)
    found = Fills(marked, text).of(control)["mirrored"]
    assert np.abs(found - clean)[control > 0].max() < 0.05


def together(image, mask, text):
    """The mirrored fill by its definition: one membrane over the mask and all text, for the source."""
    region, whole = grown(mask), grown(mask) | grown(text)
    rim = around(image, whole)
    source = np.where(whole, Membrane(whole).fill(rim), image)[:, ::-1]
    offset = Membrane(region).fill(rim - cv2.GaussianBlur(np.ascontiguousarray(source), (0, 0), 1.0))
    return np.where(region, (source + offset).clip(0, 1), image)


@pytest.mark.parametrize("x", [12, 15, 3])
def test_text_filled_by_itself_is_text_filled_together_with_the_mask(x):
    image = np.random.default_rng(1).random((24, 24)).astype(np.float32)
    text, mask = box(x=3), box(x=x)  # apart, rim to rim (both grow by one pixel), the same
    assert np.allclose(Fills(image, text).of(mask)["mirrored"], together(image, mask, text), atol=1e-6)


def test_the_text_s_membrane_serves_all_masks(monkeypatch):
    made = []
    monkeypatch.setattr("xray_debug.cleaning.fills.Membrane", lambda where: made.append(1) or Membrane(where))
    of = Fills(chest(), box(x=1)).of
    for mask in (box(x=1), box(x=14), box(x=15)):
        of(mask)
    assert len(made) == 3


def test_nothing_to_fill_or_nothing_to_fill_from():
    image = chest()
    assert Fills(image, np.zeros_like(image)).of(np.zeros_like(image)) == {}
    assert Fills(image, np.ones_like(image)).of(np.ones_like(image)) == {}
    with pytest.raises(ValueError, match="covers the whole image"):
        Membrane(np.ones((4, 4), bool))
