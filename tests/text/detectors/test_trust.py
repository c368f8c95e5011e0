"""Weights that come with the package or its extras are what they should be, to the last bit."""

import shutil
from pathlib import Path

import pytest

from xray_debug.data.files import file_sha256
from xray_debug.text import load_detector
from xray_debug.text.detectors import craft, craft_lite


def flipped(source: Path, target: Path) -> Path:
    content = bytearray(source.read_bytes())
    content[-5] ^= 4
    target.write_bytes(content)
    return target


def test_the_bundled_weights_are_the_ones_that_are_meant():
    assert file_sha256(craft_lite.BUNDLED) == craft_lite.BUNDLED_SHA256


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_a_flipped_byte_of_the_bundled_weights_is_refused(monkeypatch, tmp_path, precision):
    monkeypatch.setattr(craft_lite, "BUNDLED", flipped(craft_lite.BUNDLED, tmp_path / "x.safetensors"))
    with pytest.raises(ValueError, match=f"x.safetensors: expected sha256 {craft_lite.BUNDLED_SHA256}, found .*instal"):
        load_detector("craft-lite", precision=precision)


def test_missing_bundled_weights_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(craft_lite, "BUNDLED", tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="x.safetensors: no such weight file"):
        load_detector("craft-lite")


def test_a_flipped_byte_of_rapidocrs_model_is_refused(monkeypatch, tmp_path):
    pytest.importorskip("onnxruntime")
    rapidocr = pytest.importorskip("rapidocr")
    package = Path(rapidocr.__file__).parent
    (tmp_path / "models").mkdir()
    shutil.copy(package / "default_models.yaml", tmp_path)
    source = max((package / "models").glob("*det*.onnx"))
    flipped(source, tmp_path / "models" / source.name)
    monkeypatch.setattr(rapidocr, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(ValueError, match=f"{source.name}: expected sha256 .*, found "):
        load_detector("ppocr")
    (tmp_path / "default_models.yaml").unlink()
    with pytest.raises(ValueError, match=f"expected the sha256 of {source.name}, found none"):
        load_detector("ppocr")


def test_other_bytes_under_the_name_of_crafts_weights_are_refused(tmp_path):
    file = tmp_path / "craft_mlt_25k.pth"
    file.write_bytes(b"other")
    with pytest.raises(ValueError, match=r"craft_mlt_25k.pth: expected sha256 4a5e.*not the weights asked for"):
        craft.find_weights("craft", file)
