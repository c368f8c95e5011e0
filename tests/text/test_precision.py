"""The choice of precision, with a clock that only the calls move."""

import pytest
import torch

from xray_debug.text import precision


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still, but for what is added to its only item."""
    now = [0.0]
    monkeypatch.setattr(precision.time, "thread_time", lambda: now[0])
    return now


def costs(clock, times):
    """Calls that take `times[dtype]` seconds each, in turn (the last one again and again), and how many there were."""
    counts = dict.fromkeys(times, 0)

    def make(dtype):
        def call():
            clock[0] += times[dtype][min(counts[dtype], len(times[dtype]) - 1)]
            counts[dtype] += 1
        return call

    return make, counts


@pytest.mark.parametrize("exact, half, expected", [
    ([1.0], [0.5], True), ([1.0], [0.79], True), ([1.0], [0.81], False), ([1.0], [1.0], False), ([1.0], [3.0], False),
    ([9.0, 1.0], [9.0, 0.5], True),  # the first call prepares kernels and does not count
    ([1.0, 1.0, 8.0], [1.0, 0.9, 9.0], False),  # the quickest counts: a busy machine does not
])
def test_half_precision_must_win_clearly(clock, exact, half, expected):
    make, _ = costs(clock, {torch.float32: exact, torch.bfloat16: half})
    assert precision.bf16_is_faster(make) is expected


def test_emulation_is_seen_at_once(clock):
    make, counts = costs(clock, {torch.float32: [1.0], torch.bfloat16: [50.0]})
    assert precision.bf16_is_faster(make) is False
    assert counts[torch.bfloat16] == 2
