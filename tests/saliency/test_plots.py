"""Pictures of explanations: they can be opened, have the right size, and show what they are given."""

import numpy as np
import pytest
import torch
from matplotlib.transforms import Bbox
from PIL import Image

from xray_debug.data.overlay import heat_overlay
from xray_debug.saliency import Evaluations, Explanation
from xray_debug.saliency import plots as drawing
from xray_debug.saliency.plots import Compared, Explained, compare_figure, explain_figure

IMAGE = np.tile(np.arange(40, dtype=np.uint8) * 6, (30, 1))
CURVE = np.linspace(0.9, 0.1, 11)


def explained(number: int, name: str = "a_b $c", **more) -> Explained:
    saliency = np.random.default_rng(number).random((1, 7, 7))
    return Explained(name, saliency, CURVE - 0.05 * number, CURVE[::-1], 0.5, 0.625, **more)


@pytest.fixture
def shown(monkeypatch):
    """The figures that were saved."""
    figures = []
    kept = drawing.save_figure
    monkeypatch.setattr(drawing, "save_figure", lambda figure, *given: figures.append(figure) or kept(figure, *given))
    return figures


def test_explain_figure_accepts_what_the_methods_return(tmp_path):
    path = explain_figure(IMAGE / 255, explained(0), "a_b $c.png", tmp_path / "e.png")
    with Image.open(path) as picture:
        assert picture.size == (1352, 357) and picture.info["Creator"] == drawing.EXPLAINED


def test_the_papers_figure_has_a_row_for_each_image(tmp_path, shown):
    rows = [Compared(IMAGE, "film.png", "normal 0.9", [explained(0, "igos"), explained(1, "rise", hardly_moved=True)]),
            Compared(IMAGE[::-1], "x" * 80, "pneumonia 0.8", [explained(2, "igos"), explained(3, "rise")])]  # fmt: skip
    path = compare_figure(rows, tmp_path / "c.png")
    with Image.open(path) as picture:
        assert picture.info["Creator"] == drawing.EXPLAINED
    (figure,) = shown
    places = np.array(figure.axes).reshape(2, 5)
    for line, row in zip(places, rows, strict=True):
        assert np.array_equal(line[0].images[0].get_array(), row.image) and line[0].get_xlabel() == row.caption
        for axes, found in zip(line[1:3], row.maps, strict=True):
            assert np.array_equal(axes.images[0].get_array(), heat_overlay(row.image, found.saliency))
            assert axes.get_title() == found.name and "deletion 0.500, insertion 0.625" in axes.get_xlabel()
            assert ("hardly moved" in axes.get_xlabel()) == found.hardly_moved and "peak" in axes.get_xlabel()
        for axes, kind in zip(line[3:], ("deletion", "insertion"), strict=True):
            assert axes.get_xlabel().startswith(kind)
            for drawn, found in zip(axes.lines, row.maps, strict=True):
                assert np.array_equal(drawn.get_ydata(), getattr(found, f"{kind}_curve"))
                assert np.array_equal(drawn.get_xdata(), np.linspace(0, 100, 11))
    assert len(places[1, 0].get_title()) <= 30
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["igos", "rise"]


def inside_and_apart(figure) -> None:
    """All titles and captions lie in the figure, and no two over each other."""
    figure.draw_without_rendering()
    texts = [text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label)] + figure.texts
    texts = [text for text in texts if text.get_text()]
    boxes = [text.get_window_extent() for text in texts]
    for text, box in zip(texts, boxes, strict=True):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text.get_text()
    for number, (text, box) in enumerate(zip(texts, boxes, strict=True)):
        for other, its in zip(texts[:number], boxes, strict=False):
            assert Bbox.intersection(box.padded(-1), its.padded(-1)) is None, (text.get_text(), other.get_text())


@pytest.mark.parametrize("films", [1, 3])
@pytest.mark.parametrize("ways", [2, 4])
def test_text_is_neither_cut_off_nor_written_over(films, ways, tmp_path, shown):
    name = "actmed-CR.1.2.840.113564.1722810170.20200416110930703890.1003000225.jpg"
    maps = [explained(number, "integrated_gradients", hardly_moved=True) for number in range(ways)]
    compare_figure([Compared(IMAGE, name, "COVID-19 0.697 (blurred 0.730)", maps)] * films, tmp_path / "c.png")
    explain_figure(IMAGE, maps[0], f"{name * 3}: COVID-19 0.697 (igos_pp)", tmp_path / "e.png")
    for figure in shown:
        inside_and_apart(figure)
    assert shown[1].get_suptitle().endswith(": COVID-19 0.697 (igos_pp)")
    inside_and_apart(Explanation(torch.rand(films, 1, 7, 7), Evaluations(0, 0), 0.0).plot(torch.rand(films, 3, 64, 64)))


@pytest.mark.parametrize("channels", [1, 3, 2])
def test_an_explanation_plots_itself_beside_its_images(channels):
    images = torch.randn(2, channels, 12, 16) * 3  # as a network with normalised inputs takes them
    maps = torch.rand(2, 1, 4, 4)
    figure = Explanation(maps, Evaluations(0, 0), 0.0).plot(images)
    assert len(figure.axes) == 4
    for film, overlay, saliency in zip(figure.axes[::2], figure.axes[1::2], maps, strict=True):
        shown = film.images[0].get_array()
        assert shown.dtype == np.uint8 and shown.shape == ((12, 16, 3) if channels == 3 else (12, 16))
        assert np.array_equal(overlay.images[0].get_array(), heat_overlay(shown, saliency.numpy()))
        assert overlay.get_xlabel().startswith(f"peak {saliency.max():.2f}")
