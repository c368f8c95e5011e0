"""Power cut at every single step of changing places: a stage is what it was or what it became, never neither."""

import builtins
import contextlib
import io
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from xray_debug.data import files
from xray_debug.run.fingerprint import Fingerprint
from xray_debug.run.folder import Run

STAGES = ["prepare", "train"]
CHANGES = [(os, "replace"), (os, "rename"), (os, "unlink"), (os, "rmdir"), (os, "mkdir"), (shutil, "rmtree"),
           (Path, "unlink"), (Path, "mkdir"), (Path, "rename"), (Path, "replace")]  # fmt: skip


class PowerCut(BaseException):
    """No handler of the package may catch it, as none runs when the power goes."""


def mark(value: int) -> Fingerprint:
    return Fingerprint({"data": "x"}, {"train": {"epochs": value}}, "code")


def finish(run: Run, value: int) -> None:
    folder = run.begin("train", mark(value))
    for name in ("model", "history"):
        files.write_text(folder / name, str(value))
    run.complete("train", mark(value), {"outputs": {}})


def cut_at(monkeypatch, number: int) -> list[int]:
    """The `number`-th change of the file system does not happen, nor does anything after it."""
    count = [0]

    def cut(function):
        def stands_in(*arguments, **options):
            count[0] += 1
            if count[0] >= number:
                raise PowerCut
            return function(*arguments, **options)

        return stands_in

    for owner, name in CHANGES:
        monkeypatch.setattr(owner, name, cut(getattr(owner, name)))
    return count


def steps(tmp_path, monkeypatch) -> int:
    """How many changes the second finishing of a stage makes."""
    run = Run(tmp_path / "counted")
    with run.locked():
        finish(run, 1)
        with monkeypatch.context() as patched:
            count = cut_at(patched, 10**9)
            finish(run, 2)
    return count[0]


def state(run: Run) -> str:
    """The value that the stage's files agree on."""
    assert run.record("train") is not None
    values = {run.path("train", name).read_text() for name in ("model", "history")}
    values.add(str(run.record("train")["parameters"]["train"]["epochs"]))
    assert len(values) == 1, values
    return values.pop()


def test_a_power_cut_anywhere_leaves_the_old_stage_or_the_new(tmp_path, monkeypatch):
    count, seen = steps(tmp_path, monkeypatch), set()
    assert count >= 10
    for number in range(1, count + 1):
        run = Run(tmp_path / f"{number}")
        with run.locked():
            finish(run, 1)
            with monkeypatch.context() as patched, pytest.raises(PowerCut):
                cut_at(patched, number)
                finish(run, 2)
        again = Run(run.folder)
        with again.locked():
            again.recover(STAGES)
            seen.add(state(again))
            assert not list(again.folder.rglob("*.old"))
            finish(again, 3)  # and the run goes on
            assert state(again) == "3"
        assert not [path for path in run.path(".work").iterdir() if path.is_dir()]
    assert seen == {"1", "2"}


def test_a_power_cut_while_recovering_is_recovered_from(tmp_path, monkeypatch):
    """The cut falls between the two renames of a change of places, the hardest place, and then into the recovery."""
    for number in range(1, 6):
        run = Run(tmp_path / f"{number}")
        with run.locked():
            finish(run, 1)
            folder = run.begin("train", mark(2))
            for name in ("model", "history"):
                files.write_text(folder / name, "2")
            with monkeypatch.context() as patched:
                real, place = os.replace, run.path("train")

                def second(source, target, real=real, place=place):
                    if Path(target) == place:
                        raise PowerCut
                    return real(source, target)

                patched.setattr(os, "replace", second)
                with pytest.raises(PowerCut):
                    run.complete("train", mark(2), {"outputs": {}})
            assert not run.path("train").exists()
            with monkeypatch.context() as patched:
                cut_at(patched, number)
                with contextlib.suppress(PowerCut):
                    run.recover(STAGES)
            run.recover(STAGES)
            assert state(run) == "2"


class Cut(io.FileIO):
    """A file that takes `left` bytes more, of all that are written; then the power goes."""

    left = 0

    def write(self, data) -> int:
        taken = super().write(bytes(data)[: Cut.left])
        Cut.left -= taken
        if taken < len(data):
            raise PowerCut
        return taken


def cut_after(monkeypatch, count: int) -> None:
    """Of what is written to any file only `count` bytes arrive, through no buffer."""
    real = io.open

    def opened(file, mode="r", *arguments, **options):
        if not set(mode) & set("wax+"):
            return real(file, mode, *arguments, **options)
        raw = Cut(file, mode.replace("b", "").replace("t", ""))
        return raw if "b" in mode else io.TextIOWrapper(raw, encoding="utf-8", write_through=True)

    Cut.left = count
    monkeypatch.setattr(io, "open", opened)  # Path's
    monkeypatch.setattr(builtins, "open", opened)
    monkeypatch.delattr(os, "copy_file_range", raising=False)  # which knows no half of a file


NEW = "new" * 1000
WRITERS = {
    "text": lambda source, target: files.write_text(target, NEW),
    "copy": lambda source, target: files.copy_file(source, target),
    "json": lambda source, target: files.write_json(target, NEW),
    "table": lambda source, target: files.write_table(target, pd.DataFrame({"a": [NEW]})),
}


def written(tmp_path, writer) -> bytes:
    WRITERS[writer](tmp_path / "source", tmp_path / "whole")
    return (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("writer", WRITERS)
def test_a_power_cut_while_writing_leaves_the_old_file_or_the_new(tmp_path, monkeypatch, writer):
    target, source = tmp_path / "target", tmp_path / "source"
    source.write_text(NEW)
    whole = written(tmp_path, writer)
    for cut, last in ((cut_at, 4), (cut_after, len(whole) - 1)):
        for number in sorted({1, 2, last // 2, last}):
            target.write_text("old")
            with monkeypatch.context() as patched:
                cut(patched, number)
                with contextlib.suppress(PowerCut):
                    WRITERS[writer](source, target)
            assert target.read_bytes() in (b"old", whole) and source.read_text() == NEW
    assert target.read_bytes() == b"old"  # the last cut fell before all was written


def test_the_power_cuts_would_find_a_writer_that_writes_in_place(tmp_path, monkeypatch):
    target = tmp_path / "target"
    for number in (1, 1500, 2999):
        target.write_text("old")
        with monkeypatch.context() as patched:
            cut_after(patched, number)
            with pytest.raises(PowerCut):
                target.write_text(NEW)
        assert target.read_text() == NEW[:number]
