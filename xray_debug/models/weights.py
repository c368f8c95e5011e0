"""State dicts from files, never by unpickling code."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
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
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise ValueError(f"{path}: not a readable weights file: {reason}") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not state or not all(isinstance(v, Tensor) for v in state.values()):
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
    net.load_state_dict(own | state)
