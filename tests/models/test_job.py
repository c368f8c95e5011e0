"""The key of a training: all that decides the result, nothing of how it is carried out."""

import dataclasses

import numpy as np
import pytest
from training_fixture import job

from xray_debug.data.views import Views
from xray_debug.models.job import How, digest_of, read_begun, read_job, write_begun


def changed(where, **values):
    return dataclasses.replace(job(where), **values).key


def with_config(folder, **values):
    return job(folder, **values).key


def test_what_decides_the_result_changes_the_key(tmp_path):
    plain = job(tmp_path)
    keys = [
        plain.key, changed(tmp_path, seed=1), changed(tmp_path, classes=["a", "b"]), changed(tmp_path, code="x"),
        changed(tmp_path, labels=plain.labels[::-1]), changed(tmp_path, val_labels=plain.val_labels[::-1]),
        changed(tmp_path, train=plain.train[::-1]), changed(tmp_path, images_digest="known"),
        changed(tmp_path, images_digest="known", train=plain.train[::-1]), with_config(tmp_path, learning_rate=0.5),
        with_config(tmp_path, model_options={"width": 8}), with_config(tmp_path, precision="auto"),
        with_config(tmp_path, batch_size=4), with_config(tmp_path, augment={"flip": True}),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)


def test_how_it_is_carried_out_does_not(tmp_path):
    key = job(tmp_path).key
    for values in ({"devices": 2}, {"nodes": 3}, {"workers": 4}, {"accelerator": "auto"}):
        assert with_config(tmp_path, **values) == key
    np.save(tmp_path / "moved.npy", np.load(tmp_path / "images.npy"))
    assert changed(tmp_path, images=Views([tmp_path / "moved.npy"]), folder=tmp_path / "elsewhere") == key


@pytest.mark.parametrize("row", [0, 11, 12, 23, 35])
def test_every_pixel_counts(tmp_path, row):
    key = job(tmp_path).key
    images = np.load(tmp_path / "images.npy")
    images[row, 17, 3] ^= 1
    np.save(tmp_path / "images.npy", images)
    assert job(tmp_path).key != key


def test_the_digest_reads_in_blocks():
    images = np.random.default_rng(0).integers(0, 256, (7, 4, 4), dtype=np.uint8)
    assert digest_of(images, 2) == digest_of(images, 100) != digest_of(images.reshape(14, 2, 4))


def test_a_job_goes_through_files(tmp_path):
    one = job(tmp_path, epochs=2)
    write_begun(one.folder, one.key, How("32-true", 3), one)
    again, key, how = read_job(one.folder)
    assert again.key == one.key == key and how == How("32-true", 3) and again.config == one.config
    assert read_begun(one.folder, one.key) == how and read_begun(one.folder, "other") is None
