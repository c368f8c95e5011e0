"""A user's model as its file or function holds it: the network's own answers, or one sentence why it cannot be used."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from own_models_fixture import FINDINGS, Findings, OneLogit, onnx_of
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms import v2

from xray_debug.config import ConfigError, ModelConfig
from xray_debug.data.view import ModelView
from xray_debug.models.checkpoint import load_checkpoint, save_own
from xray_debug.models.explainer import ExplainWorker
from xray_debug.models.inference import load_for_inference
from xray_debug.models.own import OwnModel, check_settings, opened
from xray_debug.models.own.held import hold
from xray_debug.models.own.kinds import kind_of
from xray_debug.models.own.nets import InBatches
from xray_debug.models.own.outputs import check_numbers, tensor_of
from xray_debug.models.own.preprocess import read_preprocess
from xray_debug.models.own.state import filled, network_of
from xray_debug.models.predict import probabilities

SIZE = 32
NAMES = ["a", "b", "c"]
IMAGES = np.random.default_rng(0).integers(0, 256, (11, SIZE, SIZE), dtype=np.uint8)


def scaled(arch: str, classes: int = 3) -> nn.Module:
    """A network whose answers differ from image to image, in evaluation mode."""
    torch.manual_seed(1)
    net = torchvision.models.get_model(arch, weights=None, num_classes=classes)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        net.train()
        net(torch.randn(16, 3, SIZE, SIZE))
        net.eval()
        answers = net(torch.randn(16, 3, SIZE, SIZE))
        head = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
        head.weight *= 2 / answers.std()
        head.bias -= head.bias
    return net


@pytest.fixture(scope="module")
def nets() -> dict[str, nn.Module]:
    return {arch: scaled(arch) for arch in ("resnet18", "densenet121")}


def asked(net: nn.Module, mean, std, images=IMAGES) -> np.ndarray:
    """The network's softmax of films, without the product."""
    batch = (torch.tensor(images[:, None] / 255).float().expand(-1, 3, -1, -1) - torch.tensor(mean).view(1, -1, 1, 1))
    with torch.no_grad():
        return net(batch / torch.tensor(std).view(1, -1, 1, 1)).softmax(1).numpy()


IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def config(**changes) -> ModelConfig:
    return ModelConfig(**({"classes": NAMES, "size": SIZE} | changes))


def model_of(settings: ModelConfig, folder: Path | None = None):
    """As the stages load it: by way of model.json where there is a folder."""
    check_settings(settings)
    own = OwnModel(settings, ModelView(settings.size))
    if folder is None:
        return opened(own)
    save_own(own, opened(own).classes, folder)
    return load_for_inference(folder, trusted=True)


WRAPPED = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state},
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer": {"lr": 0.1}},
    "model": lambda state: {"model": state},
    "module.": lambda state: {f"module.{key}": value for key, value in state.items()},
    "net.": lambda state: {f"net.{key}": value for key, value in state.items()},
    "compiled": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    "Lightning's": lambda state: {
        "state_dict": {f"model.net.{key}": value for key, value in state.items()} | {"loss.weight": torch.ones(3)},
        "hyper_parameters": {"lr": 1e-3}, "pytorch-lightning_version": "2.5",
    },
    "a dropout before the last layer": lambda state: {
        key.replace("fc.", "fc.1."): value for key, value in state.items()},
    "half": lambda state: {key: value.half() if value.is_floating_point() else value for key, value in state.items()},
}  # fmt: skip


@pytest.mark.parametrize("how", WRAPPED)
def test_a_state_dict_is_read_however_it_is_wrapped(tmp_path, nets, how):
    file = tmp_path / "model.pt"
    torch.save(WRAPPED[how](nets["resnet18"].state_dict()), file)
    found = probabilities(model_of(config(file=str(file), arch="resnet18")), IMAGES)
    expected = asked(nets["resnet18"], *IMAGENET)
    assert np.abs(found - expected).max() < (2e-2 if how == "half" else 1e-5)
    assert expected.std(0).max() > 0.05  # images differ, so a network that ignored its weights would be seen


