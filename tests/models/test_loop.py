"""The loop's rules: when it stops, what it weighs, what it averages, what is in a batch."""

import numpy as np
import pytest
import torch
from training_fixture import settings, tiny, toy, train

from xray_debug.models import loop
from xray_debug.models.batches import Batches
from xray_debug.models.job import Data
from xray_debug.models.loop import Plan, Task


def task(folder, images, labels, config):
    return Task(Plan(tiny(), Data(images, labels, images, labels), config, folder, 0, "", "32-true"), None)


def test_it_stops_early_and_halves_the_rate(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "scores", lambda confusion: {"accuracy": 0.5, "f1": 0.5})  # never better
    monkeypatch.setattr(loop.F, "cross_entropy", lambda logits, *a, **k: logits.sum() * 0 + 1)
    _, result = train(tmp_path, settings(epochs=20, patience=2, stop_after=5))
    assert len(result.history) == 6 and result.best_epoch == 1
    # epoch 1 is a best; every two epochs without a better one halve the rate from the next epoch on
    assert result.history["learning_rate"].tolist() == [1e-3, 1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4]


def test_loss_weights_make_classes_count_alike(tmp_path):
    images, _ = toy(12)
    labels = np.array([0] * 9 + [1] * 3)
    for balance, expected in (("loss", [12 / 18, 12 / 6]), ("none", [1, 1]), ("sampler", [1, 1])):
        found = task(tmp_path, images, labels, settings(balance=balance))
        assert found.weight.tolist() == pytest.approx(expected)


def test_the_average_of_the_weights_is_the_recursion(tmp_path, monkeypatch):
    found = task(tmp_path, *toy(), settings(average=0.9))
    found.pairs = loop._pairs(found.averaged, found.model)
    expected = {key: value.clone() for key, value in found.averaged.state_dict().items()}
    counters = 0
    for step in range(4):
        with torch.no_grad():
            for value in found.model.state_dict().values():
                value.add_(0.1 * (step + 1)) if value.is_floating_point() else value.add_(1)
        monkeypatch.setattr(Task, "global_step", property(lambda self, step=step: step))
        found.on_train_batch_end(None, None, step)
        keep = min(0.9, (1 + step) / (10 + step))
        for key, value in found.model.state_dict().items():
            old = keep * expected[key] + (1 - keep) * value
            expected[key] = old if value.is_floating_point() else value.clone()
            counters += not value.is_floating_point()
    assert counters > 0
    for key, value in found.averaged.state_dict().items():
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


def test_processes_share_every_batch(monkeypatch):
    labels, parts = np.arange(21), []
    whole = [y.tolist() for _, y in batches(labels, 4)]
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        parts.append([y.tolist() for _, y in batches(labels, 4)])
    assert len(parts[0]) == len(parts[1]) == len(whole) == 6
    for first, second, batch in zip(*parts, whole, strict=True):  # an odd batch has one image in both
        assert set(first) | set(second) == set(batch) and len(first) == len(second) == -(-len(batch) // 2)
