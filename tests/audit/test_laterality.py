"""Whether the check of left and right names models that read it, and none that read something else."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from look_fixture import film
from scipy import ndimage
from torch import nn

from xray_debug.audit.checks.laterality import SIDE, Laterality, displaced, mirrored_film, moved_marker, sideways
from xray_debug.audit.frames import Frames, prepare_case
from xray_debug.audit.look.moves import MATCHED, rms
from xray_debug.audit.measures import Outcomes
from xray_debug.audit.swaps import Piece
from xray_debug.audit.verdict import judge_all, set_verdict
from xray_debug.config import AuditConfig, CleanConfig
from xray_debug.data.view import ModelView
from xray_debug.models.predict import probabilities

CLASSES, SIZE, N = ["sound", "ill"], 48, 32
VIEW, CONFIG = ModelView(SIZE), AuditConfig()
HEART = (slice(24, 40), slice(26, 38))  # on one side of the film; a marker stands at the top
LETTER = np.kron([[1, 0, 0], [1, 0, 0], [1, 1, 1]], np.ones((2, 2)))  # an L of 6 x 6 pixels


def drawn(index, mirrored=False, marker=None, spot=0.0):
    """uint8 (SIZE, SIZE): a body with a heart, on the other side where `mirrored`; `marker`: x of an L; `spot`: the
    finding."""
    y, x = np.mgrid[:SIZE, :SIZE] / (SIZE - 1) - 0.5
    image = 0.2 * film(index, SIZE) + 0.5 * np.exp(-8 * x**2 - 12 * y**2)
    image[HEART] += 0.15
    image = image[:, ::-1].copy() if mirrored else image
    image[4:12, 20:28] += spot
    if marker is not None:
        image[4:10, marker : marker + 6] += 0.35 * LETTER
    return np.round(image.clip(0, 1) * 255).astype(np.uint8)


class Reader(nn.Module):
    def __init__(self, number, middle):
        super().__init__()
        self.view, self.classes, self.number, self.middle = VIEW, CLASSES, number, middle
        self.weight = nn.Parameter(torch.tensor(40.0))

    def forward(self, images):
        score = self.weight * (self.number(images[:, 0]) - self.middle)
        return torch.stack([-score, score], dim=1)


def heart(x):
    """Right half less left half, of the lower part: on which side the heart is."""
    return x[:, 20:, 24:].mean((1, 2)) - x[:, 20:, :24].mean((1, 2))


def side(x):
    """Of the brightest parts at the top: right less left."""
    return x[:, 3:11, 34:44].mean((1, 2)) - x[:, 3:11, 4:14].mean((1, 2))


def anywhere(x):
    """Whether an L is there, wherever: a correlation with its shape."""
    kernel = torch.tensor(LETTER - LETTER.mean(), dtype=x.dtype)[None, None]
    return nn.functional.conv2d(x[:, None], kernel).amax((1, 2, 3)) / (LETTER * (LETTER - LETTER.mean())).sum()


def finding(x):
    return x[:, 4:12, 20:28].mean((1, 2)) - x[:, 12:20].mean((1, 2))


def rows_of(model, films, boxes=None):
    """The check's columns of every film, sound and ill in turn."""
    check, rows = Laterality(CONFIG), []
    for index, image in enumerate(films):
        label, frames = CLASSES[index % 2], Frames()
        one = prepare_case(f"{index}.png", label, image, boxes[index] if boxes else (), VIEW, CONFIG, CleanConfig(), 1)
        frames.add("image", one.view)
        if one.has("text"):
            frames.add("text_inpainted", one.text_free)
        kept = check.frames(one, frames)
        out = Outcomes(frames.names, probabilities(model, frames.stack()), CLASSES)
        rows.append({"image_id": one.image_id, "label": label, **check.columns(one, out, kept)})
    return pd.DataFrame(rows)


def shown(model, films, boxes=None):
    found = judge_all(rows_of(model, films, boxes), CLASSES, CONFIG, 0, [Laterality(CONFIG)])
    return {(j.hypothesis.name, j.hypothesis.label) for j in found if j.entry["shown"]}, found


