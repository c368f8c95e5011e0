"""Power cut at every single step of changing places: a stage is what it was or what it became, never neither."""

import os
import shutil
from pathlib import Path

import pytest

from xray_debug.data import files
from xray_debug.run.fingerprint import Fingerprint
from xray_debug.run.folder import Run

STAGES = ["prepare", "train"]


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

    for owner, name in ((os, "replace"), (os, "rename"), (os, "unlink"), (os, "rmdir"), (os, "mkdir"), (shutil, "rmtree"),
                        (Path, "unlink"), (Path, "mkdir"), (Path, "rename"), (Path, "replace")):  # fmt: skip
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
                real = os.replace

                def second(source, target, real=real):
                    if Path(target) == run.path("train"):
                        raise PowerCut
                    return real(source, target)

                patched.setattr(os, "replace", second)
                with pytest.raises(PowerCut):
                    run.complete("train", mark(2), {"outputs": {}})
            assert not run.path("train").exists()
            with monkeypatch.context() as patched:
                cut_at(patched, number)
                try:
                    run.recover(STAGES)
                except PowerCut:
                    pass
            run.recover(STAGES)
            assert state(run) == "2"


@pytest.mark.parametrize("writer", ["text", "copy"])
def test_a_power_cut_while_writing_leaves_the_old_file_or_the_new(tmp_path, monkeypatch, writer):
    target, source = tmp_path / "target", tmp_path / "source"
    source.write_text("new")
    for number in range(1, 4):
        target.write_text("old")
        with monkeypatch.context() as patched:
            cut_at(patched, number)
            try:
                files.write_text(target, "new") if writer == "text" else files.copy_file(source, target)
            except PowerCut:
                pass
        assert target.read_text() in ("old", "new") and source.read_text() == "new"
