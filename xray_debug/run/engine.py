"""One engine for work on many images: parts written whole, resumed, retried, bounded, the same bytes by every engine.

A worker is made from plain data, opened once where it works, and called with rows. The engine cuts the rows into
parts whose size follows from their number alone, and works on several parts at once: in threads, in processes, or on
a Ray cluster. A part's bytes depend on its rows only. Every worker computes with one thread, whatever the engine, so
that sums are formed in the same order.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from xray_debug.config import EngineConfig
from xray_debug.run.fingerprint import digest
from xray_debug.run.parts import PROBLEM, Parts, Row, has_part, write_part

FEWEST_PARTS = 32  # small tables are cut finer, so that all workers have something to do
SYSTEMATIC = 8  # rows, from which on a part that fails throughout is no matter of single images
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}
Progress = Callable[[str], Callable[[int, int], None]]  # description -> callback(done, total)


class EngineError(RuntimeError):
    """Work that cannot go on; one sentence."""


class PartDone(Exception):  # noqa: N818  not an error: this process has done its share
    """Raised in place of a result when only some of the parts were asked for (`--part`)."""


class Worker(Protocol):
    """What the engine needs of a worker. It must pickle before `open` (options, paths, numbers; no models).

    `batch` (optional, 8): rows of one call.
    """

    def open(self) -> None:
        """Loads what is needed (models, readers); called once in each process or thread before any row."""

    def __call__(self, rows: list[Row]) -> list[Row]:
        """One row of results for each row, in order; values are scalars, strings, bytes, lists or NumPy arrays.

        What is computed for a row may not depend on the other rows. An exception means that a row cannot be done: the
        engine calls again with single rows, once more each, and then sets the row aside with the exception's sentence.
        """


class Rows(Protocol):
    """What is worked on: rows by slice, made when they are needed."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice) -> list[Row]: ...


class TableRows:
    """Rows of a table as dictionaries; `add` may put arrays into the rows of a part before they go out."""

    def __init__(self, frame: pd.DataFrame, add: Callable[[list[Row]], list[Row]] | None = None):
        self.frame, self.add = frame, add

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, part: slice) -> list[Row]:
        rows = self.frame.iloc[part].to_dict("records")
        return self.add(rows) if self.add else rows


