"""Repairs: weights by group, the last layer, group DRO, pasted text; what they do to a planted marker."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from torch.nn import functional as F
from training_fixture import SIZE, job, settings, tiny, toy

from xray_debug.data.view import ModelView
from xray_debug.data.views import Views
from xray_debug.models import build_model
from xray_debug.models.augment import pasted
from xray_debug.models.batches import Batches
from xray_debug.models.job import Data, How, read_job, write_begun
from xray_debug.models.loop import Plan, Task
from xray_debug.models.one import train_here
from xray_debug.models.predict import probabilities
from xray_debug.models.repairs import REPAIRS, dfr, group_dro, repair_of_training
from xray_debug.models.repairs.base import Grouped, balancing_weights

GROUPS = st.lists(st.integers(0, 5), min_size=1, max_size=60).map(np.array)


@given(GROUPS)
def test_weights_make_groups_count_alike_and_have_the_mean_1(groups):
    found = balancing_weights(groups)
    assert found == pytest.approx(compute_sample_weight("balanced", groups))
    sums = [found[groups == code].sum() for code in set(groups.tolist())]
    assert found.mean() == pytest.approx(1) and sums == pytest.approx([sums[0]] * len(sums))


def test_every_repair_says_what_it_is():
    assert list(REPAIRS) == ["dfr", "reweight", "group_dro", "paste"] and all(REPAIRS.help.values())
    assert repair_of_training("", None) is None


# training by groups


def test_reweight_is_the_weighted_mean_of_the_losses():
    groups = np.array([0, 0, 0, 2, 0, 2])
    losses = torch.tensor([0.5, 2.0, 1.0])
    found = repair_of_training("reweight", groups).loss(losses, torch.tensor([0, 2, 0]))
    weight = {0: 6 / (2 * 4), 2: 6 / (2 * 2)}  # n / (G n_g)
    assert float(found) == pytest.approx((weight[0] * 0.5 + weight[2] * 2.0 + weight[0] * 1.0) / 3)


def test_group_dro_is_the_papers_update_by_hand(monkeypatch):
    monkeypatch.setattr(group_dro.updated, "__defaults__", (0.5,))
    repair = repair_of_training("group_dro", np.array([0, 1, 1, 3]))  # no group 2
    assert repair.q.tolist() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])
    losses = torch.tensor([1.0, 3.0, 0.4], requires_grad=True)
    found = repair.loss(losses, torch.tensor([1, 1, 0]))
    grown = np.array([np.exp(0.5 * 0.4), np.exp(0.5 * 2.0), 0, 1]) / 3  # group 3 is not in the batch: its loss is 0
    q = grown / grown.sum()
    assert repair.q.tolist() == pytest.approx(q)
    assert float(found.detach()) == pytest.approx(q[1] * 2.0 + q[0] * 0.4)
    found.backward()  # q is no path of the gradient
    assert losses.grad.tolist() == pytest.approx([q[1] / 2, q[1] / 2, q[0]], rel=1e-5)


@given(st.lists(st.floats(0, 5), min_size=2, max_size=6), st.floats(0.001, 2))
def test_group_dro_favours_the_group_with_the_larger_loss(losses, eta):
    q = torch.full((len(losses),), 1 / len(losses), dtype=torch.double)
    found = group_dro.updated(q, torch.tensor(losses, dtype=torch.double), eta)
    assert float(found.sum()) == pytest.approx(1)
    assert (found[np.argsort(losses)].diff() >= -1e-12).all()


def test_group_dro_goes_on_from_where_it_was(tmp_path):
    images, labels = toy(12)
    groups = np.array([0, 1, 2, 3] * 3)
    data = Data(images, labels, images, labels, groups, groups)
    first, second = (Task(Plan(tiny(), data, settings(), tmp_path, 0, "", "32-true", repair="group_dro"), None)
                     for _ in range(2))  # fmt: skip
    first.configure_optimizers()
    first.repair.loss(torch.tensor([4.0, 1.0]), torch.tensor([2, 0]))
    saved: dict = {}
    first.on_save_checkpoint(saved)
    second.on_load_checkpoint(saved)
    assert torch.equal(second.repair.q, first.repair.q) and first.repair.q[2] > first.repair.q[0] > first.repair.q[1]


def test_val_counts_its_groups_alike(tmp_path):
    """Macro-F1 and loss, by which the best epoch is chosen, are those of a val in which all groups are as large."""
    images, labels = toy(8)
    groups = np.array([0, 1, 0, 1, 0, 1, 2, 1])  # group 2: one image of class 0
    task = Task(Plan(tiny(), Data(images, labels, images, labels, groups, groups), settings(), tmp_path, 0, "",
                     "32-true", repair="reweight"), None)  # fmt: skip
    logits = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    expected = np.mean([log_loss(labels[groups == code], softmax(logits[groups == code], 1), labels=[0, 1])
                        for code in range(3)])  # fmt: skip
    assert task._val_loss(logits) == pytest.approx(expected, rel=1e-5)
    assert [task.val_weights[groups == code].sum() for code in range(3)] == pytest.approx([8 / 3] * 3)


def test_batches_hold_the_groups_and_draw_from_them_alike():
    groups = np.array([0] * 900 + [1] * 80 + [2] * 20)
    images, labels = np.zeros((1000, 2, 2), np.uint8), np.arange(1000)
    found = list(Batches(images, labels, 8, lambda: 0, "groups", 0, groups))
    drawn = torch.cat([codes for _, _, codes in found])
    assert torch.equal(drawn, torch.from_numpy(groups)[torch.cat([rows for _, rows, _ in found])])
    assert np.bincount(drawn).min() > 280


# pasted text


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_pasted_text_is_a_difference_cut_to_what_a_pixel_can_be(image, donor, without):
    found = pasted(*(np.full((1, 1, 1), value, np.uint8) for value in (image, donor, without)))
    assert found.dtype == np.uint8 and found.item() == min(max(image + donor - without, 0), 255)


def test_text_comes_from_any_image_of_the_training():
    """The cleaned image is below, the text is another's, and what is drawn differs from epoch to epoch."""
    cleaned = np.arange(200, dtype=np.uint8)[:, None, None] * np.ones((1, 3, 3), np.uint8)
    marked, labels = cleaned.copy(), np.arange(200) % 2
    marked[:, 0, 0] += np.where(labels, 50, 20).astype(np.uint8)
    epochs = []
    for epoch in (0, 1):
        batches = list(Batches(cleaned, labels, 16, lambda epoch=epoch: epoch, "none", 3, None, marked))
        images, own = (torch.cat(parts).numpy() for parts in zip(*batches, strict=True))
        text = images[:, 0, 0].astype(int) - images[:, 1, 1]
        assert (images[:, 0, 1] == images[:, 1, 1]).all() and set(text.tolist()) == {20, 50}
        assert sorted(images[:, 1, 1].tolist()) == list(range(200))
        assert 0.35 < np.mean((text == 50) == (own == 1)) < 0.65
        epochs.append(dict(zip(images[:, 1, 1].tolist(), text.tolist(), strict=True)))
    assert epochs[0] != epochs[1]


