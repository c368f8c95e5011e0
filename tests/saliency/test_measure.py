"""Sparseness: the Gini index in closed form."""

import math

import pytest
import torch

from xray_debug.saliency import sparseness


def test_sparseness_is_the_gini_index():
    maps = torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 5], [1, 3, 0, 2], [0, 0, 0, 0]]).view(4, 1, 2, 2)
    found = sparseness(maps)
    assert found[:2].tolist() == [0.0, 0.75] and math.isnan(found[3])
    values = maps[2].flatten()
    apart = (values[:, None] - values[None]).abs().sum() / (2 * 4 * values.sum())  # mean difference over twice the mean
    assert found[2].item() == pytest.approx(apart.item())
    assert sparseness(maps[2:3] * 7).item() == pytest.approx(found[2].item())


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_what_is_no_saliency_is_refused(bad):
    with pytest.raises(ValueError, match="saliency: expected finite values of at least 0"):
        sparseness(torch.tensor([[0.5, bad, 0.2]]))