def write(net: nn.Module, kind: str, folder: Path) -> Path:
    example, file = torch.rand(2, 3, SIZE, SIZE), folder / "model"
    if kind == "safetensors":
        save_file(net.state_dict(), file := file.with_suffix(".safetensors"))
    elif kind == "script":
        torch.jit.save(torch.jit.trace(net, example), file := file.with_suffix(".pt"))
    elif kind == "frozen":
        torch.jit.save(torch.jit.freeze(torch.jit.script(net)), file := file.with_suffix(".pt"))
    elif kind == "export":
        batch = torch.export.Dim("batch", min=1, max=64)
        torch.export.save(torch.export.export(net, (example,), dynamic_shapes=({0: batch},)),
                          file := file.with_suffix(".pt2"))  # fmt: skip
    elif kind == "export of one image":
        torch.export.save(torch.export.export(net, (example[:1],)), file := file.with_suffix(".pt2"))
    else:
        onnx_of(net, example, file := file.with_suffix(".onnx"), free=kind == "onnx")
    return file


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "arch", "told"), [
    ("safetensors", "densenet121", "safetensors"), ("script", "densenet121", "TorchScript"),
    ("frozen", "resnet18", "TorchScript"), ("export", "resnet18", "torch.export"),
    ("export of one image", "resnet18", "torch.export"), ("onnx", "resnet18", "ONNX"),
    ("onnx of two images", "resnet18", "ONNX"),
])  # fmt: skip
def test_every_kind_of_file_gives_the_networks_own_answers(tmp_path, nets, kind, arch, told):
    """Read twice by way of model.json, with the gradient of a map where the kind has one."""
    if "onnx" in kind:
        pytest.importorskip("onnxruntime")
    file = write(nets[arch], kind, tmp_path)
    assert kind_of(file) == told
    model = model_of(config(file=str(file), arch=arch if kind == "safetensors" else None), tmp_path)
    assert np.abs(probabilities(model, IMAGES) - asked(nets[arch], *IMAGENET)).max() < 1e-4
    assert np.abs(probabilities(model, IMAGES[:1]) - asked(nets[arch], *IMAGENET)[:1]).max() < 1e-4
    assert model.eval() is model and model.differentiable == ("onnx" not in kind)
    row = {"image_id": "x", "view": IMAGES[0], "target": "b", "sanity": False}
    if model.differentiable:
        worker = ExplainWorker(str(tmp_path), "gradient", mask_size=8, trusted=True)
        worker.open()
        image = torch.tensor(IMAGES[:1, None] / 255).float().requires_grad_(True)
        whole = (image.expand(-1, 3, -1, -1) - torch.tensor(IMAGENET[0])[:, None, None])
        nets[arch](whole / torch.tensor(IMAGENET[1])[:, None, None]).softmax(1)[0, 1].backward()
        slope = nn.functional.adaptive_avg_pool2d(image.grad.abs(), 8)[0, 0].numpy()
        assert np.corrcoef(worker([row])[0]["saliency"].ravel(), slope.ravel())[0, 1] > 0.99
    else:
        with pytest.raises(ConfigError, match="explain.method: gradient needs gradients.*rise needs none"):
            ExplainWorker(str(tmp_path), "gradient", mask_size=8).open()
        worker = ExplainWorker(str(tmp_path), "rise", {"masks": 10}, 8)
        worker.open()
        assert worker([row])[0]["saliency"].shape == (8, 8)


FACTORY = """
import torch
from torchvision.models import resnet18
from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor

def plain():
    return made()

def made():
    torch.manual_seed(3)
    return resnet18(num_classes=3)

def own():
    return made(), lambda images: (images.expand(-1, 3, -1, -1) - 0.3) / 0.2

def transforms():
    return made(), Compose([Resize(36), CenterCrop(32), ToTensor(), Normalize([0.1] * 3, [0.7] * 3)])

def many():
    return made(), Compose([Resize(36), CenterCrop(32), ToTensor(), torch.nn.Identity()])

def films():
    return made(), lambda image: image.convert("RGB")

def nothing():
    return None

def fails():
    raise KeyError("no such backbone")

def dictionary():
    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = made()
        def forward(self, images):
            return {"features": images, "logits": self.net(images)}
    return Wrapped()

def dropout():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 3))
    net.forward = lambda images: torch.nn.functional.dropout(net[1](net[0](images)), 0.5, training=True)
    return net
"""


