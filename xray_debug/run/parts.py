"""Results in parts: Parquet files of a fixed number of rows each, written whole, with the key of the work in them.

An array column is stored as Arrow's fixed-shape tensor, so that any reader of Parquet sees numbers. Large arrays (the
model's views) lie beside the part as .npy, to be memory-mapped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from xray_debug.data.files import atomic_write

KEY = b"xray_debug.key"
PROBLEM = "problem"
Row = dict[str, Any]


def part_file(folder: Path, index: int) -> Path:
    return folder / f"part-{index:06d}.parquet"


def array_file(folder: Path, index: int, name: str) -> Path:
    return folder / f"part-{index:06d}.{name}.npy"


def _column(values: list) -> pa.Array:
    """One column; arrays of one shape and type as a fixed-shape tensor, None where a row has none."""
    known = [value for value in values if value is not None]
    if not known or not isinstance(known[0], np.ndarray):
        return pa.array([value.item() if isinstance(value, np.generic) else value for value in values])
    shape, dtype = known[0].shape, known[0].dtype
    if any(value.shape != shape or value.dtype != dtype for value in known):
        raise ValueError("arrays of one column must have one shape and type within a part")
    filler = np.zeros(shape, dtype)
    flat = np.concatenate([(filler if value is None else value).ravel() for value in values])
    mask = pa.array([value is None for value in values])
    size = int(np.prod(shape))
    storage = pa.FixedSizeListArray.from_arrays(pa.array(flat), size, mask=mask)
    kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(dtype), shape)
    return pa.ExtensionArray.from_storage(kind, storage)


def write_part(folder: Path, index: int, rows: Sequence[Row], key: str, arrays: Mapping[str, tuple] | None = None):
    """Writes one part; its Parquet file comes last, so that it vouches for the arrays beside it.

    `arrays`: name -> (shape, dtype) of the columns that are kept as .npy, zeros where a row has none.
    """
    arrays = arrays or {}
    for name, (shape, dtype) in arrays.items():
        stack = np.zeros((len(rows), *shape), dtype)
        for place, row in zip(stack, rows, strict=True):
            if row.get(name) is not None:
                place[...] = row[name]
        atomic_write(array_file(folder, index, name), lambda file, stack=stack: np.save(file, stack), sync=True)
    names = list(dict.fromkeys(name for row in rows for name in row if name not in arrays))
    table = pa.table({name: _column([row.get(name) for row in rows]) for name in names})
    table = table.replace_schema_metadata({KEY: key.encode()})
    atomic_write(part_file(folder, index), lambda file: pq.write_table(table, file, compression="zstd"), sync=True)


def has_part(folder: Path, index: int, key: str) -> bool:
    """Whether the part is there, whole and of this very work."""
    try:
        return (pq.read_schema(part_file(folder, index)).metadata or {}).get(KEY) == key.encode()
    except (OSError, pa.ArrowInvalid):
        return False


def _numpy(column: pa.ChunkedArray | pa.Array) -> list:
    """The values of a column; tensors as NumPy arrays."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(column.type, pa.FixedShapeTensorType):
        size, storage = int(np.prod(column.type.shape)), column.storage
        known = np.asarray(storage.is_valid())
        flat = storage.values.to_numpy(zero_copy_only=False)
        flat = flat[storage.offset * size : (storage.offset + len(storage)) * size]
        return [flat[i * size : (i + 1) * size].reshape(column.type.shape) if known[i] else None
                for i in range(len(storage))]
    return column.to_pylist()


@dataclass(frozen=True)
class Parts:
    """The parts in a folder, in order."""

    folder: Path
    files: tuple[Path, ...]

    @classmethod
    def read(cls, folder: str | Path) -> Parts:
        return cls(Path(folder), tuple(sorted(Path(folder).glob("part-*.parquet"))))

    def __len__(self) -> int:
        """Rows of all parts."""
        return sum(pq.read_metadata(file).num_rows for file in self.files)

    def table(self, without: Sequence[str] = ()) -> pd.DataFrame:
        """The columns that are no arrays, and not named in `without`, of all parts, in the order of the rows."""
        tables = []
        for file in self.files:
            schema = pq.read_schema(file)
            names = [field.name for field in schema
                     if field.name not in without and not isinstance(field.type, pa.FixedShapeTensorType)]  # fmt: skip
            tables.append(pq.read_table(file, columns=names).replace_schema_metadata(None))
        if not tables:
            return pd.DataFrame()
        return pa.concat_tables(tables, promote_options="permissive").to_pandas()

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[Row]:
        """Every row as a dictionary, one part in memory at a time; absent columns are left out."""
        for file in self.files:
            names = [name for name in pq.read_schema(file).names if columns is None or name in columns]
            table = pq.read_table(file, columns=names)
            values = [_numpy(table[name]) for name in names]
            yield from (dict(zip(names, row, strict=True)) for row in zip(*values, strict=True))

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        """image_id -> (part, row in it)."""
        return {name: (index, row) for index, file in enumerate(self.files)
                for row, name in enumerate(pq.read_table(file, columns=["image_id"])["image_id"].to_pylist())}

    def find(self, image_id: str, column: str) -> Any:
        """One value of one image; None where there is no such image, column or value."""
        place = self._places.get(image_id)
        if place is None or column not in pq.read_schema(self.files[place[0]]).names:
            return None
        table = pq.read_table(self.files[place[0]], columns=[column]).slice(place[1], 1)
        return _numpy(table[column])[0]

    def arrays(self, name: str) -> list[Path]:
        """The .npy files of the array column `name`, in order."""
        return [file.with_name(file.name.removesuffix(".parquet") + f".{name}.npy") for file in self.files]
