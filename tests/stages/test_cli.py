"""The command line as a user meets it: what it says when something is wrong, and a whole run on a tiny phantom."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from cli_fixture import call

from xray_debug.stages.registry import STAGES

TINY = """
name: tiny
phantom: {train: 60, test: 18, size: 128}
train: {view: {size: 64}, model: shufflenet_v2_x0_5, precision: 32-true, epochs: 1, batch_size: 16}
explain: {mask_size: 8, max_cases: 12, select: all, sanity_cases: 2}
detect: {second: null}
audit: {max_cases: 12, controls: 1, swaps: 1, permutations: 50}
retrain: {leave_sources_out: true}
report: {bootstrap: 100, max_flagged: 2}
"""


STOPS = [  # the stage in which a run is stopped once it has done a part of it, how, and the exit status
    ("explain", signal.SIGKILL, -signal.SIGKILL), ("detect", signal.SIGINT, 130), ("clean", signal.SIGTERM, 143),
]  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """A run stopped in the middle of three stages, and finished by the same command; says.json: what each said."""
    folder = tmp_path_factory.mktemp("tiny")
    pipeline = folder / "tiny.yaml"
    pipeline.write_text(TINY)
    command = [sys.executable, "-c", "from xray_debug.cli import main; main()", "run", str(pipeline)]
    said = []
    for stage, number, _ in STOPS:
        child = subprocess.Popen([*command, "--out", str(folder / "run")], stderr=subprocess.PIPE, text=True,
                                 stdout=subprocess.DEVNULL, env=os.environ | {"COLUMNS": "200"})  # fmt: skip
        deadline = time.time() + 300
        parts = folder / "run" / ".work"
        while child.poll() is None and time.time() < deadline and not any(
            file for name in (stage, f"{stage}.scratch") for file in parts.glob(f"{name}/*/part-*.parquet")
        ):
            time.sleep(0.01)
        child.send_signal(number)
        words = child.communicate(timeout=30)[1]
        done = [name for name in STAGES if (folder / "run" / name / "stage.json").exists()]
        said.append((child.returncode, words, done))
    result = call("run", pipeline, "--out", folder / "run", check=0)
    (folder / "says.json").write_text(json.dumps([*said, (0, result.stderr, list(STAGES))]))
    return folder


def test_a_stopped_run_says_so_and_goes_on_where_it_was(tiny):
    said = json.loads((tiny / "says.json").read_text())
    names = list(STAGES)
    for (stage, number, status), (found, words, done), following in zip(STOPS, said, said[1:], strict=False):
        assert found == status, words
        if number != signal.SIGKILL:
            sentence = "stopped; what is done is kept, and the same command goes on where it was"
            assert words.strip().splitlines()[-1] == sentence and "Traceback" not in words
        assert done == names[: names.index(stage)]  # complete or absent
        assert f"{stage}: interrupted, goes on where it stopped" in following[1]
        assert all(f"{name}: up to date" in following[1] for name in done)


def test_a_killed_run_ends_with_a_report(tiny):
    report = json.loads((tiny / "run" / "report" / "report.json").read_text())
    cells = {(row["trained_on"], row["tested_on"], row["test_set"]) for row in report["table4"]}
    for test_set in ("test", "reversed"):
        for trained_on in ("original", "cleaned", "control"):
            assert {(trained_on, tested_on, test_set) for tested_on in ("original", "cleaned")} <= cells
    for row in report["table4"]:
        for name in ("accuracy", "f1", "precision", "recall"):
            assert 0 <= row[f"{name}_low"] <= row[name] <= row[f"{name}_high"] <= 1
    assert [row["stage"] for row in report["timings"]] == list(STAGES)[:-1]
    left_out = report["left_out_sources"]
    assert left_out and {row["trained_on"] for row in left_out} == {"original", "cleaned"}
    for row in left_out:
        assert row["without"] - row["with"] == pytest.approx(row["accuracy"])
    cases = pd.read_parquet(tiny / "run" / "audit" / "cases.parquet")
    assert cases["patient_id"].notna().all()
    assert (tiny / "run" / "report" / "report.html").stat().st_size > 10_000


def test_a_finished_run_is_skipped_and_says_why_it_would_run_again(tiny):
    again = call("run", tiny / "tiny.yaml", "--out", tiny / "run", "--dry-run", check=0).stdout
    assert again.count("skip: up to date") == 8
    changed = call("run", tiny / "tiny.yaml", "--out", tiny / "run", "--dry-run", "--set", "clean.radius=5", check=0)
    lines = {line.split()[0]: line for line in changed.stdout.splitlines()}
    assert "option clean.radius changed" in lines["clean"] and "run" in lines["retrain"]
    assert "skip" in lines["train"] and "skip" in lines["detect"]


def test_status_lists_every_stage(tiny):
    shown = call("status", "--run", tiny / "run", check=0).stdout
    assert shown.count("up to date") == 8


def test_the_cleaned_dataset_loads_again(tiny):
    checked = call("check", tiny / "run" / "clean" / "dataset")
    assert "problem" not in checked.stderr and checked.returncode in (0, 1)
    before = pd.read_parquet(tiny / "run" / "prepare" / "manifest.parquet")
    labels = (tiny / "run" / "clean" / "dataset" / "train_COVIDx.txt").read_text().splitlines()
    assert len(labels) == (before["split"] != "test").sum()


def test_a_cleaned_dataset_is_held_against_its_originals(tiny):
    originals, cleaned = tiny / "run" / "prepare" / "phantom", tiny / "run" / "clean" / "dataset"
    for against in (tiny / "run", cleaned):
        assert call("check", originals, "--against", against, check=0).stdout.strip().endswith("96 images, 0 faults")
    changed = pd.read_parquet(tiny / "run" / "clean" / "changes.parquet").iloc[0]
    file = cleaned / ("test" if changed["split"] == "test" else "train") / changed["file"]
    kept = file.read_bytes()
    try:
        file.write_bytes(kept + b"x")
        said = call("check", originals, "--against", tiny / "run", check=1).stdout
    finally:
        file.write_bytes(kept)
    assert f"{changed['image_id']}: " in said and "is not what was written" in said


def test_originals_come_back_and_replace_nothing(tiny):
    image = next((tiny / "run" / "prepare" / "phantom" / "test").glob("*.png"))
    call("restore", "--run", tiny / "run", image.name, "--out", tiny / "back", check=0)
    assert (tiny / "back" / image.name).read_bytes() == image.read_bytes()
    again = call("restore", "--run", tiny / "run", image.name, "--out", tiny / "back", check=2)
    assert "is there already" in again.stderr


def test_the_lineage_of_every_stage_is_told(tiny):
    said = call("status", "--run", tiny / "run", "--lineage", check=0).stdout
    for kind in ("inputs", "parameters", "code", "seed", "versions", "device", "threads", "outputs"):
        assert said.count(f"\n  {kind}: ") == 8


def test_the_report_of_an_earlier_state_is_not_offered(tiny):
    said = call("audit", "--run", tiny / "run", "--set", "audit.controls=2", check=0).stdout
    try:
        assert "the report is of an earlier state: " in said and "report.html" not in said
        said = " ".join(said.split())  # however the terminal breaks lines
        assert f"xray-debug status --run {tiny / 'run'} says how" in said
        assert f"xray-debug report --run {tiny / 'run'} makes it anew" in said
    finally:
        call("audit", "--run", tiny / "run", "--set", "audit.controls=1", check=0)


def test_a_run_is_its_users_alone(tiny):
    modes = {path: path.stat().st_mode & 0o077 for path in (tiny / "run").rglob("*")}
    assert os.name == "nt" or not any(modes.values())


def test_the_log_has_times_and_levels(tiny):
    lines = (tiny / "run" / "log.txt").read_text().splitlines()
    assert all(line[:4].isdecimal() and line.split()[1] in ("INFO", "ERROR") for line in lines if line[:2] == "20")
    assert any("INFO    train: not yet run" in line for line in lines)


def test_explain_image_writes_one_picture(tiny):
    image = next((tiny / "run" / "prepare" / "phantom" / "test").glob("*.png"))
    picture = tiny / "one.png"
    said = call("explain-image", image, "--model", tiny / "run" / "train", "--mask-size", 8, "--out", picture, check=0)
    assert picture.read_bytes().startswith(b"\x89PNG") and "insertion" in said.stdout
    model = tiny / "run" / "train"
    films = sorted((tiny / "run" / "prepare" / "phantom" / "test").glob("*.png"))[:2]
    ways = ["--method", "gradient", "--method", "igos_pp", "--preset", "quick"]
    settings = ["--model", model, *ways, "--mask-size", 8, "--out", picture]  # over its own picture
    both = call("explain-image", *films, *settings, check=0)
    lines = both.stdout.strip().splitlines()
    assert [film.name in line for film, line in zip(films * 2, lines, strict=True)] == [True] * 4
    assert "gradient:" in lines[0] and "igos_pp quick:" in lines[-1]
    refused = call("explain-image", *films, "--model", model, "--method", "gradient", "--preset", "quick")
    assert refused.returncode == 2 and "gradient does not take preset" in refused.stderr


@pytest.mark.parametrize("name", ["a" * 251 + ".png", "胸" * 83 + "ab.png"], ids=["latin", "Chinese"])
def test_explain_image_finds_a_name_for_the_picture_of_any_film(tiny, tmp_path, name):
    film = next((tiny / "run" / "prepare" / "phantom" / "test").glob("*.png"))
    (tmp_path / name).write_bytes(film.read_bytes())
    call("explain-image", tmp_path / name, "--model", tiny / "run" / "train", "--mask-size", 8, check=0)
    (picture,) = [path for path in tmp_path.iterdir() if path.name != name]
    assert picture.name.endswith(".explained.png") and picture.name.startswith(name[:50])
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml: no such pipeline file"),
        (["run", "nowhere"], "nowhere: no such pipeline file, and none of that name comes along: covidx"),
        (["run", "covidx-mini"], "no dataset: give --data DIR"),
        (["run", "tiny.yaml", "--from", "wash"], "--from wash: expected one of prepare"),
        (["run", "tiny.yaml", "--set", "clean.radios=1"], "unknown option clean.radios"),
        (["run", "tiny.yaml", "--data", "nowhere", "--out", "x"], "nowhere: expected a dataset, a folder or a table"),
        (["status", "--run", "nowhere"], "nowhere: expected a run folder"),
        (["report", "--run", "nowhere"], "nowhere: expected a run folder"),
        (["review", "--run", "nowhere"], "nothing to review"),
        (["check", "nowhere"], "nowhere: expected a dataset, a folder or a table, found nothing"),
        (["explain-image", "nowhere.png", "--model", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_get_one_sentence_and_status_2(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    result = call(*arguments)
    assert result.returncode == 2
    assert words in result.stderr and "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_the_version_is_the_same_everywhere():
    from xray_debug import __version__

    said = call("--version", check=0).stdout.strip()
    citation = (Path(__file__).parents[2] / "CITATION.cff").read_text()
    assert said == f"xray-debug {__version__}" and f"version: {__version__}\n" in citation
