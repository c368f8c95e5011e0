"""Files that stand where a radiograph should: (fault in words, how it is made, what must happen).

What must happen is an array, which the file reads as exactly, or words that the refusal holds.
"""

import gzip
import io
import pickle
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image, PngImagePlugin

RNG = np.random.default_rng(12)
GREY = RNG.integers(0, 256, (24, 40), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (24, 40, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (24, 40), dtype=np.uint16)
SMALL = np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.uint8)  # two bits a pixel
FLAT = np.full((24, 40), 128, np.uint8)  # JPEG keeps it exactly
DAMAGED, NO_IMAGE, PAGES = "damaged or truncated", "not an image", "pages or frames, expected one radiograph"


def encoded(image, kind="PNG", mode=None, **options) -> bytes:
    """An array, or a Pillow image, as the bytes of a file."""
    file = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image), mode=mode)
    picture.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes, check=None) -> bytes:
    check = zlib.crc32(kind + data) if check is None else check
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def png(width, height, depth, colour, rows: bytes, interlaced=0, before=b"", check=None, end=True) -> bytes:
    """A PNG written by hand; `rows` with their filter bytes."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    body = chunk(b"IDAT", zlib.compress(rows), check)
    return b"\x89PNG\r\n\x1a\n" + header + before + body + (chunk(b"IEND", b"") if end else b"")


def packed(values: np.ndarray, depth: int) -> bytes:
    """Rows of a PNG with `depth` bits a pixel, most significant first, none filtered."""
    bits = np.unpackbits(values[..., None], axis=-1)[..., 8 - depth:].reshape(len(values), -1)
    return b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1))


def frames(kind: str, mode="L", **options) -> bytes:
    first, *rest = [Image.fromarray(GREY if k == 0 else 255 - GREY).convert(mode) for k in range(3)]
    return encoded(first, kind, save_all=True, append_images=rest, **options)


def palette(colours: list[int], **options) -> bytes:
    image = Image.fromarray(SMALL, mode="P")
    image.putpalette(colours)
    return encoded(image, **options)


def turned(orientation: int, kind="PNG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(GREY, kind, exif=exif)


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("film.png", encoded(GREY))
    return file.getvalue()


def bits_changed(content: bytes, start: float, stop: float) -> bytes:
    first, last = int(len(content) * start), int(len(content) * stop)
    return content[:first] + bytes(b ^ 0xA5 for b in content[first:last]) + content[last:]


def jpeg_says(width: int, height: int) -> bytes:
    content = encoded(FLAT, "JPEG")
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4:]


def taller_gif() -> bytes:
    content = bytearray(GIF)
    at = content.index(b",\0\0\0\0" + struct.pack("<HH", 40, 24))
    content[8:10] = content[at + 7:at + 9] = struct.pack("<H", 400)
    return bytes(content)


def taller_tiff(**options) -> bytes:
    content = bytearray(encoded(GREY, "TIFF", **options))
    for tag in (257, 278):  # the height, and the rows of a strip
        at = content.index(struct.pack("<HH", tag, content[content.index(struct.pack("<H", tag)) + 2]))
        content[at + 8:at + 12] = struct.pack("<I", 400)
    return bytes(content)


def without_segment(marker: bytes) -> bytes:
    content = encoded(FLAT, "JPEG")
    at = content.index(marker)
    size = struct.unpack(">H", content[at + 2:at + 4])[0]
    return content[:at] + content[at + 2 + size:]


def text_png() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "<script>alert(1)</script> [/red] \x1b[2J")
    return encoded(GREY, pnginfo=info)


PNG, JPEG, TIFF = encoded(GREY), encoded(GREY, "JPEG", quality=90), encoded(GREY, "TIFF")
GIF, WEBP, BMP = encoded(GREY, "GIF"), encoded(COLOUR, "WEBP", lossless=True), encoded(GREY, "BMP")
DICOM_START = b"\0" * 128 + b"DICM"
FLOATS = np.linspace(-1, 1, 24 * 40, dtype=np.float32).reshape(24, 40)


def with_value(value: float) -> np.ndarray:
    image = FLOATS.copy()
    image[3, 5] = value
    return image


def truncated() -> list[tuple]:
    cuts = [
        ("PNG cut inside its signature", "a.png", PNG[:7], NO_IMAGE),
        ("PNG of a signature alone", "a.png", PNG[:8], "a.png: "),
        ("PNG cut inside its header", "a.png", PNG[:20], "a.png: "),
        ("PNG of a header alone", "a.png", PNG[:33], "a.png: "),
        ("PNG cut at a tenth", "a.png", PNG[:len(PNG) // 10], DAMAGED),
        ("PNG cut at a half", "a.png", PNG[:len(PNG) // 2], DAMAGED),
        ("PNG cut before its last 40 bytes", "a.png", PNG[:-40], DAMAGED),
        ("JPEG of a start marker alone", "a.jpg", JPEG[:2], NO_IMAGE),
        ("JPEG cut inside its first segment", "a.jpg", JPEG[:12], "a.jpg: "),
        ("JPEG cut before its pixels", "a.jpg", JPEG[:JPEG.index(b"\xff\xda")], "a.jpg: "),
        ("JPEG cut at a half", "a.jpg", JPEG[:len(JPEG) // 2], DAMAGED),
        ("JPEG cut before its last 40 bytes", "a.jpg", JPEG[:-40], DAMAGED),
        ("TIFF of a mark alone", "a.tif", TIFF[:4], "a.tif: "),
        ("TIFF cut inside its directory", "a.tif", TIFF[:20], "a.tif: "),
        ("TIFF cut at a half", "a.tif", TIFF[:len(TIFF) // 2], DAMAGED),
        ("LZW TIFF cut at a half", "a.tif", encoded(GREY, "TIFF", compression="tiff_lzw")[:500], "a.tif: "),
        ("16-bit PNG cut at a half", "a.png", encoded(DEEP)[:1000], DAMAGED),
        ("GIF of a signature alone", "a.gif", GIF[:6], "a.gif: "),
        ("GIF cut at a half", "a.gif", GIF[:len(GIF) // 2], DAMAGED),
        ("WebP of a signature alone", "a.webp", WEBP[:12], "a.webp: "),
        ("WebP cut at a half", "a.webp", WEBP[:len(WEBP) // 2], "a.webp: "),
        ("BMP cut at a half", "a.bmp", BMP[:len(BMP) // 2], DAMAGED),
        ("BMP of a signature alone", "a.bmp", BMP[:2], "a.bmp: "),
        ("DICOM of a preamble alone", "a.dcm", DICOM_START, "a.dcm: "),
        ("DICOM of a preamble and noise", "a.dcm", DICOM_START + RNG.bytes(300), "a.dcm: "),
        ("DICOM cut inside its preamble", "a.dcm", DICOM_START[:130], NO_IMAGE),
    ]
    return cuts + [(f"0 bytes called {name}", name, b"", "empty file") for name in
                   ("a.png", "a.jpg", "a.tif", "a.dcm", "a.gif", "a.webp", "a.bmp")]  # fmt: skip


def damaged() -> list[tuple]:
    row = b"".join(b"\0" + bytes(line) for line in GREY)
    return [
        ("PNG whose header has a wrong checksum", "a.png", PNG[:29] + b"\0\0\0\0" + PNG[33:], "a.png: "),
        ("PNG with bits changed in its middle", "a.png", bits_changed(PNG, .4, .6), DAMAGED),
        ("PNG that says 0 pixels wide", "a.png", png(0, 24, 8, 0, row), "a.png: "),
        ("PNG that says 0 pixels high", "a.png", png(40, 0, 8, 0, row), "a.png: "),
        ("PNG of 3 bits", "a.png", png(40, 24, 3, 0, row), "a.png: "),
        ("PNG of an unknown colour type", "a.png", png(40, 24, 8, 5, row), "a.png: "),
        ("PNG with fewer rows than it says", "a.png", png(40, 400, 8, 0, row), DAMAGED),
        ("PNG with 1 row too few", "a.png", png(40, 25, 8, 0, row), DAMAGED),
        ("interlaced PNG without its last pass", "a.png", png(2, 2, 8, 0, b"\0\x2a\0\x2b", interlaced=1), DAMAGED),
        ("GIF with fewer rows than it says", "a.gif", taller_gif(), DAMAGED),
        ("TIFF with fewer rows than it says", "a.tif", taller_tiff(), "a.tif: "),
        ("LZW TIFF with fewer rows than it says", "a.tif", taller_tiff(compression="tiff_lzw"), "a.tif: "),
        ("PNG whose palette is missing", "a.png", png(40, 24, 8, 3, row), "a.png: "),
        ("PNG with an unknown filter", "a.png", png(40, 24, 8, 0, b"\x09" + row[1:]), DAMAGED),
        ("JPEG with bits changed in its middle", "a.jpg", bits_changed(JPEG, .5, .8), DAMAGED),
        ("JPEG without quantisation tables", "a.jpg", without_segment(b"\xff\xdb"), "a.jpg: "),
        ("JPEG that says 0 pixels wide", "a.jpg", jpeg_says(0, 24), "a.jpg: "),
        ("JPEG with more rows than it holds", "a.jpg", jpeg_says(40, 400), DAMAGED),
        ("TIFF whose directory lies beyond its end", "a.tif", TIFF[:4] + b"\xff\xff\xff\x7f" + TIFF[8:], "a.tif: "),
        ("GIF without a frame", "a.gif", b"GIF89a" + struct.pack("<HHBBB", 40, 24, 0, 0, 0) + b";", "a.gif: "),
        ("WebP with bits changed in its middle", "a.webp", bits_changed(WEBP, .0, .05), "a.webp: "),
        ("BMP of 3 bits", "a.bmp", BMP[:28] + b"\x03\0" + BMP[30:], "a.bmp: "),
        ("float TIFF with one NaN", "a.tif", encoded(with_value(np.nan), "TIFF"), "not finite"),
        ("float TIFF with one infinity", "a.tif", encoded(with_value(np.inf), "TIFF"), "not finite"),
        ("float TIFF with one minus infinity", "a.tif", encoded(with_value(-np.inf), "TIFF"), "not finite"),
        ("float TIFF of NaN alone", "a.tif", encoded(np.full((4, 4), np.nan, np.float32), "TIFF"), "not finite"),
        ("PNG of 100,000 x 100,000 pixels", "a.png", png(100_000, 100_000, 8, 0, row), "expected at most 100000000"),
        ("PNG of 1 x 100,000,001 pixels", "a.png", png(1, 100_000_001, 8, 0, row), "expected at most 100000000"),
        ("PNG of 2,147,483,647 pixels a side", "a.png", png(2**31 - 1, 2**31 - 1, 8, 0, row), "a.png: "),
        ("PNG of 20,000 x 20,000 bits", "a.png", png(20_000, 20_000, 1, 0, row), "expected at most 100000000"),
        ("JPEG of 65,500 x 65,500 pixels", "a.jpg", jpeg_says(65_500, 65_500), "expected at most 100000000"),
        ("GIF of 65,535 x 65,535 pixels", "a.gif", GIF[:6] + b"\xff" * 4 + GIF[10:], "expected at most 100000000"),
    ]


def no_images() -> list[tuple]:
    return [
        ("text called .png", "a.png", b"patient 1: no finding\n", NO_IMAGE),
        ("page of HTML called .jpg", "a.jpg", b"<!DOCTYPE html><title>404 Not Found</title>", NO_IMAGE),
        ("zip called .png", "a.png", zipped(), NO_IMAGE),
        ("gzip of a PNG called .png", "a.png", gzip.compress(PNG), NO_IMAGE),
        ("pointer of Git LFS called .png", "a.png", b"version https://git-lfs.github.com/spec/v1\n", NO_IMAGE),
        ("PDF called .png", "a.png", b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n", NO_IMAGE),
        ("SVG called .png", "a.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>', NO_IMAGE),
        ("pickle called .png", "a.png", pickle.dumps({"a": 1}), NO_IMAGE),
        ("numpy array called .tif", "a.tif", b"\x93NUMPY\x01\x00v\x00{'descr': '|u1'}", NO_IMAGE),
        ("SQLite called .dcm", "a.dcm", b"SQLite format 3\0" + b"\0" * 200, NO_IMAGE),
        ("noise called .dcm", "a.dcm", b"\xd0" + RNG.bytes(4000), NO_IMAGE),
        ("zeros called .png", "a.png", b"\0" * 4096, NO_IMAGE),
        ("PNG after a byte of something else", "a.png", b"\n" + PNG, NO_IMAGE),
        ("PNG whose line ends a mail program changed", "a.png", PNG.replace(b"\r\n", b"\n"), NO_IMAGE),
    ]


def odd() -> list[tuple]:
    """Unusual and sound: each reads as exactly the pixels that are shown."""
    grey4, colour4 = [0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255], [255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7]
    alpha = np.dstack([np.full((1, 3), 200, np.uint8), np.array([[0, 255, 255]], np.uint8)])
    rgba = np.dstack([COLOUR, np.where(GREY > 127, 255, 0).astype(np.uint8)])
    below = GREY.astype(np.int32) * 100 - 1000
    below[0, 0] = -1000
    wide = np.array([[0, 1 << 20]], np.int32)
    inks = np.array([[[0, 0, 0, 255], [0, 0, 0, 0], [255, 0, 0, 0]]], np.uint8)
    return [
        ("PNG called .jpg", "a.jpg", PNG, GREY),
        ("flat JPEG called .png", "a.png", encoded(FLAT, "JPEG"), FLAT),
        ("TIFF called .dcm", "a.dcm", TIFF, GREY),
        ("PNG called .txt", "a.txt", PNG, GREY),
        ("PNG without a suffix", "film", PNG, GREY),
        ("PNG called .PNG", "a.PNG", PNG, GREY),
        ("PNG with rubbish after its end", "a.png", PNG + b"<?php ?>" * 99, GREY),
        ("flat JPEG with rubbish after its end", "a.jpg", encoded(FLAT, "JPEG") + RNG.bytes(99), FLAT),
        ("PNG with markup and escapes as its text", "a.png", text_png(), GREY),
        ("PNG with an unknown chunk that may be passed over", "a.png",
         png(4, 2, 8, 0, packed(SMALL, 8), before=chunk(b"xrAy", b"?")), SMALL),
        ("PNG of 1 bit", "a.png", png(4, 2, 1, 0, packed(SMALL // 2, 1)), SMALL // 2 * 255),
        ("PNG of 2 bits", "a.png", png(4, 2, 2, 0, packed(SMALL, 2)), SMALL * 85),
        ("PNG of 4 bits", "a.png", png(4, 2, 4, 0, packed(SMALL * 5, 4)), SMALL * 85),
        ("PNG of 16 bits", "a.png", encoded(DEEP), DEEP),
        ("PNG of four pixels, interlaced", "a.png", png(2, 2, 8, 0, b"\0\0\0\1\0\2\3", interlaced=1),
         np.array([[0, 1], [2, 3]], np.uint8)),
        ("PNG whose last row is black", "a.png", encoded(GREY * (np.arange(24) < 20)[:, None].astype(np.uint8)),
         GREY * (np.arange(24) < 20)[:, None].astype(np.uint8)),
        ("colour PNG that is black", "a.png", encoded(COLOUR * 0), COLOUR * 0),
        ("16-bit PNG that is black", "a.png", encoded(DEEP * 0), DEEP * 0),
        ("1-bit PNG that is black", "a.png", png(4, 2, 1, 0, packed(SMALL * 0, 1)), SMALL * 0),
        ("PNG of one pixel, interlaced", "a.png", png(1, 1, 8, 0, b"\0\x2a", interlaced=1), np.array([[42]], np.uint8)),
        ("PNG with a wrong checksum around whole pixels", "a.png", png(4, 2, 8, 0, packed(SMALL, 8), check=1), SMALL),
        ("PNG of one pixel", "a.png", png(1, 1, 8, 0, b"\0\x2a"), np.array([[42]], np.uint8)),
        ("PNG of one row of 20,000 pixels", "a.png", encoded(np.tile(GREY.reshape(1, -1)[:, :800], 25)),
         np.tile(GREY.reshape(1, -1)[:, :800], 25)),
        ("PNG of a grey palette", "a.png", palette(grey4), SMALL * 85),
        ("PNG of a colour palette", "a.png", palette(colour4), np.array(colour4, np.uint8).reshape(4, 3)[SMALL]),
        ("PNG of a grey palette with a transparent entry", "a.png", palette(grey4, transparency=3),
         np.where(SMALL == 3, 0, SMALL * 85).astype(np.uint8)),
        ("grey PNG with alpha", "a.png", encoded(alpha, mode="LA"), np.array([[0, 200, 200]], np.uint8)),
        ("colour PNG with alpha", "a.png", encoded(rgba), np.where(rgba[..., 3:] > 0, COLOUR, 0).astype(np.uint8)),
        ("colour PNG", "a.png", encoded(COLOUR), COLOUR),
        ("colour PNG of three equal channels", "a.png", encoded(np.dstack([GREY] * 3)), np.dstack([GREY] * 3)),
        ("CMYK TIFF", "a.tif", encoded(inks, "TIFF", "CMYK"),
         np.array([[[0, 0, 0], [255, 255, 255], [0, 255, 255]]], np.uint8)),
        ("TIFF of 1 bit", "a.tif", encoded(Image.fromarray(SMALL // 2 * 255).convert("1"), "TIFF"), SMALL // 2 * 255),
        ("TIFF of 16 bits", "a.tif", encoded(DEEP, "TIFF"), DEEP),
        ("TIFF of 16 bits, big end first", "a.tif",
         encoded(Image.frombytes("I;16B", (40, 24), DEEP.astype(">u2").tobytes()), "TIFF"), DEEP),
        ("TIFF of 32-bit whole numbers below zero", "a.tif", encoded(below, "TIFF"),
         (below + 1000).astype(np.uint16)),
        ("TIFF of 32-bit numbers beyond 16 bits", "a.tif", encoded(wide, "TIFF"), np.array([[0, 65535]], np.uint16)),
        ("float TIFF of whole numbers", "a.tif", encoded(GREY.astype(np.float32), "TIFF"), GREY.astype(np.uint16)),
        ("float TIFF from -1 to 1", "a.tif", encoded(np.array([[-1, 0.5, 1]], np.float32), "TIFF"),
         np.array([[0, 49151, 65535]], np.uint16)),
        ("float TIFF of one value", "a.tif", encoded(np.full((2, 2), 0.5, np.float32), "TIFF"),
         np.zeros((2, 2), np.uint16)),
        ("LZW TIFF", "a.tif", encoded(GREY, "TIFF", compression="tiff_lzw"), GREY),
        ("deflated TIFF", "a.tif", encoded(GREY, "TIFF", compression="tiff_adobe_deflate"), GREY),
        ("PackBits TIFF", "a.tif", encoded(GREY, "TIFF", compression="packbits"), GREY),
        ("GIF", "a.gif", GIF, GREY),
        ("lossless WebP", "a.webp", WEBP, COLOUR),
        ("BMP", "a.bmp", BMP, GREY),
        ("PGM as text", "a.pgm", b"P2\n# hand made\n4 2\n3\n0 1 2 3\n3 2 1 0\n", SMALL * 85),
        ("progressive JPEG", "a.jpg", encoded(FLAT, "JPEG", progressive=True), FLAT),
        ("colour JPEG of one grey", "a.jpg", encoded(np.dstack([FLAT] * 3), "JPEG"), np.dstack([FLAT] * 3)),
        ("EXIF turned by a half", "a.png", turned(3), GREY[::-1, ::-1]),
        ("EXIF turned to the right", "a.png", turned(6), np.rot90(GREY, -1)),
        ("EXIF turned to the left", "a.png", turned(8), np.rot90(GREY)),
        ("EXIF mirrored", "a.png", turned(2), GREY[:, ::-1]),
        ("EXIF of an orientation that does not exist", "a.png", turned(99), GREY),
    ]


def several() -> list[tuple]:
    return [
        ("TIFF of three pages", "a.tif", frames("TIFF"), PAGES),
        ("animated GIF", "a.gif", frames("GIF", duration=40), PAGES),
        ("animated PNG", "a.png", frames("PNG"), PAGES),
        ("animated WebP", "a.webp", frames("WEBP", "RGB", lossless=True), PAGES),
    ]


REFUSED = truncated() + damaged() + no_images() + several()
READ = odd()
