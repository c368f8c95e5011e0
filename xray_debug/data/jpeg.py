"""A JPEG encoded again at the quality of another: its quantisation tables and its sampling of colour."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, JpegImagePlugin


def is_jpeg(content: bytes) -> bool:
    return content[:3] == b"\xff\xd8\xff"


def encode_like(pixels: np.ndarray, source: bytes) -> bytes:
    """`pixels`, uint8 (H, W) or (H, W, 3) RGB, as a JPEG with the tables of the JPEG `source`.

    Resolution and colour profile are kept; the orientation is not: pixels are as they are shown. ValueError where
    `source` cannot be read.
    """
    try:
        with Image.open(BytesIO(source)) as found:
            tables, sampling = found.quantization, JpegImagePlugin.get_sampling(found)
            kept = {name: found.info[name] for name in ("dpi", "icc_profile") if found.info.get(name)}
            channels = len(found.getbands())
    except (OSError, SyntaxError, AttributeError) as error:
        raise ValueError(f"not a JPEG whose quality can be read ({error})") from error
    colour = pixels.ndim == 3
    if channels == 4:  # CMYK became RGB: its profile no longer fits
        kept.pop("icc_profile", None)
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(
        file, "JPEG", qtables=[tables[key] for key in sorted(tables)][: 2 if colour else 1], optimize=True,
        subsampling=sampling if colour and channels == 3 and sampling >= 0 else 0, **kept,
    )  # fmt: skip
    return file.getvalue()
