"""Trains craft-lite: python -m xray_debug.text.training.train --backgrounds DIR --out FILE --steps N --seed 0

Markers are drawn over the radiographs of DIR (searched with its subfolders). Real text in them must not be taught as
background: it is masked where rapidocr suspects any (--text-boxes keeps what it found), or, with --teacher WEIGHTS,
learnt from that earlier network's own reading (CRAFT's weak supervision), corrected by --review where given.

Devices are drawn too, into a third map; --devices FILE says what of them the films of DIR hold.

Every sample follows from (seed, its number), so that a run that is killed and started again goes on as it would have.
With --minutes in place of --steps the learning rate follows the clock, and no two runs are exactly alike.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.data import DataLoader, Dataset

from xray_debug.data.files import atomic_write
from xray_debug.stats.seeds import rng_of
from xray_debug.text.craft import OUTPUTS, CraftLite, learn_devices_alone, load_lite, prepare, save_lite, with_devices
from xray_debug.text.detectors.craft_lite import measured_precision
from xray_debug.text.training.backgrounds import load_backgrounds
from xray_debug.text.training.samples import Background, make_sample


@dataclass(frozen=True)
class TrainOptions:
    """`minutes` and `steps`: whichever is given sets the schedule; `unlabelled_peak`: a prediction above it, over a
    background nobody has labelled, counts from step `trust_from` on as overlooked text, and is not unlearnt;
    `unlabelled_device`: the same of devices, from the same step on; `devices_alone`: the maps of text are held;
    `devices_apart`: both are learnt, and devices do not move what is shared with text."""

    steps: int | None = 6000
    minutes: float | None = None
    batch: int = 16
    crop: int = 256
    rate: float = 2e-3
    warmup: int = 300
    average: float = 0.998
    unlabelled_peak: float = 0.15
    unlabelled_device: float = 0.3
    trust_from: int = 600
    seed: int = 0
    devices_alone: bool = False
    devices_apart: bool = False


class Samples(Dataset):
    """Endless samples, the i-th always the same. Items: input (2, S, S), maps (3, s, s), weights (2, s, s) uint8.

    Weights, of text and of devices, are 0 where nothing may be learnt, 1 on background nobody has labelled, 2 where the
    target is sure.
    """

    def __init__(self, backgrounds: list[Background], count: int, crop: int, seed: int, first: int = 0):
        self.backgrounds, self.count, self.crop, self.seed, self.first = backgrounds, count, crop, seed, first

    def __len__(self) -> int:
        return self.count - self.first

    def __getitem__(self, index: int):
        rng = rng_of(self.seed, "sample", self.first + index)
        background = self.backgrounds[rng.integers(len(self.backgrounds))]
        sample = make_sample(background, rng, self.crop)
        return prepare(sample.image), sample.maps, sample.weights


def loss_of(logits: torch.Tensor, maps: torch.Tensor, weights: torch.Tensor, overlooked: tuple[float, float]
            ) -> torch.Tensor:
    """Cross entropy against the soft maps, with hard negatives: all of what is sought, and the three times as many
    pixels of background that are most wrong. logits, maps (N, 3, h, w); weights (N, 2, h, w) as in `Samples`.

    Predictions above `overlooked` (of text, of devices) on background that nobody labelled are left out: they may be
    right.
    """
    losses = F.binary_cross_entropy_with_logits(logits, maps, reduction="none")
    found = logits.detach()[:, (0, 2)].sigmoid()
    doubt = (weights == 1) & (found > found.new_tensor(overlooked)[:, None, None])
    learn, sought = (weights > 0) & ~doubt, maps > 0.1
    total = 0 * logits.sum()  # a gradient also where nothing may be learnt
    for plane, of in enumerate((0, 0, 1)):  # region and affinity are text
        value, positive, usable = losses[:, plane], sought[:, plane], learn[:, of]
        wanted, rest = value[positive & usable], value[~positive & usable]
        hard = min(len(rest), max(3 * len(wanted), 500 * len(logits)))
        total = total + (wanted.mean() if len(wanted) else 0) + (rest.topk(hard).values.mean() if hard else 0)
        total = total + rest.mean() if len(rest) else total
    return total


@dataclass
class State:
    """All that a run needs to go on: the network, its running average, the optimiser and what is done."""

    net: CraftLite
    mean: CraftLite
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0

    def save(self, path: Path, settings: dict) -> None:
        kept = {"net": self.net.state_dict(), "mean": self.mean.state_dict(), "settings": settings,
                "optimiser": self.optimiser.state_dict(), "step": self.step, "seconds": self.seconds}
        atomic_write(path, lambda file: torch.save(kept, file))

    def resume(self, path: Path, settings: dict) -> None:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if saved["settings"] != settings:
            raise ValueError(f"{path}: the run kept here had other settings ({saved['settings']}); remove it or go on "
                             "with those")
        self.net.load_state_dict(saved["net"])
        self.mean.load_state_dict(saved["mean"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.step, self.seconds = saved["step"], saved["seconds"]

    @torch.no_grad()
    def follow(self, keep: float) -> None:
        """Moves the average towards the network; early on faster, so that it forgets the start."""
        keep = min(keep, (1 + self.step) / (10 + self.step))
        for mean, value in zip(self.mean.state_dict().values(), self.net.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - keep)
            else:
                mean.copy_(value)


def start(options: TrainOptions, initial: str | Path | None) -> State:
    torch.manual_seed(options.seed)
    nets = [with_devices(load_lite(initial)) if initial else CraftLite(outputs=len(OUTPUTS)) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    net, mean = (net.to(memory_format=torch.channels_last) for net in nets)
    net.train()
    net.devices_apart = options.devices_apart
    if options.devices_alone:
        learn_devices_alone(net)
    learnt = [value for value in net.parameters() if value.requires_grad]
    return State(net, mean.eval(), torch.optim.AdamW(learnt, options.rate, weight_decay=1e-4))


def rate_at(done: float, step: int, options: TrainOptions) -> float:
    """Warm-up over the first steps, then half a cosine down to 1 % at `done` = 1."""
    return options.rate * min(1.0, (step + 1) / options.warmup) * (0.505 + 0.495 * math.cos(math.pi * min(done, 1.0)))


def train(backgrounds: list[Background], out: Path, options: TrainOptions, initial=None, workers: int = 1,
          every: int = 200, report=None, **facts) -> State:
    """Runs to the end of the schedule; writes `out` (averaged weights) and `out`.ckpt every `every` steps.

    `report(done, total, text)` is told of progress. A run found in `out`.ckpt is gone on with.
    """
    state, checkpoint = start(options, initial), out.with_suffix(".ckpt")
    if checkpoint.exists():
        state.resume(checkpoint, asdict(options))
    steps = options.steps or 10**7
    samples = Samples(backgrounds, steps * options.batch, options.crop, options.seed, state.step * options.batch)
    loader = DataLoader(samples, options.batch, num_workers=workers, prefetch_factor=4 if workers else None)
    low, clock, shown = measured_precision() == "bf16", time.monotonic() - state.seconds, None
    for batch in loader:
        done = state.seconds / 60 / options.minutes if options.minutes else state.step / steps
        if done >= 1:
            break
        for group in state.optimiser.param_groups:
            group["lr"] = rate_at(done, state.step, options)
        loss = float(_step(state, batch, options, low))
        shown = loss if shown is None else 0.98 * shown + 0.02 * loss
        state.step, state.seconds = state.step + 1, time.monotonic() - clock
        if report:
            report(*((state.seconds / 60, options.minutes) if options.minutes else (state.step, steps)),
                   f"step {state.step} loss {shown:.3f}")
        if state.step % every == 0:
            state.save(checkpoint, asdict(options))
            save_lite(state.mean, out, step=state.step, **facts)
    state.save(checkpoint, asdict(options))
    save_lite(state.mean, out, step=state.step, seconds=round(state.seconds), options=asdict(options), **facts)
    return state


def _step(state: State, batch, options: TrainOptions, low: bool) -> torch.Tensor:
    images, maps, weights = batch
    images = images.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        logits = state.net(images)
    # at first the network knows too little of text to tell what was overlooked
    trusted = state.step >= options.trust_from
    overlooked = (options.unlabelled_peak, options.unlabelled_device) if trusted else (1.0, 1.0)
    loss = loss_of(logits.float(), maps, weights, overlooked)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.net.parameters(), 5.0)
    state.optimiser.step()
    state.follow(options.average)
    return loss.detach()


def _arguments() -> argparse.Namespace:
    command = "python -m xray_debug.text.training.train"
    parser = argparse.ArgumentParser(prog=command, description=__doc__.splitlines()[0])
    parser.add_argument("--backgrounds", type=Path, required=True, help="folder of radiographs, or phantom: synthetic")
    parser.add_argument("--out", type=Path, required=True, help="weight file to write (.safetensors)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, default=6000)
    length.add_argument("--minutes", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--initial", type=Path, help="weights to start from")
    parser.add_argument("--text-boxes", type=Path, help="JSON of rapidocr's boxes in the backgrounds; made if missing")
    parser.add_argument("--teacher", type=Path, help="weights of an earlier run, to label the backgrounds with")
    parser.add_argument("--review", type=Path, help="JSON of a person's corrections to the teacher's labels")
    parser.add_argument("--readings", type=Path, help="folder for what the teacher read; kept for another start")
    parser.add_argument("--devices", type=Path, help="JSON of devices that a person saw in the backgrounds")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--devices-alone", action="store_true",
                      help="learn the map of devices; those of text stay what they are in --initial")
    only.add_argument("--devices-apart", action="store_true",
                      help="learn all maps, that of devices from what text has learnt, which it does not change")
    parser.add_argument("--phantoms", type=int, default=0, help="add so many synthetic radiographs")
    parser.add_argument("--slices", type=int, default=0, help="add so many synthetic slices of a CT")
    parser.add_argument("--max-backgrounds", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    options = _arguments()
    torch.set_num_threads(options.threads)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns) as progress:
        task = progress.add_task("backgrounds")
        backgrounds = load_backgrounds(
            options.backgrounds, options.max_backgrounds, options.seed, boxes_file=options.text_boxes,
            teacher=options.teacher, review=options.review, phantoms=options.phantoms, slices=options.slices,
            devices=options.devices, readings=options.readings,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
        task = progress.add_task("training")
        settings = TrainOptions(steps=None if options.minutes else options.steps, minutes=options.minutes,
                                batch=options.batch, rate=options.rate, seed=options.seed,
                                trust_from=0 if options.initial else TrainOptions.trust_from,
                                devices_alone=options.devices_alone, devices_apart=options.devices_apart)  # fmt: skip
        train(backgrounds, options.out, settings, options.initial, options.workers,
              report=lambda done, total, text: progress.update(task, completed=done, total=total, description=text),
              radiographs=len(backgrounds))


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError, ImportError) as error:
        raise SystemExit(f"error: {error}") from error
