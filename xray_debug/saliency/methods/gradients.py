"""Gradient and integrated gradients through captum, and Grad-CAM, behind the result type of the others.

captum is imported in the functions: it takes a second.
"""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from xray_debug.saliency.asking import Chosen, explains
from xray_debug.saliency.baselines import checked_baselines
from xray_debug.saliency.images import checked_mask_size, checked_whole, normalised
from xray_debug.saliency.network import at_least_single, borrowed, checked_logits, differentiable, prepared, watched
from xray_debug.saliency.registry import METHODS
from xray_debug.saliency.result import Evaluations, Explanation

Progress = Callable[[int, int], None]
MOST_EXTRA = 8  # tokens before those of the patches: class, distillation, registers


def _scores(model: nn.Module):
    return lambda x: torch.softmax(model(x), 1)


def _pooled(attribution: torch.Tensor, mask_size: int, absolute: bool = True) -> torch.Tensor:
    """Attribution (N, C, H, W) to maps (N, 1, m, m): sum (of magnitudes) over channels, mean over each cell."""
    attribution = attribution.detach()
    maps = (attribution.abs() if absolute else attribution).sum(1, keepdim=True)
    return F.adaptive_avg_pool2d(maps, checked_mask_size(mask_size))


def _check(model, images, targets) -> None:
    differentiable(checked_logits(model(images[:1].clone().requires_grad_(True)), targets))


@METHODS.register("gradient", help="size of the gradient")
@explains
def gradient(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, baselines=None, mask_size: int = 28, seed=0,
    internal_batch_size: int = 32,
) -> Explanation:  # fmt: skip
    """|d probability / d pixel| (Simonyan et al. 2014), pooled to the mask. `baselines` and `seed` are not used."""
    from captum.attr import Saliency

    started = time.perf_counter()
    checked_mask_size(mask_size)
    images, targets = prepared(model, images, targets)
    maps = []
    with borrowed(model), torch.enable_grad(), ExitStack() as stack:
        _check(model, images, targets)
        stack.enter_context(watched(model))
        method = Saliency(_scores(model))
        for rows in range(0, len(images), internal_batch_size):
            part = images[rows : rows + internal_batch_size].clone().requires_grad_(True)
            maps.append(_pooled(method.attribute(part, target=targets[rows : rows + len(part)]), mask_size))
    count = Evaluations(len(images) + 1, len(images))
    return Explanation(normalised(torch.cat(maps)), count, time.perf_counter() - started, "gradient")


@METHODS.register("integrated_gradients", help="integrated gradients from the baseline")
@explains
def integrated_gradients(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, baselines=None, mask_size: int = 28, seed=0,
    steps: int = 50, absolute: bool = False, internal_batch_size: int = 32, progress: Progress | None = None,
) -> Explanation:  # fmt: skip
    """Integrated gradients (Sundararajan et al. 2017) from the baseline, summed over channels, pooled to the mask.

    They are signed: what speaks against the class ranks last. absolute=True ranks by their size instead. `seed` is
    not used. `progress` is called with (points of the path done, points), after each `internal_batch_size` of them.
    """
    started = time.perf_counter()
    checked_mask_size(mask_size)
    checked_whole("steps", steps, 1)
    found = attributions(model, images, targets, baselines, steps, internal_batch_size, progress)
    count = Evaluations(len(images) * steps + 1, len(images) * steps)
    maps = normalised(_pooled(found, mask_size, absolute))
    return Explanation(maps, count, time.perf_counter() - started, "integrated_gradients")


