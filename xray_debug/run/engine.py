"""One engine for work on many images: parts written whole, resumed, retried, bounded, the same bytes by every engine.

The engine cuts the rows into parts whose size follows from their number alone, and works on several parts at once: in
threads, in processes, or on a Ray cluster. A part's bytes depend on its rows only.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xray_debug.config import EngineConfig
from xray_debug.run.fingerprint import digest
from xray_debug.run.local_pool import LocalPool
from xray_debug.run.parts import PROBLEM, Parts, has_part, write_part
from xray_debug.run.worker import EngineError, Rows, TableRows, Worker, one_thread, run_here

__all__ = ["Engine", "EngineError", "PartDone", "Rows", "TableRows", "Worker", "part_size", "run_here"]

FEWEST_PARTS = 32  # small tables are cut finer, so that all workers have something to do
Progress = Callable[[str], Callable[[int, int], None]]  # description -> callback(done, total)


class PartDone(Exception):  # noqa: N818  not an error: this process has done its share
    """Raised in place of a result when only some of the parts were asked for (`--part`)."""


def cores() -> int:
    """The cores that this process may use, which a scheduler can have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def part_size(count: int, most: int, batch: int) -> int:
    """Rows of a part: `most`, fewer for a small table, a multiple of the batch; follows from the numbers alone."""
    wanted = min(most, -(-count // FEWEST_PARTS))
    return max(batch, -(-wanted // batch) * batch)


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
        return self.config.workers or cores()

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
            failure: BaseException | None = None
            try:
                for index in [*mine, *[None] * len(mine)]:
                    while waiting and (index is None or len(waiting) >= 2 * pool.workers):
                        self._take(pool, waiting, folder, mark, arrays, None if live else tick)
                    if index is not None:
                        waiting[pool.submit(rows[index * size : (index + 1) * size])] = index
            except BaseException as error:
                failure = error
                raise
            finally:
                pool.close(failure)

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
            from xray_debug.run.ray_pool import RayPool

            return RayPool(self.config, packed)
        return LocalPool(self.workers, self.config.processes, packed, tick)

    def _name_problems(self, parts: Parts, what: str) -> None:
        for row in parts.rows(["image_id", PROBLEM]):
            if row[PROBLEM]:
                self.say(f"{what}: {row['image_id']}: {row[PROBLEM]}")
