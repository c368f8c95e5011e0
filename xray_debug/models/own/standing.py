"""How well a given model does on the user's labels, against chance, and what another preprocessing would make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from xray_debug.data.view import RESIZES, ModelView
from xray_debug.models.classifier import NORMALISATIONS
from xray_debug.models.own.adapter import OwnClassifier
from xray_debug.models.predict import NotFinite, probabilities
from xray_debug.stats.auroc import auroc
from xray_debug.stats.intervals import Interval, bootstrap
from xray_debug.stats.recall import mean_recall

SAMPLES, FEWER = 1000, 400  # resamples behind a standing, and behind each way that is tried
MARGIN = 0.05  # by which another way must do better to be told
Films = Callable[[ModelView], np.ndarray]


@dataclass(frozen=True)
class Standing:
    """Figures of one model on n images of K classes. `auroc`: of two classes, of the second; None for more."""

    images: int
    classes: int
    accuracy: float
    balanced: Interval
    auroc: Interval | None

    @property
    def chance(self) -> bool:
        """No better than guessing: the interval of the balanced accuracy includes 1 / K, and that of AUROC 0.5.

        Of two classes AUROC decides: where the threshold of 0.5 lies matters little to what is asked of a model.
        """
        if self.auroc is not None:
            return not self.auroc.low > 0.5
        return not self.balanced.low > 1 / self.classes

    @property
    def threshold(self) -> bool:
        """Whether it tells two classes apart, but not at a probability of 0.5."""
        return self.auroc is not None and self.auroc.low > 0.5 and not self.balanced.low > 0.5

    @property
    def sentence(self) -> str:
        told = (f"accuracy {100 * self.accuracy:.1f} %, balanced accuracy {percents(self.balanced)} (chance "
                f"{100 / self.classes:.0f} %)")  # fmt: skip
        area = "" if self.auroc is None else f", AUROC {decimals(self.auroc)} (chance 0.50)"
        return f"{told}{area} on {self.images} test images"


def percents(found: Interval) -> str:
    return f"{100 * found.value:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"


def decimals(found: Interval) -> str:
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def standing(found: np.ndarray, codes: np.ndarray, patients: Sequence | None = None, seed: int = 0) -> Standing:
    """Of probabilities (N, K) and the classes (N,) of the same images; intervals (95 %) by patient."""
    hits, k = (found.argmax(1) == codes).astype(float), found.shape[1]
    balanced = bootstrap(_balanced, [hits, codes], SAMPLES, seed, groups=patients)
    area = bootstrap(auroc, [found[:, 1], codes == 1], SAMPLES, seed, groups=patients) if k == 2 else None
    return Standing(len(codes), k, float(hits.mean()), balanced, area)


def _balanced(hits: np.ndarray, codes: np.ndarray) -> float:
    return float(mean_recall(hits, codes))


@dataclass(frozen=True)
class Way:
    """Another way to ask the model that does better: what to change, and the figures on the same images."""

    option: str
    value: Interval
    base: float
    auroc: bool

    @property
    def changes(self) -> int:
        """How many things are to be said otherwise."""
        return self.option.count("--") + ("the classes " in self.option)

    @property
    def sentence(self) -> str:
        told, base = (decimals(self.value), f"{self.base:.2f}") if self.auroc else (
            percents(self.value), f"{100 * self.base:.1f} %")  # fmt: skip
        return f"{self.option}: {'AUROC' if self.auroc else 'balanced accuracy'} {told} in place of {base}"


def better_ways(model: OwnClassifier, films: Films, codes: np.ndarray, seed: int = 0) -> list[Way]:
    """The ways to ask that do better on these images than the one that was said, the best first.

    Tried: the other normalisations, the other ways to make a square, and the classes in another order, as it is asked
    and as it then does best. `films`: gives the images' views (N, S, S) uint8; `codes`: (N,) their classes.
    """
    k = len(model.classes)
    base = _asked(model, films(model.view))
    if base is None:
        base = np.full((len(codes), k), 1 / k)
    found = dict(_others(model, films))
    figure = _area if k == 2 else _recall
    orders = {option: _best_order(given, codes, k) for option, given in {"": base, **found}.items()}
    moved = {option: ({"": base} | found)[option][:, np.argsort(order)] for option, order in orders.items()}
    for option in dict.fromkeys(["", max(moved, key=lambda option: figure(moved[option], codes))]):
        if orders[option] != list(range(k)):
            names = ",".join(model.classes[place] for place in orders[option])
            found[" and ".join(filter(None, (option, _order_said(names, k))))] = moved[option]
    ways = []
    for option, given in found.items():
        def gain(rows: np.ndarray, given=given) -> float:
            return figure(given[rows], codes[rows]) - figure(base[rows], codes[rows])

        rows = np.arange(len(codes))
        if gain(rows) < MARGIN or bootstrap(gain, [rows], FEWER, seed, level=0.99).low <= 0:
            continue
        value = bootstrap(lambda rows, given=given: figure(given[rows], codes[rows]), [rows], FEWER, seed)
        if value.low > (0.5 if k == 2 else 1 / k):
            ways.append(Way(option, value, figure(base, codes), k == 2))
    best = max((way.value for way in ways), key=lambda value: value.value, default=None)
    # of those that cannot be told from the best, the one that changes least
    return sorted(ways, key=lambda way: (way.value.value < best.low, way.changes, -way.value.value))


def _order_said(names: str, k: int) -> str:
    return f"the classes {'in another order' if k > 2 else 'the other way round'} ({names})"


def _others(model: OwnClassifier, films: Films) -> Iterator[tuple[str, np.ndarray]]:
    """(what to say on the command line, probabilities) of each other normalisation and way to make a square."""
    views, config = films(model.view), model.config
    if model.preprocess is None:
        for name in NORMALISATIONS:
            if name != config.normalise or config.mean is not None:
                found = _asked(model.normalised(name), views)
                if found is not None:
                    yield f"--normalise {name}", found
    for resize in RESIZES:
        if resize != model.view.resize:
            found = _asked(model, films(ModelView(model.view.size, resize=resize)))
            if found is not None:
                yield f"--resize {resize}", found


def _asked(model: OwnClassifier, views: np.ndarray) -> np.ndarray | None:
    """Probabilities (N, K); None where the model gives NaN or infinity for such images."""
    try:
        return probabilities(model, views)
    except NotFinite:
        return None


def _recall(found: np.ndarray, codes: np.ndarray) -> float:
    return float(mean_recall((found.argmax(1) == codes).astype(float), codes))


def _area(found: np.ndarray, codes: np.ndarray) -> float:
    return auroc(found[:, 1], codes == 1)


def _best_order(found: np.ndarray, codes: np.ndarray, k: int) -> list[int]:
    """The class that each output would stand for, so that the mean recall is highest."""
    if k == 2:
        return [1, 0] if _area(found, codes) < 0.5 else [0, 1]
    table = np.zeros((k, k))
    np.add.at(table, (found.argmax(1), codes), 1)
    table /= np.maximum(table.sum(axis=0, keepdims=True), 1)
    outputs, classes = linear_sum_assignment(-table)
    gain = table[outputs, classes].sum() - np.trace(table)
    return classes.tolist() if gain > 1e-9 else list(range(k))
