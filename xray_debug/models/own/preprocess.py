"""A user's preprocessing: a function of image tensors, or torchvision's transforms read for what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from xray_debug.config import ModelConfig

IDLE = {"ToTensor", "PILToTensor", "ToImage", "ToPILImage", "Grayscale", "ConvertImageDtype", "ToDtype",
        "ToPureTensor"}  # fmt: skip  # these say nothing of where a pixel comes from
ONCE = ("Resize", "CenterCrop", "Normalize")
A_FUNCTION = "give a function of images (N, 1, S, S) in [0, 1] that returns what the model takes"


def read_preprocess(found, config: ModelConfig) -> tuple[Callable[[Tensor], Tensor] | None, ModelConfig]:
    """(function of images (N, 1, S, S) in [0, 1], config) for what a factory gives beside its model.

    torchvision's Compose is not called, since it takes other images: its Normalize becomes mean and std, and its
    Resize and CenterCrop must be what `size` and `resize` say, because boxes and maps are placed by these.
    """
    steps = getattr(found, "transforms", None)
    if not isinstance(steps, (list, tuple)):
        return found, config
    names = [type(step).__name__ for step in steps]
    if any(name not in IDLE and name not in ONCE for name in names) or any(names.count(name) > 1 for name in ONCE):
        raise ValueError(f"model.factory: its preprocess has the steps {', '.join(names)}, of which Resize, "
                         f"CenterCrop, ToTensor and Normalize are understood, each once; {A_FUNCTION}")  # fmt: skip
    _check_values(names, steps)
    _check_geometry({name: step for name, step in zip(names, steps, strict=True)}, config)
    for name, step in zip(names, steps, strict=True):
        if name == "Normalize":
            config = config.model_copy(update=_statistics(step, config.channels))
    if "Normalize" not in names:
        config = config.model_copy(update={"normalise": "unit", "mean": None, "std": None})
    return None, config


def _statistics(step, channels: int) -> dict[str, object]:
    """Of a Normalize, whose one number is for every channel that the model takes, and whose three are for three."""
    mean, std = ([float(value) for value in values] for values in (step.mean, step.std))
    count = max(len(mean), len(std), channels)
    if count not in (1, 3) or {len(mean), len(std)} - {1, count}:
        raise ValueError(f"model.factory: its preprocess's Normalize has {len(mean)} numbers for the mean and "
                         f"{len(std)} for the deviation, expected 1 or 3")  # fmt: skip
    return {"mean": mean * (count // len(mean)), "std": std * (count // len(std)), "channels": count}


def _check_values(names: list[str], steps: Sequence) -> None:
    """ValueError where pixels do not come out in [0, 1]: PILToTensor and ToImage leave them in [0, 255]."""
    scaled = [i for i, step in enumerate(steps) if names[i] == "ToTensor" or _scales(names[i], step)]
    whole = [i for i, name in enumerate(names) if name in ("PILToTensor", "ToImage")]
    if whole and not any(i > whole[-1] for i in scaled):
        name = names[whole[-1]]
        raise ValueError(f"model.factory: its preprocess has {name} and nothing after it that brings its values from "
                         "[0, 255] to [0, 1], as ConvertImageDtype(torch.float32) and ToDtype(torch.float32, "
                         f"scale=True) do; {A_FUNCTION}")  # fmt: skip
    if "Normalize" in names and any(i > names.index("Normalize") for i in (*scaled, *whole)):
        raise ValueError("model.factory: its preprocess has Normalize before the step that makes a tensor with values "
                         f"in [0, 1]: {', '.join(names)}")  # fmt: skip


def _scales(name: str, step) -> bool:
    kind = getattr(step, "dtype", None)
    kinds = kind.values() if isinstance(kind, dict) else [kind]
    real = any(isinstance(kind, torch.dtype) and kind.is_floating_point for kind in kinds)
    return real and (name == "ConvertImageDtype" or (name == "ToDtype" and bool(getattr(step, "scale", False))))


def _check_geometry(steps: dict[str, object], config: ModelConfig) -> None:
    """ValueError where Resize and CenterCrop are not what the configuration says."""
    resized = _pair(getattr(steps.get("Resize"), "size", None))
    cropped = _pair(getattr(steps.get("CenterCrop"), "size", None))
    cropped = (cropped, cropped) if isinstance(cropped, int) else cropped
    if resized is None and cropped is None:
        return
    if resized is None:
        raise ValueError(f"model.factory: its preprocess has CenterCrop({cropped[0]}) without a Resize before it: "
                         "which part of a film that is depends on its size; put Resize(SHORTER SIDE) before "
                         "it, as the model was trained")  # fmt: skip
    if cropped is not None and isinstance(resized, tuple):
        raise ValueError(f"model.factory: its preprocess has Resize({resized}), which squashes, and CenterCrop after "
                         f"it; expected Resize({resized[0]}) of the shorter side with CenterCrop, or Resize of both "
                         "sides alone")  # fmt: skip
    if cropped is not None and list(steps).index("CenterCrop") < list(steps).index("Resize"):
        raise ValueError("model.factory: its preprocess has CenterCrop before Resize; expected Resize of the shorter "
                         "side, then CenterCrop")  # fmt: skip
    if isinstance(resized, tuple):
        wanted = {"size": resized[0], "resize": "squash", "resize_to": 0}
    elif cropped is not None:
        wanted = {"size": cropped[0], "resize": "shorter+crop", "resize_to": resized or 0}
    else:
        raise ValueError(f"model.factory: its preprocess resizes the shorter side to {resized} pixels and leaves the "
                         "other as long as it is; a CenterCrop after it makes the square that is needed")  # fmt: skip
    square = cropped or resized
    if isinstance(square, tuple) and square[0] != square[1]:
        raise ValueError(f"model.factory: its preprocess makes {square[0]} x {square[1]} pixels, expected a square")
    given = {"size": config.size, "resize": config.resize, "resize_to": config.resize_to}
    same = wanted | {"resize_to": 0} == given | {"resize_to": 0}
    ends = [values["resize_to"] or values["size"] for values in (wanted, given)]
    if not same or (wanted["resize"] == "shorter+crop" and ends[0] != ends[1]):
        more = f" --set model.resize_to={wanted['resize_to']}" if wanted["resize_to"] else ""
        raise ValueError(f"model.factory: its preprocess is --size {wanted['size']} --resize {wanted['resize']}{more}, "
                         f"got {config.size} and {config.resize}; boxes and maps are placed by these")  # fmt: skip


def _pair(size) -> int | tuple[int, int] | None:
    """A size as torchvision's transforms keep it: one number for the shorter side, two for both."""
    if isinstance(size, (list, tuple)):
        return int(size[0]) if len(size) == 1 else (int(size[0]), int(size[1]))
    return size


def tried(preprocess: Callable[[Tensor], Tensor], size: int) -> None:
    """ValueError where a preprocess does not take images (N, 1, S, S) in [0, 1] and give as many back."""
    try:
        found = preprocess(torch.rand(2, 1, size, size))
    except Exception as error:  # the user's code
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError("preprocess: it is called with images as a tensor (N, 1, S, S) of values in [0, 1], and "
                         f"failed: {type(error).__name__}: {reason}") from error  # fmt: skip
    if not isinstance(found, Tensor) or found.ndim != 4 or len(found) != 2:
        got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"preprocess: expected 2 images back for 2, as a tensor (N, C, H, W), got {got}")
