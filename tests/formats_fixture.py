"""Small datasets of every format but COVIDx for tests."""

from __future__ import annotations

import csv
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
from covidx_fixture import CLASSES, picture
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from xray_debug.data.images import write_image


def make_folders(root: Path, split: bool = True) -> Path:
    """train/CLASS and test/CLASS (else CLASS alone), every second image in a sub-folder; returns root."""
    for place, count, start in (("train", 18, 0), ("test", 6, 1000)) if split else (("", 24, 0),):
        for i in range(count):
            folder = root / place / CLASSES[i // 2 % 3] / ("more" if i % 2 else "")
            folder.mkdir(parents=True, exist_ok=True)
            write_image(folder / f"{place or 'all'} {i:03d}.png", picture(start + i))
    return root


def write_csv(path: Path, rows: list[list[str]], delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\r\n").writerows(rows)
    return path


def make_table(root: Path) -> Path:
    """labels.csv with path, label, patient, source, split and a further column, the images in images/; returns root."""
    (root / "images").mkdir(parents=True)
    rows = [["path", "label", "patient", "source", "split", "device"]]
    for split, count, start in (("train", 18, 0), ("test", 6, 1000)):
        for i in range(count):
            write_image(root / f"images/{split}-{i:03d}.png", picture(start + i))
            name, patient, site = f"images/{split}-{i:03d}.png", f"{split} {i // 2}", f"site {i % 2}"
            rows.append([name, CLASSES[i // 2 % 3], patient, site, split, str(i % 2)])
    write_csv(root / "labels.csv", rows)
    return root


def dicom(pixels: np.ndarray, uid: str, bits: int | None = None, photometric: str = "MONOCHROME2", **tags) -> bytes:
    """A DICOM file, explicit little endian; `tags` by keyword."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPInstanceUID = ExplicitVRLittleEndian, uid
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, uid
    data.Rows, data.Columns, data.SamplesPerPixel = *pixels.shape[:2], 3 if pixels.ndim == 3 else 1
    if pixels.ndim == 3:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation, data.PixelRepresentation = photometric, int(pixels.dtype.kind == "i")
    data.BitsAllocated = 8 * pixels.itemsize
    data.BitsStored = bits or data.BitsAllocated
    data.HighBit = data.BitsStored - 1
    data.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    data["PixelData"].VR = "OW" if data.BitsAllocated > 8 else "OB"
    for name, value in tags.items():
        setattr(data, name, value)
    file = BytesIO()
    pydicom.dcmwrite(file, data, enforce_file_format=True)
    return file.getvalue()


def make_dicom(root: Path) -> Path:
    """24 DICOM files, some in a sub-folder and without a suffix, whose ImageComments holds the label; returns root."""
    (root / "series").mkdir(parents=True)
    for i in range(24):
        tags = {"PatientID": f"P{i // 2}", "ImageComments": CLASSES[i // 2 % 3], "PatientSex": "FM"[i % 2],
                "PatientAge": f"0{20 + i}Y", "Modality": "DX", "ViewPosition": "PA", "Manufacturer": "Maker, Inc."}
        name = f"series/IM{i:04d}" if i % 2 else f"{i:04d}.dcm"
        (root / name).write_bytes(dicom(picture(i), f"1.2.3.{i + 1}", **tags))
    return root
