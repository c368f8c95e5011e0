"""A table with a row for each image: CSV, TSV or Parquet; the images lie beside it or in prepare.images."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from xray_debug.config import PrepareConfig
from xray_debug.data.check import Finding
from xray_debug.data.formats.base import FORMATS, LayoutError
from xray_debug.data.formats.places import Finder, Walk, image_ids, split_of
from xray_debug.data.formats.public import Collection, collection_of, yes_or_no
from xray_debug.data.formats.tables import UserTable, header_of, is_table, read_table, tables_in, write_part
from xray_debug.data.manifest import ATTRIBUTE

ROLES = ("path", "label", "labels", "patient", "source", "split")
USUAL = {  # what a column may be called where prepare.columns says nothing, in small letters
    "path": ("path", "image_path", "image", "file", "filename", "file_name", "filepath"),
    "label": ("label", "class", "diagnosis", "target"),
    "patient": ("patient", "patient_id", "patientid", "subject_id"),
    "source": ("source",),
    "split": ("split",),
}
EXAMPLE = "path,label,patient then images/a.png,normal,P1"


@FORMATS.register("table", help="a CSV, TSV or Parquet table with a row for each image")
class Table:
    """The table is `--data` itself, or the only one with these columns in that folder."""

    expects = (f"a table (CSV, TSV or Parquet) with a column for the path and one for the label ({EXAMPLE}; other "
               "names with --columns path=..,label=..)")  # fmt: skip

    def recognises(self, root: Path, config: PrepareConfig) -> bool:
        if not root.is_dir():
            return is_table(root)
        return bool(_fitting(root, config) or config.columns and tables_in(root))

    def images_root(self, root: Path, config: PrepareConfig) -> Path:
        if config.images:
            return Path(config.images)
        return root if root.is_dir() else root.parent

    def rows(self, root: Path, config: PrepareConfig) -> list[dict]:
        read = Reading.of(root, config)
        name, rows = read.table.path.name, []
        for place, problem, row, line in read.images():
            values = read.row(row)
            problem = problem or values.pop("problem", "")
            rows.append({"path": place, "line": line, "label_file": name, **values, "problem": problem})
        ids = image_ids([row["path"] for row in rows])
        taken = {own for row, own in zip(rows, ids, strict=True) if row["path"]}
        for row, own in zip(rows, ids, strict=True):
            written = row.pop("written")
            unlike = f"{written} ({name}:{row['line']})" if written in taken else written
            row["image_id"] = own if row["path"] else unlike
        _settle_splits(rows)
        return rows + [{"image_id": f"{name}:{line}", "split": "train", "label_file": name, "line": line,
                        "problem": f"label: {what}"} for line, what in read.table.faults]  # fmt: skip

    def check(self, root: Path, config: PrepareConfig, frame: pd.DataFrame) -> list[Finding]:
        """Images that the table does not name, where prepare.images (or a folder) says that they are all its own."""
        if not config.images and not root.is_dir():
            return []
        images, used = self.images_root(root, config), set(frame["path"])
        extra = [path for path in Walk(images).images if path not in used]
        if not extra:
            return []
        names = ", ".join(extra[:5]) + (", ..." if len(extra) > 5 else "")
        return [Finding("unlisted", "", f"{len(extra)} images that no row of the table names: {names}")]

    def place(self, row: dict) -> str:
        return row["path"]

    def write_back(self, out: Path, root: Path, config: PrepareConfig, frame: pd.DataFrame) -> None:
        """The user's table with the rows of these images; a path is changed where its file has another suffix now."""
        read = Reading.of(root, config)
        places = dict(zip(frame["path"], frame["place"], strict=True))
        kept, values = [], {}
        for number, (path, _) in enumerate(read.found):
            if path in places:
                kept.append(number)
                values[number] = _new_path(read.written[number], path, places[path])
        images = self.images_root(root, config)
        inside = read.table.path.resolve().is_relative_to(images.resolve())
        name = read.table.path.resolve().relative_to(images.resolve()) if inside else Path(read.table.path.name)
        write_part(out / name, read.table, kept, read.columns["path"], values)


