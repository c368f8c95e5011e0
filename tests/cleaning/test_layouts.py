"""The same films as COVIDx, as folders per class, as a table and as DICOM: the same boxes, the same cleaned pixels."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from formats_fixture import dicom, write_csv

from xray_debug.cleaning.dataset import clean_dataset
from xray_debug.cleaning.verify import faults_of, restore
from xray_debug.config import CleanConfig, PhantomConfig, PrepareConfig
from xray_debug.data.formats import build_manifest, check_dataset, format_of, images_folder
from xray_debug.data.formats.covidx import read_labels
from xray_debug.data.formats.layout import Layout
from xray_debug.data.images import read_image
from xray_debug.text import detect_table, load_detector

REAL = Path(__file__).parents[3] / "shared" / "covidx-mini"
EACH = 2  # films of each class, in train and in test
KEPT = ("PixelData", "SOPInstanceUID", "DerivationDescription", "BurnedInAnnotation")
LAYOUTS = ("covidx", "folders", "table", "dicom")


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> pd.DataFrame:
    """file, split, patient, label, source of some films with text: real ones where they are there, else drawn ones."""
    root = REAL
    if not root.is_dir():
        from xray_debug.phantom.dataset import write_phantom

        root = tmp_path_factory.mktemp("phantom")
        write_phantom(root, PhantomConfig(train=12, test=6, size=128), 0)
    found = []
    for split in ("train", "test"):
        for _, rows in read_labels(root / f"{split}_COVIDx.txt").groupby("label", sort=True):
            found += [{"file": root / split / row.image_id, "split": split, **row._asdict()}
                      for row in rows.iloc[:: max(1, len(rows) // EACH)][:EACH].itertuples(index=False)]  # fmt: skip
    return pd.DataFrame(found)


def as_covidx(root: Path, films: pd.DataFrame) -> tuple[Path, PrepareConfig]:
    for split, rows in films.groupby("split"):
        (root / split).mkdir(parents=True)
        lines = [f"{r.patient_id}\t{r.image_id}\t{r.label}\t{r.source}\n" for r in rows.itertuples()]
        (root / f"{split}_COVIDx.txt").write_text("".join(lines))
        for row in rows.itertuples():
            (root / split / row.image_id).write_bytes(row.file.read_bytes())
    return root, PrepareConfig()


def as_folders(root: Path, films: pd.DataFrame) -> tuple[Path, PrepareConfig]:
    for row in films.itertuples():
        folder = root / row.split / row.label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / row.image_id).write_bytes(row.file.read_bytes())
    return root, PrepareConfig()


def as_table(root: Path, films: pd.DataFrame) -> tuple[Path, PrepareConfig]:
    rows = [["the file", "what, it is", "who", "from", "when", "note"]]
    (root / "films/of all").mkdir(parents=True)
    for row in films.itertuples():
        (root / "films/of all" / row.image_id).write_bytes(row.file.read_bytes())
        rows.append([f"of all/{row.image_id}", row.label, row.patient_id, row.source, row.split, 'says "R",\nthen L'])
    columns = dict(path="the file", label="what, it is", patient="who", source="from", split="when")
    return write_csv(root / "labels.csv", rows), PrepareConfig(images=str(root / "films"), columns=columns)


def as_dicom(root: Path, films: pd.DataFrame) -> tuple[Path, PrepareConfig]:
    rows = [["path", "label", "patient", "source", "split"]]
    (root / "series").mkdir(parents=True)
    for number, row in enumerate(films.itertuples(), 1):
        pixels = read_image(row.file)
        content = dicom(pixels, f"1.2.3.{number}", photometric="RGB" if pixels.ndim == 3 else "MONOCHROME2",
                        PatientAge="058Y", BurnedInAnnotation="YES", Modality="DX")  # fmt: skip
        name = f"series/{Path(row.image_id).stem}.dcm"
        (root / name).write_bytes(content)
        rows.append([name, row.label, row.patient_id, row.source, row.split])
    write_csv(root / "labels.csv", rows)
    return root, PrepareConfig()


MAKERS = {"covidx": as_covidx, "folders": as_folders, "table": as_table, "dicom": as_dicom}


@pytest.fixture(scope="module")
def cleaned(films, tmp_path_factory) -> dict:
    """layout -> manifest, boxes, changes, and where it all lies."""
    found = {}
    for name in LAYOUTS:
        root = tmp_path_factory.mktemp(name)
        data, config = MAKERS[name](root / "data", films)
        manifest, images = build_manifest(data, config), images_folder(data, config)
        layout = Layout.of({"format": format_of(data, config), "data": str(data), "options": config.model_dump()})
        files = [(name, images / path) for name, path in zip(manifest["image_id"], manifest["path"], strict=True)]
        boxes, _ = detect_table(load_detector("craft-lite"), files)
        changes = clean_dataset(manifest, images, boxes, root / "out", CleanConfig(), control=root / "control",
                                layout=layout)  # fmt: skip
        found[name] = dict(manifest=manifest, boxes=boxes, changes=changes, data=data, images=images, out=root / "out",
                           control=root / "control", layout=layout, config=config)  # fmt: skip
    return found


def stems(frame: pd.DataFrame) -> pd.Series:
    return frame["image_id"].map(lambda name: Path(name).stem)


@pytest.mark.parametrize("name", LAYOUTS[1:])
def test_manifest_and_boxes_are_those_of_covidx(cleaned, name):
    columns = ["label", "patient_id", "source", "split"]
    columns = columns if name != "folders" else ["label"]  # which know of no more
    own, other = (found["manifest"].assign(stem=stems).sort_values("stem") for found in
                  (cleaned[name], cleaned["covidx"]))  # fmt: skip
    assert own[["stem", *columns]].values.tolist() == other[["stem", *columns]].values.tolist()
    boxes = {key: cleaned[key]["boxes"].assign(stem=stems)[["stem", "x0", "y0", "x1", "y1", "score"]]
             for key in (name, "covidx")}  # fmt: skip
    boxes = {key: frame.sort_values(list(frame.columns), ignore_index=True) for key, frame in boxes.items()}
    assert len(boxes["covidx"])
    pd.testing.assert_frame_equal(boxes[name], boxes["covidx"])


@pytest.mark.parametrize("name", LAYOUTS[1:])
def test_cleaned_pixels_are_those_of_covidx(cleaned, name):
    def pixels(found: dict) -> dict[str, np.ndarray]:
        again = build_manifest(*written_dataset(found))
        assert not (again["problem"] != "").any()
        root = images_folder(*written_dataset(found))
        return {Path(row.image_id).stem: read_image(root / row.path) for row in again.itertuples()}

    own, other = pixels(cleaned[name]), pixels(cleaned["covidx"])
    assert own.keys() == other.keys()
    for stem, image in own.items():
        np.testing.assert_array_equal(image, other[stem], err_msg=stem)


def written_dataset(found: dict) -> tuple[Path, PrepareConfig]:
    """The cleaned dataset as a user gives it back, with the same options."""
    data, config = found["data"], found["config"]
    out = found["out"] / data.name if data.suffix else found["out"]
    return out, config.model_copy(update={"images": str(found["out"]) if config.images else None})


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_cleaned_dataset_has_the_same_folders_and_stems_and_holds(cleaned, name):
    found = cleaned[name]

    def places(root: Path) -> set[str]:
        return {path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*")
                if path.is_file() and path.name not in ("cleaning.json", "labels.csv")}  # fmt: skip

    assert places(found["out"]) == places(found["images"]) == places(found["control"])
    assert {path.suffix for path in found["out"].rglob("*") if path.suffix not in ("", ".json", ".csv", ".txt")} == {
        ".dcm" if name == "dicom" else ".png"}  # fmt: skip
    assert list(faults_of(found["manifest"], found["changes"], found["images"], found["out"], CleanConfig(),
                          found["layout"], found["control"])) == []  # fmt: skip
    assert [finding.kind for finding in check_dataset(*written_dataset(found))] == [
        finding.kind for finding in check_dataset(found["data"], found["config"])]


def test_the_table_comes_back_with_every_column(cleaned):
    found = cleaned["table"]
    before, after = pd.read_csv(found["data"], dtype=str), pd.read_csv(found["out"] / "labels.csv", dtype=str)
    before["the file"] = [str(Path(path).with_suffix(".png")) for path in before["the file"]]
    pd.testing.assert_frame_equal(after, before)


def test_a_cleaned_dicom_differs_in_its_pixels_and_the_named_tags_alone(cleaned):
    found, changed = cleaned["dicom"], set(cleaned["dicom"]["changes"]["image_id"])
    assert changed
    grown = found["changes"].set_index("image_id")["boxes"].map(json.loads)
    for row in found["manifest"].itertuples():
        before, after = pydicom.dcmread(found["images"] / row.path), pydicom.dcmread(found["out"] / row.path)
        assert (found["out"] / row.path).read_bytes()[128:132] == b"DICM"
        names = {element.keyword for data, other in ((before, after), (after, before)) for element in data
                 if element.tag not in other or other[element.tag] != element}  # fmt: skip
        assert names == set(KEPT) if row.image_id in changed else names == set(KEPT) - {"PixelData"}
        assert after.BurnedInAnnotation == "NO" and after.SOPInstanceUID != before.SOPInstanceUID
        assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
        meta = {element.keyword for element in before.file_meta if after.file_meta.get(element.tag) != element}
        assert meta <= {"MediaStorageSOPInstanceUID", "FileMetaInformationGroupLength"}
        differs = before.pixel_array != after.pixel_array
        differs = differs.any(2) if differs.ndim == 3 else differs
        inside = np.zeros(differs.shape, bool)
        for x0, y0, x1, y1 in grown.get(row.image_id, []):
            edge = 2 + int(0.1 * min(x1 - x0, y1 - y0) + 1)
            inside[max(0, y0 - edge) : y1 + edge, max(0, x0 - edge) : x1 + edge] = True
        assert not differs[~inside].any() and differs.any() == (row.image_id in changed)


def test_a_tag_of_a_cleaned_dicom_that_was_edited_is_found(cleaned, tmp_path):
    found = cleaned["dicom"]
    place = found["manifest"]["path"].iloc[0]
    target = found["out"] / place
    kept = target.read_bytes()
    data = pydicom.dcmread(BytesIO(kept))
    data.PatientAge = "059Y"
    data.save_as(target)
    (fault,) = faults_of(found["manifest"], found["changes"], found["images"], found["out"], CleanConfig(),
                         found["layout"])  # fmt: skip
    target.write_bytes(kept)
    assert fault.startswith(Path(place).name)


@pytest.mark.parametrize("name", LAYOUTS)
def test_originals_are_given_back(cleaned, name, tmp_path):
    found = cleaned[name]
    row = found["manifest"].iloc[0]
    (path,) = restore(found["manifest"], found["images"], [row["image_id"]], tmp_path / "back")
    assert path.read_bytes() == (found["images"] / row["path"]).read_bytes()
