"""A worker and the rows it is given: the part of the engine that runs where the work is done.

A worker is made from plain data, opened once in each thread, process or actor, and called with rows. It computes with
one thread, whatever the engine, so that sums are formed in the same order and every engine gives the same bytes.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import pandas as pd

from xray_debug.data.files import FULL, sync_all
from xray_debug.run.parts import PROBLEM, Row

SYSTEMATIC = 8  # rows, from which on a part that fails throughout is no matter of single images
FATAL = FULL | {errno.EROFS, errno.EMFILE, errno.ENFILE}  # no other image would fare better


class EngineError(RuntimeError):
    """Work that cannot go on; one sentence."""


class Worker(Protocol):
    """What the engine needs of a worker. It must pickle before `open` (options, paths, numbers; no models).

    `batch` (optional, 8): rows of one call. `writes_into` (optional, none): folders that it writes files into, which
    are on the disk before the part that vouches for them.
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


def _is_fatal(error: BaseException) -> bool:
    """Whether the error is of the machine or the set-up, so that no other image would fare better."""
    if getattr(error, "fatal", False) or isinstance(error, (ImportError, MemoryError)):
        return True
    return isinstance(error, OSError) and error.errno in FATAL


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
    size, found, aside = getattr(worker, "batch", 8), [], 0
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
            aside += sum(list(result) == [PROBLEM] for result in results)
        for row, result in zip(batch, results, strict=True):
            found.append({"image_id": row["image_id"], **result, PROBLEM: result.get(PROBLEM) or ""})
        tick(len(batch))
    for folder in getattr(worker, "writes_into", ()):
        if os.path.isdir(folder):
            sync_all(folder)
    if aside == len(found) >= SYSTEMATIC:
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


_here = threading.local()  # this thread's or process's open worker


def opened(packed: bytes) -> Worker:
    """This thread's worker, opened at the first call."""
    if getattr(_here, "packed", None) != packed:
        worker = pickle.loads(packed)  # noqa: S301  made by this very process or its parent
        worker.open()
        _here.packed, _here.worker = packed, worker
    return _here.worker


def _end_with_the_parent(parent) -> None:
    parent.join()  # waits on a pipe or, on Windows, a handle, so that a parent that was killed is noticed as well
    os._exit(1)


def start_process() -> None:
    """One thread for what is computed in this process, which ends when its parent does, however that ended.

    torch, seconds to import, is left to workers that need it.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with_the_parent, args=(parent,), daemon=True).start()
    import cv2

    cv2.setNumThreads(1)
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # read when torch is imported
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def run_here(worker: Worker, rows: list[Row]) -> list[Row]:
    """All rows in this thread without files: for the Python interface and tests. Problems come as rows."""
    worker.open()
    with one_thread():
        return work_part(worker, rows)
