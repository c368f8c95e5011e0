"""Public collections by their published tables, each in a small synthetic one."""

from pathlib import Path

import pytest
from covidx_fixture import picture
from formats_fixture import dicom

from xray_debug.config import PrepareConfig
from xray_debug.data.check import manifest_findings
from xray_debug.data.formats import LayoutError, build_manifest, check_dataset, read_rows
from xray_debug.data.formats.public import age_band
from xray_debug.data.images import write_image


def collection(root: Path, table: str, text: str, *images: str) -> Path:
    root.mkdir(exist_ok=True)
    (root / table).write_text(text)
    for number, name in enumerate(images):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if Path(name).suffix in (".dcm", ".dicom"):
            (root / name).write_bytes(dicom(picture(number), f"1.2.{number + 1}", PatientSex="F", Modality="CR"))
        else:
            write_image(root / name, picture(number))
    return root / table


def of(rows: list[dict], *names: str) -> list[tuple]:
    return [tuple(row[name] for name in names) for row in rows]


COHEN = """patientid,offset,sex,age,finding,RT_PCR_positive,survival,view,modality,date,location,folder,filename,doi,url
2,0,M,65,Pneumonia/Viral/COVID-19,Y,Y,PA,X-ray,"January 22, 2020","Cho Ray Hospital, Vietnam",images,a.jpg,10.1,u
2,3,M,65,Pneumonia/Viral/COVID-19,Y,Y,Axial,CT,2020,Vietnam,images,ct.jpg,10.1,u
3,0,F,4,Pneumonia/Bacterial/Streptococcus,,,L,X-ray,2017,Spain,images,lat.jpg,,u
4,0,F,,Pneumonia/Viral/SARS,,,AP Supine,X-ray,2017,Spain,images,b.png,,u
5,0,,33,No Finding,,,AP,X-ray,2017,Spain,images,c.png,,u
6,0,,33,Tuberculosis,,,AP,X-ray,2017,Spain,images,d.png,,u
7,0,,33,No Finding,,,PA,X-ray,2017,Spain,volumes,e.nii.gz,,u
"""


@pytest.fixture
def cohen(tmp_path):
    return collection(tmp_path / "c", "metadata.csv", COHEN, *(f"images/{name}" for name in (
        "a.jpg", "ct.jpg", "lat.jpg", "b.png", "c.png", "d.png")))  # fmt: skip


def test_covid_chestxray_dataset_has_covidx_classes_and_sets_ct_and_lateral_views_aside(cohen):
    rows = read_rows(cohen.parent)
    assert of(rows, "image_id", "patient_id", "label", "attr_view", "attr_modality", "attr_age") == [
        ("a.jpg", "2", "COVID-19", "PA", "X-ray", "60-69"), ("ct.jpg", "2", "COVID-19", "Axial", "CT", "60-69"),
        ("lat.jpg", "3", "pneumonia", "L", "X-ray", "0-9"), ("b.png", "4", "pneumonia", "AP Supine", "X-ray", ""),
        ("c.png", "5", "normal", "AP", "X-ray", "30-39"), ("d.png", "6", "", "AP", "X-ray", "30-39"),
        ("e.nii.gz", "7", "normal", "PA", "X-ray", "30-39")]  # fmt: skip
    assert [row["problem"].partition(";")[0] for row in rows] == [
        "", "view: CT slice, expected a frontal radiograph", "view: lateral view, expected a frontal radiograph", "",
        "",
        "label: Tuberculosis is neither No Finding nor a pneumonia", "missing: no file e.nii.gz in c/"]  # fmt: skip
    kinds = {finding.kind for finding in manifest_findings(build_manifest(cohen.parent))}
    assert {"view", "label", "missing"} <= kinds


def test_covid_chestxray_dataset_asked_for_one_finding(cohen):
    rows = read_rows(cohen, PrepareConfig(finding="Tuberculosis"))
    assert [row["label"] for row in rows if not row["problem"]] == ["no Tuberculosis"] * 3 + ["Tuberculosis"]


NIH = """Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient {sex},View Position,\
OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]{end}
00000001_000.png,Cardiomegaly,0,1,058Y,M,PA,2682,2749,0.143,0.143,
00000001_001.png,Cardiomegaly|Emphysema,1,1,58,M,AP,2894,2729,0.143,0.143,
00000002_000.png,No Finding,0,2,081Y,F,PA,2500,2048,0.171,0.171,
"""
NIH_IMAGES = ("images_001/images/00000001_000.png", "images_001/images/00000001_001.png",
              "images_002/images/00000002_000.png")  # fmt: skip