def part_size(count: int, most: int, batch: int) -> int:
    """Rows of a part: `most`, fewer for a small table, a multiple of the batch; follows from the numbers alone."""
    wanted = min(most, -(-count // FEWEST_PARTS))
    return max(batch, -(-wanted // batch) * batch)


# ---------------------------------------------------------------------------------------------------- one part


def _is_fatal(error: BaseException) -> bool:
    """Whether the error is of the machine or the set-up, so that no other image would fare better."""
    if getattr(error, "fatal", False) or isinstance(error, (ImportError, MemoryError)):
        return True
    return isinstance(error, OSError) and error.errno in FULL


def sentence_of(error: BaseException) -> str:
    """The first line of what an exception says, or its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _single(worker: Worker, row: Row) -> Row:
    """The result of one row, tried twice; set aside with its problem where it cannot be done."""
    for attempt in (1, 2):
        try:
            return worker([row])[0]
        except Exception as error:
            if _is_fatal(error):
                raise
            if attempt == 2:
                return {PROBLEM: sentence_of(error) or type(error).__name__}
    raise AssertionError("unreachable")


def work_part(worker: Worker, rows: list[Row], stopped: Callable[[], bool] = lambda: False,
              tick: Callable[[int], None] = lambda n: None) -> list[Row]:  # fmt: skip
    """The results of a part's rows, each with its image_id and `problem` ("" where all is well)."""
    size, found = getattr(worker, "batch", 8), []
    for start in range(0, len(rows), size):
        if stopped():
            raise KeyboardInterrupt
        batch = rows[start : start + size]
        try:
            results = worker(batch)
            if len(results) != len(batch):
                raise EngineError(f"{type(worker).__name__}: expected {len(batch)} results, got {len(results)}")
        except EngineError:
            raise
        except Exception as error:
            if _is_fatal(error):
                raise
            results = [_single(worker, row) for row in batch]
        for row, result in zip(batch, results, strict=True):
            found.append({"image_id": row["image_id"], **result, PROBLEM: result.get(PROBLEM) or ""})
        tick(len(batch))
    if len(found) >= SYSTEMATIC and all(row[PROBLEM] for row in found):
        raise EngineError(f"none of {len(found)} images could be done, the first: {found[0][PROBLEM]}")
    return found


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Libraries compute with one thread inside the block."""
    import cv2
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


# ---------------------------------------------------------------------------------------------------- engines

_here = threading.local()  # this thread's or process's open worker


def _opened(packed: bytes) -> Worker:
    """This thread's worker, opened at the first call."""
    if getattr(_here, "packed", None) != packed:
        worker = pickle.loads(packed)  # noqa: S301  made by this very process or its parent
        worker.open()
        _here.packed, _here.worker = packed, worker
    return _here.worker


def _start_process() -> None:
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _in_process(packed: bytes, rows: list[Row]) -> list[Row]:
    return work_part(_opened(packed), rows)


class _Local:
    """Threads, or processes, of this machine."""

    def __init__(self, workers: int, processes: bool, packed: bytes, tick: Callable[[int], None]):
        self.workers, self.packed, self.tick, self.processes = workers, packed, tick, processes
        self.stop = threading.Event()
        if processes:
            import multiprocessing

            spawn = multiprocessing.get_context("spawn")
            self.pool: Any = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_start_process)
        else:
            self.pool = ThreadPoolExecutor(workers)

    def submit(self, rows: list[Row]) -> Future:
        if self.processes:
            return self.pool.submit(_in_process, self.packed, rows)
        return self.pool.submit(self._in_thread, rows)

    def _in_thread(self, rows: list[Row]) -> list[Row]:
        return work_part(_opened(self.packed), rows, self.stop.is_set, self.tick)

    def first(self, waiting: Sequence[Future]) -> list[Future]:
        return list(wait(waiting, return_when=FIRST_COMPLETED).done)

    def close(self, failed: bool) -> None:
        self.stop.set()
        if failed and self.processes:
            for process in list((getattr(self.pool, "_processes", None) or {}).values()):
                process.terminate()
        self.pool.shutdown(wait=True, cancel_futures=True)


@dataclass
class Engine:
    """Runs workers over rows. `part`: (i, n): only every n-th part, beginning with the i-th, counted from 1."""

    config: EngineConfig = field(default_factory=EngineConfig)
    progress: Progress = lambda what: lambda done, total: None
    say: Callable[[str], None] = lambda text: None
    part: tuple[int, int] | None = None
    merge: bool = False  # nothing is computed: missing parts are an error that names them

    @property
    def workers(self) -> int:
        return self.config.workers or os.cpu_count() or 1

    def run(self, worker: Worker, rows: Rows, folder: Path, what: str, key: Any = "", most: int = 64,
            arrays: Mapping[str, tuple] | None = None) -> Parts:  # fmt: skip
        """The results of all rows, in parts in `folder`; parts that are there already are not computed again.

        Args:
            worker: see Worker.
            rows: each with `image_id`.
            folder: made where absent; holds nothing but these parts.
            what: for the progress bar and messages.
            key: what else than the rows' names decides the result, where the folder's owner does not vouch for it.
            most: rows of a part at most.
            arrays: results kept as .npy beside the parts, name -> (shape, dtype).

        Raises:
            PartDone: `part` was given, and its share is done.
            EngineError: parts are missing with `merge`, or every image of a part failed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        size = part_size(len(rows), most, getattr(worker, "batch", 8))
        starts = range(0, len(rows), size)
        mark = digest([key, len(rows), size, type(worker).__name__])
        todo = [index for index in range(len(starts)) if not has_part(folder, index, mark)]
        if self.merge and todo:
            raise EngineError(f"{folder}: {len(todo)} of {len(starts)} parts are missing, the first: {todo[0] + 1}")
        mine = todo if self.part is None else [i for i in todo if i % self.part[1] == self.part[0] - 1]
        if mine:
            self._work(worker, rows, folder, what, mark, mine, size, arrays)
        if self.part is not None:
            if len(mine) < len(todo):
                raise PartDone
            self.say(f"{what}: all {len(starts)} parts are there")
            raise PartDone
        for stray in folder.glob("part-*"):  # of an earlier, longer table
            if int(stray.name[5:11]) >= len(starts):
                stray.unlink()
        parts = Parts.read(folder)
        self._name_problems(parts, what)
        return parts

    def _work(self, worker, rows, folder, what, mark, mine, size, arrays) -> None:
        bar = self.progress(what)
        total = len(rows)
        lock, done = threading.Lock(), [total - sum(min(size, total - i * size) for i in mine)]

        def tick(count: int) -> None:
            with lock:
                done[0] += count
                bar(min(done[0], total), total)

        live = self.config.engine == "local" and not self.config.processes
        with one_thread():
            pool = self._pool(pickle.dumps(worker), tick)
            waiting: dict[Any, int] = {}
            failed = True
            try:
                for index in [*mine, *[None] * len(mine)]:
                    while waiting and (index is None or len(waiting) >= 2 * pool.workers):
                        self._take(pool, waiting, folder, mark, arrays, None if live else tick)
                    if index is not None:
                        waiting[pool.submit(rows[index * size : (index + 1) * size])] = index
                failed = False
            finally:
                pool.close(failed)

    def _take(self, pool, waiting, folder, mark, arrays, tick) -> None:
        """Writes the parts that are finished."""
        for future in pool.first(list(waiting)):
            index = waiting.pop(future)
            results = pool.result(future) if hasattr(pool, "result") else future.result()
            write_part(folder, index, results, mark, arrays)
            if tick:
                tick(len(results))

    def _pool(self, packed: bytes, tick: Callable[[int], None]):
        if self.config.engine == "ray":
            from xray_debug.run.ray_engine import RayPool

            return RayPool(self.config, packed)
        return _Local(self.workers, self.config.processes, packed, tick)

    def _name_problems(self, parts: Parts, what: str) -> None:
        frame = parts.table()
        if PROBLEM in frame:
            for row in frame[frame[PROBLEM].fillna("") != ""].itertuples():
                self.say(f"{what}: {row.image_id}: {getattr(row, PROBLEM)}")


def run_here(worker: Worker, rows: list[Row]) -> list[Row]:
    """All rows in this thread without files: for the Python interface and tests. Problems come as rows."""
    worker.open()
    with one_thread():
        return work_part(worker, rows)


def trace_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
