"""Training: what it learns, what it leaves behind, and that an interruption leaves no trace."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from xray_debug.config import TrainConfig
from xray_debug.data.images import ModelView
from xray_debug.models import build_model, load_checkpoint
from xray_debug.models import loop as training_loop
from xray_debug.models.fit import TrainingError, fit, predict, seed_everything
from xray_debug.models.loop import Batches, Task

SIZE = 32


def toy(n=24, seed=0, classes=2):
    """Noise with a bright block whose place is the class: uint8 (n, SIZE, SIZE), labels (n,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    images = rng.integers(0, 100, (n, SIZE, SIZE), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[4:14, 2 + 10 * label : 10 + 10 * label] = 220
    return images, labels


def tiny(seed=0, classes=2):
    names = ["normal", "pneumonia", "COVID-19"][:classes]
    return build_model("covidnet", names, ModelView(SIZE), seed=seed, width=4, depth=0.2)


def settings(**changes):
    return TrainConfig(**({"epochs": 3, "batch_size": 8, "view": {"size": SIZE}, "accelerator": "cpu"} | changes))


def train(folder, config=None, model=None, progress=None, seed=0):
    model = model or tiny()
    return model, fit(model, *toy(), *toy(12, 1), config or settings(), folder, seed, progress)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder, seen = tmp_path_factory.mktemp("trained"), []
    model, result = train(folder, progress=lambda *a: seen.append(a))
    return folder, model, result, seen


def same_weights(a, b, **tolerance):
    for (key, x), y in zip(a.net.state_dict().items(), b.net.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y, msg=lambda text, key=key: f"{key}: {text}", **tolerance)


def same_history(a, b):
    pd.testing.assert_frame_equal(a.drop(columns="seconds"), b.drop(columns="seconds"), rtol=1e-5, atol=1e-6)


# what fit gives


def test_it_learns_what_can_be_learned(tmp_path):
    model, result = train(tmp_path, settings(epochs=12, learning_rate=0.01, average=0.5))
    assert result.history["val_f1"].max() == 1.0
    images, labels = toy(20, seed=9)
    assert (predict(model, images).argmax(1) == labels).mean() >= 0.9


def test_the_folder_holds_the_model_and_its_history(trained):
    folder, model, result, seen = trained
    assert sorted(p.name for p in folder.iterdir()) == ["history.csv", "model.json", "model.safetensors"]
    columns = ["epoch", "train_loss", "val_loss", "val_accuracy", "val_f1", "learning_rate", "seconds", "best"]
    assert list(result.history) == columns and list(result.history["epoch"]) == [1, 2, 3]
    assert seen[:3] == [(1, 3), (2, 3), (3, 3)] and not model.training
    saved = load_checkpoint(folder)
    assert np.array_equal(predict(saved, toy()[0]), predict(model, toy()[0]))
    assert saved.extra["best_epoch"] == result.best_epoch and saved.extra["seed"] == 0
    best = result.history.sort_values(["val_f1", "val_loss"], ascending=[False, True], kind="stable").iloc[0]
    assert best["epoch"] == result.best_epoch


def test_val_columns_are_those_of_the_kept_weights(trained):
    _, model, result, _ = trained
    images, labels = toy(12, 1)
    probabilities = predict(model, images)
    row = result.history.set_index("epoch").loc[result.best_epoch]
    assert row["val_accuracy"] == pytest.approx((probabilities.argmax(1) == labels).mean())
    expected = -np.log(probabilities[np.arange(12), labels]).mean()  # balanced classes: all weights 1
    assert row["val_loss"] == pytest.approx(expected, rel=1e-4)


def test_the_same_seed_gives_the_same_model(trained, tmp_path):
    _, model, result, _ = trained
    torch.manual_seed(123)  # the global state must not matter
    again, second = train(tmp_path / "again")
    same_weights(model, again)
    same_history(result.history, second.history)
    other, _ = train(tmp_path / "other", seed=1)
    assert not torch.equal(other.net.fc.weight, model.net.fc.weight)


def test_global_states_and_silence_are_kept(tmp_path, capfd, recwarn):
    torch.manual_seed(5)
    before, deterministic = torch.get_rng_state(), torch.are_deterministic_algorithms_enabled()
    train(tmp_path, settings(epochs=1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.are_deterministic_algorithms_enabled() == deterministic
    assert capfd.readouterr() == ("", "") and not [w for w in recwarn if "ightning" in str(w.message)]


# interruption


class Stop(Exception):
    pass


@pytest.mark.parametrize("after", [1, 2, 3])
def test_an_interruption_leaves_no_trace(trained, tmp_path, after):
    _, model, result, _ = trained

    def stop(done, total):
        if done == after:
            raise Stop

    with pytest.raises(Stop):
        train(tmp_path, progress=stop)
    assert (tmp_path / "last.ckpt").exists() and not (tmp_path / "model.json").exists()
    seen = []
    resumed, second = train(tmp_path, model=tiny(seed=77), progress=lambda *a: seen.append(a))
    assert [done for done, _ in seen][:-1] == list(range(after + 1, 4))
    same_weights(model, resumed, rtol=1e-5, atol=1e-6)
    same_history(result.history, second.history)
    assert not (tmp_path / "last.ckpt").exists()


@pytest.mark.slow
def test_kill_minus_nine_and_again(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_training as t; "
        "t.train(sys.argv[2], t.settings(epochs=40, stop_after=40))"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "killed")]
    process = subprocess.Popen(command)
    while not (tmp_path / "killed" / "last.ckpt").exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -9
    done = len(pd.read_csv(tmp_path / "killed" / "history.csv"))
    assert 1 <= done < 40
    config, seen = settings(epochs=40, stop_after=40), []
    resumed, result = train(tmp_path / "killed", config, tiny(seed=3), lambda *a: seen.append(a))
    assert seen[0][0] > 1 and len(result.history) == 40
    whole, expected = train(tmp_path / "whole", config)
    same_history(result.history, expected.history)
    same_weights(resumed, whole, rtol=1e-4, atol=1e-5)


def test_a_finished_folder_is_loaded_and_not_trained(trained, monkeypatch):
    folder, model, result, _ = trained
    monkeypatch.setattr(training_loop, "run", lambda *a: pytest.fail("trained again"))
    again, second = train(folder, model=tiny(seed=8))
    same_weights(model, again)
    same_history(result.history, second.history)
    assert second.best_epoch == result.best_epoch


def test_other_settings_or_a_damaged_checkpoint_train_anew(tmp_path):
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


# the loop's rules


def test_it_stops_early_and_halves_the_rate(tmp_path, monkeypatch):
    monkeypatch.setattr(training_loop, "f1_score", lambda *a, **k: 0.5)  # never better
    monkeypatch.setattr(training_loop.F, "cross_entropy", flat_loss)
    _, result = train(tmp_path, settings(epochs=20, patience=2, stop_after=5))
    assert len(result.history) == 6 and result.best_epoch == 1
    # epoch 1 is a best; every two epochs without a better one halve the rate from the next epoch on
    assert result.history["learning_rate"].tolist() == [1e-3, 1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4]


def flat_loss(logits, labels, weight=None):
    return logits.sum() * 0 + 1


def test_a_loss_that_is_not_finite_ends_with_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(training_loop.F, "cross_entropy", lambda logits, *a, **k: logits.sum() * float("nan"))
    with pytest.raises(TrainingError, match=r"train_loss became nan in epoch 1; a learning_rate below 0.001"):
        train(tmp_path)
    assert not (tmp_path / "last.ckpt").exists()


def test_loss_weights_make_classes_count_alike(tmp_path):
    images, labels = toy(12)
    labels = np.array([0] * 9 + [1] * 3)
    for balance, expected in (("loss", [12 / 18, 12 / 6]), ("none", [1, 1]), ("sampler", [1, 1])):
        config = settings(balance=balance)
        task = Task(training_loop.Job(tiny(), images, labels, images, labels, config, tmp_path, 0), None)
        assert task.weight.tolist() == pytest.approx(expected)


def test_the_average_of_the_weights_is_the_recursion(tmp_path):
    task = Task(training_loop.Job(tiny(), *toy(), *toy(), settings(average=0.9), tmp_path, 0), None)
    expected = {key: value.clone() for key, value in task.averaged.state_dict().items()}
    for step in range(4):
        with torch.no_grad():
            for parameter in task.model.parameters():
                parameter.add_(0.1 * (step + 1))
        task.__dict__["_trainer"], keep = None, min(0.9, (1 + step) / (10 + step))
        monkey = pytest.MonkeyPatch()
        monkey.setattr(Task, "global_step", property(lambda self, step=step: step))
        task.on_train_batch_end(None, None, step)
        monkey.undo()
        for key, value in task.model.state_dict().items():
            if value.is_floating_point():
                expected[key] = keep * expected[key] + (1 - keep) * value
    for key, value in task.averaged.state_dict().items():
        torch.testing.assert_close(value, expected[key])


# batches


def batches(labels, size, balance="none", seed: int | None = 0, epoch=0):
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    return Batches(images, labels, size, lambda: epoch, balance, seed)


@pytest.mark.parametrize(("n", "size"), [(9, 8), (17, 4), (8, 8), (3, 8), (100, 7)])
def test_every_image_once_and_no_batch_of_one(n, size):
    labels = np.arange(n)
    found = list(batches(labels, size))
    assert len(found) == len(batches(labels, size)) == -(-n // size)
    assert all(2 <= len(y) <= size for _, y in found)
    assert sorted(torch.cat([y for _, y in found]).tolist()) == list(range(n))
    assert all((x[:, 0, 0] == y).all() and x.dtype == torch.uint8 for x, y in found)


def test_order_depends_on_seed_and_epoch_alone():
    labels = np.arange(50)
    order = batches(labels, 8).order
    assert np.array_equal(order(3), order(3)) and not np.array_equal(order(3), order(4))
    assert not np.array_equal(order(3), batches(labels, 8, seed=1).order(3))
    assert np.array_equal(batches(labels, 8, seed=None).order(3), labels)


def test_the_sampler_balances_the_classes():
    labels = np.array([0] * 900 + [1] * 80 + [2] * 20)
    drawn = labels[batches(labels, 8, "sampler").order(0)]
    assert len(drawn) == 1000 and np.bincount(drawn).min() > 280


def test_processes_share_an_epoch(monkeypatch):
    labels, seen = np.arange(21), []
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        found = list(batches(labels, 4))
        assert len(found) == 3
        seen += torch.cat([y for _, y in found]).tolist()
    assert len(seen) == 22 and set(seen) == set(range(21))  # one image twice, so that both take as many steps


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_training as t\n"
        "if __name__ == '__main__': t.train(sys.argv[2], t.settings(devices=2))"
    )
    script = tmp_path / "two.py"
    script.write_text(code)
    subprocess.run([sys.executable, str(script), str(Path(__file__).parent), str(tmp_path / "two")], check=True)
    assert len(pd.read_csv(tmp_path / "two" / "history.csv")) == 3
    assert load_checkpoint(tmp_path / "two").extra["best_epoch"] >= 1


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


# predict


class Rows:
    """A view of some rows, as the stages pass it."""

    def __init__(self, images, rows):
        self.images, self.rows = images, rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.images[self.rows[index]]


def test_predict_is_softmax_of_the_model_and_batches_do_not_matter():
    model, images = tiny(), toy(7)[0]
    model.train()
    found = predict(model, images, batch_size=3)
    assert model.training and found.dtype == np.float32
    model.eval()
    with torch.no_grad():
        expected = model(torch.from_numpy(images)[:, None] / 255).softmax(1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    rows = np.array([5, 1, 2])
    np.testing.assert_allclose(predict(model, Rows(images, rows), 2), found[rows], rtol=1e-4, atol=1e-6)
    assert predict(model, images[:0]).shape == (0, 2)


def test_predict_leaves_the_mode_as_it_was_after_an_error():
    model = tiny().train()
    with pytest.raises(ValueError):
        predict(model, np.zeros((2, 3, 3, 3), np.uint8))
    assert model.training


def test_seed_everything_seeds_all_three():
    def draw():
        import random

        return random.random(), np.random.rand(), torch.rand(1).item()

    seed_everything(4)
    first = draw()
    seed_everything(4)
    assert draw() == first
