"""What is typical of each class, and which properties are worth moving."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from look_fixture import film
from scipy import stats

from xray_debug.audit.look.collect import looks_of_views, make_looks, text_free
from xray_debug.audit.look.families import FAMILIES
from xray_debug.audit.look.measures import MEASURES, brightness, measured, noise
from xray_debug.audit.look.typical import FEWEST, MOST, MOST_IMAGES, Looks, as_film, chosen_images, looks_of, rank_sum_p
from xray_debug.config import AuditConfig
from xray_debug.data.images import write_image
from xray_debug.data.view import ModelView
from xray_debug.data.views import Views

SCREENED = AuditConfig()


def films(labels, amounts, side=32):
    """(label, film): of each class brighter by its amount."""
    return [(label, FAMILIES["brightness"](film(index, side), amounts.get(label, 0.0), 0))
            for index, label in enumerate(labels)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=30), st.lists(st.integers(0, 12), min_size=2, max_size=30))
def test_rank_sum_p_is_scipys(first, second):
    values = np.array(first + second, float)
    if len(set(values)) == 1:
        assert rank_sum_p(values, np.arange(len(values)) < len(first)) == 1
        return
    wanted = stats.mannwhitneyu(first, second, use_continuity=False, method="asymptotic").pvalue
    assert rank_sum_p(values, np.arange(len(values)) < len(first)) == pytest.approx(wanted, rel=1e-6)


def test_medians_and_the_classes_that_differ():
    given = films(["a", "b", "c"] * 14, {"b": 0.5})
    looks = looks_of(given, SCREENED)
    for label in "abc":
        values = [brightness(image) for name, image in given if name == label]
        assert looks.medians["brightness"][label] == pytest.approx(np.median(values))
    assert looks.differ["brightness"] == [["a", "b"], ["b", "c"]] and looks.images == 42
    assert looks.others("brightness", "b") == ["a", "c"] and looks.others("brightness", "a") == ["b"]
    row = next(r for r in looks.found if (r["property"], r["first"], r["second"]) == ("brightness", "a", "b"))
    pairs = itertools.product(*([brightness(i) for name, i in given if name == label] for label in "ab"))
    assert row["auroc"] == pytest.approx(np.mean([x > y for x, y in pairs])) and row["differs"]
    assert Looks(**json.loads(json.dumps(looks.as_dict()))) == looks


def test_classes_that_look_alike_leave_nothing_to_move():
    looks = looks_of(films(["a", "b"] * 20, {}), SCREENED)
    assert looks.differ == {} and not any(row["differs"] for row in looks.found)
    assert len(looks.found) == len(MEASURES)


def test_all_moves_every_property_and_screened_the_best_three():
    given = []
    for index in range(40):
        image = film(index, 32)
        if index % 2:
            for name, amount in (("brightness", 0.3), ("noise", 0.3), ("jpeg", 0.9), ("contrast", -0.1)):
                image = FAMILIES[name](image, amount, index)
        given.append(("ab"[index % 2], image))
    found = looks_of(given, SCREENED)
    assert len(found.differ) == MOST and sum(row["differs"] for row in found.found) > MOST
    area = {row["property"]: abs(row["auroc"] - 0.5) for row in found.found}
    assert min(area[name] for name in found.differ) >= sorted(area.values())[-MOST]
    assert set(looks_of(given, AuditConfig(look="all")).differ) == {name for name in MEASURES if area[name] > 0}


def test_a_class_of_few_images_says_nothing():
    given = films(["a"] * 20 + ["b"] * (FEWEST - 1), {"b": 0.6})
    assert looks_of(given, SCREENED).differ == {} and "b" not in looks_of(given, SCREENED).medians["brightness"]
    assert looks_of([], SCREENED).found == []


def test_images_are_chosen_evenly_one_of_a_patient():
    frame = pd.DataFrame({"label": ["a"] * 3000 + ["b"] * 100, "patient_id": [f"p{i // 2}" for i in range(3100)]})
    chosen = chosen_images(frame, 3)
    assert len(chosen) == MOST_IMAGES and chosen["label"].value_counts()["b"] == 50
    assert not chosen["patient_id"].duplicated().any() and chosen.index.is_monotonic_increasing
    assert chosen.equals(chosen_images(frame, 3)) and not chosen.equals(chosen_images(frame, 4))
    assert len(chosen_images(frame.drop(columns="patient_id"), 0)) == MOST_IMAGES


def test_the_margins_of_a_view_are_no_part_of_the_film():
    view, image = ModelView(32, resize="pad"), np.full((20, 40), 200, np.uint8)
    found = as_film(view.apply(image), view, 20, 40)
    assert found.shape == (16, 32) and brightness(found) == pytest.approx(200 / 255)
    assert as_film(np.zeros((32, 32), np.float32), ModelView(32), 20, 40).shape == (32, 32)


def test_views_of_the_training_images_are_what_is_measured(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(60, 120, (48, 24, 24)).astype(np.uint8)
    images[::2] += 60
    frame = pd.DataFrame({"label": ["a", "b"] * 24, "split": ["train"] * 32 + ["test"] * 16, "height": 24, "width": 24,
                          "patient_id": [f"p{i}" for i in range(48)], "problem": [""] * 47 + ["broken"]})
    frame["image_id"] = [f"{i}.png" for i in range(48)]
    found = looks_of_views(frame, {}, Views.of(images), ModelView(24), SCREENED, 1)
    values = [noise(image.astype(np.float32) / 255) for image in images[1:32:2]]
    assert found["images"] == 32 and found["medians"]["noise"]["b"] == pytest.approx(np.median(values))
    assert "brightness" in found["differ"]
    tested = looks_of_views(frame.assign(split="test"), {}, Views.of(images), ModelView(24), SCREENED, 1)
    assert tested["images"] == 47
    assert looks_of_views(frame, {}, Views.of(images), ModelView(24), AuditConfig(look="off")) is None
    rows = []
    for index in range(32):
        write_image(tmp_path / f"{index}.png", images[index])
        rows.append((f"{index}.png", "ab"[index % 2], str(tmp_path / f"{index}.png")))
    rows.append(("gone.png", "a", str(tmp_path / "gone.png")))
    read = make_looks(pd.DataFrame(rows, columns=["image_id", "label", "file"]), {}, ModelView(24), SCREENED, 1)
    assert read == found  # the same films, read from their files; one that is not there is left out


def test_text_does_not_count():
    """A letter in one class alone is no brightness of its films."""
    view, boxes, shifts = ModelView(48), [(6, 60, 26, 76)], []
    for index in range(12):
        image = np.round(255 * film(index, 96)).astype(np.uint8)
        plain = as_film(view.apply(image), view, 96, 96)
        assert np.array_equal(text_free(view.apply(image), view, 96, 96, ()), plain)
        image[60:76, 6:26] = 255
        shifts.append([brightness(found) - brightness(plain) for found in (
            as_film(view.apply(image), view, 96, 96), text_free(view.apply(image), view, 96, 96, boxes))])
    before, after = np.abs(shifts).mean(axis=0)
    assert before > 0.01 and after < before / 3
    whole = text_free(np.full((24, 24), 90, np.uint8), ModelView(24), 48, 48, [(-5, -5, 99, 99)])
    assert (whole == np.float32(90) / 255).all()  # nothing to fill it in from


def test_measured_of_a_film_is_plain_numbers():
    assert all(type(value) is float for value in measured(film(side=24)).values())
