"""A tiny run by the command line, undisturbed once, to compare with what is left of disturbed ones."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil

from xray_debug.data.files import file_sha256
from xray_debug.stages.registry import STAGES

LONG = os.environ.get("XRAY_DEBUG_FAULTS") == "long"
PIPELINE = """
name: tiny
phantom: {train: 24, test: 9, size: 96}
train: {view: {size: 64}, model: shufflenet_v2_x0_5, precision: 32-true, epochs: 1, batch_size: 16}
explain: {mask_size: 8, max_cases: 6, select: all, sanity_cases: 1}
detect: {second: null}
audit: {max_cases: 6, controls: 1, swaps: 1, permutations: 50}
report: {bootstrap: 100, max_flagged: 2}
"""
TIMED = {"stage.json", ".contents.json", "report.json", "report.html", "report.md", "report.pdf",
         "history.csv"}  # fmt: skip  # two are read below


class Tiny:
    """The pipeline's file, the run that nothing disturbed, and commands on other folders."""

    def __init__(self, folder: Path):
        self.folder, self.pipeline, self.whole = folder, folder / "tiny.yaml", folder / "whole"
        self.pipeline.write_text(PIPELINE)
        done, words = self.finish(self.whole)
        assert done == 0, words
        self.contents = contents(self.whole)

    def start(self, run: Path, *more: str) -> tuple[subprocess.Popen, Path]:
        """The command at work, and the file into which it speaks."""
        said = self.folder / f"said-{len(list(self.folder.glob('said-*')))}.txt"
        command = [sys.executable, "-m", "xray_debug", "run", str(self.pipeline), "--out", str(run), *more]
        with said.open("w") as file:
            return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file,
                                    env=os.environ | {"COLUMNS": "200", "PYTHONWARNINGS": "ignore"}), said  # fmt: skip

    def finish(self, run: Path, *more: str) -> tuple[int, str]:
        """Exit status and words."""
        child, said = self.start(run, *more)
        try:
            return child.wait(500), said.read_text()
        finally:
            child.kill()

    def before(self, stage: str, run: Path) -> tuple[str, str]:
        """Makes a run folder that has done everything before a stage; the arguments that do that stage alone."""
        for name in list(STAGES)[: list(STAGES).index(stage)]:
            shutil.copytree(self.whole / name, run / name)
        return "--only", stage

    def seconds(self, stage: str) -> float:
        return json.loads((self.whole / stage / "stage.json").read_text())["seconds"]

    def different(self, run: Path) -> list[str]:
        """The files, or results, of a run's complete stages that are not as in the undisturbed one."""
        found, stages = contents(run), complete(run)
        wanted = {name: value for name, value in self.contents.items() if re.split("[/:]", name)[0] in stages}
        return sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))


def complete(run: Path) -> list[str]:
    return [name for name in STAGES if (run / name / "stage.json").exists()]


def contents(run: Path) -> dict[str, object]:
    """File -> sha256 of all stages' files, the results' digests, and the report's figures without times."""
    found: dict[str, object] = {}
    for name in complete(run):
        for file in sorted((run / name).rglob("*")):
            place = file.relative_to(run).as_posix()
            if file.name == "history.csv":
                found[place] = pd.read_csv(file).drop(columns="seconds").to_csv()
            elif file.is_file() and file.name not in TIMED:
                found[place] = file_sha256(file)
        found[name] = json.loads((run / name / "stage.json").read_text())["outputs"]
    if "report" not in complete(run):
        return found
    report = json.loads((run / "report" / "report.json").read_text())
    report["explanations"].pop("seconds")
    for stage in report["lineage"].values():
        stage.pop("finished")
    report["config"].pop("engine")  # how the work is done is told, and changes no result
    return found | {f"report: {key}": value for key, value in report.items() if key != "timings"}


def working_on(stage: str, child: subprocess.Popen, said: Path, seconds: float = 400) -> bool:
    """Waits until the command says that it has begun a stage; False where it ended before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and child.poll() is None:
        lines = said.read_text().splitlines()
        if any(line.startswith(f"{stage}: ") and not line.endswith("up to date") for line in lines):
            return True
        time.sleep(0.02)
    return False


def family(child: subprocess.Popen) -> list[psutil.Process]:
    try:
        return psutil.Process(child.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def gone(processes: list[psutil.Process], seconds: float = 20) -> bool:
    """Whether all of them end in time."""
    deadline = time.monotonic() + seconds
    while alive(processes) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not alive(processes)
