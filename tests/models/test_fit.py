"""Training: what it learns, what it leaves behind, what it finds again, and that an interruption leaves no trace."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from training_fixture import (
    Stop,
    job,
    same_history,
    same_weights,
    settings,
    tiny,
    toy,
    train,
    train_apart_here,
)  # fmt: skip

from xray_debug.models import fit as fitting
from xray_debug.models import load_checkpoint, loop, processes
from xray_debug.models.fit import TrainingError, fit, fit_all, seed_everything, slots_for
from xray_debug.models.predict import probabilities


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder, seen = tmp_path_factory.mktemp("trained"), []
    model, result = train(folder, progress=lambda *a: seen.append(a))
    return folder, model, result, seen


@pytest.fixture
def always_saving(monkeypatch):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0)


# what fit gives


def test_it_learns_what_can_be_learned(tmp_path):
    model, result = train(tmp_path, settings(epochs=12, learning_rate=0.01, average=0.5))
    assert result.history["val_f1"].max() == 1.0
    images, labels = toy(20, seed=9)
    assert (probabilities(model, images).argmax(1) == labels).mean() >= 0.9


def test_the_folder_holds_the_model_and_its_history(trained):
    folder, model, result, seen = trained
    assert sorted(p.name for p in folder.iterdir()) == ["history.csv", "model.json", "model.safetensors"]
    columns = ["epoch", "train_loss", "val_loss", "val_accuracy", "val_f1", "learning_rate", "precision", "seconds",
               "best"]  # fmt: skip
    assert list(result.history) == columns and list(result.history["epoch"]) == [1, 2, 3]
    assert seen[:3] == [(1, 3), (2, 3), (3, 3)] and not model.training
    saved = load_checkpoint(folder)
    assert np.array_equal(probabilities(saved, toy()[0]), probabilities(model, toy()[0]))
    assert saved.extra["best_epoch"] == result.best_epoch and saved.extra["seed"] == 0
    assert saved.extra["threads"] == torch.get_num_threads() and saved.extra["precision"] == "32-true"
    best = result.history.sort_values(["val_f1", "val_loss"], ascending=[False, True], kind="stable").iloc[0]
    assert best["epoch"] == result.best_epoch


def test_val_columns_are_those_of_the_kept_weights(trained):
    _, model, result, _ = trained
    images, labels = toy(12, 1)
    found = probabilities(model, images)
    row = result.history.set_index("epoch").loc[result.best_epoch]
    assert row["val_accuracy"] == pytest.approx((found.argmax(1) == labels).mean())
    expected = -np.log(found[np.arange(12), labels]).mean()  # balanced classes: all weights 1
    assert row["val_loss"] == pytest.approx(expected, rel=1e-4)


def test_the_same_seed_gives_the_same_bytes(trained, tmp_path):
    folder, model, result, _ = trained
    torch.manual_seed(123)  # the global state must not matter
    _, second = train(tmp_path / "again")
    for name in ("model.safetensors", "model.json"):  # no times in them
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    same_history(result.history, second.history)
    other, _ = train(tmp_path / "other", seed=1)
    assert not torch.equal(other.net.fc.weight, model.net.fc.weight)


def test_global_states_and_silence_are_kept(tmp_path, capfd, recwarn):
    torch.manual_seed(5)
    before, deterministic = torch.get_rng_state(), torch.are_deterministic_algorithms_enabled()
    threads = torch.get_num_threads()
    train(tmp_path, settings(epochs=1))
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads
    assert torch.are_deterministic_algorithms_enabled() == deterministic
    assert capfd.readouterr() == ("", "") and not [w for w in recwarn if "ightning" in str(w.message)]


# interruption


@pytest.mark.parametrize("after", [1, 3])
def test_an_interruption_leaves_no_trace(trained, tmp_path, after, always_saving):
    folder, _, result, _ = trained

    def stop(done, total):
        if done == after:
            raise Stop

    with pytest.raises(Stop):
        train(tmp_path, progress=stop)
    assert (tmp_path / "last.ckpt").exists() and not (tmp_path / "model.json").exists()
    seen = []
    _, second = train(tmp_path, model=tiny(seed=77), progress=lambda *a: seen.append(a))
    assert [done for done, _ in seen][:-1] == list(range(after + 1, 4))
    same_weights(load_checkpoint(folder), load_checkpoint(tmp_path), rtol=1e-5, atol=1e-6)
    same_history(result.history, second.history)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["history.csv", "model.json", "model.safetensors"]


def test_what_a_resumption_needs_is_saved_now_and_then(trained, tmp_path, monkeypatch):
    saves, now, trainer = [], [0.0], loop.lightning.Trainer
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(loop, "SAVE_SECONDS", 30)
    keep = trainer.save_checkpoint

    def save(self, path):
        saves.append(self.current_epoch + 1)
        keep(self, path)

    monkeypatch.setattr(trainer, "save_checkpoint", save)

    def later(done, total):
        now[0] += 20  # 20 s an epoch: saved when 40, then 80 are over

    train(tmp_path, settings(epochs=6), progress=later)
    assert saves == [3, 5]


def test_kill_minus_nine_and_again(tmp_path):
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); import training_fixture as t\n"
        "from xray_debug.models import loop; loop.SAVE_SECONDS = 0\n"
        "t.train(sys.argv[2], t.settings(epochs=8), progress=lambda done, total: time.sleep(0.2))"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parents[1]), str(tmp_path / "killed")]
    process = subprocess.Popen(command)
    while not (tmp_path / "killed" / "last.ckpt").exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = len(pd.read_csv(tmp_path / "killed" / "history.csv"))
    assert 1 <= done < 8
    config, seen = settings(epochs=8), []
    resumed, result = train(tmp_path / "killed", config, tiny(seed=3), lambda *a: seen.append(a))
    assert seen[0][0] > 1 and len(result.history) == 8
    whole, expected = train(tmp_path / "whole", config)
    same_history(result.history, expected.history)
    same_weights(resumed, whole, rtol=1e-4, atol=1e-5)


def test_a_finished_folder_is_loaded_and_not_trained(trained, monkeypatch):
    folder, model, result, _ = trained
    monkeypatch.setattr(loop, "run", lambda *a: pytest.fail("trained again"))
    again, second = train(folder, model=tiny(seed=8))
    same_weights(model, again)
    same_history(result.history, second.history)
    assert second.best_epoch == result.best_epoch


def test_other_settings_or_a_damaged_checkpoint_train_anew(tmp_path, always_saving):
    def stop(done, total):
        raise Stop

    for damage in (False, True):
        with pytest.raises(Stop):
            train(tmp_path, settings(epochs=2), progress=stop)
        if damage:
            (tmp_path / "last.ckpt").write_bytes(b"PK\x03\x04 cut short")
        config = settings(epochs=2) if damage else settings(epochs=2, learning_rate=5e-4)
        seen = []
        train(tmp_path, config, progress=lambda *a, seen=seen: seen.append(a))
        assert seen[0] == (1, 2)


def test_a_resumed_training_keeps_its_precision(tmp_path, monkeypatch, always_saving):
    config = settings(epochs=2, precision="auto")
    choices = iter([("bf16-mixed", "precision bf16-mixed: so be it"), ("32-true", "another")])
    monkeypatch.setattr(fitting, "chosen_precision", lambda *a: next(choices))
    said = []

    def stop(done, total):
        raise Stop

    with pytest.raises(Stop):
        fit(tiny(), *toy(), *toy(12, 1), config, tmp_path, 0, stop, said.append)
    result = fit(tiny(), *toy(), *toy(12, 1), config, tmp_path, 0, None, said.append)
    assert result.precision == "bf16-mixed" and list(result.history["precision"]) == ["bf16-mixed"] * 2
    assert said == ["precision bf16-mixed: so be it"]


# what fit refuses


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((4, 32, 16), np.uint8), [0, 1, 0, 1], r"training images: expected shape \(N, S, S\)"),
        (np.zeros((4, 32, 32), np.uint8), [0, 1, 0], "training labels: expected 4"),
        (np.zeros((4, 32, 32), np.uint8), [0, 1, 0, 2], "class indices 0 to 1"),
        (np.zeros((4, 32, 32), np.uint8), [0.0, 1.0, 0.0, 1.0], "class indices 0 to 1"),
        (np.zeros((0, 32, 32), np.uint8), [], "at least one"),
        (np.zeros((4, 32, 32), np.uint8), [0, 0, 0, 0], "got none of pneumonia"),
    ],
)
def test_images_and_labels_must_fit(tmp_path, images, labels, message):
    with pytest.raises(ValueError, match=message):
        fit(tiny(), images, np.array(labels), *toy(4), settings(), tmp_path, 0)


def test_fit_is_for_one_device(tmp_path):
    for several in ({"devices": 2}, {"nodes": 2}):
        with pytest.raises(ValueError, match="fit trains on one device"):
            train(tmp_path, settings(**several))


# several trainings


@pytest.fixture
def trained_folders(monkeypatch):
    """Names of the folders that are really trained, in order; here, without a process for each."""
    seen = []

    def train_apart(shares, *args):
        seen.extend(folder.name for share in shares for folder in share.values())
        train_apart_here(shares, *args)

    monkeypatch.setattr(processes, "train_apart", train_apart)
    return seen


def test_an_added_seed_leaves_the_finished_ones(tmp_path, trained_folders, monkeypatch):
    (first,) = fit_all([job(tmp_path, 0, epochs=2)], workers=1)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "seed-0").iterdir()}
    monkeypatch.setattr(fitting, "chosen_precision", lambda *a: pytest.fail("seeds are to be alike"))
    seen, said = [], []
    jobs = [job(tmp_path, seed, epochs=2, precision="auto" if seed > 1 else "32-true") for seed in (0, 1)]
    found = fit_all(jobs, 1, lambda *a: seen.append(a), said.append)
    assert trained_folders == ["seed-0", "seed-1"] and {p: p.stat().st_mtime_ns for p in before} == before
    same_history(found[0].history, first.history)
    assert seen == [(3, 4), (4, 4), (4, 4)] and said == ["1 of 2 trainings were finished before"]
    assert not np.array_equal(found[1].history["train_loss"], first.history["train_loss"])


def test_a_later_seed_takes_the_precision_of_the_first(tmp_path, monkeypatch, trained_folders):
    monkeypatch.setattr(fitting, "chosen_precision", lambda *a: ("bf16-mixed", "measured"))
    said = []
    fit_all([job(tmp_path, 0, epochs=1, precision="auto")], 1, say=said.append)
    monkeypatch.setattr(fitting, "chosen_precision", lambda *a: pytest.fail("measured again"))
    found = fit_all([job(tmp_path, seed, epochs=1, precision="auto") for seed in (0, 1)], 1)
    assert said == ["measured"] and [r.precision for r in found] == ["bf16-mixed"] * 2
    (other,) = fit_all([job(tmp_path, 5, epochs=1, precision="auto")], 1, precision="32-true")
    assert other.precision == "32-true"


@pytest.mark.parametrize(
    ("jobs", "threads", "slots"), [(1, 2, 1), (2, 1, 1), (2, 2, 2), (3, 2, 2), (6, 2, 2), (3, 16, 3), (40, 4, 4)]
)
def test_side_by_side_is_for_as_many_as_fill_the_cores(jobs, threads, slots):
    assert slots_for(jobs, threads) == slots


def test_fit_all_trains_what_fit_trains(tmp_path, trained):
    (found,) = fit_all([job(tmp_path)], workers=1)
    same_history(found.history, trained[2].history)
    same_weights(load_checkpoint(tmp_path / "seed-0"), trained[1])


def test_another_code_is_another_training(tmp_path, trained_folders):
    plain = job(tmp_path, epochs=1)
    changed = fitting.FitJob(**{**{k: v for k, v in vars(plain).items() if k not in ("key", "data")}, "code": "new"})
    for one in (plain, plain, changed):
        fit_all([one], 1)
    assert trained_folders == ["seed-0", "seed-0"]


def test_a_loss_that_is_not_finite_ends_with_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(loop.F, "cross_entropy", lambda logits, *a, **k: logits.sum() * float("nan"))
    with pytest.raises(TrainingError, match=r"train_loss became nan in epoch 1; a learning_rate below 0.001"):
        train(tmp_path)
    assert not (tmp_path / "last.ckpt").exists()


def test_seed_everything_seeds_all_three():
    def draw():
        import random

        return random.random(), np.random.rand(), torch.rand(1).item()

    seed_everything(4)
    first = draw()
    seed_everything(4)
    assert draw() == first
