"""The bundled detector: CRAFT's method with a small network trained on radiographs, read closely only where it pays."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch

from xray_debug.data.images import to_gray8
from xray_debug.text.craft import Thresholds, fold, load_lite, prepare, without_devices
from xray_debug.text.detectors.base import MapDetector, Reading, check_shares, scale_of
from xray_debug.text.detectors.registry import DETECTORS, check_sha256
from xray_debug.text.precision import bf16_is_faster
from xray_debug.text.scales import STRIDE, TRIM, close_ups, working_sides

BUNDLED = Path(__file__).with_name("weights") / "craft-lite.safetensors"
BUNDLED_SHA256 = "e9a38d93e3e526d0be6cfca28b5015738e767c72ac98af8f392a2e05ca0d1296"
# What a find needs, for two uses of it. clean: few false boxes, as each erases something; audit: misses little, as what
# is missed is not tested. docs/text.md says how they were chosen.
USES = {
    "clean": {"text_threshold": 0.55, "link_threshold": 0.4, "low_text": 0.25, "device_threshold": 0.5,
              "low_device": 0.2},
    "audit": {"text_threshold": 0.45, "link_threshold": 0.4, "low_text": 0.25, "device_threshold": 0.5,
              "low_device": 0.2},
}  # fmt: skip
LOOK_DEVICE = 0.15  # a device is larger than print: a look nearly finds it
MIRROR_DEVICE = 0.9  # of its threshold, from which the mirror image is asked, too: it lifts few that are below
LOOK_SIZE = 2 / 3  # of the largest working size: at half of it, print ten pixels high leaves no trace


@DETECTORS.register("craft-lite", help="CRAFT's method with a small network trained on radiographs; bundled")
class CraftLiteDetector(MapDetector):
    """The bundled network. docs/text.md says how its thresholds were chosen, the model card on which films its growth.

    `mirror`: the score maps are the mean of the film's and of its mirror image's; markers are mirrored often, and the
    mean is steadier. `look`: the film is first read at LOOK_SIZE of its working size, and closely only around places
    where that region map exceeds `look` (or the map of devices LOOK_DEVICE); None reads all of it closely.
    `precision`: fp32, bf16, or auto: bf16 where a short measurement shows that it is clearly faster. `use`: clean or
    audit, which sets the thresholds that are not given themselves (USES). `devices`: False leaves out the map of
    devices of weights that have one, and its work; what looks like a letter on a device is then text.
    """

    name = "craft-lite"

    def __init__(self, weights=None, precision="auto", mirror=True, look=0.1, use="clean", text_threshold=None,
                 link_threshold=None, low_text=None, device_threshold=None, low_device=None, grow=0.1, least_grow=2.0,
                 devices=True, **options):
        if use not in USES:
            raise ValueError(f"use must be {' or '.join(USES)}, got {use!r}")
        given = {"text_threshold": text_threshold, "link_threshold": link_threshold, "low_text": low_text,
                 "device_threshold": device_threshold, "low_device": low_device}  # fmt: skip
        set_to = {name: USES[use][name] if value is None else value for name, value in given.items()}
        check_shares(**set_to)
        for option, value in (("mirror", mirror), ("devices", devices)):
            if not isinstance(value, bool):
                raise ValueError(f"{option} must be true or false, got {value!r}")
        peak, low = set_to.pop("device_threshold"), set_to.pop("low_device")
        super().__init__(**set_to, grow=grow, least_grow=least_grow, **options)
        if low > peak:  # it would cut finds in silence
            raise ValueError(f"expected low_device of at most device_threshold, got {low} and {peak}")
        self.device_thresholds = Thresholds(peak, 1.0, low, self.thresholds.min_area)
        if precision not in ("auto", "fp32", "bf16"):
            raise ValueError(f"precision must be auto, fp32 or bf16, got {precision!r}")
        if look is not None and (isinstance(look, (bool, str)) or not 0 <= look < 1):
            raise ValueError(f"look must be in [0, 1), or None to read the whole film closely, got {look!r}")
        if weights is None:
            check_sha256(BUNDLED, BUNDLED_SHA256)
        if precision == "auto":
            precision = measured_precision() if self.device.type == "cpu" else "fp32"
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.mirror, self.look, self.weights = mirror, look, Path(weights) if weights is not None else BUNDLED
        net = load_lite(self.weights) if devices else without_devices(load_lite(self.weights))
        self.net = fold(net).to(self.device, self.dtype, memory_format=torch.channels_last)

    @staticmethod
    def resolve(options: dict) -> dict:
        """`precision` auto (the default) becomes what is measured here; other devices than the CPU take fp32."""
        if options.get("precision", "auto") != "auto":
            return options
        on_cpu = torch.device(options.get("device", "cpu")).type == "cpu"
        return options | {"precision": measured_precision() if on_cpu else "fp32"}

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return prepare(to_gray8(image))

    def maps(self, batch: torch.Tensor) -> torch.Tensor:
        return (self.forward(batch) + self.mirrored(batch)) / 2 if self.mirror else self.forward(batch)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """The network alone, once: (N, 2, H, W) -> (N, P, H / 2, W / 2) float32 in [0, 1]."""
        return torch.sigmoid(self.net(batch.to(self.dtype, memory_format=torch.channels_last)).float())

    def mirrored(self, batch: torch.Tensor) -> torch.Tensor:
        """The network's reading of the mirror image, turned back."""
        return self.forward(batch.flip(-1)).flip(-1)

    def readings(self, image: np.ndarray) -> Iterator[Reading]:
        """As the base class, but zero where the look saw nothing; nothing at all of a film where it saw nothing.

        The mirror image is read where the mean can still reach the threshold.
        """
        if self.look is None:
            yield from super().readings(image)
            return
        image, sides = to_gray8(image), working_sides(*image.shape[:2], self.base, self.finest)
        values, seen_size = self.prepared(image, max(STRIDE, round(LOOK_SIZE * sides[-1])))
        seen = self._over(self.run(values, self.forward), self.look, max(self.look, LOOK_DEVICE))
        for side in sides if seen.any() else ():
            values, size = self.prepared(image, side)
            straight = self._read(values, self.forward, self._places(seen, seen_size, values, size))
            maps = self._with_mirror(values, size, straight) if self.mirror else straight
            yield maps, scale_of(image.shape[:2], size)

    def _places(self, seen, seen_size, values, size) -> list[tuple[int, int, int, int]]:
        """Where to read `values` (of a film of `size`) closely: around `seen`, a map of the film at `seen_size`."""
        scale = 2 * size[1] / seen_size[1], 2 * size[0] / seen_size[0]
        return close_ups(seen, scale, *values.shape[1:])

    def _with_mirror(self, values: np.ndarray, size: tuple[int, int], straight: np.ndarray) -> np.ndarray:
        """The mean with the mirror image's maps, around text that can reach the threshold in it and devices that nearly
        reach theirs; zero elsewhere."""
        least = max(0.0, 2 * self.thresholds.text - 1 - 1e-6)  # the mirror image's score is 1 at most
        likely = self._over(straight, least, MIRROR_DEVICE * self.device_thresholds.text)
        places = self._places(likely, size, values, size)
        return self._read(values, self.mirrored, places, straight)

    @staticmethod
    def _over(maps: np.ndarray, text: float, device: float) -> np.ndarray:
        """bool (h, w): where the region map exceeds `text`, or the map of devices, if there is one, `device`."""
        return (maps[0] > text) | (maps[2] > device) if len(maps) > 2 else maps[0] > text

    def _read(self, values: np.ndarray, network, places, straight: np.ndarray | None = None) -> np.ndarray:
        """(P, H / 2, W / 2): `network` over `places` (or its mean with `straight` there), zero elsewhere.

        The outermost TRIM pixels of a place see too little of what is around them and are left out.
        """
        height, width = values.shape[1:]
        result = np.zeros((self.net.outputs, height // 2, width // 2), np.float32)
        for x0, y0, x1, y1 in places:
            maps = self.run(values[:, y0:y1, x0:x1], network)
            left, top = (TRIM // 2 if low else 0 for low in (x0, y0))
            right, bottom = maps.shape[2] - TRIM // 2 * (x1 < width), maps.shape[1] - TRIM // 2 * (y1 < height)
            inner, here = np.s_[:, top:bottom, left:right], np.s_[:, y0 // 2:y1 // 2, x0 // 2:x1 // 2]
            if straight is not None:
                maps = (maps + straight[here]) / 2
            np.maximum(result[here][inner], maps[inner], out=result[here][inner])
        return result


@cache
def measured_precision() -> str:
    """bf16 or fp32: which of them this CPU runs the bundled network in, measured once a process."""
    def make(dtype: torch.dtype):
        net = fold(load_lite(BUNDLED)).to(dtype, memory_format=torch.channels_last)
        values = torch.zeros(1, 2, 256, 256, dtype=dtype).to(memory_format=torch.channels_last)
        return lambda: net(values)

    return "bf16" if bf16_is_faster(make) else "fp32"
