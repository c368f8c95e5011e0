"""Small trainings: a toy data set, a tiny network, and `fit` of both; used by tests and by the processes they start."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from xray_debug.config import TrainConfig
from xray_debug.data.view import ModelView
from xray_debug.data.views import Views
from xray_debug.models import build_model
from xray_debug.models.fit import FitJob, fit
from xray_debug.models.processes import train_folder

SIZE = 32
NETWORK = {"width": 4, "depth": 0.2}
CLASSES = ["normal", "pneumonia", "COVID-19"]


class Stop(Exception):
    pass


def toy(n=24, seed=0, classes=2):
    """Noise with a bright block whose place is the class: uint8 (n, SIZE, SIZE), labels (n,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    images = rng.integers(0, 100, (n, SIZE, SIZE), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[4:14, 2 + 10 * label : 10 + 10 * label] = 220
    return images, labels


def tiny(seed=0, classes=2):
    return build_model("covidnet", CLASSES[:classes], ModelView(SIZE), seed=seed, **NETWORK)


def settings(**changes):
    values = {
        "epochs": 3, "batch_size": 8, "view": {"size": SIZE}, "accelerator": "cpu", "precision": "32-true",
        "model_options": NETWORK,
    }  # fmt: skip
    return TrainConfig(**(values | changes))


def train(folder, config=None, model=None, progress=None, seed=0):
    model = model or tiny()
    return model, fit(model, *toy(), *toy(12, 1), config or settings(), folder, seed, progress)


def job(folder, seed=0, **changes):
    """The toy as plain data in `folder`/images.npy, to train into `folder`/seed-N."""
    images = Path(folder, "images.npy")
    (train_images, labels), (val_images, val_labels) = toy(), toy(12, 1)
    if not images.exists():
        np.save(images, np.concatenate([val_images, train_images]))
    rows = np.arange(36)
    return FitJob(
        Views([images]), rows[12:], labels, rows[:12], val_labels, CLASSES[:2], settings(**changes), seed,
        Path(folder, f"seed-{seed}"),
    )  # fmt: skip


def train_apart_here(shares, tell, before=()):
    """processes.train_apart without its processes, each of which loads torch and Lightning anew: what they do, here."""
    assert not before
    for share in shares:
        for number, folder in share.items():
            train_folder(folder, lambda done, total, number=number: tell(number, done))


def same_weights(a, b, **tolerance):
    for (key, x), y in zip(a.net.state_dict().items(), b.net.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y, msg=lambda text, key=key: f"{key}: {text}", **tolerance)


def same_history(a, b):
    pd.testing.assert_frame_equal(a.drop(columns="seconds"), b.drop(columns="seconds"), rtol=1e-5, atol=1e-6)
