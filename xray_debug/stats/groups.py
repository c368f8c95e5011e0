"""Groups of images by what else is known of them: bands of numbers, and shares whose images belong to patients."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from xray_debug.stats.intervals import LEVEL, Interval, wilson

BANDS = 4
FEW = 8  # different numbers that are kept as they are
UNKNOWN = "not known"
AGE = re.compile(r"(\d{3})([DWMY])")  # DICOM's
YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


def named_groups(values: Sequence) -> np.ndarray:
    """(n,) name of each value's group: the value itself, or its band where more than FEW different ones are numbers.

    Bands hold about equally many (quartiles of the values) and are named by their ends, as "40 to 57.5", the lower end
    belonging to them; DICOM's ages ("063Y") are numbers of years. What is empty is "not known".
    """
    texts = np.array(["" if _absent(value) else str(value).strip() for value in values], object)
    known = texts != ""
    numbers = [_number(text) for text in texts[known]]
    if known.any() and None not in numbers and len(set(numbers)) > FEW:
        texts[known] = _banded(np.array(numbers, float))
    texts[~known] = UNKNOWN
    return texts.astype(str)


def _absent(value) -> bool:
    return value is None or value != value


def _number(text: str) -> float | None:
    age = AGE.fullmatch(text)
    if age:
        return int(age[1]) * YEARS[age[2]]
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _banded(numbers: np.ndarray) -> np.ndarray:
    ends = np.unique(np.quantile(numbers, np.linspace(0, 1, BANDS + 1)))
    place = np.clip(np.searchsorted(ends, numbers, side="right") - 1, 0, len(ends) - 2)
    names = np.array([f"{_shown(low)} to {_shown(high)}" for low, high in zip(ends, ends[1:], strict=False)], object)
    return names[place]


def _shown(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:.6g}"


def clustered_share(hits: np.ndarray, owners: np.ndarray, level: float = LEVEL) -> Interval:
    """Mean of `hits` (n,) in [0, 1] with Wilson's interval, for images of which some may be one owner's.

    The interval is that of as many images as carry the same information: n over the design effect, the variance of the
    share between owners over that of independent images (Rao and Scott, 1992), at least 1. Where all hits are alike, or
    all images are one owner's, the effect cannot be measured, and owners are counted instead of images. Without images:
    (nan, 0, 1).
    """
    hits = np.asarray(hits, float)
    if not len(hits):
        return wilson(0, 0, level)
    codes = np.unique(owners, return_inverse=True)[1]
    share, sizes = float(hits.mean()), np.bincount(codes)
    between = float(((np.bincount(codes, hits) - share * sizes) ** 2).sum()) / len(hits) ** 2
    alone = share * (1 - share) / len(hits)
    known = 1e-12 < share < 1 - 1e-12 and len(sizes) > 1
    effect = max(between / alone, 1.0) if known else len(hits) / len(sizes)
    effective = len(hits) / effect
    found = wilson(share * effective, effective, level)
    return Interval(share, found.low, found.high)
