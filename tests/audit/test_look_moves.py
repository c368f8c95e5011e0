"""The families, and what is moved: it reaches its value, the control changes as much the other way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from look_fixture import film

from xray_debug.audit.look.families import FAMILIES, deblocked
from xray_debug.audit.look.measures import MEASURES, brightness, contrast, gamma, jpeg
from xray_debug.audit.look.moves import MATCHED, REACHED, moved, rms, searched

NAMES = list(FAMILIES)


def test_a_family_for_every_measure():
    assert list(MEASURES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_property_grows_with_the_amount(name):
    image = film(1)
    blocky = FAMILIES["jpeg"](image, 0.9, 0)
    start = blocky if name == "jpeg" else image
    amounts = (-0.6, -0.3, -0.1, 0.1, 0.3, 0.6)
    values = [MEASURES[name](FAMILIES[name](start if amount < 0 else image, amount, 3)) for amount in amounts]
    low, high = MEASURES[name](start), MEASURES[name](image)
    assert all(a <= b + 1e-3 for a, b in zip(values[:3], [*values[1:3], low], strict=True)) and values[0] < low - 1e-3
    assert all(b <= a + 1e-3 for a, b in zip(values[3:], [high, *values[3:5]], strict=True))
    assert values[-1] > high + 1e-3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("amount", [-1.0, -0.4, -0.01, 0.01, 0.4, 1.0])
def test_a_family_gives_a_new_film_and_nothing_at_a_small_amount(name, amount):
    image = film(2)
    before = image.copy()
    found = FAMILIES[name](image, amount, 0)
    assert np.array_equal(image, before) and found.dtype == np.float32 and found.shape == image.shape
    assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1
    if abs(amount) < 0.1 and name != "jpeg":
        assert rms(found, image) < 0.02


def test_gamma_leaves_brightness_and_contrast():
    image = film(4)
    found = FAMILIES["gamma"](image, 0.2, 0)
    assert gamma(found) > gamma(image) + 0.05
    assert brightness(found) == pytest.approx(brightness(image), abs=2e-3)
    assert contrast(found) == pytest.approx(contrast(image), abs=5e-3)


def test_deblocking_takes_a_planted_step_away_and_leaves_a_slope():
    slope = np.linspace(0.1, 0.6, 24, dtype=np.float32)[None].repeat(5, 0)
    stepped = slope + np.repeat([0, 0.1, 0.2], 8).astype(np.float32)
    assert np.allclose(deblocked(slope, 1.0), slope, atol=1e-6)
    steps = np.diff(deblocked(stepped, 1.0), axis=1)[0]
    assert steps[7] == pytest.approx(steps[0], abs=1e-6) and np.diff(stepped, axis=1)[0, 7] > steps[0] + 0.09
    assert np.allclose(deblocked(stepped, 0.0), stepped)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 500), st.integers(0, 500))
def test_what_is_moved_reaches_the_value_of_another_film_and_its_control_changes_as_much(name, first, second):
    image, other = film(first, 48, 0.004 + 0.02 * (first % 3)), film(second + 1000, 48, 0.004 + 0.02 * (second % 3))
    start, target = MEASURES[name](image), MEASURES[name](other)
    found = moved(image, name, target, first)
    if found is None:
        return
    assert found.value == pytest.approx(MEASURES[name](found.image))
    assert abs(found.value - start) >= REACHED * abs(target - start) and (found.value - start) * (target - start) > 0
    assert found.change == pytest.approx(rms(found.image, image))
    assert found.control_change == pytest.approx(rms(found.control, image))
    assert MATCHED * found.change <= found.control_change <= 1.01 * found.change
    away = MEASURES[name](found.control) - start
    # never towards the other class, but by chance, and then by a twentieth of the way at most
    assert away * (target - start) <= 1e-3 + 0.05 * (target - start) ** 2
    again = moved(image, name, target, first)
    assert np.array_equal(again.image, found.image) and np.array_equal(again.control, found.control)


@pytest.mark.parametrize(("name", "target"), [
    ("brightness", 0.62), ("brightness", 0.4), ("contrast", 0.4), ("contrast", 0.12), ("gamma", 0.65), ("gamma", 0.35),
    ("sharpness", 0.2), ("sharpness", 0.03), ("noise", 0.05), ("noise", 0.004), ("jpeg", 0.4), ("resolution", 0.5),
    ("resolution", 0.97)])  # fmt: skip
def test_values_that_films_have_are_reached(name, target):
    found = moved(film(7), name, target, 0)
    assert found is not None and found.value == pytest.approx(target, abs=0.03 * max(target, 0.3))


def test_a_grid_is_taken_away_without_blurring_the_film():
    image = film(3)
    blocky = FAMILIES["jpeg"](image, 0.93, 0)
    found = moved(blocky, "jpeg", 0.0)
    assert jpeg(blocky) > 0.25 and found.value < 0.5 * jpeg(blocky)
    assert rms(found.image, image) <= rms(blocky, image) * 1.05


def test_nothing_is_moved_where_there_is_no_way_or_no_control():
    image = film(5)
    assert moved(image, "brightness", brightness(image)) is None
    assert moved(np.full((32, 32), 0.5, np.float32), "contrast", 0.4) is None  # nothing there to be stretched
    assert moved(np.full((32, 32), 0.0, np.float32), "brightness", 0.3) is None  # black cannot be darkened: no control


def test_searched_takes_the_smallest_amount_of_those_as_near():
    seen = []
    found, value = searched(lambda amount: seen.append(amount) or amount, lambda amount: min(amount, 0.25), 0.25)
    assert value == 0.25 and found == pytest.approx(0.25, abs=1 / 128) and seen[0] == 1.0
    assert searched(lambda amount: amount, lambda amount: amount, 2.0) == (1.0, 1.0)
    assert searched(lambda amount: amount, lambda amount: amount, 0.3, 0.5)[0] == pytest.approx(0.3, abs=1 / 128)
