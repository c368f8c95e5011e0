"""The paper's figures: what each shows is what the network says of the images in it."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from benchmarks_fixture import FOLDER, SIDE, tiny_classifier, write_photographs
from PIL import Image
from torch import nn

from xray_debug.data.images import ModelView
from xray_debug.saliency import blurred

MODULES = ("figure_grid", "figures", "figures_films", "figures_labels", "figures_photographs", "networks")


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in MODULES:
        __import__(name)
    return SimpleNamespace(**{name: sys.modules[name] for name in MODULES})


@pytest.fixture
def drawn(bench, monkeypatch):
    """What figures hand to `draw`, which takes seconds: (rows, names, heading)."""
    found = []

    def recording(rows, names, path, heading="", **options):
        found.append((rows, names, heading))

    for module in (bench.figures_photographs, bench.figures_films, bench.figures_labels):
        monkeypatch.setattr(module, "draw", recording)
    return found


# ------------------------------------------------------------------------------------------- photographs

OPTIONS = {"igos_pp": {"iterations": 2}, "igos": {"iterations": 2}, "mask_perturbation": {"iterations": 1},
           "rise": {"masks": 4}, "integrated_gradients": {"steps": 2}}  # fmt: skip
# figure: pictures and curves in a row (the heat of each method or size beside the image)
PANELS = {"1": 5, "2": 9, "4": 5, "6": 3, "8": 7, "9": 7, "10": 5}


@pytest.fixture
def ask(bench, tmp_path):
    """Two photographs that the tiny network takes for `one`; its adversarial images are to be taken for `two`."""
    classifier, photos = tiny_classifier(bench.networks), write_photographs(tmp_path / "photos")
    return bench.figures_photographs.Request(classifier, photos, tmp_path / "figure.png", count=2, confidence=0.0,
                                             options=OPTIONS, wanted="two")  # fmt: skip


@pytest.mark.parametrize("number", sorted(PANELS, key=int))
def test_figures_of_photographs(bench, ask, drawn, number):
    bench.figures_photographs.FIGURES[number](ask)
    rows, names, heading = drawn[0]
    assert f"Figure {number}:" in heading and len(rows) == len(names)
    assert {len(row) for row in rows} == {PANELS[number]}
    pictures = [item for row in rows for item in row if isinstance(item, bench.figure_grid.Picture)]
    assert {item.image.shape for item in pictures} == {(SIDE, SIDE, 3)}


def test_a_grid_is_drawn(bench, tmp_path):
    """Two rows, one with curves and a gap: a PNG as wide as its columns, with the picture's grey in it."""
    grid = bench.figure_grid
    picture = grid.Picture(np.full((8, 8), 77, np.uint8), "a $title", "caption", boxes=[(1, 1, 4, 4)])
    curves = grid.CurvePair(np.linspace(1, 0, 5), np.linspace(0, 1, 5), 0.5, 0.5)
    grid.draw([[picture, picture], [None, curves]], ["first", "second"], tmp_path / "grid.png", "heading", side=1.0)
    with Image.open(tmp_path / "grid.png") as image:
        assert image.format == "PNG" and image.width == pytest.approx(130 * 2.3, abs=3)
        assert (np.asarray(image.convert("L")) == 77).mean() > 0.05


def test_areas_in_figure_2_are_those_of_the_curves(bench, ask, drawn):
    bench.figures_photographs.figure_2(ask)
    rows, _, _ = drawn[0]
    assert len(rows) == 4  # two images, their curves below
    for curves in rows[1][1:]:
        steps = len(curves.insertion_curve) - 1
        assert np.trapezoid(curves.insertion_curve, dx=1 / steps) == pytest.approx(curves.insertion, abs=2e-3)
        assert curves.insertion_curve[-1] == pytest.approx(curves.deletion_curve[0], abs=1e-5)


def test_what_the_inserted_pixels_of_figure_1_say(bench, ask, drawn):
    """At a share of 1 the whole image is inserted, and the network says of it what it says of the image."""
    bench.figures_photographs.figure_1(ask, share=1.0)
    case = ask.cases()[0]
    assert drawn[0][0][0][2].caption == f"{case.probability:.1%}" == drawn[0][0][0][4].caption


