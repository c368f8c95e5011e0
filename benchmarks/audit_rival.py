"""The detectors of ShortKit-ML (PyPI `shortkit-ml`) on the same networks' embeddings.

They ask whether a group can be read off embeddings; they neither change an image nor ask the network. Each is given
what goes into the last layer, whether a film is COVID-19, and, as the group, whether it has what is planted
(PlantedFilm.group), which a user would have to know. On datasets with nothing planted the group is whether it bears the
marker of COVID-19, or its sex, which go with nothing. Settings are the package's own, and what counts as flagged is
what its own benchmark counts; a detector that fails, or whose groups are too small for it, says nothing of a dataset.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
from audit_plants import CLASSES, HOLDER
from audit_tables import key_of

METHODS = ("hbac", "probe", "statistical", "geometric", "frequency", "bias_direction_pca", "demographic_parity",
           "equalized_odds")  # the others take over ten seconds a dataset, or splits of their own
ABSENT = "ShortKit-ML is not installed (pip install shortkit-ml), so its detectors are left out."


def installed() -> bool:
    try:
        import shortcut_detect  # noqa: F401
    except ImportError:
        return False
    return True


def flagged(features: np.ndarray, labels: np.ndarray, has: np.ndarray) -> dict[str, bool | None]:
    """method -> whether it flags; None where it fails. features (N, D), labels (N,) class, has bool (N,)."""
    from shortcut_detect import ShortcutDetector
    from shortcut_detect.benchmark.method_utils import method_flag

    found = {}
    for method in METHODS:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            detector = ShortcutDetector(methods=[method], seed=0)
            try:
                detector.fit(features, (labels == CLASSES.index(HOLDER)).astype(int), group_labels=has.astype(int))
            except ValueError:
                found[method] = None
                continue
        result = detector.results_.get(method, {})
        found[method] = bool(method_flag(method, result)) if result.get("success") else None
    return found


def rival_flags(records: list[dict], work: Path, known: dict[str, dict]) -> dict[str, dict]:
    """dataset -> method -> flagged, of every dataset whose embeddings lie in `work`; those in `known` are kept."""
    found = dict(known)
    for record in records:
        key = key_of(record)
        path = work / key.replace(" ", "-") / "features.npz"
        if key in found or not path.exists():
            continue
        with np.load(path) as stored:
            found[key] = flagged(stored["features"], stored["labels"], stored["has"])
    return found