@dataclass
class Reading:
    """A table, which of its columns is what, and which file each row means (path, problem)."""

    table: UserTable
    columns: dict[str, str]
    collection: Collection | None
    config: PrepareConfig
    written: list[str] = field(default_factory=list)
    found: list[tuple[str, str]] = field(default_factory=list)
    test_names: set[str] | None = None

    @classmethod
    def of(cls, root: Path, config: PrepareConfig) -> Reading:
        path = _table_file(root, config)
        table = read_table(path)
        collection = None if config.columns else collection_of(table.columns)
        columns = dict(collection.columns) if collection else columns_of(table, config)
        read = cls(table, columns, collection, config)
        if collection and collection.test_list and (names := path.parent / collection.test_list).is_file():
            read.test_names = set(names.read_text(encoding="utf-8").split("\n"))
        images = Table().images_root(root, config)
        if not images.is_dir():
            raise LayoutError(f"prepare.images: no folder {images}; expected the one that the table's paths start from")
        read.written = table.values(columns["path"])
        known = Finder(images)(dict.fromkeys(read.written))
        read.found = [known[text] for text in read.written]
        if not collection:
            _check_labels(table, columns, config)
        return read

    def images(self):
        """(path, problem, row, line) of each image: of each row, but for collections with several rows an image."""
        if self.collection and self.collection.many_rows:
            groups: dict[str, list[int]] = {}
            for number, text in enumerate(self.written):
                groups.setdefault(text, []).append(number)
            for numbers in groups.values():
                yield *self.found[numbers[0]], [self._cells(n) for n in numbers], self.table.lines[numbers[0]]
            return
        for number, (path, problem) in enumerate(self.found):
            yield path, problem, self._cells(number), self.table.lines[number]

    def _cells(self, number: int) -> dict[str, str]:
        return {name: cell.strip() for name, cell in zip(self.table.columns, self.table.rows[number], strict=True)}

    def row(self, cells: dict[str, str] | list[dict[str, str]]) -> dict:
        """What a manifest's row says, from the cells of the table's row (or rows)."""
        first = cells[0] if isinstance(cells, list) else cells
        written = {"written": first[self.columns["path"]] or "no path"}
        if self.collection:
            found = self.collection.row(cells, self.config)
            if self.test_names is not None:
                found["split"] = "test" if first[self.columns["path"]] in self.test_names else "train"
            return written | found | {"test_set": "test" if found["split"] == "test" else ""}
        return written | _plain_row(cells, self.columns, self.config)


def _plain_row(cells: dict[str, str], columns: Mapping[str, str], config: PrepareConfig) -> dict:
    label, others, problem = _label(cells, columns, config)
    split = _split(cells, columns)
    if split is None:
        problem = problem or f"label: split {cells[columns['split']]!r}, expected train, val or test"
    used = {columns[role] for role in columns if role != "labels"} | set(others)
    used |= {_finding(columns, config)} if "labels" in columns else set()
    more = {ATTRIBUTE + name: value for name, value in cells.items() if name and name not in used} | {
        ATTRIBUTE + name: value for name, value in others.items()}  # fmt: skip
    return {
        "label": label, "problem": problem, "split": split or "", "test_set": "test" if split == "test" else "",
        "patient_id": cells[columns["patient"]] if "patient" in columns else "",
        "source": cells[columns["source"]] if "source" in columns else "", **more,
    }  # fmt: skip


def _split(cells: dict[str, str], columns: Mapping[str, str]) -> str | None:
    """train, val, test, "" where the table has no such column, None for another word."""
    return split_of(cells[columns["split"]]) if "split" in columns else ""


def _label(cells: dict[str, str], columns: Mapping[str, str], config: PrepareConfig) -> tuple[str, dict, str]:
    """(label, other findings, problem)."""
    if "labels" in columns:
        names = columns["labels"].split("+")
        asked = _finding(columns, config)
        return yes_or_no(asked, cells[asked], {name: cells[name] for name in names if name != asked})
    text = cells[columns["label"]]
    if not text:
        return "", {}, f"label: none in column {columns['label']}, expected a class"
    if config.finding:
        found = {part.strip().casefold() for part in re.split(r"[|;,/+]", text)}
        return (config.finding if config.finding.casefold() in found else f"no {config.finding}"), {}, ""
    return text, {}, ""


def _finding(columns: Mapping[str, str], config: PrepareConfig) -> str:
    """The column of the finding that is asked for."""
    names = columns["labels"].split("+")
    same = [name for name in names if config.finding and name.casefold() == config.finding.casefold()]
    return same[0] if same else names[0]


def _new_path(written: str, path: str, place: str) -> str:
    """What a table says of an image whose file is now `place`; as it was where that still leads there."""
    old, new, text = PurePosixPath(path), PurePosixPath(place), written.strip()
    parts = PurePosixPath(text.replace("\\", "/")).parts
    if os.path.isabs(text) or ".." in parts:
        return place
    if old == new or parts[-1] == old.stem:  # a name without its suffix
        return written
    return text[: -len(old.name)] + new.name if text.endswith(old.name) else place


