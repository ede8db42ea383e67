"""CheXpert, MIMIC-CXR, Montgomery and covid_cxr on small trees in their published layouts."""

import numpy as np
import pytest
from helpers.trees import records, write_csv, write_dicom, write_image, write_xlsx

from fairjax import datasets
from fairjax.datasets.splits import split
from fairjax.utils.errors import UserError

FINDINGS = "Enlarged Cardiomediastinum|Cardiomegaly|Lung Opacity|Support Devices"


@pytest.fixture
def chexpert(tmp_path):
    rows = records(
        f"Path|Sex|Age|Frontal/Lateral|AP/PA|No Finding|{FINDINGS}",
        "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg|Female|68|Frontal|AP|1.0||||1.0",
        "CheXpert-v1.0-small/train/patient00002/study2/view1_frontal.jpg|Female|87|Frontal|AP|||-1.0|1.0|",
        "CheXpert-v1.0-small/train/patient00002/study2/view2_lateral.jpg|Female|87|Lateral||-1.0|||1.0|",
        "CheXpert-v1.0-small/train/patient00003/study1/view1_frontal.jpg|Male|41|Frontal|PA|0.0|0.0|||",
        "CheXpert-v1.0-small/train/patient00004/study1/view1_frontal.jpg|Unknown|0|Frontal|AP|1.0||||",
        "CheXpert-v1.0-small/train/patient00005/study1/view1_frontal.jpg|Male|60|Frontal|AP|||||",
    )
    write_csv(tmp_path / "train.csv", rows)
    for i, row in enumerate(rows):
        write_image(tmp_path / row["Path"], i)
    people = [
        ["PATIENT", "PRIMARY_RACE", "GENDER", "AGE_AT_CXR", "ETHNICITY"],
        ["patient00001", "White, non-Hispanic", "Female", 68, "Not Hispanic"],
        ["patient00002", "Black or African American", "Female", 87, None],
        ["patient00003", "Race and Ethnicity Unknown", "Male", 41, None],
        ["patient00004", "Unknown", "Unknown", 0, None],
        ["patient00099", "Asian, non-Hispanic", "Male", 50, None],
    ]
    write_xlsx(tmp_path / "CHEXPERT DEMO.xlsx", people, sheet="CheXpert Demo 11-13")
    return tmp_path


@pytest.mark.row("dataset", "chexpert")
def test_chexpert(chexpert):
    data = datasets.load("CheXpert", chexpert)
    assert data.name == "chexpert"
    assert data.labels.tolist() == [1, 0, 0, 0, 1, 0]  # no finding; -1 and blank are not positive
    assert data.patients().tolist() == [0, 1, 1, 2, 3, 4]
    assert data.groups("sex")[0].tolist() == [0, 0, 0, 1, -1, 1]
    assert data.groups("age")[0].tolist() == [1, 1, 1, 0, 0, 1]
    assert data.groups("race") == (
        pytest.approx(np.array([0, 1, 1, -1, -1, -1])),
        ["white", "non-white"],
    )
    assert data.read(data.table["image"][3]).mean() == 3


def test_chexpert_without_the_demographics_has_no_race(chexpert):
    (chexpert / "CHEXPERT DEMO.xlsx").unlink()
    data = datasets.load("chexpert", chexpert)
    assert data.attributes == ["sex", "age"]
    assert data.info["absent"] == {"race": "CHEXPERT DEMO.xlsx"}


def test_a_race_that_is_not_named_is_refused(chexpert):
    people = [["PATIENT", "PRIMARY_RACE"], ["patient00001", "Martian"], ["patient00002", "White"]]
    write_xlsx(chexpert / "CHEXPERT DEMO.xlsx", people, sheet="CheXpert Demo 11-13")
    with pytest.raises(UserError, match=r"'PRIMARY_RACE' holds 'Martian' \(1 row\)"):
        datasets.load("chexpert", chexpert)
    write_xlsx(chexpert / "CHEXPERT DEMO.xlsx", [*people, people[1]], sheet="CheXpert Demo 11-13")
    with pytest.raises(UserError, match=r"'patient00001' \(1 row\) has more than one row"):
        datasets.load("chexpert", chexpert)
    write_xlsx(chexpert / "CHEXPERT DEMO.xlsx", people, sheet="Sheet1")
    with pytest.raises(UserError, match="has no sheet 'CheXpert Demo 11-13'"):
        datasets.load("chexpert", chexpert)


