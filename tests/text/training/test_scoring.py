"""The scorer against counts made by hand and against the definitions written out pixel by pixel."""

import json
from pathlib import Path

import numpy as np
import pytest

from xray_debug.data.boxes import TextBox
from xray_debug.text.training import scoring
from xray_debug.text.training.scoring import read_annotations, score_detections, score_devices


def entry(*boxes, **more):
    return {"boxes": [{"box": list(b), "text": "L", "kind": "lead-marker", "style": "upright"} for b in boxes], **more}


def test_counts_made_by_hand():
    truth = {
        "a": entry((10, 10, 20, 20), (60, 60, 70, 80)),  # the first covered by 90 %, the second by 40 %
        "b": entry((10, 10, 20, 20)),  # covered by two halves
        "c": entry(),  # a false detection
    }
    found = {"a": [(10, 10, 20, 19), (60, 60, 64, 80)], "b": [(10, 10, 15, 20), (15, 10, 20, 20)]}
    found["c"] = [(0, 0, 10, 10)]
    score = score_detections(truth, found, {name: (100, 100) for name in truth})
    assert (score.boxes, score.detections, score.images) == (3, 5, 3)
    assert score.covered == pytest.approx(2 / 3) and score.touched == 1.0
    assert score.cleaned == 0.5  # of two images with text
    assert score.false_per_image == pytest.approx(1 / 3)
    assert score.erased == pytest.approx(0.01 / 3)
    assert score.missed == [("a", [60, 60, 70, 80])] and score.false == [("c", [0, 0, 10, 10])]
    assert score.groups["lone"] == (2, 3)


def test_outer_shapes_ignored_regions_and_arrows_are_not_false():
    truth = {"a": entry((50, 50, 60, 60), ignore=[[0, 0, 20, 20]], arrows=[{"box": [80, 80, 90, 90]}])}
    truth["a"]["boxes"][0]["outer"] = [40, 40, 70, 70]
    found = {"a": [(0, 0, 20, 20), (80, 80, 90, 90), (40, 40, 48, 48)]}
    score = score_detections(truth, found, {"a": (100, 100)})
    assert score.false_per_image == 0 and score.erased == 0 and score.covered == 0


def test_against_the_definitions_pixel_by_pixel():
    rng = np.random.default_rng(0)

    def boxes(count):
        corner, size = rng.integers(0, 50, (count, 2)), rng.integers(3, 20, (count, 2))
        return np.concatenate([corner, corner + size], axis=1).tolist()

    truth = {str(i): entry(*boxes(3)) for i in range(8)}
    found = {str(i): boxes(4) for i in range(8)}
    score = score_detections(truth, found, {name: (64, 64) for name in truth})

    def inside(x, y, box, grow=0):
        return box[0] - grow <= x < box[2] + grow and box[1] - grow <= y < box[3] + grow

    pixels = [(x, y) for y in range(64) for x in range(64)]
    covered, false, erased = [], 0, []
    for name, image in truth.items():
        text = [b["box"] for b in image["boxes"]]
        hit = {p: any(inside(*p, d) for d in found[name]) for p in pixels}
        near = {p: any(inside(*p, t, 6) for t in text) for p in pixels}
        covered += [np.mean([hit[p] for p in pixels if inside(*p, t)]) >= 0.8 for t in text]
        false += sum(np.mean([near[p] for p in pixels if inside(*p, d)]) < 0.2 for d in found[name])
        erased.append(np.mean([hit[p] and not near[p] for p in pixels]))
    assert score.covered == pytest.approx(np.mean(covered))
    assert score.false_per_image == pytest.approx(false / 8)
    assert score.erased == pytest.approx(np.mean(erased))


def test_nothing_detected():
    score = score_detections({"a": entry((1, 1, 5, 5))}, {}, {"a": (10, 10)})
    assert (score.covered, score.cleaned, score.false_per_image, score.erased) == (0, 0, 0, 0)


@pytest.mark.parametrize("content, message", [("{", "not an annotation file"), ("[]", "expected images"),
                                              ('{"a": {}}', 'a: expected "boxes"'),
                                              ('{"a": {"boxes": [{"box": [1, 2]}]}}', 'a: expected "boxes"')])
def test_faulty_annotations_are_named(tmp_path, content, message):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(ValueError, match=f"t.json.*{message}"):
        read_annotations(tmp_path / "t.json")


def test_annotations_are_read(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps({"a": entry((1, 1, 5, 5))}))
    assert read_annotations(tmp_path / "t.json")["a"]["boxes"][0]["box"] == [1, 1, 5, 5]


def test_devices_are_found_by_half_of_their_area_and_by_boxes_together():
    snap, electrode = {"box": [10, 10, 30, 30], "kind": "snap"}, {"box": [50, 50, 70, 90], "kind": "electrode"}
    faint = {"box": [80, 10, 90, 20], "kind": "snap", "faint": True}
    truth = {"a": {"devices": [snap, electrode, faint], "lines": [[[0, 95], [99, 95]]], "ignore": [[40, 0, 60, 8]]}}
    devices = [
        (10, 10, 30, 16), (10, 16, 30, 20),  # a half of the snap
        (50, 50, 70, 69),  # 19 of 40 rows
        (40, 90, 60, 99), (42, 0, 58, 8),  # along the line, and on what nobody can say
        (0, 40, 20, 60),  # false
    ]  # fmt: skip
    found = {"a": [*(TextBox(*box, 1, "device") for box in devices), TextBox(50, 50, 70, 75)]}
    score = score_devices(truth, found, {"a": (100, 100)})
    assert (score.devices, score.found, score.as_text, score.false_per_image) == (3, 1, 1, 1.0)
    assert score.groups == {"electrode": (0, 1, 1), "faint": (0, 0, 1), "snap": (1, 0, 2)}


def test_the_devices_of_the_annotated_films_are_boxes_of_films_never_trained_on():
    file = Path(__file__).parents[3] / "benchmarks" / "covidx-mini-devices-test.json"
    truth = json.loads(file.read_text())
    trained = json.loads(Path(scoring.__file__).with_name("covidx-mini-devices.json").read_text())
    assert len(truth) == 60 and not set(truth) & set(trained)
    boxes = np.array([device["box"] for entry in truth.values() for device in entry["devices"]])
    assert len(boxes) >= 100 and (boxes[:, 2:] > boxes[:, :2]).all() and boxes.min() >= 0 and boxes.max() <= 768
