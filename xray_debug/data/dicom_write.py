"""A DICOM file whose picture was edited as it is shown, written with the stored values that show the edit.

Only changed pixels get another stored value; PixelData of the others, and every tag but those named in `rewrite`, stay.
A compressed picture is written uncompressed, as it was decoded.
"""

from __future__ import annotations

import hashlib
import uuid
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xray_debug.data.decode import ImageError, short
from xray_debug.data.dicom import _dataset, _grey, _padding
from xray_debug.data.dicom_codecs import check_frame, plugin_for

HALVED = ("YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420")  # colours of two pixels are one: written as RGB
WIDEST = 1 << 17  # stored values between the least and the greatest, for a table of what each is shown as
DERIVATION = "Burned-in text, where any was found, erased by inpainting (xray-debug)"
CONTROL = "Inpainted away from burned-in text, as a control (xray-debug)"


class Written(NamedTuple):
    """The file's bytes, and the pixels as they are shown now: an edit is rounded to a stored value."""

    content: bytes
    pixels: np.ndarray | None
    note: str


def new_uid(old: str, salt: str) -> str:
    """A SOPInstanceUID that follows from the old one and `salt` alone (2.25 and a UUID as a whole number)."""
    digest = hashlib.sha256(f"{old}|{salt}".encode()).digest()[:16]
    return f"2.25.{uuid.UUID(bytes=digest, version=4).int}"


def rewrite(path: Path, content: bytes, edit: tuple[np.ndarray, np.ndarray] | None = None, salt: str = "",
            free_of_text: bool = True, derivation: str = DERIVATION) -> Written:  # fmt: skip
    """The DICOM file `content`, its picture changed by `edit`: what it shows (as read_image gives it), and is to show.

    Set are PixelData, SOPInstanceUID (and its copy in the file's head), DerivationDescription and, where the image is
    `free_of_text`, BurnedInAnnotation NO; for a compressed picture the transfer syntax, and what else says how its
    pixels lie. `path`: for errors. ImageError where the picture cannot be edited or written.
    """
    import pydicom

    data, note, held = _dataset(path, content), "", None
    try:
        syntax = data.file_meta.TransferSyntaxUID
        if syntax.is_encapsulated or data.PhotometricInterpretation in HALVED:
            note = f"{syntax.name if syntax.is_encapsulated else data.PhotometricInterpretation} written uncompressed"
            _uncompress(data)
        if edit is not None:
            held = _edit(path, data, *edit)
        data.SOPInstanceUID = new_uid(str(data.get("SOPInstanceUID", "")), salt)
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        if "MediaStorageSOPClassUID" not in data.file_meta and "SOPClassUID" in data:
            data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.DerivationDescription = derivation
        if free_of_text:
            data.BurnedInAnnotation = "NO"
        for tag in [tag for tag in data.keys() if data.get_item(tag).VR is None]:  # noqa: SIM118  in an explicit file
            data[tag]
        file = BytesIO()
        pydicom.dcmwrite(file, data, enforce_file_format=True)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise ImageError(f"{path}: DICOM that cannot be written ({short(error)})") from error
    return Written(file.getvalue(), held, note)


def stored_pixels(path: Path, content: bytes) -> np.ndarray:
    """The picture as stored, decoded; ImageError where that cannot be done."""
    from pydicom.pixels import pixel_array

    data = _dataset(path, content)
    try:
        check_frame(data)
        return pixel_array(data, decoding_plugin=plugin_for(data))
    except Exception as error:
        raise ImageError(f"{path}: DICOM pixels that cannot be decoded ({error})") from error


def _uncompress(data) -> None:
    """PixelData as decoded, explicit little endian; colour is RGB then."""
    from pydicom.pixels import pixel_array
    from pydicom.uid import ExplicitVRLittleEndian

    check_frame(data)
    stored = pixel_array(data, decoding_plugin=plugin_for(data))
    data.BitsAllocated = 8 * stored.itemsize
    if stored.ndim == 3:
        data.PhotometricInterpretation, data.PlanarConfiguration = "RGB", 0
    for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if name in data:
            del data[name]
    _set_pixels(data, stored.astype(stored.dtype.newbyteorder("<")).tobytes())
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def _set_pixels(data, raw: bytes) -> None:
    data.PixelData = raw + b"\0" * (len(raw) % 2)
    data["PixelData"].VR = "OW" if data.BitsAllocated > 8 else "OB"
    data["PixelData"].is_undefined_length = False


# ---------------------------------------------------------------------------------------------------- the edit