# the last layer


@pytest.mark.parametrize("classes", [2, 3])
def test_the_layer_says_what_scikit_learn_says(classes):
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 5)), np.arange(60) % classes
    features[:, 0] += labels
    model = dfr._regression(0.7, 0).fit(features, labels)
    weight, bias = dfr.layer_of(model)
    assert weight.shape == (classes, 5) and bias.shape == (classes,)
    assert softmax(features @ weight.T + bias, 1) == pytest.approx(model.predict_proba(features))


def test_several_layers_are_averaged():
    rng = np.random.default_rng(1)
    features, labels, groups = rng.normal(size=(90, 4)), np.arange(90) % 2, np.arange(90) % 3
    one = [dfr.layer_of(dfr._regression(0.3, number).fit(
        *(values[dfr.balanced_subsample(groups, dfr.rng_of(7, "dfr", number))] for values in (features, labels))))
        for number in range(2)]  # fmt: skip
    weight, bias = dfr.fitted(features, labels, groups, 0.3, 7, 2)
    assert weight == pytest.approx((one[0][0] + one[1][0]) / 2) and bias == pytest.approx((one[0][1] + one[1][1]) / 2)


@given(GROUPS, st.integers(0, 99))
def test_a_subsample_is_as_large_in_every_group_as_in_the_smallest(groups, seed):
    rows = dfr.balanced_subsample(groups, np.random.default_rng(seed))
    assert len(set(rows.tolist())) == len(rows) and (np.diff(rows) > 0).all()
    before, after = (np.bincount(codes, minlength=6) for codes in (groups, groups[rows]))
    least = max(before[before > 0].min(), dfr.FEWEST)
    assert (after == np.minimum(before, least)).all()