@pytest.fixture
def factory(tmp_path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(FACTORY)
    return file


def of_factory(file: Path) -> nn.Module:
    torch.manual_seed(3)
    return torchvision.models.resnet18(num_classes=3).eval()


@pytest.mark.parametrize(("function", "mean", "std", "changes"), [
    ("plain", *IMAGENET, {}), ("plain", [0.5] * 3, [0.25] * 3, {"normalise": "gray"}),
    ("plain", [0.0] * 3, [1 / 255] * 3, {"normalise": "none"}),
    ("plain", [0.5] * 3, [1 / 2048] * 3, {"normalise": "torchxrayvision"}),
    ("plain", [0.2, 0.3, 0.4], [0.5, 0.6, 0.7], {"mean": [0.2, 0.3, 0.4], "std": [0.5, 0.6, 0.7]}),
    ("own", [0.3] * 3, [0.2] * 3, {}), ("dictionary", *IMAGENET, {}),
    ("transforms", [0.1] * 3, [0.7] * 3, {"resize": "shorter+crop", "resize_to": 36}),
])  # fmt: skip
def test_a_function_of_the_users_brings_model_and_preprocess(factory, function, mean, std, changes):
    model = model_of(config(factory=f"{factory}:{function}", **changes))
    assert np.abs(probabilities(model, IMAGES) - asked(of_factory(factory), mean, std)).max() < 1e-4


T = torchvision.transforms
REAL = T.ConvertImageDtype(torch.float32)


@pytest.mark.parametrize(("steps", "sentence"), [
    ([T.Resize((40, 40)), T.CenterCrop(32), T.ToTensor()], "Resize((40, 40)), which squashes, and CenterCrop after it"),
    ([T.CenterCrop(32), T.ToTensor()], "CenterCrop(32) without a Resize before it"),
    ([T.CenterCrop(36), T.Resize(32), T.ToTensor()], "CenterCrop before Resize"),
    ([T.Resize(36), T.CenterCrop(32), T.ToTensor(), T.Lambda(lambda x: 1 - x)], "give a function of images"),
    ([T.Resize((32, 32)), T.PILToTensor(), T.Normalize([0.5], [0.5])], "PILToTensor and nothing after it"),
    ([v2.ToImage(), v2.ToDtype(torch.float32)], "ToImage and nothing after it"),
    ([T.PILToTensor(), T.ConvertImageDtype(torch.uint8)], "PILToTensor and nothing after it"),
    ([T.PILToTensor(), T.Normalize([0.5], [0.5]), REAL], "Normalize before the step"),
    ([T.ToTensor(), T.Normalize([0.5] * 2, [0.5] * 2)], "2 numbers for the mean"),
])  # fmt: skip
def test_transforms_that_are_not_what_the_views_are_made_by_are_refused(steps, sentence):
    for changes in ({}, {"resize": "shorter+crop", "resize_to": 40}):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            read_preprocess(T.Compose(steps), config(**changes))


@pytest.mark.parametrize(("steps", "channels", "expected"), [
    ([T.ToTensor(), T.Normalize([0.5], [0.25])], 3, ([0.5] * 3, [0.25] * 3, 3)),
    ([T.ToTensor(), T.Normalize([0.5], [0.25])], 1, ([0.5], [0.25], 1)),
    ([T.PILToTensor(), REAL, T.Normalize([0.1, 0.2, 0.3], [0.5] * 3)], 3, ([0.1, 0.2, 0.3], [0.5] * 3, 3)),
    ([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.25])], 1, ([0.5], [0.25], 1)),
])  # fmt: skip
def test_normalize_is_for_the_channels_that_the_model_takes(steps, channels, expected):
    _, found = read_preprocess(T.Compose(steps), config(channels=channels))
    assert (found.mean, found.std, found.channels) == expected


