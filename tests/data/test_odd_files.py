"""Odd files: white-is-zero, turned and transparent 16 bits, garbled JPEGs."""

from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from xray_debug.data.images import ImageError, image_header, read_image

DEEP = np.random.default_rng(0).integers(0, 65536, (6, 9), dtype=np.uint16)
SHOWN = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
         5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
         8: lambda a: np.rot90(a)}


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("kind", ["grey16.png", "rgb16.png", "grey16.tif", "grey8.jfif"])
def test_exif_turns_pixels_and_header_alike(tmp_path, kind, orientation):
    exif, path = Image.Exif(), tmp_path / kind
    exif[0x0112] = orientation
    if kind == "rgb16.png":
        image = np.dstack([DEEP, DEEP // 2, DEEP // 3])
        content = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
        data = exif.tobytes()[6:]
        chunk = b"eXIf" + data
        content = (content[:33] + len(data).to_bytes(4, "big") + chunk
                   + __import__("zlib").crc32(chunk).to_bytes(4, "big") + content[33:])
        path.write_bytes(content)
    else:
        image = DEEP if "16" in kind else (DEEP >> 8).astype(np.uint8)
        form = {"png": "PNG", "tif": "TIFF", "jfif": "JPEG"}[kind.split(".")[1]]
        Image.fromarray(image).save(path, form, exif=exif)
        if form == "JPEG":
            image = np.array(Image.open(path))
    found, header = read_image(path), image_header(path)
    np.testing.assert_array_equal(found, SHOWN[orientation](image))
    assert (header.height, header.width) == found.shape[:2]


def test_a_sixteen_bit_tiff_whose_white_is_zero_is_inverted(tmp_path):
    Image.fromarray(DEEP).save(tmp_path / "a.tif", tiffinfo={262: 0})
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), 65535 - DEEP)


@pytest.mark.parametrize("mode", ["grey16", "grey8", "rgb8"])
def test_the_transparent_colour_of_a_png_is_black(tmp_path, mode):
    image = {"grey16": DEEP, "grey8": (DEEP >> 8).astype(np.uint8),
             "rgb8": np.dstack([(DEEP >> 8).astype(np.uint8)] * 3)}[mode].copy()
    clear = tuple(int(v) for v in image[2, 3]) if image.ndim == 3 else int(image[2, 3])
    Image.fromarray(image).save(tmp_path / "a.png", transparency=clear)
    image[(image == clear).all(axis=2) if image.ndim == 3 else image == clear] = 0
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_with_a_garbled_middle_is_refused(tmp_path, mode):
    file, rng = BytesIO(), np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)).convert(mode).save(file, "JPEG")
    content = file.getvalue()
    (tmp_path / "a.jpg").write_bytes(content)
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.jpg"), np.array(Image.open(BytesIO(content)).convert("L" if mode == "L" else "RGB")))
    middle = len(content) * 3 // 4
    (tmp_path / "a.jpg").write_bytes(content[:middle] + bytes(200) + content[middle + 200:])
    with pytest.raises(ImageError, match="damaged"):
        read_image(tmp_path / "a.jpg")


def test_a_cameras_picture_with_a_preview_is_one(tmp_path):
    film = Image.fromarray(np.full((24, 32), 90, np.uint8))
    film.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[Image.fromarray(np.zeros((6, 8), np.uint8))])
    assert read_image(tmp_path / "a.jpg").tolist() == [[90] * 32] * 24
