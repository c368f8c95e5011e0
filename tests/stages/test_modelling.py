"""What a training of a run learns from, and what its models are asked."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from xray_debug.config import PipelineConfig, TrainConfig
from xray_debug.data.views import Views
from xray_debug.models.threads import threads_of
from xray_debug.run import engine
from xray_debug.run.folder import RunError
from xray_debug.stages.modelling import _precision, _threads, predicted, training
from xray_debug.stages.retrain import sources_to_leave_out

CONTEXT = SimpleNamespace(config=PipelineConfig(), device="cpu")
FRAME = pd.DataFrame([
    (f"{split}-{source}-{label}.png", split, source, label, "test" * (split == "test"))
    for split in ("train", "val", "test") for source in ("a", "b") for label in ("COVID-19", "normal")
], columns=["image_id", "split", "source", "label", "test_set"])  # fmt: skip
VIEWS = Views.of(np.zeros((12, 32, 32), np.uint8))


def names(rows) -> list[str]:
    return FRAME["image_id"].iloc[rows].tolist()


def test_a_training_learns_from_train_is_chosen_on_val_and_sees_no_test(tmp_path):
    job = training(CONTEXT, FRAME, VIEWS, tmp_path, 0)
    assert job.classes == ["normal", "COVID-19"]
    assert names(job.train) == FRAME["image_id"][:4].tolist() and job.labels.tolist() == [1, 0, 1, 0]
    assert names(job.val) == FRAME["image_id"][4:8].tolist() and job.val_labels.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(("before", "now", "expected", "word"), [
    (1, 2, 1, "training with 1 CPU threads, as it began, and not with 2"), (2, 2, 2, ""), (0, 2, 2, ""),
    (2, 1, 2, "training with 2 CPU threads"), (999, 1, 1, "the last digits"),
])  # fmt: skip
@pytest.mark.parametrize("stage", ["train", "retrain"])
def test_training_goes_on_with_as_many_threads_as_it_began_with(tmp_path, monkeypatch, stage, before, now, expected,
                                                                word):  # fmt: skip
    """A run that goes on under another number ends as one left in peace, or says that it may not."""
    said, store = [], SimpleNamespace(record=lambda name: {"threads": before}, work={stage: tmp_path})
    context = SimpleNamespace(store=store, say=said.append, scratch=tmp_path / "scratch")
    monkeypatch.setattr(engine, "cores", lambda: 1000)
    if stage == "train" and before:  # a record of stage train is of an earlier training
        with threads_of(before):
            assert _threads(context) == before and not said
    monkeypatch.setattr(engine, "cores", lambda: 2)
    for again in (False, True):
        with threads_of(now):
            assert _threads(context) == expected
        assert again or (len(said) == bool(word) and all(word in text for text in said))


@pytest.mark.parametrize(("asked", "stage", "known", "expected"), [
    ("auto", "retrain", "bf16-mixed", "bf16-mixed"), ("auto", "retrain", "32-true", "32-true"),
    ("auto", "train", "bf16-mixed", ""), ("32-true", "retrain", "bf16-mixed", ""), ("auto", "retrain", None, ""),
])  # fmt: skip
def test_retrain_computes_in_the_precision_of_train(tmp_path, asked, stage, known, expected):
    """What is measured anew could come out otherwise on a busy machine, and the rows of the 2x2 differ by it."""
    store = SimpleNamespace(record=lambda name: {"precision": known}, work={stage: tmp_path})
    config = PipelineConfig(train=TrainConfig(precision=asked))
    assert _precision(SimpleNamespace(store=store, config=config, say=pytest.fail)) == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without a GPU is asked to go on what one began")
def test_a_precision_that_this_machine_lacks_is_said(tmp_path):
    said, store = [], SimpleNamespace(record=lambda name: {"precision": "16-mixed"}, work={"retrain": tmp_path})
    assert _precision(SimpleNamespace(store=store, config=PipelineConfig(), say=said.append)) == ""
    assert "differ in more than their data" in said[0]


def test_a_source_that_is_left_out_is_in_neither(tmp_path):
    job = training(CONTEXT, FRAME, VIEWS, tmp_path, 0, without="a")
    assert names(job.train) == ["train-b-COVID-19.png", "train-b-normal.png"]
    assert names(job.val) == ["val-b-COVID-19.png", "val-b-normal.png"]
    with pytest.raises(RunError, match="training needs train and val images, the manifest has 0 and 0"):
        training(CONTEXT, FRAME[FRAME["source"] == "a"], VIEWS, tmp_path, 0, without="a")


def test_sources_that_can_be_spared():
    assert sources_to_leave_out(FRAME) == ["a", "b"]
    assert sources_to_leave_out(FRAME[(FRAME["split"] == "test") | (FRAME["source"] == "b")]) == ["a"]


def test_a_model_without_a_source_is_asked_of_that_source_alone(tmp_path, monkeypatch):
    model = SimpleNamespace(classes=["normal", "COVID-19"])
    monkeypatch.setattr("xray_debug.models.inference.load_for_inference", lambda folder, device: model)
    monkeypatch.setattr("xray_debug.models.predict.probabilities_side_by_side",
                        lambda model, views: np.tile([0.3, 0.7], (len(views), 1)))  # fmt: skip
    whole = predicted(CONTEXT, tmp_path, FRAME, VIEWS, "cleaned", "original", 3)
    assert whole["image_id"].tolist() == FRAME["image_id"][8:].tolist()
    assert set(whole["predicted"]) == {"COVID-19"} and set(whole["p_normal"]) == {0.3} and set(whole["seed"]) == {3}
    part = predicted(CONTEXT, tmp_path, FRAME, VIEWS, "cleaned", "original", 3, without="b")
    assert part["image_id"].tolist() == ["test-b-COVID-19.png", "test-b-normal.png"]
    assert set(part["without"]) == {"b"}
