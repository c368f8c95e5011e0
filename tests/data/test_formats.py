"""The registry of formats, and what every format must do."""

from pathlib import Path

import pandas as pd
import pytest
from covidx_fixture import add_line, make_dataset
from formats_fixture import make_dicom, make_folders, make_table

from xray_debug.config import PrepareConfig
from xray_debug.data import manifest
from xray_debug.data.formats import FORMATS, LayoutError, build_manifest, check_dataset, find_format, read_rows
from xray_debug.data.manifest import ATTRIBUTE, ROW
from xray_debug.data.registry import Registry

MAKERS = {  # format -> makes a dataset without faults in a new folder
    "covidx": make_dataset, "dicom": make_dicom, "folders": make_folders, "table": make_table,
}  # fmt: skip


class Anything:
    """Recognises every folder."""

    expects = "whatever there is"

    def recognises(self, root, config):
        return True

    def rows(self, root, config):
        return [{"image_id": "a", "path": "a.png", "split": "train", "attr_site": "here"}]


@pytest.fixture
def two(monkeypatch):
    """Two formats: covidx and one that takes any folder."""
    formats = Registry("format", "xray_debug.no_such_group")
    formats.register("covidx")(FORMATS["covidx"])
    formats.register("anything")(Anything)
    monkeypatch.setattr("xray_debug.data.formats.reading.FORMATS", formats)


def test_every_format_is_tested_here():
    assert set(FORMATS.names()) == set(MAKERS)


@pytest.mark.parametrize("name", MAKERS)
def test_a_format_recognises_its_own_and_gives_whole_rows(name, tmp_path):
    root, config, kind = MAKERS[name](tmp_path / "d"), PrepareConfig(), FORMATS[name]()
    (tmp_path / "empty").mkdir()
    config = PrepareConfig(label_tag="ImageComments") if name == "dicom" else config
    assert kind.recognises(root, config) and kind.expects
    assert not kind.recognises(tmp_path / "empty", PrepareConfig())
    assert find_format(root, config) == name
    rows = kind.rows(root, config)
    assert {key for row in rows for key in row if not key.startswith(ATTRIBUTE)} <= set(ROW)
    for row in rows:
        assert row["split"] in ("", "train", "val", "test") and (root / row["path"]).is_file()
        assert not row.get("problem") and row["image_id"] and row["label"]
    found = read_rows(root, config)
    assert found == read_rows(root, config, name)
    assert [{name: row[name] for name in own} for row, own in zip(found, rows, strict=True)] == rows
    assert all(row["patient_id"] and set(ROW) <= set(row) for row in found)
    assert kind.check(root, config, build_manifest(root, config)) == [] == check_dataset(root, config)


@pytest.mark.parametrize("name", ["covidx"])
def test_labels_written_are_labels_read(name, tmp_path):
    root, kind = MAKERS[name](tmp_path / "d"), FORMATS[name]()
    columns = ["image_id", "patient_id", "label", "source"]
    before = pd.DataFrame(read_rows(root))
    part = before[before["split"] == "test"]
    relabelled = part.assign(label=part["label"].to_numpy()[::-1], source="elsewhere")
    kind.write_labels(root / part["label_file"].iloc[0], relabelled[columns])
    after = pd.DataFrame(read_rows(root))
    pd.testing.assert_frame_equal(after[after["split"] == "test"][columns], relabelled[columns])
    pd.testing.assert_frame_equal(after[after["split"] != "test"], before[before["split"] != "test"])


def test_rows_of_a_format_are_completed_and_repeated_ones_marked(tmp_path):
    root = make_dataset(tmp_path / "d", train=2, test=0)
    add_line(root, "P0 train-000.png normal again")
    rows = read_rows(root)
    assert [row["image_id"] for row in rows] == ["train-000.png", "train-001.png", "train-000.png (train_COVIDx.txt:3)"]
    assert [row["problem"] for row in rows] == ["", "", "repeated: named before, train_COVIDx.txt:1"]
    assert all(set(row) == set(ROW) for row in rows)


def test_no_format_one_format_several_formats(tmp_path, two):
    root = make_dataset(tmp_path / "d")
    with pytest.raises(LayoutError, match=r"fits several formats \(covidx, anything\), expected one; choose with"):
        read_rows(root)
    assert read_rows(root, PrepareConfig(format="anything")) == read_rows(root, name="anything") == [
        ROW | {"image_id": "a", "path": "a.png", "split": "train", "attr_site": "here", "patient_id": "a"}]
    assert len(read_rows(root, PrepareConfig(format="covidx"))) == 24
    (tmp_path / "other").mkdir()
    assert find_format(tmp_path / "other") == "anything"


def test_folders_of_no_format_are_one_sentence(tmp_path):
    with pytest.raises(LayoutError, match=r"not a dataset of a known format, expected covidx: label files \*train"):
        read_rows(tmp_path)
    with pytest.raises(LayoutError, match="no such dataset folder"):
        read_rows(tmp_path / "none")
    assert [finding.kind for finding in check_dataset(tmp_path)] == ["layout"]
    with pytest.raises(ValueError, match="prepare.format: unknown format 'zip': expected one of covidx"):
        read_rows(tmp_path, PrepareConfig(format="zip"))


def test_covidx_is_meant_where_its_options_are_given(tmp_path):
    root = make_dataset(tmp_path / "d")
    for split in ("train", "test"):
        (root / f"{split}_COVIDx.txt").rename(root / f"list of {split}ing images.txt")
    with pytest.raises(LayoutError, match="not a dataset"):
        read_rows(root)
    config = PrepareConfig(train_labels="list of training images.txt", test_labels="list of testing images.txt")
    assert len(read_rows(root, config)) == 24


def test_formats_build_on_the_room_and_not_the_other_way_round():
    room = Path(manifest.__file__).parent
    assert not [file.name for file in room.glob("*.py") if "data.formats" in file.read_text(encoding="utf-8")]
