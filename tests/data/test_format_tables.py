"""Tables of labels: which column is what, which file a row means, and the same table written back."""

import csv
import io
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from covidx_fixture import picture
from formats_fixture import dicom, make_table, write_csv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xray_debug.config import PrepareConfig
from xray_debug.data.check import unusable
from xray_debug.data.formats import LayoutError, build_manifest, check_dataset, find_format, read_rows
from xray_debug.data.formats.layout import Layout
from xray_debug.data.formats.places import Finder
from xray_debug.data.formats.table import Table, parse_columns
from xray_debug.data.formats.tables import read_table, write_part
from xray_debug.data.images import write_image

HEAD = ["path", "label", "patient"]


@pytest.fixture
def folder(tmp_path):
    """a.png, b.png and deep/c.png."""
    (tmp_path / "deep").mkdir()
    for number, name in enumerate(("a.png", "b.png", "deep/c.png")):
        write_image(tmp_path / name, picture(number))
    return tmp_path


def rows_of(folder: Path, *rows: list[str], head=HEAD, name="labels.csv", **options) -> list[dict]:
    return read_rows(write_csv(folder / name, [head, *rows], "\t" if name.endswith("tsv") else ","),
                     PrepareConfig(**options))  # fmt: skip


def problems(rows: list[dict]) -> list[str]:
    return [row["problem"] for row in rows]


def test_a_table_gives_what_it_says_and_further_columns_are_attributes(tmp_path):
    root = make_table(tmp_path / "d")
    row = read_rows(root / "labels.csv")[1]
    assert row["image_id"] == "train-001.png" and row["path"] == "images/train-001.png"
    assert (row["label"], row["patient_id"], row["source"], row["split"]) == ("normal", "train 0", "site 1", "train")
    assert row["attr_device"] == "1" and not any(name == "attr_label" for name in row)
    assert find_format(root) == "table" == find_format(root / "labels.csv")
    again = build_manifest(root), build_manifest(root / "labels.csv")
    pd.testing.assert_frame_equal(*again)


@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "labels.parquet", "labels.pq", "semicolons.csv",
                                  "bom.csv", "utf16.csv"])  # fmt: skip
def test_every_kind_of_table_says_the_same(folder, name):
    rows = [["a.png", "yes, it is", "p 1"], ["deep/c.png", "no", "p;2"]]
    if name.endswith((".parquet", ".pq")):
        pd.DataFrame(rows, columns=HEAD).to_parquet(folder / name)
    else:
        delimiter = "\t" if name == "labels.tsv" else ";" if name == "semicolons.csv" else ","
        text = write_csv(folder / name, [HEAD, *rows], delimiter).read_text(encoding="utf-8")
        encoding = {"bom.csv": "utf-8-sig", "utf16.csv": "utf-16"}.get(name, "utf-8")
        (folder / name).write_bytes(text.encode(encoding))
    found = read_rows(folder / name)
    assert [(r["image_id"], r["label"], r["patient_id"], r["problem"]) for r in found] == [
        ("a.png", "yes, it is", "p 1", ""), ("c.png", "no", "p;2", "")]


def test_several_findings_are_one_label_and_the_others_attributes(folder):
    head, rows = ["path", "Edema", "Effusion", "sex"], [["a.png", "1", "0", "F"], ["b.png", "0.0", "1.0", "M"],
                                                         ["deep/c.png", "", "1", "M"]]  # fmt: skip
    options = {"columns": {"path": "path", "labels": "Edema+Effusion"}}
    found = rows_of(folder, *rows, head=head, finding="edema", **options)
    assert [row["label"] for row in found] == ["Edema", "no Edema", ""]
    assert problems(found) == ["", "", "label: Edema is empty, expected 1 or 0"]
    assert [(row["attr_Effusion"], row["attr_sex"]) for row in found] == [("0", "F"), ("1.0", "M"), ("1", "M")]
    assert "attr_Edema" not in found[0]
    for finding in (None, "Oedema"):
        with pytest.raises(LayoutError, match=r"several findings \(Edema, Effusion\), expected one .*finding=Edema"):
            rows_of(folder, *rows, head=head, finding=finding, **options)


