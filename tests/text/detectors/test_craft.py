"""The adapter of craft-text-detector gives the package's own score maps and boxes; weights are checked."""

import copy
import importlib
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from xray_debug.data.files import file_sha256
from xray_debug.data.images import read_image
from xray_debug.text import load_detector
from xray_debug.text.craft import Thresholds
from xray_debug.text.detectors import craft as official
from xray_debug.text.detectors.craft_networks import CraftNetwork, RefineNetwork
from xray_debug.text.scales import pad_to

pytest.importorskip("gdown", reason="craft-text-detector is not installed")


BUILD = official.craft_network


@pytest.fixture(scope="module", autouse=True)
def built_once():
    """The package's network is made once: it draws the 138 M weights of a whole VGG16, and keeps a tenth of them."""
    torch.manual_seed(0)
    made = BUILD()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(official, "craft_network", lambda: copy.deepcopy(made))
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of both networks, as files. Batch statistics are set so that scores spread over [0, 1]."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    craft, refiner = official.craft_network(), official.refine_network()
    with torch.no_grad():
        craft.train()
        craft(torch.randn(1, 3, 64, 64))
        craft.eval()
        scores = craft(torch.randn(1, 3, 96, 96))[0]
        last = craft.conv_cls[-1]
        scale = 0.3 / scores.std(dim=(0, 1, 2)).clamp(min=1e-6)
        last.weight.mul_(scale[:, None, None, None])
        last.bias.copy_((last.bias - scores.mean(dim=(0, 1, 2))) * scale + 0.3)
    torch.save({f"module.{k}": v for k, v in craft.state_dict().items()}, folder / "craft.pth")
    torch.save(refiner.state_dict(), folder / "refiner.pth")
    return folder


@pytest.fixture(scope="module")
def image():
    image = np.random.default_rng(0).integers(0, 80, (96, 72, 3), dtype=np.uint8)  # 72: to be padded
    image[20:60, 20:40] = 250
    return image


def detector(weights, **options):
    digest = file_sha256(weights / "craft.pth")
    return load_detector("craft", weights / "craft.pth", sha256=digest, **{"base": 96, "finest": 96, **options})


def packages_maps(weights, image, refine=False):
    """Score maps by the package's own functions: its loader, its resizing, its normalisation."""
    utils, images = official._package("craft_utils"), official._package("image_utils")
    net = official.craft_network()
    net.load_state_dict(utils.copyStateDict(torch.load(weights / "craft.pth", weights_only=True)))
    resized, ratio, _ = images.resize_aspect_ratio(image, 96, interpolation=1)
    x = torch.from_numpy(images.normalizeMeanVariance(resized)).permute(2, 0, 1)[None]
    with torch.no_grad():
        scores, features = net(x)
        link = scores[0, :, :, 1]
        if refine:
            refiner = official.refine_network()
            refiner.load_state_dict(torch.load(weights / "refiner.pth", weights_only=True))
            link = refiner(scores, features)[0, :, :, 0]
    return np.stack([scores[0, :, :, 0].numpy(), link.numpy()]), ratio


@pytest.mark.parametrize("refine", [False, True])
def test_score_maps_equal_the_packages(weights, image, refine):
    expected, _ = packages_maps(weights, image, refine)
    options = {}
    if refine:
        path = weights / "refiner.pth"
        options = {"refine": True, "refiner": path, "refiner_sha256": file_sha256(path)}
    found = detector(weights, **options).score_maps(image)
    assert found.std() > 0.01
    np.testing.assert_allclose(found, expected[:, :48, :36], atol=1e-4)


def test_boxes_equal_the_packages(weights, image):
    maps, _ = packages_maps(weights, image)
    quads, _ = official._package("craft_utils").getDetBoxes(maps[0], maps[1], 0.45, 0.4, 0.4)
    expected = {(int(np.floor(2 * q[:, 0].min() + 1e-6)), int(np.floor(2 * q[:, 1].min() + 1e-6)),
                 min(72, int(np.ceil(2 * q[:, 0].max() - 1e-6))), min(96, int(np.ceil(2 * q[:, 1].max() - 1e-6))))
                for q in quads}
    found = detector(weights, text_threshold=0.45)._boxes(maps, (2, 2), image.shape[:2])
    assert expected and {box.box for box in found} == expected


