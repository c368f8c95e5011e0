"""Detectors by name: `load_detector(name).detect(images)` gives one list of TextBox per image."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from xray_debug.data.boxes import TextBox
from xray_debug.data.files import file_sha256
from xray_debug.data.images import to_gray8
from xray_debug.data.registry import Registry

DETECTORS = Registry("detector", "xray_debug.detectors")


class Detector(Protocol):
    """What a registered class must be once made with `weights=` and its options as keywords.

    A class may also have static methods: `resolve(options) -> options`, called by `resolved_options`, and
    `ready(weights, options)`, called by `check_ready`, which raises ValueError or ImportError.
    """

    name: str

    def detect(self, images: Sequence[np.ndarray]) -> list[list[TextBox]]:
        """uint8 or uint16 arrays (H, W) or (H, W, 3) RGB -> boxes in pixels of each; none depends on its neighbours."""


def load_detector(name: str = "craft-lite", weights: str | Path | None = None, **options) -> Detector:
    """The detector called `name`: craft-lite (bundled), craft (official weights), ppocr (rapidocr's), an entry point's.

    `weights`: another weight file, for those that take one. Options are those of the detector's class; an unknown one
    is a ValueError. A detector that needs a package that is not installed raises ImportError naming the extra.
    """
    try:
        return DETECTORS[name](weights=weights, **options)
    except TypeError as error:
        if "unexpected keyword argument" in str(error):
            option = str(error).rsplit("'", 2)[1]
            raise ValueError(f"detector {name} has no option {option!r}") from error
        raise


def check_ready(name: str, weights: str | Path | None = None, options: dict[str, Any] | None = None) -> None:
    """ValueError or ImportError where the detector says that it lacks what it needs; nothing is loaded for it."""
    made = DETECTORS[name]
    if isinstance(inspect.getattr_static(made, "ready", None), staticmethod):
        made.ready(weights, options or {})


def check_options(name: str, options: dict[str, Any], option: str = "options") -> None:
    """ValueError naming an option that the detector's class does not take; one that takes any is not asked."""
    made, names = DETECTORS[name], set()
    for cls in made.__mro__ if inspect.isclass(made) else (made,):
        if inspect.isclass(made) and "__init__" not in vars(cls):
            continue
        taken = inspect.signature(cls.__init__ if inspect.isclass(made) else cls).parameters.values()
        names |= {parameter.name for parameter in taken if parameter.kind is not parameter.VAR_KEYWORD}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken):
            break
    else:
        return
    names = sorted(names - {"self", "weights"})
    unknown = sorted(set(options) - set(names))
    if unknown:
        raise ValueError(f"{option}: {name} does not take {unknown[0]}; it takes {', '.join(names) or 'none'}")


def resolved_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """`options` with what depends on the machine settled (craft-lite: `precision` measured where it is auto).

    Call it once a run, keep the answer, and give it to every worker: then all of them read alike.
    """
    resolve = getattr(DETECTORS[name], "resolve", None)
    return resolve(dict(options)) if resolve else dict(options)


def check_sha256(path: Path, expected: str) -> None:
    """ValueError where a file is missing or is not the one that is meant."""
    if not path.is_file():
        raise ValueError(f"{path}: no such weight file; install the package again")
    found = file_sha256(path)
    if found != expected:
        raise ValueError(f"{path}: expected sha256 {expected}, found {found}; install the package again")


def checked_image(image: np.ndarray, index: int) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3); uint16 is windowed to 8 bits. TypeError or ValueError naming the place in the list."""
    image = np.asarray(image)
    if image.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"image {index}: expected uint8 or uint16 pixels, got {image.dtype}")
    if image.size == 0 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"image {index}: expected a non-empty array (H, W) or (H, W, 3), got shape {image.shape}")
    return to_gray8(image) if image.dtype == np.uint16 else image
