"""Pointing game, relevance mass and rank accuracy: values worked out by hand."""

import math

import pytest
import torch

from xray_debug.saliency import pointing_game, relevance_mass_accuracy, relevance_rank_accuracy
from xray_debug.saliency.regions import area_share, inside

SIZE = (4, 4)
MAPS = torch.zeros(3, 1, 4, 4)
MAPS[0, 0, 1, 1], MAPS[0, 0, 1, 2], MAPS[0, 0, 3, 3] = 6, 3, 1
MAPS[1, 0] = 0.5
MAPS[2, 0, 0, 0] = 1
BOXES = [[(1, 1, 3, 2)], [(0, 0, 4, 2), (0, 0, 4, 3)], []]  # two pixels; three rows, two of them twice; none


def same(found, expected):
    return all(a == pytest.approx(b) or math.isnan(a) and math.isnan(b) for a, b in zip(found, expected, strict=True))


def test_relevance_mass_is_the_share_inside():
    assert same(relevance_mass_accuracy(MAPS, BOXES, SIZE).tolist(), [0.9, 0.75, math.nan])
    assert same(area_share(BOXES, SIZE).tolist(), [2 / 16, 12 / 16, 0])
    assert math.isnan(relevance_mass_accuracy(torch.zeros(1, 1, 4, 4), BOXES[:1], SIZE).item())  # no mass at all


def test_relevance_rank_looks_at_as_many_pixels_as_the_boxes_have():
    assert same(relevance_rank_accuracy(MAPS, BOXES, SIZE).tolist()[::2], [1.0, math.nan])
    assert relevance_rank_accuracy(MAPS[:1], [[(1, 1, 2, 2), (3, 3, 4, 4)]], SIZE).item() == 0.5  # 6 in, 3 out


def test_pointing_game_hits_within_its_tolerance():
    assert same(pointing_game(MAPS, BOXES, SIZE).tolist(), [1.0, 0.75, math.nan])
    corner = [[(2, 2, 4, 4)]]  # the maximum at (1, 1) lies a diagonal step away
    assert [pointing_game(MAPS[:1], corner, SIZE, t).item() for t in (0, 1, 1.5)] == [0, 0, 1]


def test_boxes_are_clipped_and_one_outside_is_none():
    assert inside([(-3, -3, 1, 1)], SIZE).sum() == 1 and inside([(2, 1, 9, 2)], SIZE).sum() == 2
    assert not inside([(5, 5, 9, 9), (2, 2, 2, 4), (3, 3, 1, 1)], SIZE, tolerance=9).any()
    assert inside([(1, 1, 2, 2)], SIZE, tolerance=1).int().tolist() == [
        [0, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]  # fmt: skip


def test_a_map_is_judged_at_the_images_size():
    """2 x 2 to 4 x 4, bilinear: the corner's own weights are 1, 3/4, 1/4, 0 in each direction."""
    coarse = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    ramp = torch.tensor([1, 0.75, 0.25, 0])
    expected = torch.outer(ramp, ramp)[:2, :2].sum() / torch.outer(ramp, ramp).sum()
    assert relevance_mass_accuracy(coarse, [[(0, 0, 2, 2)]], SIZE).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("measure", [pointing_game, relevance_mass_accuracy, relevance_rank_accuracy])
def test_as_many_boxes_as_maps(measure):
    with pytest.raises(ValueError, match="boxes: expected 3 sequences, one per map; got 1"):
        measure(MAPS, BOXES[:1], SIZE)
    with pytest.raises(ValueError, match="tolerance: expected 0 or more"):
        inside([], SIZE, -1)
