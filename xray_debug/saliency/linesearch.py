"""Backtracking line search over a batch (equation 8)."""

from __future__ import annotations

from collections.abc import Callable

import torch

Evaluate = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def backtracking(
    evaluate: Evaluate,
    values: torch.Tensor,
    squared_norms: torch.Tensor,
    start: torch.Tensor,
    lowest: float = 1e-5,
    decay: float = 0.2,
    beta: float = 1e-4,
) -> torch.Tensor:
    """The first step a of start, start * decay, ... with f(a) <= f(0) - a * beta * ||g||^2, per row.

    evaluate(steps (n,), rows (n,)) gives f of those rows at those steps; rows that are done are not asked for
    again. A row that finds no such step down to `lowest` gets the last one tried, as the authors' code does.
    `values`, `squared_norms` and `start` are (N,); the result is (N,).
    """
    steps = start.clone()
    rows = torch.arange(len(values), device=values.device)
    while len(rows):
        found = evaluate(steps[rows], rows)
        enough = found <= values[rows] - steps[rows] * beta * squared_norms[rows]
        rows = rows[~enough & (steps[rows] >= lowest)]
        steps[rows] *= decay
    return steps
