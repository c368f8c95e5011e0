"""The pages beside that of the cases: the way in, the end, one image explained, a map that is missing."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import streamlit
from review_fixture import NASTY, write_run
from streamlit.testing.v1 import AppTest

from xray_debug.data.files import write_json, write_text
from xray_debug.data.images import encoded
from xray_debug.review import jobs
from xray_debug.review.decisions import ReviewDB
from xray_debug.review.explanations import MOST, MOST_RUNNING, PREFIX
from xray_debug.review.jobs import Job
from xray_debug.run.further import write_further_map
from xray_debug.run.parts import part_file
from xray_debug.run.store import Store

ROOT = Path(__file__).parents[2]
FILM = encoded(Path("film.png"), np.arange(2400, dtype=np.uint8).reshape(40, 60))


@pytest.fixture
def app(monkeypatch, tmp_path):
    """Opens a page of the app, in a folder of its own, with the stand-in for xray-debug."""
    (tmp_path / "here").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(jobs, "PROGRAM", (sys.executable, "-m", "ways_fixture"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    monkeypatch.setenv("WAYS_CALLS", str(tmp_path / "calls"))
    streamlit.cache_resource.clear()

    def open_(view: str, *arguments: object, **address: str) -> AppTest:
        monkeypatch.setattr("sys.argv", ["app.py", *map(str, arguments)])
        page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
        for name, value in {"view": view, **address}.items():
            page.query_params[name] = value
        page.run()
        assert not page.exception
        return page

    yield open_
    for file in tmp_path.rglob(jobs.JOB):
        Job(file.parent).stop(patience=1)
    streamlit.cache_resource.clear()


@pytest.fixture
def run(tmp_path) -> Store:
    store = write_run(tmp_path / "run")
    write_text(store.pipeline_file, "phantom: {}\n")
    return store


def texts(page: AppTest) -> str:
    return "\n".join(element.value for element in [*page.text, *page.info, *page.error, *page.warning, *page.success])


def codes(page: AppTest) -> list[str]:
    return [element.value for element in page.code]


def button(page: AppTest, label: str):
    return next(b for b in page.button if b.label == label)


def calls(tmp_path: Path) -> list[list[str]]:
    file = tmp_path / "calls"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def until(true, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_no_page_needs_torch(run, tmp_path):
    code = f"""
import os, sys
from streamlit.testing.v1 import AppTest
from xray_debug.review import jobs
jobs.PROGRAM = (sys.executable, "-m", "ways_fixture")
sys.argv = ["app.py", "--run", {str(run.folder)!r}]
for view in ("cases", "start", "summary", "explain"):
    app = AppTest.from_file({str(ROOT / "app.py")!r}, default_timeout=60)
    app.query_params["view"] = view
    app.run()
    assert not app.exception, app.exception
