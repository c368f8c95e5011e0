"""One engine for work on many images: parts written whole, resumed, retried, bounded, the same bytes by every engine.

A worker is made from plain data, opened once where it works, and called with rows.
"""

from __future__ import annotations

from typing import Any, Protocol

Row = dict[str, Any]


class Worker(Protocol):
    """What the engine needs of a worker. It must pickle before `open` (options, paths, numbers; no models)."""

    def open(self) -> None:
        """Loads what is needed (models, readers); called once in each process or thread before any row."""

    def __call__(self, rows: list[Row]) -> list[Row]:
        """One row of results for each row, in order; values are scalars, strings, bytes, lists or NumPy arrays.

        What is computed for a row may not depend on the other rows. An exception means that a row cannot be done: the
        engine calls again with single rows, once more each, and then sets the row aside with the exception's sentence.
        """
