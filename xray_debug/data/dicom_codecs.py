"""Which library decodes which compressed DICOM: a plugin of pydicom's, by imagecodecs, where Pillow reads nothing.

None is left to pydicom's choice: GDCM, if somebody has it, ends the process at a damaged frame.
"""

from __future__ import annotations

import importlib.util

import simplejpeg
from pydicom import uid
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder

OURS = "xray-debug"
_JPEG2000 = (uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
DECODER_DEPENDENCIES = dict.fromkeys(
    (uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1, *uid.JPEGLSTransferSyntaxes, *_JPEG2000),
    ("imagecodecs",),
)
_NO_FRAME = {0xC4, 0xC8, 0xCC}  # markers among those of a JPEG's frame headers (0xC0 to 0xCF) that are none


def is_available(syntax: str) -> bool:
    """As pydicom asks of a plugin; `DECODER_DEPENDENCIES` too."""
    return syntax in DECODER_DEPENDENCIES and importlib.util.find_spec("imagecodecs") is not None


def plugin_for(data) -> str:
    """The name of the plugin that decodes a data set, "" for pydicom itself. ValueError where it is not installed."""
    syntax = data.file_meta.TransferSyntaxUID
    if syntax == uid.RLELossless:
        return "pydicom"
    if syntax == uid.JPEGBaseline8Bit or syntax == uid.JPEGExtended12Bit and data.BitsStored <= 8:
        return "pillow"
    if syntax in _JPEG2000 and not is_available(syntax):
        return "pillow"  # most of them
    if syntax in DECODER_DEPENDENCIES and not is_available(syntax):
        raise ValueError(f"compressed as {syntax.name}, which needs pip install xray-debug[dicom]")
    return OURS if syntax in DECODER_DEPENDENCIES else ""


def check_frame(data) -> None:
    """ValueError where the compressed picture is not of the size that the data set says, or is damaged.

    libjpeg only warns of damage, and neither it nor a decoder of JPEG 2000 knows how large a picture may be.
    """
    syntax = data.file_meta.TransferSyntaxUID
    if plugin_for(data) not in (OURS, "pillow"):
        return
    frame = get_frame(data.PixelData, 0, number_of_frames=1)
    size = _size_of_jpeg2000(frame) if syntax in _JPEG2000 else _size_of_jpeg(frame)
    if size != (data.Rows, data.Columns):
        raise ValueError(f"its picture has {size[1]} x {size[0]} pixels, its header says {data.Columns} x {data.Rows}")
    if syntax in _JPEG2000:
        return
    if not frame.rstrip(b"\0\xff").endswith(b"\xff\xd9"):
        raise ValueError("its picture is cut off")
    if syntax == uid.JPEGBaseline8Bit:
        simplejpeg.decode_jpeg(frame, "GRAY")  # raises where others warn


def _size_of_jpeg(frame: bytes) -> tuple[int, int]:
    """(rows, columns) of a JPEG or JPEG-LS."""
    at = 2
    while frame[:2] == b"\xff\xd8" and at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME or marker == 0xF7:
            return int.from_bytes(frame[at + 5 : at + 7], "big"), int.from_bytes(frame[at + 7 : at + 9], "big")
        at += 1 if marker == 0xFF else 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    raise ValueError("its picture is no JPEG")


def _size_of_jpeg2000(frame: bytes) -> tuple[int, int]:
    """(rows, columns) of a JPEG 2000, whose first segment (after the boxes of a JP2 file) is SIZ."""
    at = frame.find(b"\xff\x4f\xff\x51") + 8
    x1, y1, x0, y0 = (int.from_bytes(frame[k : k + 4], "big") for k in range(at, at + 16, 4))
    if at < 8:
        raise ValueError("its picture is no JPEG 2000")
    return y1 - y0, x1 - x0


def decode_frame(frame: bytes, runner) -> bytes:
    """The pixels of one frame (check_frame has been there), samples side by side, in whole bytes."""
    import imagecodecs

    syntax, same = runner.transfer_syntax, {}
    if syntax in _JPEG2000:
        decode = imagecodecs.jpeg2k_decode
        if runner.photometric_interpretation in ("YBR_ICT", "YBR_RCT"):
            runner.set_option("photometric_interpretation", "RGB")
    elif syntax in uid.JPEGLSTransferSyntaxes:
        decode = imagecodecs.jpegls_decode
    else:
        decode = imagecodecs.jpeg8_decode  # of 12 and 16 bits too
        if runner.samples_per_pixel > 1:  # no colours are changed: pydicom does that, as the data set says
            same = {"colorspace": "RGB", "outcolorspace": "RGB"}
    pixels = decode(frame, **same)
    runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", 8 * pixels.itemsize)
    return pixels.tobytes()


for _syntax in DECODER_DEPENDENCIES:
    get_decoder(_syntax).add_plugin(OURS, (__name__, "decode_frame"))
