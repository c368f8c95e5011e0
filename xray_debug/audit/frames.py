"""The images of every intervention on one case: text removed, text alone, controls, salient shares, markers pasted.

Removal by inpainting works on the original pixels exactly as cleaning does, and is then seen through the model's view;
everything that reveals or blurs works in the view's pixels. A frame is float32 (S, S) in [0, 1], as the model takes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from xray_debug.cleaning.controls import control_boxes
from xray_debug.cleaning.fills import FILLS, fills
from xray_debug.cleaning.inpainting import inpaint_boxes
from xray_debug.config import AuditConfig, CleanConfig
from xray_debug.data.boxes import clip_boxes, rasterise_boxes
from xray_debug.data.images import ModelView
from xray_debug.saliency import rank_pixels, upsample_saliency

REMOVALS = ("inpainted", *FILLS)  # ways in which text and its controls are taken away
CURVE_STEPS = 24  # of the deletion and insertion curves; 48 frames and the two ends, which exist anyway


@dataclass
class Frames:
    """Named model inputs of one case, in order."""

    names: list[str] = field(default_factory=list)
    images: list[np.ndarray] = field(default_factory=list)

    def add(self, name: str, image: np.ndarray) -> None:
        """Takes a (S, S) image, uint8 or float in [0, 1]."""
        self.names.append(name)
        self.images.append(as_input(image))

    def stack(self) -> np.ndarray:
        """(P, 1, S, S) float32."""
        return np.stack(self.images)[:, None]


@dataclass
class CaseImages:
    """One case before it goes through the model. Boxes and masks as the model can see them, `hidden` what it cannot."""

    image_id: str
    original: np.ndarray  # uint8 or uint16, (H, W) or (H, W, 3)
    visible: np.ndarray  # (N, 4) text boxes of which the view shows something
    hidden: int  # text boxes that the view crops away
    view: np.ndarray  # (S, S) float32, what the model sees
    text_free: np.ndarray  # the same with its visible text inpainted; equals `view` where there is none
    text_free_original: np.ndarray
    text_mask: np.ndarray  # (S, S) float32 in [0, 1], what inpainting may have touched
    removed: dict[str, np.ndarray]  # the view without its text, by the name of the removal; "inpainted" is `text_free`
    control_masks: list[np.ndarray]
    control_removed: list[dict[str, np.ndarray]]  # the same for each control placement
    baseline: np.ndarray  # (S, S) float32


def as_input(image: np.ndarray) -> np.ndarray:
    """uint8 (S, S) -> float32 in [0, 1]; floats are passed on as float32."""
    return image.astype(np.float32) / np.float32(255) if image.dtype == np.uint8 else image.astype(np.float32)


def remove_boxes(image: np.ndarray, boxes: np.ndarray, clean: CleanConfig) -> tuple[np.ndarray, np.ndarray]:
    """`image` inpainted inside `boxes` with the options of cleaning, and the bool region that it touched."""
    return inpaint_boxes(image, boxes, clean.radius, clean.method, clean.shape, clean.dilation, clean.min_dilation)


def composite(inside: np.ndarray, outside: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`inside` where mask is 1, `outside` where it is 0."""
    return mask * inside + (1 - mask) * outside


def mirrored(boxes: np.ndarray, width: int) -> np.ndarray:
    """Boxes reflected at the image's vertical middle line."""
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)


def cropped_margins(view: ModelView, height: int, width: int) -> np.ndarray:
    """Boxes that cover what the view cuts away."""
    x0, y0, x1, y1 = view.window(height, width)
    margins = [(0, 0, width, y0), (0, y1, width, height), (0, 0, x0, height), (x1, 0, width, height)]
    return clip_boxes(margins, height, width)


