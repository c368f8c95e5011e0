"""A model folder from a stranger: nothing is fetched, opened or run, and each fault is one sentence with the file."""

import json
import pickle
import struct

import pytest
import torch
from torch import nn

from xray_debug.data.view import ModelView
from xray_debug.models import imagenet
from xray_debug.models.build import build_model
from xray_debug.models.checkpoint import load_checkpoint, save_checkpoint
from xray_debug.models.registry import NETWORKS
from xray_debug.models.weights import fill, read_state


@pytest.fixture
def folder(tmp_path):
    model = build_model("covidnet", ["a", "b"], ModelView(32), seed=0, width=4, depth=1)
    return save_checkpoint(model, tmp_path / "model")


def change(folder, **values):
    file = folder / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def refused(folder, words):
    with pytest.raises(ValueError, match=words) as caught:
        load_checkpoint(folder)
    assert type(caught.value) is ValueError
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("something was fetched")

    monkeypatch.setattr(imagenet, "imagenet_weights", refuse)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


@pytest.mark.parametrize(
    "options",
    [{"pretrained": True}, {"weights": "/etc/passwd"}, {"weights_backbone": "DEFAULT"}, {"seed": 1},
     {"progress": True}],
    ids=["pretrained", "weights", "weights_backbone", "seed", "progress"],
)
@pytest.mark.parametrize("name", ["covidnet", "resnet18", "covidnext50"])
def test_a_saved_model_fetches_and_opens_nothing(folder, no_network, name, options):
    change(folder, name=name, options=options)
    refused(folder, f"options: {next(iter(options))} is not one that a saved model may have")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "nothing"}, "this model cannot be built: model: expected covidnet"),
        ({"name": 7}, "name: expected str, got int"),
        ({"classes": "ab"}, "classes: expected list, got str"),
        ({"classes": ["a", "a"]}, "classes: expected different names"),
        ({"classes": ["a", 1]}, "classes: expected different names"),
        ({"classes": ["a"]}, "classes: expected 2 to 10000, got 1"),
        ({"classes": ["a", "b", "c"]}, r"expected shape \(3,\), got \(2,\)"),
        ({"view": {"size": 10**9}}, "view: size: expected 1 to 8192"),
        ({"view": {"size": "big"}}, "view: size: expected a number, got 'big'"),
        ({"view": {"size": float("nan")}}, "view: size: expected 1 to 8192, got nan"),
        ({"view": {"size": 32, "path": 1}}, "unexpected keyword argument 'path'"),
        ({"options": {"width": 10**9}}, "options: width: expected at most 65536"),
        ({"options": {"width": float("nan")}}, "options: width: expected at most 65536, got nan"),
        ({"options": {"width": [1]}}, "options: width: expected a number, got list"),
        ({"options": {"dropout": "/etc/passwd"}}, "options: dropout: expected a number, got '/etc/passwd'"),
        ({"options": {"normalise": "../x"}}, "options: normalise: expected one of gray, unit, symmetric"),
        ({"options": {"wide": 3}}, "this model cannot be built: model_options: covidnet does not take"),
        ({"options": None}, "options: expected dict, got NoneType"),
        ({"format": 2}, "expected format 1, got 2; a newer version"),
        ({"extra": 3}, "extra: expected dict, got int"),
    ],
    ids=["unknown network", "name a number", "classes a text", "classes twice", "class a number", "one class",
         "other classes than the weights", "view of 10^9", "view a text", "view nan", "view with a path",
         "width of 10^9", "width nan", "width a list", "a path", "a path to normalise", "unknown option",
         "no options", "newer format", "extra a number"],
)
def test_what_a_description_may_not_say(folder, values, words):
    change(folder, **values)
    refused(folder, words)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"name": "covidnet"}'],
                         ids=["empty", "cut", "list", "bytes", "deep", "lacking"])  # fmt: skip
def test_damaged_descriptions(folder, content):
    (folder / "model.json").write_bytes(content)
    refused(folder, "model.json: not a model description")


