"""Numbers as the report writes them, and values made fit for strict JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_debug.report.format import FORMATS, decimal, number, p_value, percent, plain, points, rate, timing_rows
from xray_debug.report.marks import text as _text

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    | st.floats(width=32).map(np.float32) | st.just(np.array([1.0, math.nan])) | st.just(Path("a/b")) | st.just(pd.NaT),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(values)
def test_plain_values_are_strict_json_and_stay_as_they_are(value):
    once = plain(value)
    assert json.loads(json.dumps(once, allow_nan=False)) == once and plain(once) == once


def test_plain_keeps_types_and_drops_what_json_lacks():
    found = plain({"a": np.int64(3), "b": np.bool_(True), 1: math.inf, "c": (1, {2}), "d": pd.DataFrame({"x": [1.5]})})
    assert found == {"a": 3, "b": True, "1": None, "c": [1, [2]], "d": [{"x": 1.5}]}
    assert isinstance(found["a"], int) and found["b"] is True


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (percent, 0.95193, "95.2"), (percent, 0.0, "0.0"), (percent, None, "–"), (percent, math.nan, "–"),
        (points, 0.0341, "+3.4"), (points, -0.12, "-12.0"), (points, -0.0001, "+0.0"), (points, 0.0, "+0.0"),
        (decimal, -0.001, "0.00"), (number, -0.0, "0"),
        (p_value, 0.0004, "<0.001"), (p_value, 0.0456, "0.046"), (p_value, 1.0, "1.000"), (decimal, 0.126, "0.13"),
        (number, 3.0, "3"), (number, 0.12345, "0.123"), (number, 1e-5, "1.0e-05"), (number, True, "yes"),
        (number, "words", "words"), (number, None, "–"),
    ],
)  # fmt: skip
def test_formats(write, value, text):
    assert write(value) == text


@given(st.sampled_from(sorted(FORMATS)), st.floats(-1e9, 1e9))
def test_no_format_loses_the_sign_or_fails(name, value):
    text = FORMATS[name](value)
    assert text and ("-" in text) <= (value < 0 or "e-" in text)
    assert not text.startswith("-") or text.strip("-0.")


@given(st.text())
def test_markdown_text_cannot_open_markup(text):
    found = _text(text)
    assert "<" not in found and "\n" not in found and "\r" not in found
    bare = found.replace("\\\\", "")
    assert all(bare[i - 1] == "\\" for i, c in enumerate(bare) if c in "`*_[]|~#")


def test_timing_rows_count_images_per_second_where_images_were_counted():
    records = {"a": {"seconds": 4.0, "images": 10, "peak_memory_mb": 7.0}, "b": {"seconds": 2.0}, "c": {"images": 3},
               "d": {"seconds": 0.0, "images": 3, "peak_memory_mb": 1}}  # fmt: skip
    rows = timing_rows(records)
    assert rows[0] == {"stage": "a", "seconds": 4.0, "images": 10, "images_per_second": 2.5, "peak_memory_mb": 7.0}
    assert [row["stage"] for row in rows] == list("abcd")
    assert [row["images_per_second"] for row in rows[1:]] == [None] * 3


def test_rates_have_three_digits_at_most():
    assert [rate(v) for v in (0.034, 2.5, 12.345, 999.4, 2000, None)] == ["0.03", "2.50", "12.3", "999", "2000", "–"]
