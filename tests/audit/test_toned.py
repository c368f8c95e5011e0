"""A region whose removal makes the whole film brighter: what a model owes to the brightness is not the region's."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from look_fixture import film
from torch import nn

from xray_debug.audit.auditor import audit_dataset
from xray_debug.audit.checks import region
from xray_debug.audit.checks.region import as_toned
from xray_debug.audit.frames import prepare_case
from xray_debug.config import AuditConfig, CleanConfig
from xray_debug.data.images import write_image
from xray_debug.data.view import ModelView

CLASSES, SIDE, N, PLATE = ["sound", "ill"], 48, 36, (2, 2, 15, 15)
VIEW = ModelView(SIDE)
CONFIG = AuditConfig(controls=1, swaps=0, shares=[0.1], laterality=False, permutations=50)


class Sums(nn.Module):
    """Ill the more, the larger `number`, (N, S, S) -> (N,), is than `middle`."""

    def __init__(self, number, middle):
        super().__init__()
        self.view, self.classes, self.number, self.middle = VIEW, CLASSES, number, middle
        self.weight = nn.Parameter(torch.tensor(60.0))

    def forward(self, images):
        score = self.weight * (self.number(images[:, 0]) - self.middle)
        return torch.stack([-score, score], dim=1)


def judged(folder, more, model):
    """The verdict on films with a dark plate in a corner, the ill ones brighter; `more`: what their plate has more."""
    rows, (x0, y0, x1, y1) = [], PLATE
    for index in range(N):
        ill, image = index % 2, film(index, SIDE) + np.float32(0.08 * (index % 2))
        image[y0:y1, x0:x1] = 0.1 + more * ill
        write_image(folder / f"{index}.png", np.round(image.clip(0, 1) * 255).astype(np.uint8))
        rows.append((f"{index}.png", CLASSES[ill], "s", "test", str(folder / f"{index}.png")))
    cases = pd.DataFrame(rows, columns=["image_id", "label", "source", "test_set", "file"])
    columns = ["image_id", "x0", "y0", "x1", "y1", "name"]
    boxes = pd.DataFrame([(row[0], *PLATE, "plate") for row in rows], columns=columns)
    boxes.to_csv(folder / "plates.csv", index=False)
    config = CONFIG.model_copy(update={"regions": str(folder / "plates.csv")})
    return audit_dataset(model, cases, {}, {}, config, CleanConfig(), 3).verdict


def mean(x):
    return x.mean((1, 2))


def plate(x):
    x0, y0, x1, y1 = PLATE
    return x[:, y0:y1, x0:x1].mean((1, 2))


@pytest.mark.parametrize("toned", [True, False])
def test_a_model_that_reads_the_brightness_is_not_accused_of_what_is_dark(tmp_path, monkeypatch, toned):
    if not toned:  # what the control is good for
        monkeypatch.setattr(region, "TONE", ())
    found = judged(tmp_path, 0.0, Sums(mean, 0.5))
    assert found["shown"]["look"] == ["brightness"] and ("plate" in found["shown"]["regions"]) != toned
    entry = found["classes"]["sound"]["regions"]["plate"]
    assert entry["effect"]["value"] > 0.15 and (entry["control"]["value"] > 0.15) == toned


def test_a_model_that_reads_what_is_dark_is_named_although_classes_differ_in_brightness(tmp_path):
    found = judged(tmp_path, 0.1, Sums(plate, 0.15))
    assert "brightness" in found["looks"]["differ"] and "plate" in found["shown"]["regions"]
    entry = found["classes"]["sound"]["regions"]["plate"]
    assert entry["effect"]["value"] > 0.5 and entry["control"]["value"] < 0.3


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 9), st.floats(0.9, 1.5), st.floats(-0.02, 0.02), st.sampled_from([(SIDE, SIDE), (30, SIDE)]),
       st.booleans())
def test_a_toned_film_has_the_mean_and_deviation_that_were_asked_for(seed, scale, more, shape, masked):
    image = np.round(film(seed)[: shape[0], : shape[1]] * 255).astype(np.uint8)
    case = prepare_case("a.png", "ill", image, (), ModelView(SIDE, resize="pad"), CONFIG, CleanConfig(), 0)
    own = 0.5 + 0.3 * (case.view - 0.5)  # no value is clipped
    like = 0.5 + more + scale * 0.3 * (case.view - 0.5)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[20:26, 5:15] = masked
    rows, columns = region.film_part(case.viewer, *shape)
    found = as_toned(own, like, mask, case)
    assert found[rows, columns].mean() == pytest.approx(like[rows, columns].mean(), abs=1e-4)
    assert found[rows, columns].std() == pytest.approx(like[rows, columns].std(), abs=1e-4)
    kept = mask.copy()
    kept[rows, columns] |= mask[rows, columns]
    outside = np.ones_like(kept)
    outside[rows, columns] = False
    assert np.array_equal(found[kept | outside], own[kept | outside])


def test_an_even_film_is_only_shifted_and_one_that_is_all_region_stays():
    case = prepare_case("a.png", "ill", np.full((SIDE, SIDE), 90, np.uint8), (), VIEW, CONFIG, CleanConfig(), 0)
    found = as_toned(case.view, film(1, SIDE), np.zeros((SIDE, SIDE), bool), case)
    assert found.std() < 1e-6 and math.isclose(found.mean(), film(1, SIDE).mean(), abs_tol=1e-4)
    assert np.array_equal(as_toned(case.view, film(1, SIDE), np.ones((SIDE, SIDE), bool), case), case.view)
