"""Programs that the app starts: followed through their files, stopped, found again by another process."""

import json
import subprocess
import sys
import time

import psutil
import pytest

from xray_debug.review import jobs
from xray_debug.review.jobs import Job, JobError

SAYS = """
import json, sys, time, signal
def line(**values): print(json.dumps(values), flush=True)
def stop(*_):
    line(say="stopped; what is done is kept"); line(exit=143); sys.exit(143)
if {deaf}: signal.signal(signal.SIGTERM, signal.SIG_IGN)
else: signal.signal(signal.SIGTERM, stop)
line(say="begun"); line(doing="write the cleaned images", done=3, total=12)
print("no JSON", flush=True)
{rest}
"""
WAITS = "open('ready', 'w').close()\ntime.sleep(60)"


@pytest.fixture
def program(monkeypatch, tmp_path):
    """Makes of a few lines what a job starts; gives the job, and a way to wait until the lines are reached."""
    started = []

    def make(rest: str, deaf: bool = False) -> Job:
        code = SAYS.format(rest=rest, deaf=deaf)
        monkeypatch.setattr(jobs, "PROGRAM", (sys.executable, "-c", code))
        started.append(Job(tmp_path / "job"))
        return started[-1]

    yield make
    for job in started:
        job.stop(patience=0.1)


def until(true, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_job_is_followed_to_its_end(program, tmp_path):
    job = program('line(doing="read them again", done=1, total=4)\nline(exit=0)')
    assert job.state() == jobs.State(False)
    assert job.start(["clean", "--run", "r"])
    until(lambda: not job.running())
    state = job.state()
    assert (state.ended, state.error, state.succeeded, state.stopped) == (0, "", True, False)
    assert (state.doing, state.done, state.total, state.share) == ("read them again", 1, 4, 0.25)
    assert state.said == ("begun",)
    assert job.known["command"] == ["xray-debug", "clean", "--run", "r"]
    took = state.seconds
    time.sleep(0.05)
    assert job.state().seconds == took  # it does not go on counting


def test_it_runs_once_and_another_process_sees_it_and_stops_it(program, tmp_path):
    job = program(WAITS)
    assert job.start([], where=tmp_path)
    until((tmp_path / "ready").exists)
    assert not Job(job.folder).start([]) and Job(job.folder).state().running
    pid = job.known["pid"]
    code = f"from xray_debug.review.jobs import Job; job = Job({str(job.folder)!r}); s = job.state(); " \
           "print(s.running, s.done, s.total); job.stop(); print(job.state().stopped)"  # fmt: skip
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.split() == ["True", "3", "12", "True"]
    state = job.state()
    assert (state.running, state.stopped, state.error) == (False, True, "") and state.said[-1].startswith("stopped")
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_one_that_does_not_hear_is_ended_with_what_it_started(program, tmp_path):
    child = "import subprocess\nc = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n" \
            "open('child', 'w').write(str(c.pid))\n"  # fmt: skip
    job = program(child + WAITS, deaf=True)
    job.start([], where=tmp_path)
    until((tmp_path / "ready").exists)
    number = int((tmp_path / "child").read_text())
    job.stop(patience=0.3)
    assert not job.running() and job.state().stopped and job.state().error == ""
    until(lambda: not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize(("rest", "words", "ended"), [
    ('line(error="DIR: another xray-debug is working in this run folder")\nline(exit=2)', "another xray-debug is", 2),
    ("raise SystemExit('killed by a library')", "killed by a library", -9),
    ("import os\nos._exit(7)", "ended from outside", -9),
])  # fmt: skip
def test_why_it_failed_is_one_sentence(program, rest, words, ended):
    job = program(rest)
    job.start([])
    until(lambda: not job.running())
    state = job.state()
    assert words in state.error and "\n" not in state.error and state.ended == ended and not state.succeeded


def test_a_number_that_another_process_has_by_now_is_left_alone(program, tmp_path):
    job = program(WAITS)
    job.start([], where=tmp_path)
    until((tmp_path / "ready").exists)
    other = Job(tmp_path / "other")
    other.folder.mkdir()
    (other.folder / jobs.JOB).write_text(json.dumps(job.known | {"born": job.known["born"] - 60}))
    assert not other.running()
    other.stop(patience=0.1)
    assert job.running()


@pytest.mark.parametrize("content", [b"", b"[1]", b"{\"pid\": \"x\"}", b"\xff", b"{"])
def test_a_damaged_note_is_as_none(tmp_path, content):
    (tmp_path / jobs.JOB).write_bytes(content)
    assert Job(tmp_path).state() == jobs.State(False)


def test_only_the_end_of_much_is_read(program):
    job = program('for n in range(20000): line(doing="clean", done=n, total=20000)\nline(exit=0)')
    job.start([])
    until(lambda: not job.running())
    assert (job.folder / jobs.LINES).stat().st_size > 10 * jobs.TAIL
    assert len(job._lines()) < 3000 and job.state().done == 19999 and len(job.lines()) > 20000


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match="cannot be started"):
        Job(tmp_path / "file" / "job").start([])


def test_what_the_program_itself_says(tmp_path):
    job = Job(tmp_path / "job")
    job.start(["status", "--run", str(tmp_path / "none")])
    until(lambda: not job.running())
    state = job.state()
    assert state.ended == 2 and state.error.startswith(f"{tmp_path / 'none'}: expected a run folder")
