"""How the thresholds of the two uses are chosen: the rule, the left-out source, and maps that give detect's boxes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xray_debug.config import PhantomConfig
from xray_debug.data.boxes import TextBox
from xray_debug.phantom import make_case
from xray_debug.text.detectors.craft_lite import USES, CraftLiteDetector
from xray_debug.text.training.thresholds import (
    COUNTS,
    boxes_at,
    chosen,
    counts_of,
    cross_validated,
    readings_of,
)


def test_the_same_boxes_come_of_kept_readings_as_of_detect(tmp_path):
    detector = CraftLiteDetector(precision="fp32")
    setting = USES["clean"]
    image = make_case(PhantomConfig(), "COVID-19", 0, "COVID-19").image
    expected = detector.detect([image])[0]
    made, again = (readings_of(detector, image, tmp_path / "film.npz") for _ in range(2))
    for found in (boxes_at(detector, maps, image.shape, setting) for maps in (made, again)):
        assert expected and [(box.box, box.kind) for box in found] == [(box.box, box.kind) for box in expected]


def test_counts_of_a_film():
    boxes = [TextBox(10, 10, 30, 30, 0.9), TextBox(100, 100, 120, 120, 0.9), TextBox(60, 60, 80, 80, 0.9, "device"),
             TextBox(150, 150, 170, 170, 0.9, "device"), TextBox(40, 10, 50, 20, 0.9)]  # fmt: skip
    text = {"text": [[12, 12, 28, 28], [140, 10, 160, 30]], "unsure": [[40, 10, 50, 20]]}
    devices = {"device": [[62, 62, 78, 78], [100, 100, 118, 118]], "complete": True}
    assert counts_of(boxes, text, devices, (200, 200)) == dict(zip(COUNTS, (2, 1, 3, 1, 2, 1, 1, 2, 1), strict=True))
    assert counts_of(boxes, text, {"device": []}, (200, 200))["device_false"] == 0  # not all of its devices are known


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_the_rule_by_brute_force(seed, most):
    rng = np.random.default_rng(seed)
    counts = np.stack([rng.integers(0, 5, (6, 4)), np.full((6, 4), 5), rng.integers(0, 3, (6, 4))], axis=2)
    covered, false = counts[..., 0].sum(1), counts[..., 2].sum(1)
    allowed = [i for i in range(6) if false[i] <= most * 4] or [i for i in range(6) if false[i] == false.min()]
    assert chosen(counts, most) == min(allowed, key=lambda i: (-covered[i], false[i], i))


def test_a_source_has_no_say_in_what_it_is_scored_with():
    counts = np.zeros((2, 4, 3), int)
    counts[..., 1] = 1
    counts[0, :2, 0] = counts[1, 2:, 0] = 1  # the first setting reads source a alone, the second source b
    rows = cross_validated(counts, ["a", "a", "b", "b"], 0.1)
    assert [(row["source"], row["setting"], row["covered"]) for row in rows] == [("a", 1, 0), ("b", 0, 0)]
    assert cross_validated(counts, ["a"] * 4, 0.1) == []  # nothing to choose on
