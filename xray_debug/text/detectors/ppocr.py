"""The detector inside the package rapidocr (PP-OCR): other principles, trained by others on other pictures."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from xray_debug.data.boxes import TextBox, clip_boxes
from xray_debug.data.images import to_gray8
from xray_debug.text.detectors.registry import DETECTORS, check_sha256, checked_image


def listed_sha256(package: Path, name: str) -> str:
    """The sha256 that rapidocr's own list, default_models.yaml, gives for a model's file; ValueError where it has none.

    The list repeats a model for each of its kinds of files; the name tells them apart.
    """
    listed = package / "default_models.yaml"
    content = listed.read_text(encoding="utf-8") if listed.is_file() else ""
    found = re.search(rf"/{re.escape(name)}\s+SHA256:\s*([0-9a-f]{{64}})\b", content)
    if not found:
        raise ValueError(f"{listed}: expected the sha256 of {name}, found none; give the model as weights to use it")
    return found[1]


NEEDED = "detector ppocr needs the extra ppocr: pip install 'xray-debug[ppocr]'"


@DETECTORS.register("ppocr", help="the detector inside rapidocr, loads nothing else of it (extra ppocr)")
class PPOCRDetector:
    """The detector that comes inside the package rapidocr (PP-OCR); works offline, loads nothing else of it.

    `threads`: of onnxruntime, -1 for all cores; one by default, since many images are read side by side. `largest`:
    share of the film above which a box is dropped: on a film without text the model often returns the whole of it.
    `min_score`: the least score of a box; under 0.65 electrodes score as text does.
    """

    name = "ppocr"

    @staticmethod
    def ready(weights: str | Path | None, options: dict) -> None:
        """ImportError where a package is not installed."""
        if missing := [name for name in ("onnxruntime", "rapidocr") if importlib.util.find_spec(name) is None]:
            raise ImportError(f"{NEEDED} (missing: {', '.join(missing)})")

    def __init__(self, weights=None, threads=1, largest=0.2, min_score=0.65):
        try:
            import onnxruntime  # noqa: F401  rapidocr finds it missing only later, and less clearly
            import rapidocr
        except ImportError as error:
            raise ImportError(f"{NEEDED} (import failed: {error})") from error
        if weights is None:
            bundled = sorted((Path(rapidocr.__file__).parent / "models").glob("*det*.onnx"))
            if not bundled:
                raise ValueError("rapidocr carries no detection model (*det*.onnx) in its folder models; reinstall it, "
                                 "or give one as weights")
            weights = bundled[-1]
            check_sha256(weights, listed_sha256(Path(rapidocr.__file__).parent, weights.name))
        if not Path(weights).is_file():
            raise ValueError(f"{weights}: no such weight file")
        self.weights, self.largest, self.min_score = Path(weights), largest, min_score
        self.engine = rapidocr.RapidOCR(params={
            "Det.model_path": str(weights), "Global.log_level": "critical", "Global.use_cls": False,
            "Global.use_rec": False, "EngineConfig.onnxruntime.intra_op_num_threads": threads,
        })

    def detect(self, images: Sequence[np.ndarray]) -> list[list[TextBox]]:
        return [self._one(checked_image(image, i)) for i, image in enumerate(images)]

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
