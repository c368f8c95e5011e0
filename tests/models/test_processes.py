"""Trainings in processes of their own: they give what one process gives, and they do not outlive the one that asks."""

import subprocess
import sys

import numpy as np
import pytest
from training_fixture import job, same_history

from xray_debug.config import TrainConfig
from xray_debug.data.files import write_json
from xray_debug.models import fit, load_checkpoint, processes
from xray_debug.models.fit import TrainingError, fit_all, threads_of
from xray_debug.models.job import How, read_begun, write_begun
from xray_debug.models.predict import probabilities
from xray_debug.models.processes import launcher, train_apart


def begun(folder, seed=0):
    one = job(folder, seed)
    write_begun(one.folder, one.key, How("32-true", 1), one)
    return one.folder


def test_side_by_side_gives_the_bytes_of_one_after_the_other(tmp_path):
    seen, results = [], {}
    for name, workers in (("beside", 2), ("after", 1)):
        (tmp_path / name).mkdir()
        jobs = [job(tmp_path / name, seed) for seed in (0, 1)]
        with threads_of(1):
            results[name] = fit_all(jobs, workers, lambda *a: seen.append(a))
    assert seen[0] == (1, 6) and seen[-1] == (6, 6) and seen == sorted(seen[:7]) + sorted(seen[7:])
    for seed in (0, 1):
        for file in ("model.safetensors", "model.json"):
            beside, after = ((tmp_path / name / f"seed-{seed}" / file).read_bytes() for name in ("beside", "after"))
            assert beside == after
        same_history(results["beside"][seed].history, results["after"][seed].history)


@pytest.mark.parametrize("state", ["finished", "begun", "neither"])
def test_a_training_keeps_the_threads_that_others_of_its_run_had(tmp_path, monkeypatch, state):
    """Seed 0 was finished, or begun, with one thread; then the same is asked for with two: it ends as in peace."""
    first, second = (job(tmp_path, seed) for seed in (0, 1))
    if state == "begun":
        write_begun(first.folder, first.key, How("32-true", 1), first)
    if state == "finished":
        first.folder.mkdir()
        extra = {"key": first.key, "best_epoch": 1, "precision": "32-true", "threads": 1}
        write_json(first.folder / "model.json", {"extra": extra})
        (first.folder / "model.safetensors").write_bytes(b"weights")
        (first.folder / "history.csv").write_text("epoch,seconds\n1,2.0\n")
    monkeypatch.setattr(fit, "_train", lambda *arguments: None)
    said, threads = [], 2 if state == "neither" else 1
    with threads_of(2):
        fit_all([first, second], 1, say=said.append, precision="32-true")
    assert read_begun(second.folder, second.key) == How("32-true", threads)
    sentence = "training goes on with 1 CPU threads, as it was begun, and not with 2"
    assert (sentence in said) == (state != "neither")


def test_two_processes_train_the_model_of_one(tmp_path):
    """Without batch statistics, dropout and augmentation two halves of every batch have the gradient of the whole."""
    calm = {name: 0.0 for name in ("rotate", "translate", "scale", "brightness", "contrast")}
    results, found = [], []
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        folder.mkdir()
        one = job(folder, 6, epochs=2, devices=devices, model="squeezenet1_1", learning_rate=1e-4, augment=calm,
                  model_options={"dropout": 0.0}, average=0.5)  # fmt: skip
        results += fit_all([one], workers=1)
        found.append(probabilities(load_checkpoint(one.folder), one.images[:]))
        assert sorted(p.name for p in one.folder.iterdir()) == ["history.csv", "model.json", "model.safetensors"]
    for column in ("train_loss", "val_loss", "val_f1"):
        np.testing.assert_allclose(results[1].history[column], results[0].history[column], rtol=1e-3)
    np.testing.assert_allclose(found[1], found[0], atol=1e-3)
    assert np.abs(found[0] - 0.5).max() > 0.003  # it learned: the agreement says something


@pytest.fixture
def started(monkeypatch):
    """The processes that were started."""
    children = []

    class Watched(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            children.append(self)

    monkeypatch.setattr(processes.subprocess, "Popen", Watched)
    return children


def stand_in(code):
    """A command in the place of the training's."""
    return [sys.executable, "-c", "import json, os, sys, time\n" + code]


def test_a_process_that_dies_without_a_word_is_an_error(tmp_path):
    folder = begun(tmp_path)
    with pytest.raises(TrainingError, match="a training process ended with status 3: out of luck"):
        train_apart([{0: folder}], None, stand_in("print('x'); sys.stderr.write('a\\nout of luck\\n'); sys.exit(3)"))


def test_the_sentence_of_a_failing_process_is_the_error(tmp_path):
    folder = begun(tmp_path)
    np.save(tmp_path / "images.npy", np.zeros((3, 32, 32), np.uint8))  # fewer than the job names
    with pytest.raises(TrainingError, match="out of bounds"):
        train_apart([{0: folder}], None)


def test_one_that_fails_ends_the_others(tmp_path, started):
    code = "sys.argv[-1].endswith('0') or time.sleep(600); print(json.dumps({'error': 'no luck'})); sys.exit(1)"
    with pytest.raises(TrainingError, match="^no luck$"):
        train_apart([{0: begun(tmp_path, 0)}, {1: begun(tmp_path, 1)}], None, stand_in(code))
    assert len(started) == 2 and all(child.poll() is not None for child in started)


def test_an_interruption_ends_the_processes(tmp_path, started):
    code = "print(json.dumps({'job': 0, 'epochs': 1}), flush=True); time.sleep(600)"

    def interrupt(number, epochs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_apart([{0: begun(tmp_path, 0)}, {1: begun(tmp_path, 1)}], interrupt, stand_in(code))
    assert len(started) == 2 and all(child.poll() is not None for child in started)


def test_words_of_libraries_are_not_messages(tmp_path):
    code = "print('Downloading...'); print(json.dumps({'job': 0, 'epochs': 7}))"
    seen = []
    train_apart([{5: begun(tmp_path)}], lambda *a: seen.append(a), stand_in(code))
    assert seen == [(5, 7)]


def test_a_process_ends_with_its_input():
    code = "from xray_debug.models.processes import _end_with_the_input as end; print('ready', flush=True); end()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n" and process.poll() is None
        process.stdin.close()
        assert process.wait(20) == 1


def test_several_nodes_are_started_with_srun(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert launcher(TrainConfig()) == []
    with pytest.raises(TrainingError, match="train.nodes: 2 nodes need a SLURM allocation"):
        launcher(TrainConfig(nodes=2))
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setattr(processes.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert launcher(TrainConfig(nodes=2, devices=4))[:3] == ["srun", "--nodes=2", "--ntasks-per-node=4"]
