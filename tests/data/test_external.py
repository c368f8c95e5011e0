"""External data of ONNX files: found by the names in the file, and part of what the model is."""

import pytest

from xray_debug.config import ModelConfig, parse_config
from xray_debug.data.external import files_of_model, model_sha256
from xray_debug.data.files import file_sha256
from xray_debug.data.view import ModelView
from xray_debug.models.own import OwnModel, opened
from xray_debug.stages import own

NAMES = ["m.onnx.data", "n" * 200 + ".bin", "below/conv1.weight"]


def entry(key: str, value: str) -> bytes:
    """A StringStringEntryProto, as TensorProto.external_data (field 13) holds it."""
    def text(field: int, content: bytes) -> bytes:
        length = bytes([len(content)]) if len(content) < 128 else bytes([len(content) & 127 | 128, len(content) >> 7])
        return bytes([field << 3 | 2]) + length + content

    return text(13, text(1, key.encode()) + text(2, value.encode()))


@pytest.fixture
def model(tmp_path):
    (tmp_path / "below").mkdir()
    for name in NAMES:
        (tmp_path / name).write_bytes(b"weights")
    (tmp_path / "other.data").write_bytes(b"of another model")
    content = b"\x08\x08" + b"".join(entry("location", name) + entry("offset", "0") for name in [*NAMES, "gone.bin"])
    (tmp_path / "m.onnx").write_bytes(content)
    return tmp_path / "m.onnx"


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_beside_an_onnx_file_are_part_of_the_model(model, name):
    assert files_of_model(model)[0] == model
    assert {file.relative_to(model.parent).as_posix() for file in files_of_model(model)[1:]} == set(NAMES)
    settings = {"file": str(model), "classes": ["a", "b"], "size": 32}
    config = parse_config({"model": settings})
    before, inputs = model_sha256(model), own.inputs(config)
    assert len(before) == 64 and own.own_model(config).sha256 == before
    (model.parent / name).write_bytes(b"other weights")
    assert model_sha256(model) != before and own.inputs(config) != inputs
    with pytest.raises(ValueError, match="the file has changed since"):
        opened(OwnModel(ModelConfig(**settings), ModelView(32), before))


def test_a_file_without_external_data_is_its_own_bytes(model, tmp_path):
    for name in ("whole.onnx", "weights.pt"):
        (tmp_path / name).write_bytes(b"\x08\x08location")
        assert model_sha256(tmp_path / name) == file_sha256(tmp_path / name)
    other = model.rename(model.with_suffix(".pt"))
    assert files_of_model(other) == [other]
