"""From what a user's model gives to logits, and what its numbers say against what the user said of them."""

from __future__ import annotations

import torch
from torch import Tensor

from xray_debug.config import ModelConfig
from xray_debug.data.asked import without

SMALLEST = 1e-7  # a probability below it, or as near to 1, counts as this
NAMES = ("logits", "out", "output", "outputs", "logit", "pred", "preds", "predictions")  # of a dictionary's logits


def numbers_of(config: ModelConfig) -> int:
    """How many numbers the model should give for an image."""
    return 1 if config.output == "logit" else len(config.classes)


def tensor_of(found, what: str = "the model") -> Tensor:
    """The logits (N, K) in what a model gives: a tensor, the first of a tuple, or an entry of a dictionary."""
    given = found
    if isinstance(found, (tuple, list)) and found:
        found = found[0]
    named = getattr(found, "logits", None)
    if isinstance(found, dict):
        named = next((found[name] for name in NAMES if name in found), None)
        if named is None and len(found) == 1:
            named = next(iter(found.values()))
    if isinstance(named, Tensor):
        found = named
    if not isinstance(found, Tensor):
        keys = f" with {', '.join(map(str, given))}" if isinstance(given, dict) else ""
        raise ValueError(f"{what} gives a {type(given).__name__}{keys}, expected a tensor (N, K), or one named "
                         f"{', '.join(NAMES[:3])}")  # fmt: skip
    if found.ndim > 2 and found[0, 0].numel() == 1:
        found = found.flatten(1)
    return found[:, None] if found.ndim == 1 else found


def to_logits(found: Tensor, config: ModelConfig) -> Tensor:
    """(N, numbers_of) as the model gives them -> (N, K) logits of `run_classes`, so that their softmax is its answer.

    A finding becomes the two logits [0, z], whose softmax is sigmoid(z).
    """
    found = _both(found.float(), config)
    if config.output == "probabilities":
        found = found.clamp(SMALLEST, 1 - SMALLEST)
        if config.finding is None and len(config.classes) > 1:
            return found.log()
        return _against_zero(torch.logit(found[:, _place(config)]))
    if config.finding is None and config.output == "softmax" and len(config.classes) > 1:
        return found
    own = found[:, _place(config)]
    if config.output == "softmax" and found.shape[1] > 1:  # one class against the others
        others = [place for place in range(found.shape[1]) if place != _place(config)]
        return _against_zero(own - found[:, others].logsumexp(1))
    if config.output == "logit" and config.finding is not None and config.finding == config.classes[0] and len(
        config.classes
    ) == 2:
        own = -own  # the finding asked for is the negative class
    return _against_zero(own)


def _both(found: Tensor, config: ModelConfig) -> Tensor:
    """A single probability of the second of two classes as that of both."""
    if config.output == "probabilities" and len(config.classes) == 2 and found.shape[1] == 1:
        return torch.cat([1 - found, found], 1)
    return found


def _place(config: ModelConfig) -> int:
    if config.output == "logit" or config.finding is None:
        return 0
    return config.classes.index(config.finding)


def _against_zero(own: Tensor) -> Tensor:
    return torch.stack([torch.zeros_like(own), own], 1)


MANY = 12  # images whose single logits are hardly all between 0 and 1


def check_numbers(found: Tensor, config: ModelConfig, where: str) -> None:
    """ValueError where the answers (N, K) are not what `config` says: too many, too few, or probabilities already."""
    found = _both(found, config)
    wanted, got = numbers_of(config), found.shape[1]
    if got != wanted:
        raise ValueError(f"{where}: {_count_wrong(config, got, wanted)}")
    values = found.detach().float()
    if not torch.isfinite(values).all():
        return  # told of where the images' names are known
    inside = bool((values >= -1e-4).all() and (values <= 1 + 1e-4).all())
    one = got > 1 and bool(((values.sum(1) - 1).abs() < 1e-2).all())
    told = f"from {float(values.min()):.3g} to {float(values.max()):.3g}"
    if config.output == "probabilities" and not inside:
        raise ValueError(f"{where}: its answers run {told} and are no probabilities: --output softmax where the "
                         "classes exclude each other, sigmoid or logit where they do not")  # fmt: skip
    if config.output == "probabilities" and config.finding is None and len(config.classes) > 1 and not one:
        raise ValueError(f"{where}: its answers for an image do not sum to 1, so they are probabilities of findings "
                         "that do not exclude each other: say which to audit, --finding NAME")  # fmt: skip
    spread = float(values.max() - values.min()) > 0
    if config.output != "probabilities" and inside and spread and (one or len(values) >= MANY):
        sums = " and sum to 1 for every image" if one else ""
        more = "" if one or got == 1 else " --finding NAME"
        raise ValueError(f"{where}: its answers run {told}{sums}: these are probabilities already: --output "
                         f"probabilities{more}")  # fmt: skip


def _count_wrong(config: ModelConfig, got: int, wanted: int) -> str:
    if config.output == "logit" and got == 2:
        return ("gives two numbers for an image and not one logit; where they are its classes, without and with the "
                "finding: --output softmax --classes WITHOUT,WITH")  # fmt: skip
    if wanted == 1 and got == 2:
        return ("gives two numbers for one finding; where they are without and with it: --output softmax "
                f"--classes '{without(config.classes[0])},{config.classes[0]}'")
    if got == 1:
        if config.output == "probabilities":
            return (f"gives one probability for an image, expected {wanted}, one for each class: name the one class "
                    "whose it is, --classes CLASS, or two, without and with it")  # fmt: skip
        return f"gives one number for an image, expected {wanted}, one for each class: --output logit"
    return f"gives {got} numbers for an image, expected {wanted}, as classes and output say: name its {got} classes"
