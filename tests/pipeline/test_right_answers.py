"""Each stage's figures made again by other code, on data where the right answer differs from the likely wrong ones."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score

from xray_debug.audit.frames import as_input
from xray_debug.cleaning.inpainting import inpaint_boxes
from xray_debug.data.images import read_image
from xray_debug.data.view import ModelView
from xray_debug.models import load_checkpoint


def scores_of(folder, images) -> np.ndarray:
    """(N, K) probabilities, one image a time, straight from the network."""
    model = load_checkpoint(folder)
    with torch.no_grad():
        return np.concatenate([
            torch.softmax(model(torch.from_numpy(np.array(image))[None, None].float() / 255), 1).numpy()
            for image in images
        ])  # fmt: skip


def rows_of(frame, **wanted) -> np.ndarray:
    chosen = np.ones(len(frame), bool)
    for name, value in wanted.items():
        chosen &= (frame[name] == value).to_numpy()
    return np.flatnonzero(chosen)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_best_epoch_is_chosen_on_val(finished, seed):
    store = finished.store
    frame, views, folder = store.manifest(), store.views(), store.path("model") / f"seed-{seed}"
    model = load_checkpoint(folder)
    found = {}
    for split in ("val", "test"):
        rows = rows_of(frame, split=split)
        guesses = scores_of(folder, views[rows]).argmax(1)
        truth = frame["label"].iloc[rows].map(model.classes.index)
        found[split] = f1_score(truth, guesses, average="macro", zero_division=0)
    history = pd.read_csv(folder / "history.csv")
    chosen = history[history["epoch"] == model.extra["best_epoch"]]["val_f1"].iloc[0]
    assert chosen == pytest.approx(found["val"], abs=1e-6)
    assert abs(found["test"] - found["val"]) > 1e-3  # else this test could not tell
    assert chosen == history["val_f1"].max()


def test_every_cell_is_scored_on_the_images_it_names(finished):
    store = finished.store
    frame = store.manifest()
    test = rows_of(frame, split="test")
    versions = {"original": store.views()[test], "cleaned": store.views("cleaned")[test]}
    assert (versions["original"] != versions["cleaned"]).any()
    table = store.predictions()
    folders = {"original": store.path("model"), "cleaned": store.path("retrained") / "cleaned",
               "control": store.path("retrained") / "control"}  # fmt: skip
    seen = set()
    for (trained, tested, seed), part in table.groupby(["trained_on", "tested_on", "seed"]):
        expected = scores_of(folders[trained] / f"seed-{seed}", versions[tested])
        part = part.set_index("image_id").loc[frame["image_id"].iloc[test]]
        columns = [f"p_{name}" for name in load_checkpoint(folders[trained] / f"seed-{seed}").classes]
        assert np.allclose(part[columns].to_numpy(), expected, atol=1e-4), (trained, tested, seed)
        wrong = versions["cleaned" if tested == "original" else "original"]
        other = scores_of(folders[trained] / f"seed-{seed}", wrong)
        assert not np.allclose(expected, other, atol=1e-3)
        seen.add((trained, tested, seed))
    assert len(seen) == 3 * 2 * 2


def test_cleaned_and_control_models_learn_from_their_own_images(finished):
    store = finished.store
    views = {name: store.views(name) for name in ("original", "cleaned", "control")}
    for first, second in (("original", "cleaned"), ("original", "control"), ("cleaned", "control")):
        assert (views[first][:] != views[second][:]).any()
    weights = {
        name: (folder / "seed-0" / "model.safetensors").read_bytes()
        for name, folder in (("original", store.path("model")), ("cleaned", store.path("retrained") / "cleaned"),
                             ("control", store.path("retrained") / "control"))
    }  # fmt: skip
    assert len(set(weights.values())) == 3


def test_the_prediction_is_explained_and_not_the_label(finished):
    store = finished.store
    predictions = store.table("predictions").query("seed == 0").set_index("image_id")
    explained = store.table("explanations").set_index("image_id")
    assert explained["target"].equals(predictions.loc[explained.index, "predicted"].rename("target"))
    assert (predictions.loc[explained.index, "predicted"] != predictions.loc[explained.index, "label"]).any()
    model = load_checkpoint(store.path("model"))
    own = [model.classes.index(name) for name in explained["target"]]
    columns = predictions.loc[explained.index, [f"p_{name}" for name in model.classes]].to_numpy()
    assert np.allclose(explained["probability"], columns[np.arange(len(own)), own], atol=1e-4)


def test_a_few_cases_spread_over_all_are_put_to_the_sanity_checks(finished):
    explained, checked = finished.store.table("explanations"), finished.store.table("sanity")
    places = explained["image_id"].tolist()
    assert len(checked) == 8 < len(places)
    found = [places.index(name) for name in checked["image_id"]]
    assert found[0] == 0 and found[-1] == len(places) - 1 and np.ptp(np.diff(found)) <= 1
    assert checked["max_sensitivity"].gt(0).all() and checked["random_logit"].between(-1, 1).all()
    assert explained["objective"].isna().all() and not explained["hardly_moved"].any()  # it is the gradient
    assert explained["sparseness"].between(0, 1).all()


def test_areas_are_the_same_in_explain_and_audit(finished):
    cases, explained = finished.store.table("cases"), finished.store.table("explanations")
    both = cases.merge(explained, on="image_id", suffixes=("", "_explain"))
    assert len(both) > 5
    assert np.array_equal(both["deletion"], both["deletion_explain"])
    assert np.array_equal(both["insertion"], both["insertion_explain"])


@pytest.mark.parametrize("radius", [10, 3])
def test_the_audit_erases_as_cleaning_does(finished, pipeline, radius):
    """Probability of the image without its text, for the configured radius, made again from the file."""
    pipeline.config.clean.radius = radius
    if radius != 10:
        assert "option clean.radius" in pipeline.why("audit")
        pipeline.run(only="audit")
    store, clean = pipeline.store, pipeline.config.clean
    frame, boxes, view = store.manifest().set_index("image_id"), store.boxes(), ModelView(48)
    cases = store.table("cases").query("text_visible > 0").head(8)
    assert len(cases)
    images, others = [], []
    for name in cases["image_id"]:
        image = read_image(store.image_file(frame.loc[name, "path"]))
        for result, used in ((images, radius), (others, 13 - radius)):
            erased, _ = inpaint_boxes(image, boxes[name], used, clean.method, clean.shape, clean.dilation,
                                      clean.min_dilation)  # fmt: skip
            result.append(view.apply(erased))
    model = load_checkpoint(store.path("model"))
    own = [model.classes.index(name) for name in cases["predicted"]]
    expected = scores_of(store.path("model"), images)[np.arange(len(own)), own]
    assert np.allclose(cases["p_text_inpainted"], expected, atol=1e-4)
    other = scores_of(store.path("model"), others)[np.arange(len(own)), own]
    assert not np.allclose(expected, other, atol=1e-4)
    assert as_input(images[0]).max() <= 1


def test_metrics_and_report_hold_the_same_intervals(finished):
    store = finished.store
    report = store.json("report")
    assert report["table4"]
    metrics = {**store.json("metrics"), **store.json("retrained metrics")}
    for row in report["table4"]:
        cell = metrics[f"{row['trained_on']}/{row['tested_on']}/{row['test_set']}"]
        for name in ("accuracy", "f1", "precision", "recall"):
            for part in (name, f"{name}_low", f"{name}_high"):
                assert cell[part] == row[part]
    one = store.json("metrics")["original/original/test"]
    own = store.table("predictions").query("test_set == 'test'")
    assert one["accuracy"] == pytest.approx((own["label"] == own["predicted"]).mean())
    assert one["accuracy_low"] < one["accuracy"] < one["accuracy_high"]


def test_cleaned_images_have_no_text_pixels_left(finished):
    """Pixels outside the grown boxes are the original's; inside they follow cv2's inpainting at the run's settings."""
    store, clean = finished.store, finished.config.clean
    changes, frame = store.table("changes"), store.manifest().set_index("image_id")
    assert len(changes) > 20
    for row in changes.head(6).itertuples():
        image = read_image(store.image_file(frame.loc[row.image_id, "path"]))
        expected, _ = inpaint_boxes(image, json.loads(row.boxes), clean.radius, clean.method, clean.shape,
                                    clean.dilation, clean.min_dilation)  # fmt: skip
        file = next(store.path("cleaned").rglob(row.file))
        assert np.array_equal(read_image(file), expected) and not np.array_equal(image, expected)
