"""Decisions that cannot be done as they stand are named, and the others are done."""

import numpy as np
import pandas as pd
import pytest

from xray_debug.cleaning.decided import usable_decisions

MANIFEST = pd.DataFrame({"image_id": ["a.png", "b.png"], "width": [100, 60], "height": [80, 40]})


def decided(image_id, decision, boxes=None):
    return usable_decisions(pd.DataFrame([{"image_id": image_id, "decision": decision, "boxes": boxes}]), MANIFEST)


def test_a_decision_on_an_unknown_image_is_named():
    found, remarks = decided("gone.png", "reject")
    assert found == {}
    assert remarks == ["decision on gone.png: no usable image has that name, so it changes nothing"]


@pytest.mark.parametrize(
    ("boxes", "kept", "word"),
    [([[90, 70, 140, 90]], [[90, 70, 100, 80]], "is cut to it"), ([[9000, 2, 9500, 43]], [], "is left out"),
     ([[1, 2, 3, 4]], [[1, 2, 3, 4]], None), ([[-5, 2, 3, 4]], [[0, 2, 3, 4]], "is cut to it")],
)  # fmt: skip
def test_boxes_are_kept_inside_the_film(boxes, kept, word):
    found, remarks = decided("a.png", "edit", boxes)
    assert found["a.png"][0] == "edit" and found["a.png"][1].tolist() == kept
    assert remarks == ([] if word is None else [
        f"decision on a.png: box {boxes[0]} is not inside the film of 100 x 80 pixels and {word}"])  # fmt: skip


@pytest.mark.parametrize("value", [1e30, -1e30, np.inf, np.nan])
def test_numbers_that_are_no_pixels_are_refused(value):
    with pytest.raises(ValueError, match="decision on a.png: (a box lies|boxes must)"):
        decided("a.png", "edit", [[0, 0, value, 5]])


def test_nothing_decided_is_nothing():
    assert usable_decisions(None, MANIFEST) == ({}, [])
