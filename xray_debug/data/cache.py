"""All images of a data set as one array, decoded and resized once, so that no epoch waits on decoding."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from xray_debug.data.images import ModelView, read_image

SAVE_EVERY = 256  # images decoded between two saves


def _mark(path: Path) -> str:
    """What tells one state of a file from another: its size and time of change; "absent" where there is none."""
    try:
        status = path.stat()
    except OSError:
        return "absent"
    return f"{status.st_size}-{status.st_mtime_ns}"


class ImageCache:
    """A file of uint8 (N, S, S), `<file>.npy`, and beside it `<file>.json`, which says what its rows hold.

    A row is decoded again when the size or time of change of its image differs from when it was decoded; all rows
    are when the list of images or the view differs. Images are never written to.
    """

    def __init__(self, paths: Sequence[str | Path], view: ModelView, file: str | Path):
        self.paths, self.view = [Path(p) for p in paths], view
        self.file = Path(file)
        if self.file.suffix != ".npy":
            raise ValueError(f"{file}: expected the name of a .npy file for the image cache")
        self.index_file = self.file.with_suffix(".json")
        names = "\n".join(os.path.abspath(p) for p in self.paths)
        self.key = hashlib.sha256(f"{dataclasses.astuple(view)}\n{names}".encode()).hexdigest()
        self.marks: list[str] = [""] * len(self.paths)
        self.problems: dict[int, str] = {}

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.paths), self.view.size, self.view.size

    def _open(self) -> np.memmap:
        """The array to fill, with the rows of an earlier, perhaps interrupted, call where they still hold."""
        try:
            index = json.loads(self.index_file.read_text(encoding="utf-8"))
            array = np.lib.format.open_memmap(self.file, mode="r+")
            if index["key"] == self.key and array.shape == self.shape and array.dtype == np.uint8:
                self.marks = list(index["marks"])
                self.problems = {int(i): text for i, text in index["problems"].items()}
                return array
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass  # no cache, or one that does not hold: a new one
        self.index_file.unlink(missing_ok=True)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        return np.lib.format.open_memmap(self.file, mode="w+", dtype=np.uint8, shape=self.shape)

    def _save(self, array: np.memmap) -> None:
        array.flush()  # rows first, then the index that vouches for them
        index = {"key": self.key, "marks": self.marks, "problems": self.problems}
        partial = self.index_file.with_name(self.index_file.name + ".part")
        partial.write_text(json.dumps(index), encoding="utf-8")
        os.replace(partial, self.index_file)

    def _decode(self, row: int) -> np.ndarray | str:
        """The model's view of one image, or what is wrong with it."""
        try:
            return self.view.apply(read_image(self.paths[row]))
        except (ValueError, OSError, MemoryError, cv2.error) as error:
            message = (str(error) or type(error).__name__).strip().splitlines()[0]
            return message if str(self.paths[row]) in message else f"{self.paths[row]}: {message}"

    def build(self, workers: int = 0, progress: Callable[[int, int], None] | None = None) -> np.memmap:
        """Decodes what is missing with `workers` threads (0: one per core) and returns the array, read-only."""
        if not self.paths:
            return np.empty(self.shape, np.uint8)
        array = self._open()
        now = [_mark(path) for path in self.paths]
        todo = [i for i, mark in enumerate(now) if mark != self.marks[i]]
        total, done = len(self.paths), len(self.paths) - len(todo)
        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            for start in range(0, len(todo), SAVE_EVERY):
                rows = todo[start : start + SAVE_EVERY]
                for row, result in zip(rows, pool.map(self._decode, rows), strict=True):
                    self.problems.pop(row, None)
                    if isinstance(result, str):
                        self.problems[row], result = result, 0
                    array[row], self.marks[row] = result, now[row]
                    done += 1
                    if progress:
                        progress(done, total)
                self._save(array)
        if progress and not todo:
            progress(total, total)
        return np.load(self.file, mmap_mode="r")


def build_cache(
    paths: Sequence[str | Path],
    view: ModelView,
    file: str | Path,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, dict[int, str]]:
    """The images of `paths` as the model sees them, uint8 (N, S, S), and {index: what is wrong} of the bad ones.

    A bad image has a black row and never stops the others. Interrupted, a later call goes on; see ImageCache.
    """
    cache = ImageCache(paths, view, file)
    images = cache.build(workers, progress)
    return images, dict(sorted(cache.problems.items()))
