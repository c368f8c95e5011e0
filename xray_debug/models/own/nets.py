"""Programs in files (TorchScript, torch.export, ONNX) as modules that can be put into evaluation mode and asked."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import torch
from torch import Tensor, nn

from xray_debug.models.own.kinds import EXPORT, ONNX
from xray_debug.models.own.outputs import tensor_of

_LOCK = threading.Lock()  # torch reads one exported program at a time, and workers open theirs side by side


class Program(nn.Module):
    """A module whose mode is fixed: its `.eval()` fails, or it has none (frozen TorchScript)."""

    def __init__(self, inner):
        super().__init__()
        self.held = (inner,)  # in a tuple: not a child, so that nobody sets its mode

    def forward(self, images: Tensor):
        return self.held[0](images)

    def _apply(self, function, *arguments, **options):
        self.held[0]._apply(function)  # to another device
        return super()._apply(function, *arguments, **options)


class OnnxNet(nn.Module):
    """A network in an ONNX file, asked through onnxruntime on the CPU; it has no gradients."""

    def __init__(self, path: str):
        super().__init__()
        self.path = path
        self._open()

    def _open(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # workers stand side by side
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        self.input, self.outputs = self.session.get_inputs()[0], self.session.get_outputs()

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        import numpy as np

        kind = {"tensor(float16)": np.float16, "tensor(double)": np.float64}.get(self.input.type, np.float32)
        given = images.detach().cpu().contiguous().numpy().astype(kind)
        found = [torch.from_numpy(np.asarray(value)).to(images.device)
                 for value in self.session.run(None, {self.input.name: given})]  # fmt: skip
        return found[0] if len(found) == 1 else dict(zip((out.name for out in self.outputs), found, strict=True))

    def __deepcopy__(self, memo) -> OnnxNet:
        return OnnxNet(self.path)

    def __getstate__(self) -> dict:
        return {"path": self.path}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["path"])


class InBatches(nn.Module):
    """A network that takes `size` images at a time and no other number; the last ones are made up with copies."""

    def __init__(self, net: nn.Module, size: int):
        super().__init__()
        self.net, self.size = net, size

    def forward(self, images: Tensor) -> Tensor:
        parts = []
        for start in range(0, len(images), self.size):
            batch = images[start : start + self.size]
            count = len(batch)
            if count < self.size:
                batch = torch.cat([batch, batch[:1].expand(self.size - count, -1, -1, -1)])
            parts.append(tensor_of(self.net(batch))[:count])
        return torch.cat(parts)


def open_program(path: Path, kind: str) -> nn.Module:
    """The module in a file of one of these kinds, on the CPU. ValueError says why it cannot be read."""
    try:
        if kind == ONNX:
            return OnnxNet(str(path))
        if kind == EXPORT:
            with _LOCK:
                return Program(torch.export.load(path).module())
        inner = torch.jit.load(str(path), map_location="cpu")
        with contextlib.suppress(RuntimeError, AttributeError):  # a frozen one is in evaluation mode already
            inner.eval()
        return Program(inner)
    except ImportError as error:
        raise ValueError(f"{path}: an ONNX file is read with onnxruntime, which is not installed: "
                         "pip install 'xray-debug[onnx]'") from error  # fmt: skip
    except Exception as error:  # each reader has errors of its own
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: not a readable {kind} file: {reason}") from error


def declared_shape(net: nn.Module) -> list[int | None] | None:
    """[N, C, H, W] that the file declares for its input, None for what is free; None where it declares none."""
    if isinstance(net, OnnxNet):
        return [side if isinstance(side, int) else None for side in net.input.shape]
    graph = getattr(net.held[0], "graph", None) if isinstance(net, Program) else None
    for node in getattr(graph, "nodes", ()) if not isinstance(graph, torch._C.Graph) else ():
        if node.op == "placeholder" and getattr(node.meta.get("val"), "ndim", 0) == 4:
            return [side if type(side) is int else None for side in node.meta["val"].shape]
    return None
