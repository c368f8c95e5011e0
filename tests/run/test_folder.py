"""Run folders: complete or absent, resume, adoption, and nothing of the user's is removed."""

import json
import subprocess
import sys
import time

import pytest

from xray_debug.run.fingerprint import Fingerprint
from xray_debug.run.folder import Run, RunError


def mark(value: int = 1) -> Fingerprint:
    return Fingerprint({"data": "x"}, {"train": {"epochs": value}}, "code")


def finish(run: Run, stage: str, fingerprint: Fingerprint, text: str = "done", **options) -> None:
    folder = run.begin(stage, fingerprint, **options)
    (folder / "result.txt").write_text(text)
    run.complete(stage, fingerprint, {"outputs": {}})


def test_a_stage_is_complete_or_absent(tmp_path):
    run = Run(tmp_path)
    with run.locked():
        assert run.reason_to_run("train", mark()) == "not yet run"
        folder = run.begin("train", mark())
        assert not run.path("train").exists()
        (folder / "result.txt").write_text("half")
        assert run.reason_to_run("train", mark()) == "interrupted, goes on where it stopped"
        run.spent("train", 2.0)
        assert run.begin("train", mark()) == folder and (folder / "result.txt").read_text() == "half"
        run.spent("train", 1.5)
        run.complete("train", mark(), {"images": 7})
        record = run.record("train")
        assert record["seconds"] == 3.5 and record["images"] == 7 and record["fingerprint"] == mark().key
        assert run.path("train", "result.txt").read_text() == "half" and not folder.exists()
        assert run.reason_to_run("train", mark()) == ""
        assert run.reason_to_run("train", mark(2)) == "option train.epochs changed"


def test_what_was_complete_stays_until_the_new_result_is_whole(tmp_path):
    run = Run(tmp_path)
    with run.locked():
        finish(run, "train", mark(1), "old")
        folder = run.begin("train", mark(2))
        (folder / "result.txt").write_text("new")
        assert run.path("train", "result.txt").read_text() == "old"
        run.complete("train", mark(2), {})
        assert run.path("train", "result.txt").read_text() == "new"
        assert not [path for path in run.path(".work").iterdir() if path.is_dir()]


def test_work_for_another_fingerprint_is_begun_anew(tmp_path):
    run = Run(tmp_path)
    with run.locked():
        (run.begin("train", mark(1)) / "half").write_text("1")
        folder = run.begin("train", mark(2))
        assert not (folder / "half").exists()
        (folder / "half").write_text("2")
        run.scratch("train").mkdir()
        assert not (run.begin("train", mark(2), fresh=True) / "half").exists()
        assert not run.scratch("train").exists()


def test_pieces_that_vouch_for_themselves_are_adopted(tmp_path):
    run = Run(tmp_path)
    with run.locked():
        folder = run.begin("train", mark(1))
        (folder / "seed-0").mkdir()
        (folder / "seed-0" / "weights").write_text("0")
        run.complete("train", mark(1), {})
        folder = run.begin("train", mark(2), adopts=("seed-*",))
        assert (folder / "seed-0" / "weights").read_text() == "0"
        (folder / "seed-0" / "weights").write_text("changed")
        assert run.path("train", "seed-0", "weights").read_text() == "0"  # nothing is shared
        (folder / "seed-1").mkdir()
        folder = run.begin("train", mark(3), adopts=("seed-*",))  # killed and asked for something else
        assert (folder / "seed-0" / "weights").read_text() == "0" and (folder / "seed-1").is_dir()
        assert not (run.begin("train", mark(3), fresh=True, adopts=("seed-*",)) / "seed-0").exists()


def test_a_folder_of_the_user_is_never_replaced(tmp_path):
    run = Run(tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "film.png").write_text("mine")
    with pytest.raises(RunError, match="train: was not made by xray-debug"):
        run.check_free(["prepare", "train"])
    with run.locked(), pytest.raises(RunError, match="was not made by xray-debug"):
        finish(run, "train", mark())
    assert (tmp_path / "train" / "film.png").read_text() == "mine"