@pytest.mark.parametrize(("sex", "end"), [("Gender", ","), ("Sex", "")])
def test_nih_chestxray14_in_both_editions(tmp_path, sex, end):
    table = collection(tmp_path / "n", "Data_Entry_2017.csv", NIH.format(sex=sex, end=end), *NIH_IMAGES)
    rows = read_rows(table.parent)
    assert of(rows, "path", "patient_id", "label", "attr_view", "attr_sex", "attr_age") == [
        (NIH_IMAGES[0], "1", "Cardiomegaly", "PA", "M", "50-59"), (NIH_IMAGES[1], "1", "", "AP", "M", "50-59"),
        (NIH_IMAGES[2], "2", "No Finding", "PA", "F", "80-89")]
    assert rows[1]["problem"] == ("label: several findings (Cardiomegaly, Emphysema); ask for one of them with --set "
                                  "prepare.finding=NAME")  # fmt: skip
    rows = read_rows(table, PrepareConfig(finding="emphysema"))
    assert of(rows, "label", "split", "problem") == [
        ("no emphysema", "", ""), ("emphysema", "", ""), ("no emphysema", "", "")]


def test_nih_has_the_published_test_where_its_list_lies_beside_the_table(tmp_path):
    table = collection(tmp_path / "n", "Data_Entry_2017.csv", NIH.format(sex="Gender", end=","), *NIH_IMAGES)
    (table.parent / "test_list.txt").write_text("00000002_000.png\n")
    rows = read_rows(table, PrepareConfig(finding="Emphysema"))
    assert of(rows, "split", "test_set") == [("train", ""), ("train", ""), ("test", "test")]


CHEXPERT = """Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,\
Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,\
Support Devices
CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,,,,,,,,0.0,,,,1.0
CheXpert-v1.0-small/train/patient00002/study2/view1_frontal.jpg,Female,87,Frontal,AP,,,-1.0,1.0,,-1.0,-1.0,,-1.0,,1.0,,1.0,
CheXpert-v1.0-small/train/patient00002/study1/view2_lateral.jpg,Female,83,Lateral,,,,,1.0,,,-1.0,,,,,,1.0,
"""


def test_chexpert_by_the_finding_that_is_asked_for(tmp_path):
    names = [line.partition(",")[0].partition("/")[2] for line in CHEXPERT.splitlines()[1:]]
    table = collection(tmp_path / "x", "train.csv", CHEXPERT, *names)
    rows = read_rows(table, PrepareConfig(finding="Pleural Effusion"))
    assert of(rows, "path", "patient_id", "label", "attr_view", "attr_age", "attr_Support Devices") == [
        (names[0], "patient00001", "no Pleural Effusion", "AP", "60-69", "1.0"),
        (names[1], "patient00002", "Pleural Effusion", "AP", "80-89", ""),
        (names[2], "patient00002", "no Pleural Effusion", "Lateral", "80-89", "")]
    assert [row["problem"] for row in rows] == ["", "", "view: lateral view, expected a frontal radiograph"]
    assert [row["image_id"] for row in rows] == [names[0], names[1], "view2_lateral.jpg"]
    edema = read_rows(table, PrepareConfig(finding="Edema"))
    assert edema[1]["problem"] == "label: Edema is uncertain (-1)"
    with pytest.raises(LayoutError, match="prepare.finding: expected one of No Finding, Enlarged .*; for example"):
        read_rows(table)
    assert [f.kind for f in check_dataset(table, PrepareConfig(finding="Oedema"))] == ["layout"]


BOXES = """image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max
aa,No finding,14,R11,,,,
aa,No finding,14,R7,,,,
aa,No finding,14,R9,,,,
bb,Cardiomegaly,3,R9,691.0,1375.0,1653.0,1831.0
bb,Aortic enlargement,0,R9,691.0,1375.0,1653.0,1831.0
bb,Cardiomegaly,3,R10,691.0,1375.0,1653.0,1831.0
bb,No finding,14,R8,,,,
"""
IMAGES = """image_id,rad_id,Aortic enlargement,Cardiomegaly,Other diseases,No finding
aa,R11,0,0,0,1
aa,R7,0,1,0,0
aa,R9,0,0,0,1
bb,R9,1,1,0,0
bb,R10,0,1,0,0
bb,R8,0,0,0,1
"""


@pytest.mark.parametrize("text", [BOXES, IMAGES, BOXES.replace("class_id,", "").replace(",14,", ",").replace(",3,", ",")
                                  .replace(",0,R", ",R")], ids=["Kaggle", "images", "PhysioNet"])  # fmt: skip