def header(size: int, content: bytes = b"") -> bytes:
    return struct.pack("<Q", size) + content


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", header(10**9), header(2**63), header(2, b"{}"),
     header(40, b'{"x": {"dtype": "F32"}}' + b" " * 17)],
    ids=["empty", "garbage", "header of 10^9", "header of 2^63", "no tensor", "half a tensor"],
)
def test_damaged_weights(folder, content):
    change(folder, weights_sha256="")
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, "model.safetensors")


def test_cut_weights(folder):
    change(folder, weights_sha256="")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    refused(folder, "model.safetensors: not a readable weights file")


def test_a_flipped_byte_of_the_weights_is_refused(folder):
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    refused(folder, "model.safetensors: expected sha256 .*damaged or belongs to another model")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_a_pickle_never_runs(tmp_path, suffix):
    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    file = tmp_path / f"model{suffix}"
    file.write_bytes(pickle.dumps({"x": Bomb()}))
    torch.save({"x": Bomb()}, other := tmp_path / f"zip{suffix}")
    for path in (file, other):
        with pytest.raises(ValueError, match="not a readable weights file") as caught:
            read_state(path)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("state", [{}, {1: torch.zeros(1)}, {"x": 3}, [torch.zeros(1)], torch.zeros(1)],
                         ids=["empty", "numbered", "no tensor", "list", "tensor"])  # fmt: skip
def test_a_torch_file_without_a_state_dict(tmp_path, state):
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="x.pth: expected a state dict of tensors"):
        read_state(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.full((2, 3), float("nan")), "weight holds NaN"),
        (torch.zeros(2, 3, dtype=torch.int64), "expected values like torch.float32, got torch.int64"),
        (torch.zeros(2, 3, dtype=torch.complex64), "expected values like torch.float32, got torch.complex64"),
        (torch.zeros(3, 2), r"expected shape \(2, 3\), got \(3, 2\)"),
        (torch.zeros(1).expand(10**6, 10**6), r"expected shape \(2, 3\), got \(1000000, 1000000\)"),
    ],
    ids=["nan", "int", "complex", "shape", "expanded"],
)
def test_tensors_that_do_not_fit(value, words):
    with pytest.raises(ValueError, match=f"x.pth: weight:? ?.*{words.removeprefix('weight ')}"):
        fill(nn.Linear(3, 2, bias=False), {"weight": value}, "x.pth")


def test_a_network_that_fails_in_its_own_way(folder, monkeypatch):
    def broken(classes, view, pretrained, **options):
        raise ZeroDivisionError("division by zero\nand more")

    monkeypatch.setitem(NETWORKS._own, "broken", broken)
    change(folder, name="broken", options={})
    refused(folder, "model.json: this model cannot be built: division by zero")


def test_texts_only_where_the_signature_has_them(folder, monkeypatch):
    def taking(classes, view, pretrained, kind="x", **options):
        net = nn.Sequential(nn.Flatten(), nn.Linear(1, classes))
        net.input_channels = 1
        return net

    monkeypatch.setitem(NETWORKS._own, "taking", taking)
    change(folder, name="taking", options={"kind": "../../x"})
    refused(folder, r"options: kind: expected a number, got '../../x'")
    change(folder, options={"other": "plain"})
    refused(folder, "options: other: expected a number, got 'plain'")
    model = build_model("taking", ["a", "b"], ModelView(1), seed=0, kind="plain", normalise="unit")
    assert load_checkpoint(save_checkpoint(model, folder)).options["kind"] == "plain"


def test_a_flipped_byte_in_torchs_cache_is_refused(tmp_path):
    file = tmp_path / "net-ba7816bf.pth"  # the start of the sha256 of "abc"
    file.write_bytes(b"abc")
    imagenet.check_cached(file)
    file.write_bytes(b"abb")
    with pytest.raises(ValueError, match="net-ba7816bf.pth: expected a sha256 that begins with ba7816bf, found "):
        imagenet.check_cached(file)