def test_a_model_that_reads_the_orientation_is_named():
    films = [drawn(i, mirrored=i % 2) for i in range(N)]
    named, found = shown(Reader(lambda x: -heart(x), 0.0), films)
    assert named == {("laterality:film", "sound"), ("laterality:film", "ill")}
    assert all(not j.hypothesis.name.endswith("marker") for j in found)  # there is none
    sentence = found[0].sentence
    assert sentence.startswith("sound relies on the orientation of the film: mirroring the film (text already gone) ")
    assert "beyond their controls" in sentence


def test_a_model_that_reads_the_finding_is_not_accused():
    films = [drawn(i, mirrored=i % 2, spot=0.2 * (i % 2), marker=6) for i in range(N)]
    named, found = shown(Reader(finding, 0.1), films, [[(5, 3, 13, 11)]] * N)
    assert not named and {j.hypothesis.name for j in found} == {"laterality:film", "laterality:marker"}


def test_a_model_that_any_change_makes_unsure_is_not_accused():
    films = [drawn(i, spot=0.2 * (i % 2)) for i in range(N)]
    known = torch.from_numpy(np.stack(films)).float()[None] / 255

    class Unsure(Reader):
        def forward(self, images):
            far = ((images - known) ** 2).mean((2, 3)).sqrt().min(1).values
            return super().forward(images) * torch.exp(-60 * far)[:, None]

    named, found = shown(Unsure(finding, 0.1), films)
    assert not named and all(j.entry["effect"]["value"] > 0.2 for j in found)


@pytest.fixture(scope="module")
def marked():
    """Films whose marker stands left on the sound, right on the ill; and its boxes."""
    places = [36 if i % 2 else 6 for i in range(N)]
    return [drawn(i, marker=x) for i, x in enumerate(places)], [[(x - 1, 3, x + 7, 11)] for x in places]


def test_a_model_that_reads_the_side_of_the_marker_is_named(marked):
    named, _ = shown(Reader(side, 0.0), *marked)
    assert named == {("laterality:marker", "sound"), ("laterality:marker", "ill")}


def test_a_model_that_reads_the_letter_wherever_it_stands_is_not_accused_of_its_side():
    films = [drawn(i, marker=6 if i % 2 else None) for i in range(N)]
    named, found = shown(Reader(anywhere, 0.2), films, [[(5, 3, 13, 11)] if i % 2 else [] for i in range(N)])
    entry = next(j.entry for j in found if j.hypothesis.name == "laterality:marker")
    assert not named and entry["n"] == N // 2 and abs(entry["effect"]["value"]) < 0.2


def test_the_verdict_holds_it_beside_the_regions(marked):
    table = rows_of(Reader(side, 0.0), *marked).assign(
        text_visible=1, problem="", predicted="ill", decision_centre_blacked="ill", kind="")
    found = set_verdict(table, CLASSES, CONFIG)
    assert found["shown"]["laterality"] == ["marker"] and found["shown"]["regions"] == []
    assert found["classes"]["ill"]["laterality"]["marker"]["shown"]
    assert found["verdict"] == "sound relies on the side of the marker; ill relies on the side of the marker"


# ------------------------------------------------------------------------------------------------ one case


def case(image, boxes=(), view=VIEW):
    return prepare_case("x.png", "ill", image, boxes, view, CONFIG, CleanConfig(), 0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 5000))
def test_the_control_of_a_mirrored_film_changes_as_much(seed):
    found = case(drawn(seed))
    mirror, control = mirrored_film(found)
    assert np.array_equal(mirror[:, ::-1], found.view)
    change, other = rms(mirror, found.view), rms(control, found.view)
    assert MATCHED * change <= other <= 1.2 * change
    assert rms(control, mirror) > 0.3 * change


def test_displaced_by_scipy():
    image = film(3, SIZE)
    assert np.allclose(displaced(image, 0.0, 0.0), image, atol=1e-6)
    turned = ndimage.rotate(image, 9.0, reshape=False, order=1)  # TURN * 0.3
    assert np.abs(displaced(image, 0.3, 0.0) - turned)[10:-10, 10:-10].max() < 0.02
    shifted = ndimage.shift(image, (SIZE * 0.2 * 0.5, 0), order=1)
    assert np.abs(displaced(image, 0.0, 0.5) - shifted)[10:-2, 2:-2].max() < 1e-2


