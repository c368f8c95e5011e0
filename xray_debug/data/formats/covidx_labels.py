"""COVIDx label files: every published version, one row per line; and the same files written back.

A line is "patient file class" or "patient file class source". Patient ids and file names may hold spaces, so a line
is read from the right: the class is the rightmost word that names one, at most one word (the source) follows it, and
what precedes it is split into patient and file:

1. where tabs separate the fields, there;
2. else where the two say the same but for signs and suffix, as in "COVID 1 COVID(1).png";
3. else the last word is the file and the rest the patient.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from xray_debug.data.classes import CLASS_SETS
from xray_debug.data.files import write_text
from xray_debug.data.formats.base import LayoutError
from xray_debug.data.images import SUFFIXES

LABELS = {name.casefold(): name for names in CLASS_SETS for name in names}
SOURCE_SPELLINGS = {"rnsa": "rsna"}  # declared misspellings of the published files
COLUMNS = ["patient_id", "image_id", "label", "source", "line"]


class LabelError(LayoutError):
    """Label files that cannot be used; `problems` lists every fault, "file:line: what is wrong"."""


@dataclass
class ParsedLabels:
    """The rows of a label file, what is wrong with other lines, and what was read otherwise than written."""

    rows: list[tuple] = field(default_factory=list)  # in the order of COLUMNS
    problems: list[tuple[int, str]] = field(default_factory=list)  # (line, what is wrong)
    notes: list[tuple[int, str]] = field(default_factory=list)

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=COLUMNS).astype({"line": "int64"})


def _decoded(path: Path) -> str:
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise LabelError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[:error.start].count(b"\n") + 1
        raise LabelError(f"{path}:{line}: not UTF-8 text") from error


def has_image_suffix(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def same_but_signs(name: str) -> str:
    """`name` without signs, spaces and image suffix, in lower case: COVID(1).png, COVID-1.jpg and "COVID 1" agree."""
    stem = name[:name.rindex(".")] if has_image_suffix(name) else name
    return re.sub(r"[\W_]+", "", stem).casefold()


def unsafe_name(name: str) -> str:
    """What is wrong with a file name taken from a label file, "" for nothing."""
    if "/" in name or "\\" in name or name in (".", "..") or re.match(r"^[A-Za-z]:", name):
        return f"file name {name!r} leaves the image folder, expected a plain file name"
    if any(unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") for sign in name):
        return f"file name {name!r} holds a control character"
    if len(name.encode("utf-8")) > 255:
        return f"file name {name[:40]!r}... has {len(name.encode('utf-8'))} bytes, expected at most 255"
    return ""


def _patient_and_file(words: list[str]) -> tuple[str, str]:
    for cut in range(1, len(words)):
        patient, image = " ".join(words[:cut]), " ".join(words[cut:])
        if len(words) > 2 and same_but_signs(patient) and same_but_signs(patient) == same_but_signs(image):
            return patient, image
    return " ".join(words[:-1]), words[-1]


def _split_line(line: str) -> tuple[str, str, str, str]:
    """(patient, file, class, source as written); ValueError says what is wrong."""
    fields = [part.strip() for part in line.split("\t")]
    if len(fields) in (3, 4) and all(fields) and fields[2].casefold() in LABELS:
        return fields[0], fields[1], LABELS[fields[2].casefold()], "".join(fields[3:])
    words = line.split()
    at = max((i for i, word in enumerate(words) if word.casefold() in LABELS), default=None)
    if at is None:
        raise ValueError(f"no class, expected one of {', '.join(LABELS.values())}, got {line.strip()[:80]!r}")
    if len(words) - at > 2:
        after = " ".join(words[at + 1:])
        raise ValueError(f"expected one word (the source) after the class {words[at]}, got {after[:80]!r}")
    if at < 2:
        raise ValueError(f"expected a patient, a file and a class, got {line.strip()[:80]!r}")
    patient, image = _patient_and_file(words[:at])
    if not has_image_suffix(image) and any(has_image_suffix(word) for word in words[:at]):
        raise ValueError(f"expected the class right after the file name, got {' '.join(words[:at + 1])[:80]!r}")
    return patient, image, LABELS[words[at].casefold()], "".join(words[at + 1:])


def parse_labels(path: str | Path) -> ParsedLabels:
    """Every line of `path`, good and bad; blank lines are no rows. LabelError only where the file is not text."""
    parsed = ParsedLabels()
    for number, line in enumerate(re.split(r"\r\n|\n|\r", _decoded(Path(path))), 1):
        if not line.strip():
            continue
        try:
            patient, image, label, source = _split_line(line)
            if wrong := unsafe_name(image):
                raise ValueError(wrong)
        except ValueError as error:
            parsed.problems.append((number, str(error)))
            continue
        if (spelled := SOURCE_SPELLINGS.get(source, source)) != source:
            parsed.notes.append((number, f"source {source} read as {spelled}"))
        parsed.rows.append((patient, image, label, spelled, number))
    return parsed


def read_labels(path: str | Path) -> pd.DataFrame:
    """patient_id image_id label source line: one row per line; source "" where the version has none.

    LabelError with all faults ("file:line: what is wrong", its `problems`) when a line cannot be understood.
    """
    parsed = parse_labels(path)
    if parsed.problems:
        raise LabelError([f"{path}:{line}: {what}" for line, what in parsed.problems])
    return parsed.frame()


def _label_line(row) -> str:
    """The row as a line that reads back as itself; LabelError if there is none."""
    fields = [str(row.patient_id), str(row.image_id), str(row.label)] + [str(row.source)] * bool(row.source)
    wanted = (*fields[:3], "".join(fields[3:]))
    writers: tuple[Callable, ...] = (" ".join, "\t".join)
    for join in writers:
        line = join(fields)
        try:
            if len(re.split(r"[\r\n]", line)) == 1 and not unsafe_name(fields[1]) and _split_line(line) == wanted:
                return line
        except ValueError:
            continue
    raise LabelError(f"row {fields} cannot be written as a COVIDx line that reads back as itself")


def write_labels(path: str | Path, frame: pd.DataFrame) -> None:
    """Writes patient_id image_id label source as COVIDx lines; read_labels gives the same rows back.

    Fields are separated by spaces as in the published files, by tabs only where spaces would be read differently.
    """
    missing = [name for name in COLUMNS[:4] if name not in frame.columns]
    if missing:
        raise ValueError(f"{path}: expected columns {', '.join(COLUMNS[:4])}, missing {', '.join(missing)}")
    write_text(path, "".join(_label_line(row) + "\n" for row in frame[COLUMNS[:4]].itertuples(index=False)))
