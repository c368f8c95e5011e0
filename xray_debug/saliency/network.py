"""The network as the methods see it: lent, counted, and fed in chunks that fit the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn

from xray_debug.saliency.result import Evaluations

Inputs = Callable[[slice], torch.Tensor]
Take = Callable[[slice, torch.Tensor, torch.Tensor], None]
# larger chunks cost a CPU page faults and caches without gaining anything (measured: docs/saliency.md)
CPU_CHUNK = 8
OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "failed to allocate")


@contextmanager
def borrowed(model: nn.Module) -> Iterator[nn.Module]:
    """The model in evaluation mode with frozen parameters; mode and requires_grad come back as they were."""
    modes = [(module, module.training) for module in model.modules()]
    frozen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for module, _ in modes:
            module.training = False
        for parameter in frozen:
            parameter.requires_grad_(False)
        yield model
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        for module, training in modes:
            module.training = training


def placement(model: nn.Module, images: torch.Tensor) -> tuple[torch.device, torch.dtype]:
    """Device and floating dtype of the model; the images' own where it has no parameters or buffers."""
    for tensor in chain(model.parameters(), model.buffers()):
        if tensor.is_floating_point():
            return tensor.device, tensor.dtype
    return images.device, images.dtype if images.is_floating_point() else torch.float32


def at_least_single(dtype: torch.dtype) -> torch.dtype:
    """float32 for half precision: squared gradients of masks underflow there, and neighbouring values become equal."""
    return torch.promote_types(dtype, torch.float32)


def answer(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """What the model returns for images of any floating dtype, in at least single precision where it is a tensor."""
    found = model(images.to(placement(model, images)[1]))
    if isinstance(found, torch.Tensor) and found.is_floating_point():
        return found.to(at_least_single(found.dtype))
    return found


def prepared(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor | int | list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, C, H, W) and targets (N,) checked and moved to the model's device and dtype (float32 for half)."""
    if not isinstance(images, torch.Tensor):
        raise TypeError(f"images: expected a tensor (N, C, H, W), got {type(images).__name__}")
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"images: expected (N, C, H, W) with nothing empty, got {tuple(images.shape)}")
    device, dtype = placement(model, images)
    images = images.detach().to(device=device, dtype=at_least_single(dtype))
    if not torch.isfinite(images).all():
        raise ValueError("images: expected finite values, got NaN or infinity")
    try:
        targets = torch.as_tensor(targets, device=device)
    except (TypeError, ValueError, RuntimeError) as error:  # None, names
        raise ValueError(f"targets: expected {len(images)} class indices, got {targets!r}") from error
    if targets.ndim == 0:
        targets = targets.expand(len(images))
    if targets.shape != (len(images),) or targets.is_floating_point():
        raise ValueError(
            f"targets: expected {len(images)} class indices, got {targets.dtype} of shape {tuple(targets.shape)}"
        )
    return images, targets.long()


