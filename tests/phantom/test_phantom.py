"""The synthetic COVIDx: what is planted is exactly what is said, and nothing else differs."""

import json

import numpy as np
import pytest

from xray_debug.config import PhantomConfig, PrepareConfig
from xray_debug.data.formats import build_manifest
from xray_debug.data.formats.covidx import read_labels
from xray_debug.data.images import read_image
from xray_debug.phantom.canvas import Canvas, ellipse
from xray_debug.phantom.dataset import SOURCES, make_case, write_phantom
from xray_debug.phantom.findings import CLASSES, draw_strength
from xray_debug.phantom.markers import FAMILIES, draw_marker

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


def test_boxes_are_tight_around_the_letters():
    film = np.zeros((256, 256), np.uint8)
    for seed in range(8):
        image, boxes = draw_marker(film, CLASSES[seed % 3], "bright", np.random.default_rng(seed))
        seen = np.zeros_like(film, bool)
        for x0, y0, x1, y1 in (box["box"] for box in boxes):
            ink = image[y0:y1, x0:x1] > 0
            assert ink[[0, -1]].any(axis=1).all() and ink[:, [0, -1]].any(axis=0).all()
            seen[y0:y1, x0:x1] = True
        assert not image[~seen].any()


@pytest.mark.parametrize(("ground", "polarity"), [(20, "bright"), (240, "dark")])
def test_letters_stand_out_on_any_ground(ground, polarity):
    film = np.full((256, 256), ground, np.uint8)
    for seed in range(6):
        image, boxes = draw_marker(film, CLASSES[seed % 3], "faint", np.random.default_rng(seed))
        x0, y0, x1, y1 = boxes[0]["box"]
        assert boxes[0]["polarity"] == polarity
        assert np.abs(image[y0:y1, x0:x1].astype(int) - ground).max() > 30


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


def test_opacities_make_the_class_and_follow_the_difficulty():
    rng = np.random.default_rng(0)
    easy, usual, hard = (np.array([draw_strength(rng, d) for _ in range(400)]) for d in (0.0, 1.0, 2.0))
    assert np.median(easy) > np.median(usual) > np.median(hard)
    assert np.std(np.log(easy)) < np.std(np.log(usual)) < np.std(np.log(hard))
    assert make_case(SMALL, "normal", 0).strength == 0 < make_case(SMALL, "pneumonia", 0).strength
    films = {label: make_case(PhantomConfig(size=128, difficulty=0.0), label, 11, None).clean.astype(float)
             for label in CLASSES}
    change = {label: films[label] - films["normal"] for label in CLASSES}
    left, right = (change["pneumonia"][:, half].clip(0).sum() for half in (slice(0, 64), slice(64, 128)))
    assert max(left, right) > 20 * (min(left, right) + 1)  # one lung
    left, right = (change["COVID-19"][:, half].clip(0).sum() for half in (slice(0, 64), slice(64, 128)))
    assert min(left, right) > 0.2 * max(left, right) > 100  # both
    assert change["COVID-19"].min() >= -1 and change["pneumonia"].min() >= -1


def test_markers_grow_with_the_image():
    for seed in range(3):
        small = make_case(PhantomConfig(size=256), "normal", seed, "normal").boxes[0]["box"]
        large = make_case(PhantomConfig(size=512), "normal", seed, "normal").boxes[0]["box"]
        assert (large[3] - large[1]) / (small[3] - small[1]) == pytest.approx(2, abs=0.25)
        assert 14 <= small[3] - small[1] <= 60


@pytest.mark.parametrize("options", [{"label": "sick", "seed": 0}, {"label": "normal", "seed": 0, "marker": "R"}])
def test_unknown_classes_are_named(options):
    with pytest.raises(ValueError, match="expected .*normal"):
        make_case(SMALL, **options)


def test_a_written_phantom_is_a_covidx_folder_with_its_truth(tmp_path):
    calls = []
    config = PhantomConfig(train=20, test=10, size=96, correlation=0.8)
    out = write_phantom(tmp_path / "ph", config, seed=4, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (40, 40)
    boxes = json.loads((out / "truth" / "boxes.json").read_text())
    frame = build_manifest(out, PrepareConfig(extra_tests={"reversed": "reversed"}))
    assert len(frame) == len(boxes) == 40 and (frame["problem"] == "").all()
    assert set(frame["image_id"]) == set(boxes)
    assert frame["test_set"].value_counts().to_dict() == {"": 20, "test": 10, "reversed": 10}
    assert frame["label"].value_counts().to_dict() == {"normal": 15, "pneumonia": 13, "COVID-19": 12}
    for row in frame.itertuples():
        entry = boxes[row.image_id]
        assert (entry["class"], entry["source"], entry["size"]) == (row.label, row.source, [96, 96])
        image, clean = read_image(out / row.path), read_image(out / "truth" / row.path)
        changed = image != clean
        for box in entry["boxes"]:
            x0, y0, x1, y1 = box.get("outer", box["box"])
            changed[y0:y1, x0:x1] = False
        assert not changed.any()
    own = [entry["marker"] == entry["class"] for name, entry in boxes.items() if name.startswith("a")]
    assert sum(own) == round(0.8 * 7) + round(0.8 * 7) + round(0.8 * 6)
    reversed_own = [entry["marker"] == entry["class"] for name, entry in boxes.items() if name.startswith("rev-")]
    assert sum(reversed_own) <= 2  # only among those that do not follow the correlation
    for name in read_labels(out / "test_COVIDx.txt")["image_id"]:  # the same anatomy under both correlations
        twin = read_image(out / "truth" / "reversed" / "test" / f"rev-{name}")
        np.testing.assert_array_equal(read_image(out / "truth" / "test" / name), twin)
    assert frame["source"].isin(SOURCES).all() and frame["source"].nunique() > 1
    films = frame[frame["split"] == "train"].groupby("patient_id").size()
    assert films.max() <= 3


def test_writing_twice_gives_the_same_files(tmp_path):
    for name in ("one", "two"):
        write_phantom(tmp_path / name, PhantomConfig(train=12, test=6, size=96), seed=1)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 2 * (12 + 6 + 6) + 4
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


def test_canvas_poses_shapes():
    still = Canvas(100)
    disc = still.fill(ellipse((0.5, 0.5), (0.2, 0.2)))
    assert disc.sum() == pytest.approx(np.pi * 20.5**2, rel=0.02)  # OpenCV's outline adds half a pixel
    larger = Canvas(100, scale=1.5).fill(ellipse((0.5, 0.5), (0.2, 0.2)))
    assert larger.sum() == pytest.approx(np.pi * 30.5**2, rel=0.02)
    moved = Canvas(100, shift=(0.2, 0.0)).fill(ellipse((0.5, 0.5), (0.1, 0.1)))
    assert (moved * np.arange(100)).sum() / moved.sum() == pytest.approx(69.5, abs=0.3)
    bar = np.array([(0.5, 0.3), (0.5, 0.7)])
    turned = Canvas(100, degrees=90).strokes(([bar], 0.05, 1.0))
    rows, columns = np.nonzero(turned > 0.5)
    assert np.ptp(columns) > 35 and np.ptp(rows) < 8


@pytest.mark.parametrize("sigma", [0.005, 0.02, 0.1])
def test_blur_keeps_the_mass_of_a_shape(sigma):
    canvas = Canvas(128)
    sharp = canvas.fill(ellipse((0.5, 0.5), (0.08, 0.08)))
    soft = canvas.blur(sharp, sigma)
    assert soft.sum() == pytest.approx(sharp.sum(), rel=0.03)
    assert soft.max() <= sharp.max() + 1e-6
