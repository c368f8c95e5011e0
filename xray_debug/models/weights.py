"""State dicts from files, never by unpickling code."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a .safetensors file, or in a torch file that holds only tensors and plain values.

    A dictionary with the entry `state_dict` is unwrapped, and DataParallel's prefix "module." taken away.

    Raises:
        ValueError: naming the file: it is missing, damaged or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch on pickles of another protocol
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path}: not a readable weights file: it is damaged or holds more than tensors") from error
    except Exception as error:  # a damaged file fails in many ways, and torch and zip have errors of their own
        reason = (str(error) or repr(error)).splitlines()[0]
        raise ValueError(f"{path}: not a readable weights file: {reason}") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not state or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise ValueError(f"{path}: expected a state dict of tensors")
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


def fill(net: nn.Module, state: dict[str, Tensor], where: str) -> None:
    """Loads `state` into `net`; a ValueError names the file and the first name or shape that does not fit."""
    own = net.state_dict()
    # files written before torch 0.4 lack the batch counters, which nothing here needs
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in own]
    if missing or unknown:
        first = f"lacks {missing[0]}" if missing else f"has an unknown {unknown[0]}"
        raise ValueError(f"{where}: {len(missing) + len(unknown)} names do not fit this model, the file {first}")
    wrong = next((key for key in state if state[key].shape != own[key].shape), None)
    if wrong:
        raise ValueError(
            f"{where}: {wrong}: expected shape {tuple(own[wrong].shape)}, got {tuple(state[wrong].shape)}"
        )
    for key, value in state.items():
        if value.is_floating_point() != own[key].is_floating_point() or value.is_complex():
            raise ValueError(f"{where}: {key}: expected values like {own[key].dtype}, got {value.dtype}")
        if bool(torch.isnan(value).any()):
            raise ValueError(f"{where}: {key} holds NaN: the training failed or the file is damaged")
    try:
        net.load_state_dict(own | state)
    except RuntimeError as error:  # layouts that cannot be copied
        raise ValueError(f"{where}: {str(error).splitlines()[0]}") from error
