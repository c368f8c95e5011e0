"""A power cut empties what was not synced: nothing that vouches for a file may outlive that file's bytes."""

import contextlib
import json
import os
import threading
from pathlib import Path

import pandas as pd
from cleaning_fixture import SETTINGS, dataset, files

from xray_debug.cleaning.dataset import finish, plan_rows
from xray_debug.cleaning.worker import CleanWorker
from xray_debug.config import EngineConfig, PhantomConfig
from xray_debug.data import files as data_files
from xray_debug.phantom.dataset import PhantomWorker, finish_phantom, phantom_rows
from xray_debug.run.engine import Engine, TableRows
from xray_debug.run.fingerprint import Fingerprint
from xray_debug.run.folder import Run

MARK = Fingerprint({"data": "x"}, {"clean": {}}, "code")


class PowerCut(BaseException):
    """No handler of the package may catch it."""


class Disk:
    """Which files are on the disk: those synced since they were written. At the `last` renaming the power goes."""

    def __init__(self, monkeypatch, root: Path, last: int = 10**9):
        self.root, self.last, self.count, self.safe, self.lock = root, last, 0, set(), threading.Lock()
        real = os.replace

        def replace(source, target):
            with self.lock:
                self.count += 1
                if self.count >= self.last:
                    raise PowerCut
            return real(source, target)

        def system(folder) -> bool:
            self.safe |= {self.facts(file.stat()) for file in self.written()}
            return True

        monkeypatch.setattr(os, "replace", replace)
        monkeypatch.setattr(os, "fsync", lambda number: self.safe.add(self.facts(os.fstat(number))))
        monkeypatch.setattr(data_files, "_sync_file_system", system)

    @staticmethod
    def facts(found: os.stat_result) -> tuple:
        return found.st_ino, found.st_mtime_ns, found.st_size

    def written(self) -> list[Path]:
        return [file for file in self.root.rglob("*") if file.is_file()]

    def cut(self) -> int:
        """Empties what is not safe; how many files that were."""
        lost = [file for file in self.written() if file.stat().st_size and self.facts(file.stat()) not in self.safe]
        for file in lost:
            os.truncate(file, 0)
        return len(lost)


def clean(run: Run, plan: pd.DataFrame) -> None:
    """Stage clean as it is done: images in parts, then label files, then the record."""
    with run.locked():
        run.recover(["clean"])
        if not run.reason_to_run("clean", MARK):
            return
        folder = run.begin("clean", MARK)
        out, control = folder / "dataset", folder / "control"
        worker = CleanWorker(SETTINGS.model_dump(), 0, str(out), str(control))
        worker.batch = 2
        parts = Engine(EngineConfig(workers=1)).run(worker, TableRows(plan), folder / "views", "clean")
        finish(plan, parts.table(), out, control)
        run.complete("clean", MARK, {"outputs": {}})


def test_a_power_cut_in_clean_leaves_no_empty_image(tmp_path, monkeypatch):
    manifest, boxes = dataset(tmp_path / "data")
    own = {name: part[["x0", "y0", "x1", "y1"]].to_numpy() for name, part in boxes.groupby("image_id")}
    plan = plan_rows(manifest, tmp_path / "data", own, SETTINGS)
    with monkeypatch.context() as patched:
        disk = Disk(patched, tmp_path / "left in peace")
        clean(Run(tmp_path / "left in peace"), plan)
        assert disk.cut() <= 1  # log and locks at most
    place = tmp_path / "left in peace" / "clean"
    expected = {name: files(place / name) for name in ("dataset", "control", "views")}
    assert len(expected["dataset"]) == 10 and disk.count > 20
    lost = 0
    for number in range(1, disk.count + 2):  # the last falls after all is done
        run = Run(tmp_path / f"cut {number}")
        with monkeypatch.context() as patched:
            cut = Disk(patched, run.folder, number)
            with contextlib.suppress(PowerCut):
                clean(run, plan)
            lost += cut.cut()
        for file in run.folder.rglob("stage.json"):  # what is claimed is there
            assert json.loads(file.read_text()) and all(f.stat().st_size for f in file.parent.rglob("*.*"))
        clean(run, plan)
        assert {name: files(run.path("clean", name)) for name in expected} == expected, number
    assert lost > 10  # the cuts did harm


def test_a_power_cut_while_the_phantom_is_drawn(tmp_path, monkeypatch):
    """truth/boxes.json vouches for films and label files."""
    config = PhantomConfig(train=12, test=6, size=96)
    rows = phantom_rows(config, 0)

    def draw(folder: Path) -> None:
        if (folder / "phantom" / "truth" / "boxes.json").exists():
            return
        worker = PhantomWorker(folder / "phantom", config, 0)
        worker.batch = 4
        parts = Engine(EngineConfig(workers=1)).run(worker, TableRows(pd.DataFrame(rows)), folder / "films", "draw")
        finish_phantom(folder / "phantom", rows, [row["entries"] for row in parts.rows(["entries"])])

    with monkeypatch.context() as patched:
        disk = Disk(patched, tmp_path / "peace")
        draw(tmp_path / "peace")
    expected = files(tmp_path / "peace" / "phantom")
    for number in [*range(1, disk.count, 7), *range(disk.count - 5, disk.count + 2)]:
        folder = tmp_path / f"{number}"
        with monkeypatch.context() as patched:
            cut = Disk(patched, folder, number)
            with contextlib.suppress(PowerCut):
                draw(folder)
            cut.cut()
        draw(folder)
        assert files(folder / "phantom") == expected, number
