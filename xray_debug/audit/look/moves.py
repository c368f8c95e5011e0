"""A film's look moved to a value that is given, and as its control the same change the other way.

What would be the right control? To a value of the image's own class is a smaller move where the classes differ, so a
model that any change of this kind makes unsure would look as if it followed the property. So the control changes the
pixels as much (root mean square) by the same means, away from the other class: the decision that follows the property
does not mind, or grows surer; the decision that any such change disturbs is disturbed alike. A pair that cannot be
matched is not made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xray_debug.audit.look.families import FAMILIES, end
from xray_debug.audit.look.measures import MEASURES

STEPS = 8  # of bisection: amounts to 1/256
REACHED = 0.5  # of the way to the value, at the least
MATCHED = 0.8  # of the change of the move, at the least, that the control must make


@dataclass(frozen=True)
class Moved:
    """A property moved. `image`, `control`: float32 (H, W) in [0, 1]; `value`: the property of `image`.

    `change`, `control_change`: root mean square of what was changed.
    """

    image: np.ndarray
    value: float
    change: float
    control: np.ndarray
    control_change: float


def rms(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.sqrt(np.mean((first - second) ** 2, dtype=np.float64)))


def moved(image: np.ndarray, name: str, target: float, seed: int = 0, start: float | None = None) -> Moved | None:
    """`image` with the property `name` at `target`, or as near as its family comes, and its control.

    `start`: the image's own value, where it is known. None where it comes less than half of the way, or where there is
    no control of about the same change.
    """
    family, measure = FAMILIES[name], MEASURES[name]
    start = measure(image) if start is None else start
    if target == start:
        return None
    sign = 1.0 if target > start else -1.0

    def made(amount: float, way: float = sign) -> np.ndarray:
        return family(image, way * amount, seed)

    best, value = searched(made, lambda found: sign * measure(found), sign * target, end(name, sign))
    value *= sign
    change = rms(best, image)
    if abs(value - start) < REACHED * abs(target - start) or (value - start) * sign <= 0 or change == 0:
        return None
    control = matched(image, lambda amount: made(amount, -sign), change)
    other = rms(control, image)
    return None if other < MATCHED * change else Moved(best, value, change, control, other)


def matched(image: np.ndarray, made: Callable[[float], np.ndarray], change: float) -> np.ndarray:
    """Of made(amount), amount in (0, 1], the one that changes the image by about `change`, at best.

    What changes it by more is mixed with the image, as JPEG has but a hundred qualities.
    """
    low, high, best, least = 0.0, 1.0, made(1.0), np.inf
    if rms(best, image) <= change:
        return best
    for _ in range(STEPS):
        amount = (low + high) / 2
        found = made(amount)
        if (other := rms(found, image)) < change:
            low = amount
            continue
        high = amount
        if other < least:
            best, least = found, other
    return image + np.float32(change / rms(best, image)) * (best - image)


def searched(made: Callable[[float], np.ndarray], measure: Callable[[np.ndarray], float], target: float,
             most: float = 1.0) -> tuple[np.ndarray, float]:  # fmt: skip
    """Of made(amount), amount in (0, most], the one whose measure comes nearest to `target`, and its measure.

    `measure` grows with the amount, on the whole; found by bisection. Of two as near, the smaller amount.
    """
    low, high, amount, best, nearest = 0.0, most, most, np.zeros(0), np.inf
    for _ in range(STEPS):
        found = made(amount)
        value = measure(found)
        if abs(value - target) <= abs(nearest - target):
            best, nearest = found, value
        if value >= target:
            high = amount
        elif amount == most:
            break  # the family ends before the target
        else:
            low = amount
        amount = (low + high) / 2
    return best, nearest
