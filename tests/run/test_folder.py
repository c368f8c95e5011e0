"""Run folders: complete or absent, resume, adoption, and nothing of the user's is removed."""

import json
import os
import subprocess
import sys
import time

import pytest

from xray_debug.run.fingerprint import Fingerprint
from xray_debug.run.folder import Run, RunError
from xray_debug.run.places import check_no_stage


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


# ------------------------------------------------------------------------------------------ what is the user's


@pytest.mark.parametrize(
    "record",
    ['{"act": 1}', '{"made_by": "xray-debug"}', '{"made_by": "xray-debug", "stage": "train"}', '{"stage": "report"}'],
)  # fmt: skip
def test_a_folder_with_another_stage_json_is_never_replaced(tmp_path, record):
    run = Run(tmp_path)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "stage.json").write_text(record)
    (tmp_path / "report" / "thesis.docx").write_text("mine")
    with pytest.raises(RunError, match=r"report: was not made by xray-debug \(it has no stage.json of stage report\)"):
        run.check_free(["prepare", "report"])
    with run.locked(), pytest.raises(RunError, match="was not made by xray-debug"):
        finish(run, "report", mark())
    assert (tmp_path / "report" / "thesis.docx").read_text() == "mine"


def own_files(folder) -> dict[str, str]:
    """Files, changes and links of the user in a stage's folder; what must be in kept/."""
    (folder / "dataset").mkdir(exist_ok=True)
    (folder / "notes.md").write_text("note")
    (folder / "dataset" / "mine.png").write_text("film")
    (folder / "result.txt").write_text("edited by hand")
    (folder / ".DS_Store").write_text("nobody's")
    return {"notes.md": "note", "dataset/mine.png": "film", "result.txt": "edited by hand"}


def test_a_users_files_in_a_stage_folder_are_kept_when_it_is_made_anew(tmp_path):
    run = Run(tmp_path / "run")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("1")
    with run.locked():
        finish(run, "clean", mark(1), "one")
        expected = own_files(run.path("clean"))
        (run.path("clean") / "link").symlink_to(tmp_path / "thesis", target_is_directory=True)
        folder = run.begin("clean", mark(2))
        (folder / "result.txt").write_text("two")
        kept = run.complete("clean", mark(2), {})
        place = run.path("kept", "clean")
        assert {path.relative_to(place).as_posix() for path in kept} == {*expected, "link"}
        assert {name: (place / name).read_text() for name in expected} == expected
        assert (place / "link" / "chapter").read_text() == "1"
        assert [path.name for path in sorted(run.path("clean").iterdir())] == [
            ".contents.json", "result.txt", "stage.json"]  # fmt: skip
        (run.path("clean") / "notes.md").write_text("second note")
        run.begin("clean", mark(3))
        assert run.complete("clean", mark(3), {}) == [place / "notes.2.md"]
        assert (place / "notes.md").read_text() == "note" and (place / "notes.2.md").read_text() == "second note"


def test_a_users_files_outlive_a_kill_between_the_change_of_places_and_the_removal(tmp_path):
    run = Run(tmp_path)
    with run.locked():
        finish(run, "clean", mark(1))
        expected = own_files(run.path("clean"))
        run.path("clean").rename(run.path(".work", "clean.old"))
        kept = run.recover(["prepare", "clean"])
        assert {path.relative_to(run.path("kept", "clean")).as_posix(): path.read_text() for path in kept} == expected
        assert not run.path(".work", "clean.old").exists()


@pytest.mark.parametrize("place", ["report", "report/figures", "report/new/er", ".work/report", "Link"])
def test_nothing_is_written_into_a_stages_folder(tmp_path, place):
    run = Run(tmp_path)
    with run.locked():
        finish(run, "report", mark())
    (tmp_path / "Link").symlink_to(run.path("report"), target_is_directory=True)
    with pytest.raises(RunError, match="which a stage replaces; choose a folder outside it"):
        check_no_stage(tmp_path / place)
    check_no_stage(tmp_path / "restored" / "films")


# ------------------------------------------------------------------------------------------ links and disks


