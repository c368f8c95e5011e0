"""What people hand to a method: what is understood, what is told, and that an explanation shows itself."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from xray_debug.saliency import (
    METHODS,
    deletion_insertion,
    gradcam,
    gradient,
    igos_pp,
    infidelity,
    max_sensitivity,
    mprt,
    pointing_game,
    random_logit,
    rise,
    road,
    sparseness,
)
from xray_debug.saliency.asking import OddInput, as_images, logits_of
from xray_debug.saliency.methods.gradients import tokens_to_map

QUICK = {"igos_pp": {"preset": "quick"}, "igos": {"preset": "quick"}, "rise": {"masks": 8},
         "mask_perturbation": {"iterations": 2}, "integrated_gradients": {"steps": 2}}  # fmt: skip


class Small(nn.Module):
    """Class 1 where the upper left is bright."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 3, padding=1)
        with torch.no_grad():
            self.stem.weight.zero_(), self.stem.bias.zero_()
            self.stem.weight[0, 0, 1, 1] = self.stem.weight[1, 0, 1, 1] = 1
        self.norm = nn.BatchNorm2d(2)
        self.eval()

    def forward(self, images):
        bright = self.norm(self.stem(images))[..., :4, :4].mean((1, 2, 3))
        return torch.stack([0 * bright, 8 * bright - 2], 1)


def pictures() -> torch.Tensor:
    images = torch.zeros(2, 1, 16, 16)
    images[0, :, :4, :4] = 1
    return images


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.filterwarnings("ignore")
def test_every_method_finds_the_class_and_shows_itself(name):
    method, options = METHODS[name], {"mask_size": 4, **QUICK.get(name, {})}
    found = method(Small(), pictures(), **options)
    assert found.targets.tolist() == [1, 0]
    assert torch.equal(found.saliency, method(Small(), pictures(), [1, 0], **options).saliency)
    assert found.overlay().shape == (2, 16, 16, 3) and found.overlay().dtype == np.uint8
    assert found._repr_png_().startswith(b"\x89PNG") and len(found.plot().axes) == 4
    assert len(found.plot(found.images.numpy()).axes) == 4
    assert "tensor" not in repr(found) and "evaluations" in repr(found)  # a line, not a screenful


class Wrapped(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.inner, self.wrap = Small(), wrap

    def forward(self, images):
        return self.wrap(self.inner(images))


class WithLogits:
    def __init__(self, logits):
        self.logits = logits


@pytest.mark.parametrize(("wrap", "output"), [
    (lambda x: {"logits": x}, None), (WithLogits, None), (lambda x: {"head": x, "aux": 0}, "head"),
    (WithLogits, "logits"),
    (lambda x: (0, x), 1), (lambda x: (0, x), -1), (lambda x: x[None], lambda found: found[0]),
])  # fmt: skip
def test_the_logits_of_models_that_return_more(wrap, output):
    found = igos_pp(Wrapped(wrap), pictures(), mask_size=4, preset="quick", output=output)
    assert torch.equal(found.saliency, igos_pp(Small(), pictures(), mask_size=4, preset="quick").saliency)


@pytest.mark.parametrize(("found", "output", "words"), [
    ({"head": 0, "aux": 1}, None, "a dict with 'head', 'aux', expected logits"),
    ((1, 2), None, "a tuple of 2"), ((1, 2), 2, "a tuple of 2"), ({"head": 0}, "haed", "with 'head'"),
])  # fmt: skip
def test_what_holds_no_logits_is_told(found, output, words):
    with pytest.raises(ValueError, match="output=") as error:
        logits_of(found, output)
    assert words in str(error.value)


def test_a_plain_function_and_inference_mode():
    expected = igos_pp(Small(), pictures(), mask_size=4, preset="quick").saliency
    model = Small()
    assert torch.equal(igos_pp(lambda x: model(x), pictures(), mask_size=4, preset="quick").saliency, expected)
    with torch.inference_mode():
        assert torch.equal(igos_pp(model, pictures() + 0, mask_size=4, preset="quick").saliency, expected)
    with torch.no_grad():
        assert torch.equal(igos_pp(model, pictures(), mask_size=4, preset="quick").saliency, expected)


@pytest.mark.parametrize(("images", "error", "words"), [
    (np.zeros((1, 3, 8, 8)), TypeError, "torch.from_numpy"),
    (torch.zeros(1, 32, 32, 3), ValueError, "permute"),
    (torch.zeros(3, 32, 32), ValueError, r"images\[None\]"),
    (torch.zeros(32, 32, 3), ValueError, r"permute\(2, 0, 1\)\[None\]"),
    (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), TypeError, "/ 255"),
    ("film.png", TypeError, "got str"),
])  # fmt: skip
def test_images_of_another_form_are_told_how_to_make_them(images, error, words):
    with pytest.raises(error, match=words):
        as_images(images)