def test_vindr_cxr_by_the_majority_of_readers(tmp_path, text):
    table = collection(tmp_path / "v", "train.csv", text, "train/aa.dicom", "train/bb.dicom")
    assert of(read_rows(table), "image_id", "path", "label", "attr_sex", "attr_modality") == [
        ("aa.dicom", "train/aa.dicom", "No finding", "F", "CR"), ("bb.dicom", "train/bb.dicom", "finding", "F", "CR")]
    for finding, labels in (("Cardiomegaly", ["no Cardiomegaly", "Cardiomegaly"]),
                            ("Aortic enlargement", ["no Aortic enlargement"] * 2)):  # fmt: skip
        assert [row["label"] for row in read_rows(table, PrepareConfig(finding=finding))] == labels


@pytest.mark.parametrize(("readers", "label"), [
    (("Nodule/Mass", "Pleural effusion", "Pulmonary fibrosis"), "finding"),
    (("No finding", "ILD", "Nodule/Mass"), "finding"),
    (("No finding", "No finding", "ILD"), "No finding"), (("ILD",), "finding"), (("No finding",), "No finding"),
    (("No finding", "ILD"), ""),
])  # fmt: skip
def test_vindr_readers_who_each_name_something_else_do_not_make_a_normal_film(tmp_path, readers, label):
    boxes = "image_id,class_name,rad_id,x_min,y_min,x_max,y_max\n" + "".join(
        f"aa,{name},R{number},,,,\n" for number, name in enumerate(readers))
    names = ["Aortic enlargement", "No finding", *sorted(set(readers) - {"No finding"})]
    images = ",".join(["image_id", "rad_id", *names]) + "\n" + "".join(
        ",".join(["aa", f"R{number}", *(str(int(name == said)) for name in names)]) + "\n"
        for number, said in enumerate(readers))  # fmt: skip
    for text in (boxes, images):
        (row,) = read_rows(collection(tmp_path / "v", "train.csv", text, "aa.dicom"))
        assert row["label"] == label
        assert row["problem"] == ("" if label else "label: 1 of 2 readers name a finding, expected a majority")


def test_rsna_says_nothing_of_other_findings_than_pneumonia(tmp_path):
    table = collection(tmp_path / "r", "t.csv", "patientId,x,y,width,height,Target\np1,,,,,1\n", "p1.dcm")
    with pytest.raises(LayoutError, match="prepare.finding: expected one of pneumonia, got 'Edema'"):
        read_rows(table, PrepareConfig(finding="Edema"))
    assert [row["label"] for row in read_rows(table, PrepareConfig(finding="Pneumonia"))] == ["pneumonia"]


def test_rsna_has_one_image_of_several_boxes(tmp_path):
    text = ("patientId,x,y,width,height,Target\np1,,,,,0\np2,264.0,152.0,213.0,379.0,1\n"
            "p2,562.0,152.0,256.0,453.0,1\np3,,,,,\n")  # fmt: skip
    table = collection(tmp_path / "r", "stage_2_train_labels.csv", text, "stage_2_train_images/p1.dcm",
                       "stage_2_train_images/p2.dcm", "stage_2_train_images/p3.dcm")  # fmt: skip
    rows = read_rows(table.parent)
    assert of(rows, "image_id", "patient_id", "label", "problem") == [
        ("p1.dcm", "p1", "no pneumonia", ""), ("p2.dcm", "p2", "pneumonia", ""),
        ("p3.dcm", "p3", "", "label: pneumonia is empty, expected 1 or 0")]


def test_columns_that_are_named_go_before_a_collection(tmp_path):
    table = collection(tmp_path / "n", "Data_Entry_2017.csv", NIH.format(sex="Gender", end=","), *NIH_IMAGES)
    rows = read_rows(table, PrepareConfig(columns={"path": "Image Index", "label": "Patient Gender"}))
    assert [row["label"] for row in rows] == ["M", "M", "F"] and rows[0]["attr_Finding Labels"] == "Cardiomegaly"


@pytest.mark.parametrize(("text", "band"), [("058Y", "50-59"), ("58", "50-59"), ("100", "100-109"), ("011M", "0-9"),
                                            ("130W", "0-9"), ("5.0", "0-9"), ("", ""), ("old", ""),
                                            ("-3", "")])  # fmt: skip
def test_ages_are_told_in_bands_of_ten_years(text, band):
    assert age_band(text) == band