def test_a_stage_folder_that_is_a_link_is_told_before_the_work(tmp_path):
    run = Run(tmp_path / "run")
    with run.locked():
        finish(run, "train", mark(1))
        run.path("train").rename(tmp_path / "elsewhere")
        run.path("train").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        assert run.reason_to_run("train", mark(1)) == ""  # what is there can be used
        with pytest.raises(RunError, match="train: is a link or lies on another disk"):
            run.begin("train", mark(2))
        (tmp_path / "elsewhere").rename(tmp_path / "moved")  # a link to nothing
        with pytest.raises(RunError, match="train: is a link or lies on another disk"):
            run.begin("train", mark(2))
    assert (tmp_path / "moved" / "result.txt").read_text() == "done"


def test_a_link_that_an_earlier_version_left_is_removed_and_what_it_leads_to_is_not(tmp_path):
    run = Run(tmp_path / "run")
    with run.locked():
        finish(run, "train", mark(1))
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "film").write_text("mine")
        run.path(".work", "train.old").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        finish(run, "train", mark(2), "new")
        assert run.path("train", "result.txt").read_text() == "new"
    assert (tmp_path / "elsewhere" / "film").read_text() == "mine"
    assert not os.path.lexists(run.path(".work", "train.old"))


def test_a_work_folder_on_another_disk_is_told_before_the_work(tmp_path, monkeypatch):
    run = Run(tmp_path)
    with run.locked():
        real = type(tmp_path).stat

        def stat(path, **options):
            found = real(path, **options)
            return os.stat_result([*found[:2], -1, *found[3:]]) if path.name == ".work" else found

        with monkeypatch.context() as patched:
            patched.setattr(type(tmp_path), "stat", stat)
            with pytest.raises(RunError, match=".work: is a link or lies on another disk"):
                run._check_can_be_replaced("train")
        run._check_can_be_replaced("train")


# ------------------------------------------------------------------------------------------ results that are gone


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda train: (train / "result.txt").unlink(), "train/result.txt is missing"),
        (lambda train: (train / "result.txt").write_text("ruined"), "train/result.txt has 6 bytes and not 4"),
        (lambda train: (train / "seed-0").rename(train / "seed-9"), "train/seed-0/weights is missing"),
        (lambda train: (train / ".contents.json").unlink(), "train/.contents.json is missing or damaged"),
        (lambda train: (train / ".contents.json").write_text("[]"), "train/.contents.json is missing or damaged"),
        (lambda train: (train / "more").write_text("more"), ""),
    ],
    ids=["gone", "other size", "folder gone", "list gone", "list damaged", "added"],
)  # fmt: skip
def test_a_result_that_is_gone_or_ruined_is_made_again(tmp_path, harm, why):
    run = Run(tmp_path)
    with run.locked():
        folder = run.begin("train", mark())
        (folder / "seed-0").mkdir()
        (folder / "seed-0" / "weights").write_text("0")
        finish(run, "train", mark())
        assert run.reason_to_run("train", mark()) == ""
        harm(run.path("train"))
        assert run.reason_to_run("train", mark()) == why


def test_a_piece_that_is_ruined_is_not_adopted(tmp_path):
    run = Run(tmp_path)
    with run.locked():
        folder = run.begin("train", mark(1))
        for seed in ("seed-0", "seed-1"):
            (folder / seed).mkdir()
            (folder / seed / "weights").write_text(seed)
        run.complete("train", mark(1), {})
        run.path("train", "seed-1", "weights").write_text("")
        folder = run.begin("train", mark(2), adopts=("seed-*",))
        assert [path.name for path in folder.glob("seed-*")] == ["seed-0"]


# ------------------------------------------------------------------------------------------ damaged records


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "expected a JSON mapping, got list"), ("null", "expected a JSON mapping, got NoneType"),
        ('"x"', "expected a JSON mapping, got str"), ('{"outputs": []}', "damaged, outputs is list"),
        ('{"parameters": 3}', "damaged, parameters is int"), ('{"inputs": "x"}', "damaged, inputs is str"),
        ('{"fingerprint": {}}', "damaged, fingerprint is dict"), ('{"seconds": "1"}', "damaged, seconds is str"),
    ],
)  # fmt: skip
def test_a_damaged_record_or_key_is_named(tmp_path, text, words):
    run = Run(tmp_path)
    with run.locked():
        finish(run, "train", mark())
        run.path("train", "stage.json").write_text(text)
        with pytest.raises(RunError, match=f"stage.json: {words}"):
            run.record("train")
        key = run.begin("audit", mark()) / ".key.json"
        key.write_text(text)
        if "fingerprint" in text or "seconds" in text or "mapping" in text:
            with pytest.raises(RunError, match=f".key.json: {words}"):
                run.reason_to_run("audit", mark())
