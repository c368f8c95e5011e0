"""Removals in the view: closed forms, a slow solver, and what must not change."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.cleaning.fills import Membrane, fills, grown


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
    found = fills(marked, mask, mask)
    assert np.abs(found["mirrored"] - clean)[mask > 0].max() < 0.01
    assert np.abs(marked - clean)[mask > 0].max() > 0.3


@pytest.mark.parametrize("name", ["smoothed", "mirrored"])
def test_only_the_mask_and_its_rim_change(name):
    rng = np.random.default_rng(0)
    image, mask = rng.random((24, 24)).astype(np.float32), box()
    found = fills(image, mask, mask)[name]
    outside = ~grown(mask)
    assert found.dtype == np.float32 and np.array_equal(found[outside], image[outside])
    assert grown(mask).sum() == 8 * 9 and (found != image)[grown(mask)].all()
    assert found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize("name", ["smoothed", "mirrored"])
def test_what_the_mask_covers_has_no_say(name):
    image, mask = chest(), box()
    other = np.where(mask > 0, 1 - image, image).astype(np.float32)
    assert np.array_equal(fills(image, mask, mask)[name], fills(other, mask, mask)[name])


def test_the_mirrored_half_brings_no_other_text_back():
    clean, control = chest(), box(x=4)
    text = control[:, ::-1].copy()
    marked = np.where(text > 0, 1.0, clean).astype(np.float32)
    found = fills(marked, control, text)["mirrored"]
    assert np.abs(found - clean)[control > 0].max() < 0.05


def test_nothing_to_fill_or_nothing_to_fill_from():
    image = chest()
    assert fills(image, np.zeros_like(image), np.zeros_like(image)) == {}
    assert fills(image, np.ones_like(image), np.ones_like(image)) == {}
    with pytest.raises(ValueError, match="covers the whole image"):
        Membrane(np.ones((4, 4), bool))
