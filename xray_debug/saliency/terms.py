"""The objective of I-GOS and iGOS++ (equations 2, 4 and 5) and its gradient.

Every perturbed image is B + w (I - B) with a weight w per pixel. With M the upsampled mask and a the
integration point, the deletion terms have w = a M (towards the baseline as a falls) and the insertion terms
w = 1 - a M (towards the image). The network's input gradient G then gives the mask's as the sum over channels
of G (I - B), times dw/dM: only the network itself is differentiated automatically.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from xray_debug.saliency.images import upsample, upsample_adjoint
from xray_debug.saliency.network import Network
from xray_debug.saliency.seeds import generator, uniform
from xray_debug.saliency.tv import bilateral_total_variation, edge_weights, image_scale, total_variation


class Term(NamedTuple):
    """One score term. `mask`: "x" or "y", or "xy" for their product; `noisy`: Gaussian noise on its images."""

    kind: str
    mask: str
    noisy: bool


# which terms are summed, and which masks carry the regulariser
VARIANTS: dict[str, tuple[tuple[Term, ...], tuple[str, ...]]] = {
    "full": (
        (
            Term("deletion", "x", True),
            Term("insertion", "y", True),
            Term("deletion", "xy", False),
            Term("insertion", "xy", False),
        ),
        ("xy",),
    ),
    "naive": ((Term("deletion", "x", True), Term("insertion", "y", True)), ("x", "y")),
    "single": ((Term("deletion", "x", True), Term("insertion", "x", True)), ("x",)),
    "deletion": ((Term("deletion", "x", True),), ("x",)),
    "insertion": ((Term("insertion", "x", True),), ("x",)),
}


@dataclass(frozen=True)
class Setting:
    """What the objective is made of; see igos_pp for the meaning of each."""

    variant: str = "full"
    steps: int = 20
    points: str = "even"
    noise: float = 0.2
    bilateral: bool = True
    area_weight: float = 1.0
    smooth_weight: float = 20.0
    edges: str = "paper"
    scale: float | None = None


class Views(NamedTuple):
    """The perturbed images of one evaluation, as indices: all (V,)."""

    image: torch.Tensor
    mask: torch.Tensor
    offset: torch.Tensor
    slope: torch.Tensor
    weight: torch.Tensor
    keys: list[tuple[int, int, int] | None]


MASKS = ("x", "y", "xy")


class Objective:
    """f(masks) = sum of terms + regulariser for a batch of images.

    masks are (N, Q, m, m) in [0, 1]: Q = 2 (Mx, My) for the variants full and naive, else 1. `draw` names the
    iteration: noise and stratified points are a function of (image seed, draw) alone, so that a line search
    compares like with like.
    """

    def __init__(self, network: Network, images, baselines, targets, seeds: list[int], setting: Setting):
        if setting.variant not in VARIANTS:
            raise ValueError(f"variant: expected one of {', '.join(VARIANTS)}, got {setting.variant!r}")
        if setting.points not in ("even", "stratified"):
            raise ValueError(f"points: expected even or stratified, got {setting.points!r}")
        self.network, self.setting, self.seeds = network, setting, seeds
        self.terms, self.regularised = VARIANTS[setting.variant]
        self.baselines, self.targets = baselines, targets
        self.change = images - baselines
        self.edges = edge_weights(images, form=setting.edges, scale=setting.scale) if setting.bilateral else None
        self.noise = (setting.noise * image_scale(images, setting.scale)).flatten().tolist()
        self.size = tuple(images.shape[-2:])

    @property
    def mask_count(self) -> int:
        return 2 if any(term.mask == "y" for term in self.terms) else 1

    def value(self, masks: torch.Tensor, rows: torch.Tensor, draw: int) -> torch.Tensor:
        """f of the images `rows` (n,) at masks (n, Q, m, m): (n,)."""
        views = self._views(rows.tolist(), draw, self.terms)
        pixels = self._pixel_masks(masks)
        scores = self.network.scores(lambda r: self._images(views, pixels, rows, r), self.targets[rows][views.image])
        return self._sum(scores * views.weight, len(rows)) + self.regulariser(masks, rows)

    def gradient(self, masks: torch.Tensor, draw: int) -> tuple[torch.Tensor, torch.Tensor]:
        """f (N,) and its gradient (N, Q, m, m) for all images."""
        rows = torch.arange(len(masks), device=masks.device)
        twins = self._has_twins(masks)
        views = self._views(rows.tolist(), draw, self.terms[:2] if twins else self.terms)
        pixels = self._pixel_masks(masks)
        total = torch.zeros(len(masks) * 3, *self.size, dtype=masks.dtype, device=masks.device)
        place = views.image * 3 + views.mask

        def take(r: slice, gradient: torch.Tensor, factors: torch.Tensor) -> None:
            flow = (gradient * self.change[views.image[r]]).sum(1) * (factors * views.slope[r]).view(-1, 1, 1)
            total.index_add_(0, place[r], flow)

        scores = self.network.gradients(
            lambda r: self._images(views, pixels, rows, r), self.targets[views.image], views.weight, take
        )
        flow = upsample_adjoint(total.view(len(masks), 3, *self.size), masks.shape[-2:])
        found = self._sum(scores * views.weight, len(masks))
        if twins:
            flow[:, 2], found = flow[:, 0] + flow[:, 1], 2 * found
        gradient = self._to_masks(flow, masks)
        with torch.enable_grad():
            leaf = masks.detach().requires_grad_(True)
            extra = self.regulariser(leaf, rows)
            gradient = gradient + torch.autograd.grad(extra.sum(), leaf)[0]
        return found + extra.detach(), gradient

    def parts(self, masks: torch.Tensor) -> dict[str, torch.Tensor]:
        """f of all images and what it is made of, (N,) each: "total", the score terms ("deletion_x"), "area", "smooth".

        A term's value has its sign and its mean over the points; area and smooth have their weights.
        """
        rows = torch.arange(len(masks), device=masks.device)
        views = self._views(rows.tolist(), 0, self.terms)
        pixels = self._pixel_masks(masks)
        scores = self.network.scores(lambda r: self._images(views, pixels, rows, r), self.targets[rows][views.image])
        each = (scores * views.weight).view(len(masks), len(self.terms), -1).sum(2)
        found = {f"{term.kind}_{term.mask}": each[:, number] for number, term in enumerate(self.terms)}
        named = self._named(masks)
        pairs = [self._area_and_smooth(named[name], rows) for name in self.regularised]
        found |= {"area": sum(pair[0] for pair in pairs), "smooth": sum(pair[1] for pair in pairs)}
        return {"total": sum(found.values()), **found}

    def _has_twins(self, masks: torch.Tensor) -> bool:
        """Whether the product's terms show the network the same images as the single masks', as at the start."""
        full = self.setting.variant == "full" and self.setting.noise == 0
        return full and bool((masks == 1).all())

    def regulariser(self, masks: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """g of the masks that carry it, (n,): area_weight * mean |1 - M| + smooth_weight * variation."""
        named = self._named(masks)
        return sum(self._regulariser(named[name], rows) for name in self.regularised)

    def _regulariser(self, mask: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return sum(self._area_and_smooth(mask, rows))

    def _area_and_smooth(self, mask: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        area = (1 - mask).abs().mean((-2, -1))
        variation = total_variation(mask)
        if self.edges is not None:
            edges = tuple(edge[rows] for edge in self.edges)
            variation = (variation + bilateral_total_variation(upsample(mask, self.size), edges)) / 2
        return self.setting.area_weight * area, self.setting.smooth_weight * variation

    def _named(self, masks: torch.Tensor) -> dict[str, torch.Tensor]:
        if masks.shape[1] == 1:
            return {"x": masks[:, 0]}
        return {"x": masks[:, 0], "y": masks[:, 1], "xy": masks[:, 0] * masks[:, 1]}

    def _pixel_masks(self, masks: torch.Tensor) -> torch.Tensor:
        """The masks and their product at image size, (n, 1 or 3, H, W)."""
        return upsample(torch.stack(list(self._named(masks).values()), 1), self.size)

    def _to_masks(self, flow: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Gradients with respect to x, y and xy (N, 3, m, m) to those of the masks, by the product rule."""
        if masks.shape[1] == 1:
            return flow[:, :1].clone()
        return flow[:, :2] + flow[:, 2:] * masks.flip(1)

    def _views(self, rows: list[int], draw: int, terms: tuple[Term, ...]) -> Views:
        steps, setting = self.setting.steps, self.setting
        image, mask, offset, slope, weight, keys = [], [], [], [], [], []
        for position, row in enumerate(rows):
            shift = 1.0 if setting.points == "even" else 1.0 - uniform(self.seeds[row], draw)
            for number, term in enumerate(terms):
                deletes = term.kind == "deletion"
                for step in range(steps):
                    point = (step + shift) / steps
                    image.append(position)
                    mask.append(MASKS.index(term.mask))
                    offset.append(0.0 if deletes else 1.0)
                    slope.append(point if deletes else -point)
                    weight.append((1.0 if deletes else -1.0) / steps)
                    noisy = setting.noise > 0 and term.noisy
                    keys.append((self.seeds[row], number, step) if noisy else None)
        keys = [None if key is None else (*key, draw) for key in keys]
        place = {"device": self.baselines.device}
        number = {**place, "dtype": self.baselines.dtype}
        index = [torch.tensor(v, **place) for v in (image, mask)]
        return Views(*index, *(torch.tensor(v, **number) for v in (offset, slope, weight)), keys)

    def _images(self, views: Views, pixels: torch.Tensor, rows: torch.Tensor, r: slice) -> torch.Tensor:
        """The perturbed images of views[r], (v, C, H, W)."""
        source = rows[views.image[r]]
        weight = pixels[views.image[r], views.mask[r]] * views.slope[r].view(-1, 1, 1) + views.offset[r].view(-1, 1, 1)
        images = torch.addcmul(self.baselines[source], weight[:, None], self.change[source])
        for position, key in enumerate(views.keys[r]):
            if key is not None:
                draws = generator(images.device, *key)
                noise = torch.randn(images.shape[1:], generator=draws, dtype=images.dtype, device=images.device)
                images[position].add_(noise, alpha=self.noise[int(source[position])])
        return images

    def _sum(self, values: torch.Tensor, count: int) -> torch.Tensor:
        return values.view(count, -1).sum(1)
