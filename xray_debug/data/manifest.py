"""COVIDx folder -> manifest: one row per label line, with everything known about its image.

A row that cannot be used stays in the manifest with its `problem` ("kind: what is wrong"; kinds: label, repeated,
missing, outside, unreadable, blank); nothing here stops at one.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable
from hashlib import sha256
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pandas as pd

from xray_debug.config import PrepareConfig
from xray_debug.data.duplicates import near_duplicates, perceptual_hash
from xray_debug.data.formats.covidx_files import ImageFolder, find_dataset, find_split
from xray_debug.data.formats.covidx_labels import LabelError, parse_labels
from xray_debug.data.images import ImageError, image_header, read_image

MANIFEST_COLUMNS = [
    "image_id", "split", "patient_id", "label", "source", "path", "width", "height", "bit_depth", "sha256", "problem",
    "line", "phash", "duplicate_of", "near_duplicate_of", "shared_patient", "test_set", "label_file", "note"]


def _relative(path: Path, root: Path) -> str:
    """`path` below `root` as POSIX text; as it is where it lies elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _label_rows(root: Path, labels: Path, folder: Path, split: str, test_set: str) -> list[dict]:
    """Rows of one label file: good lines with the file they mean, bad lines with their problem."""
    parsed, images, name = parse_labels(labels), ImageFolder(folder, root), _relative(labels, root)
    notes = dict(parsed.notes)
    common = {"split": split, "test_set": test_set, "label_file": name}
    rows = [common | {"image_id": f"{name}:{line}", "patient_id": "", "label": "", "source": "", "line": line,
                      "problem": f"label: {what}"} for line, what in parsed.problems]
    for patient, image, label, source, line in parsed.rows:
        found, problem, note = images.resolve(image)
        note = "; ".join(text for text in (notes.get(line, ""), note) if text)
        rows.append(common | {"image_id": image, "patient_id": patient, "label": label, "source": source, "line": line,
                              "problem": problem, "note": note,
                              "path": _relative(folder / found, root) if found else ""})
    return sorted(rows, key=lambda row: row["line"])


def _all_rows(root: Path, config: PrepareConfig) -> list[dict]:
    files = find_dataset(root, config.train_labels, config.test_labels)
    rows = []
    for split in ("train", "val", "test"):
        if split in files.splits:
            rows += _label_rows(root, *files.splits[split], split, "test" if split == "test" else "")
    for name, folder in config.extra_tests.items():
        if name in ("", "test"):
            raise LabelError(f"prepare.extra_tests: {name!r} is the dataset's own test, expected another name")
        place = (root / folder).resolve()
        if not place.is_relative_to(root.resolve()) or not place.is_dir():
            raise LabelError(f"prepare.extra_tests.{name}: no folder {folder} in {root}")
        if (found := find_split(root / folder, "test")) is None:
            raise LabelError(f"prepare.extra_tests.{name}: no label file *test*COVIDx*.txt in {folder}")
        rows += _label_rows(root, *found, "test", name)
    return rows


def _mark_repeated(rows: list[dict]) -> None:
    """Later rows of a name, or of a file on disk, become problems with an image_id of their own."""
    names, files = {}, {}
    for row in rows:
        where = f"{row['label_file']}:{row['line']}"
        first = names.setdefault(row["image_id"], row)
        if first is row and row.get("path"):
            first = files.setdefault(row["path"], row)
        if first is not row:
            other = "" if first["label"] == row["label"] else f" as {first['label']}"
            what = "named before" if first["image_id"] == row["image_id"] else f"same file as {first['image_id']}"
            row["problem"] = f"repeated: {what}, {first['label_file']}:{first['line']}{other}"
            row["image_id"] += f" ({where})"


def scan_image(path: Path) -> dict:
    """width height bit_depth sha256 phash problem of one file; the whole file is decoded, so damage shows."""
    empty = {"width": 0, "height": 0, "bit_depth": 0, "sha256": "", "phash": "", "problem": ""}
    try:
        digest = sha256(path.read_bytes()).hexdigest()
        header, pixels = image_header(path), read_image(path)
    except (ImageError, OSError) as error:
        what = str(error).removeprefix(f"{path}: ").replace(str(path), path.name)
        return empty | {"problem": f"unreadable: {what}"}
    known = {"width": header.width, "height": header.height, "bit_depth": header.bit_depth, "sha256": digest}
    if pixels.min() == pixels.max():
        return empty | known | {"problem": f"blank: every pixel is {pixels.min()}"}
    return empty | known | {"phash": f"{perceptual_hash(pixels):016x}"}


def _scan_all(root: Path, rows: list[dict], progress: Callable[[int, int], None] | None) -> None:
    """Adds what scan_image finds to the rows that have a file and no problem yet."""
    todo = [row for row in rows if not row["problem"]]
    with ThreadPool(os.cpu_count() or 1) as pool:
        found = pool.imap(lambda row: scan_image(root / row["path"]), todo, chunksize=8)
        for done, (row, facts) in enumerate(zip(todo, found, strict=True), 1):
            row.update(facts)
            if progress:
                progress(done, len(todo))