def test_a_finding_is_asked_for_among_several_in_one_cell(folder):
    found = rows_of(folder, ["a.png", "Edema|Mass", "1"], ["b.png", "No Finding", "2"], finding="Mass")
    assert [row["label"] for row in found] == ["Mass", "no Mass"]


@pytest.mark.parametrize(("written", "path"), [
    ("./a.png", "a.png"), ("deep\\c.png", "deep/c.png"), ("c.png", "deep/c.png"), ("c", "deep/c.png"),
    ("/somewhere/else/deep/c.png", None), ("set-v1/deep/c.png", "deep/c.png"), ("deep/../a.png", "a.png"),
    (" a.png ", "a.png"),
])  # fmt: skip
def test_a_path_is_found_as_it_stands_or_by_its_name(folder, written, path):
    (row,) = rows_of(folder, [written, "x", "1"])
    assert row["path"] == (path or "") and bool(row["problem"]) == (path is None)


def test_an_absolute_path_inside_the_folder_is_taken(folder):
    (row,) = rows_of(folder, [str(folder / "deep/c.png"), "x", "1"])
    assert row["path"] == "deep/c.png" and not row["problem"]


def test_of_several_files_of_a_name_that_in_the_same_folder_is_meant(folder):
    for place in ("one/deep", "two/deep"):
        (folder / place).mkdir(parents=True)
        write_image(folder / place / "x.png", picture(7))
    one, unclear = rows_of(folder, ["v/two/deep/x.png", "x", "1"], ["x.png", "x", "1"])
    assert one["path"] == "two/deep/x.png" and one["image_id"] == "x.png"
    assert unclear["problem"] == (f"missing: no file x.png in {folder.name}/, and several fit: one/deep/x.png, "
                                  "two/deep/x.png")  # fmt: skip


