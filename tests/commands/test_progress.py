"""What is said of progress where nobody sees a bar."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from xray_debug.commands import terminal


@pytest.fixture
def clock(monkeypatch):
    """Seconds that tests set, and what was said to stderr, which is no terminal."""
    now, said = [0.0], io.StringIO()
    monkeypatch.setattr(terminal, "err", Console(file=said, force_terminal=False))
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    return now, said


def test_long_work_says_once_a_minute_how_far_it_is(clock):
    now, said = clock
    with terminal.progress_bars() as start:
        report = start("explain")
        for done in range(1201):  # one a second
            now[0] = float(done)
            report(done, 1200)
    lines = said.getvalue().splitlines()
    assert len(lines) == 19
    assert lines[0] == "explain: 60 of 1,200 in 1 min, about 19 min to go"
    assert lines[-1] == "explain: 1,140 of 1,200 in 19 min, about 1 min to go"


def test_short_work_says_nothing(clock):
    now, said = clock
    with terminal.progress_bars() as start:
        report = start("clean")
        for done in range(60):
            now[0] = float(done)
            report(done, 59)
    assert said.getvalue() == ""


def test_the_time_to_go_is_not_taken_from_what_was_there_before(clock):
    now, said = clock
    with terminal.progress_bars() as start:
        report = start("detect")
        report(900, 1000)
        now[0] = 600.0
        report(910, 1000)
    assert said.getvalue() == "detect: 910 of 1,000 in 10 min, about 1.5 h to go\n"


def test_nothing_done_gives_no_time(clock):
    now, said = clock
    with terminal.progress_bars() as start:
        report = start("train")
        report(0, 18)
        now[0] = 61.0
        report(0, 18)
    assert said.getvalue() == "train: 0 of 18 in 1 min\n"