def test_models_that_cannot_be_explained():
    with pytest.raises(TypeError, match="the class Small"):
        igos_pp(Small, pictures())
    with pytest.raises(TypeError, match="got str"):
        igos_pp("model.pt", pictures())

    def detached(images):
        return torch.from_numpy(Small()(images).detach().numpy())

    for method in (igos_pp, gradcam, METHODS["gradient"], METHODS["integrated_gradients"]):
        with pytest.raises(ValueError, match="rise needs none"):
            method(detached, pictures())
    assert rise(detached, pictures(), mask_size=4, masks=8).saliency.shape == (2, 1, 4, 4)


@pytest.mark.filterwarnings("always")
def test_odd_inputs_are_warned_of(recwarn):
    rise(Small(), pictures()[:1], 1, torch.zeros(1, 1, 16, 16), mask_size=4, masks=8)
    assert not recwarn.list  # all is well: bright there, and the baseline is dark
    with pytest.warns(OddInput, match=r"about the same probability: 1 \(0.88 and 0.88\)"):
        rise(Small(), pictures(), 0, torch.zeros(1, 1, 16, 16), mask_size=4, masks=8)
    with pytest.warns(OddInput, match="images reach 255"):
        rise(Small(), 255 * pictures(), mask_size=4, masks=8)
    model = Small()
    model.norm.running_mean += 3
    with pytest.warns(OddInput, match=r"3.0 standard deviations off"):
        rise(model, pictures(), mask_size=4, masks=8)


def test_a_warning_names_the_callers_line(recwarn):
    with pytest.warns(OddInput) as told:
        rise(Small(), pictures(), 0, torch.zeros(1, 1, 16, 16), mask_size=4, masks=8)
    assert told[0].filename == __file__


