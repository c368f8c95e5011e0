"""The line search on quadratics whose accepted step is known."""

import torch

from xray_debug.saliency.linesearch import backtracking


def quadratic(curvatures, asked):
    """f(x) = c x^2 / 2 at x = 1 along its gradient c: f(a) = c (1 - a c)^2 / 2."""

    def evaluate(steps, rows):
        asked.append(rows.tolist())
        c = curvatures[rows]
        return c * (1 - steps * c) ** 2 / 2

    return evaluate


def test_first_step_that_meets_the_condition():
    """f(a) <= f(0) - a b c^2 holds exactly when a <= 2 (1 - b) / c."""
    curvatures = torch.tensor([0.5, 2.0, 4.0], dtype=torch.float64)
    asked: list[list[int]] = []
    start = torch.full((3,), 8.0, dtype=torch.float64)
    steps = backtracking(quadratic(curvatures, asked), curvatures / 2, curvatures**2, start, decay=0.5, beta=0.25)
    expected = []
    for c in curvatures.tolist():
        step = 8.0
        while step > 2 * (1 - 0.25) / c:
            step /= 2
        expected.append(step)
    assert steps.tolist() == expected == [2.0, 0.5, 0.25]
    assert asked == [[0, 1, 2], [0, 1, 2], [0, 1, 2], [1, 2], [1, 2], [2]]


def test_start_is_kept_when_good_enough():
    curvatures = torch.tensor([1.0])
    assert backtracking(quadratic(curvatures, []), curvatures / 2, curvatures**2, torch.tensor([0.7])).item() == (
        torch.tensor(0.7).item()
    )


def test_gives_up_below_the_lowest_step():
    """A direction that never helps: steps 1, 0.1, 0.01, 0.001, then the search ends."""
    tried: list[float] = []

    def evaluate(steps, rows):
        tried.extend(steps.tolist())
        return torch.ones_like(steps)

    steps = backtracking(evaluate, torch.zeros(1), torch.ones(1), torch.ones(1), lowest=0.005, decay=0.1)
    assert len(tried) == 4
    assert abs(steps.item() - 1e-3) < 1e-8
