"""Lateral views and CT slices among the films."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from xray_debug.config import PhantomConfig
from xray_debug.data.images import read_image, to_gray8
from xray_debug.data.likeness import reduced
from xray_debug.data.projection import LATERAL, SLICE, is_slice, said, said_together
from xray_debug.data.scan import scan_image
from xray_debug.phantom.dataset import write_phantom

FILMS = Path(__file__).parents[3] / "shared/covidx-mini"
FALSE_ALARMS = {"cxnet-066.jpg", "nih-00001401_001.jpg", "nih-00003497_000.jpg"}  # black strips above and below


@pytest.mark.parametrize(("text", "kind"), [
    ("PA", ""), ("AP Supine", ""), ("AP_horizontal", ""), ("Frontal", ""), ("X-ray", ""), ("DX", ""),
    ("L", LATERAL), ("LL", LATERAL), ("LATERAL", LATERAL), ("left lateral", LATERAL),
    ("left lateral decubitus", ""), ("CT", SLICE), ("Axial", SLICE), ("Computed Tomography", SLICE),
    ("MR", "MR image"), ("PT", "PET image"), ("CT, PT", SLICE), ("", None), ("LLO", None), ("7", None), ("lungs", None),
])  # fmt: skip
def test_what_views_and_modalities_say(text, kind):
    assert said(text) == kind


def test_of_several_what_is_no_frontal_film_counts():
    assert said_together(["CR", "LL"]) == said_together(["LL", "CR"]) == LATERAL
    assert said_together(["CR", "PA"]) == said_together(["?", "PA"]) == "" and said_together(["?", ""]) is None


def _body(shape=(256, 256), centre=(128, 128), axes=(115, 80), air=0, bright=False):
    """An ellipse with two dark lungs in it; axes in pixels, half of width and height."""
    image = np.full(shape, air, np.uint8)
    cv2.ellipse(image, centre, axes, 0, 0, 360, 20 if bright else 180, -1)
    for side in (-1, 1):
        place = (centre[0] + side * axes[0] // 2, centre[1])
        cv2.ellipse(image, place, (axes[0] // 4, axes[1] // 3), 0, 0, 360, air, -1)
    return image


@pytest.mark.parametrize(("image", "wanted"), [
    (_body(), True), (_body(air=60), True), (_body(centre=(128, 165)), True), (_body((256, 320), (160, 128)), True),
    (_body(axes=(80, 115)), False),  # higher than wide
    (_body(axes=(190, 170)), False),  # reaches the edges
    (_body(centre=(128, 200), axes=(115, 120)), False),  # reaches the lower edge, as an abdomen does
    (_body(air=255, bright=True), False),  # no dark air: not judged
    (np.pad(np.full((120, 200), 180, np.uint8), 30), False),  # a film in a black frame
    (np.full((100, 100), 9, np.uint8), False),
], ids=["slice", "grey air", "low", "wide image", "upright", "whole", "abdomen", "white", "framed",
        "flat"])  # fmt: skip
def test_a_slice_is_a_wide_body_with_air_around(image, wanted):
    assert is_slice(image) is wanted


def test_phantom_films_are_no_slices(tmp_path):
    root = write_phantom(tmp_path / "p", PhantomConfig(train=12, test=6))
    films = [path for folder in ("train", "test") for path in (root / folder).iterdir()]
    assert len(films) == 18 and not [path for path in films if scan_image(path)["looks_like"]]


@pytest.mark.skipif(not FILMS.is_dir(), reason="no covidx-mini beside the checkout")
def test_false_alarms_on_real_films_are_those_known():
    """A third of the 1,193 films, none of which is a CT slice, and the three that are taken for one."""
    names = sorted(path for path in FILMS.glob("*/*.*"))
    chosen = {*names[::3], *(path for path in names if path.name in FALSE_ALARMS)}
    assert {path.name for path in chosen if is_slice(reduced(to_gray8(read_image(path))))} == FALSE_ALARMS


@pytest.mark.parametrize(("name", "looks_like"), [
    ("CT_small.dcm", "CT slice by DICOM tags"), ("MR_small.dcm", "MR image by DICOM tags"),
    ("dicomdirtests/77654033/CR1/6154", "lateral view by DICOM tags"), ("dicomdirtests/77654033/CR2/6247", ""),
])  # fmt: skip
def test_dicom_tags_tell_modality_and_view(name, looks_like):
    """Files of pydicom's own: CT, MR, and a CR film of view LL and one of view AP."""
    data = pytest.importorskip("pydicom.data")
    facts = scan_image(Path(data.__file__).parent / "test_files" / name)
    assert (facts["problem"], facts["looks_like"]) == ("", looks_like)


def test_a_tag_that_cannot_be_read_says_nothing(tmp_path):
    data = pytest.importorskip("pydicom.data")
    content = (Path(data.__file__).parent / "test_files/CT_small.dcm").read_bytes()
    assert content.count(b"\x08\0\x60\0CS\2\0CT") == 1
    (tmp_path / "a.dcm").write_bytes(content.replace(b"\x08\0\x60\0CS\2\0CT", b"\x08\0\x60\0FD\2\0CT"))
    facts = scan_image(tmp_path / "a.dcm")
    assert (facts["problem"], facts["looks_like"]) == ("", "")  # and no slice by its outline: it fills the image
