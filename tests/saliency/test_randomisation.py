"""MPRT and random logit: of a method that explains the model, and of one that only finds edges."""

import copy

import pytest
import torch
from scipy import stats
from torch import nn

from xray_debug.saliency import Evaluations, Explanation, gradient, mprt, random_logit
from xray_debug.saliency.randomisation import (
    draw_anew,
    layers_from_output,
    other_classes,
    randomised_models,
    rank_correlation,
)


def network(seed=0, side=8, classes=2):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        last = nn.Linear(6 * side * side // 4, classes)
        return nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), last)


def halves(count):
    images = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return images, torch.arange(count) % 2


def test_rank_correlation_is_spearmans():
    a = torch.tensor([[1.0, 2.0, 2.0, 5.0, 0.0, 3.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]])
    b = torch.tensor([[0.0, 3.0, 1.0, 1.0, 1.0, 9.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    found = rank_correlation(a.view(2, 1, 2, 3), b.view(2, 1, 2, 3))
    assert found[0].item() == pytest.approx(stats.spearmanr(a[0], b[0]).statistic)
    assert torch.isnan(found[1])


def test_cascade_goes_from_the_output_and_leaves_the_model_alone():
    model, (images, labels) = network(), halves(4)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    assert [name for name, _ in layers_from_output(model)] == ["4", "0"]
    before = torch.get_rng_state()
    found = mprt(gradient, model, images, labels, seed=3, mask_size=8)
    assert [step.layer for step in found] == ["4", "0"]
    assert found[0].similarity.shape == (4,)
    assert found[-1].similarity.abs().mean() < 0.9
    again = mprt(gradient, model, images, labels, seed=3, mask_size=8)
    assert torch.equal(found[-1].saliency, again[-1].saliency)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_method_that_ignores_the_model_is_caught():
    """Edge detection keeps its map through the whole cascade, and for another class."""
    images, labels = halves(3)
    assert (random_logit(edges, network(), images, labels) > 0.999).all()
    assert all((step.similarity > 0.999).all() for step in mprt(edges, network(), images, labels))


def edges(model, images, targets, **options):
    return Explanation(images.diff(dim=-1, append=images[..., -1:]).abs().float(), Evaluations(0, 0), 0.0)


def weights_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed_layers(model, other):
    before, after = weights_of(model), weights_of(other)
    return {name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_what_is_drawn_anew_in_which_order():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    cascade, alone = [{"2"}, {"1", "2"}, {"0", "1", "2"}], [{"2"}, {"1"}, {"0"}]
    for order, expected in (("cascading", cascade), ("independent", alone)):
        found = [(name, changed_layers(model, other)) for name, other in randomised_models(model, 0, order)]
        assert found == list(zip("210", expected, strict=True))
    assert [name for name, _ in randomised_models(model, every=2)] == ["1", "0"]
    with pytest.raises(ValueError, match="order: expected cascading or independent, got 'down'"):
        next(randomised_models(model, order="down"))
    with pytest.raises(ValueError, match="every: expected at least 1"):
        next(randomised_models(model, every=0))


class Odd(nn.Module):
    """Weights in every kind of layer: attention, a token of its own, normalised weights."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.utils.parametrizations.weight_norm(nn.Linear(8, 20))

    def forward(self, x):
        x = torch.cat([self.token.expand(len(x), 1, 8), x], 1)
        return self.last(self.attention(x, x, x)[0][:, 0])


def test_no_weights_are_forgotten():
    torch.manual_seed(0)
    model = Odd()
    *_, (_, other) = randomised_models(model)
    zeros = {name for name, value in model.named_parameters() if not value.any()}
    same = {name for name, value in model.named_parameters() if torch.equal(value, other.get_parameter(name))}
    assert same == zeros and zeros <= {"attention.in_proj_bias", "attention.out_proj.bias"}
    with pytest.raises(ValueError, match="model: expected layers with weights to draw anew, found none"):
        layers_from_output(nn.Sequential(nn.Flatten()))


def test_layers_drawn_at_once_in_threads_are_the_same():
    from concurrent.futures import ThreadPoolExecutor

    def drawn(number):
        layer = nn.Linear(200, 200)
        draw_anew(layer, "key", number % 3)
        return layer.weight

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(drawn, range(60)))
    assert all(torch.equal(found[i], found[i % 3]) for i in range(60)) and not torch.equal(found[0], found[1])


def test_random_logit_compares_with_the_map_of_another_class():
    model, (images, labels) = network(classes=4), halves(6)
    state = copy.deepcopy(model.state_dict())
    others = other_classes(model, images, labels, seed=list(range(6)))
    assert ((others != labels) & (others >= 0) & (others < 4)).all() and len(((others - labels) % 4).unique()) > 1
    assert torch.equal(others[3:4], other_classes(model, images[3:4], labels[3:4], seed=[3]))
    found = random_logit(gradient, model, images, labels, seed=list(range(6)), mask_size=8)
    for row in range(6):
        maps = [gradient(model, images[row : row + 1], [int(c[row])], mask_size=8).saliency for c in (labels, others)]
        expected = stats.spearmanr(*(saliency.flatten() for saliency in maps)).statistic
        assert found[row].item() == pytest.approx(expected, abs=1e-6)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items()) and model.training
