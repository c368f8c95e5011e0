"""Names of groups, and shares whose images belong to patients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_debug.stats.groups import clustered_share, named_groups
from xray_debug.stats.intervals import bootstrap, wilson


def test_values_are_their_own_groups_and_what_is_empty_is_named():
    assert named_groups(["PA", " AP", None, float("nan"), ""]).tolist() == ["PA", "AP", *["not known"] * 3]
    assert named_groups([1, 2, 2, 1]).tolist() == ["1", "2", "2", "1"]  # few numbers stay as they are


def test_many_numbers_become_four_bands_of_about_as_many():
    found = named_groups(np.arange(100.0))
    names, sizes = np.unique(found, return_counts=True)
    assert set(sizes) == {25} and "0 to 24.75" in names and found[99] == "74.25 to 99"
    assert named_groups([*range(20), "x"]).tolist() == [*map(str, range(20)), "x"]  # one is no number


def test_ages_of_dicom_are_years():
    found = named_groups([f"{age:03d}Y" for age in range(20, 60)] + ["006M", "073D", ""])
    assert found[-3] == found[-2] and found[-2].startswith("0.199") and found[-1] == "not known"


@given(st.lists(st.floats(-1e6, 1e6), min_size=9, max_size=60, unique=True))
def test_a_band_holds_the_numbers_between_its_ends(values):
    for value, name in zip(values, named_groups(values), strict=True):
        low, high = (float(end) for end in name.split(" to "))
        width = 1e-5 * max(map(abs, values)) + 1e-9
        assert low - width <= value <= high + width


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_with_an_image_each_it_is_wilsons(hits):
    found = clustered_share(np.array(hits, float), np.arange(len(hits)))
    assert found == pytest.approx(tuple(wilson(sum(hits), len(hits))))


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.integers(2, 4))
def test_copies_of_a_patients_image_add_no_evidence(hits, copies):
    once = clustered_share(np.array(hits, float), np.arange(len(hits)))
    again = clustered_share(np.tile(np.array(hits, float), copies), np.tile(np.arange(len(hits)), copies))
    assert again == pytest.approx(tuple(once))


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=40))
def test_the_share_lies_in_its_interval(rows):
    hits, owners = (np.array(side) for side in zip(*rows, strict=True))
    found = clustered_share(hits, owners)
    assert 0 <= found.low <= found.value + 1e-9 and found.value <= found.high + 1e-9 <= 1 + 1e-9


def test_many_patients_with_several_images_spread_as_their_resamples_do():
    rng = np.random.default_rng(1)
    owners = np.repeat(np.arange(150), rng.integers(1, 6, 150))
    hits = (rng.random(len(owners)) < rng.beta(1, 1, 150)[owners]).astype(float)
    found, slow = clustered_share(hits, owners), bootstrap(np.mean, [hits], 1500, 0, groups=owners)
    assert (found.low, found.high) == pytest.approx((slow.low, slow.high), abs=0.012)
    assert found.high - found.low > 1.15 * (lambda w: w.high - w.low)(wilson(int(hits.sum()), len(hits)))
    assert np.isnan(clustered_share(np.zeros(0), np.zeros(0)).value)


def test_one_patients_images_are_one_image():
    """Half of them right: nothing is known of how patients differ, so the interval is that of a single image."""
    found, single = clustered_share(np.repeat([0.0, 1.0], 10), np.zeros(20)), wilson(0.5, 1)
    assert found.value == 0.5 and (found.low, found.high) == pytest.approx((single.low, single.high))
