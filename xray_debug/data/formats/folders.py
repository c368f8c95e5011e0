"""A folder per class: CLASS/*.png, or train/CLASS/*.png, val/, test/ likewise or alone; with their sub-folders."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from xray_debug.config import PrepareConfig
from xray_debug.data.check import Finding
from xray_debug.data.formats.base import FORMATS, LayoutError
from xray_debug.data.formats.places import Walk, image_ids, is_image_name, split_of

EXAMPLE = "train/normal/a.png, train/pneumonia/b.png, test/normal/c.png; or normal/a.png, pneumonia/b.png"


@FORMATS.register("folders", help="a folder of images per class, below train/ and test/ or not")
class Folders:
    """The folder's name is the class; without test/ it is cut by prepare.test_fraction."""

    expects = f"a folder per class ({EXAMPLE})"

    def recognises(self, root: Path, config: PrepareConfig) -> bool:
        from xray_debug.data.formats.table import Table

        if not root.is_dir() or config.columns or config.label_tag or config.train_labels or config.test_labels:
            return False
        classes = {place.name for _, places in _split_folders(root) for place in places if _holds_images(place)}
        return len(classes) > 1 and not Table().recognises(root, config) and not _has_covidx_labels(root)

    def rows(self, root: Path, config: PrepareConfig) -> list[dict]:
        splits = _split_folders(root)
        if not splits:
            raise LayoutError(f"{root}: no folder per class, expected {EXAMPLE}")
        has_test = any(split == "test" for split, _ in splits)
        walk, place_of, rows = Walk(root), {}, []
        for split, places in splits:
            kept = "" if split == "train" and not has_test else split
            place_of |= {place.relative_to(root).as_posix() + "/": (kept, place.name) for place in places}
        for path, image_id in zip(walk.images, image_ids(walk.images), strict=True):
            found = _class_of(path, place_of)
            if found is not None:
                folder, (split, label) = found
                rows.append({"image_id": image_id, "path": path, "split": split, "label": label,
                             "test_set": "test" if split == "test" else "", "label_file": folder})  # fmt: skip
        for path in walk.outside:
            found = _class_of(path + "/", place_of)
            if found is not None:
                folder, (split, label) = found
                rows.append({"image_id": path, "split": split or "train", "label": label, "label_file": folder,
                             "test_set": "test" if split == "test" else "",
                             "problem": "outside: the link leaves the dataset"})  # fmt: skip
        return rows

    def check(self, root: Path, config: PrepareConfig, frame: pd.DataFrame) -> list[Finding]:
        """Images that lie in no class's folder."""
        used = set(frame["path"])
        extra = [path for path in Walk(root).images if path not in used]
        if not extra:
            return []
        names = ", ".join(extra[:5]) + (", ..." if len(extra) > 5 else "")
        return [Finding("unlisted", "", f"{len(extra)} images in no folder of a class: {names}")]

    def place(self, row: dict) -> str:
        return row["path"]

    def write_back(self, out: Path, root: Path, config: PrepareConfig, frame: pd.DataFrame) -> None:
        """Nothing: the folders say it."""


def _has_covidx_labels(root: Path) -> bool:
    from xray_debug.data.formats.covidx_files import label_files

    return any(label_files(root, split) for split in ("train", "test"))


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _split_folders(root: Path) -> list[tuple[str, list[Path]]]:
    """(split, folders of classes): below train/, val/ and test/; else all others as "" (no split).

    A test split is enough for a model that is given; without train/, other folders of images go before it.
    """
    by_split = [(split, _folders(path)) for path in _folders(root) if (split := split_of(path.name))]
    classes = [path for path in _folders(root) if split_of(path.name) is None]
    cut = {split for split, places in by_split if places}
    if "train" in cut or cut and not any(_holds_images(path) for path in classes):
        return by_split
    return [("", classes)] if classes else []


def _holds_images(folder: Path) -> bool:
    return any(is_image_name(path) and path.is_file() for path in folder.rglob("*"))


def _class_of(path: str, place_of: dict[str, tuple[str, str]]) -> tuple[str, tuple[str, str]] | None:
    """(its folder, (split, class)) of an image; None for one outside all folders of classes."""
    parts = path.split("/")
    for depth in (1, 2):
        if (folder := "/".join(parts[:depth]) + "/") in place_of:
            return folder, place_of[folder]
    return None
