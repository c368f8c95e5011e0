"""Files appear whole or not at all, and copies share nothing."""

import errno
import json
import os
from hashlib import sha256

import pandas as pd
import pytest

from xray_debug.data import files
from xray_debug.data.files import (
    atomic_write,
    copy_file,
    file_sha256,
    name_of,
    take_over,
    write_json,
    write_table,
    write_text,
)


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "Full"), OSError(errno.EDQUOT, "Quota"),
    OSError("100 requested and 30 written")], ids=["disk", "quota", "NumPy"])  # fmt: skip
def test_a_full_disk_is_told_with_the_file_and_how_to_go_on(tmp_path, error):
    def fail(file):
        file.write(b"half")
        raise error

    with pytest.raises(OSError, match="no space left on this disk; make room") as caught:
        atomic_write(tmp_path / "a.npy", fail)
    assert caught.value.filename == str(tmp_path / "a.npy") and not list(tmp_path.iterdir())


def test_the_longest_name_there_is_can_be_written(tmp_path):
    path = tmp_path / ("a" * 255)
    write_text(path, "\u00e9\r\n")
    assert path.read_bytes() == b"\xc3\xa9\r\n"


@pytest.mark.parametrize("beginning", ["a", "胸", "é", "🩻", "e\u0301"])
@pytest.mark.parametrize("ending", [".png", ".explained.png", "_12.png"])
def test_a_name_gets_an_ending_whatever_its_length(tmp_path, beginning, ending):
    for count in range(200 // len(beginning.encode()), 251 // len(beginning.encode()) + 1):
        stem = beginning * count
        one, other = name_of(stem, ending), name_of(stem[:-1] + "b", ending)
        assert one.endswith(ending) and len(one.encode()) <= 255 and one.isprintable()
        assert one != other and name_of(stem, ending) == one
        assert (one == stem + ending) == (len((stem + ending).encode()) <= 255)
        (tmp_path / one).touch()
    assert len(os.listdir(tmp_path)) > 10


def test_a_name_that_is_no_text_gets_an_ending():
    stem = os.fsdecode(b"\xff" * 250)
    assert len(os.fsencode(name_of(stem, ".explained.png"))) <= 255
    assert name_of("\udcff", ".png") == "\udcff.png"


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "Permission denied"),
    OSError(errno.EROFS, "Read-only file system")], ids=["permission", "read-only"])  # fmt: skip
@pytest.mark.parametrize("where", ["open", "replace"])
def test_a_folder_that_cannot_be_written_is_told_with_the_file(tmp_path, monkeypatch, where, error):
    def fail(temporary, *rest):
        raise type(error)(error.errno, error.strerror, str(temporary))

    monkeypatch.setattr(*((files.Path, "open") if where == "open" else (files.os, "replace")), fail)
    with pytest.raises(type(error)) as caught:
        write_text(tmp_path / "pipeline.yaml", "seed: 1\n")
    assert (caught.value.filename, caught.value.strerror) == (str(tmp_path / "pipeline.yaml"), error.strerror)


def test_json_is_strict_and_tables_come_back(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1, None], "path": tmp_path})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1, None], "path": str(tmp_path)}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", float("nan"))
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", ""]}, index=[5, 6])
    write_table(tmp_path / "a.parquet", frame)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), frame.reset_index(drop=True),
                                  check_dtype=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.parquet"]


@pytest.mark.parametrize("kernel", ["clones", "cannot", "stops"])
def test_a_copy_shares_nothing_with_the_original(tmp_path, monkeypatch, kernel):
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(os.urandom(3_000_000))
    os.symlink(source, tmp_path / "link")
    if kernel == "cannot":
        monkeypatch.delattr(files.os, "copy_file_range", raising=False)
    if kernel == "stops":  # half way, as some file systems do

        def stop(read, write, count, *places):
            os.write(write, b"rubbish")
            raise OSError("not supported")

        monkeypatch.setattr(files.os, "copy_file_range", stop, raising=False)
    copy_file(tmp_path / "link", target)
    content = source.read_bytes()
    assert target.read_bytes() == content and file_sha256(target) == sha256(content).hexdigest()
    assert not target.is_symlink() and target.stat().st_ino != source.stat().st_ino and target.stat().st_nlink == 1
    with target.open("r+b") as file:
        file.write(b"edited")
    assert source.read_bytes() == content


def test_a_copy_of_nothing_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        copy_file(tmp_path / "none", tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_what_it_was_is_not_taken_over(tmp_path):
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    source.write_bytes(b"film")
    digest = file_sha256(source)
    assert take_over(source, target, digest) and target.read_bytes() == b"film"
    source.unlink()  # its name goes, the file stays
    assert target.read_bytes() == b"film"
    target.write_bytes(b"fiLm")
    assert not take_over(target, tmp_path / "c.png", digest) and not (tmp_path / "c.png").exists()
    assert not take_over(tmp_path / "gone.png", tmp_path / "c.png", digest) and not (tmp_path / "c.png").exists()
