"""Runs that are killed end with the results of a run left in peace.

A short form; with XRAY_DEBUG_FAULTS=long in the environment, 32 kills over all stages.
"""

import time

import pytest
from kills_fixture import LONG, Tiny, complete, family, gone, working_on

from xray_debug.stages.registry import STAGES

PROCESSES = ("--set", "engine.processes=true", "--set", "engine.workers=2")
EVERY = tuple(STAGES)
CHAINS = [  # in which stages a run is killed, how far in them, further arguments
    pytest.param(EVERY, 0.15, (), id="early"), pytest.param(EVERY, 0.5, (), id="middle"),
    pytest.param(EVERY, 0.85, (), id="late"), pytest.param(EVERY, 0.5, PROCESSES, id="processes"),
] if LONG else [pytest.param(("prepare", "train", "clean"), 0.5, (), id="short")]  # fmt: skip


def kill(tiny: Tiny, run, stage: str, fraction: float, more) -> tuple[int, str]:
    """Kills the run so far into a stage, and sees that no process of it is left; status and words."""
    child, said = tiny.start(run, *more)
    try:
        working_on(stage, child, said)
        time.sleep(fraction * tiny.seconds(stage))
        others = family(child)
        child.kill()
        status = child.wait(30)
        assert gone(others), f"{stage}: a process outlived the one that started it"
        return status, said.read_text()
    finally:
        child.kill()


@pytest.mark.parametrize(("stages", "fraction", "more"), CHAINS)
def test_a_run_killed_in_many_places_ends_as_one_left_in_peace(tiny, stages, fraction, more):
    run, before, kills = tiny.folder / f"killed-{fraction}-{len(more)}", [], []
    for stage in stages:
        status, words = kill(tiny, run, stage, fraction, more)
        assert "Traceback" not in words and "xray-debug: " not in words
        assert all(f"{name}: up to date" in words for name in before)
        before = complete(run)
        kills.append((status, len(before)))
    status, words = tiny.finish(run, *more)
    assert status == 0 and all(f"{name}: up to date" in words for name in before), words
    assert tiny.different(run) == []
    struck = [where for status, where in kills if status != 0]
    assert len(struck) >= len(stages) - 1  # the last stage may have ended before
    assert not [path for path in (run / ".work").iterdir() if path.is_dir()]
