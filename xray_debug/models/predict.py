"""What a classifier says of images: the one place where it is asked without gradients."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from xray_debug.models.classifier import XrayClassifier, device_of
from xray_debug.models.threads import one_thread

Progress = Callable[[int, int], None]
CPU_CHUNK = 8


class NotFinite(ValueError):
    """A model's answers that are no numbers. `rows`: the images concerned, counted from 0."""

    def __init__(self, rows: list[int], what: str = ""):
        self.rows, self.what = rows, what
        super().__init__(f"the model gives NaN or infinity for {what or f'image {rows[0]} of those it was asked for'}")

    def __reduce__(self):
        return NotFinite, (self.rows, self.what)


def _logits(model: XrayClassifier, batch: Tensor) -> Tensor:
    """(N, K) float32, checked for its shape."""
    logits, wanted = model(batch), (len(batch), len(model.classes))
    if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"the model {model.name} should give logits of shape {wanted}, one for each class, got {got}")
    return logits.float()


def _finite(logits: Tensor, start: int) -> Tensor:
    bad = (~torch.isfinite(logits).all(1)).nonzero().flatten().tolist()
    if bad:
        raise NotFinite([start + i for i in bad])
    return logits


class Subset:
    """Rows of an image array (N, S, S) by index, without copying the array."""

    def __init__(self, images: np.ndarray, rows: np.ndarray):
        self.images, self.rows, self.shape = images, np.asarray(rows), (len(rows), *images.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index) -> np.ndarray:
        return self.images[self.rows[index]]


def to_batch(images: np.ndarray | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """A model's input, float32 (N, 1, S, S) in [0, 1], from uint8 (N, S, S); what is float already stays as it is."""
    batch = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))  # a copy: maps are read-only
    if batch.dtype != torch.uint8:
        return batch.to(device, torch.float32)
    return batch.to(device)[:, None].float() / 255


def probabilities_side_by_side(model: XrayClassifier, images) -> np.ndarray:
    """As `probabilities` of a model in evaluation mode, the same bits however many threads torch has.

    On a CPU as many shares of the images as torch has threads go through at the same time, each with one thread: more
    in one sum would form it in another order.
    """
    count = torch.get_num_threads()
    if device_of(model).type != "cpu":
        return probabilities(model, images)
    starts = range(0, len(images), max(1, -(-len(images) // count)))

    def share(start: int) -> np.ndarray:
        try:
            return probabilities(model, images[start : start + starts.step])
        except NotFinite as error:
            raise NotFinite([start + row for row in error.rows], error.what) from error

    with one_thread(), ThreadPoolExecutor(count) as pool:
        parts = list(pool.map(share, starts))
    return np.concatenate(parts) if parts else np.empty((0, len(model.classes)), np.float32)


@torch.inference_mode()
def probabilities(
    model: XrayClassifier, images, batch_size: int = 256, progress: Progress | None = None
) -> np.ndarray:
    """Class probabilities, float32 (N, K), of `images`; runs on the model's device in its evaluation mode.

    On a CPU an image has the same probabilities, whatever others it comes with, bit for bit on most CPUs: always
    CPU_CHUNK images are sent through at a time, the last ones made up with copies. (With AMX the last digit was seen to
    depend on an image's place among them. For another number of images the kernels sum in
    another order; more at a time is not faster there.) On a GPU the last digits can differ with the batch.

    Args:
        model: its mode is left as it was.
        images: uint8 (N, S, S) or float32 (N, 1, S, S) in [0, 1], an array or anything with `len` and slicing.
        batch_size: images sent through at once, where it is no CPU.
        progress: called with (images done, images).

    Raises:
        NotFinite: the model gives NaN or infinity for some of the images.
        ValueError: it does not give one number for each class.
    """
    device = device_of(model)
    size = CPU_CHUNK if device.type == "cpu" else batch_size
    was_training, parts = model.training, []
    model.eval()
    try:
        for start in range(0, len(images), size):
            batch = to_batch(images[start : start + size], device)
            count = len(batch)
            if count < size and device.type == "cpu":
                batch = torch.cat([batch, batch[:1].expand(size - count, -1, -1, -1)])
            parts.append(_finite(_logits(model, batch)[:count], start).softmax(1).cpu().numpy())
            if progress:
                progress(start + count, len(images))
    finally:
        model.train(was_training)
    return np.concatenate(parts) if parts else np.empty((0, len(model.classes)), np.float32)