@pytest.mark.parametrize(("files", "written", "paths"), [
    ("patient7/study2/view.png", ["patient7/study2/view.png", "patient9/study2/view.png"],
     ["patient7/study2/view.png", ""]),  # a partial download
    ("patient7/study2/view.png", ["set/patient9/study2/view.png", "set/patient7/study2/view.png"],
     ["", "patient7/study2/view.png"]),
    ("s1/IM0001 s2/IM0002", ["s3/IM0001", "s2/IM0002"], ["", "s2/IM0002"]),
    ("deep/c.png", ["c.png", "deep/c.png"], ["", "deep/c.png"]),  # named as it stands by a later row
    ("deep/c.png", ["c", "old/deep/c.png"], ["", "deep/c.png"]),
    ("view.png", ["p7/view.png", "p9/view.png"], ["", ""]),  # of one of them, but of which?
    ("view.png", ["p7/view.png", "./p7/view.png"], ["view.png", "view.png"]),
    ("p7/c.png p9/c.tif", ["p9/c", "p7/c"], ["p9/c.tif", "p7/c.png"]),
    ("p1/s/x.png p2/s/x.png x.png", ["s/x.png", "v/p2/s/x.png", "other/x.png"], ["", "p2/s/x.png", "x.png"]),
])  # fmt: skip
def test_a_missing_film_takes_no_other_patients_film_of_that_name(tmp_path, files, written, paths):
    for number, name in enumerate(files.split(" ")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(dicom(picture(number, (8, 8)), f"1.2.{number + 1}"))
    assert [found for found, _ in Finder(tmp_path)(written).values()] == paths
    assert all(problem.startswith("missing: no file ") for found, problem in Finder(tmp_path)(written).values()
               if not found)  # fmt: skip


def test_bad_rows_are_named_and_the_rest_is_read(folder):
    outside = folder.parent / "outside.png"
    write_image(outside, picture(9))
    os.symlink(outside, folder / "link.png")
    table = folder / "labels.csv"
    table.write_text("path,label,patient,split\na.png,x,1,train\nnone.png,x,1,train\n../outside.png,x,1,train\n"
                     "link.png,x,1,train\nb.png,,1,train\ndeep/c.png,x,1,somewhen\n,x,1,train\nb.png,x\na.png,y,1,test\n"
                     "\n\0.png,x,1,train\n")  # fmt: skip
    found = {row["line"]: row["problem"] for row in read_rows(table)}
    assert found == {
        2: "", 3: f"missing: no file none.png in {folder.name}/", 4: f"outside: ../outside.png leads out of {folder}",
        5: "outside: the link leaves the dataset", 6: "label: none in column label, expected a class",
        7: "label: split 'somewhen', expected train, val or test", 8: "missing: no path, expected that of an image",
        9: "label: 2 cells, expected 4 as the header has",
        10: "repeated: named before, labels.csv:2 as x",
        12: f"missing: no file \0.png in {folder.name}/",
    }  # fmt: skip
    assert len(check_dataset(table)) >= 8


@pytest.mark.parametrize(("text", "options", "words"), [
    ("file name,label\na.png,x\n", {}, "no column for the path among file name, label; say which with --columns path="),
    ("path,what\na.png,x\n", {}, "no column for the label among path, what; .* expected for example path,label,patie"),
    ("path,label\na.png,x\n", {"columns": {"label": "dx"}}, "no column 'dx' for the label among path, label; expected"),
    ("path,label\na.png,x\n", {"columns": {"lable": "dx"}}, "prepare.columns: unknown 'lable', expected path, label, "),
    ("path,label,class\na.png,x,y\n", {}, "columns label and class could be the label, expected one; choose with"),
    ("path,label\na.png,x\n", {"columns": {"label": "label", "labels": "A"}}, "both label and labels, expected one"),
    ("path,path,label\na.png,a.png,x\n", {}, "two columns are called 'path', expected each name once"),
    ("", {}, "empty, expected a header such as path,label,patient"),
    ("path,label\na.png,\xff\n", {}, ":2: not UTF-8 text; save the table as CSV in UTF-8"),
    ("path,label\na.png,x\n", {"images": "nowhere"}, "prepare.images: no folder nowhere; expected the one that"),
])  # fmt: skip
def test_a_table_that_cannot_be_used_is_one_sentence(folder, text, options, words):
    table = folder / "labels.csv"
    table.write_bytes(text.encode("latin-1"))
    with pytest.raises(LayoutError, match=words) as error:
        read_rows(table, PrepareConfig(**options))
    assert "\n" not in str(error.value)
    assert [finding.kind for finding in check_dataset(table, PrepareConfig(**options))] == ["layout"]


def test_a_folder_with_several_tables_wants_one_named(folder):
    for name in ("one.csv", "two.csv"):
        write_csv(folder / name, [HEAD, ["a.png", "x", "1"]])
    with pytest.raises(LayoutError, match=r"found several \(one.csv, two.csv\); name it with --data TABLE --images"):
        read_rows(folder)
    (folder / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(LayoutError, match="not a readable Parquet table"):
        read_rows(folder / "broken.parquet")


def test_without_a_test_it_is_cut_by_patient_in_the_share_that_is_asked_for(tmp_path):
    rows = [HEAD]
    for i in range(40):
        write_image(tmp_path / f"{i}.png", picture(i, (16, 16)))
        rows.append([f"{i}.png", "ab"[i // 3 % 2], f"p{i // 3}"])
    table = write_csv(tmp_path / "labels.csv", rows)
    frame = build_manifest(table, PrepareConfig(test_fraction=0.3, val_fraction=0.25))
    counts = frame["split"].value_counts()
    assert 9 <= counts["test"] <= 15 and 4 <= counts["val"] <= 10 and unusable(frame) == []
    assert (frame.groupby("patient_id")["split"].nunique() == 1).all()
    assert (frame["test_set"] == np.where(frame["split"] == "test", "test", "")).all()
    assert not frame["shared_patient"].any()


def test_classes_may_have_any_names(folder):
    found = rows_of(folder, ["a.png", "positive", "1"], ["b.png", "COVID-19", "2"], ["deep/c.png", "ß, 胸 \"x\"", "3"])
    assert [row["label"] for row in found] == ["positive", "COVID-19", "ß, 胸 \"x\""] and not any(problems(found))
    assert not [f for f in check_dataset(folder / "labels.csv") if "mix several sets" in f.message]


def test_what_dicom_tags_say_is_taken_where_the_table_says_nothing(tmp_path):
    for number in range(2):
        (tmp_path / f"{number}").write_bytes(dicom(picture(number), f"1.2.{number}", PatientID=f"P{number}",
                                                   PatientAge="007M", PatientSex="F", ViewPosition="PA"))  # fmt: skip
    table = write_csv(tmp_path / "t.csv", [["path", "label", "sex"], ["0", "x", "male"], ["1", "y", ""]])
    found = read_rows(table)
    assert [(row["patient_id"], row["attr_sex"], row["attr_age"], row["attr_view_position"]) for row in found] == [
        ("P0", "male", "0-9", "PA"), ("P1", "F", "0-9", "PA")]


@pytest.mark.parametrize(("text", "columns"), [
    ("path=file,label=what", {"path": "file", "label": "what"}),
    ('"path=a, b",label=c=d', {"path": "a, b", "label": "c=d"}),
    ("labels=A+B C", {"labels": "A+B C"}),
])  # fmt: skip
def test_columns_as_they_are_written(text, columns):
    assert parse_columns(text) == columns


@pytest.mark.parametrize("text", ["path", "path=", "=x", "path=a,,label=b"])
def test_columns_that_are_none(text):
    with pytest.raises(LayoutError, match="--columns .*expected path=NAME"):
        parse_columns(text) if text != "=x" else parse_columns("path=a,x")


NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\\\0"), min_size=1, max_size=12).filter(
    lambda name: name.strip() == name and name not in (".", "..") and not name.startswith("."))
CELLS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=12)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(NAMES, min_size=1, max_size=4, unique_by=str.casefold),
       cells=st.lists(CELLS, min_size=4, max_size=4))  # fmt: skip
def test_names_with_anything_in_them_are_read_and_written_back(names, cells):
    """Commas, quotes, line ends, any script: each row finds its file, and the table comes back cell by cell."""
    with tempfile.TemporaryDirectory() as folder:
        read_and_write(Path(folder), names, cells)


def read_and_write(root, names, cells):
    head = ["path", "label", "pa,tient \"1\"\n", "more"]
    rows = [[f"{name}.png", f"x{cell}".strip(), cell, cell] for name, cell in zip(names, cells, strict=False)]
    for name in names:
        (root / f"{name}.png").write_bytes(b"x")
    table = write_csv(root / "labels.csv", [head, *rows])
    found = read_rows(table)
    assert [(row["path"], row["label"], row["attr_more"]) for row in found] == [
        (path, label, more.strip()) for path, label, _, more in rows]
    frame = pd.DataFrame(found).assign(place=[str(Path(row["path"]).with_suffix(".tif")) for row in found])
    layout = Layout(Table(), table, PrepareConfig())
    layout.write(root / "out", frame)
    written = list(csv.reader(io.StringIO((root / "out/labels.csv").read_bytes().decode(), newline="")))
    assert written == [head, *[[path[:-3] + "tif", *others] for path, *others in rows]]


@pytest.mark.parametrize(("written", "changed"), [
    ("deep/c.png", "deep/c.tif"), ("deep\\c.png", "deep\\c.tif"), (" c.png", "c.tif"), ("c", "c"),
    ("set/deep/c.png", "set/deep/c.tif"), ("deep/../deep/c.png", "deep/c.tif"), ("ABSOLUTE", "deep/c.tif"),
])  # fmt: skip
def test_a_path_whose_file_has_another_suffix_now_leads_to_it(folder, written, changed):
    """As it was written, but for the suffix; read again it is found in the cleaned dataset."""
    written = str(folder / "deep/c.png") if written == "ABSOLUTE" else written
    table = write_csv(folder / "labels.csv", [HEAD, [written, "x", "1"]])
    frame = pd.DataFrame(read_rows(table)).assign(place="deep/c.tif")
    Layout(Table(), table, PrepareConfig()).write(folder / "out", frame)
    assert read_table(folder / "out/labels.csv").rows == [[changed, "x", "1"]]
    (folder / "out/deep").mkdir()
    write_image(folder / "out/deep/c.tif", picture(2))
    assert [row["path"] for row in read_rows(folder / "out/labels.csv")] == ["deep/c.tif"]


def test_rows_that_are_not_in_the_cleaned_dataset_are_not_in_its_table(folder):
    pd.DataFrame({"path": ["a.png", "none.png", "c"], "label": ["x", "y", "z"], "age": [1.5, None, 3]}).to_parquet(
        folder / "t.parquet")
    rows = [row for row in read_rows(folder / "t.parquet") if not row["problem"]]
    frame = pd.DataFrame(rows).assign(place=["a.png", "deep/c.png"])
    Layout(Table(), folder / "t.parquet", PrepareConfig()).write(folder / "out", frame)
    again = pd.read_parquet(folder / "out/t.parquet")
    assert again.to_dict("records") == [{"path": "a.png", "label": "x", "age": 1.5},
                                        {"path": "c", "label": "z", "age": 3}]
    assert read_table(folder / "out/t.parquet").rows == [["a.png", "x", "1.5"], ["c", "z", "3"]]


@pytest.mark.parametrize("numbers", [[1, 2, 3], [1.0, 2.0, 3.0]])
def test_a_parquet_path_column_of_numbers_comes_back(tmp_path, numbers):
    """Unchanged cells are their own values; one that must say a text makes its column one of texts."""
    for name in ("1.png", "two/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_image(tmp_path / name, picture(1))
    table, inf = tmp_path / "t.parquet", float("inf")
    pd.DataFrame({"path": numbers, "label": list("xyz"), "dose": [inf, -inf, 1]}).to_parquet(table)
    rows = [row for row in read_rows(table) if not row["problem"]]
    assert [(row["path"], row["attr_dose"]) for row in rows] == [("1.png", "inf"), ("two/2.png", "-inf")]
    frame = pd.DataFrame(rows).assign(place=["1.tif", "two/2.png"])
    Layout(Table(), table, PrepareConfig()).write(tmp_path / "out", frame)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out/t.parquet"), pd.read_parquet(table)[:2])
    write_part(tmp_path / "texts.parquet", read_table(table), [0, 2], "path", {0: "1", 2: "3.tif"})
    assert pd.read_parquet(tmp_path / "texts.parquet").to_dict("list") == {
        "path": ["1", "3.tif"], "label": ["x", "z"], "dose": [inf, 1]}  # fmt: skip
    write_part(tmp_path / "none.parquet", read_table(table), [], "path", {})
    assert pq.read_table(tmp_path / "none.parquet").schema.field("path") == pq.read_schema(table).field("path")


@pytest.mark.parametrize("text", ["", "\n\n", '"', "path,label\n\"a,b", "path,label\n" + "x" * 200_000, "\ufeff",
                                  "path"])  # fmt: skip
def test_any_text_is_rows_or_one_sentence(folder, text):
    (folder / "t.csv").write_text(text, encoding="utf-8")
    try:
        assert all(row["problem"] for row in read_rows(folder / "t.csv"))
    except LayoutError as error:
        assert str(folder / "t.csv") in str(error)