def attributions(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, baselines=None, steps: int = 50,
    internal_batch_size: int = 32, progress: Progress | None = None,
) -> torch.Tensor:  # fmt: skip
    """Integrated gradients of the probability, (N, C, H, W); they sum to f(image) - f(baseline) as `steps` grow."""
    from captum.attr import IntegratedGradients

    images, targets = prepared(model, images, targets)
    baselines = checked_baselines(baselines, images)
    found = []
    with borrowed(model), torch.enable_grad(), ExitStack() as stack:
        _check(model, images, targets)
        stack.enter_context(watched(model))
        method = IntegratedGradients(_counted(_scores(model), len(images) * steps, progress))
        for row in range(len(images)):
            one = slice(row, row + 1)
            own = method.attribute(
                images[one], baselines[one], int(targets[row]), n_steps=steps, method="riemann_middle",
                internal_batch_size=min(steps, internal_batch_size),
            )  # fmt: skip
            found.append(own.detach())
    return torch.cat(found)


def _counted(scores: Callable, total: int, progress: Progress | None) -> Callable:
    """`scores`, and `progress` told of each pass: captum has no callback of its own."""
    done = 0

    def count(x: torch.Tensor) -> torch.Tensor:
        nonlocal done
        found = scores(x)
        done = min(done + len(x), total)
        progress(done, total)
        return found

    return count if progress else scores


POOLING = (
    nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, nn.FractionalMaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d
)  # fmt: skip
Reshape = Callable[[torch.Tensor], torch.Tensor]


def tokens_to_map(tokens: torch.Tensor, aspect: float = 1.0) -> torch.Tensor:
    """Tokens (N, T, K) of a vision transformer as features (N, K, h, w); those before the patches (class) left out.

    Features (N, K, h, w) stay as they are, those with channels last (N, h, w, K), as of a Swin transformer, are
    turned. `aspect`: height over width of the image, which its patches share. ValueError where no grid of them does.
    """
    if tokens.ndim == 4:
        first, last = (_distortion(*tokens.shape[i : i + 2], aspect) for i in (2, 1))
        return tokens.permute(0, 3, 1, 2) if last < first else tokens
    grid = _grid(tokens.shape[1], aspect) if tokens.ndim == 3 else None
    if grid is None:
        raise ValueError(f"gradcam: expected features (N, K, h, w) or tokens (N, T, K) of a grid like the image, got "
                         f"{tuple(tokens.shape)}; reshape_transform=... makes features of them")  # fmt: skip
    return tokens[:, tokens.shape[1] - math.prod(grid) :].transpose(1, 2).unflatten(2, grid)


def _distortion(height: int, width: int, aspect: float) -> float:
    return abs(math.log(height / width / aspect))


