"""A clock that jumps while a run is at work, or between two: what is up to date and what is kept do not hang on it."""

import os
import time

import pytest

from xray_debug.config import EngineConfig, parse_config
from xray_debug.run.engine import Engine
from xray_debug.run.folder import Run
from xray_debug.stages import registry
from xray_debug.stages.base import Stage
from xray_debug.stages.registry import Job

YEAR = 365 * 86400.0


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A run of one stage; call it with how far the clock jumps while that is at work, and whether it is stopped."""
    ahead, real = [0.0], time.time

    def work(context):
        for piece in ("first", "second"):
            if (context.folder / piece).exists():
                continue
            (context.folder / piece).write_text(piece)
            done.append(piece)
            ahead[0] += jump[0]
            if stop[0]:
                raise KeyboardInterrupt

    done, jump, stop = [], [0.0], [False]
    monkeypatch.setattr(registry, "STAGES", {"train": Stage("train", "", (), ("seed",), (), work)})
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])
    monkeypatch.setattr(time, "strftime", lambda form, when=None, strftime=time.strftime: strftime(
        form, time.localtime(real() + ahead[0]) if when is None else when))  # fmt: skip

    def call(by: float = 0.0, stopped: bool = False) -> list[str]:
        jump[0], stop[0] = by, stopped
        done.clear()
        run = Run(tmp_path)
        with run.locked():
            try:
                Job(run, parse_config({"phantom": {}}), Engine(EngineConfig(workers=1)), lambda text: None)()
            except KeyboardInterrupt:
                assert stopped
        return list(done)

    call.ahead = ahead
    return call


@pytest.mark.parametrize("jump", [YEAR, -YEAR, -3600.0, 3600.0])
def test_a_clock_that_jumps_in_the_middle_changes_neither_times_nor_results(tmp_path, job, jump):
    assert job(jump, stopped=True) == ["first"]
    assert job(jump) == ["second"] and job() == []
    assert 0 <= Run(tmp_path).record("train")["seconds"] < 60  # worked, by a clock that cannot jump
    job.ahead[0] -= 5 * jump
    assert job() == []
    (tmp_path / "train" / "second").unlink()
    assert job(jump) == ["first", "second"]


@pytest.mark.parametrize("jump", [YEAR, -YEAR])
def test_files_from_another_time_make_nothing_stale(tmp_path, job, jump):
    job()
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        os.utime(file, (file.stat().st_mtime + jump,) * 2)
    assert job() == []
