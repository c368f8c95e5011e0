"""Classifiers: their structure, their contract, and checkpoints that come back bit for bit or say why not."""

import json
import pickle
import urllib.error

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from xray_debug.data.images import ModelView
from xray_debug.models import NETWORKS, build_model, covidnext50, imagenet, load_checkpoint, save_checkpoint
from xray_debug.models.covidnet import PEPX, CovidNet, Stage

CLASSES = ["normal", "pneumonia", "COVID-19"]
VIEW = ModelView(64, crop_top=0.08)


@pytest.fixture(scope="module")
def small():
    return build_model("covidnet", CLASSES, VIEW, seed=1, width=4, depth=0.2).eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(0))


# covidnet


def test_pepx_is_the_papers_five_convolutions():
    block = PEPX(16, expansion=1.5)
    convolutions = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    shapes = [(c.in_channels, c.out_channels, c.kernel_size[0], c.groups) for c in convolutions]
    assert shapes == [(16, 8, 1, 1), (8, 24, 1, 1), (24, 24, 3, 24), (24, 8, 1, 1), (8, 16, 1, 1)]
    assert block(torch.rand(2, 16, 5, 7)).shape == (2, 16, 5, 7)


def test_every_block_sees_the_link_and_all_earlier_blocks():
    class Plus(nn.Module):
        def __init__(self, amount):
            super().__init__()
            self.amount, self.seen = amount, None

        def forward(self, x):
            self.seen = x.detach()
            return torch.full_like(x, self.amount)

    stage = Stage(2, 4, 3, pool=False, expansion=1.0).eval()
    stage.blocks = nn.ModuleList(Plus(10.0**i) for i in range(3))
    x = torch.rand(1, 2, 3, 3)
    link = torch.relu(stage.link(x))
    torch.testing.assert_close(stage(x), link + 111)
    torch.testing.assert_close(stage.blocks[2].seen, link + 11)


def test_paper_size_has_3_4_6_3_blocks_and_default_trains_on_a_cpu():
    paper, default = CovidNet(3, width=56, depth=1), CovidNet(3)
    assert [len(s.blocks) for s in paper.stages] == [3, 4, 6, 3]
    assert 0.3e6 < sum(p.numel() for p in default.parameters()) < 0.8e6


@pytest.mark.parametrize("options", [{"width": 1}, {"depth": 0}, {"dropout": 1}, {"wide": 3}])
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        build_model("covidnet", CLASSES, VIEW, **options)


def test_too_small_a_view_is_refused():
    with pytest.raises(ValueError, match="view.size: covidnet needs at least 32 pixels, got 24"):
        build_model("covidnet", CLASSES, ModelView(24))


# the contract of all classifiers


