"""Runs that are stopped by a signal in the middle of a stage, and two at once on one folder."""

import os
import signal
import subprocess
import sys
import time

import pytest
from kills_fixture import LONG, complete, family, gone, working_on

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
SENTENCE = "stopped; what is done is kept, and the same command goes on where it was"
SHORT = [("train", "SIGTERM", 143), ("detect", "SIGINT", 130)]
REST = [("train", "SIGINT", 130), ("detect", "SIGTERM", 143)]


@pytest.mark.parametrize(("stage", "number", "status"), SHORT + REST if LONG else SHORT)
def test_a_stopped_run_says_so_and_leaves_no_process(tiny, tmp_path, stage, number, status):
    run = tmp_path / "run"
    child, said = tiny.start(run, *tiny.before(stage, run))
    try:
        assert working_on(stage, child, said)
        time.sleep(min(0.1 * tiny.seconds(stage), 1.0))  # in the middle also where the machine is faster now
        others = family(child)
        child.send_signal(getattr(signal, number))
        assert child.wait(10) == status, said.read_text()
    finally:
        child.kill()
    words = said.read_text()
    assert words.strip().splitlines()[-1] == SENTENCE and "Traceback" not in words
    assert stage not in complete(run) and gone(others)
    assert tiny.different(run) == []


def test_the_second_of_two_runs_at_once_is_turned_away(tiny, tmp_path):
    run = tmp_path / "run"
    only = tiny.before("detect", run)
    first, said = tiny.start(run, *only)
    try:
        assert working_on("detect", first, said)
        first.send_signal(signal.SIGSTOP)  # it must not be done before the second looks
        status, words = tiny.finish(run, *only)
        first.send_signal(signal.SIGCONT)
        assert status == 2 and words == f"xray-debug: {run}: another xray-debug is working in this run folder\n"
        assert first.wait(300) == 0, said.read_text()
    finally:
        first.kill()
    assert complete(run)[-1] == "detect" and tiny.different(run) == []


@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_stop_does_not_wait_for_what_was_imported(tmp_path, number, status):
    """Taking torch and its like apart was nearly all of the time that a stop took."""
    code = f"""
import atexit, os, signal, threading, time
from xray_debug.commands.terminal import run_command
atexit.register(lambda: open({str(tmp_path / "late")!r}, "w"))
threading.Thread(target=time.sleep, args=(600,)).start()
run_command(lambda: os.kill(os.getpid(), signal.{number}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (status, "stopped\n") and not (tmp_path / "late").exists()
