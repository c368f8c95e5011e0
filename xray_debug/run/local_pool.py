"""Threads or processes of this machine that do an engine's parts."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from typing import Any

from xray_debug.run.parts import Row
from xray_debug.run.worker import opened, start_process, work_part


def _in_process(packed: bytes, rows: list[Row]) -> list[Row]:
    return work_part(opened(packed), rows)


class LocalPool:
    """Threads, or processes, of this machine."""

    def __init__(self, workers: int, processes: bool, packed: bytes, tick: Callable[[int], None]):
        self.workers, self.packed, self.tick, self.processes = workers, packed, tick, processes
        self.stop = threading.Event()
        if processes:
            spawn = multiprocessing.get_context("spawn")
            self.pool: Any = ProcessPoolExecutor(workers, mp_context=spawn, initializer=start_process)
        else:
            self.pool = ThreadPoolExecutor(workers)

    def submit(self, rows: list[Row]) -> Future:
        if self.processes:
            return self.pool.submit(_in_process, self.packed, rows)
        return self.pool.submit(self._in_thread, rows)

    def _in_thread(self, rows: list[Row]) -> list[Row]:
        return work_part(opened(self.packed), rows, self.stop.is_set, self.tick)

    def first(self, waiting: Sequence[Future]) -> list[Future]:
        return list(wait(waiting, return_when=FIRST_COMPLETED).done)

    def close(self, failure: BaseException | None) -> None:
        """`failure`: why the work ends before its end. A person who stops it does not wait for images in hand."""
        self.stop.set()
        if failure and self.processes:
            for process in list((getattr(self.pool, "_processes", None) or {}).values()):
                process.terminate()
        wait = self.processes or not isinstance(failure, KeyboardInterrupt)
        self.pool.shutdown(wait=wait, cancel_futures=True)
