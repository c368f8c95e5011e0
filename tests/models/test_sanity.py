"""The sanity checks of a run: what they say of a method that explains the model, and of one that does not."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from scipy import stats
from training_fixture import tiny, toy

from xray_debug.models import load_checkpoint, save_checkpoint
from xray_debug.models.explainer import ExplainWorker
from xray_debug.models.sanity import SANITY, SanityChecks
from xray_debug.saliency import METHODS, Evaluations, Explanation, gradient, max_sensitivity
from xray_debug.saliency.randomisation import layers_from_output, other_classes
from xray_debug.stats.seeds import seed_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_checkpoint(tiny(3, classes=3), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def rows():
    images, _ = toy(3, classes=3)
    return [{"image_id": f"{i}.png", "view": image, "target": "normal", "sanity": i != 1}
            for i, image in enumerate(images)]  # fmt: skip


def worker_of(folder, method="gradient", **options):
    worker = ExplainWorker(str(folder), method, options, mask_size=8, seed=1)
    worker.open()
    return worker


def test_only_the_cases_asked_for_are_checked(folder, rows):
    found = worker_of(folder)(rows)
    assert [{name: row[name] for name in SANITY} for row in found][1] == dict.fromkeys(SANITY)
    assert all(-1 <= row[name] <= 1 for row in found[::2] for name in SANITY[:3])
    assert all(row["max_sensitivity"] > 0 for row in found[::2])


def test_the_checks_are_what_they_are_called(folder, rows):
    worker = worker_of(folder)
    found = worker(rows[:1])[0]
    image, target = torch.from_numpy(rows[0]["view"])[None, None] / 255, torch.tensor([0])
    own = found["saliency"].ravel()
    seed = seed_of("explain", 1, "0.png") >> 1

    def correlation(model, wanted):
        return stats.spearmanr(own, gradient(model, image, wanted, mask_size=8).saliency.flatten()).statistic

    drawn = worker.checks.drawn
    assert found["mprt_output"] == pytest.approx(correlation(drawn["mprt_output"], target), abs=1e-5)
    assert found["mprt_all"] == pytest.approx(correlation(drawn["mprt_all"], target), abs=1e-5)
    other = other_classes(worker.model, image, target, seed)
    assert found["random_logit"] == pytest.approx(correlation(worker.model, other), abs=1e-5)
    steady = max_sensitivity(gradient, worker.model, image, target, samples=2, seed=seed, mask_size=8)
    assert found["max_sensitivity"] == pytest.approx(steady.item(), abs=1e-5)


def test_what_was_drawn_anew(folder):
    model = load_checkpoint(folder)
    drawn = SanityChecks(str(folder), "gradcam", fold=False).drawn
    names = {name for name, _ in layers_from_output(model)}
    state = {name: module.state_dict() for name, module in model.named_modules()}
    for key, expected in (("mprt_output", {layers_from_output(model)[0][0]}), ("mprt_all", names)):
        changed = {name for name, module in drawn[key].named_modules() if name in names
                   and any(not torch.equal(value, state[name][part]) for part, value in module.state_dict().items())}
        assert changed <= expected and len(changed) > len(expected) / 2  # a norm at its start is as it was
    assert not drawn["mprt_all"].training


def test_a_method_that_only_finds_edges_is_caught(folder, rows, monkeypatch):
    def edges(model, images, targets, baselines=None, mask_size=28, seed=0):
        return Explanation(images[..., :8, :8].float(), Evaluations(0, 0), 0.0)

    monkeypatch.setitem(METHODS._own, "edges", edges)
    checks = SanityChecks(str(folder), "edges", mask_size=8)
    image = torch.from_numpy(rows[0]["view"])[None, None] / 255
    found = checks(load_checkpoint(folder), image, torch.tensor([0]), image[..., :8, :8], 5)
    assert [found[name] for name in SANITY[:3]] == pytest.approx([1, 1, 1])


def test_a_drawn_network_that_overflows_costs_its_check_only(folder, rows, monkeypatch):
    worker = worker_of(folder)
    whole = worker(rows[:1])[0]
    with torch.no_grad():
        for weights in worker.checks.drawn["mprt_all"].parameters():
            weights.fill_(math.inf)
    found = worker(rows[:1])[0]
    assert math.isnan(found["mprt_all"]) and found["mprt_output"] == whole["mprt_output"]
    assert np.array_equal(found["saliency"], whole["saliency"])


def test_threads_draw_the_same(folder, rows):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: worker_of(folder)(rows[:1])[0], range(6)))
    assert all(row[name] == found[0][name] for row in found for name in SANITY)
