"""`precision: auto`: what the machine does fast in hardware, measured where its word is not enough."""

from __future__ import annotations

import copy
import math
import time

import torch
from torch import nn

from xray_debug.config import TrainConfig
from xray_debug.models.classifier import XrayClassifier
from xray_debug.models.threads import one_thread

# bfloat16 must gain this much on a CPU: less is not worth its rounding
WORTH = 1.5  # below it the choice would change from run to run with the noise of the clock (measured: 1.0 to 1.4)
BUDGET, PROBE_BUDGET = 1.5, 0.1  # seconds of measuring
HOPELESS = 0.6  # a gain of a single convolution below this means that bfloat16 is emulated


def on_gpu(accelerator: str) -> bool:
    """Whether Lightning's `accelerator` comes to a CUDA device here."""
    return accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available()


def on_cpu(accelerator: str) -> bool:
    """Whether Lightning's `accelerator` comes to the CPU here."""
    other = torch.cuda.is_available() or torch.backends.mps.is_available()
    return accelerator == "cpu" or (accelerator == "auto" and not other)


def chosen_precision(config: TrainConfig, model: XrayClassifier) -> tuple[str, str]:
    """Lightning's name of the precision to train `model` with, and a sentence that says why.

    Anything but `auto` is taken as it is. CUDA: bf16-mixed where the card computes in bfloat16, 16-mixed from compute
    capability 7.0 (tensor cores) on, else 32-true. Other accelerators: 32-true. CPU: bf16-mixed where forward and
    backward steps of the very network are at least WORTH times as fast as in float32 in a short measurement with as
    many threads as torch has now; else 32-true.
    """
    if config.precision != "auto":
        return config.precision, f"precision {config.precision}: as asked for"
    if on_gpu(config.accelerator):
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16-mixed", "precision bf16-mixed: this GPU computes in bfloat16"
        if torch.cuda.get_device_capability() >= (7, 0):
            return "16-mixed", "precision 16-mixed: this GPU has tensor cores for float16, none for bfloat16"
        return "32-true", "precision 32-true: this GPU gains nothing from 16 bits"
    if not on_cpu(config.accelerator):
        return "32-true", "precision 32-true: not measured on this accelerator"
    gain = bfloat16_gain(model)
    precision = "bf16-mixed" if gain >= WORTH else "32-true"
    return precision, f"precision {precision}: on this CPU bfloat16 is {gain:.2g} times as fast as float32"


def bfloat16_gain(model: XrayClassifier) -> float:
    """Time of a training step in float32 over that in bfloat16 autocast, best of several of each; the model is copied.

    Processor time of one thread, so that other work on the machine does not settle the matter.

    A convolution is tried first: where bfloat16 is emulated, a single step of a large network could take a minute.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), one_thread():
        gain = _gain(nn.Conv2d(32, 32, 3), torch.rand(2, 32, 32, 32, generator=generator), PROBE_BUDGET)
        if gain < HOPELESS:
            return gain
        size = model.view.size
        images = torch.rand(8 if size <= 128 else 2, 1, size, size, generator=generator)
        return _gain(copy.deepcopy(model).train(), images, BUDGET)


def _gain(net: nn.Module, inputs: torch.Tensor, budget: float) -> float:
    """float32 and bfloat16 in turn until the seconds of the budget are spent; the first of each only warms up."""
    started = time.perf_counter()
    for low in (False, True):
        _step(net, inputs, low)
    best = {False: math.inf, True: math.inf}
    while True:
        for low in best:
            best[low] = min(best[low], _step(net, inputs, low))
        if time.perf_counter() - started + sum(best.values()) > budget:
            return best[False] / best[True]


def _step(net: nn.Module, inputs: torch.Tensor, low: bool) -> float:
    """Seconds of one forward and backward pass, as Lightning does it."""
    started = time.thread_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        outputs = net(inputs)
    outputs.float().square().mean().backward()
    net.zero_grad()
    return time.thread_time() - started