print(sorted({{"torch", "lightning", "matplotlib"}} & set(sys.modules)))
"""
    paths = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests"))), "WAYS_CALLS": str(tmp_path / "calls")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | paths)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "[]"


# ------------------------------------------------------------------------------------------------------ the way in


def test_without_a_run_the_demo_is_offered_runs_and_is_opened(app, tmp_path):
    page = app("cases")  # every page that needs a run says so
    assert "xray-debug demo" in codes(page)
    button(page, "Start the demo").click().run()
    job = Job(Store(Path("runs/demo")).job_folder("work"))
    until(lambda: job.state().done == 3)
    page = app("start")  # as after a reload
    assert button(page, "Start the demo").disabled and calls(tmp_path) == [["demo"]]
    assert "write the cleaned images: 3 of 12" in texts(page) and "3 <b>images</b> so far" in texts(page)
    (tmp_path / "go").touch()
    until(lambda: not job.running())
    for stage in ("prepare", "train", "explain", "detect", "audit", "clean", "retrain", "report"):
        (Path("runs/demo") / stage).mkdir()
        write_json(Path("runs/demo") / stage / "stage.json", {"finished": "2026-01-01T00:00:00+0000"})
    write_text(Path("runs/demo/pipeline.yaml"), "phantom: {}\n")
    page.run()
    button(page, "Open the demo").click().run()
    assert page.query_params["run"] == "demo" and "runs/demo" in texts(page)


def test_the_demo_is_stopped_and_goes_on(app, tmp_path):
    page = app("start")
    button(page, "Start the demo").click().run()
    job = Job(Store(Path("runs/demo")).job_folder("work"))
    until(lambda: job.state().done == 3)
    page = app("start")
    button(page, "Stop").click().run()
    assert not job.running() and "The demo was stopped after" in texts(app("start"))
    assert not button(app("start"), "Start the demo").disabled


def test_what_is_the_users_own_is_not_made_a_run(app, tmp_path):
    Path("runs/demo").mkdir(parents=True)
    Path("runs/demo/mine.txt").write_text("mine")
    page = app("start")
    assert "xray-debug demo --out runs/demo-2" in codes(page) and "Start the demo" not in [b.label for b in page.button]
    assert [path.name for path in Path("runs/demo").iterdir()] == ["mine.txt"]


def test_runs_here_are_listed_and_opened_but_no_others(app, tmp_path):
    store = write_run(Path("runs") / "mine")
    write_text(store.pipeline_file, "phantom: {}\n")
    write_text(write_run(tmp_path / "elsewhere").pipeline_file, "phantom: {}\n")
    (Path("runs") / "no run").mkdir()
    page = app("start")
    assert "mine: 4 of 8 stages complete" in texts(page) and "no run:" not in texts(page)
    button(page, "Open").click().run()
    assert page.query_params["run"] == "mine" and "runs/mine" in texts(page)
    for name in ("../../elsewhere", str(tmp_path / "elsewhere"), "..", "no run", "mine/../mine"):
        assert "No run is open" in "".join(m.value for m in app("start", run=name).markdown)
    fixed = app("start", "--run", tmp_path / "elsewhere", run="mine")  # the command's goes before the address
    assert str(tmp_path / "elsewhere") in texts(fixed) and "Open" not in [b.label for b in fixed.button]
    assert f"xray-debug review --run {Path('runs/mine')}" in codes(fixed)


def test_an_incomplete_run_says_what_is_missing_and_goes_on(app, run, tmp_path):
    page = app("start", "--run", run.folder)
    table = page.dataframe[0].value.set_index("stage")["state"].to_dict()
    assert table["prepare"] == "complete" and table["train"] == "not yet run"
    command = f"xray-debug run {run.pipeline_file} --out {run.folder}"
    assert "train (not yet run)" in texts(page) and command in codes(page)
    button(page, "Go on with this run").click().run()
    until(lambda: calls(tmp_path))
    assert calls(tmp_path) == [["run", str(run.pipeline_file), "--out", str(run.folder)]]


def test_a_complete_run_offers_its_report_and_says_which_decisions_are_newer(app, run):
    for stage in ("prepare", "train", "explain", "detect", "audit", "clean", "retrain", "report"):
        store_folder = run.stage_folder(stage)
        store_folder.mkdir(exist_ok=True)
        write_json(store_folder / "stage.json", {"finished": "2026-01-01T00:00:00+0000"})
    run.write_json("decided", {"images": {}})
    write_text(run.path("page"), "<h1>report</h1>")
    page = app("start", "--run", run.folder)
    assert "Every stage is complete.\n" in texts(page) + "\n"
    assert [b.label for b in page.download_button] == ["The report (HTML)"]
    ReviewDB(run.review_file).decide("a.png", "reject", None, "ada")
    said = texts(app("start", "--run", run.folder))
    assert "not with the newest decisions" in said and "The cleaned dataset is behind: of 1 images" in said


def test_a_run_that_cannot_be_shown_says_why(app, tmp_path):
    (tmp_path / "folder").mkdir()
    page = app("cases", "--run", tmp_path / "folder")
    assert "This is no run folder." in texts(page) and "xray-debug demo" in codes(page)
    write_text(tmp_path / "folder" / "pipeline.yaml", "phantom: {}\n")
    (tmp_path / "folder" / ".work" / "prepare").mkdir(parents=True)
    page = app("cases", "--run", tmp_path / "folder")
    assert "stage prepare has not finished" in texts(page)
    assert page.dataframe[0].value["state"].tolist()[:2] == ["begun", "not yet run"]


# ---------------------------------------------------------------------------------------------------------- the end


def test_the_end_counts_compares_and_names_what_is_next(app, run):
    review = ReviewDB(run.review_file)
    review.decide("a.png", "approve", None, "ada")
    review.decide(NASTY, "reject", None, "ada")
    review.decide("a.png", "approve", None, "bob")
    review.decide(NASTY, "exclude", None, "bob")
    page = app("summary", "--run", run.folder)
    assert [(m.label, m.value) for m in page.metric] == [
        ("Flagged cases", "2 of 3"), ("Other images with boxes", "0 of 1"), ("Reviewers disagree on", "1")]  # fmt: skip
    assert page.dataframe[0].value.to_numpy().tolist() == [
        ["what counts", 1, 0, 0, 1, 2], ["ada", 1, 1, 0, 0, 2], ["bob", 1, 0, 0, 1, 2]]  # fmt: skip
    row = page.dataframe[1].value.iloc[0]
    assert row["reviewers"] == "ada and bob" and row["images both decided"] == 2
    assert row["Cohen's kappa"] == "0.33"  # (1/2 - 1/4) / (1 - 1/4)
    assert "1 flagged case is not decided" in texts(page) and "disagree on 1 image;" in texts(page)
    assert f"xray-debug clean --run {run.folder}" in codes(page) and "Stage clean is not yet run." in texts(page)
    assert NASTY in texts(page)


def test_the_dataset_is_made_anew_with_progress_and_an_error_is_one_sentence(app, run, tmp_path, monkeypatch):
    page = app("summary", "--run", run.folder)
    button(page, "Make it").click().run()
    job = Job(run.job_folder("work"))
    until(lambda: job.state().done == 3)
    assert calls(tmp_path) == [["clean", "--run", str(run.folder)]]
    page = app("summary", "--run", run.folder)
    assert "write the cleaned images: 3 of 12" in texts(page) and button(page, "Make it").disabled
    (tmp_path / "go").touch()
    until(lambda: not job.running())
    assert "12 images" in texts(page.run())
    monkeypatch.setenv("WAYS_FAILS", "DIR: another xray-debug is working in this run folder")
    button(page, "Make it").click().run()
    until(lambda: not job.running())
    page.run()
    assert "failed." in texts(page) and "another xray-debug is working" in texts(page)


# ------------------------------------------------------------------------------------------------------- one image


def explain(page: AppTest, name: str, content: bytes) -> AppTest:
    page.file_uploader[0].set_value((name, content, "image/png")).run()
    button(page, "Explain").click().run()
    folder = max(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"), key=lambda path: path.stat().st_mtime_ns)
    until(lambda: not Job(folder / "job").running())
    return page.run()


def test_one_image_is_explained_by_a_program_of_its_own(app, tmp_path):
    write_json(tmp_path / "model.json", {"classes": ["normal", "pneumonia"]})
    page = app("explain")
    assert button(page, "Explain").disabled and "Drop a radiograph first." in texts(page)
    page.text_input(key="model-folder").set_value(str(tmp_path)).run()
    assert page.selectbox(key="target").options == ["what the model predicts", "normal", "pneumonia"]
    page.selectbox(key="target").set_value("pneumonia")
    page.selectbox(key="preset-igos_pp").set_value("quick")
    name = "<b>my</b> film.png".replace("/", "∕")
    explain(page, name, FILM)
    assert not page.exception
    (call,) = [call for call in calls(tmp_path) if call[0] == "explain-image"]
    assert call[1:5] == ["--model", str(tmp_path), "--method", "igos_pp"] and call[9:] == [
        "--preset", "quick", "--target", "pneumonia", "--", call[-1]]  # fmt: skip
    assert "--trust" not in call and Path(call[-1]).parent.parent == tmp_path / "temporary"
    assert name in texts(page) and "The model says: normal 0.000, pneumonia 1.000. Explained: pneumonia." in texts(page)
    assert "Area under deletion 0.500" in texts(page)
    labels = [b.label for b in page.download_button]
    assert labels == ["Overlay", "Picture with curves", "Map (NumPy)", "Curves (CSV)"]
    again = app("explain", explanation=page.query_params["explanation"])  # a reload, or another session with its link
    assert "Explained: pneumonia." in texts(again)
    button(again, "Remove this explanation").click().run()
    assert not list((tmp_path / "temporary").iterdir()) and "explanation" not in again.query_params
    assert "This explanation is gone" in texts(page.run())


def test_a_wrong_file_gets_one_sentence_by_its_own_name(app, tmp_path):
    page = app("explain")
    page.text_input(key="model-folder").set_value("runs/demo/train").run()
    page.file_uploader[0].set_value(("../../no film.txt", b"MZ\x90\x00", "image/png")).run()
    button(page, "Explain").click().run()
    assert "no film.txt: not an image that can be read" in texts(page)
    assert not list((tmp_path / "temporary").iterdir())  # its head says so: no program was started
    explain(page, "../../half film.png", FILM[:-30])  # its head is right
    assert "It cannot be explained." in texts(page)
    assert "half film.png: damaged or truncated" in texts(page) and "temporary" not in texts(page)
    assert {path.parent for path in tmp_path.rglob("film_*")} == {next((tmp_path / "temporary").iterdir())}
    page.file_uploader[0].set_value(("empty.png", b"", "image/png")).run()
    button(page, "Explain").click().run()
    assert "empty.png: empty file, expected a radiograph" in texts(page)


def test_of_a_run_its_own_model_is_offered(app, run, tmp_path):
    (run.folder / "train").mkdir()
    write_json(run.folder / "train" / "stage.json", {})
    write_json(run.folder / "train" / "model.json", {"classes": ["a", "b"]})
    page = app("explain", "--run", run.folder)
    assert page.radio(key="model-of").value == "The model of this run"
    explain(page, "x.png", FILM)
    assert [call[1:3] for call in calls(tmp_path) if call[0] == "explain-image"] == [["--run", str(run.folder)]]


def test_folders_are_bounded_and_go_with_the_app(app, tmp_path, monkeypatch):
    from xray_debug.data.explanation import ExplanationError
    from xray_debug.review import explanations
    from xray_debug.review.explanations import Explanations, Wish

    known, wish = Explanations(), Wish("film.png", "model")
    keys = []
    for _ in range(MOST + 3):
        keys.append(known.begin(wish, FILM))
        until(lambda: not known.get(keys[-1]).job.running())
    assert len(list((tmp_path / "temporary").iterdir())) == MOST
    assert known.get(keys[0]) is None and known.get(keys[-1]).result.facts["target"] == "pneumonia"
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "temporary").iterdir())
    monkeypatch.setattr(Job, "running", lambda job: True)
    with pytest.raises(ExplanationError, match="explanations are being made; try again"):
        known.begin(wish, FILM)
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(explanations, "LARGEST_UPLOAD", 1)
    with pytest.raises(ExplanationError, match="film.png: 2 MB, expected 1 at most"):
        known.begin(wish, bytes(2 * 10**6))
    known.clear()
    assert not list((tmp_path / "temporary").iterdir()) and MOST_RUNNING < MOST


def test_one_that_cannot_be_begun_leaves_no_film_behind(app, tmp_path, monkeypatch):
    from xray_debug.data.explanation import ExplanationError
    from xray_debug.review.explanations import Explanations, Wish

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    known = Explanations()
    monkeypatch.setattr("xray_debug.review.jobs.subprocess.Popen", full)
    with pytest.raises(jobs.JobError):
        known.begin(Wish("film.png", "model"), FILM)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ExplanationError, match="film.png: cannot be kept: No space left"):
        known.begin(Wish("film.png", "model"), FILM)
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="temporary files are each user's own there")
def test_what_another_user_left_is_not_believed(app, tmp_path, monkeypatch):
    """Its note could name any process of ours as the one to be ended."""
    from xray_debug.review.explanations import OWNER, remove_left_behind

    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        folder = tmp_path / "temporary" / f"{PREFIX}theirs"
        (folder / "job").mkdir(parents=True)
        write_json(folder / OWNER, {"pid": 2**22 + 1, "born": 1.0})
        write_json(folder / "job" / jobs.JOB,
                   {"pid": victim.pid, "born": jobs.psutil.Process(victim.pid).create_time()})
        own = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: own + 1)
        remove_left_behind()
        assert folder.is_dir() and victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_what_a_killed_app_left_is_removed_and_what_another_uses_stays(app, tmp_path):
    from xray_debug.review.explanations import OWNER, remove_left_behind

    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name, owner in (("dead", {"pid": dead.pid, "born": 1.0}), ("nobody's", None),
                        ("mine", {"pid": jobs.psutil.Process().pid, "born": jobs.psutil.Process().create_time()})):
        folder = tmp_path / "temporary" / f"{PREFIX}{name}"
        folder.mkdir()
        if owner:
            write_json(folder / OWNER, owner)
    remove_left_behind()
    assert sorted(path.name for path in (tmp_path / "temporary").iterdir()) == [f"{PREFIX}mine", f"{PREFIX}nobody's"]


# --------------------------------------------------------------------------------------------- the map of one case


def test_a_missing_map_is_offered_and_a_damaged_one_is_called_damaged(app, run, tmp_path):
    (run.folder / "train").mkdir()
    write_json(run.folder / "train" / "stage.json", {})
    write_json(run.folder / "train" / "model.json", {})
    page = app("cases", "--run", run.folder, case=NASTY)
    assert "no saliency map" in texts(page)
    button(page, "Compute the map").click().run()
    until(lambda: len(calls(tmp_path)) == 1)
    assert calls(tmp_path) == [["explain-case", "--run", str(run.folder), "--", NASTY]]
    (tmp_path / "go").touch()
    write_further_map(run, {"image_id": NASTY, "saliency": np.eye(7, dtype=np.float32)})
    assert "Compute the map" not in [b.label for b in app("cases", "--run", run.folder, case=NASTY).button]
    part_file(run.path("maps"), 0).write_bytes(b"no table")
    streamlit.cache_resource.clear()
    damaged = app("cases", "--run", run.folder, case="a.png")
    assert "damaged" in texts(damaged) and button(damaged, "Compute the map")
