"""A folder of DICOM files whose labels stand in a tag, or in a table beside them; and what tags say of any image."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pandas as pd

from xray_debug.config import PrepareConfig
from xray_debug.data.check import Finding
from xray_debug.data.dicom_tags import ATTRIBUTES, PATIENT, is_keyword, read_tags
from xray_debug.data.formats.base import FORMATS, LayoutError
from xray_debug.data.formats.folders import Folders
from xray_debug.data.formats.places import Walk, image_ids, is_dicom_file
from xray_debug.data.formats.public import age_band
from xray_debug.data.formats.table import Table
from xray_debug.data.formats.tables import tables_in
from xray_debug.data.manifest import ATTRIBUTE

LOOKED_AT = 50  # files, to see whether a folder holds DICOM


@FORMATS.register("dicom", help="a folder of DICOM files, labels in a tag or in a table")
class Dicom:
    """With prepare.label_tag the label is that tag's value; else there is a table in the folder, as of format table."""

    expects = ("a folder of DICOM files with a table of labels in it (path,label then 1.dcm,normal), or with the label "
               "in a tag (--set prepare.label_tag=ImageComments)")  # fmt: skip

    def recognises(self, root: Path, config: PrepareConfig) -> bool:
        if not root.is_dir() or Table().recognises(root, config) or Folders().recognises(root, config):
            return bool(config.label_tag) and root.is_dir()
        files = (path for path in root.rglob("*") if path.is_file())
        return bool(config.label_tag) or any(is_dicom_file(path) for path in islice(files, LOOKED_AT))

    def rows(self, root: Path, config: PrepareConfig) -> list[dict]:
        if not config.label_tag:
            if not tables_in(root):
                raise LayoutError(f"{root}: DICOM files without labels, expected {self.expects}")
            return Table().rows(root, config)
        if not is_keyword(config.label_tag):
            raise LayoutError(f"prepare.label_tag: expected a DICOM keyword such as ImageComments, got "
                              f"{config.label_tag!r}")  # fmt: skip
        walk, tag = Walk(root), config.label_tag
        rows = []
        for path, image_id in zip(walk.images, image_ids(walk.images), strict=True):
            label = read_tags(root / path, tag)[tag]
            problem = "" if label else f"label: no {tag}, expected the class in that tag"
            rows.append({"image_id": image_id, "path": path, "label": label, "problem": problem,
                         "split": "train" if problem else "", "label_file": path})  # fmt: skip
        return rows + [{"image_id": path, "split": "train", "label_file": path,
                        "problem": "outside: the link leaves the dataset"} for path in walk.outside]  # fmt: skip

    def check(self, root: Path, config: PrepareConfig, frame: pd.DataFrame) -> list[Finding]:
        return [] if config.label_tag else Table().check(root, config, frame)

    def place(self, row: dict) -> str:
        return row["path"]

    def write_back(self, out: Path, root: Path, config: PrepareConfig, frame: pd.DataFrame) -> None:
        """The table, where there is one; the tag lies in the images."""
        if not config.label_tag:
            Table().write_back(out, root, config, frame)


def add_tags(root: Path, rows: list[dict]) -> list[dict]:
    """`rows`, where those of a DICOM file say what its tags do of the patient and ATTRIBUTES, if nothing else does."""
    wanted = {ATTRIBUTE + name: keyword for name, keyword in ATTRIBUTES.items()}
    for row in rows:
        if not row["path"] or row["problem"] or not is_dicom_file(root / row["path"]):
            continue
        tags = read_tags(root / row["path"], PATIENT, *wanted.values())
        tags["PatientAge"] = age_band(tags["PatientAge"])
        row["patient_id"] = row["patient_id"] or tags[PATIENT]
        for name, keyword in wanted.items():
            row[name] = row.get(name) or tags[keyword]
    return rows
