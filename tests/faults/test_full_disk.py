"""A disk that fills in the middle of a stage: one sentence, nothing lost, and the run goes on once there is room."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kills_fixture import LONG, complete

from xray_debug.stages.registry import STAGES

PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def mount(place: Path, *options: str) -> None:
    subprocess.run(["mount", *options, str(place)], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path):
    """A small disk, and what sets its size in bytes; it begins with plenty of room."""
    place = tmp_path / "disk"
    place.mkdir()
    if not shutil.which("mount") or getattr(os, "geteuid", lambda: 1)() != 0:
        pytest.skip("a small disk can be mounted by root alone")
    try:
        mount(place, "-t", "tmpfs", "-o", "size=200m", "tmpfs")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no small disk can be mounted here: {error.stderr.decode().strip()}")
    try:
        yield place, lambda size: mount(place, "-o", f"remount,size={size}")
    finally:
        subprocess.run(["umount", str(place)], check=True)


def used(place: Path) -> int:
    facts = os.statvfs(place)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize


def size(folder: Path) -> int:
    return sum(-(-file.stat().st_size // PAGE) * PAGE for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("stage", list(STAGES) if LONG else ["clean"])
def test_a_disk_that_fills_is_named_and_the_run_goes_on_once_it_is_larger(tiny, disk, stage):
    place, resize = disk
    run = place / "run"
    only = tiny.before(stage, run)
    earlier = complete(run)
    begun = 3 * PAGE  # pipeline.yaml, log.txt, and the mark of what was begun
    resize(used(place) + begun + int(0.4 * size(tiny.whole / stage)) // PAGE * PAGE)
    status, words = tiny.finish(run, *only)
    assert status in (1, 2), words
    *told, sentence = words.strip().splitlines()
    assert "Traceback" not in words and sentence.startswith(f"xray-debug: {run}"), words
    assert "no space left" in sentence and not any(line.startswith("xray-debug: ") for line in told)
    assert complete(run) == earlier and tiny.different(run) == []
    resize("200m")
    status, words = tiny.finish(run, *only)
    assert status == 0, words
    assert complete(run) == [*earlier, stage] and tiny.different(run) == []


@pytest.mark.parametrize("fault", ["full", "read-only"])
@pytest.mark.parametrize("new", [True, False], ids=["new run", "begun run"])
def test_a_run_that_cannot_write_its_pipeline_names_the_file(tmp_path, disk, fault, new):
    """One sentence, and what was there is as it was."""
    place, resize = disk
    run, pipeline = place / "run", tmp_path / "p.yaml"
    pipeline.write_text("phantom: {train: 24, test: 9, size: 96}\n")
    if not new:
        (run / ".work").mkdir(parents=True)
        (run / "pipeline.yaml").write_text("seed: 5\n")
    (place / "filler").write_bytes(bytes(200 << 20)[: used_up(place)])
    if fault == "read-only":
        mount(place, "-o", "remount,ro")
    command = [sys.executable, "-m", "xray_debug", "run", str(pipeline), "--out", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"})
    words = done.stderr.strip()
    assert done.returncode in (1, 2) and len(words.splitlines()) == 1, words
    assert words.startswith(f"xray-debug: {run}") and ".tmp-" not in words, words
    assert ("no space left" if fault == "full" else "Read-only") in words
    assert (run / "pipeline.yaml").exists() != new and (new or (run / "pipeline.yaml").read_text() == "seed: 5\n")


def used_up(place: Path) -> int:
    facts = os.statvfs(place)
    return facts.f_bavail * facts.f_frsize