class Tokens(nn.Module):
    """A transformer in small: patches of 4 x 4, a class token that looks at the first patch, a last norm."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(1, 6, 4, 4)
        self.norm1, self.norm2 = nn.LayerNorm(6), nn.LayerNorm(6)
        self.head = nn.Linear(6, 2)

    def forward(self, images):
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        tokens = self.norm1(torch.cat([tokens[:, :1] * 0, tokens], 1))
        mixed = torch.cat([tokens[:, :1] + tokens[:, 1:2], tokens[:, 1:]], 1)
        return self.head(self.norm2(mixed)[:, 0])


def test_gradcam_of_a_transformer_by_name_and_by_reshape():
    torch.manual_seed(3)
    model = Tokens().eval()
    images = torch.rand(1, 1, 16, 16)
    for target in (0, 1):
        found = gradcam(model, images, target, mask_size=4)
        by_name = gradcam(model, images, target, mask_size=4, layer="norm1")
        own = gradcam(model, images, target, mask_size=4, layer=model.norm1,
                      reshape_transform=lambda x: x[:, 1:].transpose(1, 2).reshape(1, 6, 4, 4))  # fmt: skip
        assert torch.equal(found.saliency, by_name.saliency) and torch.equal(found.saliency, own.saliency)
    assert any(gradcam(model, images, t, mask_size=4).saliency.any() for t in (0, 1))
    with pytest.raises(ValueError, match="no layer 'nrom1'; there are norm1"):
        gradcam(model, images, 0, layer="nrom1")
    with pytest.raises(ValueError, match="reshape_transform"):
        gradcam(model, images, 0, layer="head")


@pytest.mark.parametrize(("size", "patches"), [((32, 8), (8, 2)), ((24, 40), (6, 10)), ((26, 43), (6, 10))])
def test_gradcam_of_a_transformer_on_an_image_that_is_not_square(size, patches):
    """16 tokens of a tall image are 8 x 2 patches, not 4 x 4."""
    torch.manual_seed(3)
    model, images = Tokens().eval(), torch.rand(1, 1, *size)
    own = gradcam(model, images, 1, mask_size=8, layer=model.norm1,
                  reshape_transform=lambda x: x[:, 1:].transpose(1, 2).unflatten(2, patches))  # fmt: skip
    assert own.saliency.any() and torch.equal(gradcam(model, images, 1, mask_size=8).saliency, own.saliency)


def test_features_whose_channels_are_as_many_as_their_rows_are_told_by_the_image():
    assert tokens_to_map(torch.zeros(1, 8, 8, 12), 64 / 96).shape == (1, 8, 8, 12)
    assert tokens_to_map(torch.zeros(1, 7, 10, 96), 224 / 320).shape == (1, 96, 7, 10)
    assert tokens_to_map(torch.zeros(1, 14, 14, 14)).shape == (1, 14, 14, 14)


def test_tokens_that_are_no_grid_like_the_image_are_refused():
    for count, aspect in ((64, 1 / 1000), (34, 1.0), (3, 1.0), (1, 1.0)):
        with pytest.raises(ValueError, match="reshape_transform"):
            tokens_to_map(torch.zeros(1, count, 3), aspect)


def test_gradcam_of_scripted_parts():
    """TorchScript takes no hooks: what is not scripted is looked into, and nothing stays behind."""
    body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    tail = torch.jit.trace(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), torch.zeros(1, 2, 6, 6))
    model, images = nn.Sequential(body, tail).eval(), torch.rand(1, 1, 8, 8)
    assert torch.equal(gradcam(model, images, 0, mask_size=4).saliency,
                       gradcam(model, images, 0, mask_size=4, layer=body).saliency)  # fmt: skip
    assert not any(module._forward_hooks for module in (model, *body.modules()))
    for layer in (None, tail):
        with pytest.raises(ValueError, match="feature maps"):
            gradcam(torch.jit.trace(model, images) if layer is None else model, images, 0, layer=layer)


def test_features_with_channels_last_are_turned():
    assert tokens_to_map(torch.zeros(2, 7, 7, 768)).shape == (2, 768, 7, 7)
    assert tokens_to_map(torch.zeros(2, 16, 7, 7)).shape == (2, 16, 7, 7)


def test_tokens_as_a_map():
    tokens = torch.arange(2 * 5 * 3.0).view(2, 5, 3)
    features = tokens_to_map(tokens)
    assert features.shape == (2, 3, 2, 2)
    assert features[1, 2].tolist() == [[tokens[1, 1, 2], tokens[1, 2, 2]], [tokens[1, 3, 2], tokens[1, 4, 2]]]


ALONE = """
import importlib.metadata, pathlib, sys
allowed = {"torch", "numpy", "xray_debug", "functorch", "torchgen"}
for found in importlib.metadata.distributions():
    for name in (found.read_text("top_level.txt") or found.metadata["Name"].replace("-", "_")).split():
        if name not in allowed and name not in NEEDED:
            sys.modules.setdefault(name, None)
import torch
from xray_debug.saliency import deletion_insertion, gradcam, igos_pp, rise
nn = torch.nn
model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
images = torch.rand(1, 1, 16, 16)
for method in (igos_pp, gradcam, lambda *a, **k: rise(*a, masks=4, **k)):
    found = method(model.eval(), images, mask_size=4)