def _edit(path: Path, data, shown: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Writes stored values where `pixels` differ into PixelData; returns what the picture is shown as then."""
    changed = (pixels != shown).any(2) if shown.ndim == 3 else pixels != shown
    if not changed.any():
        return shown
    kind, held = data.PhotometricInterpretation, shown.copy()
    raw = _raw(path, data)
    if shown.ndim == 2:
        stored = _signed(raw, data)
        values, seen = _table(path, data, stored, shown)
        nearest = _nearest(seen, pixels[changed])
        raw[changed] = _bits(values[nearest], raw[changed], data)
        held[changed] = seen[nearest]
    elif kind == "RGB":
        raw[changed] = pixels[changed]
        held[changed] = pixels[changed]
    elif kind == "YBR_FULL":
        from pydicom.pixels import convert_color_space

        raw[changed] = convert_color_space(pixels[changed][None], "RGB", "YBR_FULL")[0]
        held[changed] = convert_color_space(raw[changed][None], "YBR_FULL", "RGB")[0]
    elif kind == "PALETTE COLOR":
        indices, first = np.unique(raw, return_index=True)
        colours = shown.reshape(-1, 3)[first].astype(np.int64)
        wanted, where = np.unique(pixels[changed], axis=0, return_inverse=True)
        nearest = [((colours - colour) ** 2).sum(1).argmin() for colour in wanted.astype(np.int64)]
        best = np.array(nearest)[where.ravel()]
        raw[changed], held[changed] = indices[best], colours[best].astype(shown.dtype)
    else:
        raise ImageError(f"{path}: pixels of {kind}, which cannot be edited")
    if raw.ndim == 3 and data.get("PlanarConfiguration", 0) == 1:
        raw = raw.transpose(2, 0, 1)
    tail = data.PixelData[raw.size * raw.itemsize :]
    vr = data["PixelData"].VR
    content = raw.tobytes()
    if _swapped(data):
        content, tail = _swap(content + b"\0" * (len(content) % 2)), b""
    data.PixelData = content + tail
    data["PixelData"].VR = vr
    return held


def _raw(path: Path, data) -> np.ndarray:
    """PixelData as unsigned whole numbers of its own byte order, (H, W) or (H, W, samples), to be written into."""
    samples, size = data.get("SamplesPerPixel", 1), data.BitsAllocated // 8
    if data.BitsAllocated not in (8, 16, 32):
        raise ImageError(f"{path}: pixels of {data.BitsAllocated} bits, which cannot be edited")
    order = "<" if data.file_meta.TransferSyntaxUID.is_little_endian else ">"
    count = data.Rows * data.Columns * samples
    if len(data.PixelData) < count * size:
        raise ImageError(f"{path}: pixels of {data.PhotometricInterpretation} that lie otherwise than they are shown")
    content = data.PixelData
    if _swapped(data):
        content = _swap(content)
    raw = np.frombuffer(content, f"{order}u{size}", count).copy()
    if samples == 1:
        return raw.reshape(data.Rows, data.Columns)
    if data.get("PlanarConfiguration", 0) == 1:
        return np.ascontiguousarray(raw.reshape(samples, data.Rows, data.Columns).transpose(1, 2, 0))
    return raw.reshape(data.Rows, data.Columns, samples)


def _swapped(data) -> bool:
    """Whether bytes lie in pairs that are turned round: of 8 bits in big-endian words."""
    words = data.BitsAllocated == 8 and data["PixelData"].VR == "OW"
    return words and not data.file_meta.TransferSyntaxUID.is_little_endian


def _swap(content: bytes) -> bytes:
    return np.frombuffer(content, np.uint16).byteswap().tobytes()


def _place(data) -> tuple[int, int]:
    """(lowest bit, bits) of a value in its cell."""
    bits = int(data.BitsStored)
    return int(data.get("HighBit", bits - 1)) + 1 - bits, bits


def _signed(raw: np.ndarray, data) -> np.ndarray:
    """int64 stored values, without what lies in the other bits of their cells."""
    low, bits = _place(data)
    values = (raw.astype(np.int64) >> max(low, 0)) & ((1 << bits) - 1)
    return np.where(values >> (bits - 1) & 1, values - (1 << bits), values) if data.PixelRepresentation else values


def _bits(values: np.ndarray, cells: np.ndarray, data) -> np.ndarray:
    """`cells` with the stored values put into them; their other bits stay, but for the copies of a sign."""
    low, bits = _place(data)
    mask = ((1 << bits) - 1) << max(low, 0)
    kept = cells.astype(np.int64) & ~mask
    if data.PixelRepresentation and low <= 0:
        kept, mask = np.zeros_like(kept), (1 << (8 * cells.itemsize)) - 1
    return (kept | ((values << max(low, 0)) & mask)).astype(cells.dtype)


def _table(path: Path, data, stored: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(stored values, what each is shown as), of all between the least and the greatest of the film.

    Where the film does not tell what is between (a modality of fractions), those that occur in it.
    """
    film = ~_padding(data, stored)
    film = film if film.any() else np.ones(stored.shape, bool)
    low, high = int(stored[film].min()), int(stored[film].max())
    if high - low < WIDEST:
        ramp = np.arange(low, high + 1)
        ramp = ramp[~_padding(data, ramp)]
        kind = np.dtype(f"{'i' if data.PixelRepresentation else 'u'}{data.BitsAllocated // 8}")
        seen = _grey(path, data, ramp.astype(kind)[None])[0][0]
        place = np.searchsorted(ramp, stored[film])
        if (seen[place].astype(np.int64) == shown[film]).all():
            return ramp, seen.astype(shown.dtype)
    values, first = np.unique(stored[film], return_index=True)
    return values, shown[film][first]


def _nearest(seen: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where in `seen` the value lies that is nearest to each of `wanted`.

    Of several stored values that are shown alike (all that lie beyond a window), the one next to those that are not.
    """
    order = np.argsort(seen, kind="stable")
    levels, first = np.unique(seen[order], return_index=True)
    last = np.append(first[1:], len(order)) - 1
    # levels ascend; where the stored values fall with them, the last of a level lies next to the one above, too
    falls = len(levels) > 1 and order[first[0]] > order[first[-1]]
    pick = order[last] if falls else order[first]
    pick[0] = order[first[0]] if falls else order[last[0]]
    at = np.searchsorted(levels, wanted).clip(0, len(levels) - 1)
    below = (at - 1).clip(0)
    nearer = np.abs(levels[below].astype(np.int64) - wanted) <= np.abs(levels[at].astype(np.int64) - wanted)
    return pick[np.where(nearer, below, at)]