def test_adversarial_images_stay_near_and_are_taken_for_the_class(bench, ask, drawn):
    case = ask.cases()[0]
    moved, epsilon = bench.figures_photographs._attacked(ask, case, 1)
    values = [ask.classifier.values_of(own) for own in (case.image, moved.image)]
    assert 0 < float((values[0] - values[1]).abs().max()) <= epsilon / 255 + 1e-5
    assert ask.probability(moved.image, 1) > ask.probability(case.image, 1)
    assert ask.label(moved.target) == "two" or epsilon == 16
    bench.figures_photographs.figure_4(ask)
    assert drawn[0][1][:2] == ["natural", f"moved by {epsilon}/255"]
    with pytest.raises(ValueError, match="taken for one as they are"):
        bench.figures_photographs.figure_4(replace(ask, wanted="one"))


def test_figure_6_takes_the_least_sure(bench, ask, drawn):
    bench.figures_photographs.figure_6(ask)
    unsure = min(ask.cases(), key=lambda case: case.probability)
    assert drawn[0][1] == [ask.named(unsure)]


# ------------------------------------------------------------------------------------------- films

VIEW = 32
TEXT = slice(2, 8), slice(4, 16)  # rows and columns of the marker, bright on a dark film


class Reader(nn.Module):
    """COVID-19 where the marker's place is brighter than what surrounds it, else normal; never pneumonia."""

    classes = ["normal", "pneumonia", "COVID-19"]
    view = ModelView(VIEW)

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(1, 1, 1)
        with torch.no_grad():
            self.features.weight.fill_(1)
            self.features.bias.fill_(0)

    def forward(self, x):
        x = self.features(x)
        bright = 20 * (x[:, 0, TEXT[0], TEXT[1]].mean((1, 2)) - x[:, 0, 12:].mean((1, 2)) - 0.4)
        return torch.stack([torch.zeros_like(bright), torch.full_like(bright, -9.0), bright], 1)


@pytest.fixture
def run(bench, monkeypatch, tmp_path):
    """Six test films: three COVID-19 with a marker, two pneumonia (one with a marker), one normal without text."""
    films = [("c0", "COVID-19", 1), ("c1", "COVID-19", 1), ("c2", "COVID-19", 1), ("p0", "pneumonia", 1),
             ("p1", "pneumonia", 0), ("n0", "normal", 0)]  # fmt: skip
    views = np.full((len(films), VIEW, VIEW), 40, np.uint8)
    for view, (_, _, marked) in zip(views, films, strict=True):
        if marked:
            view[TEXT] = 250
    manifest = pd.DataFrame([{"image_id": name, "label": label, "split": "test", "width": VIEW, "height": VIEW,
                              "path": f"test/{name}.png"} for name, label, _ in films])  # fmt: skip
    box = np.array([[TEXT[1].start, TEXT[0].start, TEXT[1].stop, TEXT[0].stop]])
    boxes = {name: box for name, label, _ in films if label != "normal"}
    store = SimpleNamespace(path=lambda name: tmp_path, manifest=lambda: manifest, views=lambda: views,
                            boxes=lambda kind: boxes if kind == "text" else {})  # fmt: skip
    monkeypatch.setattr(bench.figures_films, "Store", lambda folder: store)
    monkeypatch.setattr(bench.figures_films, "load_checkpoint", lambda folder: Reader())
    return bench.figures_films.Request(tmp_path, tmp_path / "figure.png", count=2)


def test_figure_12_counts_the_films_whose_text_alone_makes_the_class(bench, run, drawn):
    bench.figures_films.figure_12(run)
    rows, names, heading = drawn[0]
    assert "COVID-19: 3 of 3; pneumonia: 1 of 2" in heading
    assert names == ["a) COVID-19"] * 2 + ["b) pneumonia"] * 2
    assert [row[1].title.split()[1] for row in rows] == ["normal"] * 4
    assert [row[2].title.split()[1] for row in rows] == ["COVID-19", "COVID-19", "COVID-19", "normal"]
    assert rows[2][0].title.startswith("COVID-19")  # the marked pneumonia, shown as the network says it


def test_figure_5_inserts_the_share_that_it_names(bench, run, drawn):
    bench.figures_films.figure_5(run)
    rows, names, _ = drawn[0]
    assert len(rows) == 2 and set(names) <= {"c0", "c1", "c2"}
    for film, cam, heat, shown in rows:
        blurry = (blurred(torch.from_numpy(film.image)[None, None] / 255)[0, 0] * 255).numpy()
        changed = np.abs(shown.image - blurry) > 1
        assert changed.mean() == pytest.approx(0.06, abs=0.02)
        assert film.boxes.tolist() == [[4, 2, 16, 8]] and cam.title == "Grad-CAM" and "32 x 32" in heat.title


