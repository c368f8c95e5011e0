"""The classes that label files of the field name, and the one order in which classes are written everywhere."""

from __future__ import annotations

from collections.abc import Iterable

COVID_CLASSES = ("normal", "pneumonia", "COVID-19")
CLASS_SETS = (COVID_CLASSES, ("negative", "positive"), ("level1", "level2"))
_RANK = {name: rank for rank, name in enumerate(name for names in CLASS_SETS for name in names)}


def class_order(labels: Iterable[str]) -> list[str]:
    """The classes among `labels`, each once: those of CLASS_SETS in that order, others after them by alphabet."""
    return sorted(set(labels), key=lambda name: (_RANK.get(name, len(_RANK)), name))
