"""What a DICOM file's header says that could be a shortcut, or names the patient. The pixels are not read."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from pathlib import Path

ATTRIBUTES = {  # attribute without `attr_` -> keyword
    "view_position": "ViewPosition", "sex": "PatientSex", "age": "PatientAge", "manufacturer": "Manufacturer",
    "modality": "Modality", "burned_in": "BurnedInAnnotation",
}  # fmt: skip
PATIENT = "PatientID"


def is_keyword(name: str) -> bool:
    """Whether DICOM's dictionary has a tag of this keyword."""
    from pydicom.datadict import tag_for_keyword

    return tag_for_keyword(name) is not None


def read_tags(path: Path, *keywords: str) -> dict[str, str]:
    """keyword -> its value as text, of `keywords`; "" for those that are not there or cannot be read."""
    import pydicom

    found = dict.fromkeys(keywords, "")
    with suppress(Exception):  # what is wrong with the file is told when its pixels are read
        with path.open("rb") as file:
            bare = file.read(132)[128:] != b"DICM"
        source = BytesIO(path.read_bytes()) if bare else str(path)
        data = pydicom.dcmread(source, stop_before_pixels=True, specific_tags=list(keywords), force=bare)
        for name in keywords:
            with suppress(Exception):
                found[name] = str(data.get(name) or "").strip()
    return found
