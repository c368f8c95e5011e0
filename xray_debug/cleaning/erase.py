"""Boxes erased at the settings of a run, and the change kept as a patch, so that the work is done once.

A patch is laid over the original again, bit for bit, wherever the same boxes are to be erased from the same pixels at
the same settings. It names all three, so one that belongs to something else is not used.
"""

from __future__ import annotations

import json
import zlib
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from xray_debug.cleaning.inpainting import growth, inpaint_boxes
from xray_debug.config import CleanConfig
from xray_debug.data.boxes import as_boxes, dilate_boxes, rasterise_boxes

FORM = b"xdp1"  # of the patch; another form, other bytes
KEY_BYTES = 16
OPTIONS = ("method", "radius", "dilation", "min_dilation", "shape")  # of CleanConfig: those that change a pixel


class Erased(NamedTuple):
    """An image without its boxes, what was replaced in it (bool, (H, W)), and the patch that does it again."""

    cleaned: np.ndarray
    region: np.ndarray
    patch: bytes


def clean_image(image: np.ndarray, boxes, config: CleanConfig) -> tuple[np.ndarray, np.ndarray]:
    """`inpaint_boxes` at the settings of `config`: the cleaned image and the replaced region, bool (H, W)."""
    return inpaint_boxes(
        image, boxes, config.radius, config.method, config.shape, config.dilation, config.min_dilation
    )


def erase(image: np.ndarray, boxes, config: CleanConfig, known: bytes | None = None) -> Erased:
    """`clean_image`, bit for bit, together with its patch.

    `known`, the patch of an earlier call, is laid over the image instead of inpainting it where it was made of the
    same pixels, boxes and settings; any other bytes are ignored. Errors are those of `inpaint_boxes`.
    """
    image, boxes = np.asarray(image), as_boxes(boxes)
    head = FORM + _key(image, boxes, config)
    if known is not None and known[: len(head)] == head:
        laid = _lay(image, boxes, config, known[len(head) :])
        if laid is not None:
            return Erased(*laid, known)
    cleaned, region = clean_image(image, boxes, config)
    return Erased(cleaned, region, head + _pack(cleaned, region, _grown(image, boxes, config)))


def spared(image: np.ndarray, cleaned: np.ndarray, region: np.ndarray, boxes, kept) -> tuple[np.ndarray, np.ndarray]:
    """The cleaned image and its region without what lies in boxes that stay: only the margin by which `boxes` have
    grown gives way to them, what is in a box itself is erased."""
    stays = region & rasterise_boxes(kept, *region.shape) & ~rasterise_boxes(boxes, *region.shape)
    if not stays.any():
        return cleaned, region
    cleaned = cleaned.copy()
    cleaned[stays] = image[stays]
    return cleaned, region & ~stays


def _key(image: np.ndarray, boxes: np.ndarray, config: CleanConfig) -> bytes:
    """Stands for the pixels, the boxes (as a set) and the options that matter."""
    facts = [image.shape, image.dtype.str, np.unique(boxes, axis=0).tolist(), [getattr(config, o) for o in OPTIONS]]
    digest = blake2b(json.dumps(facts).encode(), digest_size=KEY_BYTES)
    digest.update(np.ascontiguousarray(image))
    return digest.digest()


def _grown(image: np.ndarray, boxes: np.ndarray, config: CleanConfig) -> np.ndarray:
    """All that may have changed: bool (H, W), the region or more than it."""
    grow = growth(boxes, config.dilation, config.min_dilation)
    return rasterise_boxes(dilate_boxes(boxes, grow, *image.shape[:2]), *image.shape[:2])


def _channels(image: np.ndarray) -> int:
    return image.shape[2] if image.ndim == 3 else 1


def _pack(cleaned: np.ndarray, region: np.ndarray, grown: np.ndarray) -> bytes:
    """The region within the grown boxes, one bit a pixel, and the values under it, compressed.

    Neighbours and channels are stored as differences (they wrap, so nothing is lost), high and low bytes apart.
    """
    values = cleaned[region].reshape(int(region.sum()), _channels(cleaned))
    values[:, 1:] -= values[:, :1]
    values[1:] -= values[:-1].copy()
    planes = np.ascontiguousarray(values.T).astype(values.dtype.newbyteorder("<"))
    deltas = planes.view(np.uint8).reshape(-1, planes.itemsize).T.tobytes()
    return zlib.compress(np.packbits(region[grown]).tobytes() + deltas, 6)


def _lay(image, boxes, config, packed: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    """The inverse of `_pack`: cleaned image and region; None where the bytes are damaged."""
    grown = _grown(image, boxes, config)
    count, size = int(grown.sum()), image.dtype.itemsize
    try:
        data = np.frombuffer(zlib.decompress(packed), np.uint8)
    except zlib.error:
        return None
    bits, data = data[: (count + 7) // 8], data[(count + 7) // 8 :]
    region = np.zeros(image.shape[:2], bool)
    region[grown] = np.unpackbits(bits, count=count).astype(bool) if count else False
    channels, total = _channels(image), int(region.sum())
    if len(data) != total * channels * size:
        return None
    planes = np.ascontiguousarray(data.reshape(size, -1).T).view(image.dtype.newbyteorder("<")).astype(image.dtype)
    values = np.cumsum(planes.reshape(channels, total).T, axis=0, dtype=image.dtype)
    values[:, 1:] += values[:, :1]
    cleaned = image.copy()
    cleaned[region] = values.reshape(total, *image.shape[2:])
    return cleaned, region