def authors_boxes(net, image, mag_ratio=1.5, canvas=1280):
    """By the authors' program: its sizes, the package's normalisation and decoding, its way back, and each word's
    upright box."""
    utils, images = official._package("craft_utils"), official._package("image_utils")
    colour = np.stack([image] * 3, axis=-1) if image.ndim == 2 else image
    height, width = image.shape[:2]
    target = min(mag_ratio * max(height, width), canvas)
    ratio = target / max(height, width)
    small = cv2.resize(colour, (int(width * ratio), int(height * ratio)), interpolation=cv2.INTER_LINEAR)
    padded = np.zeros([*(side + -side % 32 for side in small.shape[:2]), 3], np.float32)
    padded[:small.shape[0], :small.shape[1]] = small
    with torch.no_grad():
        scores = net(torch.from_numpy(images.normalizeMeanVariance(padded)).permute(2, 0, 1)[None])[0][0].numpy()
    quads, _ = utils.getDetBoxes(scores[..., 0].copy(), scores[..., 1].copy(), 0.7, 0.4, 0.4)
    found = set()
    for quad in quads:
        corners = quad * 2 / ratio
        x0, y0, x1, y1 = *np.floor(corners.min(0) + 1e-6), *np.ceil(corners.max(0) - 1e-6)
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        if x1 > x0 and y1 > y0:  # not in the padding alone
            found.add((int(x0), int(y0), int(x1), int(y1)))
    return found


@pytest.mark.parametrize("size, canvas", [((96, 72), 1280), ((150, 333), 192)])
def test_boxes_equal_the_authors_programs(weights, size, canvas):
    image = np.random.default_rng(1).integers(0, 90, size, dtype=np.uint8)
    for x in range(8, size[1] - 20, 30):
        image[20:50, x:x + 12] = 250
    reader = detector(weights, base=None, finest=None, canvas=canvas)
    reader.thresholds = Thresholds(0.7, 0.4, 0.4)
    scores = reader.run(reader.prepare(image[:64, :64]), reader.maps)
    assert scores.std() > 0.01
    expected = authors_boxes(reader.net, image, canvas=canvas)
    found = [reader._boxes(maps, scale, size) for maps, scale in reader.readings(image)]
    assert expected and {box.box for box in found[0]} == expected and len(found) == 1


def test_the_real_weights_read_real_films_as_the_authors_program_does():
    """With the authors' weights, where a package carries them, and a few films; nothing is merged away."""
    films = Path(__file__).resolve().parents[4] / "shared" / "covidx-mini" / "test"
    if official.carried_place("craft") is None or not films.is_dir():
        pytest.skip("needs the extra craft-weights and ../shared/covidx-mini")
    reader, count = load_detector("craft", canvas=640), 0
    for path in sorted(films.iterdir())[3:40:24]:
        image = read_image(path)
        expected = authors_boxes(reader.net, image, canvas=640)
        ((maps, scale),) = reader.readings(image)
        assert {box.box for box in reader._boxes(maps, scale, image.shape[:2])} == expected, path.name
        count += len(expected)
    assert count


@pytest.mark.parametrize("refine", [False, True])
def test_half_precision_moves_the_maps_by_its_rounding_only(weights, image, refine):
    options = {}
    if refine:
        path = weights / "refiner.pth"
        options = {"refine": True, "refiner": path, "refiner_sha256": file_sha256(path)}
    exact, half = (detector(weights, precision=name, **options).score_maps(image) for name in ("fp32", "bf16"))
    assert half.dtype == np.float32 and np.abs(half - exact).max() > 1e-4
    np.testing.assert_allclose(half, exact, atol=0.05)
    with pytest.raises(ValueError, match="precision must be fp32 or bf16, got 'fp16'"):
        detector(weights, precision="fp16")


def test_a_size_of_the_projects_own_is_an_option(weights, image):
    assert [scale for _, scale in detector(weights).readings(image)] == [(2.0, 2.0)]
    sizes = [maps.shape[1:] for maps, _ in detector(weights, base=64, finest=96).readings(np.zeros((96, 96), np.uint8))]
    assert sizes == [(32, 32), (48, 48)]
    with pytest.raises(ValueError, match="mag_ratio"):
        detector(weights, mag_ratio=0)


