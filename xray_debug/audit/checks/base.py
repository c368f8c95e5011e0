"""What a check is, and the registry of all checks, built in or brought by entry points of `xray_debug.checks`."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from xray_debug.audit.frames import Case, Frames
from xray_debug.audit.hypotheses import Hypothesis, numbers
from xray_debug.audit.measures import Outcomes
from xray_debug.config import AuditConfig
from xray_debug.data.registry import Registry

CHECKS = Registry("check", "xray_debug.checks")


class Check:
    """One suspicion and the interventions that test it; a check overrides what it has something to say to.

    A check is made from the options alone, once in each process and once more for the verdict. `needs`: what a case
    must have for its frames ("text" that the model sees, a saliency "map", a "bank" of other images' markers, "looks":
    what is typical of each class).
    """

    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: AuditConfig):
        self.config, self.name = config, ""  # the name by which it is registered, filled in by all_checks

    def most_frames(self) -> int:
        """The most frames that it adds to a case."""
        return 0

    def frames(self, case: Case, frames: Frames) -> Any:
        """Adds frames to a case; what is returned is handed to `columns`."""

    def columns(self, case: Case, out: Outcomes, kept: Any) -> dict[str, Any]:
        """Columns of cases.parquet from what the model said of the frames.

        `kept`: what `frames` returned, None where the case lacks what the check needs. Columns that the verdict uses
        are named with "effect_" or "_alone_" before the class: those are averaged over the images of a patient.
        """
        return {}

    def hypotheses(self, cases: pd.DataFrame, label: str) -> list[Hypothesis]:
        """What is asked of one class on one test set; `cases`: the columns, one row per image or patient."""
        return []

    def over_all_classes(self, cases: pd.DataFrame, classes: list[str]) -> list[Hypothesis]:
        """What is asked of all classes at once, with the label ALL; at most one of all checks' is in the verdict."""
        return []

    def detail(self, h: Hypothesis, entry: dict[str, Any], cases: pd.DataFrame, seed: int) -> dict[str, Any]:
        """The judged entry of one of its hypotheses with what else the check knows; may take `shown` back."""
        return entry

    def sentence(self, h: Hypothesis, entry: dict[str, Any]) -> str:
        """A shown hypothesis in one sentence."""
        return f"{h.label} {h.said} {numbers(entry)}."

    def hint(self, h: Hypothesis, entry: dict[str, Any]) -> str:
        """What must be said of a hypothesis that is not shown, in one sentence; "" where nothing must."""
        return ""

    def predictors(self, manifest: pd.DataFrame, boxes: dict) -> dict[str, np.ndarray]:
        """name -> (N,) categories by which the label might be guessed without looking at the lungs (no_evidence).

        Codes from 0, or names; -1 or "" where nothing is known of an image. `manifest` holds columns film_* besides its
        own where the look of the films was measured.
        """
        return {}


class CheckError(ValueError):
    """A check of another package that did what it must not; one sentence that names the check."""


@contextlib.contextmanager
def blamed(name: str, kind: type, work: str) -> Iterator[None]:
    """What goes wrong in a check of another package is told with its name, and the last line of its code that ran.

    Of the machine (OSError, MemoryError), and of this package's checks, it is left as it is.
    """
    try:
        yield
    except Exception as error:
        package = kind.__module__.partition(".")[0]
        if package == __name__.partition(".")[0] or isinstance(error, (OSError, MemoryError, CheckError)):
            raise
        said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise CheckError(f"check {name!r} ({kind.__module__}:{kind.__name__}): {work}: {said}"
                         f"{_place(error, package)}") from error


def _place(error: BaseException, package: str) -> str:
    """The last line of a package's code that ran, " (mycheck.py, line 12)"; "" where none did."""
    own = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)
           if str(frame.f_globals.get("__name__")).partition(".")[0] == package]
    return f" ({Path(own[-1][0]).name}, line {own[-1][1]})" if own else ""


def per_class(classes: list[str], **vectors: np.ndarray) -> dict[str, float]:
    """Columns `<key>_<class>` of vectors over the classes."""
    return {f"{key}_{name}": float(values[i]) for key, values in vectors.items() for i, name in enumerate(classes)}
