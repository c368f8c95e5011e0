"""A power cut between any two changes of the file system, where a stage begins or first appears."""

import os
import shutil
from pathlib import Path

import pytest

from xray_debug.run.fingerprint import Fingerprint
from xray_debug.run.folder import Run


class Cut(BaseException):
    """The power is gone: nothing that follows is done, not even what a `finally` would do."""


class Power:
    """Goes out at the `at`-th change of the file system, and stays out until `back`."""

    CHANGES = ((os, "replace"), (os, "rename"), (os, "rmdir"), (os, "unlink"), (os, "mkdir"), (shutil, "rmtree"),
               (Path, "unlink"), (Path, "mkdir"))  # fmt: skip

    def __init__(self, monkeypatch, at: int):
        self.patch, self.at, self.changes = monkeypatch, at, 0
        for place, name in self.CHANGES:
            monkeypatch.setattr(place, name, self._counted(getattr(place, name)))

    def _counted(self, real):
        def change(*arguments, **options):
            self.changes += 1
            if self.at and self.changes >= self.at:
                raise Cut
            return real(*arguments, **options)

        return change

    def back(self) -> None:
        self.patch.undo()


def mark(value: int) -> Fingerprint:
    return Fingerprint({"data": "x"}, {"train": {"epochs": value}}, "code")


def finish(run: Run, value: int, text: str) -> None:
    folder = run.begin("train", mark(value), adopts=("seed-*",))
    (folder / "result.txt").write_text(text)
    (folder / "part.bin").write_text(text)
    run.complete("train", mark(value), {"outputs": {}})


def seeded(run: Run) -> None:
    """A finished stage, and one begun with other options that has trained a seed."""
    finish(run, 1, "old")
    folder = run.begin("train", mark(2), adopts=("seed-*",))
    (folder / "seed-1").mkdir()
    (folder / "seed-1" / "weights").write_text("hours of work")


def changes_of(tmp_path, prepare, act) -> int:
    with pytest.MonkeyPatch.context() as patch, Run(tmp_path).locked():
        prepare(Run(tmp_path))
        power = Power(patch, 0)
        act(Run(tmp_path))
        return power.changes


def every_cut(tmp_path, prepare, act):
    """The run after a cut before each of the changes that `act` makes, once the power is back."""
    count = changes_of(tmp_path / "uncut", prepare, act)
    assert count >= 3
    for at in range(1, count + 1):
        run = Run(tmp_path / f"cut-{at}")
        with run.locked():
            prepare(run)
            with pytest.MonkeyPatch.context() as patch:
                power = Power(patch, at)
                with pytest.raises(Cut):
                    act(run)
                power.back()
            yield run


def test_a_cut_while_a_stage_appears_leaves_it_complete_or_absent(tmp_path):
    seen = set()
    for run in every_cut(tmp_path, lambda run: None, lambda run: finish(run, 2, "new")):
        run.recover(["train"])
        there = run.record("train") is not None
        assert there == run.path("train").exists()
        if there:
            assert run.path("train", "result.txt").read_text() == "new"
        seen.add(there)
    assert seen == {True, False}


def test_a_cut_while_a_stage_begins_anew_keeps_trained_seeds(tmp_path):
    for run in every_cut(tmp_path, seeded, lambda run: run.begin("train", mark(3), adopts=("seed-*",))):
        run.recover(["train"])
        folder = run.begin("train", mark(3), adopts=("seed-*",))
        assert (folder / "seed-1" / "weights").read_text() == "hours of work"
        assert run.path("train", "result.txt").read_text() == "old"
