"""A power cut undoes the renames that were not synced: a finished stage is what it was or what it became."""

import contextlib
import os
import stat
from pathlib import Path

from xray_debug.data import files
from xray_debug.run.fingerprint import Fingerprint
from xray_debug.run.folder import Run


class PowerCut(BaseException):
    """No handler of the package may catch it."""


class Names:
    """Renames that the disk does not know yet: those of which one of the two folders was not synced since.

    At the `last` renaming or removal the power goes.
    """

    def __init__(self, monkeypatch, last: int = 10**9):
        self.last, self.count, self.done = last, 0, []
        real = os.replace

        def replace(source, target):
            self.step()
            replaced = Path(target).read_bytes() if Path(target).is_file() else None
            folders = {Path(path).parent.stat().st_ino for path in (source, target)}
            real(source, target)
            self.done.append((Path(source), Path(target), replaced, folders))

        def sync(number):
            found = os.fstat(number)
            for *_, folders in self.done if stat.S_ISDIR(found.st_mode) else ():
                folders.discard(found.st_ino)
            self.done = [rename for rename in self.done if rename[-1]]

        def system(folder) -> bool:
            self.done = []
            return True

        for name in ("unlink", "rmdir"):
            monkeypatch.setattr(os, name, self.stepping(getattr(os, name)))
        monkeypatch.setattr(os, "replace", replace)
        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(files, "_sync_file_system", system)

    def step(self) -> None:
        self.count += 1
        if self.count >= self.last:
            raise PowerCut

    def stepping(self, function):
        def stands_in(*arguments, **options):
            self.step()
            return function(*arguments, **options)

        return stands_in

    def undo(self) -> int:
        """As the disk is found after the cut; how many renames were lost."""
        for source, target, replaced, _ in reversed(self.done):
            if os.path.lexists(target):
                target.rename(source)
            if replaced is not None:
                target.write_bytes(replaced)
        return len(self.done)


def finish(run: Run, value: int) -> None:
    mark = Fingerprint({"data": "x"}, {"train": {"epochs": value}}, "code")
    with run.locked():
        run.recover(["train"])
        folder = run.begin("train", mark)
        for name in ("model", "history"):
            files.write_text(folder / name, str(value))
        run.complete("train", mark, {"outputs": {}})


def state(run: Run) -> set[str]:
    assert run.record("train")["made_by"] == "xray-debug"
    return {run.path("train", name).read_text() for name in ("model", "history")}


def test_a_power_cut_that_undoes_renames_leaves_the_old_stage_or_the_new(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        finish(Run(tmp_path / "peace"), 1)
        steps = Names(patched)
        finish(Run(tmp_path / "peace"), 2)
        assert steps.undo() == 0 and steps.count > 10  # what is finished is on the disk, names and all
    assert state(Run(tmp_path / "peace")) == {"2"}
    lost, ends = 0, set()
    for number in range(1, steps.count + 2):
        run = Run(tmp_path / f"{number}")
        finish(run, 1)
        with monkeypatch.context() as patched:
            names = Names(patched, number)
            with contextlib.suppress(PowerCut):
                finish(run, 2)
        lost += names.undo()
        with run.locked():
            run.recover(["train"])
        assert state(run) in ({"1"}, {"2"}), number
        ends |= state(run)
        finish(run, 3)
        assert state(run) == {"3"}, number
    assert lost > 5 and ends == {"1", "2"}  # the cuts did harm, and fell on both sides
