import multiprocessing
import os
import signal
import time

import pytest

from xray_debug.run.folder import Fingerprint, Run, RunError, code_digest, digest, folder_digest, read_json, write_json


def mark(**parameters) -> Fingerprint:
    return Fingerprint({"prepare": "a"}, parameters, "code")


def test_a_stage_is_absent_until_its_block_ends_and_complete_after(tmp_path):
    run = Run(tmp_path)
    with run.stage("clean", mark(radius=10), 0, "cpu") as folder:
        (folder / "x").write_text("1")
        assert run.record("clean") is None
        with pytest.raises(RunError, match="report needs stage clean"):
            run.require("clean", "report")
    found = run.require("clean", "report")
    assert found["parameters"] == {"radius": 10} and found["seed"] == 0 and found["device"] == "cpu"
    assert found["seconds"] >= 0 and found["peak_memory_mb"] > 1 and "python" in found["versions"]
    assert run.reason_to_run("clean", mark(radius=10)) == ""


def test_a_change_is_named_and_throws_the_old_work_away(tmp_path):
    run = Run(tmp_path)
    with run.stage("clean", mark(radius=10, deep={"a": 1}), 0, "cpu") as folder:
        (folder / "old").write_text("1")
    assert run.reason_to_run("clean", mark(radius=3, deep={"a": 1})) == "option radius changed"
    assert run.reason_to_run("clean", mark(radius=10, deep={"a": 2})) == "option deep.a changed"
    other = Fingerprint({"prepare": "b"}, {"radius": 10, "deep": {"a": 1}}, "newer")
    assert run.reason_to_run("clean", other) == "input prepare, code changed"
    with run.stage("clean", other, 0, "cpu") as folder:
        assert not (folder / "old").exists()


def test_an_interrupted_stage_keeps_its_work_for_the_same_fingerprint_only(tmp_path):
    run = Run(tmp_path)
    with pytest.raises(KeyboardInterrupt), run.stage("explain", mark(a=1), 0, "cpu") as folder:
        (folder / "half").write_text("1")
        raise KeyboardInterrupt
    assert "goes on" in run.reason_to_run("explain", mark(a=1))
    assert run.reason_to_run("explain", mark(a=2)) == "not yet run"
    with run.stage("explain", mark(a=1), 0, "cpu") as folder:
        assert (folder / "half").exists()
    with run.stage("explain", mark(a=1), 0, "cpu", fresh=True) as folder:
        assert not (folder / "half").exists()


def _hold(folder, ready):
    run = Run(folder)
    with run.locked(), run.stage("train", mark(a=1), 0, "cpu") as stage:
        (stage / "half").write_text("1")
        ready.set()
        time.sleep(60)


def test_a_killed_process_leaves_no_lock_and_its_work_goes_on(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    child = context.Process(target=_hold, args=(tmp_path, ready))
    child.start()
    assert ready.wait(60)
    with pytest.raises(RunError, match="another xray-debug is working"), Run(tmp_path).locked():
        pass
    os.kill(child.pid, signal.SIGKILL)
    child.join(30)
    run = Run(tmp_path)
    with run.locked():
        assert "goes on" in run.reason_to_run("train", mark(a=1))


def test_digests_follow_content_and_not_order(tmp_path):
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 1})
    (tmp_path / "x").write_text("1")
    before = folder_digest(tmp_path)
    assert folder_digest(tmp_path) == before
    (tmp_path / "x").write_text("12")
    assert folder_digest(tmp_path) != before
    assert code_digest(["run"]) != code_digest(["data"])


def test_json_is_strict_and_unreadable_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not (tmp_path / "a.json").exists()
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(RunError, match="b.json"):
        read_json(tmp_path / "b.json")
