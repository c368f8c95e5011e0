"""What every saliency method returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HARDLY = 0.1  # a mask whose saliency peaks below this did not move
# a change of probability between image and baseline below which, and below half of which, there is nothing to explain
ALIKE = 0.05


class StillMask(UserWarning):
    """The masks of an image hardly moved: its map says little."""


class Evaluations(NamedTuple):
    """Images sent through the network: forward passes, and those that were also differentiated."""

    forward: int
    backward: int


@dataclass(frozen=True)
class Step:
    """One iteration of an optimising method, for all images of the batch.

    `objective` (N,) is the objective as that iteration estimated it, before its step; `step` (N,) the step
    size taken; `evaluations` the passes spent so far; `masks` (N, Q, m, m) the masks after the step.
    """

    iteration: int
    objective: torch.Tensor
    step: torch.Tensor
    evaluations: Evaluations
    masks: torch.Tensor


@dataclass(frozen=True)
class Explanation:
    """Saliency of N images.

    saliency        (N, 1, m, m) float32 in [0, 1], 1 = most salient
    evaluations     passes through the network, all images together
    seconds         wall time
    deletion_mask   (N, 1, m, m) Mx of iGOS++ or M of I-GOS, in [0, 1], 1 = keep; None elsewhere
    insertion_mask  (N, 1, m, m) My of iGOS++; None elsewhere
    objective       equation 4 at the final masks, no noise, (N,) as "total", and its parts (terms.py); None elsewhere
    trace           one Step per iteration where it was asked for
    images, targets what was explained, (N, C, H, W) as given and (N,)

    The last thing in a notebook's cell, it shows itself.
    """

    saliency: torch.Tensor = field(repr=False)
    evaluations: Evaluations
    seconds: float
    method: str = ""
    deletion_mask: torch.Tensor | None = field(default=None, repr=False)
    insertion_mask: torch.Tensor | None = field(default=None, repr=False)
    objective: dict[str, torch.Tensor] | None = field(default=None, repr=False)
    trace: list[Step] | None = field(default=None, repr=False)
    images: torch.Tensor | None = field(default=None, repr=False)
    targets: torch.Tensor | None = field(default=None, repr=False)

    def plot(self, images: torch.Tensor | np.ndarray | None = None) -> Figure:
        """A matplotlib Figure: each image (N, C, H, W) beside its overlay, scaled to its peak, which is said below.

        `images`: the explained ones without it; others of the same number to show them in another form.
        """
        from xray_debug.saliency.plots import explanation_figure

        return explanation_figure(self._shown(images), self.saliency.detach().cpu().float().numpy())

    def overlay(self, images: torch.Tensor | np.ndarray | None = None) -> np.ndarray:
        """Each image with its map over it, scaled to its peak: uint8 (N, H, W, 3). `images` as in plot."""
        from xray_debug.saliency.plots import overlays

        return overlays(self._shown(images), self.saliency.detach().cpu().float().numpy())

    def _shown(self, images: torch.Tensor | np.ndarray | None) -> np.ndarray:
        images = self.images if images is None else images
        if images is None:
            raise ValueError("images: this explanation does not know what it explains, expected (N, C, H, W)")
        if len(images) != len(self.saliency):
            raise ValueError(f"images: expected {len(self.saliency)}, as there are maps, got {len(images)}")
        return torch.as_tensor(images).detach().cpu().float().numpy()

    def _repr_png_(self) -> bytes | None:
        if self.images is None:
            return None
        import io

        file = io.BytesIO()
        self.plot().savefig(file, format="png", dpi=100)
        return file.getvalue()

    @property
    def hardly_moved(self) -> torch.Tensor:
        """Whether the masks stayed about where they began, so that the map says little, (N,) bool.

        False for methods without masks, whose maps are scaled to [0, 1] anyway.
        """
        still = self.saliency.amax((1, 2, 3)) < HARDLY
        return still if self.deletion_mask is not None else torch.zeros_like(still)


def as_saliency(saliency: torch.Tensor | np.ndarray | Explanation) -> torch.Tensor:
    """Maps as a tensor: of an Explanation, an array or a tensor; TypeError for another."""
    saliency = saliency.saliency if isinstance(saliency, Explanation) else saliency
    saliency = torch.from_numpy(saliency) if isinstance(saliency, np.ndarray) else saliency
    if not isinstance(saliency, torch.Tensor):
        raise TypeError(f"saliency: expected a tensor (N, 1, m, m), got {type(saliency).__name__}")
    return saliency


def alike(score: torch.Tensor, without: torch.Tensor) -> torch.Tensor:
    """Whether the class is about as probable for the baseline as for the image, (N,) bool: nothing to explain."""
    change = (score - without).abs()
    return (change < ALIKE) & (change < torch.maximum(score, without) / 2)
