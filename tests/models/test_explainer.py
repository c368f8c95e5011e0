"""The explain worker: what a row gives, that rows do not depend on each other, and what it refuses."""

import pickle

import numpy as np
import pytest
import torch
from training_fixture import CLASSES, tiny, toy

from xray_debug.config import ConfigError
from xray_debug.models import save_checkpoint
from xray_debug.models.explainer import ExplainWorker, checked_method
from xray_debug.models.predict import probabilities
from xray_debug.saliency import METHODS, deletion_insertion, igos_pp

QUICK = {"mask_perturbation": {"iterations": 2}, "rise": {"masks": 8}, "integrated_gradients": {"steps": 3}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_checkpoint(tiny(3, classes=3), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def rows():
    images, labels = toy(4, classes=3)
    return [
        {"image_id": f"{i}.png", "view": image, "target": CLASSES[label]}
        for i, (image, label) in enumerate(zip(images, labels, strict=True))
    ]


def opened(folder, method="igos_pp", **options):
    worker = pickle.loads(pickle.dumps(ExplainWorker(str(folder), method, options, mask_size=8, seed=1)))
    worker.open()
    return worker


@pytest.mark.parametrize("method", METHODS)
def test_rows_do_not_depend_on_their_neighbours(folder, rows, method):
    worker = opened(folder, method, **QUICK.get(method, {}))
    together = worker(rows)
    alone = [worker([row])[0] for row in reversed(rows)][::-1]
    for a, b, row in zip(together, alone, rows, strict=True):
        assert a["image_id"] == row["image_id"] and a["method"] == method and a["mask_size"] == 8
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[name], b[name], equal_nan=isinstance(a[name], float)) for name in a)


def test_a_row_holds_what_the_method_and_the_curves_give(folder, rows):
    worker = opened(folder)
    (found,) = worker(rows[1:2])
    image, target = torch.from_numpy(rows[1]["view"])[None, None] / 255, torch.tensor([1])
    expected = igos_pp(worker.model, image, target, mask_size=8, points="even").saliency
    same = opened(folder, points="even")(rows[1:2])[0]
    np.testing.assert_allclose(same["saliency"], expected[0, 0], atol=1e-5)  # even points need no seed
    curves = deletion_insertion(worker.model, image, torch.from_numpy(found["saliency"])[None, None], target)
    np.testing.assert_allclose(found["deletion_curve"], curves.deletion_curve[0], atol=1e-5)
    np.testing.assert_allclose(found["insertion_curve"], curves.insertion_curve[0], atol=1e-5)
    assert found["deletion"] == pytest.approx(float(curves.deletion[0]), abs=1e-5)
    assert found["insertion"] == pytest.approx(float(curves.insertion[0]), abs=1e-5)
    assert found["probability"] == pytest.approx(probabilities(worker.model, rows[1]["view"][None])[0, 1], abs=1e-5)
    assert found["saliency"].shape == (8, 8) and found["saliency"].dtype == np.float32


def test_each_image_has_a_seed_of_its_own(folder, rows):
    worker = opened(folder, "rise", masks=16)
    first, other = worker([rows[0], rows[0] | {"image_id": "another.png"}])
    assert not np.array_equal(first["saliency"], other["saliency"])


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("grad", {}, "explain.method: unknown explanation method 'grad': expected one of .*igos_pp"),
        ("rise", {"mask": 3}, "explain.options: rise does not take mask; it takes cells, internal_batch_size, keep"),
        ("rise", {"seed": 3}, "explain.options: rise does not take seed"),
    ],
)
def test_methods_and_options_are_checked_before_any_work(folder, method, options, message):
    with pytest.raises(ConfigError, match=message):
        opened(folder, method, **options)


def test_what_only_a_call_can_show_is_a_config_error_too(folder, rows):
    with pytest.raises(ConfigError, match="explain.options: igos does not take wrong; it takes .*iterations"):
        opened(folder, "igos", wrong=1)(rows[:1])
    with pytest.raises(ConfigError, match="target: expected one of the model's classes .* got 'other'"):
        opened(folder)([rows[0] | {"target": "other"}])


def test_objective_sparseness_and_whether_the_mask_moved(folder, rows):
    worker = opened(folder, points="even")
    image, target = torch.from_numpy(rows[1]["view"])[None, None] / 255, torch.tensor([1])
    expected = igos_pp(worker.model, image, target, mask_size=8, points="even")
    (found,) = worker(rows[1:2])
    assert found["objective"] == pytest.approx(float(expected.objective["total"]), abs=1e-4)
    parts = {name: value for name, value in found.items() if name.startswith("objective_")}
    assert set(parts) == {f"objective_{name}" for name in expected.objective if name != "total"} and len(parts) == 6
    assert sum(parts.values()) == pytest.approx(found["objective"], abs=1e-5)
    values = np.sort(found["saliency"].ravel().astype(float))
    gini = 1 - 2 * np.trapezoid(np.append(0, values.cumsum() / values.sum()), dx=1 / 64)
    assert found["sparseness"] == pytest.approx(gini, abs=1e-5)
    for weight, still in ((0.0, False), (1e4, True)):  # any heat costs nothing, or more than it can bring
        moved = opened(folder, area_weight=weight, smooth_weight=weight)(rows[1:2])[0]
        assert moved["hardly_moved"] is still and (moved["saliency"].max() < 0.1) is np.bool_(still)
    other = opened(folder, "gradient")(rows[1:2])[0]
    assert np.isnan(other["objective"]) and other["hardly_moved"] is False


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [("igos_pp", {"lambda": 3}, "igos_pp does not take lambda; it takes .*area_weight"),
     ("igos_pp", {"preset": "papre"}, "preset: expected one of .*paper.* got 'papre'"),
     ("igos", {"noise": -1}, "noise: expected a finite number of 0 or more"),
     ("rise", {"preset": "paper"}, "rise does not take preset")],
)  # fmt: skip
def test_options_are_checked_before_anything_is_computed(method, options, words):
    with pytest.raises(ConfigError, match=words):
        checked_method(method, options)


def test_options_of_presets_pass():
    taken = {"paper": True, "internal_batch_size": 4}
    for options in ({}, {"preset": "paper"}, {"iterations": 3, "noise": 0.1}, taken):
        checked_method("igos_pp", options)