@pytest.fixture
def mimic(tmp_path):
    metadata = records(
        "dicom_id|subject_id|study_id|PerformedProcedureStepDescription|ViewPosition|Rows|Columns",
        "aa-1|10000032|50414267|CHEST (PA AND LAT)|PA|3056|2544",
        "aa-2|10000032|50414267|CHEST (PA AND LAT)|LATERAL|3056|2544",
        "bb-1|10000764|57375967|CHEST (PORTABLE AP)|AP|3056|2544",
        "cc-1|11000764|57375968|CHEST (PORTABLE AP)|AP|3056|2544",
        "dd-1|11000765|57375969|CHEST (PORTABLE AP)|AP|3056|2544",
    )
    write_csv(tmp_path / "mimic-cxr-2.0.0-metadata.csv", metadata)
    findings = records(
        "subject_id|study_id|Atelectasis|No Finding|Support Devices",
        "10000032|50414267||1.0|",
        "10000764|57375967|1.0||",
        "11000764|57375968|||1.0",
    )
    write_csv(tmp_path / "mimic-cxr-2.0.0-chexpert.csv", findings)
    people = records(
        "subject_id|gender|anchor_age|dod", "10000032|F|52|", "10000764|M|86|", "11000764|M|60|"
    )
    write_csv(tmp_path / "patients.csv", people)
    admissions = records(
        "subject_id|hadm_id|insurance|race",
        "10000032|1|Other|UNKNOWN",
        "10000032|2|Other|WHITE - RUSSIAN",
        "10000032|3|Other|BLACK/AFRICAN AMERICAN",
        "10000764|4|Medicare|UNABLE TO OBTAIN",
        "10000764|5|Medicare|PATIENT DECLINED TO ANSWER",
        "11000764|6|Medicare|ASIAN - CHINESE",
    )
    write_csv(tmp_path / "admissions.csv", admissions)
    for row in metadata[:3]:
        folder = (
            tmp_path
            / "files"
            / f"p{row['subject_id'][:2]}"
            / f"p{row['subject_id']}"
            / f"s{row['study_id']}"
        )
        write_image(folder / f"{row['dicom_id']}.jpg", 7)
    folder = tmp_path / "files" / "p11" / "p11000764" / "s57375968"
    ramp = np.arange(24, dtype=np.uint16).reshape(4, 6)
    write_dicom(folder / "cc-1.dcm", ramp, PhotometricInterpretation="MONOCHROME1")
    return tmp_path


@pytest.mark.row("dataset", "mimic_cxr")
def test_mimic_cxr(mimic):
    data = datasets.load("mimic_cxr", mimic)
    assert data.labels.tolist() == [1, 1, 0, 0, 0]
    assert data.patients().tolist() == [0, 0, 1, 2, 3]
    assert data.groups("sex")[0].tolist() == [
        0,
        0,
        1,
        1,
        -1,
    ]  # the last has no row among the patients
    assert data.groups("age")[0].tolist() == [0, 0, 1, 1, -1]
    assert data.groups("race")[0].tolist() == [0, 0, -1, 1, -1]  # the first admission that tells
    assert data.table["image"][0] == "files/p10/p10000032/s50414267/aa-1.jpg"
    assert data.table["image"][3].endswith("cc-1.dcm")
    pixels = data.read(data.table["image"][3])
    assert (pixels[0, 0, 0], pixels[-1, -1, 0]) == (255, 0)  # MONOCHROME1: the least value is white


@pytest.fixture
def montgomery(tmp_path):
    texts = {
        "MCUCXR_0001_0": "Patient's Sex: F \nPatient's Age: 027Y\nnormal\n",
        "MCUCXR_0002_0": "Patient's Sex: M \nPatient's Age: 060Y\nnormal\n",
        "MCUCXR_0104_1": "Patient's Sex: M \nPatient's Age: 008Y\nimproved bilateral infiltrates\n",
        "MCUCXR_0108_1": "Patient's Age: 061Y\nno record of sex\n",
    }
    for i, (stem, text) in enumerate(texts.items()):
        path = tmp_path / "ClinicalReadings" / f"{stem}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        write_image(tmp_path / "CXR_png" / f"{stem}.png", i)
        for side, columns in (("leftMask", slice(4, 6)), ("rightMask", slice(0, 2))):
            mask = np.zeros((4, 6), np.uint8)
            mask[:, columns] = 255
            if i < 3 or side == "leftMask":
                write_image(tmp_path / "ManualMask" / side / f"{stem}.png", mask)
    return tmp_path


@pytest.mark.row("dataset", "montgomery")
def test_montgomery(montgomery):
    data = datasets.load("montgomery", montgomery)
    assert data.labels.tolist() == [0, 0, 1, 1]
    assert data.groups("sex")[0].tolist() == [0, 1, 1, -1]
    assert data.groups("age")[0].tolist() == [0, 1, 0, 1]
    assert data.mask_classes == ("left lung", "right lung")
    assert data.has_mask.tolist() == [True, True, True, False]  # one lung is no mask
    assert data.read_mask("CXR_png/MCUCXR_0001_0.png")[0].tolist() == [2, 2, 0, 0, 1, 1]
    (montgomery / "ClinicalReadings" / "MCUCXR_0001_0.txt").write_text(
        "Patient's Sex: X\nPatient's Age: 27Y"
    )
    with pytest.raises(UserError, match=r"'sex' holds 'X' \(1 row\)"):
        datasets.load("montgomery", montgomery)


def test_no_patient_of_chexpert_stands_on_two_sides(tmp_path):
    rows = [
        {
            "Path": f"train/patient{i // 3:05d}/study1/view{i}.jpg",
            "Sex": ("Male", "Female")[i % 2],
            "Age": 20 + i % 60,
            "No Finding": i % 2,
        }
        for i in range(300)
    ]
    write_csv(tmp_path / "train.csv", rows)
    write_image(tmp_path / rows[0]["Path"])
    data = datasets.load("chexpert", tmp_path)
    for method in ("stratified", "hash"):
        sides = (
            data.table.assign(side=split(data, method=method)).groupby("patient")["side"].nunique()
        )
        assert sides.max() == 1