@pytest.mark.parametrize("arch", ["googlenet", "inception_v3"])
def test_heads_for_training_alone_are_left_out(arch):
    size = 96 if arch == "inception_v3" else 32
    net = torchvision.models.get_model(arch, weights=None, num_classes=3, aux_logits=True, init_weights=False)
    state = {f"module.{key}": value for key, value in net.state_dict().items()}
    found = filled(network_of(arch, 3, ModelView(size), 3), state, "x.pt", arch, 3, 3)
    assert torch.equal(found.fc.weight, net.fc.weight) and not any("aux" in key.lower() for key in found.state_dict())


@pytest.mark.parametrize("given", [lambda z: (z, z * 0), lambda z: {"features": z[:, :1], "logits": z}])
def test_a_fixed_batch_may_come_in_a_tuple_or_a_dictionary(given):
    class Four(nn.Module):
        def forward(self, images):
            assert len(images) == 4
            return given(images.flatten(1)[:, :3])

    images = torch.rand(7, 1, 2, 2)
    assert torch.equal(InBatches(Four(), 4)(images), images.flatten(1)[:, :3])


def test_a_function_is_filled_from_a_file(factory, nets):
    torch.save({"state_dict": nets["resnet18"].state_dict()}, factory.with_suffix(".pt"))
    model = model_of(config(factory=f"{factory}:plain", file=str(factory.with_suffix(".pt"))))
    assert np.abs(probabilities(model, IMAGES) - asked(nets["resnet18"], *IMAGENET)).max() < 1e-4


def test_one_channel_is_taken(tmp_path):
    net = torchvision.models.resnet18(num_classes=3)
    net.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    torch.save(net.eval().state_dict(), tmp_path / "one.pt")
    model = model_of(config(file=str(tmp_path / "one.pt"), arch="resnet18", channels=1, normalise="torchxrayvision"))
    with torch.no_grad():
        expected = net((torch.tensor(IMAGES[:, None] / 255).float() * 2 - 1) * 1024).softmax(1).numpy()
    assert np.abs(probabilities(model, IMAGES) - expected).max() < 1e-4
    with pytest.raises(ValueError, match="first layer takes 1 channels, not 3: --channels 1"):
        model_of(config(file=str(tmp_path / "one.pt"), arch="resnet18"))


# ------------------------------------------------------------------------------------------------ outputs


class Fixed(nn.Module):
    """Gives numbers made of the image's mean, as a function says."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images.mean((1, 2, 3)))


def z_of(images=IMAGES) -> torch.Tensor:
    return torch.tensor(images / 255).float().mean((1, 2)) * 40 - 20


@pytest.mark.parametrize(("output", "function", "changes", "expected"), [
    ("logit", lambda z: z[:, None], {"classes": ["x"]}, lambda z: z.sigmoid()),
    ("logit", lambda z: z, {"classes": ["well", "ill"]}, lambda z: z.sigmoid()),
    ("logit", lambda z: z[:, None], {"classes": ["ill", "well"], "findings": ["ill"]}, lambda z: (-z).sigmoid()),
    ("sigmoid", lambda z: torch.stack([-z, z * 2, z * 0], 1), {"findings": ["b"]}, lambda z: (z * 2).sigmoid()),
    ("sigmoid", lambda z: z[:, None], {"classes": ["x"]}, lambda z: z.sigmoid()),
    ("softmax", lambda z: torch.stack([-z, z, z * 0], 1), {"findings": ["b"]},
     lambda z: torch.stack([-z, z, z * 0], 1).softmax(1)[:, 1]),
    ("softmax", lambda z: torch.stack([-z, z], 1), {"classes": ["u", "v"]}, lambda z: (2 * z).sigmoid()),
    ("probabilities", lambda z: torch.stack([-z, z], 1).softmax(1), {"classes": ["u", "v"]},
     lambda z: (2 * z).sigmoid()),
    ("probabilities", lambda z: torch.stack([z * 0, z, -z], 1).sigmoid(), {"findings": ["b"]}, lambda z: z.sigmoid()),
    ("probabilities", lambda z: z[:, None].sigmoid(), {"classes": ["x"]}, lambda z: z.sigmoid()),
    ("probabilities", lambda z: z.sigmoid(), {"classes": ["u", "v"]}, lambda z: z.sigmoid()),
    ("probabilities", lambda z: z[:, None].sigmoid(), {"classes": ["u", "v"], "findings": ["v"]},
     lambda z: z.sigmoid()),
    ("probabilities", lambda z: z[:, None].sigmoid(), {"classes": ["u", "v"], "findings": ["u"]},
     lambda z: (-z).sigmoid()),
])  # fmt: skip
def test_every_kind_of_output_becomes_its_own_probability(output, function, changes, expected):
    """Of the class that has the finding, or of the second: what softmax makes of the adapter's logits."""
    held = hold(Fixed(lambda mean: function(mean * 40 - 20)))
    model = model_of(config(output=output, held=held, normalise="unit", **changes))
    found = probabilities(model, IMAGES)
    assert len(model.classes) == 2
    assert np.abs(found[:, 1] - expected(z_of()).numpy()).max() < 1e-4
    assert found[:, 1].std() > 0.01