def test_weights_that_a_package_carries_are_found_and_checked(tmp_path, monkeypatch):
    """No code of that package runs."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "site" / official.CARRIER / "data"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise SystemExit('ran')")
    (folder / "craft_mlt_25k.pth").write_bytes(b"other bytes")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    importlib.invalidate_caches()
    assert official.carried_place("craft") == folder / "craft_mlt_25k.pth" and official.carried_place("refiner") is None
    with pytest.raises(ValueError, match="expected sha256 4a5efbfb.*found"):
        official.find_weights("craft", None)


def test_normalisation_equals_the_packages(image):
    theirs = official._package("image_utils").normalizeMeanVariance(image)
    np.testing.assert_allclose(official.normalise(image), theirs.transpose(2, 0, 1), atol=1e-5)


def test_gray_is_three_equal_channels():
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(official.normalise(gray), official.normalise(np.stack([gray] * 3, axis=-1)))
    assert official.normalise(pad_to(gray, 32)).shape == (3, 32, 32)


def test_the_own_networks_have_the_packages_keys_and_outputs():
    """Any weights of the package, the official ones too, are theirs."""
    torch.manual_seed(1)
    for theirs, own, inputs in ((official.craft_network(), CraftNetwork(), [torch.randn(2, 3, 64, 96)]),
                                (official.refine_network(), RefineNetwork(),
                                 [torch.rand(2, 24, 20, 2), torch.randn(2, 32, 24, 20)])):  # fmt: skip
        assert type(theirs).__module__.startswith("craft_text_detector")
        for value in theirs.state_dict().values():
            if value.is_floating_point():
                value.add_(0.05 * torch.rand_like(value))
        own.load_state_dict(theirs.state_dict())  # strict: every key, every shape
        with torch.no_grad():
            found, expected = own.eval()(*inputs), theirs.eval()(*inputs)
        for one, other in zip(*([x] if torch.is_tensor(x) else x for x in (found, expected)), strict=True):
            assert one.shape == other.shape and torch.allclose(one, other, atol=1e-5)


def test_without_the_package_the_maps_are_the_same(weights, image, monkeypatch):
    expected = detector(weights).score_maps(image)
    monkeypatch.setattr(official, "craft_network", BUILD)
    monkeypatch.setitem(sys.modules, "craft_text_detector", None)
    for name in [name for name in sys.modules if name.startswith("craft_text_detector.")]:
        monkeypatch.setitem(sys.modules, name, None)
    found = detector(weights)
    assert type(found.net) is CraftNetwork
    np.testing.assert_allclose(found.score_maps(image), expected, atol=1e-5)


def test_torchvision_is_left_as_it_was():
    from torchvision.models import vgg

    before = hasattr(vgg, "model_urls")
    official.refine_network()
    assert hasattr(vgg, "model_urls") == before


def test_other_weights_are_refused(weights):
    with pytest.raises(ValueError, match="expected sha256 4a5efbfb.*found"):
        load_detector("craft", weights / "craft.pth")


def test_the_digest_is_printed(weights, capsys, monkeypatch):
    monkeypatch.setattr(official, "_told", set())
    digest = file_sha256(weights / "refiner.pth")
    for _ in range(2):  # once, however many workers look for them
        official.find_weights("refiner", weights / "refiner.pth", expected=digest)
    said = capsys.readouterr()
    assert said.err.count(digest) == 1 and said.out == ""  # a table that a command prints is not mixed with it


def test_the_path_of_weights_is_printed_without_escapes(weights, tmp_path, capsys):
    place = tmp_path / "a\x1b[31m\u202e.pth"
    place.write_bytes(b"")
    with pytest.raises(ValueError):
        official.find_weights("craft", place)
    assert r"a\x1b[31m\u202e.pth: sha256 " in (said := capsys.readouterr().err) and "\x1b" not in said


def test_missing_weights_are_named_and_nothing_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(official.urllib.request, "urlopen", lambda *a, **k: pytest.fail("went to the network"))
    monkeypatch.setattr(official, "CARRIER", "no_such_package")
    with pytest.raises(ValueError, match="no CRAFT weights here"):
        load_detector("craft")
    with pytest.raises(ValueError, match="elsewhere.pth"):
        load_detector("craft", tmp_path / "elsewhere.pth", download=True)


def test_a_download_of_the_wrong_bytes_is_thrown_away(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "page.html").write_text("sign in")
    with pytest.raises(ValueError, match="the download has"):
        official.download_weights("craft", (tmp_path / "page.html").as_uri())
    assert not list(official.known_place("craft").parent.iterdir())


def test_weights_of_another_network_are_refused(weights):
    digest = file_sha256(weights / "refiner.pth")
    with pytest.raises(ValueError, match="not the weights of this network"):
        load_detector("craft", weights / "refiner.pth", sha256=digest)
