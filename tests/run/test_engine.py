"""The engine: parts, resume, set-asides, shares, and the same bytes by every engine."""

import importlib.util
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xray_debug.config import EngineConfig
from xray_debug.run.engine import Engine, EngineError, PartDone, TableRows, part_size, run_here
from xray_debug.run.local_pool import LocalPool
from xray_debug.run.parts import Parts, has_part, part_file, write_part


class Doubler:
    """Doubles a number, in a batch of three; some rows fail as `bad` says."""

    batch = 3

    def __init__(self, bad=(), calls: str = ""):
        self.bad, self.calls, self.open_count = set(bad), calls, 0

    def open(self):
        self.open_count += 1
        self.factor = 2

    def __call__(self, rows):
        if self.calls:
            with open(self.calls, "a") as file:
                file.write(" ".join(str(row["number"]) for row in rows) + "\n")
        for row in rows:
            if row["number"] in self.bad:
                raise ValueError(f"{row['image_id']}: cannot be doubled")
        return [{"double": row["number"] * self.factor, "square": np.full((2, 2), row["number"], np.float32),
                 "view": np.full((3, 3), row["number"] % 256, np.uint8), "name": "ü" * (row["number"] % 3)}
                for row in rows]  # fmt: skip


ARRAYS = {"view": ((3, 3), np.uint8)}


def table(count: int) -> TableRows:
    return TableRows(pd.DataFrame({"image_id": [f"i{n}.png" for n in range(count)], "number": range(count)}))


def bytes_of(folder) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def run(folder, count=50, worker=None, part=None, merge=False, key="", **engine) -> Parts:
    made = Engine(EngineConfig(**engine), part=part, merge=merge)
    return made.run(worker or Doubler(), table(count), folder, "double", key=key, most=7, arrays=ARRAYS)


def test_every_row_comes_back_in_order(tmp_path):
    parts = run(tmp_path / "p", workers=3)
    frame = parts.table()
    assert frame["image_id"].tolist() == [f"i{n}.png" for n in range(50)]
    assert frame["double"].tolist() == [2 * n for n in range(50)]
    assert (frame["problem"] == "").all() and len(parts) == 50
    assert parts.find("i17.png", "square").tolist() == [[17, 17], [17, 17]]
    assert parts.find("i17.png", "name") == "üü" and parts.find("none", "square") is None
    views = np.concatenate([np.load(file) for file in parts.arrays("view")])
    assert views.shape == (50, 3, 3) and (views[:, 0, 0] == np.arange(50)).all()


def test_no_rows_give_no_parts(tmp_path):
    parts = run(tmp_path / "p", count=0)
    assert len(parts) == 0 and len(parts.table()) == 0


def test_part_sizes_follow_from_the_numbers_alone():
    assert part_size(10, 64, 8) == 8 and part_size(1000, 64, 8) == 32 and part_size(10**6, 64, 8) == 64
    assert part_size(1000, 5, 8) == 8


@pytest.mark.parametrize("engine", [
    {"workers": 1}, {"workers": 2}, {"workers": 2, "processes": True},
    pytest.param({"workers": 2, "engine": "ray"}, marks=pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="ray is not installed (extra ray)")),
])  # fmt: skip
def test_all_engines_give_the_same_bytes(tmp_path, engine):
    run(tmp_path / "reference", workers=1)
    run(tmp_path / "other", **engine)
    assert bytes_of(tmp_path / "other") == bytes_of(tmp_path / "reference")


def test_shares_together_give_the_same_bytes(tmp_path):
    run(tmp_path / "reference", workers=1)
    for share in (2, 3, 1):
        if share == 1:
            with pytest.raises(EngineError, match="parts are missing, the first: 1"):
                run(tmp_path / "shared", merge=True)
        with pytest.raises(PartDone):
            run(tmp_path / "shared", part=(share, 3), workers=2)
    parts = run(tmp_path / "shared", worker=Doubler(bad=range(50)), merge=True)
    assert len(parts) == 50
    assert bytes_of(tmp_path / "shared") == bytes_of(tmp_path / "reference")


def test_finished_parts_are_not_done_again(tmp_path):
    calls = tmp_path / "calls"
    run(tmp_path / "p")
    before = bytes_of(tmp_path / "p")
    part_file(tmp_path / "p", 2).unlink()
    part_file(tmp_path / "p", 4).write_bytes(b"cut off")
    run(tmp_path / "p", worker=Doubler(calls=str(calls)))
    done = [int(n) for line in calls.read_text().splitlines() for n in line.split()]
    assert sorted(done) == [*range(6, 9), *range(12, 15)]
    assert bytes_of(tmp_path / "p") == before


