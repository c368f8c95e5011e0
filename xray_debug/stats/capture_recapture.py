"""Two readers of the same things: what each sees of the other's finds, and how many things both have missed.

The two-sample capture-recapture estimate: of what the second reader found the first one saw a share, and if the two
miss independently of each other that is the share of all things which the first one saw. `first`, `second` and `both`
are how many things the first found, the second found, and both did. Readers that miss the same things make the
estimate too low; finds that are no things at all make it too high.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from xray_debug.stats.intervals import LEVEL, Interval, percentile_interval, wilson

FEW = 7  # things seen by both, under which Chapman's estimate is biased (Robson and Regier, 1964)


def missed_by_both(first, second, both):
    """How many things neither found, by Chapman's estimate: (first - both) (second - both) / (both + 1). Arrays give
    arrays. ValueError: more in common than one of them found, or numbers below 0."""
    first, second, both = (np.asarray(values, float) for values in (first, second, both))
    if (both < 0).any() or (both > np.minimum(first, second)).any():
        raise ValueError(f"both: expected 0 to the lesser of {first} and {second}, got {both}")
    return (first - both) * (second - both) / (both + 1)


def chapman(first, second, both):
    """Chapman's estimate (1951) of how many things there are: (first + 1) (second + 1) / (both + 1) - 1.

    It is what was found and what `missed_by_both` adds.
    """
    found = np.asarray(first, float) + second - both
    return found + missed_by_both(first, second, both)


def chapman_variance(first, second, both):
    """Seber's (1970) estimate of the variance of Chapman's, given how many things there are."""
    first, second, both = (np.asarray(values, float) for values in (first, second, both))
    return (first + 1) * (second + 1) * (first - both) * (second - both) / ((both + 1) ** 2 * (both + 2))


def lognormal_interval(first: int, second: int, both: int, level: float = LEVEL) -> Interval:
    """Chapman's estimate with the closed-form interval of Chao (1987), in which what was missed is log-normal.

    Its lower end is never under what was found. It takes the things as independent of each other, and has no width
    where nothing is estimated to be missed.
    """
    found, missed = first + second - both, float(missed_by_both(first, second, both))
    if missed == 0:
        return Interval(float(found), float(found), float(found))
    spread = np.log1p(float(chapman_variance(first, second, both)) / missed**2)
    factor = float(np.exp(special.ndtri((1 + level) / 2) * np.sqrt(spread)))
    return Interval(found + missed, found + missed / factor, found + missed * factor)


def missed_interval(
    counts: np.ndarray, groups: Sequence | None = None, samples: int = 2000, seed: int = 0, level: float = LEVEL
) -> Interval:
    """How many things both readers missed in all images, with an interval of its mean over images like these.

    Args:
        counts: (n, 3) of each image: first, second, both.
        groups: (n,) patients, which are resampled whole; without it the images are.

    The ends are those of the percentile bootstrap. Where hardly anything was found by one reader alone nearly every
    resample says that nothing was missed; so the upper end is at least what `few_things_limit` allows. (nan, 0, inf)
    where a reader found nothing: then nothing can be said.
    """
    counts = np.asarray(counts, float).reshape(-1, 3)
    total = counts.sum(0)
    if not len(counts) or not total[:2].all():
        return Interval(float("nan"), 0.0, float("inf"))
    value = float(missed_by_both(*total))
    drawn = resampled_sums(counts, groups, samples, seed)
    found = percentile_interval(value, missed_by_both(*drawn.T), level)
    return Interval(value, found.low, max(found.high, few_things_limit(*total, level)))


def few_things_limit(first: int, second: int, both: int, level: float = LEVEL) -> float:
    """An upper limit of what both missed by the number of things alone, as if each were an image by itself.

    What was missed is both * (1 - r) / r * (1 - s) / s for the readers' recalls r and s; here with the lower ends of
    their Wilson intervals. inf where they have nothing in common.
    """
    recalls = np.array([wilson(both, second, level).low, wilson(both, first, level).low])
    return float(both * np.prod((1 - recalls) / recalls)) if both else float("inf")


def share_interval(
    hits: np.ndarray, totals: np.ndarray, groups: Sequence | None = None, samples: int = 2000, seed: int = 0,
    level: float = LEVEL,
) -> Interval:  # fmt: skip
    """The share sum(hits) / sum(totals) of things that lie in images, (n,) of each; (nan, 0, 1) where there are none.

    Its ends are the wider of Wilson's, for which every thing counts by itself, and the bootstrap's over `groups`
    (patients; without it images), which has no width where the share is 0 or 1.
    """
    counts = np.stack([np.asarray(hits, float), np.asarray(totals, float)], axis=-1).reshape(-1, 2)
    total = counts.sum(0)
    own = wilson(total[0], total[1], level)
    if not total[1]:
        return own
    drawn = resampled_sums(counts, groups, samples, seed)
    with np.errstate(invalid="ignore"):
        found = percentile_interval(own.value, drawn[:, 0] / drawn[:, 1], level)
    return Interval(own.value, min(own.low, found.low), max(own.high, found.high))


def resampled_sums(counts: np.ndarray, groups: Sequence | None, samples: int, seed: int) -> np.ndarray:
    """(samples, k) sums of the rows of `counts` (n, k) in resamples of whole groups, as many as there are."""
    names = np.arange(len(counts)) if groups is None else np.asarray(groups)
    if len(names) != len(counts):
        raise ValueError(f"groups: expected {len(counts)}, one per row, got {len(names)}")
    _, codes = np.unique(names, return_inverse=True)
    of_group = np.stack([np.bincount(codes, weights=column) for column in counts.T], axis=-1)
    times = np.random.default_rng(seed).multinomial(len(of_group), np.full(len(of_group), 1 / len(of_group)), samples)
    return times @ of_group
