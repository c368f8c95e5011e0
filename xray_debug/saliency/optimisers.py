"""How the masks move: one small class per rule, all with step(masks, gradient, values, evaluate).

masks and gradient are (N, Q, m, m), values (N,) the objective at the masks; evaluate(masks (n, Q, m, m), rows (n,))
gives the objective of some rows at other masks, with the same noise and integration points. step returns the
new masks, inside [0, 1], and the step sizes (N,).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from xray_debug.saliency.linesearch import backtracking

Evaluate = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
HIGHEST_STEP = 1000.0
DECAY = 0.2


def _column(values: torch.Tensor) -> torch.Tensor:
    return values.view(-1, 1, 1, 1)


class FixedStep:
    """M <- clip(M - a g)."""

    def __init__(self, rate: float):
        self.rate = rate

    def step(self, masks, gradient, values, evaluate):
        return (masks - self.rate * gradient).clamp(0, 1), torch.full_like(values, self.rate)


class Nesterov:
    """Nesterov's accelerated gradient with momentum t / (t + 3), the authors' later NAG variant."""

    def __init__(self, rate: float):
        self.rate = rate
        self.iteration = 0
        self.previous: torch.Tensor | None = None

    def step(self, masks, gradient, values, evaluate):
        moved = masks - self.rate * gradient
        previous = moved if self.previous is None else self.previous
        momentum = self.iteration / (self.iteration + 3)
        self.previous, self.iteration = moved, self.iteration + 1
        return (moved + momentum * (moved - previous)).clamp(0, 1), torch.full_like(values, self.rate)


class LineSearch:
    """Backtracking along the gradient from `highest` (equation 8), or, warm, from just above the last accepted step."""

    def __init__(self, highest: float = HIGHEST_STEP, warm: bool = False):
        self.highest = highest
        self.warm = warm
        self.last: torch.Tensor | None = None

    def step(self, masks, gradient, values, evaluate):
        def along(steps, rows):
            return evaluate((masks[rows] - _column(steps) * gradient[rows]).clamp(0, 1), rows)

        start = torch.full_like(values, self.highest)
        if self.warm and self.last is not None:
            start = (self.last / DECAY).clamp(max=self.highest)
        steps = backtracking(along, values, gradient.square().flatten(1).sum(1), start, decay=DECAY)
        self.last = steps
        return (masks - _column(steps) * gradient).clamp(0, 1), steps


class Adam:
    """Adam with a cosine-decayed rate and a floor under its denominator.

    The floor is `floor` times each mask's own root mean square gradient. At 1 small gradients move their entries
    in proportion, only large ones are tamed: the ranking keeps the sizes that plain Adam's signs would flatten,
    and rounding cannot choose the direction of entries that hardly matter.
    """

    def __init__(self, rate: float, iterations: int, betas=(0.9, 0.999), floor: float = 1.0, cosine: bool = True):
        self.rate, self.iterations, self.betas, self.floor, self.cosine = rate, iterations, betas, floor, cosine
        self.iteration = 0
        self.first: torch.Tensor | float = 0.0
        self.second: torch.Tensor | float = 0.0

    def step(self, masks, gradient, values, evaluate):
        rate = self.rate
        if self.cosine:
            rate *= 0.5 * (1 + math.cos(math.pi * self.iteration / self.iterations))
        self.iteration += 1
        a, b = self.betas
        self.first = a * self.first + (1 - a) * gradient
        self.second = b * self.second + (1 - b) * gradient.square()
        mean = self.first / (1 - a**self.iteration)
        square = self.second / (1 - b**self.iteration)
        floor = self.floor * square.mean((-2, -1), keepdim=True).sqrt() + torch.finfo(square.dtype).tiny
        return (masks - rate * mean / (square.sqrt() + floor)).clamp(0, 1), torch.full_like(values, rate)


def make_optimiser(name: str, rate: float | None, iterations: int):
    """The rule called `name` with its usual rate where none is given."""
    if rate is not None and not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"rate: expected a positive number, got {rate}")
    if name == "adam":
        return Adam(rate or 0.1, iterations)
    if name in ("line_search", "warm_line_search"):
        return LineSearch(rate or HIGHEST_STEP, warm=name.startswith("warm"))
    if name == "nesterov":
        return Nesterov(rate or HIGHEST_STEP)
    if name == "fixed":
        return FixedStep(rate or 10.0)
    raise ValueError(f"optimiser: expected adam, line_search, warm_line_search, nesterov or fixed, got {name!r}")
