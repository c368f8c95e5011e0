"""What the command line refuses before it touches anything, how it ends, and what it says."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cli_fixture import call
from covidx_fixture import make_dataset

from xray_debug.cli import where_the_report_is
from xray_debug.config import ConfigError, parse_config
from xray_debug.data.images import write_image
from xray_debug.run.store import Store
from xray_debug.saliency.plots import EXPLAINED, empty_figure, save_figure
from xray_debug.stages.registry import STAGES, check_options

ROOT = str(Path(__file__).parents[2])
PROGRAM = [sys.executable, "-m", "xray_debug"]


def call_program(*arguments: object) -> subprocess.CompletedProcess:
    """In a process of its own, whose stdout has all that anything writes to it."""
    environment = os.environ | {"COLUMNS": "200", "PYTHONWARNINGS": "ignore", "PYTHONPATH": ROOT}
    return subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, env=environment,
                          timeout=120)  # fmt: skip


def contents(folder: Path) -> dict:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def finished(tmp_path) -> Path:
    """A run folder whose stages are complete, by their records at least."""
    run = tmp_path / "run"
    for stage in STAGES:
        (run / stage).mkdir(parents=True)
        (run / stage / "stage.json").write_text(json.dumps({"made_by": "xray-debug", "stage": stage}))
    (run / "pipeline.yaml").write_text("phantom: {train: 60, test: 18, size: 128}\n")
    return run


@pytest.mark.parametrize(
    ("stage", "option", "words"),
    [
        ("train", "train.model=resnet1800", "got 'resnet1800'"), ("explain", "explain.method=igospp", "'igospp'"),
        ("explain", "explain.options.lambda=3", "igos_pp does not take lambda"),
        ("explain", "explain.select=predicted", "expected predicted:CLASS"),
        ("detect", "detect.detector=crafty", "unknown detector 'crafty'"),
        ("detect", "detect.options.scale=3", "craft-lite does not take scale"),
        ("detect", "detect.weights=nowhere.pth", "no such file"),
        ("audit", "audit.regions=nowhere", "no such folder of masks"), ("audit", "device=cudaa", "got 'cudaa'"),
        ("train", "train.precision=64", "train.precision"), ("train", "train.accelerator=gpuu", "train.accelerator"),
        ("clean", "detect.second=craft-lite", "expected another detector"),
        ("clean", "detect.second=crafty", "detect.second: unknown detector 'crafty'"),
    ],
)  # fmt: skip
def test_a_wrong_name_touches_nothing(finished, stage, option, words):
    before = contents(finished)
    done = call(stage, "--run", finished, "--set", option)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
    assert contents(finished) == before


def test_every_wrong_name_is_told(tmp_path):
    (tmp_path / "p.yaml").write_text("phantom: {}\ndevice: cudaa\ntrain: {model: resnet1800}\nexplain: {method: x}\n")
    done = call("run", tmp_path / "p.yaml", "--out", tmp_path / "run")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 3
    assert all(word in done.stderr for word in ("cudaa", "resnet1800", "'x'")) and not (tmp_path / "run").exists()


@pytest.mark.parametrize("select", ["predicted:covid", "label:positive", "predicted:COVID-19 "])
@pytest.mark.parametrize("place", ["phantom", "data"])
def test_a_class_that_the_labels_lack_is_told_with_those_they_have(tmp_path, place, select):
    given = {"data": str(make_dataset(tmp_path / "data"))} if place == "data" else {"phantom": {}}
    with pytest.raises(ConfigError) as error:
        check_options(parse_config(given | {"device": "cudaa", "explain": {"select": select}}))
    first, second = str(error.value).splitlines()
    assert "got 'cudaa'" in first
    assert second == ("explain.select: expected one of the classes ['normal', 'pneumonia', 'COVID-19'], got "
                      f"{select.partition(':')[2]!r}")  # fmt: skip


def test_a_class_that_the_labels_lack_is_told_before_anything_is_made(tmp_path):
    make_dataset(tmp_path / "data")
    (tmp_path / "p.yaml").write_text("explain: {select: 'predicted:positive'}\n")
    done = call("run", tmp_path / "p.yaml", "--data", tmp_path / "data", "--out", tmp_path / "run")
    assert done.returncode == 2 and "explain.select: expected one of the classes" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("select", ["wrong", "all", "label:pneumonia"])
def test_a_choice_of_cases_that_there_can_be_is_not_refused(tmp_path, select):
    make_dataset(tmp_path / "data")
    check_options(parse_config({"data": str(tmp_path / "data"), "explain": {"select": select}}))
    (tmp_path / "empty").mkdir()  # its labels cannot be read: prepare will say so
    check_options(parse_config({"data": str(tmp_path / "empty"), "explain": {"select": select}}))


@pytest.mark.parametrize("place", ["data", "data/run", ".", "data/train", "link"])
def test_a_run_on_its_data_touches_nothing(tmp_path, place):
    for split in ("train", "test"):
        (tmp_path / "data" / split).mkdir(parents=True)
        (tmp_path / "data" / split / "film.png").write_bytes(b"film")
    (tmp_path / "link").symlink_to(tmp_path / "data", target_is_directory=True)
    (tmp_path / "p.yaml").write_text("train: {epochs: 1}\n")
    before = contents(tmp_path)
    done = call("run", tmp_path / "p.yaml", "--data", tmp_path / "data", "--out", tmp_path / place)
    assert done.returncode == 2 and ("dataset" in done.stderr or "not made by xray-debug" in done.stderr)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("target", ["film.png", "other.png", "link.png", "hard.png"])
def test_explain_image_replaces_no_file_that_it_did_not_make(tmp_path, target):
    write_image(tmp_path / "film.png", np.zeros((64, 64), np.uint8))
    write_image(tmp_path / "other.png", np.ones((64, 64), np.uint8))
    (tmp_path / "link.png").symlink_to(tmp_path / "film.png")
    os.link(tmp_path / "film.png", tmp_path / "hard.png")
    before = contents(tmp_path)
    done = call("explain-image", tmp_path / "film.png", "--model", tmp_path, "--out", tmp_path / target)
    assert done.returncode == 2 and "is there already and was not made by explain-image" in done.stderr
    assert contents(tmp_path) == before


def test_explain_image_replaces_none_of_its_films(tmp_path):
    """Not even one that is a picture of explain-image itself."""
    for name in ("first.png", "second.png"):
        save_figure(empty_figure(1, 1), tmp_path / name, creator=EXPLAINED)
    before = contents(tmp_path)
    films = [tmp_path / "first.png", tmp_path / "second.png"]
    done = call("explain-image", *films, "--model", tmp_path, "--out", tmp_path / "second.png")
    assert done.returncode == 2 and "choose another name" in done.stderr
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", "train", "--only", "clean"], "--from train with --only clean: expected one of the two"),
        (["--part", "1/2"], "--part 1/2: expected one stage"), (["--merge"], "--merge: expected one stage"),
        (["--only", "detect", "--part", "1/2", "--merge"], "--part with --merge: expected one of the two"),
        (["--set", "name=../../evil"], "name: expected one plain folder name"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together(tmp_path, arguments, words):
    (tmp_path / "p.yaml").write_text("phantom: {}\n")
    done = call("run", "p.yaml", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("wait", [0.05, 0.2, 0.4, 0.8])
def test_a_stop_at_any_early_instant_is_one_sentence(tmp_path, number, status, wait):
    (tmp_path / "p.yaml").write_text("phantom: {train: 600, test: 60}\n")
    code = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n" \
           "from xray_debug.__main__ import main\nprint(flush=True)\nmain()"  # fmt: skip
    arguments = ["run", str(tmp_path / "p.yaml"), "--out", str(tmp_path / "r")]
    child = subprocess.Popen([sys.executable, "-c", code, *arguments],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    child.stdout.readline()  # main is about to be called: only Python itself was loaded before
    time.sleep(wait)
    child.send_signal(number)
    words = child.communicate(timeout=60)[1]
    assert child.returncode == status, words
    assert "Traceback" not in words and words.strip().splitlines()[-1].startswith("stopped")


def test_markup_and_escapes_in_names_are_shown(tmp_path):
    name = "[/x]\x1b[31m\u202e.yaml"
    done = call("run", tmp_path / name)
    assert done.returncode == 2 and r"[/x]\x1b[31m\u202e.yaml: no such pipeline file" in done.stderr
    assert "\x1b" not in done.stderr and "\u202e" not in done.stderr


def test_a_librarys_warning_is_one_sentence(tmp_path):
    code = "import warnings\nfrom xray_debug import cli\nfrom xray_debug.commands.terminal import run_command\n" \
           "def command():\n    warnings.warn('a \x1b[31m value\\n  is odd', UserWarning)\n    return 0\n" \
           "run_command(command)"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": ROOT, "PYTHONWARNINGS": "default"})  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "warning: a \\x1b[31m value is odd\n"


@pytest.mark.parametrize("size", [1, 0, -3, 4097, 100000])
def test_a_mask_that_no_memory_holds_is_refused(tmp_path, size):
    write_image(tmp_path / "film.png", np.zeros((64, 64), np.uint8))
    done = call("explain-image", tmp_path / "film.png", "--model", tmp_path, "--mask-size", size)
    assert done.returncode == 2 and "--mask-size" in done.stderr
    assert ("4096" if size > 28 else "2") in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain-image", "a.png", "--model", ".", "--mask-size", "x"], "--mask-size"),
        (["review", "--run", "r", "--port", "x"], "--port"), (["run"], "PIPELINE"), (["status"], "--run"),
        (["run", "demo", "--bogus"], "--bogus"), (["bogus"], "bogus"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_status_2_and_names_the_option(arguments, words):
    done = call(*arguments)
    assert done.returncode == 2 and words.casefold() in done.stderr.casefold() and "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["restore", "explain-image"])
def test_nothing_is_written_into_a_folder_that_a_stage_replaces(finished, tmp_path, command):
    write_image(tmp_path / "film.png", np.zeros((64, 64), np.uint8))
    before = contents(finished)
    arguments = {"restore": ["restore", "a.png", "--run", finished, "--out", finished / "report" / "back"],
                 "explain-image": ["explain-image", tmp_path / "film.png", "--model", tmp_path, "--out",
                                   finished / "report" / "a.png"]}[command]  # fmt: skip
    done = call(*arguments)
    assert done.returncode == 2 and "which a stage replaces; choose a folder outside it" in done.stderr
    assert contents(finished) == before


def test_names_are_no_emoji(tmp_path):
    for name in ("a:100:b.yaml", "a:warning:.yaml"):
        done = call("run", name, cwd=tmp_path)
        assert done.returncode == 2 and f"{name}: no such pipeline file" in done.stderr
        assert f"{name}: expected a" in call("check", name, cwd=tmp_path).stderr


def test_for_programs_everything_is_a_line_of_json(tmp_path):
    """--json-lines, before or after the command: sentences, an error, the exit status; nothing else on stdout."""
    (tmp_path / "films").mkdir()
    write_image(tmp_path / "films" / "a.png", np.zeros((64, 64), np.uint8))
    done = call_program("--json-lines", "detect", tmp_path / "films", "--out", tmp_path / "boxes.csv")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and not done.stderr
    assert lines[-1] == {"exit": 0}
    assert {"doing": "detect text", "done": 1, "total": 1} in lines
    assert [line["say"] for line in lines if "say" in line] == [
        f"{tmp_path / 'boxes.csv'}: 0 text boxes in 0 of 1 images"]  # fmt: skip
    failed = call_program("status", "--run", tmp_path / "none", "--json-lines")
    error, end = [json.loads(line) for line in failed.stdout.splitlines()]
    assert failed.returncode == end["exit"] == 2 and "expected a run folder" in error["error"] and not failed.stderr


def test_a_report_of_what_there_is_says_where_it_is(tmp_path):
    """Made before all stages are, it is no report of an earlier state, and its place is told."""
    store = Store(tmp_path / "run")
    page, pipeline = store.path("page"), store.pipeline_file
    assert where_the_report_is(store, [], True) == f"report: {page}"
    assert where_the_report_is(store, ["clean", "report"], True) == (
        f"report: {page}; it says what is there, of clean nothing or what is not up to date (xray-debug status --run "
        f"{store.folder} says why); xray-debug run {pipeline} --out {store.folder} makes all anew")
    assert where_the_report_is(store, ["clean", "report"], False).startswith(
        "the report is of an earlier state: clean, report changed")
    alone = where_the_report_is(store, ["report"], False)
    assert alone.endswith(f"xray-debug report --run {store.folder} makes it anew")
