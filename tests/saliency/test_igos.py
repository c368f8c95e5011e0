"""The optimiser as a whole: against a slow second implementation, and the properties it must have."""

import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xray_debug.saliency import METHODS, blurred, igos_pp
from xray_debug.saliency.measure import objective_of
from xray_debug.saliency.methods.igos import TIE, _ranked, igos

SIDE = 16
PATCH = slice(4, 8), slice(8, 12)


class Patch(nn.Module):
    """Class 1 where the patch is bright; nothing else matters."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(12.0))

    def forward(self, x):
        logit = self.gain * (x[:, :, PATCH[0], PATCH[1]].mean((1, 2, 3)) - 0.5)
        return torch.stack([-logit, logit], 1)


class Small(nn.Module):
    """A convolutional network with batch norm and dropout, so that its mode matters."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            self.body = nn.Sequential(
                nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5),
                nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 3),
            )  # fmt: skip

    def forward(self, x):
        return self.body(4 * x)


def pictures(count=3):
    return torch.rand(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(11))


def bright_patch():
    image = torch.full((1, 1, SIDE, SIDE), 0.2)
    image[..., PATCH[0], PATCH[1]] = 1.0
    image[..., 12:15, 1:4] = 1.0
    return image, torch.full_like(image, 0.3)


def slow_igos_pp(weight, image, baseline, target, size, iterations, steps, area, smooth):
    """iGOS++ for a linear network on one image, loops and autograd, nothing shared with the package.

    weight (K, H W). Line search from 1000 by fifths, condition of equation 8; no noise.
    """

    def score(x):
        return torch.softmax(weight @ x.flatten(), 0)[target]

    def enlarge(mask):
        return F.interpolate(mask[None, None], size=image.shape, mode="bilinear")[0, 0]

    def objective(x_mask, y_mask):
        total = 0.0
        both = x_mask * y_mask
        for mask, sign in ((x_mask, 1), (both, 1), (y_mask, -1), (both, -1)):
            large = enlarge(mask)
            near, far = (image, baseline) if sign == 1 else (baseline, image)
            for s in range(steps):
                share = (s + 1) / steps * large
                total = total + sign * score(near * share + far * (1 - share)) / steps
        large, variation, spread = enlarge(both), 0.0, image.std(correction=0)
        for axis in (0, 1):
            n, m = image.shape[axis], size
            step = (large.narrow(axis, 1, n - 1) - large.narrow(axis, 0, n - 1)) ** 2
            change = (image.narrow(axis, 1, n - 1) - image.narrow(axis, 0, n - 1)) / spread
            edge = torch.exp(-(change**2) / 0.01**2)
            plain = (both.narrow(axis, 1, m - 1) - both.narrow(axis, 0, m - 1)) ** 2
            variation = variation + ((edge * step).mean() + plain.mean()) / 2
        return total + area * (1 - both).abs().mean() + smooth * variation

    masks = [torch.ones(size, size, dtype=image.dtype) for _ in "xy"]
    for _ in range(iterations):
        leaves = [mask.clone().requires_grad_(True) for mask in masks]
        start = objective(*leaves)
        slopes = torch.autograd.grad(start, leaves)
        length = sum((slope**2).sum() for slope in slopes)
        step = 1000.0
        while True:
            trial = [(mask - step * slope).clamp(0, 1) for mask, slope in zip(masks, slopes, strict=True)]
            with torch.no_grad():
                good = objective(*trial) <= start - 1e-4 * step * length
            if good or step < 1e-5:
                break
            step *= 0.2
        masks = [(mask - step * slope).clamp(0, 1) for mask, slope in zip(masks, slopes, strict=True)]
    return masks


