"""The named ways of iGOS++ and I-GOS: what is summed, how the masks move, what counts as the result."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

from xray_debug.saliency.images import checked_mask_size, checked_number, checked_whole
from xray_debug.saliency.terms import Setting


@dataclass(frozen=True)
class Preset:
    """One way; each field can be replaced by an option of its name.

    variant            full; single (one mask, both terms); insertion or deletion alone; naive (both, no product terms)
    iterations         mask updates; the last `end_iterations` of them see no path, only its end: equation 4 itself
    integration_steps  S; points: "even" s/S as the paper, or "stratified", shifted anew each iteration
    optimiser          adam, line_search, warm_line_search, nesterov or fixed, with its `rate`
    result             last: 1 - Mx My; ranked: its values, in the order of its ranks times those of the iterates' mean;
                       mean: of the iterates
    noise              standard deviation of the noise on the images of the Mx and My terms, in units of `scale`
    scale              what one unit of the paper's normalised images is in the inputs; None: each image's own deviation
    bilateral, edges   bilateral total variation averaged with the plain one; its weight, "paper" or "code" (see tv.py)
    area_weight        lambda 1; None: 10 for masks of 224 and more and 1 otherwise; smooth_weight: lambda 2
    """

    iterations: int
    integration_steps: int
    points: str
    noise: float
    optimiser: str
    rate: float | None
    result: str
    end_iterations: int = 0
    variant: str = "full"
    bilateral: bool = True
    edges: str = "paper"
    scale: float | None = None
    area_weight: float | None = None
    smooth_weight: float = 20.0

    def setting(self, mask_size: int, end: bool = False) -> Setting:
        """What is summed: over the path, or at its end alone (without noise)."""
        area = (10.0 if checked_mask_size(mask_size) >= 224 else 1.0) if self.area_weight is None else self.area_weight
        path = (1, "even", 0.0) if end else (self.integration_steps, self.points, self.noise)
        return Setting(self.variant, *path, self.bilateral, area, self.smooth_weight, self.edges, self.scale)


# 15 iterations, S = 20, noise 0.2, lambdas: the signatures of the authors' code; the paper gives beta, sigma, lambdas
PAPER = Preset(15, 20, "even", 0.2, "line_search", 1000.0, "last")
IGOS_PAPER = replace(
    PAPER, iterations=20, integration_steps=15, rate=8.0, variant="deletion", bilateral=False
)  # fmt: skip
DEFAULT = Preset(12, 2, "stratified", 0.0, "adam", 0.4, "ranked", end_iterations=9)
QUICK = Preset(2, 6, "stratified", 0.0, "adam", 0.1, "mean")
PRESETS = {"default": DEFAULT, "paper": PAPER, "quick": QUICK}


def chosen(presets: dict[str, Preset], name: str, changes: dict) -> Preset:
    """The preset `name` with `changes`; ValueError or TypeError names what cannot be used."""
    if name not in presets:
        raise ValueError(f"preset: expected one of {', '.join(presets)}, got {name!r}")
    unknown = sorted(set(changes) - {field.name for field in fields(Preset)})
    if unknown:
        known = ", ".join(sorted(field.name for field in fields(Preset)))
        raise TypeError(f"unexpected option {unknown[0]!r}; a preset has {known}")
    given = set(changes)
    if "iterations" in given:
        checked_whole("iterations", changes["iterations"], 1)
    if "iterations" in given and "end_iterations" not in given:
        share = presets[name].end_iterations / presets[name].iterations
        changes = {**changes, "end_iterations": int(share * changes["iterations"])}
    preset = replace(presets[name], **changes)
    if preset.variant in ("deletion", "insertion") and "end_iterations" not in given:
        # one term alone: where the network is certain its end has no slope, and the area term would undo the mask
        preset = replace(preset, end_iterations=0)
    for key, least in (("integration_steps", 1), ("end_iterations", 0)):
        checked_whole(key, getattr(preset, key), least)
    if preset.end_iterations > preset.iterations:
        raise ValueError(f"end_iterations: expected 0 to {preset.iterations}, got {preset.end_iterations}")
    for key in ("noise", "area_weight", "smooth_weight", "rate", "scale"):
        if getattr(preset, key) is not None:
            checked_number(key, getattr(preset, key), positive=key in ("rate", "scale"))
    if not isinstance(preset.bilateral, bool):
        raise ValueError(f"bilateral: expected true or false, got {preset.bilateral!r}")
    if preset.result not in ("last", "ranked", "mean"):
        raise ValueError(f"result: expected last, ranked or mean, got {preset.result!r}")
    return preset


def with_presets(presets: Mapping[str, Preset]) -> Callable:
    """Decorates a method whose further keywords are fields of Preset: its signature names them one by one.

    `method.check_options(preset=..., paper=..., **changes)` says what `chosen` would, before anything is computed;
    `method.presets` has the presets' names.
    """

    def decorate(method: Callable) -> Callable:
        own = [p for p in inspect.signature(method).parameters.values() if p.kind is not p.VAR_KEYWORD]
        more = [inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=f.type)
                for f in fields(Preset)]  # fmt: skip
        method.__signature__ = inspect.Signature([*own, *more])
        names = {f.name for f in fields(Preset)}

        def check_options(preset: str = "default", paper: bool = False, **options) -> None:
            changes = {name: value for name, value in options.items() if name in names}
            chosen(dict(presets), "paper" if paper else preset, changes)

        method.check_options, method.presets = check_options, tuple(presets)
        return method

    return decorate