@pytest.mark.parametrize(("changes", "function", "sentence"), [
    ({}, lambda z: torch.stack([z, -z, z * 0], 1).softmax(1), "sum to 1 for every image: these are probabilities"),
    ({"output": "sigmoid", "findings": ["a"]}, lambda z: torch.stack([z, -z, z * 0], 1).sigmoid(),
     "probabilities already: --output probabilities --finding NAME"),
    ({"output": "logit", "classes": ["x"]}, lambda z: z[:, None].sigmoid(),
     "these are probabilities already: --output probabilities"),
    ({"output": "probabilities"}, lambda z: torch.stack([z, -z, z], 1), "are no probabilities: --output softmax"),
    ({"output": "probabilities"}, lambda z: torch.stack([z, -z, z * 0], 1).sigmoid(), "do not sum to 1"),
    ({"output": "logit", "classes": ["x"]}, lambda z: torch.stack([z, -z], 1), "gives two numbers for an image"),
    ({"classes": ["x"]}, lambda z: torch.stack([z, -z], 1), "--output softmax --classes 'no x,x'"),
    ({}, lambda z: z[:, None], "gives one number for an image, expected 3"),
    ({"output": "probabilities"}, lambda z: z[:, None].sigmoid(), "name the one class whose it is"),
    ({}, lambda z: torch.stack([z] * 5, 1), "gives 5 numbers for an image, expected 3"),
])  # fmt: skip
def test_numbers_that_are_not_what_was_said_are_named(changes, function, sentence):
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
        check_numbers(tensor_of(function(torch.linspace(-6, 7, 32))), config(**changes), "model.pt")


def test_logits_of_few_images_that_lie_between_0_and_1_are_not_suspected():
    check_numbers(torch.tensor([[0.2, 0.5, 0.9]]), config(), "model.pt")
    check_numbers(torch.tensor([[0.2, 0.5, 0.9], [0.1, 0.7, 0.4]]), config(), "model.pt")


def test_a_model_given_in_python_is_left_as_it_was(nets):
    net = nets["resnet18"].train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    model = model_of(config(held=hold(net)))
    probabilities(model, IMAGES)
    assert net.training and all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    nets["resnet18"].eval()
    assert hold(net) == hold(net) and hold(net) != hold(nets["densenet121"])
    with pytest.raises(ValueError, match="given in Python and is not in a file"):
        model_of(config(held="0" * 64))


# ------------------------------------------------------------------------------------------------ what cannot be used


