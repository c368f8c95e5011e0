"""How numbers are written in the report, and values made fit for strict JSON.

Every number a reader sees passes one of the `FORMATS`, so that a test can find each of them in report.json.
"""

from __future__ import annotations

import math
from pathlib import Path

MISSING = "–"


def plain(value):
    """`value` with numpy and pandas types, paths, tuples and sets as JSON has them; NaN and infinities become None."""
    import numpy as np
    import pandas as pd

    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, pd.DataFrame):
        return [plain(row) for row in value.to_dict("records")]
    if isinstance(value, (np.ndarray, pd.Series)):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if value is pd.NaT or value is pd.NA:
        return None
    return str(value) if isinstance(value, Path) else _described(value)


def _described(value):
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)


def missing(value) -> bool:
    return value is None or isinstance(value, float) and not math.isfinite(value)


def _fixed(value: float, digits: int) -> str:
    """Rounded, and never a negative zero."""
    return f"{round(float(value), digits) + 0.0:.{digits}f}"


def percent(value) -> str:
    """A share in [0, 1] in percent with one decimal; the column's head says that it is percent."""
    return MISSING if missing(value) else _fixed(100 * value, 1)


def points(value) -> str:
    """A difference of shares in percentage points, with its sign."""
    return MISSING if missing(value) else _signed(_fixed(100 * value, 1))


def _signed(text: str) -> str:
    return text if text.startswith("-") else f"+{text}"


def p_value(value) -> str:
    if missing(value):
        return MISSING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def decimal(value) -> str:
    """Two decimals: probabilities, areas under curves."""
    return MISSING if missing(value) else _fixed(value, 2)


def signed(value) -> str:
    return MISSING if missing(value) else _signed(_fixed(value, 2))


def count(value) -> str:
    return MISSING if missing(value) else _fixed(value, 0)


def number(value) -> str:
    """Any number whose kind is not known: integers whole, others with three significant digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if missing(value):
        return MISSING
    if float(value).is_integer():
        return _fixed(value, 0)
    return f"{value:.3g}" if 1e-3 <= abs(value) < 1e6 else f"{value:.1e}"


def duration(value) -> str:
    """Seconds with one decimal."""
    return MISSING if missing(value) else _fixed(value, 1)


def rate(value) -> str:
    """Images per second, three significant digits at most."""
    if missing(value):
        return MISSING
    return _fixed(value, 0 if value >= 100 else 1 if value >= 10 else 2)


def timing_rows(records: dict[str, dict]) -> list[dict]:
    """What each stage took, from its stage.json, in the order of `records` (stage -> record).

    Rows: stage, seconds, images (None where the record counts none), images_per_second, peak_memory_mb.
    """
    rows = []
    for stage, record in records.items():
        seconds, images = record.get("seconds"), record.get("images")
        per_second = images / seconds if images and seconds else None
        rows.append({"stage": stage, "seconds": seconds, "images": images, "images_per_second": per_second,
                     "peak_memory_mb": record.get("peak_memory_mb")})  # fmt: skip
    return rows


FORMATS = {
    "percent": percent,
    "points": points,
    "p_value": p_value,
    "decimal": decimal,
    "signed": signed,
    "count": count,
    "number": number,
    "duration": duration,
    "rate": rate,
}
