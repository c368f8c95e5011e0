"""One film of the phantom: its anatomy, its opacity, its marker, and the exact film without the marker.

Everything about a film follows from (configuration, label, seed): anatomy, opacity and exposure from one stream of
random numbers, the marker from another, so that the same film exists with any class's marker and with none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from xray_debug.config import PhantomConfig
from xray_debug.phantom.anatomy import Patient, draw_attenuation, expose
from xray_debug.phantom.canvas import Canvas
from xray_debug.phantom.findings import CLASSES, draw_findings
from xray_debug.phantom.markers import draw_artifact, draw_marker
from xray_debug.stats.seeds import rng_of

SOURCES = {"harbour": (0.9, 4.0), "hillside": (1.05, 6.0), "station": (1.2, 3.0)}  # (hardness, grain) of the exposure
_REVERSED = dict(zip(CLASSES, CLASSES[-1:] + CLASSES[:-1], strict=True))  # whose marker a class carries when reversed


@dataclass(frozen=True)
class PhantomCase:
    """One film: `image` and `clean` are uint8 (S, S) and equal outside `boxes` (and their "outer") and `artifacts`."""

    image: np.ndarray
    clean: np.ndarray
    label: str
    boxes: list[dict]  # text, as in boxes.json
    artifacts: list[dict] = field(default_factory=list)  # objects that are not text
    marker: str | None = None  # the class whose marker (or object) was planted
    strength: float = 0.0  # of the class's opacity; 0 for normal
    source: str = ""


class Film(NamedTuple):
    """A film without marker."""

    clean: np.ndarray
    label: str
    strength: float
    source: str


def draw_film(config: PhantomConfig, label: str, seed, patient, body: Mapping[str, float] | None = None) -> Film:
    """The film of class `label`; `patient` decides the anatomy and the source, `seed` the rest.

    `body`: fields of Patient that are given instead; the film is the same in all else.
    """
    shape = rng_of(patient, "patient")
    source = str(shape.choice(list(SOURCES)))
    person, rng = replace(Patient.draw(shape), **(body or {})), rng_of(seed, "film")
    canvas = Canvas(config.size, rng.normal(0, 2.0), rng.uniform(0.94, 1.18), tuple(rng.normal(0, 0.025, 2)))
    attenuation, air = draw_attenuation(canvas, person, rng)
    opacity, strength = draw_findings(canvas, person, label, rng_of(seed, "findings"), config.difficulty)
    return Film(expose(attenuation + opacity * air, canvas, rng, *SOURCES[source]), label, strength, source)


def choose_marker(
    config: PhantomConfig, label: str, reverse: bool, follows: bool, rng: np.random.Generator
) -> str | None:
    """The class whose marker this image carries, None for no marker; `follows`: as the correlation has it."""
    if config.plant == "absence":
        carries = (label != "COVID-19") ^ reverse
        return str(rng.choice(CLASSES)) if carries == follows else None
    if config.plant == "none":
        return str(rng.choice(CLASSES))
    own = _REVERSED[label] if reverse else label
    return own if follows else str(rng.choice([name for name in CLASSES if name != own]))


def plant(config: PhantomConfig, film: Film, seed, marker: str | None) -> PhantomCase:
    """The film with the marker (or object) of class `marker`; what is drawn depends on (seed, marker) alone."""
    image, boxes, artifacts = film.clean, [], []
    if marker is not None:
        rng = rng_of(seed, "plant", marker)
        if config.plant == "artifact":
            image, artifacts = draw_artifact(image, marker, rng)
            marked = str(rng_of(seed, "text").choice(["", *CLASSES]))  # text beside an object tells no class
            if marked:
                image, boxes = draw_marker(image, marked, config.style, rng, config.placement)
        else:
            image, boxes = draw_marker(image, marker, config.style, rng, config.placement)
    return PhantomCase(image, film.clean, film.label, boxes, artifacts, marker, film.strength, film.source)


def make_case(
    config: PhantomConfig, label: str, seed, marker: str | None = "auto", *, reverse: bool = False, patient=None
) -> PhantomCase:
    """One film of class `label`, its marker planted.

    Args:
        seed: a number, string or tuple of them.
        marker: "auto" as the configuration has it, None for none, or the class whose marker to plant; the film below
            is the same each time.
        reverse: turns the correlation of "auto" round.
        patient: gives the anatomy and source; None: the seed.
    """
    if label not in CLASSES:
        raise ValueError(f"label: expected one of {', '.join(CLASSES)}, got {label!r}")
    if marker not in (None, "auto", *CLASSES):
        raise ValueError(f"marker: expected auto, None or one of {', '.join(CLASSES)}, got {marker!r}")
    film = draw_film(config, label, seed, seed if patient is None else patient)
    if marker == "auto":
        rng = rng_of(seed, "marker", reverse)
        marker = choose_marker(config, label, reverse, rng.random() < config.correlation, rng)
    return plant(config, film, seed, marker)
