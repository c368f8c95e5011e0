"""Detectors of text behind one interface: `load_detector(name).detect(images)` -> one list of TextBox per image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch

from xray_debug.data.boxes import TextBox, clip_boxes
from xray_debug.data.images import to_gray8
from xray_debug.text.craft import Thresholds, find_words, fold, load_lite, prepare
from xray_debug.text.detectors import official
from xray_debug.text.scales import BASE, STRIDE, in_tiles, merge, pad_to, resize_to, to_image, working_sides

BUNDLED = Path(__file__).with_name("weights") / "craft-lite.safetensors"


class Detector(Protocol):
    name: str

    def detect(self, images: Sequence[np.ndarray]) -> list[list[TextBox]]: ...


def load_detector(name: str = "craft-lite", weights: str | Path | None = None, **options) -> Detector:
    """The detector called `name`: craft-lite (bundled), craft (official weights) or ppocr (rapidocr's).

    `weights`: another weight file, for craft-lite and craft. Options are those of the detector's class; an unknown
    one is a ValueError. A detector that needs a package that is not installed raises ImportError naming the extra.
    """
    if name not in DETECTORS:
        raise ValueError(f"unknown detector {name!r}: expected one of {', '.join(DETECTORS)}")
    try:
        return DETECTORS[name](weights=weights, **options)
    except TypeError as error:
        if "unexpected keyword argument" in str(error):
            option = str(error).rsplit("'", 2)[1]
            raise ValueError(f"detector {name} has no option {option!r}") from error
        raise


def amx_or_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (Linux only; elsewhere the answer is no)."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split("flags", 1)[1].split("\n", 1)[0].split()
    except (OSError, IndexError):
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


class MapDetector:
    """What the two CRAFT networks share: sizes, batches, tiles, score maps to boxes. Memory: one batch at a time.

    `base`, `finest`: long sides a film is read at (scales.working_sides); `tile`: the largest side put through the
    network at once; `grow`: share of a box's shorter side added on every side, at least `least_grow` pixels at the
    working size.
    """

    name = ""

    def __init__(self, text_threshold=0.7, link_threshold=0.4, low_text=0.4, min_area=10, base=BASE, finest=2 * BASE,
                 tile=1024, overlap=128, batch_size=8, grow=0.0, least_grow=0.0, device="cpu"):
        if min(base, finest) < STRIDE or tile % STRIDE or overlap % STRIDE or not 0 < overlap < tile:
            raise ValueError(f"base and finest must be at least {STRIDE}, tile and overlap multiples of it, overlap "
                             f"under tile; got {base}, {finest}, {tile}, {overlap}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.thresholds = Thresholds(text_threshold, link_threshold, low_text, min_area)
        self.base, self.finest, self.tile, self.overlap = base, finest, tile, overlap
        self.batch_size, self.grow, self.least_grow, self.device = batch_size, grow, least_grow, torch.device(device)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """An image at its working size, padded -> float32 (C, H, W), what the network takes."""
        raise TypeError("MapDetector is a base class: use load_detector")

    def maps(self, batch: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, 2, H / 2, W / 2) float32 scores in [0, 1]: region, affinity."""
        raise TypeError("MapDetector is a base class: use load_detector")

    def detect(self, images: Sequence[np.ndarray]) -> list[list[TextBox]]:
        """uint8 (or uint16, windowed to 8 bits) arrays (H, W) or (H, W, 3) -> boxes in pixels of each image.

        A batch gives what single images give. TypeError or ValueError for anything else, with its place in the list.
        """
        images = [_checked(image, i) for i, image in enumerate(images)]
        found: list[list[TextBox]] = [[] for _ in images]
        shapes: dict[tuple[int, int], list[tuple[int, np.ndarray]]] = {}
        for i, image in enumerate(images):
            for side in working_sides(*image.shape[:2], self.base, self.finest):
                resized = resize_to(image, side)
                values = self.prepare(pad_to(resized, STRIDE))
                shapes.setdefault(values.shape[1:], []).append((i, values, resized.shape[:2]))
        for group in shapes.values():
            for start in range(0, len(group), self.batch_size):
                part = group[start:start + self.batch_size]
                for (i, _, size), maps in zip(part, self._run([values for _, values, _ in part]), strict=True):
                    found[i] += self._boxes(maps, size, images[i].shape[:2])
        return [merge(boxes) for boxes in found]

    def score_maps(self, image: np.ndarray, side: int | None = None) -> np.ndarray:
        """(2, h, w) region and affinity of one image at one working size (default `base`), half its resolution."""
        resized = resize_to(_checked(image, 0), side or self.base)
        height, width = resized.shape[:2]
        return self._run([self.prepare(pad_to(resized, STRIDE))])[0][:, :(height + 1) // 2, :(width + 1) // 2]

    @torch.inference_mode()
    def _run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        def network(values: np.ndarray) -> np.ndarray:
            return self.maps(torch.from_numpy(values).to(self.device)).float().cpu().numpy()

        if max(inputs[0].shape[1:]) > self.tile:
            return [in_tiles(one, lambda v: network(np.ascontiguousarray(v)[None])[0], self.tile, self.overlap)
                    for one in inputs]
        return list(network(np.stack(inputs)))

    def _boxes(self, maps: np.ndarray, size: tuple[int, int], shape: tuple[int, int]) -> list[TextBox]:
        height, width = size
        region, affinity = maps  # the padding too, as the official decoding does
        scale = 2 * shape[1] / width, 2 * shape[0] / height
        boxes = []
        for word in find_words(region, affinity, self.thresholds):
            x0, y0, x1, y1 = rectangle = self.rectangle(word, region.shape)
            grow = max(self.grow * min(x1 - x0, y1 - y0), self.least_grow / 2)
            boxes.append(to_image(rectangle + grow * np.array([-1, -1, 1, 1]), scale, *shape, word.score))
        return [box for box in boxes if box]

    def rectangle(self, word, shape: tuple[int, int]) -> np.ndarray:
        return word.rectangle


class CraftLiteDetector(MapDetector):
    """The bundled network. Its thresholds and growth were chosen on the annotated films that the model card names.

    `precision`: fp32, bf16, or auto: bf16 where the CPU multiplies it in hardware. `mirror`: also read the mirror image
    and take the mean of the score maps, at twice the time; markers are mirrored often, and the mean is steadier.
    """

    name = "craft-lite"

    def __init__(self, weights=None, precision="auto", mirror=True, text_threshold=0.65, low_text=0.3, grow=0.1,
                 least_grow=2.0, **options):
        super().__init__(text_threshold, low_text=low_text, grow=grow, least_grow=least_grow, **options)
        if precision not in ("auto", "fp32", "bf16"):
            raise ValueError(f"precision must be auto, fp32 or bf16, got {precision!r}")
        if precision == "auto":
            precision = "bf16" if self.device.type == "cpu" and amx_or_bf16() else "fp32"
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.mirror, self.weights = mirror, Path(weights) if weights is not None else BUNDLED
        self.net = fold(load_lite(self.weights)).to(self.device, self.dtype, memory_format=torch.channels_last)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return prepare(to_gray8(image))

    def maps(self, batch: torch.Tensor) -> torch.Tensor:
        scores = self.forward(batch)
        return (scores + self.forward(batch.flip(-1)).flip(-1)) / 2 if self.mirror else scores

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """The network alone, once: (N, 2, H, W) -> (N, 2, H / 2, W / 2) float32 in [0, 1]."""
        return torch.sigmoid(self.net(batch.to(self.dtype, memory_format=torch.channels_last)).float())


class CraftDetector(MapDetector):
    """The official network. `refine`: refine links (RefineNet), `refiner`: its weights; `download`: fetch what lacks.

    `sha256`, `refiner_sha256`: expected digests, where weights other than the official ones are meant.
    """

    name = "craft"

    def __init__(self, weights=None, refine=False, refiner=None, download=False, sha256=None, refiner_sha256=None,
                 batch_size=1, **options):
        super().__init__(batch_size=batch_size, **options)
        official.need_package()  # first: without it, weights are no use
        path = official.find_weights("craft", weights, download, sha256)
        self.net = official.load_state(official.craft_network(), path)
        self.refiner = None
        if refine:
            path = official.find_weights("refiner", refiner, download, refiner_sha256)
            self.refiner = official.load_state(official.refine_network(), path).to(self.device)
        self.net.to(self.device)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return official.normalise(to_gray8(image) if image.dtype != np.uint8 else image)

    def maps(self, batch: torch.Tensor) -> torch.Tensor:
        scores, features = self.net(batch)
        if self.refiner is not None:
            scores = torch.cat([scores[..., :1], self.refiner(scores, features)], dim=-1)
        return scores.permute(0, 3, 1, 2)

    def rectangle(self, word, shape: tuple[int, int]) -> np.ndarray:
        quad = word.quad(*shape)
        return np.concatenate([quad.min(axis=0), quad.max(axis=0)]).astype(np.float64)


class PPOCRDetector:
    """The detector that comes inside the package rapidocr (PP-OCR); works offline, loads nothing else of it.

    `threads`: of onnxruntime, -1 for all cores. `largest`: share of the film above which a box is dropped: on a film
    without text the model often returns the whole of it. `min_score`: the least score of a box; under 0.65 electrodes
    score as text does.
    """

    name = "ppocr"

    def __init__(self, weights=None, threads=-1, largest=0.2, min_score=0.65):
        try:
            import onnxruntime  # noqa: F401  rapidocr finds it missing only later, and less clearly
            import rapidocr
        except ImportError as error:
            hint = "pip install 'xray-debug[ppocr]'"
            raise ImportError(f"detector ppocr needs the extra ppocr: {hint} (import failed: {error})") from error
        if weights is None:
            bundled = sorted((Path(rapidocr.__file__).parent / "models").glob("*det*.onnx"))
            if not bundled:
                raise ValueError("rapidocr carries no detection model (*det*.onnx) in its folder models; reinstall it, "
                                 "or give one as weights")
            weights = bundled[-1]
        if not Path(weights).is_file():
            raise ValueError(f"{weights}: no such weight file")
        self.weights, self.largest, self.min_score = Path(weights), largest, min_score
        self.engine = rapidocr.RapidOCR(params={
            "Det.model_path": str(weights), "Global.log_level": "critical", "Global.use_cls": False,
            "Global.use_rec": False, "EngineConfig.onnxruntime.intra_op_num_threads": threads,
        })

    def detect(self, images: Sequence[np.ndarray]) -> list[list[TextBox]]:
        return [self._one(_checked(image, i)) for i, image in enumerate(images)]

    def _one(self, image: np.ndarray) -> list[TextBox]:
        gray = to_gray8(image)
        found = self.engine(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), use_det=True, use_cls=False, use_rec=False)
        if found.boxes is None:
            return []
        boxes = []
        for quad, score in zip(np.asarray(found.boxes, np.float64), found.scores, strict=True):
            for x0, y0, x1, y1 in clip_boxes([(*quad.min(axis=0), *quad.max(axis=0))], *gray.shape).tolist():
                if (x1 - x0) * (y1 - y0) <= self.largest * gray.size and score >= self.min_score:
                    boxes.append(TextBox(x0, y0, x1, y1, float(np.clip(score, 0, 1))))
        return sorted(boxes, key=lambda b: (b.y0, b.x0, b.y1, b.x1))


DETECTORS = {"craft-lite": CraftLiteDetector, "craft": CraftDetector, "ppocr": PPOCRDetector}


def _checked(image: np.ndarray, index: int) -> np.ndarray:
    image = np.asarray(image)
    if image.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"image {index}: expected uint8 or uint16 pixels, got {image.dtype}")
    if image.size == 0 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"image {index}: expected a non-empty array (H, W) or (H, W, 3), got shape {image.shape}")
    return to_gray8(image) if image.dtype == np.uint16 else image