def _grid(count: int, aspect: float) -> tuple[int, int] | None:
    """Rows and columns of patches shaped as the image is, with the fewest tokens besides; None where there are none."""
    extras = [extra for extra in range(MOST_EXTRA + 1) if count - extra > 1]
    grids = [(h, (count - extra) // h) for extra in extras for h in range(1, count + 1) if (count - extra) % h == 0]
    best = min(grids, key=lambda grid: _distortion(*grid, aspect), default=None)
    # patches that do not fit whole are cut, so a grid may be a little off the image's shape
    return best if best and _distortion(*best, aspect) < math.log(1 + 0.5 / min(best)) else None


def layer_named(model: nn.Module, name: str) -> nn.Module:
    """The module of that dotted name; ValueError names similar ones."""
    known = {key.removeprefix("model.") if isinstance(model, Chosen) else key: module
             for key, module in model.named_modules() if key}  # fmt: skip
    if name not in known:
        close = difflib.get_close_matches(name, known, 4, 0.3) or list(known)[-4:]
        raise ValueError(f"gradcam: the model has no layer {name!r}; there are {', '.join(close)}, ...")
    return known[name]


class Features:
    """What Grad-CAM weighs: hooks while it is entered, then `of(total)` after each forward pass.

    The output of `layer`; or the last features (N, K, h, w) in the order of computing that are larger than 1 x 1 and
    not yet pooled (layer4 of a ResNet, the activation of the last convolution of a VGG, as in the papers); or, in a
    transformer, the last normalised tokens whose patches still have an influence: after the last attention they have
    none.
    """

    def __init__(self, model: nn.Module, layer: nn.Module | str | None, reshape: Reshape | None, aspect: float):
        self.layer = layer_named(model, layer) if isinstance(layer, str) else layer
        self.aspect = aspect
        self.reshape = reshape or partial(tokens_to_map, aspect=aspect)
        modules = [self.layer] if self.layer is not None else [m for m in model.modules() if m is not model]
        self.modules = [m for m in modules if not isinstance(m, torch.jit.ScriptModule)]  # nobody can look into these
        self.maps: list[torch.Tensor] = []
        self.tokens: list[torch.Tensor] = []
        self.pooled: list[torch.Tensor] = []

    def __enter__(self) -> Features:
        self.hooks = [module.register_forward_hook(self._see) for module in self.modules]
        return self

    def __exit__(self, *error) -> None:
        for hook in self.hooks:
            hook.remove()

    def _see(self, module: nn.Module, inputs, output) -> None:
        if not isinstance(output, torch.Tensor):
            return
        if isinstance(module, POOLING):
            self.pooled.append(output)
        elif self.layer is not None or (output.ndim == 4 and max(output.shape[-2:]) > 1):
            self.maps.append(output)
        elif output.ndim == 3 and isinstance(module, nn.LayerNorm):
            self.tokens.append(output)

    def of(self, total: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The features (N, K, h, w) and the gradient of `total`, the logits' sum, by them."""
        maps = [own for own in self.maps if not any(own is other for other in self.pooled)][-1:]
        candidates = [*reversed(self.tokens), *maps]
        self.maps, self.tokens, self.pooled = [], [], []
        for number, own in enumerate(candidates):
            (slope,) = torch.autograd.grad(total, own, retain_graph=True, allow_unused=True)
            if slope is None or (own.ndim == 3 and self.layer is None and not _grid(own.shape[1], self.aspect)):
                continue
            weighed, slope = (self.reshape(part).to(at_least_single(part.dtype)) for part in (own.detach(), slope))
            if weighed.ndim != 4:
                raise ValueError(f"gradcam: expected features (N, K, h, w), got {tuple(weighed.shape)}")
            if bool(slope.any()) or number == len(candidates) - 1:
                return weighed, slope
        raise ValueError("gradcam: expected a model with feature maps (N, K, h, w), or layer=..., got none")


@METHODS.register("gradcam", help="Grad-CAM at the last features")
@explains
def gradcam(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, baselines=None, mask_size: int = 28, seed=0,
    layer: nn.Module | str | None = None, reshape_transform: Reshape | None = None, internal_batch_size: int = 32,
) -> Explanation:  # fmt: skip
    """Grad-CAM (Selvaraju et al. 2017) of the logit at `layer`, the last features before pooling by default.

    Channels weighed by their mean gradient, what is positive, resized bilinearly to the mask. `layer` is a module or
    its dotted name. `reshape_transform` makes features (N, K, h, w) of what the layer gives; tokens (N, T, K) of a
    grid of patches are understood without it. `baselines` and `seed` are not used.
    """
    started = time.perf_counter()
    checked_mask_size(mask_size)
    images, targets = prepared(model, images, targets)
    maps = []
    looking = Features(model, layer, reshape_transform, images.shape[2] / images.shape[3])
    with borrowed(model), torch.enable_grad(), watched(model), looking as features:
        for rows in range(0, len(images), internal_batch_size):
            part, own = images[rows : rows + internal_batch_size], targets[rows : rows + internal_batch_size]
            logits = differentiable(checked_logits(model(part.clone().requires_grad_(True)), targets))
            weighed, slope = features.of(logits.gather(1, own[:, None]).sum())
            cam = (slope.mean((2, 3), keepdim=True) * weighed).sum(1, keepdim=True).relu()
            maps.append(F.interpolate(cam, (mask_size, mask_size), mode="bilinear"))
    count = Evaluations(len(images), len(images))
    return Explanation(normalised(torch.cat(maps)), count, time.perf_counter() - started, "gradcam")