def checked_logits(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ValueError(f"model: expected logits (N, K) with K >= 2, got {shape}")
    if int(targets.max()) >= logits.shape[1] or int(targets.min()) < 0:
        raise ValueError(f"targets: expected classes 0 to {logits.shape[1] - 1}, got {targets.tolist()}")
    return logits


def finite(values: torch.Tensor, what: str) -> torch.Tensor:
    """`values` (V, ...); a ValueError that counts the rows with NaN or infinity, which would make a map of nothing."""
    good = torch.isfinite(values).flatten(1).all(1)
    if not bool(good.all()):
        raise ValueError(f"model: {what} must be finite, got NaN or infinity for {int((~good).sum())} of {len(good)} "
                         "inputs")  # fmt: skip
    return values


def differentiable(logits: torch.Tensor) -> torch.Tensor:
    """`logits`; ValueError where they do not depend on the input in a way that autograd has seen."""
    if not logits.requires_grad:
        raise ValueError("model: its output has no gradient by the image (is it quantised, run without torch, or "
                         "detached?), expected one; rise needs none")  # fmt: skip
    return logits


@contextmanager
def watched(model: nn.Module) -> Iterator[nn.Module]:
    """Every answer of the model is checked by `finite`, whoever asks."""
    handle = model.register_forward_hook(lambda module, inputs, logits: finite(logits, "logits"))
    try:
        yield model
    finally:
        handle.remove()


def target_scores(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Softmax probability of each row's target, (N, K) to (N,)."""
    return torch.softmax(logits, 1).gather(1, targets[:, None])[:, 0]


def score_slopes(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Target probabilities (N,) and their gradient by the logits as direction (N, K) and length (N,).

    In double precision: near certainty the slope p (1 - p) underflows in single. The unit direction is what
    goes back through the network, for a tiny one would turn into denormal numbers there, which a CPU
    multiplies fifty times slower.
    """
    probabilities = torch.softmax(logits.detach().double(), 1)
    own = probabilities.gather(1, targets[:, None])
    # 1 - p as the sum of the others keeps its digits where p rounds to 1
    others = probabilities.scatter(1, targets[:, None], 0.0)
    slope = (-own * others).scatter(1, targets[:, None], own * others.sum(1, keepdim=True))
    length = slope.norm(dim=1, keepdim=True)
    direction = slope / torch.where(length > 0, length, torch.ones_like(length))
    return own[:, 0].to(logits.dtype), direction.to(logits.dtype), length[:, 0].to(logits.dtype)


class Network:
    """Scores and input gradients of a borrowed model, in chunks of at most `chunk` images.

    Memory follows `chunk`, not the number of images asked for: inputs come from a function of a slice. When
    memory runs out the chunk is halved and the work goes on.
    """

    def __init__(self, model: nn.Module, device: torch.device, chunk: int | None):
        if chunk is not None and chunk < 1:
            raise ValueError(f"internal_batch_size: expected at least 1, got {chunk}")
        self.model = model
        self.chunk = chunk or (256 if device.type == "cuda" else CPU_CHUNK)
        self.forward = 0
        self.backward = 0
        self._checked = False

    @property
    def evaluations(self) -> Evaluations:
        return Evaluations(self.forward, self.backward)

    def scores(self, inputs: Inputs, targets: torch.Tensor) -> torch.Tensor:
        """Probability of each target, (V,); nothing is differentiated."""
        return target_scores(self.outputs(inputs, targets), targets)

    def outputs(self, inputs: Inputs, targets: torch.Tensor) -> torch.Tensor:
        """Logits (V, K); nothing is differentiated. `targets` (V,) are only checked to be among the classes."""
        parts = []
        with torch.no_grad():
            for rows in self._slices(len(targets)):
                parts.append(self._retrying(rows, lambda r: self._logits(inputs(r), targets)))
        self.forward += len(targets)
        return torch.cat(parts)

    def gradients(
        self, inputs: Inputs, targets: torch.Tensor, weights: torch.Tensor, take: Take
    ) -> torch.Tensor:
        """Scores (V,); chunk by chunk `take(slice, gradient, factors)` gets d(weights * scores)/d(inputs).

        That is gradient (v, C, H, W) times factors (v,), left apart so that small factors cost no precision.
        """

        def step(rows: slice) -> torch.Tensor:
            x = inputs(rows).detach().requires_grad_(True)
            logits = differentiable(self._logits(x, targets))
            scores, direction, length = score_slopes(logits, targets[rows])
            (gradient,) = torch.autograd.grad(logits, x, direction)
            take(rows, finite(gradient, "the gradient by the image"), length * weights[rows])
            return scores

        parts = []
        with torch.enable_grad():
            for rows in self._slices(len(targets)):
                parts.append(self._retrying(rows, step))
        self.forward += len(targets)
        self.backward += len(targets)
        return torch.cat(parts)

    def _logits(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = answer(self.model, inputs)
        if not self._checked:
            checked_logits(logits, targets)
            self._checked = True
        return finite(logits, "logits")

    def _slices(self, count: int) -> Iterator[slice]:
        start = 0
        while start < count:
            stop = min(start + self.chunk, count)
            yield slice(start, stop)
            start = stop

    def _retrying(self, rows: slice, step: Callable[[slice], torch.Tensor]) -> torch.Tensor:
        try:
            return step(rows)
        except (RuntimeError, MemoryError) as error:
            size = rows.stop - rows.start
            if size == 1 or not is_out_of_memory(error):
                raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.chunk = min(self.chunk, max(1, size // 2))
        middle = rows.start + size // 2
        halves = slice(rows.start, middle), slice(middle, rows.stop)
        return torch.cat([self._retrying(half, step) for half in halves])


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        words in str(error).lower() for words in OUT_OF_MEMORY
    )
