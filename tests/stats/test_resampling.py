"""Bootstrap weights: as many patients as there are, whole patients, the same however many come at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.stats.resampling import resample_weights, resampled

owners = st.lists(st.integers(0, 6), min_size=1, max_size=20).map(np.array)


@given(owners, st.integers(0, 99), st.integers(1, 9))
@settings(max_examples=60)
def test_whole_owners_are_drawn_as_often_as_there_are_owners(names, seed, chunk):
    weights = np.concatenate(list(resample_weights(names, 8, seed, chunk)))
    assert weights.shape == (8, len(names))
    assert np.array_equal(weights, np.concatenate(list(resample_weights(names, 8, seed))))
    _, first, codes = np.unique(names, return_index=True, return_inverse=True)
    assert np.array_equal(weights, weights[:, first][:, codes])  # one number for all images of an owner
    assert (weights[:, first].sum(1) == len(first)).all()


def test_the_mean_of_resamples_spreads_as_a_mean_does():
    values = np.random.default_rng(0).normal(size=200)
    found = resampled(np.arange(200), lambda weights: {"mean": weights @ values / weights.sum(1)}, 4000, 1)["mean"]
    assert found.shape == (4000,) and abs(found.mean() - values.mean()) < 0.01
    assert abs(found.std() / (values.std() / np.sqrt(200)) - 1) < 0.05
