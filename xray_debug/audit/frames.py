"""One case before it goes through the model, and the frames (altered images) that are put before it.

What reveals or blurs works in the view's pixels. A frame is float32 (S, S) in [0, 1], as the model takes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from xray_debug.audit.look.typical import Looks
from xray_debug.audit.removals import Removed, Remover, as_input
from xray_debug.audit.swaps import Donor
from xray_debug.config import AuditConfig, CleanConfig
from xray_debug.data.boxes import as_boxes, clip_boxes
from xray_debug.data.view import GreyWindow, ModelView, to_gray8
from xray_debug.saliency import rank_pixels, upsample_saliency
from xray_debug.saliency.images import blurred
from xray_debug.stats.seeds import seed_of


@dataclass
class Frames:
    """Named model inputs of one case, in order."""

    names: list[str] = field(default_factory=list)
    images: list[np.ndarray] = field(default_factory=list)

    def add(self, name: str, image: np.ndarray) -> None:
        """Takes a (S, S) image, uint8 or float in [0, 1]. ValueError for a name that is taken, or another shape."""
        if name in self.names:
            raise ValueError(f"frame {name!r} is added twice; every check needs names of its own")
        taken = as_input(image)
        if self.images and taken.shape != self.images[0].shape:
            raise ValueError(f"frame {name!r}: expected shape {self.images[0].shape}, as the model takes it, "
                             f"got {taken.shape}")
        self.names.append(name)
        self.images.append(taken)

    def stack(self) -> np.ndarray:
        """(P, 1, S, S) float32."""
        return np.stack(self.images)[:, None]


@dataclass
class Case:
    """One image, what the model can see of it and of its text, and what is known of it."""

    image_id: str
    label: str
    original: np.ndarray  # uint8 or uint16, (H, W) or (H, W, 3)
    boxes: np.ndarray  # (N, 4) text boxes inside the image
    visible: np.ndarray  # (M, 4) those of which the view shows something
    viewer: ModelView
    view: np.ndarray  # (S, S) float32, what the model sees
    baseline: np.ndarray  # (S, S) float32, the same heavily blurred
    remover: Remover
    text: Removed  # the image without its text; the image itself where none is visible
    config: AuditConfig
    clean: CleanConfig
    seed: int  # of the audit
    window: GreyWindow  # of the original, for all that is made from it
    bank: list[Donor] = field(default_factory=list)  # markers of other images
    looks: Looks | None = None  # what is typical of each class
    devices: np.ndarray = field(default_factory=lambda: as_boxes(()))  # (N, 4) boxes, maybe beyond the image
    saliency: np.ndarray | None = None  # (m, m) in [0, 1]
    deletion: float = math.nan  # areas under the curves of the explanation
    insertion: float = math.nan

    @property
    def hidden(self) -> int:
        """Text boxes that the view crops away."""
        return len(self.boxes) - len(self.visible)

    @property
    def text_free(self) -> np.ndarray:
        """The view without its text, (S, S) float32."""
        return self.text.views.get("inpainted", self.view)

    @cached_property
    def text_free_gray(self) -> np.ndarray:
        """The whole image without its text, uint8 (H, W)."""
        return to_gray8(self.text.original, self.window)

    def seed_for(self, *what) -> int:
        """A seed for one use in this case, whatever its neighbours."""
        return seed_of(self.seed, self.image_id, *what)

    def has(self, need: str) -> bool:
        """Whether there is what a check needs: "text" that the model sees, a "map", a "bank" of markers, or "looks"."""
        return {"text": len(self.visible) > 0, "map": self.saliency is not None, "bank": len(self.bank) > 0,
                "looks": self.looks is not None}[need]


def prepare_case(image_id: str, label: str, original: np.ndarray, boxes, viewer: ModelView, config: AuditConfig,
                 clean: CleanConfig, seed: int = 0, known: bytes | None = None, window: GreyWindow | None = None,
                 **more) -> Case:
    """Decides what the model can see of the text, and erases all text as cleaning does where it sees any.

    `known`: a patch of the same erasing made earlier. `window`: the original's grey window, its own without it.
    `more`: further fields of the case.
    """
    height, width = original.shape[:2]
    text = clip_boxes(boxes, height, width)
    visible = text[viewer.visible_fraction(text, height, width) > 0]
    window = GreyWindow.of(original) if window is None else window
    view = as_input(viewer.apply(original, window))
    remover = Remover(original, view, viewer, clean, window)
    removed = remover.text(text, known) if len(visible) else Removed(np.zeros_like(view), original)
    return Case(image_id, label, original, text, visible, viewer, view, baseline(view), remover, removed, config, clean,
                seed, window, **more)


def baseline(image: np.ndarray) -> np.ndarray:
    """The saliency methods' blurred baseline of one view (S, S)."""
    return blurred(torch.from_numpy(image)[None, None])[0, 0].numpy()


def composite(inside: np.ndarray, outside: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`inside` where mask is 1, `outside` where it is 0."""
    return mask * inside + (1 - mask) * outside


def ranks(saliency: np.ndarray, size: int) -> np.ndarray:
    """(m, m) saliency -> (size, size) rank of each pixel, 0 = most salient, as in the deletion and insertion curves."""
    fine = upsample_saliency(torch.from_numpy(np.ascontiguousarray(saliency, np.float32))[None, None], size)
    return rank_pixels(fine)[0, 0].numpy()


def top_share(rank: np.ndarray, share: float) -> np.ndarray:
    """Float mask of the `share` most salient pixels (rounded to whole pixels)."""
    return (rank < round(share * rank.size)).astype(np.float32)


def add_salient_frames(frames: Frames, case: Case) -> None:
    """The top salient shares inserted into the baseline and deleted from the image."""
    rank = ranks(case.saliency, case.view.shape[0])
    for share in case.config.shares:
        mask = top_share(rank, share)
        frames.add(f"inserted_share/{share:g}", composite(case.view, case.baseline, mask))
        frames.add(f"deleted_share/{share:g}", composite(case.baseline, case.view, mask))


def centre_box(height: int, width: int, margin: float) -> tuple[int, int, int, int]:
    """The central field: `margin` of the height and width away from each side."""
    y, x = round(margin * height), round(margin * width)
    return x, y, width - x, height - y


def blacked_out(images: np.ndarray, margin: float = 0.2) -> np.ndarray:
    """(..., H, W) images with the central field set to black: what is left holds no lungs to speak of."""
    result = np.array(images)
    x0, y0, x1, y1 = centre_box(*result.shape[-2:], margin)
    result[..., y0:y1, x0:x1] = 0
    return result