def test_paper_mode_is_the_slow_implementation():
    draws = torch.Generator().manual_seed(0)
    image, baseline = (torch.rand(1, 1, 8, 8, generator=draws, dtype=torch.float64) for _ in "ab")
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3, bias=False)).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(3, 64, generator=draws, dtype=torch.float64))
    found = igos_pp(
        model, image, [1], baseline, mask_size=4, paper=True, noise=0.0, iterations=3, integration_steps=4, trace=True
    )
    x, y = slow_igos_pp(model[1].weight.detach(), image[0, 0], baseline[0, 0], 1, 4, 3, 4, 1.0, 20.0)
    assert torch.allclose(found.deletion_mask[0, 0].double(), x, atol=1e-6)
    assert torch.allclose(found.insertion_mask[0, 0].double(), y, atol=1e-6)
    assert torch.allclose(found.saliency[0, 0].double(), 1 - x * y, atol=1e-6)
    assert 0.01 < found.saliency.mean() < 0.99
    objectives = torch.cat([step.objective for step in found.trace])
    assert (objectives.diff() < 0).all()


@pytest.mark.parametrize("method", ["igos_pp", "igos", "mask_perturbation", "rise", "integrated_gradients", "gradient"])
def test_a_network_that_looks_at_one_patch_gets_that_patch(method):
    image, baseline = bright_patch()
    small = {"iterations": 100, "jitter": 0, "area_weight": 0.02}
    options = {"mask_perturbation": small, "rise": {"masks": 300}}.get(method, {})
    saliency = METHODS[method](Patch(), image, [1], baseline, mask_size=8, **options).saliency[0, 0]
    hit = torch.zeros(8, 8, dtype=torch.bool)
    hit[2:4, 4:6] = True
    assert saliency[hit].min() > saliency[~hit].mean()
    assert hit.flatten()[saliency.flatten().argmax()]


@pytest.mark.parametrize("variant", ["full", "naive", "single", "deletion", "insertion"])
def test_variants_find_the_patch(variant):
    image, baseline = bright_patch()
    found = igos_pp(Patch(), image, [1], baseline, mask_size=8, variant=variant)
    assert found.saliency[0, 0, 2:4, 4:6].mean() > 2 * found.saliency.mean()
    assert (found.insertion_mask is None) == (variant not in ("full", "naive"))


@pytest.mark.parametrize("optimiser", ["adam", "line_search", "warm_line_search", "nesterov", "fixed"])
def test_optimisers_lower_the_objective(optimiser):
    image, baseline = bright_patch()
    options = {"rate": 0.1} if optimiser in ("nesterov", "fixed") else {}
    found = igos_pp(
        Patch(), image, [1], baseline, mask_size=8, optimiser=optimiser, iterations=6, points="even", noise=0.0,
        integration_steps=4, end_iterations=0, trace=True, **options,
    )  # fmt: skip
    assert found.trace[-1].objective.item() < found.trace[0].objective.item() - 0.02
    assert len(found.trace) == 6


@pytest.mark.parametrize("method", METHODS)
def test_batch_equals_singles_and_chunks_do_not_matter(method):
    model, images, targets = Small(), pictures(), torch.tensor([0, 1, 2])
    options = {"mask_perturbation": {"iterations": 5}, "rise": {"masks": 70}}.get(method, {})
    seeds = [3, 4, 5]
    batch = METHODS[method](model, images, targets, mask_size=5, seed=seeds, internal_batch_size=7, **options)
    assert batch.saliency.shape == (3, 1, 5, 5)
    assert batch.saliency.dtype == torch.float32
    assert batch.saliency.min() >= 0 and batch.saliency.max() <= 1
    for row in range(3):
        one = slice(row, row + 1)
        single = METHODS[method](
            model, images[one], targets[one], mask_size=5, seed=seeds[row], internal_batch_size=2, **options
        )
        assert torch.allclose(batch.saliency[one], single.saliency, atol=1e-5)


@pytest.mark.parametrize("paper", [False, True])
def test_seeds(paper):
    model, images = Small(), pictures(1)
    options = {"paper": paper, "mask_size": 5, "noise": 0.5, "area_weight": 0.0}
    if paper:
        options |= {"iterations": 2, "integration_steps": 3}
    before = torch.get_rng_state()
    first, again, other = (igos_pp(model, images, [0], seed=seed, **options).saliency for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-6)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("method", METHODS)