def place_controls(boxes, avoid, view: ModelView, height: int, width: int, seed: int, count: int) -> list[np.ndarray]:
    """`count` random text-free placements of the boxes inside the view, and the mirror image where that is text-free.

    `boxes`: those to be matched. `avoid`: all text of the image, visible or not.
    """
    forbidden = np.concatenate([avoid, cropped_margins(view, height, width)])
    places = list(control_boxes(boxes, height, width, seed, avoid=forbidden, count=count))
    mirror = mirrored(boxes, width)
    if not (rasterise_boxes(mirror, height, width) & rasterise_boxes(forbidden, height, width)).any():
        places.append(mirror)
    return [place for place in places if len(place)]


def prepare_case(image_id: str, original: np.ndarray, boxes, view: ModelView, config: AuditConfig, clean: CleanConfig,
                 baseline_of, seed: int) -> CaseImages:
    """Decides what the model can see of the text and makes every view that needs the original pixels.

    `baseline_of`: (S, S) float -> (S, S) float, the blurred baseline.
    """
    height, width = original.shape[:2]
    text = clip_boxes(boxes, height, width)
    seen = view.visible_fraction(text, height, width) > 0
    visible, shown = text[seen], as_input(view.apply(original))
    free, mask, removed, masks, controls = original, np.zeros_like(shown), {}, [], []

    def without(place: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        inpainted, region = remove_boxes(original, place, clean)
        touched = view.mask_to_view(region)
        others = fills(shown, touched, mask if mask.any() else touched)
        return inpainted, touched, {"inpainted": as_input(view.apply(inpainted)), **others}

    if len(visible):
        free, mask, removed = without(visible)
        for place in place_controls(visible, text, view, height, width, seed, config.controls):
            _, touched, found = without(place)
            masks.append(touched)
            controls.append(found)
    return CaseImages(
        image_id=image_id, original=original, visible=visible, hidden=int((~seen).sum()), view=shown,
        text_free=removed.get("inpainted", shown), text_free_original=free, text_mask=mask, removed=removed,
        control_masks=masks, control_removed=controls, baseline=baseline_of(shown),
    )  # fmt: skip


def ranks(saliency: np.ndarray, size: int) -> np.ndarray:
    """(m, m) saliency -> (size, size) rank of each pixel, 0 = most salient, as in the deletion and insertion curves."""
    fine = upsample_saliency(torch.from_numpy(np.ascontiguousarray(saliency, np.float32))[None, None], size)
    return rank_pixels(fine)[0, 0].numpy()


def top_share(rank: np.ndarray, share: float) -> np.ndarray:
    """Float mask of the `share` most salient pixels (rounded to whole pixels)."""
    return (rank < round(share * rank.size)).astype(np.float32)


def add_text_frames(frames: Frames, case: CaseImages) -> None:
    """The image, the baseline, and text alone, blurred and removed, with the same for every control placement."""
    frames.add("image", case.view)
    frames.add("baseline", case.baseline)
    if not len(case.visible):
        return
    frames.add("text_only", composite(case.view, case.baseline, case.text_mask))
    frames.add("text_blurred", composite(case.baseline, case.view, case.text_mask))
    for name, image in case.removed.items():
        frames.add(f"text_{name}", image)
    for index, (mask, removed) in enumerate(zip(case.control_masks, case.control_removed, strict=True)):
        frames.add(f"control_only/{index}", composite(case.view, case.baseline, mask))
        frames.add(f"control_blurred/{index}", composite(case.baseline, case.view, mask))
        for name, image in removed.items():
            frames.add(f"control_{name}/{index}", image)


def add_salient_frames(frames: Frames, case: CaseImages, saliency: np.ndarray, shares: list[float]) -> None:
    """Top salient shares inserted into the baseline and deleted from the image, and both curves."""
    rank = ranks(saliency, case.view.shape[0])
    curve = [step / CURVE_STEPS for step in range(1, CURVE_STEPS)]
    for kind, points in (("share", shares), ("curve", curve)):
        for share in points:
            mask = top_share(rank, share)
            frames.add(f"inserted_{kind}/{share:g}", composite(case.view, case.baseline, mask))
            frames.add(f"deleted_{kind}/{share:g}", composite(case.baseline, case.view, mask))


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