@pytest.fixture(scope="module")
def files(tmp_path_factory, nets) -> Path:
    """Files of all sorts that someone might give."""
    folder = tmp_path_factory.mktemp("files")
    torch.save(nets["resnet18"].state_dict(), folder / "resnet18.pt")
    torch.save(torchvision.models.densenet121(num_classes=14).state_dict(), folder / "fourteen.pt")
    torch.save(nets["resnet18"], folder / "whole.pt")
    torch.save({"loss": 3, "epoch": 4}, folder / "numbers.pt")
    torch.save([1, 2], folder / "list.pt")
    torch.save({**nets["resnet18"].state_dict(), "fc.bias": torch.full((3,), torch.nan)}, folder / "nan.pt")
    (folder / "junk.pt").write_bytes(b"hello, I am no model")
    (folder / "half.pt").write_bytes((folder / "resnet18.pt").read_bytes()[:5000])
    (folder / "junk.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{nothing")
    (folder / "junk.onnx").write_bytes(b"\x08\x01 no graph")
    torch.jit.save(torch.jit.trace(nets["resnet18"], torch.rand(2, 3, SIZE, SIZE)), folder / "script.pt")
    training = torch.jit.script(nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten(),
                                              nn.Linear(3 * SIZE * SIZE, 3)))  # fmt: skip
    torch.jit.save(training, folder / "training.pt")
    (folder / "mine.py").write_text(FACTORY)
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("changes", "sentence"), [
    ({"file": "nowhere.pt"}, "nowhere.pt: no such model file"),
    ({"file": "."}, "no such model file (it is a folder)"),
    ({}, "expected file or factory"),
    ({"file": "resnet18.pt"}, "names and shapes are those of resnet18: --arch resnet18"),
    ({"file": "resnet18.pt", "arch": "resnet1800"}, "got 'resnet1800'"),
    ({"file": "resnet18.pt", "arch": "resnet50"}, "the file lacks layer1.0.conv3.weight"),
    ({"file": "resnet18.pt", "arch": "densenet121"}, "--arch resnet18"),
    ({"file": "resnet18.pt", "arch": "resnet18", "classes": ["a", "b"]}, "last layer (fc) gives 3 numbers, expected 2"),
    ({"file": "resnet18.pt", "arch": "resnet18", "channels": 1}, "takes 3 channels, not 1: --channels 3"),
    ({"file": "fourteen.pt", "arch": "densenet121"}, "its last layer (classifier) gives 14 numbers, expected 3"),
    ({"file": "whole.pt", "arch": "resnet18"}, "unpickling runs code of the file"),
    ({"file": "whole.pt", "arch": "resnet18"}, "torch.save(model.state_dict(), FILE)"),
    ({"file": "numbers.pt", "arch": "resnet18"}, "found a dictionary with loss, epoch"),
    ({"file": "list.pt", "arch": "resnet18"}, "expected a state dict of tensors, found list"),
    ({"file": "nan.pt", "arch": "resnet18"}, "fc.bias holds NaN"),
    ({"file": "junk.pt", "arch": "resnet18"}, "no torch file"),
    ({"file": "half.pt", "arch": "resnet18"}, "not a readable model file"),
    ({"file": "junk.safetensors", "arch": "resnet18"}, "not a readable model file"),
    ({"file": "junk.onnx"}, "not a readable ONNX file"),
    ({"file": "script.pt", "channels": 1}, "--channels 3"),
    ({"file": "training.pt"}, "depends on the images beside it"),
    ({"file": "script.pt", "factory": "mine.py:plain"}, "is a whole TorchScript model"),
    ({"file": "resnet18.pt", "factory": "mine.py:plain", "arch": "resnet18"}, "expected arch or factory"),
    ({"factory": "mine"}, "expected module:function or FILE.py:function"),
    ({"factory": "nowhere.py:f"}, "nowhere.py: no such file"),
    ({"factory": "no_such_module_here:f"}, "cannot be imported: ModuleNotFoundError"),
    ({"factory": "mine.py:g"}, "has no function g"),
    ({"factory": "mine.py:nothing"}, "gives a NoneType, expected a torch.nn.Module"),
    ({"factory": "mine.py:fails"}, "failed: KeyError: 'no such backbone'"),
    ({"factory": "mine.py:films"}, "called with images as a tensor (N, 1, S, S)"),
    ({"factory": "mine.py:many"}, "of which Resize, CenterCrop, ToTensor and Normalize are understood"),
    ({"factory": "mine.py:transforms"}, "--size 32 --resize shorter+crop --set model.resize_to=36"),
    ({"factory": "mine.py:dropout"}, "another answer each time"),
    ({"factory": "mine.py:plain", "output": "sigmoid"}, "say which to audit, --finding NAME"),
    ({"factory": "mine.py:plain", "findings": ["d"]}, "expected some of the classes a, b, c, got 'd'"),
    ({"factory": "mine.py:plain", "output": "logit"}, "one logit tells one finding"),
    ({"factory": "mine.py:plain", "classes": []}, "expected the names of the model's classes"),
])  # fmt: skip
def test_what_cannot_be_used_is_told_in_one_sentence(files, monkeypatch, changes, sentence):
    if changes.get("file", "").endswith(".onnx"):
        pytest.importorskip("onnxruntime")
    monkeypatch.chdir(files)
    with pytest.raises(ValueError) as caught:
        model_of(config(**changes))
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"classes": ["a", "a"]}, "different names"), ({"mean": [0.5] * 3}, "mean and std together"),
    ({"mean": [0.5], "std": [0.5]}, "expected 3 numbers"), ({"mean": [0.5] * 3, "std": [0.0] * 3}, "positive"),
    ({"resize_to": 64}, "resize_to"), ({"resize": "shorter+crop", "resize_to": 8}, "resize_to"),
])  # fmt: skip
def test_settings_that_contradict_each_other_are_told(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        config(**changes)


def test_an_onnx_file_needs_a_method_without_gradients(files):
    (files / "any.onnx").write_bytes(b"\x08\x01")
    with pytest.raises(ValueError, match="igos_pp needs gradients, which an ONNX file does not give; rise needs none"):
        check_settings(config(file=str(files / "any.onnx")), "igos_pp")
    check_settings(config(file=str(files / "any.onnx")), "rise")


def test_a_strangers_description_runs_no_program(files, tmp_path):
    """A model.json names a function that would leave a mark; only the owner's own run calls it."""
    mark, file = tmp_path / "mark", tmp_path / "evil.py"
    file.write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\ndef make():\n    pass\n")
    for changes in ({"factory": f"{file}:make"}, {"file": str(files / "script.pt")}):
        save_own(OwnModel(config(**changes), ModelView(SIZE)), NAMES, tmp_path)
        with pytest.raises(ValueError, match="run only where that is asked for: --trust"):
            load_checkpoint(tmp_path)
    assert not mark.exists()


def test_a_file_that_changed_since_is_told(files, tmp_path):
    settings = config(file=str(files / "resnet18.pt"), arch="resnet18")
    save_own(OwnModel(settings, ModelView(SIZE), "0" * 64), NAMES, tmp_path)
    with pytest.raises(ValueError, match="the file has changed since"):
        load_checkpoint(tmp_path)


def test_eighteen_sigmoids_and_one_logit_are_asked_for_what_they_are(nets):
    logits = torch.tensor(asked(nets["resnet18"], *IMAGENET)).log()
    for finding, place in (("normal", 0), ("COVID-19", 2)):
        settings = config(classes=FINDINGS, output="sigmoid", findings=[finding], held=hold(Findings(nets["resnet18"])))
        found = probabilities(model_of(settings), IMAGES)
        assert np.abs(found[:, 1] - logits.exp()[:, place].numpy()).max() < 1e-4
    settings = config(classes=["COVID-19"], output="logit", held=hold(OneLogit(nets["resnet18"])))
    assert np.abs(probabilities(model_of(settings), IMAGES)[:, 1] - logits.exp()[:, 2].numpy()).max() < 1e-4


def test_importing_the_package_imports_no_torch():
    code = "import sys, xray_debug; assert 'torch' not in sys.modules and 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