def test_model_is_left_as_found(method):
    model, images = Small().train(), pictures(1)
    model.body[4].eval()
    model.body[0].bias.requires_grad_(False)
    for number, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, number)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    options = {"mask_perturbation": {"iterations": 2}, "rise": {"masks": 5}}.get(method, {})
    METHODS[method](model, images, [0], mask_size=4, **options)
    with pytest.raises(ValueError, match="classes 0 to 2"):
        METHODS[method](model, images, [3], mask_size=4, **options)
    assert model.training and not model.body[4].training
    assert not model.body[0].bias.requires_grad and model.body[0].weight.requires_grad
    assert all((p.grad == n).all() for n, p in enumerate(model.parameters()))
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._backward_hooks or m._forward_pre_hooks for m in model.modules())


def test_passes_are_counted():
    images = pictures(2)
    options = {"mask_size": 4, "iterations": 3, "integration_steps": 5, "optimiser": "fixed", "end_iterations": 0}
    found = igos_pp(Small(), images, [0, 1], noise=0.1, **options)
    assert found.evaluations == (2 * (3 * 4 * 5 + 4), 2 * 3 * 4 * 5)
    # without noise the product's terms are the single masks' as long as all masks are 1: the first iteration
    found = igos_pp(Small(), images, [0, 1], **options)
    assert found.evaluations == (2 * ((2 + 4 + 4) * 5 + 4), 2 * (2 + 4 + 4) * 5)
    assert igos_pp(Small(), images, [0, 1], mask_size=4).evaluations == (2 * (56 + 4), 2 * 56)
    quick = igos_pp(Small(), images, [0, 1], mask_size=4, preset="quick")
    assert quick.evaluations == (2 * (36 + 4), 2 * 36)
    searched = igos_pp(Small(), images, [0, 1], mask_size=4, paper=True, iterations=2, integration_steps=3)
    assert searched.evaluations.backward == 2 * 2 * 4 * 3
    assert searched.evaluations.forward > searched.evaluations.backward