def test_batch_equals_singles(small, images):
    singles = torch.cat([small(images[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(small(images), singles, rtol=1e-4, atol=1e-5)


def test_forward_repeats_and_normalises_the_grey_image(images):
    model = build_model("squeezenet1_1", CLASSES, VIEW, seed=0).eval()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (images.repeat(1, 3, 1, 1) - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(model(images), model.net(expected))
    plain = build_model("squeezenet1_1", CLASSES, VIEW, seed=0, normalise="unit").eval()
    torch.testing.assert_close(plain(images), model.net(images.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (64, 64), (1, 64, 64)])
def test_other_shapes_are_refused(small, shape):
    with pytest.raises(ValueError, match=r"expected shape \(N, 1, S, S\)"):
        small(torch.rand(shape))


def test_logits_follow_dtype_and_carry_gradients(small, images):
    double = build_model("covidnet", CLASSES, VIEW, seed=1, width=4, depth=0.2).eval().double()
    x = images.double().requires_grad_()
    logits = double(x)
    assert logits.dtype == torch.float64 and logits.shape == (3, 3)
    logits[:, 2].sum().backward()
    assert x.grad.abs().sum() > 0
    torch.testing.assert_close(logits.float(), small(images), rtol=1e-3, atol=1e-4)


def test_the_seed_decides_the_weights_and_leaves_the_global_state_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, other = (build_model("covidnet", CLASSES, VIEW, seed=s, width=4).net.fc.weight for s in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


# one of each way to end: plain linear layers, a classifier of several, a convolution, heads, auxiliary outputs
FAMILIES = ["resnet18", "densenet121", "mobilenet_v3_small", "efficientnet_b0", "squeezenet1_0", "vgg11",
            "convnext_tiny", "vit_b_32", "swin_t", "googlenet", "inception_v3"]  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_torchvision_classifiers_get_a_new_last_layer(name):
    size = 96 if name in imagenet.AUXILIARY else 64
    with torch.device("meta"):
        net = imagenet.build_torchvision(name, 3, size)
        for mode in (True, False):
            assert net.train(mode)(torch.rand(2, 3, size, size)).shape == (2, 3)


def test_networks_of_other_packages_say_what_they_take(monkeypatch, tmp_path):
    class Mean(nn.Module):
        input_channels, normalise = 1, "unit"

        def __init__(self, classes, bias):
            super().__init__()
            self.fc = nn.Linear(1, classes, bias=bias)

        def forward(self, x):
            return self.fc(x.mean((2, 3)))

    monkeypatch.setitem(NETWORKS._own, "mean", lambda classes, view, pretrained, bias=True: Mean(classes, bias))
    model = build_model("mean", CLASSES, VIEW, seed=0, bias=False)
    x = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(model(x), x.mean((2, 3)) * model.net.fc.weight.T)
    again = load_checkpoint(save_checkpoint(model, tmp_path))
    assert again.options == {"bias": False, "normalise": "unit"} and torch.equal(again(x), model(x))
    assert NETWORKS.names()[:2] == ["covidnet", "covidnext50"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet19", CLASSES, VIEW), "model: expected covidnet, covidnext50 or .* got 'resnet19'"),
        (("covidnet", ["a"], VIEW), "at least two different names"),
        (("covidnet", ["a", "a"], VIEW), "at least two different names"),
        (("covidnet", CLASSES, VIEW, True), "covidnet has no ImageNet weights"),
    ],
)
def test_bad_requests_are_one_sentence(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_model(*arguments)


# ImageNet weights


def test_a_failed_download_says_from_where_and_what_to_do(monkeypatch):
    def fail(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "/nowhere")
    monkeypatch.setattr("os.makedirs", lambda *a, **k: None)
    with pytest.raises(ValueError, match=r"pretrained: .* resnet18 .*resnet18-f37072fd.pth .*no route to host"):
        build_model("resnet18", CLASSES, VIEW, pretrained=True)


@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_imagenet_weights_fill_all_but_the_last_layer(monkeypatch, name):
    options = {"init_weights": False} if name == "googlenet" else {}
    source = torchvision.models.get_model(name, **options).state_dict()  # googlenet: with auxiliary heads
    monkeypatch.setattr(imagenet, "imagenet_weights", lambda _: source)
    model = build_model(name, CLASSES, VIEW, pretrained=True)
    own = model.net.state_dict()
    different = {key for key in own if not torch.equal(own[key], source[key])}
    assert different == {"fc.weight", "fc.bias"} and own["fc.weight"].shape[0] == 3


def test_imagenet_weights_fill_the_trunk_of_covidnext50(monkeypatch):
    source = torchvision.models.resnext50_32x4d().state_dict()
    monkeypatch.setattr(imagenet, "imagenet_weights", lambda _: source)
    own = build_model("covidnext50", CLASSES, VIEW, pretrained=True).net.state_dict()
    torch.testing.assert_close(own["stem.0.weight"], source["conv1.weight"])
    for key, value in source.items():
        if key.startswith("layer"):
            assert torch.equal(own[key], value)


# covidnext50 and its published state dict


def published_state(classes=3):
    """Random values under the names and shapes of the published COVID-Next checkpoint."""
    trunk, state = torchvision.models.resnext50_32x4d(), {}
    for key, value in trunk.state_dict().items():
        head, _, rest = key.partition(".")
        new = {"conv1": "block0.module.0.", "bn1": "block0.module.1."}.get(head)
        new = new or (f"block{head[-1]}.module." if head.startswith("layer") else None)
        if new:
            state[new + rest] = value
    for i, (inputs, outputs, kernel) in enumerate([(2048, 512, 3), (512, 1024, 1), (1024, 512, 3)]):
        state[f"backbone_end.module.{i}.0.weight"] = torch.randn(outputs, inputs, kernel, kernel) * 0.01
        norm = nn.BatchNorm2d(outputs).state_dict()
        state |= {f"backbone_end.module.{i}.1.{key}": value for key, value in norm.items()}
    state["logits.module.weight"], state["logits.module.bias"] = torch.randn(classes, 512), torch.randn(classes)
    return state, trunk


def reference_forward(state, trunk, x):
    """COVID-Next's forward pass written out, from the published names."""
    x = trunk.maxpool(trunk.relu(trunk.bn1(trunk.conv1(x))))
    x = trunk.layer4(trunk.layer3(trunk.layer2(trunk.layer1(x))))
    for i, padding in enumerate((1, 0, 1)):
        name = f"backbone_end.module.{i}."
        x = nn.functional.conv2d(x, state[name + "0.weight"], padding=padding)
        parts = [state[f"{name}1.{p}"] for p in ("running_mean", "running_var", "weight", "bias")]
        x = nn.functional.leaky_relu(nn.functional.batch_norm(x, *parts), 0.1)
    return x.mean((2, 3)) @ state["logits.module.weight"].T + state["logits.module.bias"]


def test_the_published_covid_next_loads_and_computes_the_same(tmp_path, images):
    state, trunk = published_state()
    torch.save({"state_dict": state, "optimizer": {"lr": 1e-4}, "step": 10800}, tmp_path / "covidnext.pth")
    model = build_model("covidnext50", CLASSES, VIEW, weights=str(tmp_path / "covidnext.pth")).eval()
    assert model.normalise == "unit"  # it was trained on plain [0, 1]
    with torch.no_grad():
        expected = reference_forward(state, trunk.eval(), images.repeat(1, 3, 1, 1))
        torch.testing.assert_close(model(images), expected, rtol=1e-3, atol=1e-4)
    again = load_checkpoint(save_checkpoint(model, tmp_path / "saved"))
    with torch.no_grad():
        assert torch.equal(again(images), model(images))


def test_published_names_map_one_to_one():
    state, _ = published_state()
    renamed = covidnext50.from_published(state)
    assert set(renamed) == set(covidnext50.CovidNext50(3).state_dict())
    with pytest.raises(ValueError, match="extra.weight: not a name"):
        covidnext50.from_published(state | {"extra.weight": torch.zeros(1)})


def test_a_checkpoint_of_other_classes_is_refused(tmp_path):
    torch.save(published_state(classes=2)[0], tmp_path / "two.pth")
    with pytest.raises(ValueError, match=r"two.pth: fc.weight: expected shape \(3, 512\), got \(2, 512\)"):
        build_model("covidnext50", CLASSES, VIEW, weights=tmp_path / "two.pth")


# checkpoints


def test_a_checkpoint_comes_back_whole(small, images, tmp_path):
    folder = save_checkpoint(small, tmp_path / "model", best_epoch=3)
    for path in (folder, folder / "model.safetensors", folder / "model.json"):
        again = load_checkpoint(path)
        assert torch.equal(again(images), small(images)) and not again.training
    assert (again.name, again.classes, again.view) == ("covidnet", CLASSES, VIEW)
    assert again.options == small.options and again.extra == {"best_epoch": 3}
    assert sorted(p.name for p in folder.iterdir()) == ["model.json", "model.safetensors"]


def test_damaged_or_absent_files_are_named(small, tmp_path):
    with pytest.raises(ValueError, match="nothing: expected a model folder"):
        load_checkpoint(tmp_path / "nothing")
    folder = save_checkpoint(small, tmp_path / "model")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:1000])
    with pytest.raises(ValueError, match="model.safetensors: not a readable weights file"):
        load_checkpoint(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="model.safetensors: no such weights file"):
        load_checkpoint(folder)
    (folder / "model.json").write_text("{}")
    with pytest.raises(ValueError, match="model.json: not a model description"):
        load_checkpoint(folder)


def test_weights_of_another_model_are_refused(small, tmp_path):
    folder = save_checkpoint(small, tmp_path / "model")
    description = json.loads((folder / "model.json").read_text())
    description["options"]["width"] = 8
    (folder / "model.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match="expected shape"):
        load_checkpoint(folder)
    state = dict(small.net.state_dict())
    state.pop("fc.bias")
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(ValueError, match="lacks fc.bias"):
        build_model("covidnet", CLASSES, VIEW, width=4, depth=0.2, weights=tmp_path / "part.safetensors")


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code from a weights file ran')",))


def test_code_in_a_weights_file_is_not_run(tmp_path):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"state_dict": Evil()}, protocol=2))
    torch.save({"state_dict": Evil()}, tmp_path / "evil2.pth")
    for name in ("evil.pth", "evil2.pth"):
        with pytest.raises(ValueError, match="not a readable weights file"):
            build_model("covidnet", CLASSES, VIEW, weights=tmp_path / name)


def test_data_parallel_names_are_understood(small, images, tmp_path):
    torch.save({f"module.{k}": v for k, v in small.net.state_dict().items()}, tmp_path / "parallel.pth")
    model = build_model("covidnet", CLASSES, VIEW, width=4, depth=0.2, weights=tmp_path / "parallel.pth").eval()
    assert torch.equal(model(images), small(images))
