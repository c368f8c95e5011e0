"""A user's table, CSV, TSV or Parquet, read as texts; and the same table with some of its rows and other paths."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from xray_debug.data.files import atomic_write
from xray_debug.data.formats.base import LayoutError

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")
LARGEST_CELL = 1 << 20  # signs


@dataclass
class UserTable:
    """Columns and rows as texts; "" where there is no value. `lines`: the line of each row, in Parquet its number.

    `faults`: (line, what is wrong) of rows that have other than one cell for each column; they are in no `rows`.
    """

    path: Path
    columns: list[str]
    rows: list[list[str]]
    lines: list[int]
    faults: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self):
        twice = [name for name, count in Counter(self.columns).items() if count > 1 and name]
        if twice:
            raise LayoutError(f"{self.path}: two columns are called {twice[0]!r}, expected each name once")

    def values(self, column: str) -> list[str]:
        place = self.columns.index(column)
        return [row[place] for row in self.rows]


def is_table(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def tables_in(folder: Path) -> list[Path]:
    """The tables that lie directly in a folder."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and is_table(path))


def read_table(path: Path) -> UserTable:
    """LayoutError for what is no table: not UTF-8 or UTF-16, no header, no row, a name twice."""
    if path.suffix.lower() in (".parquet", ".pq"):
        return _read_parquet(path)
    text, _ = _text(path)
    reader = _reader(path, text)
    try:
        columns = [name.strip() for name in next(reader, [])]
        table = UserTable(path, columns, [], [])
        before = reader.line_num
        for row in reader:
            line, before = before + 1, reader.line_num
            if not any(cell.strip() for cell in row):
                continue
            row = _fitted(row, columns)
            if len(row) != len(columns):
                table.faults.append((line, f"{len(row)} cells, expected {len(columns)} as the header has"))
                continue
            table.rows.append(row)
            table.lines.append(line)
    except csv.Error as error:
        raise LayoutError(f"{path}:{reader.line_num}: not a table that can be read ({error})") from error
    if not any(columns):
        raise LayoutError(f"{path}: empty, expected a header such as path,label,patient and a row for each image")
    return table


def _fitted(row: list[str], columns: list[str]) -> list[str]:
    """`row`, where it or the header has a delimiter at its end that the other has not."""
    if len(row) == len(columns) + 1 and not row[-1].strip():
        return row[:-1]
    return [*row, ""] if len(row) == len(columns) - 1 and not columns[-1] else row


def header_of(path: Path) -> list[str]:
    """The names of a table's columns; LayoutError as read_table."""
    if path.suffix.lower() in (".parquet", ".pq"):
        import pyarrow.parquet as pq

        try:
            return list(pq.read_schema(path).names)
        except (OSError, ValueError) as error:
            raise LayoutError(f"{path}: not a readable Parquet table ({str(error).splitlines()[0]})") from error
    text, _ = _text(path, 1 << 20)
    return [name.strip() for name in next(_reader(path, text), [])]


def write_part(path: Path, table: UserTable, kept: Sequence[int], column: str, values: Mapping[int, str]) -> None:
    """Writes to `path` the rows numbered `kept` of a table that was read, every cell as it was but for `column`.

    `values`: row number -> what `column` says there. Delimiter, line ends and byte order mark, or the types of a
    Parquet table, are those of the original, but for a column of numbers where a text is no number.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if table.path.suffix.lower() in (".parquet", ".pq"):
        _write_parquet(path, table.path, kept, column, values)
        return
    text, encoding = _text(table.path)
    reader, place = _reader(table.path, text), table.columns.index(column)
    ends = "\r\n" if text[: text.find("\n") + 1].endswith("\r\n") else "\n"
    lines = [_line(next(reader), reader.dialect.delimiter)]
    for number in kept:
        row = list(table.rows[number])
        row[place] = values.get(number, row[place])
        lines.append(_line(row, reader.dialect.delimiter))
    written = "".join(line + ends for line in lines).encode(encoding)
    atomic_write(path, lambda target: target.write(written))


def _line(row: Sequence[str], delimiter: str) -> str:
    """A row without its end; cells with any kind of line end in them are quoted."""
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator="\r\n").writerow(row)
    return file.getvalue()[:-2]


def _text(path: Path, most: int = -1) -> tuple[str, str]:
    """(the text, its encoding)."""
    try:
        with path.open("rb") as file:
            data = file.read(most)
    except OSError as error:
        raise LayoutError(f"{path}: cannot be read ({error.strerror})") from error
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else (
        "utf-8-sig" if data[:3] == b"\xef\xbb\xbf" else "utf-8")  # fmt: skip
    try:
        return data.decode(encoding, "strict" if most < 0 else "ignore"), encoding
    except UnicodeError as error:
        line = data[: getattr(error, "start", 0)].count(b"\n") + 1
        raise LayoutError(f"{path}:{line}: not UTF-8 text; save the table as CSV in UTF-8") from error


def _reader(path: Path, text: str):
    """A reader whose delimiter is the tab for .tsv, else the one of , ; and tab that cuts the header most often."""
    csv.field_size_limit(LARGEST_CELL)
    if path.suffix.lower() == ".tsv":
        delimiter = "\t"
    else:
        cells = {sign: len(next(csv.reader(io.StringIO(text[:LARGEST_CELL], newline=""), delimiter=sign), []))
                 for sign in ",;\t"}  # fmt: skip
        delimiter = max(cells, key=lambda sign: cells[sign])
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)


def _read_parquet(path: Path) -> UserTable:
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, ValueError) as error:
        raise LayoutError(f"{path}: not a readable Parquet table ({str(error).splitlines()[0]})") from error
    columns = [[_cell(value) for value in column.to_pylist()] for column in table.columns]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return UserTable(path, list(table.column_names), rows, list(range(1, len(rows) + 1)))


def _cell(value: object) -> str:
    """A Parquet value as the text that a CSV would hold; whole floats without their ".0"."""
    if value is None or value != value:
        return ""
    whole = isinstance(value, (bool, float)) and math.isfinite(value) and value == int(value)
    return str(int(value)) if whole else str(value)


def _write_parquet(path: Path, source: Path, kept: Sequence[int], column: str, values: Mapping[int, str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(source)
    place = table.column_names.index(column)
    cells = table.column(place).to_pylist()
    changed = {number: text for number, text in values.items() if text != _cell(cells[number])}
    if changed:
        new, field = _changed(cells, changed, table.field(place))
        table = table.set_column(place, field, new)
    table = table.take(pa.array(kept, pa.int64()))
    atomic_write(path, lambda file: pq.write_table(table, file))


def _changed(cells: list, changed: Mapping[int, str], field: pa.Field) -> tuple[pa.Array, pa.Field]:
    """A column with other texts in some cells; all of it as text where its type holds none (1 -> 1.png)."""
    import pyarrow as pa

    try:
        return pa.array([changed.get(number, cell) for number, cell in enumerate(cells)], field.type), field
    except pa.ArrowException:
        texts = [changed.get(number, None if cell is None else _cell(cell)) for number, cell in enumerate(cells)]
        return pa.array(texts, pa.string()), field.with_type(pa.string())