def _settle_splits(rows: list[dict]) -> None:
    """Rows with a problem are of train where they have no split; without any test, train is what test is cut from."""
    has_test = any(row["split"] == "test" and not row["problem"] for row in rows)
    for row in rows:
        if row["split"] == "train" and not has_test:
            row["split"] = ""
        if row["problem"] and not row["split"]:
            row["split"] = "train"


# ------------------------------------------------------------------------------------------------- which column


def parse_columns(text: str) -> dict[str, str]:
    """"path=file,label=finding" as a mapping; a name with a comma in quotes: "path=a,b". LayoutError for no such."""
    found = {}
    for part in next(csv.reader([text]), []):
        role, sign, name = part.partition("=")
        if not sign or not name:
            raise LayoutError(f"--columns {text}: expected {', '.join(f'{role}=NAME' for role in ROLES)}, got {part!r}")
        found[role.strip()] = name
    return found


def columns_of(table: UserTable, config: PrepareConfig) -> dict[str, str]:
    """role -> column. LayoutError where one that is named is not there, or a path or label has none."""
    unknown = [role for role in config.columns if role not in ROLES]
    if unknown:
        raise LayoutError(f"prepare.columns: unknown {unknown[0]!r}, expected {', '.join(ROLES)}; further columns "
                          "become attributes by themselves")  # fmt: skip
    if {"label", "labels"} <= set(config.columns):
        raise LayoutError("prepare.columns: both label and labels, expected one: label=NAME for a column of classes, "
                          "labels=A+B for columns of 0 and 1")  # fmt: skip
    found = dict(config.columns)
    for role, names in USUAL.items():
        if role in found or (role == "label" and "labels" in found):
            continue
        fitting = [name for name in table.columns if name.casefold() in names and name not in found.values()]
        if len(fitting) > 1 and role in ("path", "label"):
            raise LayoutError(f"{table.path}: columns {' and '.join(fitting)} could be the {role}, expected one; "
                              f"choose with --columns {role}={fitting[0]}")  # fmt: skip
        if fitting:
            found[role] = fitting[0]
    lacking = [role for role in ("path", "label") if role not in found and (role == "path" or "labels" not in found)]
    if lacking:
        raise LayoutError(f"{table.path}: no column for the {lacking[0]} among {', '.join(table.columns)}; say which "
                          f"with --columns {lacking[0]}=NAME; expected for example {EXAMPLE}")  # fmt: skip
    named = [(role, name) for role, names in found.items()
             for name in (names.split("+") if role == "labels" else [names])]  # fmt: skip
    for role, name in named:
        if name not in table.columns:
            raise LayoutError(f"{table.path}: no column {name!r} for the {role} among {', '.join(table.columns)}; "
                              f"expected for example {EXAMPLE}")  # fmt: skip
    return found


def _check_labels(table: UserTable, columns: dict[str, str], config: PrepareConfig) -> None:
    """LayoutError where it is not clear which finding is asked for."""
    if "labels" not in columns:
        return
    names = columns["labels"].split("+")
    asked, known = config.finding, {name.casefold() for name in names}
    if len(names) > 1 if asked is None else asked.casefold() not in known:
        got = f", got {config.finding!r}" if config.finding else ""
        raise LayoutError(f"{table.path}: several findings ({', '.join(names)}), expected one to ask for; choose with "
                          f"--set prepare.finding={names[0]}{got}")  # fmt: skip


def _fitting(root: Path, config: PrepareConfig) -> list[Path]:
    """Tables in a folder that have a path and a label, by prepare.columns, their usual names or as a collection."""
    found = []
    for path in tables_in(root):
        try:
            table = UserTable(path, header_of(path), [], [])
            if (not config.columns and collection_of(table.columns)) or columns_of(table, config):
                found.append(path)
        except LayoutError:
            continue
    return found


def _table_file(root: Path, config: PrepareConfig) -> Path:
    if not root.is_dir():
        return root
    fitting = _fitting(root, config) or tables_in(root)
    if len(fitting) != 1:
        names = f"several ({', '.join(path.name for path in fitting)})" if fitting else "none"
        raise LayoutError(f"{root}: expected one table ({EXAMPLE}), found {names}; name it with --data TABLE "
                          f"--images {root}")  # fmt: skip
    return fitting[0]