def test_the_loss_of_groups_is_scikit_learns_mean_over_them():
    rng = np.random.default_rng(2)
    features, labels, groups = rng.normal(size=(30, 4)), np.arange(30) % 3, np.repeat([0, 1, 4], [20, 9, 1])
    layer = rng.normal(size=(3, 4)), rng.normal(size=3)
    said = softmax(features @ layer[0].T + layer[1], 1)
    expected = np.mean([log_loss(labels[groups == code], said[groups == code], labels=[0, 1, 2]) for code in (0, 1, 4)])
    assert dfr.group_loss(features, labels, groups, layer) == pytest.approx(expected)


@pytest.mark.parametrize("network", ["covidnet", "resnet18", "mobilenet_v3_small"])
def test_features_are_what_the_last_layer_is_given(network):
    options = {"width": 4, "depth": 0.2} if network == "covidnet" else {}
    model = build_model(network, ["a", "b"], ModelView(SIZE), seed=0, **options).eval()
    images = toy(11)[0]
    layer = dfr.last_layer(model, images[:2])
    features = dfr.features_of(model, layer, images)
    with torch.no_grad():
        said = F.linear(torch.from_numpy(features).float(), layer.weight, layer.bias).softmax(1).numpy()
    assert said == pytest.approx(probabilities(model, images), abs=1e-5)
    assert (dfr.features_of(model, layer, images[5:7]) == features[5:7]).all()


def test_a_network_that_ends_otherwise_is_refused():
    model = build_model("squeezenet1_1", ["a", "b"], ModelView(SIZE), seed=0).eval()
    with pytest.raises(ValueError, match="dfr: expected a network that ends in a linear layer, squeezenet1_1 does not"):
        dfr.last_layer(model, toy(2)[0])


def test_what_is_put_back_is_what_was_learned(monkeypatch):
    """The model's answers are those of the regression on standardised features; nothing else in it changes."""
    monkeypatch.setattr(dfr, "STRENGTHS", (0.3,))
    model, (images, labels) = tiny(classes=3).eval(), toy(36, classes=3)
    before = {name: value.clone() for name, value in model.net.state_dict().items()}
    layer = dfr.last_layer(model, images[:2])
    scaled = StandardScaler().fit_transform(dfr.features_of(model, layer, images))
    part = Grouped(images, labels, labels)
    facts = REPAIRS["dfr"]().mend(model, part, part, 5)
    weight, bias = dfr.fitted(scaled, labels, labels, 0.3, 5)
    assert probabilities(model, images) == pytest.approx(softmax(scaled @ weight.T + bias, 1), abs=1e-4)
    changed = {name for name, value in model.net.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"fc.weight", "fc.bias"}
    assert facts["c"] == 0.3 and facts["of"] == weight.shape[1] and 0 < facts["features"] <= facts["of"]
    assert facts["val_loss"] == pytest.approx(log_loss(labels, softmax(scaled @ weight.T + bias, 1)), rel=1e-4)


