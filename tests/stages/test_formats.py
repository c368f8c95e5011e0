"""Datasets in other layouts than COVIDx by the commands, and what prepare notes of them."""

import os
import sys

import pandas as pd
import pytest
from formats_fixture import make_dicom, make_folders, make_table

from xray_debug import cli
from xray_debug.config import ConfigError, EngineConfig, parse_config
from xray_debug.data.formats.layout import Layout
from xray_debug.run.engine import Engine
from xray_debug.run.folder import Run
from xray_debug.run.store import Store
from xray_debug.stages import prepare
from xray_debug.stages.registry import Job, fingerprint


def call(capsys, monkeypatch, *arguments) -> tuple[int, str]:
    """(exit status, what was said)."""
    monkeypatch.setattr(sys, "argv", ["xray-debug", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    return ended.value.code, " ".join((said.out + said.err).split())


@pytest.mark.parametrize("make", [make_folders, make_table, make_dicom])
def test_check_takes_every_layout_and_finds_no_fault(make, tmp_path, capsys, monkeypatch):
    data = make(tmp_path / "my data")
    options = ["--set", "prepare.label_tag=ImageComments"] if make is make_dicom else []
    status, said = call(capsys, monkeypatch, "check", data, *options)
    assert status == 0 and said.endswith("no faults found")


def test_import_writes_the_manifest_and_nothing_else(tmp_path, capsys, monkeypatch):
    root = make_table(tmp_path / "d")
    (root / "labels.csv").rename(tmp_path / "what.csv")
    command = ["import", "--data", tmp_path / "what.csv", "--images", root, "--out", tmp_path / "out",
               "--columns", "path=path,label=device,patient=patient"]  # fmt: skip
    status, said = call(capsys, monkeypatch, *command)
    assert status == 0 and "24 images of format table" in said and said.endswith("0 set aside")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.parquet"]
    frame = pd.read_parquet(tmp_path / "out/manifest.parquet")
    assert len(frame) == 24 and set(frame["label"]) == {"0", "1"} and "attr_label" in frame
    before = (tmp_path / "out/manifest.parquet").read_bytes()
    status, said = call(capsys, monkeypatch, *command)
    assert status == 2 and "manifest.parquet: is there already; choose another --out" in said
    assert (tmp_path / "out/manifest.parquet").read_bytes() == before


@pytest.mark.parametrize("command", ["check", "run"])
def test_what_is_no_dataset_is_one_sentence(command, tmp_path, capsys, monkeypatch):
    (tmp_path / "notes.txt").write_text("x")
    words = {"notes.txt": "notes.txt: expected a folder", "nothing": "nothing: expected a dataset, a folder or a table"}
    for name, sentence in words.items():
        data = tmp_path / name
        arguments = ["check", data] if command == "check" else ["run", "demo", "--data", data, "--out", tmp_path / "r"]
        status, said = call(capsys, monkeypatch, *arguments)
        assert status in (1, 2) and sentence in said and "Traceback" not in said
        assert not (tmp_path / "r").exists()


def test_columns_that_cannot_be_read_are_one_sentence(tmp_path, capsys, monkeypatch):
    root = make_table(tmp_path / "d")
    status, said = call(capsys, monkeypatch, "check", root / "labels.csv", "--columns", "path")
    assert status == 2 and said == ("xray-debug: --columns path: expected path=NAME, label=NAME, labels=NAME, "
                                    "patient=NAME, source=NAME, split=NAME, got 'path'")  # fmt: skip


def config_of(data, images=None):
    return parse_config({"data": str(data), "prepare": {"images": images and str(images)},
                         "train": {"view": {"size": 32}}, "phantom": None})  # fmt: skip


def digests(config, run) -> dict:
    return dict(fingerprint(prepare.STAGE, run, config).inputs)


@pytest.mark.parametrize("apart", [False, True])
def test_a_table_is_looked_at_as_a_dataset_is(apart, tmp_path):
    root = make_table(tmp_path / "d")
    table, images, run = root / "labels.csv", None, Run(tmp_path / "r")
    if apart:
        table, images = table.rename(tmp_path / "labels.csv"), root
    config = config_of(table, images)
    first = digests(config, run)
    (root / "beside.txt").write_text("x")
    assert apart or digests(config, run) == first  # what the table does not name is none of the dataset
    os.utime(root / "images/train-000.png", (1, 1))
    second = digests(config, run)
    table.write_text(table.read_text().replace("site 1", "site 2"))
    assert first != second != digests(config, run) != first


def test_prepare_notes_the_layout_and_says_what_was_cut(tmp_path):
    data, said = make_folders(tmp_path / "d", split=False), []
    run, config = Run(tmp_path / "r"), config_of(data)
    Job(run, config, Engine(EngineConfig(workers=1)), said.append, only="prepare")()
    store = Store(tmp_path / "r")
    layout = Layout.of(store.json("dataset"))
    assert type(layout.kind).__name__ == "Folders" and layout.data == data.resolve() and not layout.one_folder
    assert any(line.startswith("the dataset brings no test: cut by patient into ") for line in said)
    assert store.dataset_root() == data.resolve()
    assert all(store.image_file(path).is_file() for path in store.manifest()["path"])


def test_a_run_folder_in_the_folder_of_images_is_refused(tmp_path, capsys, monkeypatch):
    root = make_table(tmp_path / "d")
    status, said = call(capsys, monkeypatch, "run", "demo", "--data", root / "labels.csv", "--images", root / "images",
                        "--out", root / "images/run", "--dry-run")  # fmt: skip
    assert status == 2 and "lies on, in or around the dataset" in said
    with pytest.raises(ConfigError, match="prepare.test_fraction"):
        parse_config({"prepare": {"test_fraction": 0.9}})
