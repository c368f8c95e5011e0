"""The model's views of many images, kept on disk and read when they are asked for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np

BLOCK = 256  # rows read at a time where all are gone through


class _Store(Protocol):
    """Where views come from: `shape` (N, S, S), and the rows of a (n,) array of indices in [0, N) as an array."""

    shape: tuple[int, int, int]

    def read(self, rows: np.ndarray) -> np.ndarray: ...


class _Memory:
    """Views that are an array already."""

    def __init__(self, array: np.ndarray):
        _check("views", array.shape, array.dtype)
        self.array, self.shape = array, array.shape

    def read(self, rows: np.ndarray) -> np.ndarray:
        return np.array(self.array[rows])  # of a memory map, too, no more than a copy of the rows


class _Files:
    """Parts on disk, .npy files of uint8 (n, S, S), of one length but for the last, which may be shorter.

    Rows are read from their place in the file, which is open only meanwhile. Memory maps would keep one open file for
    each part, could not be renamed or deleted on Windows, and count every row that was ever read as memory in use.
    """

    def __init__(self, files: Iterable[str | Path]):
        self.files = tuple(str(file) for file in files)
        if not self.files:
            raise ValueError("views: expected at least one file")
        (length, *view), self.start = _header(self.files[0])
        (last, *other), self.last_start = _header(self.files[-1])
        if view != other or last > length:
            raise ValueError(f"{self.files[-1]}: expected at most {length} views of shape {view} as in {self.files[0]},"
                             f" got {last} of {other}")  # fmt: skip
        self.length = max(length, 1)
        self.shape = ((len(self.files) - 1) * length + last, *view)

    def read(self, rows: np.ndarray) -> np.ndarray:
        result = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for part, runs in groupby(_runs(rows, self.length), key=lambda run: run[0]):
            start = self.start if part < len(self.files) - 1 else self.last_start
            with open(self.files[part], "rb", buffering=0) as file:
                self._check_size(part, start, file.fileno())
                for _, row, place, count in runs:
                    file.seek(start + row * result[0].size)
                    _fill(file, result[place : place + count])
        return result

    def _check_size(self, part: int, start: int, number: int) -> None:
        rows = min(self.length, self.shape[0] - part * self.length)
        wanted, found = start + rows * self.shape[1] * self.shape[2], os.fstat(number).st_size
        if found != wanted:
            raise ValueError(f"{self.files[part]}: expected {wanted} bytes ({rows} views), got {found}")


def _check(name: str, shape: tuple, dtype: np.dtype) -> None:
    if len(shape) != 3 or dtype != np.uint8:
        raise ValueError(f"{name}: expected uint8 (N, S, S), got {dtype} {shape}")


def _header(name: str) -> tuple[tuple[int, int, int], int]:
    """The shape of an .npy file of views, and where its numbers begin."""
    with open(name, "rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_column, dtype = read(file)
        except ValueError as error:
            raise ValueError(f"{name}: not an .npy file ({error})") from error
        _check(name, shape, dtype)
        if by_column and np.prod(shape):
            raise ValueError(f"{name}: expected rows one after another (C order), got Fortran order")
        return shape, file.tell()


def _runs(rows: np.ndarray, length: int) -> Iterator[tuple[int, int, int, int]]:
    """(part, row in it, place in the result, count): reads that give `rows`, ordered by part and row."""
    order = np.argsort(rows, kind="stable")
    rows = rows[order]
    follows = (np.diff(rows) == 1) & (np.diff(order) == 1) & (rows[1:] % length != 0)
    starts = np.flatnonzero(np.concatenate([np.ones(min(len(rows), 1), bool), ~follows]))
    counts = np.diff(np.append(starts, len(rows)))
    for row, place, count in zip(rows[starts].tolist(), order[starts].tolist(), counts.tolist(), strict=True):
        yield row // length, row % length, place, count


def _fill(file, target: np.ndarray) -> None:
    """Reads exactly as much as `target` holds."""
    view = memoryview(target.reshape(-1))
    while view:
        read = file.readinto(view)
        if not read:
            raise ValueError(f"{file.name}: shorter than its header says")
        view = view[read:]


class Views:
    """uint8 (N, S, S) that lies in files, row after row: what a model sees of N images.

    Indexed along its first axis as a NumPy array (an integer, a slice, bools (N,), an array of integers); what comes
    out is a new array in memory, no larger than asked. Pickles as the names of its files.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, files: Iterable[str | Path]):
        """`files`: .npy parts in order, of one length but for the last. ValueError where one does not fit."""
        self._store: _Store = _Files(files)
        self._rows: np.ndarray | None = None  # None: all

    @classmethod
    def of(cls, array: np.ndarray) -> Views:
        """The same for an array uint8 (N, S, S) in memory, which is not copied."""
        return cls._made(_Memory(array), None)

    @classmethod
    def _made(cls, store: _Store, rows: np.ndarray | None) -> Views:
        views = cls.__new__(cls)
        views._store, views._rows = store, rows
        return views

    @property
    def shape(self) -> tuple[int, int, int]:
        return (len(self), *self._store.shape[1:])

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the parts; none for an array in memory."""
        return getattr(self._store, "files", ())

    @property
    def numbers(self) -> np.ndarray:
        """(N,) the row of each image in the parts together."""
        return np.arange(len(self)) if self._rows is None else self._rows

    def __len__(self) -> int:
        return self._store.shape[0] if self._rows is None else len(self._rows)

    def _pick(self, index) -> np.ndarray | np.int64:
        """Numbers of rows of the store, by NumPy's rules."""
        if isinstance(index, list):
            index = np.asarray(index, np.int64 if not index else None)
        return self.numbers[index]

    def __getitem__(self, index) -> np.ndarray:
        rows = self._pick(index)
        return self._store.read(np.ravel(rows)).reshape(*np.shape(rows), *self.shape[1:])

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self), BLOCK):
            yield from self[start : start + BLOCK]

    def rows(self, indices) -> Views:
        """The chosen images (bools (N,), integers or a slice) in that order; nothing is read."""
        chosen = self._pick(indices)
        if chosen.ndim != 1:
            raise IndexError(f"rows of views: expected one axis of indices, got {chosen.ndim}")
        return self._made(self._store, chosen)

    def digest(self, indices=None) -> str:
        """BLAKE2b (32 hex digits) of the bytes of all rows, or of those chosen, in order; read in blocks."""
        total, views = hashlib.blake2b(digest_size=16), self if indices is None else self.rows(indices)
        for start in range(0, len(views), BLOCK):
            total.update(views[start : start + BLOCK])
        return total.hexdigest()
