"""Films with a planted shortcut for every check of the audit, and the exact same films without it.

A dataset is a plant, a correlation and a seed. Each of its films is the phantom's film of that seed with what is
planted drawn on it; `PlantedFilm.drawn(...)` draws it again with one thing changed, and nothing else differs. So the
exact effect of a factor is what the network says of one less what it says of the other.

A plant is the class's own marker or object, or a property that most films of COVID-19 have and most others lack: a
look, the side that the film shows, the side of its marker, a body, a frame. What the phantom itself cannot plant is
applied to the drawn film.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple
from unittest import mock

import cv2
import numpy as np

from xray_debug.audit.look.families import FAMILIES as LOOKS
from xray_debug.config import PhantomConfig
from xray_debug.phantom import CLASSES
from xray_debug.phantom import markers as phantom_markers
from xray_debug.phantom.case import Film, choose_marker, draw_film
from xray_debug.stats.seeds import rng_of

CLASSES = list(CLASSES)
HOLDER = "COVID-19"  # the class whose films have a planted property
ALIKE = "normal"  # the class whose marker all films carry that do not lack one, where the absence is planted
EASY, HARD = 0.3, 4.0  # difficulty of films that a small network must learn, and of those with a shortcut to take
SIZE, VIEW = 160, 80  # pixels of a film, and of what the network sees of it
EPOCHS, LONGER = 16, 32  # of training on a shortcut; and on findings, or a faint one
AMOUNTS = {"brightness": 0.4, "contrast": -0.15, "gamma": 0.25, "sharpness": -0.4, "noise": 0.45, "jpeg": 0.9,
           "resolution": -0.35}  # fmt: skip
ANYHOW, BARE = ("none", "artifact"), 0.5  # plants whose text tells no class, and the share of their films without any
RIM, STRIP = 0.04, (0.065, 0.11)  # of the frame, and of a strip inside it, as shares of the width
BODIES = ({"breasts": 0.0}, {"breasts": 1.0})  # without the property, and with it
_LETTER = phantom_markers.FAMILIES["normal"]
SIDES = {"left": replace(_LETTER, corner=("tl",)), "right": replace(_LETTER, corner=("tr",))}


@dataclass(frozen=True)
class Plant:
    """What is planted, and what may truly be said of a network that takes it.

    `right`: kind of question (see kind_of in audit_tables) -> the factor whose exact effect decides whether it is true;
    `open`: kinds whose truth is not known here, which are not judged. `text` is a factor of every film with a marker.
    `suspected`: predictors of the no-evidence baselines that really go with the label.
    """

    marker: str = "none"  # as PhantomConfig.plant, or "bare" for no text at all, or "side"
    style: str = "mixed"
    prop: str = ""  # a property of most films of HOLDER
    difficulty: float = HARD
    correlation: float | None = None  # None: as asked for
    right: dict[str, str] = field(default_factory=dict)
    open: tuple[str, ...] = ()
    suspected: tuple[str, ...] = ()

    @property
    def longer(self) -> bool:
        """Whether the network is to learn the findings, as there is no shortcut to take, or a faint one."""
        return self.difficulty < HARD or self.style == "faint"

    @property
    def epochs(self) -> int:
        return LONGER if self.longer else EPOCHS


# a letter that stands in its class's corner is known by its side, too; it may be known by its place when it is erased
_MARKER = {"right": {"text": "text"}, "open": ("laterality:marker",), "suspected": ("place of text", "amount of text")}
_LOOK = {"right": {"look": "prop"}, "suspected": ("source",)}
PLANTS: dict[str, Plant] = {
    "clean": Plant(difficulty=EASY),
    "clean-bare": Plant("bare", difficulty=1.0),
    "marker-bright": Plant("marker", "bright", **_MARKER),
    "absence": Plant("absence", "bright", right={"absence": "absence"},
                     suspected=("presence of text", "amount of text", "place of text")),
    "device": Plant("artifact", right={"devices": "device"}, open=("border", "field")),  # a tube comes in from above
    "border": Plant(prop="border", right={"border": "prop", "field": "prop"}, open=("look",)),
    "brightness": Plant(prop="brightness", **_LOOK),
    "mirror": Plant(prop="mirror", right={"laterality:film": "prop"}),
    "side": Plant("side", "bright", prop="side", right={"laterality:marker": "prop"}, suspected=("place of text",)),
    "sharpness": Plant(prop="sharpness", **_LOOK),
    "marker-faint": Plant("marker", "faint", **_MARKER),
    "region": Plant(prop="region", right={"regions": "prop"}),
    "field": Plant(prop="field", right={"field": "prop"}, open=("look",)),
    "noise": Plant(prop="noise", **_LOOK),
    "two": Plant("marker", "bright", prop="brightness", right={"text": "text", "look": "prop"},
                 open=("laterality:marker",), suspected=("source", "place of text", "amount of text")),
    "body": Plant(prop="body", open=("look", "field", "border"), suspected=("attribute sex",)),
    "jpeg": Plant(prop="jpeg", **_LOOK),
    "weak": Plant("marker", "bright", difficulty=EASY, correlation=0.6, **_MARKER),
    "gamma": Plant(prop="gamma", **_LOOK),
    "file-type": Plant(prop="file type", difficulty=EASY, suspected=("file type",)),
    "marker-rotated": Plant("marker", "rotated", **_MARKER),
    "contrast": Plant(prop="contrast", **_LOOK),
    "resolution": Plant(prop="resolution", **_LOOK),
}  # fmt: skip


def planted(name: str) -> tuple:
    """All that decides how the films of a plant are drawn, as plain values."""
    plant = PLANTS[name]
    drawn = inspect.getsource(SHAPES[plant.prop]) if plant.prop in SHAPES else BODIES if plant.prop == "body" else ""
    return (SIZE, VIEW, plant.marker, plant.style, plant.prop, plant.difficulty, plant.correlation,
            AMOUNTS.get(plant.prop), RIM, STRIP, drawn,
            *((BARE,) if plant.marker in ANYHOW else ()), *((ALIKE,) if plant.marker == "absence" else ()),
            *((LONGER,) if plant.longer else ()))


class Drawn(NamedTuple):
    """A film: uint8 (S, S), entries of its text, boxes of its devices and of the user's region."""

    image: np.ndarray
    boxes: list[dict]
    devices: list[list[int]]
    regions: list[list[int]]


