"""Sanity checks of a run's explanations: does the method explain this model, and this decision, and is it steady?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch

from xray_debug.models.checkpoint import load_checkpoint
from xray_debug.models.classifier import XrayClassifier
from xray_debug.models.inference import folded
from xray_debug.saliency import METHODS, max_sensitivity
from xray_debug.saliency.randomisation import layers_from_output, other_classes, randomised_models, rank_correlation

SAMPLES = 2  # moved images of max-sensitivity: each costs an explanation, and so does the image as it is
SANITY = ("mprt_output", "mprt_all", "random_logit", "max_sensitivity")


@dataclass
class SanityChecks:
    """The checks of one method on one model, six explanations an image.

    mprt_output, mprt_all   rank correlation of the map with that of the model whose output layer, or every layer, was
                            drawn anew (MPRT); a method that explains the model loses its similarity
    random_logit            rank correlation of the map with that of another class
    max_sensitivity         how far the map moves when each pixel moves by up to 0.02, over its length

    `fold`: whether the drawn networks may be folded, as the one that is asked was.
    """

    folder: str
    method: str
    options: dict = field(default_factory=dict)
    mask_size: int = 28
    seed: int = 0
    device: str = "cpu"
    fold: bool = True
    trusted: bool = False

    @cached_property
    def drawn(self) -> dict[str, XrayClassifier]:
        """The models with the output layer and with all layers drawn anew."""
        model, names = load_checkpoint(self.folder, self.trusted), ("mprt_output", "mprt_all")
        if not model.plain:  # a program has no layers to draw anew
            return {}
        copies = (next(randomised_models(model, self.seed)),
                  *randomised_models(model, self.seed, every=len(layers_from_output(model))))  # fmt: skip
        form = folded if self.fold else XrayClassifier.eval
        return {name: form(found).to(self.device) for name, (_, found) in zip(names, copies, strict=True)}

    def __call__(self, model: XrayClassifier, image: torch.Tensor, target: torch.Tensor, saliency: torch.Tensor,
                 seed: int) -> dict[str, float]:  # fmt: skip
        """Of one image (1, C, H, W) whose map (1, 1, m, m) was made with this seed; NaN for what cannot be said."""

        def similarity(asked: XrayClassifier, wanted: torch.Tensor) -> torch.Tensor:
            return rank_correlation(saliency, self._explain(asked, image, wanted, seed))

        def steadiness() -> torch.Tensor:
            options = {"mask_size": self.mask_size, **self.options}
            return max_sensitivity(METHODS[self.method], model, image, target, samples=SAMPLES, seed=seed, **options)

        return {
            **dict.fromkeys(SANITY, math.nan),
            **{name: _number(lambda other=other: similarity(other, target)) for name, other in self.drawn.items()},
            "random_logit": _number(lambda: similarity(model, other_classes(model, image, target, seed))),
            "max_sensitivity": _number(steadiness),
        }

    def _explain(self, model, image, target, seed) -> torch.Tensor:
        found = METHODS[self.method](model, image, target, mask_size=self.mask_size, seed=seed, **self.options)
        return found.saliency


def _number(check: Callable[[], torch.Tensor]) -> float:
    """NaN where a drawn network gives NaN or infinity: that is no fault of the explanation."""
    try:
        return float(check())
    except ValueError:
        return math.nan
