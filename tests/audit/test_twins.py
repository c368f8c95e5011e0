"""Films of 16 bits: whatever is made of a film is seen through the film's own grey window."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from xray_debug.audit.auditor import audit_dataset, make_bank
from xray_debug.audit.frames import prepare_case
from xray_debug.config import AuditConfig, CleanConfig
from xray_debug.data.images import write_image
from xray_debug.data.view import ModelView, to_gray8

CLASSES = ["normal", "COVID-19"]
BOX = (30, 4, 42, 10)
CONFIG = AuditConfig(controls=2, swaps=1, permutations=100)


class LungReader(nn.Module):
    """Decides by the brightness of the film's middle, where no text is: text is neutral."""

    def __init__(self):
        super().__init__()
        self.view, self.classes = ModelView(24), CLASSES
        self.gain = nn.Parameter(torch.tensor(12.0))

    def forward(self, images):
        inside = images[:, 0, 10:20, 4:20].mean((1, 2)) - 0.4
        return self.gain * torch.stack([-inside, inside], dim=1)


def deep_film(rng, level: int) -> np.ndarray:
    """uint16 (48, 48): tissue that uses a small part of the range, and ink far above it on 3 % of the area."""
    image = (level + rng.normal(0, 260, (48, 48))).clip(200, 20000).astype(np.uint16)
    image[:2] = 0
    x0, y0, x1, y1 = BOX
    image[y0:y1, x0:x1] = 30000
    return image


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """The same 24 films with 16 bits and with the 8 that are seen of them."""
    rng, tables = np.random.default_rng(1), {}
    films = [deep_film(rng, 9000 + 4000 * (i % 2) + 300 * (i % 5)) for i in range(24)]
    for name, form in (("deep", lambda image: image), ("flat", to_gray8)):
        folder = tmp_path_factory.mktemp(name)
        rows = []
        for index, film in enumerate(films):
            write_image(folder / f"{index:02d}.png", form(film))
            rows.append((f"{index:02d}.png", CLASSES[index % 2], "s", "test", str(folder / f"{index:02d}.png")))
        tables[name] = pd.DataFrame(rows, columns=["image_id", "label", "source", "test_set", "file"])
    return films, tables


def audited(cases):
    boxes = {name: [BOX] for name in cases["image_id"]}
    saliency = {name: np.eye(6, dtype=np.float32) for name in cases["image_id"]}
    return audit_dataset(LungReader(), cases, boxes, saliency, CONFIG, CleanConfig(), 3)


def test_neutral_text_is_not_accused_and_the_verdict_is_that_of_the_twin(twins):
    deep, flat = (audited(twins[1][name]) for name in ("deep", "flat"))
    assert deep.verdict["verdict"] == flat.verdict["verdict"]
    assert deep.verdict["shown"] == flat.verdict["shown"]
    assert deep.cases["flagged"].tolist() == flat.cases["flagged"].tolist()
    for column in ("p_text_inpainted", "effect", "effect_beyond_controls", "p_text_only"):
        assert deep.cases[column].to_numpy(float) == pytest.approx(flat.cases[column].to_numpy(float), abs=0.01), column
    assert deep.cases["effect"].abs().max() < 0.01  # the reader never sees the text


@pytest.mark.parametrize("boxes", [[BOX], [BOX, (2, 40, 30, 46)]])
def test_removing_and_pasting_change_nothing_elsewhere(twins, boxes):
    film, view = twins[0][0], ModelView(48)
    case = prepare_case("a", "normal", film, boxes, view, CONFIG, CleanConfig())
    away = case.text.mask == 0
    assert away.sum() > 1000 and np.array_equal(case.text.views["inpainted"][away], case.view[away])
    control = case.remover.control(np.array([(4, 20, 16, 26)]))
    away = control.mask == 0
    assert np.array_equal(control.views["inpainted"][away], case.view[away])
    assert np.array_equal(case.text_free_gray[case.text.mask == 0], to_gray8(film)[case.text.mask == 0])


def test_a_marker_is_lifted_in_the_grey_levels_that_are_seen(twins):
    deep, flat = (
        make_bank(table, {name: [BOX] for name in table["image_id"]}, ModelView(24), CONFIG, CleanConfig())
        for table in (twins[1]["deep"], twins[1]["flat"])
    )
    assert len(deep) == len(flat) > 5
    for one, other in zip(deep, flat, strict=True):
        for a, b in zip(one.markers + one.controls, other.markers + other.controls, strict=True):
            assert np.abs(a.difference - b.difference).mean() < 2  # 8 bits are inpainted in whole grey levels