def with_markers(n, follows, seed):
    """The toy, dim, and at its foot a bright mark that says the class for the share `follows`."""
    rng = np.random.default_rng(seed)
    images, labels = toy(n, seed)
    images = (images // 8).astype(np.uint8)
    said = np.where(rng.random(n) < follows, labels, 1 - labels)
    for image, mark in zip(images, said, strict=True):
        image[24:30, 4 + 18 * mark : 10 + 18 * mark] = 255
    return images, labels, labels * 2 + said


def test_dfr_reduces_a_planted_shortcut(tmp_path):
    learned, val, reverse = with_markers(120, 0.97, 1), with_markers(60, 0.97, 2), with_markers(80, 0.0, 3)
    model = tiny(seed=1)
    train_here(model, Data(*learned[:2], *val[:2]), settings(epochs=4), tmp_path, 1, "key", How("32-true", 1))
    model.eval()
    before = np.mean(probabilities(model, reverse[0]).argmax(1) == reverse[1])
    REPAIRS["dfr"]().mend(model, Grouped(*with_markers(120, 0.7, 5)), Grouped(*with_markers(60, 0.7, 6)), 0)
    after = np.mean(probabilities(model, reverse[0]).argmax(1) == reverse[1])
    assert before < 0.2 and after > 0.7, (before, after)


# jobs


def test_a_job_of_a_repair_goes_through_files_and_its_parts_decide_its_key(tmp_path):
    plain = job(tmp_path)
    own = Views([tmp_path / "images.npy"])
    groups = dataclasses.replace(plain, repair="reweight", groups=plain.labels * 2, val_groups=plain.val_labels)
    paste = dataclasses.replace(plain, repair="paste", marked=own.rows(plain.train[::-1]))
    in_order = own.rows(plain.train)
    other = [
        dataclasses.replace(groups, groups=plain.labels), dataclasses.replace(groups, val_groups=1 - plain.val_labels),
        dataclasses.replace(groups, repair="group_dro"), dataclasses.replace(paste, marked=in_order),
        dataclasses.replace(paste, images_digest="known"),
        dataclasses.replace(paste, images_digest="known", marked=in_order),
    ]  # fmt: skip
    assert len({one.key for one in (plain, groups, paste, *other)}) == 9
    for one in (groups, paste):
        write_begun(one.folder, one.key, How("32-true", 1), one)
        again, _, _ = read_job(one.folder)
        assert again.key == one.key and again.repair == one.repair
        data, expected = again.held, one.data
        for name in ("groups", "val_groups", "marked"):
            before, after = getattr(expected, name), getattr(data, name)
            assert (before is None) == (after is None) and (before is None or (np.asarray(before[:]) == after).all())


@pytest.mark.parametrize("wrong", [np.zeros(3, int), np.zeros(24)])
def test_groups_that_do_not_fit_are_refused(wrong):
    images, labels = toy()
    with pytest.raises(ValueError, match="groups: expected 24 whole numbers, one per image, got"):
        Data(images, labels, images, labels, wrong, labels).checked(["a", "b"])


@pytest.mark.parametrize("name", ["reweight", "group_dro", "paste"])
def test_a_training_with_a_repair_ends_in_a_model(tmp_path, name):
    images, labels = toy()
    parts = {"marked": images[::-1]} if name == "paste" else {"groups": labels, "val_groups": labels}
    model = tiny()
    train_here(model, Data(images, labels, images, labels, **parts), settings(epochs=2), tmp_path, 0, "k",
               How("32-true", 1), repair=name)  # fmt: skip
    assert len(model.extra["key"]) == 1 and np.isfinite(probabilities(model, images)).all()