def test_progress_and_trace():
    calls = []
    found = igos_pp(
        Small(), pictures(2), 1, mask_size=4, iterations=3, trace=True, progress=lambda *a: calls.append(a)
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert [step.iteration for step in found.trace] == [0, 1, 2]
    assert found.trace[-1].evaluations.backward == found.evaluations.backward
    assert found.trace[0].objective.shape == (2,) and found.trace[0].masks.shape == (2, 2, 4, 4)
    assert igos_pp(Small(), pictures(1), 1, mask_size=4, iterations=1).trace is None


def test_memory_does_not_follow_the_number_of_points():
    """No forward pass sees more images than internal_batch_size, whatever S and N."""
    sizes = []
    model = Small()
    model.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    igos_pp(model, pictures(3), 0, mask_size=4, iterations=1, integration_steps=20, end_iterations=0,
            internal_batch_size=6)  # fmt: skip
    assert max(sizes) == 6
    assert sum(sizes) == 3 * (2 * 20 + 4 + 2)  # the last two: the image and its baseline, looked at before


def equation_4(model, image, baseline, target, x, y):
    """Equation 4 written out for one image (1, C, H, W) and masks (m, m), by loops over neighbours."""

    def score(mask, shown, hidden):
        large = F.interpolate(mask[None, None], size=image.shape[-2:], mode="bilinear")
        with torch.no_grad():
            return torch.softmax(model.eval()(shown * large + hidden * (1 - large)), 1)[0, target].item()

    def variation(mask, picture=None):
        total = 0.0
        for dy, dx in ((1, 0), (0, 1)):
            costs = []
            for i, j in itertools.product(range(mask.shape[0] - dy), range(mask.shape[1] - dx)):
                change = torch.zeros(1) if picture is None else picture[:, i + dy, j + dx] - picture[:, i, j]
                step = mask[i + dy, j + dx] - mask[i, j]
                costs.append(float(step**2 * torch.exp(-change.square().mean() / 1e-4)))
            total += sum(costs) / len(costs)
        return total

    both = x * y
    large = F.interpolate(both[None, None], size=image.shape[-2:], mode="bilinear")[0, 0]
    parts = {"deletion_x": score(x, image, baseline), "insertion_y": -score(y, baseline, image),
             "deletion_xy": score(both, image, baseline), "insertion_xy": -score(both, baseline, image),
             "area": (1 - both).mean().item(),
             "smooth": 20 * (variation(large, image[0] / image.std(correction=0)) + variation(both)) / 2}  # fmt: skip
    return parts | {"total": sum(parts.values())}


def test_the_objective_is_equation_4_at_the_final_masks():
    """Four scores and the regulariser, no path and no noise, whatever the masks were found with."""
    model, images, targets = Small(), pictures(2), [1, 0]
    baselines = 1 - images
    found = igos_pp(model, images, targets, baselines, mask_size=4, noise=0.2, iterations=4, area_weight=0.0)
    assert found.saliency.amax((1, 2, 3)).min() > 0.1  # else the terms could not be told apart
    draws = torch.Generator().manual_seed(2)
    masks = [torch.rand(2, 1, 4, 4, generator=draws) for _ in "xy"]
    drawn = replace(found, deletion_mask=masks[0], insertion_mask=masks[1])
    for one in (found, drawn):
        totals = objective_of(model, images, targets, baselines, one)
        for row in range(2):
            expected = equation_4(model, images[row : row + 1], baselines[row : row + 1], targets[row],
                                  one.deletion_mask[row, 0], one.insertion_mask[row, 0])  # fmt: skip
            assert totals[row].item() == pytest.approx(expected["total"], abs=1e-5)
            if one is found:
                expected |= {"area": 0.0, "total": expected["total"] - expected["area"]}
                assert {name: part[row].item() for name, part in found.objective.items()} == pytest.approx(
                    expected, abs=1e-5)  # fmt: skip


def test_the_default_descends_as_far_as_the_paper_form_and_quick_does_not():
    image, baseline = bright_patch()
    totals = {
        preset: igos_pp(Patch(), image, [1], baseline, mask_size=8, preset=preset).objective["total"].item()
        for preset in ("default", "paper", "quick")
    }
    assert totals["default"] <= totals["paper"] + 0.02
    assert totals["quick"] > totals["default"] + 0.1


def test_the_whole_map_ranks_and_keeps_the_values_of_the_masks():
    image, baseline = bright_patch()
    found = igos_pp(Patch(), image, [1], baseline, mask_size=8, trace=True)
    exact = 1 - found.deletion_mask * found.insertion_mask
    assert (exact == 1).sum() > 1  # saturated: equal in the masks
    assert len(found.saliency.unique()) == found.saliency.numel()
    assert (found.saliency.flatten().sort().values - exact.flatten().sort().values).abs().max() <= 64 * TIE
    mean = torch.stack([1 - step.masks.prod(1, keepdim=True) for step in found.trace]).mean(0)
    for one, two in itertools.combinations(range(0, 64, 5), 2):  # higher in both is higher
        a, b = ((exact.flatten()[k], mean.flatten()[k]) for k in (one, two))
        if a[0] > b[0] and a[1] > b[1]:
            assert found.saliency.flatten()[one] > found.saliency.flatten()[two]


def test_no_two_entries_of_the_finest_map_are_equal():
    """50,176 entries, half of them at 1: float32 has few numbers there."""
    draws = torch.Generator().manual_seed(0)
    saliency, history = (torch.rand(1, 1, 224, 224, generator=draws, dtype=torch.float64) for _ in "ab")
    saliency = (2 * saliency).clamp(max=1)
    found = _ranked(saliency, history).float()
    assert len(found.unique()) == found.numel() and found.min() >= 0 and found.max() <= 1
    top = saliency == 1  # among those the iterates decide
    assert torch.equal(found[top].argsort(), history[top].argsort())
    assert (found.flatten().sort().values - saliency.flatten().sort().values).abs().max() < 0.007


def test_masks_that_do_not_move_are_said():
    model = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 3))
    nn.init.zeros_(model[1].weight)
    with pytest.warns(UserWarning, match=r"hardly moved: 0 \(peak 0.000\)"):
        igos_pp(model, pictures(1), [0], mask_size=8)