def test_figure_11_finds_the_smallest_shares(bench, run, drawn):
    """The captions hold: inserted it is the class, deleted it is not; at the share before, it was not so."""
    bench.figures_films.figure_11(run)
    for row in drawn[0][0]:
        inserted, deleted = row[2], row[3]
        assert inserted.caption.startswith("COVID-19") and inserted.title.startswith("inserted, PR ")
        assert deleted.caption.startswith("COVID-19") and deleted.caption.endswith(", normal")
    shares = bench.figures_films.SHARES
    film, saliency = run.on_text()[0]
    for place, wanted in ((0, True), (1, False)):
        share, _ = bench.figures_films._smallest(run, film, saliency, place, wanted)
        if share > shares[0]:
            before = shares[shares.index(share) - 1]
            image = bench.figures_films.insertion_deletion_images(film.image, blurred(film.image), saliency, before)
            assert (run.say(image[place])[0] == "COVID-19") != wanted


def test_a_class_that_is_not_there_is_named(bench, run):
    with pytest.raises(ValueError, match="--class measles: expected one of normal, pneumonia, COVID-19"):
        bench.figures_films.Request(run.run, run.out, class_name="measles")


# ------------------------------------------------------------------------------------------- labels


def test_figure_3_with_fashion_mnist_files_and_without(bench, drawn, monkeypatch, tmp_path, capsys):
    labels = bench.figures_labels
    monkeypatch.setattr(labels, "trained", lambda images, own, classes, epochs, seed: (
        labels.small_network(images.shape[-1], classes).eval(), 1.0))  # fmt: skip
    options = {"igos_pp": {"iterations": 1}}
    ask = labels.Request(tmp_path / "figure.png", tmp_path, images=12, mask_size=8, options=options)
    labels.figure_3(ask)
    assert "no FashionMNIST" in capsys.readouterr().out
    assert len(drawn[0][0]) == 3 and len(drawn[0][0][0]) == 3 and "drawn X-rays" in drawn[0][2]
    _write_fashion(tmp_path)
    images, own, classes, what = labels.labelled(ask)
    assert what == "Fashion-MNIST" and images.shape == (12, 1, 28, 28) and classes[9] == "Ankle boot"
    assert own.tolist() == [number % 10 for number in range(12)]
    assert torch.equal((images[3] * 255).round(), torch.full((1, 28, 28), 3.0))


def _write_fashion(root):
    """FashionMNIST's four files as torchvision keeps them, 20 images each: number k is filled with k."""
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        pixels = np.repeat(np.arange(20, dtype=np.uint8), 28 * 28).tobytes()
        header = b"".join(int(value).to_bytes(4, "big") for value in (0x803, 20, 28, 28))
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + pixels)
        header = b"".join(int(value).to_bytes(4, "big") for value in (0x801, 20))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(header + bytes(number % 10 for number in range(20)))


def test_training_stops_when_every_label_is_known(bench):
    """Bright and dark images are told apart; labels without rule are learned by heart only with epochs."""
    images = torch.cat([torch.full((8, 1, 28, 28), value) for value in (0.1, 0.9)])
    images += 0.05 * torch.rand(images.shape, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(16) // 8
    model, accuracy = bench.figures_labels.trained(images, labels, 2, 60, 0)
    assert accuracy == 1 and bool((model(images).argmax(1) == labels).all()) and not model.training


# ------------------------------------------------------------------------------------------- the command


def test_command_line(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(bench.figures, "load_classifier", lambda *own: tiny_classifier(bench.networks))
    photos = write_photographs(tmp_path / "photos")
    line = ["--images", str(photos), "--names", "photo-1.png", "--set", "igos_pp.iterations=1", "--out"]
    bench.figures.main(["--figure", "10", *line, str(tmp_path / "ten.png")])
    assert (tmp_path / "ten.png").stat().st_size > 1000
    for wrong, said in ((["--figure", "2", "--out", "a.jpg"], "ending in .png"),
                        (["--figure", "2", "--out", "a.png"], "expected --images"),
                        (["--figure", "5", "--out", "a.png"], "expected --run"),
                        (["--figure", "2", *line[:2], "--names", "no.png", "--out", "a.png"], "no such image")):
        with pytest.raises(ValueError, match=said):
            bench.figures.main(wrong)