def test_a_film_that_is_its_own_mirror_image_is_not_moved():
    half = film(2, SIZE)[:, : SIZE // 2]
    image = np.round(np.concatenate([half, half[:, ::-1]], axis=1) * 255).astype(np.uint8)
    assert mirrored_film(case(image)) is None


def test_margins_stay_where_they_are():
    view = ModelView(SIZE, resize="pad")
    found = prepare_case("x.png", "ill", drawn(1)[:24], (), view, CONFIG, CleanConfig(), 0)
    for image in mirrored_film(found) or ():
        assert not image[:12].any() and not image[36:].any() and image[12:36].all()


def test_the_letters_stand_as_they_were_at_the_mirrored_place_and_further_down(marked):
    image, boxes = marked[0][0], marked[1][0]
    found = case(image, boxes)
    ground = found.text_free * 255
    aside, below = (view.astype(float) - ground for view in moved_marker(found))
    letter = image[3:11, 5:13].astype(float) - ground[3:11, 5:13]
    assert letter.max() > 60
    assert np.allclose(aside[3:11, 35:43], letter, atol=1) and np.abs(aside[:, :30]).max() < 1
    assert np.allclose(below[33:41, 5:13], letter, atol=1) and np.abs(below[:30]).max() < 1


def test_a_marker_in_the_middle_has_no_side():
    image = drawn(0, marker=21)
    assert moved_marker(case(image, [(20, 3, 28, 11)])) is None
    assert moved_marker(case(drawn(0))) is None


@settings(max_examples=100, deadline=None)
@given(st.floats(0.05, 0.95), st.floats(0.06, 0.94), st.integers(20, 80), st.integers(20, 80))
def test_sideways_moves_as_far_up_or_down_as_across_where_there_is_room(x, y, height, width):
    piece = Piece(np.zeros((2, 3), np.float32), x, y)
    across, along = sideways(piece, height, width)
    assert across.x == pytest.approx(1 - x) and across.y == y and along.x == x
    length, moved = abs(1 - 2 * x) * width, abs(along.y - y) * height
    room = max(y * height - 1, (1 - y) * height - 1)
    assert moved == pytest.approx(min(length, max(room, 0)), abs=1e-6)
    assert 1 - 1e-6 <= along.y * height <= height - 1 + 1e-6 or moved < 1e-6


def test_columns_by_hand():
    names = ["image", "text_inpainted", "laterality/film/moved", "laterality/film/control"]
    out = Outcomes(names, np.array([(0.9, 0.1), (0.7, 0.3), (0.2, 0.8), (0.6, 0.4)]), CLASSES)
    row = Laterality(CONFIG).columns(case(drawn(0)), out, ["film"])  # of class ill
    assert row["laterality_film_effect_ill"] == pytest.approx(0.3 - 0.8)  # from the image without text
    assert row["laterality_film_control_effect_ill"] == pytest.approx(0.3 - 0.4)
    assert row["laterality_film_gain_effect_sound"] == pytest.approx(0.2 - 0.7)
    assert row["laterality_film_decision"] == "ill" and row["laterality_film_p"] == pytest.approx(0.2)
    assert np.isnan(row["laterality_film_effect_sound"]) and np.isnan(row["laterality_film_gain_effect_ill"])
    assert np.isnan(row["laterality_marker_effect_ill"]) and row["laterality_marker_decision"] == ""


def test_the_option_turns_it_off():
    check, frames = Laterality(AuditConfig(laterality=False)), Frames()
    assert check.frames(case(drawn(0)), frames) == [] and frames.names == [] and check.most_frames() == 0
    assert check.columns(case(drawn(0)), Outcomes(["image"], np.array([(0.9, 0.1)]), CLASSES), []) == {}
    assert Laterality(CONFIG).most_frames() == 4 and 0 < SIDE < 1
