"""Which cases are explained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xray_debug.config import ExplainConfig, PipelineConfig
from xray_debug.data.classes import class_order
from xray_debug.run.folder import RunError

if TYPE_CHECKING:
    import pandas as pd

DEFAULT = ExplainConfig().select
NOTHING = {"normal", "negative", "healthy", "no finding"}  # classes of films on which nothing was found


def check_select(select: str) -> None:
    """RunError for a choice that is none, whatever the classes."""
    kind, sign, name = select.partition(":")
    if not (kind in ("predicted", "label") and name) and not (kind in ("wrong", "all") and not sign):
        raise RunError(f"explain.select: expected predicted:CLASS, label:CLASS, wrong or all, got {select!r}")


def class_of(select: str) -> str | None:
    """The class that a choice names, None for one that names none."""
    return select.partition(":")[2] or None


def check_class(select: str, classes: set[str]) -> None:
    """RunError for a choice of a class that is not among `classes`; these are those of a dataset, {} where unknown.

    The option's default names a class of COVIDx; where a dataset lacks that, another is chosen (selected_cases).
    """
    if select != DEFAULT and classes and (name := class_of(select)) is not None and name not in classes:
        raise RunError(f"explain.select: expected one of the classes {class_order(classes)}, got {name!r}")


def selection_of(select: str, predictions: pd.DataFrame) -> str:
    """`select`; where it is the default and no image of that class is there: the rarest class of the test images.

    A class that says that nothing was found (`normal`, `no Edema` beside `Edema`) only where there is no other.
    """
    labels = predictions["label"]
    if select != DEFAULT or class_of(select) in set(labels) | set(predictions["predicted"]) or not len(labels):
        return select
    counts, classes = labels.value_counts(), class_order(labels)
    nothing = NOTHING | {f"no {name.casefold()}" for name in classes}
    found = [name for name in reversed(classes) if name.casefold() not in nothing] or classes
    return f"predicted:{min(found, key=lambda name: counts[name])}"


def selected_cases(config: PipelineConfig, predictions: pd.DataFrame) -> pd.DataFrame:
    """The test images to explain, as selection_of says: predictions of the first seed's model.

    RunError for a choice that is none, or a seed that was not trained. There may be none to explain.
    """
    check_select(config.explain.select)
    seed, known = config.all_seeds[0], sorted(int(found) for found in set(predictions["seed"]))
    first = predictions[predictions["seed"] == seed]
    if not len(first):
        raise RunError(f"seeds: the model of seed {seed} has no predictions; stage train has those of {known}")
    select = selection_of(config.explain.select, first)
    kind, _, name = select.partition(":")
    if kind in ("predicted", "label"):
        check_class(select, set(first["label"]) | set(first["predicted"]))
        chosen = first[first[kind] == name]
    elif kind == "wrong":
        chosen = first[first["predicted"] != first["label"]]
    else:
        chosen = first
    if config.explain.max_cases is None or len(chosen) <= config.explain.max_cases:
        return chosen
    return chosen.iloc[spread(len(chosen), config.explain.max_cases)]


def spread(count: int, most: int) -> list[int]:
    """`most` of `count` places (all, where there are no more), evenly, so that no test set is left out."""
    import numpy as np

    return np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()