@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_a_change_of_places_cut_short_is_ended(tmp_path, moment):
    run = Run(tmp_path)
    with run.locked():
        finish(run, "train", mark(1), "old")
        folder = run.begin("train", mark(2))
        (folder / "result.txt").write_text("new")
        (folder / "stage.json").write_text(json.dumps({"fingerprint": mark(2).key}))
        if moment != "before":
            run.path("train").rename(run.path(".work", "train.old"))
        if moment == "after":
            folder.rename(run.path("train"))
        run.recover(["prepare", "train"])
        assert run.path("train", "result.txt").read_text() == "new"
        assert not run.path(".work", "train.old").exists() and not folder.exists()


def test_one_writer_or_several_parts(tmp_path):
    first, second = Run(tmp_path), Run(tmp_path)
    with first.locked(), pytest.raises(RunError, match="another xray-debug is working"), second.locked():
        pass
    with first.locked((1, 2)):
        with second.locked((2, 2)):
            pass
        for part in (None, (1, 2)):
            with pytest.raises(RunError, match="another xray-debug is working"), second.locked(part):
                pass
    with second.locked():
        pass


def test_a_killed_process_leaves_no_lock(tmp_path):
    code = "import os, sys; from xray_debug.run.folder import Run; Run(sys.argv[1]).locked().__enter__(); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == 9
    with Run(tmp_path).locked():
        pass


def test_a_missing_stage_and_a_damaged_record_are_named(tmp_path):
    run = Run(tmp_path)
    with pytest.raises(RunError, match="stage audit needs stage train, which is not complete"):
        run.require("train", "audit")
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "stage.json").write_text("{")
    with pytest.raises(RunError, match="stage.json: expected a readable JSON file"):
        run.record("train")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made a run folder"), Run(tmp_path / "file").locked():
        pass


def test_parts_that_begin_at_the_same_moment_share_one_folder(tmp_path):
    code = """
import sys, time
from pathlib import Path
from xray_debug.run.fingerprint import Fingerprint
from xray_debug.run.folder import Run
run, number = Run(sys.argv[1]), int(sys.argv[2])
with run.locked((number, 4)):
    while time.time() < float(sys.argv[3]):
        pass
    folder = run.begin("detect", Fingerprint({}, {"a": 1}, "code"))
    (folder / f"part-{number}").write_text("")
"""
    at = str(time.time() + 4)
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n), at]) for n in range(1, 5)]
    assert [process.wait() for process in started] == [0] * 4
    found = sorted(file.name for file in (tmp_path / ".work" / "detect").glob("part-*"))
    assert found == [f"part-{n}" for n in range(1, 5)]


def test_a_part_with_other_options_does_not_wipe_another(tmp_path):
    first, second = Run(tmp_path), Run(tmp_path)
    with first.locked((1, 2)):
        (first.begin("detect", mark(1)) / "part").write_text("")
        with second.locked((2, 2)):
            with pytest.raises(RunError, match="another part of stage detect is being worked on with other options"):
                second.begin("detect", mark(2))
            assert (second.begin("detect", mark(1)) / "part").exists()
    with second.locked((2, 2)):
        assert not (second.begin("detect", mark(2)) / "part").exists()


def test_a_share_goes_with_the_parts_that_are_there(tmp_path):
    run = Run(tmp_path)
    with run.locked():
        with pytest.raises(RunError, match="no parts of stage detect to put together"):
            run.check_shared("detect", mark(1), merge=True)
        run.check_shared("detect", mark(1), merge=False)
        (run.begin("detect", mark(1)) / "part").write_text("")
        run.check_shared("detect", mark(1), merge=True)
        with pytest.raises(RunError, match="made with other options, inputs or code"):
            run.check_shared("detect", mark(2), merge=False)


def test_leftovers_of_killed_writes_stay_out_of_a_finished_stage(tmp_path):
    run = Run(tmp_path)
    with run.locked():
        folder = run.begin("clean", mark())
        (folder / "dataset").mkdir()
        (folder / "dataset" / ".tmp-0123").write_text("half a film")
        (folder / "dataset" / "film.png").write_text("film")
        run.complete("clean", mark(), {})
    assert [file.name for file in run.path("clean", "dataset").iterdir()] == ["film.png"]