deletion_insertion(model, images, found.saliency, found.targets, steps=4)
print(sorted(name for name in ("captum", "matplotlib", "pandas", "cv2", "scipy") if sys.modules.get(name)))
"""


def test_explaining_needs_torch_alone():
    """What torch itself needs may be there; everything else that is installed cannot be imported."""
    from importlib.metadata import requires

    needed = {re.match(r"[\w.-]+", text)[0].replace("-", "_") for text in requires("torch") if "extra" not in text}
    code = ALONE.replace("NEEDED", repr(needed | {"mpmath", "markupsafe", "_distutils_hack", "pkg_resources"}))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.filterwarnings("ignore")
def test_a_model_in_half_precision_is_explained_in_single(name, dtype):
    """Its maps are those of the same model in single precision, but for the rounding of its answers."""
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3)
    model, images = nn.Sequential(*layers).eval(), torch.rand(1, 1, 12, 12)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(dtype))
    images = images.to(dtype)
    options = {"mask_size": 6, **({} if name == "igos_pp" else QUICK.get(name, {}))}
    expected = METHODS[name](model, images.float(), [1], **options)
    found = METHODS[name](model.to(dtype), images, [1], **options)
    assert found.saliency.dtype == torch.float32
    assert (found.saliency - expected.saliency).abs().mean() < 0.03
    if name == "igos_pp":
        assert len(found.saliency.unique()) == 36
        assert found.objective["total"].item() == pytest.approx(expected.objective["total"].item(), abs=0.02)


MEASURES = {
    "deletion": lambda model, maps, **more: deletion_insertion(model, pictures(), maps, [1, 0], **more).deletion,
    "road": lambda model, maps, **more: road(model, pictures(), maps, [1, 0], **more).gap,
    "infidelity": lambda model, maps, **more: infidelity(model, pictures(), maps, [1, 0], **more),
    "max_sensitivity": lambda model, maps, **more: max_sensitivity(gradient, model, pictures(), [1, 0], **more),
    "random_logit": lambda model, maps, **more: random_logit(gradient, model, pictures(), [1, 0], **more),
}


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.filterwarnings("ignore")
def test_measures_take_the_models_and_maps_that_methods_take_and_give(name):
    measure, found = MEASURES[name], gradient(Small(), pictures(), mask_size=4)
    right = measure(Small(), found.saliency)
    model = Small()
    for other in (lambda images: model(images), Wrapped(lambda logits: {"logits": logits})):
        torch.testing.assert_close(measure(other, found.saliency), right, equal_nan=True)
    aside = Wrapped(lambda logits: {"aux": logits[:, :1], "out": logits})
    torch.testing.assert_close(measure(aside, found.saliency, output="out"), right, equal_nan=True)
    for maps in (found, found.saliency.numpy()):
        torch.testing.assert_close(measure(Small(), maps), right, equal_nan=True)


def test_maps_are_taken_as_explanation_or_array_and_nothing_else():
    found = gradcam(Small(), pictures(), mask_size=4)
    boxes = [[(0, 0, 4, 4)]] * 2
    for measure in (sparseness, lambda maps: pointing_game(maps, boxes, (16, 16))):
        right = measure(found.saliency)
        for maps in (found, found.saliency.numpy()):
            torch.testing.assert_close(measure(maps), right, equal_nan=True)
        with pytest.raises(TypeError, match=r"^saliency: expected a tensor \(N, 1, m, m\), got list$"):
            measure(found.saliency.tolist())


@pytest.mark.parametrize("targets", [None, ["bright", "dark"], ["1", "0"]])
def test_targets_that_are_no_numbers_are_told(targets):
    with pytest.raises(ValueError, match="^targets: expected 2 class indices, got "):
        road(Small(), pictures(), torch.rand(2, 1, 4, 4), targets)


def test_layers_of_a_function_cannot_be_drawn_anew():
    with pytest.raises(TypeError, match="^model: expected a module, whose layers can be drawn anew, got function$"):
        mprt(gradient, lambda images: Small()(images), pictures(), [1, 0])


def test_a_map_that_is_0_everywhere_is_told():
    class Aside(Small):
        def forward(self, images):
            unseen = self.norm(self.stem(images))  # as a transformer's patches after its last attention
            return images.flatten(1)[:, :2] + 0 * unseen.mean()

    with pytest.warns(OddInput, match=r"^the maps of images \[0, 1\] are 0 everywhere"):
        gradcam(Aside(), pictures() + torch.rand(2, 1, 16, 16), [0, 1], layer="norm")