def test_igos_paper_has_its_own_authors_settings():
    found = igos(Small(), pictures(1), 0, mask_size=4, preset="paper", trace=True)
    assert found.evaluations.backward == 20 * 15
    assert max(step.step.item() for step in found.trace) <= 8.0


def test_default_baseline_is_the_blurred_image():
    model, images = Small(), pictures(1)
    given = igos_pp(model, images, 0, blurred(images), mask_size=4).saliency
    assert torch.equal(given, igos_pp(model, images, 0, mask_size=4).saliency)


def test_double_models_and_any_shape():
    images = torch.rand(2, 3, 14, 10, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    found = igos_pp(model, images, [0, 1], mask_size=7)
    assert found.saliency.shape == (2, 1, 7, 7)
    assert found.saliency.dtype == torch.float32


def test_a_constant_model_gives_a_map_near_its_start():
    """Nothing to explain: the area term holds the masks at 1, where they started."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 3))
    nn.init.zeros_(model[1].weight)
    for paper in (False, True):
        with pytest.warns(UserWarning, match="hardly moved"):
            found = igos_pp(model, pictures(1), [0], mask_size=8, paper=paper, iterations=2)
        assert found.saliency.max() == 0


def test_igos_is_the_deletion_term_with_plain_variation():
    model, images = Small(), pictures(1)
    found = igos(model, images, 0, mask_size=4)
    same = igos_pp(model, images, 0, mask_size=4, variant="deletion", bilateral=False, iterations=17, rate=0.3)
    assert torch.equal(found.saliency, same.saliency)
    assert found.method == "igos" and found.insertion_mask is None


@pytest.mark.parametrize(
    "options, word",
    [
        ({"mask_size": 1}, "mask_size"),
        ({"mask_size": 4.0}, "mask_size"),
        ({"variant": "none"}, "variant"),
        ({"optimiser": "sgd"}, "optimiser"),
        ({"rate": -1.0}, "rate"),
        ({"iterations": 0}, "iterations"),
        ({"integration_steps": 0}, "integration_steps"),
        ({"noise": -0.1}, "noise"),
        ({"noise": float("nan")}, "noise: expected a finite number of 0 or more, got nan"),
        ({"smooth_weight": float("inf")}, "smooth_weight"),
        ({"area_weight": "1"}, "area_weight"),
        ({"scale": float("inf")}, "scale: expected a finite number above 0"),
        ({"iterations": 2.5}, "iterations: expected a whole number"),
        ({"integration_steps": True}, "integration_steps"),
        ({"bilateral": "no"}, "bilateral: expected true or false"),
        ({"preset": "fast"}, "preset"),
        ({"end_iterations": 99}, "end_iterations"),
        ({"result": "first"}, "result"),
        ({"edges": "none"}, "edges"),
        ({"scale": 0.0}, "scale"),
        ({"seed": [1, 2]}, "seed"),
        ({"baselines": torch.zeros(1, 1, 3, 3)}, "baselines"),
        ({"internal_batch_size": 0}, "internal_batch_size"),
    ],
)
def test_bad_options_are_named(options, word):
    with pytest.raises(ValueError, match=word):
        igos_pp(Small(), pictures(1), 0, **{"mask_size": 4, **options})


@pytest.mark.filterwarnings("ignore:.*hardly moved")
@pytest.mark.parametrize("size", [(1, 12), (12, 1), (1, 1)])
def test_images_of_one_row_or_pixel_have_an_objective(size):
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))
    found = igos_pp(model, images, [0], torch.zeros_like(images), mask_size=4)
    assert torch.isfinite(found.objective["total"]).all() and torch.isfinite(found.deletion_mask).all()
