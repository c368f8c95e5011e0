"""Lending, chunking, counting, running out of memory, and gradients near certainty."""

import pytest
import torch
from torch import nn

from xray_debug.saliency.network import Network, borrowed, prepared, score_slopes, target_scores


class Linear(nn.Module):
    def __init__(self, limit=None):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4))
        self.limit = limit
        self.sizes: list[int] = []

    def forward(self, x):
        self.sizes.append(len(x))
        if self.limit is not None and len(x) > self.limit:
            raise torch.OutOfMemoryError("out of memory")
        return x.flatten(1) @ self.weight.T


def run(model, count=7, chunk=4):
    draws = torch.Generator().manual_seed(0)
    inputs = torch.rand(count, 1, 2, 2, generator=draws)
    targets = torch.arange(count) % 3
    weights = torch.linspace(1, 2, count)
    taken = torch.zeros_like(inputs)

    def take(rows, gradient, factors):
        taken[rows] += gradient * factors.view(-1, 1, 1, 1)

    network = Network(model, torch.device("cpu"), chunk)
    scores = network.gradients(lambda r: inputs[r], targets, weights, take)
    return network, inputs, targets, weights, scores, taken


def test_scores_and_gradients_are_those_of_plain_autograd():
    model = Linear()
    network, inputs, targets, weights, scores, taken = run(model)
    x = inputs.clone().requires_grad_(True)
    plain = target_scores(model(x), targets)
    (plain * weights).sum().backward()
    assert torch.allclose(scores, plain.detach())
    assert torch.allclose(taken, x.grad, atol=1e-7)
    assert network.evaluations == (7, 7)
    assert torch.allclose(network.scores(lambda r: inputs[r], targets), scores)
    assert network.evaluations == (14, 7)


def test_out_of_memory_halves_the_chunk_and_goes_on():
    model = Linear(limit=2)
    network, inputs, targets, *_, taken = run(model, chunk=7)
    free = run(Linear(), chunk=7)[-1]
    assert torch.allclose(taken, free)
    assert network.chunk <= 3
    assert network.evaluations == (7, 7)
    model.sizes.clear()
    network.scores(lambda r: inputs[r], targets)
    assert max(model.sizes) <= 3


def test_out_of_memory_on_a_single_image_is_an_error():
    with pytest.raises(RuntimeError, match="out of memory"):
        run(Linear(limit=0))


def test_other_errors_are_not_swallowed():
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("a fault of the model")

    with pytest.raises(RuntimeError, match="a fault of the model"):
        run(Broken())


def test_slope_keeps_its_digits_where_the_probability_rounds_to_one():
    logits = torch.tensor([[60.0, 0.0, 0.0]])
    score, direction, length = score_slopes(logits, torch.tensor([0]))
    # d p / d logit of the target = p (1 - p), and 1 - p = 2 exp(-60) to first order
    expected = 2 * torch.exp(torch.tensor(-60.0, dtype=torch.float64)).item()
    assert score.item() == 1.0
    assert (direction * length)[0, 0].item() == pytest.approx(expected, rel=1e-5)
    assert (direction * length)[0, 1].item() == pytest.approx(-expected / 2, rel=1e-5)
    assert direction.norm().item() == pytest.approx(1)


def test_model_is_lent_and_comes_back_as_it_was():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.BatchNorm1d(2))
    model[1].eval()
    model[0].bias.requires_grad_(False)
    with pytest.raises(KeyError), borrowed(model):
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
        raise KeyError
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert [parameter.requires_grad for parameter in model.parameters()] == [True, False, True, True]


@pytest.mark.parametrize(
    "images, targets, error, word",
    [
        ([[1.0]], 0, TypeError, "images"),
        (torch.zeros(2, 4), 0, ValueError, "images"),
        (torch.zeros(0, 1, 2, 2), 0, ValueError, "images"),
        (torch.full((1, 1, 2, 2), float("nan")), 0, ValueError, "finite"),
        (torch.zeros(2, 1, 2, 2), [0], ValueError, "targets"),
        (torch.zeros(2, 1, 2, 2), [0.5, 1.0], ValueError, "targets"),
    ],
)
def test_bad_input_is_named(images, targets, error, word):
    with pytest.raises(error, match=word):
        prepared(Linear(), images, targets)


@pytest.mark.parametrize("target", [-1, 3])
def test_target_outside_the_classes_is_named(target):
    model = Linear()
    inputs = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="classes 0 to 2"):
        Network(model, torch.device("cpu"), 1).scores(lambda r: inputs[r], torch.tensor([target]))


def test_images_follow_the_models_dtype():
    images, targets = prepared(Linear().double(), torch.zeros(2, 1, 2, 2), 1)
    assert images.dtype == torch.float64
    assert targets.tolist() == [1, 1]
