"""One film: what is planted is exactly what is said, and nothing else differs."""

import numpy as np
import pytest

from xray_debug.config import PhantomConfig
from xray_debug.phantom import CLASSES, make_case
from xray_debug.phantom.case import draw_film
from xray_debug.phantom.markers import FAMILIES

SMALL = PhantomConfig(train=12, test=6, size=128)


def _outside(case) -> np.ndarray:
    """bool (S, S): pixels in no box."""
    free = np.ones(case.image.shape, bool)
    for box in case.boxes + case.artifacts:
        for x0, y0, x1, y1 in [box["box"], box.get("outer", box["box"])]:
            free[y0:y1, x0:x1] = False
    return free


@pytest.mark.parametrize("style", ["mixed", "bright", "faint", "rotated"])
@pytest.mark.parametrize("plant", ["marker", "absence", "artifact", "none"])
def test_a_case_differs_from_its_clean_film_only_inside_its_boxes(plant, style):
    config = PhantomConfig(size=128, plant=plant, style=style)
    for seed in range(5):
        for marker in (*CLASSES, None):
            case = make_case(config, CLASSES[seed % 3], seed, marker)
            assert case.image.dtype == case.clean.dtype == np.uint8
            assert case.image.shape == case.clean.shape == (128, 128)
            np.testing.assert_array_equal(case.image[_outside(case)], case.clean[_outside(case)])
            for box in case.boxes + case.artifacts:
                x0, y0, x1, y1 = box["box"]
                assert 0 <= x0 < x1 <= 128 and 0 <= y0 < y1 <= 128
                assert (case.image[y0:y1, x0:x1] != case.clean[y0:y1, x0:x1]).any()
            if marker is None:
                assert not case.boxes and not case.artifacts
            elif plant != "artifact":
                assert case.boxes and not case.artifacts
                keys = {key for box in case.boxes for key in box}
                assert {"box", "text", "kind", "style", "polarity"} == keys - {"outer"}
            else:
                assert len(case.artifacts) == 1


def test_the_same_film_exists_with_every_marker():
    cases = [make_case(SMALL, "COVID-19", 7, marker) for marker in (None, "auto", *CLASSES)]
    for case in cases:
        np.testing.assert_array_equal(case.clean, cases[0].clean)
    assert len({case.image.tobytes() for case in cases[2:]}) == 3
    np.testing.assert_array_equal(cases[0].image, cases[0].clean)
    for marker, case in zip(CLASSES, cases[2:], strict=True):
        assert case.boxes[0]["text"] in FAMILIES[marker].texts
        again = make_case(SMALL, "COVID-19", 7, marker)
        np.testing.assert_array_equal(again.image, case.image)
        assert again.boxes == case.boxes


def test_a_body_that_is_given_changes_nothing_else():
    """The same body gives the same film; another heart changes the film about the heart, not its source or strength."""
    film, same, larger = (draw_film(SMALL, "COVID-19", 7, 7, body) for body in (None, {}, {"heart": 1.6}))
    np.testing.assert_array_equal(film.clean, same.clean)
    assert larger[1:] == film[1:]
    changed = np.argwhere(larger.clean != film.clean)
    assert len(changed) and (changed.min(0) > [0.3 * 128, 0.2 * 128]).all()  # neither the apex nor the right ribs


def test_films_follow_the_seed_and_the_patient():
    first, second = make_case(SMALL, "normal", 1), make_case(SMALL, "normal", 2)
    assert np.abs(first.clean.astype(int) - second.clean).mean() > 5
    shared = [make_case(SMALL, "normal", seed, None, patient="p") for seed in (1, 2)]
    assert shared[0].source == shared[1].source and shared[0].clean.tobytes() != shared[1].clean.tobytes()


@pytest.mark.parametrize("plant", ["marker", "artifact"])
def test_markers_follow_the_class_as_often_as_configured(plant):
    config = PhantomConfig(train=12, test=6, size=96, correlation=1.0, plant=plant)
    for label, other in zip(CLASSES, CLASSES[-1:] + CLASSES[:-1], strict=True):
        assert make_case(config, label, 0).marker == label
        assert make_case(config, label, 0, reverse=True).marker == other
        assert make_case(config.model_copy(update={"correlation": 0.0}), label, 0).marker != label


def test_absence_marks_every_class_but_covid():
    config = PhantomConfig(size=96, correlation=1.0, plant="absence")
    for label in CLASSES:
        assert (make_case(config, label, 3).marker is None) == (label == "COVID-19")
        assert (make_case(config, label, 3, reverse=True).marker is None) == (label != "COVID-19")


@pytest.mark.parametrize("options", [{"label": "sick", "seed": 0}, {"label": "normal", "seed": 0, "marker": "R"}])
def test_unknown_classes_are_named(options):
    with pytest.raises(ValueError, match="expected .*normal"):
        make_case(SMALL, **options)


FILMS = {  # every 16th pixel of a film of 128 without marker, in hexadecimal
    "normal": "a6b2c0c8d075ac9bdbcc6377cb5a68b2da7f8472e07363a8e67a738ae2716b6a"
              "8877877de069756c8b747cabe4c6778383e9e5cbe3d4cc88d6cecbc6d5c0bab5",
    "pneumonia": "09080aa3b4090201ae5e35d1d5429f84bc4058d1db3844b559443fcca64b39b9"
                 "39305ebfb73e3bb0433d59d5bc8847aab3b2accbcebc6767b0acb6baa8aba4b5",
    "COVID-19": "11110e9b9814151198b961d48666bd9fb35f56b79a70afbba7564fae7c4b6dae"
                "a0514bd5ca5b5fa85c464fd9cd5562adc1b0a1a0a691a9aa9e9ea99ca5a2a7a5"}
BOXES = {"normal": [("R", [4, 4, 17, 18])], "pneumonia": [("L", [106, 5, 118, 19]), ("PA", [106, 22, 119, 29])],
         "COVID-19": [("PORTABLE L", [8, 47, 16, 118])]}


def test_films_are_those_of_every_version():
    """What was measured on phantoms holds for these; one grey level and pixel for other processors and fonts."""
    for seed, label in enumerate(CLASSES):
        case = make_case(SMALL, label, seed)
        seen = np.frombuffer(bytes.fromhex(FILMS[label]), np.uint8).reshape(8, 8)
        assert np.abs(case.clean[8::16, 8::16].astype(int) - seen).max() <= 1
        assert [box["text"] for box in case.boxes] == [text for text, _ in BOXES[label]]
        found, wanted = (np.array(boxes) for boxes in ([box["box"] for box in case.boxes],
                                                       [box for _, box in BOXES[label]]))
        assert np.abs(found - wanted).max() <= 1