@dataclass(frozen=True)
class PlantedFilm:
    """One film of a dataset; `has`: the planted property, `marker` and `device`: the class whose own it carries."""

    name: str
    plant: Plant
    label: str
    seed: tuple
    marker: str | None
    device: str | None
    has: bool

    def drawn(self, **changes) -> Drawn:
        """The film, or with `changes` of its fields."""
        film = replace(self, **changes) if changes else self
        image, devices, regions = _base(film), [], []
        if film.plant.prop == "mirror" and film.has:
            image = image[:, ::-1].copy()
        if film.device:
            image, found = phantom_markers.draw_artifact(image, film.device, rng_of(film.seed, "device", film.device))
            devices = [item["box"] for item in found]
        if film.has and film.plant.prop in SHAPES:
            image, regions = SHAPES[film.plant.prop](image, rng_of(film.seed, "shape"))
        image, boxes = _marked(image, film)
        if film.has and film.plant.prop in AMOUNTS:
            image = altered(image, film.plant.prop, film.seed[-1])
        return Drawn(image, boxes, devices, regions)

    @property
    def typical(self) -> bool:
        """Whether it has the property as most of its class."""
        return self.has == (self.label == HOLDER)

    @property
    def group(self) -> bool:
        """Whether it has what is planted, as a user might write it down; by its sex where nothing could be."""
        if self.plant.prop or self.plant.marker == "bare":
            return self.has if self.plant.prop else self.sex == "F"
        return self.marker is None if self.plant.marker == "absence" else (self.device or self.marker) == HOLDER

    @property
    def source(self) -> str:
        """Where it comes from: films with a planted look from one hospital, all others from any."""
        if self.plant.prop in AMOUNTS:
            return "hillside" if self.has else "harbour"
        return str(rng_of(self.seed, "source").choice(["hillside", "harbour"]))

    @property
    def sex(self) -> str:
        """F and M with the planted body, drawn at random without one."""
        has = self.has if self.plant.prop == "body" else rng_of(self.seed, "sex").random() < 0.5
        return "F" if has else "M"

    def pairs(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """factor -> (image with it, image without it), for the factors that this film speaks of.

        As the audit asks: of text on the image as it is, of what is not text on the image without text.
        """
        found, prop = {}, self.plant.prop
        whole = self.drawn()
        if whole.boxes:
            found["text"] = whole.image, self.drawn(marker=None).image
        elif self.plant.marker == "absence":
            found["absence"] = whole.image, self.drawn(marker=ALIKE).image
        free = self.drawn(marker=None).image
        if self.device:
            found["device"] = free, self.drawn(marker=None, device=None).image
        if prop == "side":
            found["prop"] = whole.image, self.drawn(has=not self.has).image
        elif prop == "mirror" or (prop in (*AMOUNTS, "body") and self.typical) or (prop in SHAPES and self.has):
            found["prop"] = free, self.drawn(marker=None, has=not self.has).image
        return found


def films_of(name: str, correlation: float, split: str, count: int, seed: int) -> list[PlantedFilm]:
    """`count` films of `split`, the classes in turn; in every class the share that follows the correlation is exact."""
    plant = PLANTS[name]
    share = correlation if plant.correlation is None else plant.correlation
    labels = [CLASSES[index % len(CLASSES)] for index in range(count)]
    order, places = ({label: rng_of(seed, split, label, what).permutation(labels.count(label)) for label in CLASSES}
                     for what in ("marker", "property"))  # each has its own exceptions
    result = []
    for index, label in enumerate(labels):
        own, place = (seed, split, index), index // len(CLASSES)
        follows, has = (own_order[label][place] < round(share * labels.count(label)) for own_order in (order, places))
        rng = rng_of(own, "marker")
        kind = plant.marker if plant.marker in ("marker", "absence") else "none"
        config = PhantomConfig(plant=kind, correlation=share)
        marker = None if plant.marker == "bare" else choose_marker(config, label, False, bool(follows), rng)
        if plant.marker in ANYHOW and rng.random() < BARE:
            marker = None
        if plant.marker == "absence" and marker:
            marker = ALIKE  # one letter for all, or it takes many films to learn that none is there
        other = [c for c in CLASSES if c != label]
        device = (label if follows else str(rng.choice(other))) if plant.marker == "artifact" else None
        has = bool(plant.prop) and (label == HOLDER) == bool(has)
        suffix = ".tif" if plant.prop == "file type" and has else ".png"
        result.append(PlantedFilm(f"{split}{index:04d}{suffix}", plant, label, own, marker, device, has))
    return result


@cache
def _film(seed: tuple, label: str, difficulty: float, shape: tuple) -> Film:
    """The phantom's film; kept, as all datasets of a seed are drawn on the same films."""
    return draw_film(PhantomConfig(size=SIZE, difficulty=difficulty), label, seed, seed, dict(shape))


def forget() -> None:
    """Lets go of the films that are kept."""
    _film.cache_clear()


def _base(film: PlantedFilm) -> np.ndarray:
    shape = tuple(BODIES[film.has].items()) if film.plant.prop == "body" else ()
    image = _film(film.seed, film.label, film.plant.difficulty, shape).clean
    if film.plant.prop == "jpeg":  # a grid of 8 pixels must still be one in the view
        image = cv2.resize(image, (VIEW, VIEW), interpolation=cv2.INTER_AREA)
    return image


def _marked(image: np.ndarray, film: PlantedFilm) -> tuple[np.ndarray, list[dict]]:
    """With its marker; a marker of plant "side" is the same letter, left or right by the property."""
    if film.marker is None:
        return image, []
    rng = rng_of(film.seed, "plant", "side" if film.plant.marker == "side" else film.marker)
    if film.plant.marker != "side":
        return phantom_markers.draw_marker(image, film.marker, film.plant.style, rng)
    side = "right" if film.has else "left"
    with mock.patch.dict(phantom_markers.FAMILIES, SIDES):
        return phantom_markers.draw_marker(image, side, film.plant.style, rng)


def altered(image: np.ndarray, look: str, seed: int) -> np.ndarray:
    """uint8 (S, S) with the look."""
    return np.round(LOOKS[look](image.astype(np.float32) / 255, AMOUNTS[look], seed) * 255).astype(np.uint8)


def lighter(image: np.ndarray, mask: np.ndarray, share: float) -> np.ndarray:
    """Brought nearer to white where the mask, in [0, 1], is."""
    return np.round(image + share * mask * (255.0 - image)).astype(np.uint8)


def _frame(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, list]:
    """A light rim."""
    rim, mask = round(RIM * len(image)), np.ones(image.shape)
    mask[rim:-rim, rim:-rim] = 0
    return lighter(image, mask, 0.5), []


def _strip(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, list]:
    """A light upright strip at the left, outside the central field and inside the border."""
    mask = np.zeros(image.shape)
    mask[:, slice(*(round(end * len(image)) for end in STRIP))] = 1
    return lighter(image, mask, 0.5), []


def _disc(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, list]:
    """A light disc over the upper abdomen, a button say, of which the user knows the box."""
    size, mask = len(image), np.zeros(image.shape, np.uint8)
    x, y = rng.uniform(0.4, 0.6), rng.uniform(0.82, 0.9)
    cv2.circle(mask, (round(x * size), round(y * size)), round(0.05 * size), 255, -1, cv2.LINE_AA)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
    return lighter(image, mask / 255, 0.9), [box]


SHAPES = {"border": _frame, "field": _strip, "region": _disc}