def _mark_duplicates(frame: pd.DataFrame, bits: int) -> None:
    """duplicate_of: the first row with the same bytes; near_duplicate_of: the first with nearly the same picture."""
    good = frame.index[frame["problem"] == ""]
    first = frame.loc[good].groupby("sha256")["image_id"].transform("first")
    frame.loc[good, "duplicate_of"] = first.where(first != frame.loc[good, "image_id"], "")
    alone = frame.index[(frame["problem"] == "") & (frame["duplicate_of"] == "")]
    near = near_duplicates(np.array([int(text, 16) for text in frame.loc[alone, "phash"]], np.uint64), bits)
    names = frame.loc[alone, "image_id"].to_numpy()
    frame.loc[alone, "near_duplicate_of"] = np.where(near >= 0, names[near], "") if len(alone) else ""


def _mark_shared_patients(frame: pd.DataFrame) -> None:
    """shared_patient: this patient also has usable images on the other side of train and test."""
    good = frame[(frame["problem"] == "")]
    sides = good["split"].replace("val", "train").groupby(good["patient_id"]).nunique()
    frame["shared_patient"] = frame["patient_id"].isin(sides.index[sides > 1]) & (frame["problem"] == "")


def _groups(train: pd.DataFrame) -> dict[str, str]:
    """patient -> group: patients with byte-identical images stay on one side of the cut."""
    parent = {patient: patient for patient in train["patient_id"]}

    def find(patient: str) -> str:
        while parent[patient] != patient:
            parent[patient] = patient = parent[parent[patient]]
        return patient

    for patients in train.groupby("sha256")["patient_id"].unique():
        for other in patients[1:]:
            low, high = sorted((find(patients[0]), find(other)))
            parent[high] = low
    return {patient: find(patient) for patient in parent}


def cut_validation(train: pd.DataFrame, fraction: float, seed: int) -> np.ndarray:
    """bool (N,): the rows of `train` (patient_id, label, sha256) that become val.

    Whole patients are taken, class by class (a patient counts for its most frequent class), in an order that follows
    from (seed, patient) alone, until `fraction` of the class's images is reached; a patient that would overshoot is
    left out. A class with at least two patients gets at least one, and keeps at least one in train.
    """
    groups = _groups(train)
    group = train["patient_id"].map(groups)
    tally = defaultdict(Counter)
    for name, label in zip(group, train["label"], strict=True):
        tally[name][label] += 1
    by_class = defaultdict(list)
    for name, counts in tally.items():
        by_class[min(counts, key=lambda label: (-counts[label], label))].append(name)
    chosen = set()
    for names in by_class.values():
        names.sort(key=lambda name: sha256(repr((seed, "val", name)).encode()).digest())
        sizes = {name: sum(tally[name].values()) for name in names}
        target, taken = fraction * sum(sizes.values()), []
        for name in names[:-1]:
            if sum(sizes[other] for other in taken) + sizes[name] <= target + 0.5:
                taken.append(name)
        if not taken and len(names) > 1:
            taken = [min(names, key=lambda name: sizes[name])]
        chosen.update(taken)
    return group.isin(chosen).to_numpy()


def build_manifest(root: str | Path, config: PrepareConfig | None = None, seed: int = 0,
                   progress: Callable[[int, int], None] | None = None) -> pd.DataFrame:
    """The manifest of a COVIDx folder, columns MANIFEST_COLUMNS, one row per line of the label files.

    `image_id` is unique; split is train, val or test; `test_set` is "" for train and val, "test" for the dataset's
    own test, else the name in config.extra_tests; `path` is relative to `root`; `phash` is 16 hex digits. A row with
    `problem` != "" is set aside: it is counted, and used nowhere. LabelError only where the layout itself is unclear.
    """
    root, config = Path(root), config or PrepareConfig()
    rows = _all_rows(root, config)
    _mark_repeated(rows)
    _scan_all(root, rows, progress)
    frame = pd.DataFrame(rows).reindex(columns=MANIFEST_COLUMNS)
    numbers = ["width", "height", "bit_depth", "line"]
    frame[numbers] = frame[numbers].fillna(0).astype("int64")
    texts = [name for name in MANIFEST_COLUMNS if name not in [*numbers, "shared_patient"]]
    frame[texts] = frame[texts].fillna("").astype(object)
    _mark_duplicates(frame, config.near_duplicate_bits)
    _mark_shared_patients(frame)
    usable = (frame["split"] == "train") & (frame["problem"] == "")
    if not (frame["split"] == "val").any() and usable.any():
        val = frame.index[usable][cut_validation(frame[usable], config.val_fraction, seed)]
        frame.loc[val, "split"] = "val"
    return frame