def test_another_key_or_length_starts_anew(tmp_path):
    run(tmp_path / "p", count=50)
    assert len(run(tmp_path / "p", count=20)) == 20
    calls = tmp_path / "calls"
    run(tmp_path / "p", count=20, key="other", worker=Doubler(calls=str(calls)))
    assert len(calls.read_text().split()) == 20


def test_a_bad_row_is_tried_alone_twice_and_set_aside(tmp_path):
    calls, said = tmp_path / "calls", []
    engine = Engine(EngineConfig(workers=1), say=said.append)
    parts = engine.run(Doubler(bad=[4], calls=str(calls)), table(9), tmp_path / "p", "double", most=9, arrays=ARRAYS)
    frame = parts.table().set_index("image_id")
    assert frame.loc["i4.png", "problem"] == "i4.png: cannot be doubled"
    assert frame["double"].drop("i4.png").tolist() == [0, 2, 4, 6, 10, 12, 14, 16]
    assert calls.read_text().splitlines() == ["0 1 2", "3 4 5", "3", "4", "4", "5", "6 7 8"]
    assert said == ["double: i4.png: i4.png: cannot be doubled"]
    assert parts.find("i4.png", "square") is None and parts.find("i5.png", "square")[0, 0] == 5
    assert np.load(parts.arrays("view")[1])[1].max() == 0


class Wrong(Doubler):
    batch = 8

    def __call__(self, rows):
        raise KeyError("a fault of the program")


class Full(Doubler):
    def __call__(self, rows):
        raise OSError(28, "No space left on device")


def test_a_fault_of_every_image_or_of_the_machine_ends_the_work(tmp_path):
    with pytest.raises(EngineError, match="none of 8 images could be done, the first: 'a fault of the program'"):
        run(tmp_path / "p", worker=Wrong())
    for processes in (False, True):
        with pytest.raises(OSError, match="No space left"):
            run(tmp_path / "p", worker=Full(), workers=2, processes=processes)
    assert not list((tmp_path / "p").glob("*.parquet"))


WAITS, LET_GO = threading.Event(), threading.Event()


class Slow(Doubler):
    """Is stopped by Ctrl-C while at an image that takes long."""

    def __call__(self, rows):
        WAITS.wait(10)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        LET_GO.wait(8)
        Path(self.calls).write_text("done")
        raise KeyboardInterrupt


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals to threads are not to be had here")
def test_who_stops_the_work_does_not_wait_for_the_image_in_hand(tmp_path, monkeypatch):
    first = LocalPool.first
    monkeypatch.setattr(LocalPool, "first", lambda pool, waiting: WAITS.set() or first(pool, waiting))
    done = tmp_path / "done"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "p", count=3, worker=Slow(calls=str(done)), workers=1)
    finally:
        signal.signal(signal.SIGINT, before)
    early = not done.exists()
    LET_GO.set()
    assert early


def test_workers_are_opened_once_a_thread(tmp_path):
    worker = Doubler()
    run(tmp_path / "p", worker=worker)
    assert worker.open_count == 0  # each thread has its own
    assert [row["double"] for row in run_here(Doubler(), table(3)[0:3])] == [0, 2, 4]


def test_progress_reaches_the_end(tmp_path):
    seen = []
    engine = Engine(EngineConfig(workers=2), progress=lambda what: lambda done, total: seen.append((done, total)))
    engine.run(Doubler(), table(50), tmp_path / "p", "double", most=7, arrays=ARRAYS)
    assert seen[-1] == (50, 50) and [d for d, _ in seen] == sorted(d for d, _ in seen)
    part_file(tmp_path / "p", 1).unlink()
    seen.clear()
    engine.run(Doubler(), table(50), tmp_path / "p", "double", most=7, arrays=ARRAYS)
    assert seen[0] == (50, 50)


def test_a_part_is_only_valid_with_its_key(tmp_path):
    write_part(tmp_path, 0, [{"image_id": "a", "x": None}, {"image_id": "b", "x": np.arange(3.0)}], "key")
    assert has_part(tmp_path, 0, "key") and not has_part(tmp_path, 0, "other") and not has_part(tmp_path, 1, "key")
    rows = list(Parts.read(tmp_path).rows())
    assert rows[0]["x"] is None and rows[1]["x"].tolist() == [0, 1, 2]


def test_the_number_of_threads_is_given_back(tmp_path):
    import cv2
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads()
    run(tmp_path / "p", workers=2)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before
    assert Engine(EngineConfig()).workers == os.cpu_count()
