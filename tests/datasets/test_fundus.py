"""PAPILA, BRSET, FairVLMed10k, GF3300 and FairSeg on small trees in their published layouts."""

import numpy as np
import pytest
from helpers.trees import records, write_csv, write_image, write_npz, write_xlsx

from fairjax import datasets
from fairjax.datasets.splits import split
from fairjax.utils.errors import UserError

EYES = {
    "od": [["#002", 47, 0, 2], ["#004", 58, 1, 1], ["#005", 60, 0, 0], ["#006", 89, 1, 0]],
    "os": [["#002", 47, 0, 0], ["#004", 58, 1, 1], ["#005", 60, 0, 1], ["#006", 89, 1, 2]],
}


@pytest.fixture(params=["xlsx", "csv", "xlsx with a header in three rows"])
def papila(tmp_path, request):
    header = ["ID", "Age", "Gender", "Diagnosis"]
    for eye, rows in EYES.items():
        path = tmp_path / "ClinicalData" / f"patient_data_{eye}"
        if request.param == "csv":
            write_csv(path.with_suffix(".csv"), [dict(zip(header, row)) for row in rows])
        elif request.param == "xlsx":
            write_xlsx(path.with_suffix(".xlsx"), [header, *rows])
        else:
            write_xlsx(
                path.with_suffix(".xlsx"), [[None, *header[1:]], ["ID"], [None, *header[1:]], *rows]
            )
        for row in rows:
            write_image(
                tmp_path / "FundusImages" / f"RET{row[0][1:]}{eye.upper()}.jpg", 1 + (eye == "os")
            )
    return tmp_path


@pytest.mark.row("dataset", "papila")
def test_papila(papila):
    data = datasets.load("papila", papila)
    assert data.table["image"].str[-9:].tolist() == [
        f"{n}.jpg" for n in ("004OD", "005OD", "006OD", "002OS", "004OS", "005OS")
    ]
    assert data.labels.tolist() == [1, 0, 0, 0, 1, 1]
    assert data.info["dropped"] == 2  # suspects
    assert data.groups("sex") == (pytest.approx(np.array([1, 0, 1, 0, 1, 0])), ["male", "female"])
    assert data.groups("age")[0].tolist() == [0, 1, 1, 0, 0, 1]
    assert data.patients().tolist() == [0, 1, 2, 3, 0, 1]
    assert data.read("FundusImages/RET002OS.jpg").mean() == 2


def test_both_eyes_of_a_patient_stand_on_one_side(tmp_path):
    for eye in ("od", "os"):
        rows = [
            {
                "ID": f"#{i:03d}",
                "Age": 30 + i % 60,
                "Gender": i % 2,
                "Diagnosis": (i + (eye == "os")) % 3,
            }
            for i in range(120)
        ]
        write_csv(tmp_path / "ClinicalData" / f"patient_data_{eye}.csv", rows)
    write_image(tmp_path / "FundusImages" / "RET000OD.jpg")
    data = datasets.load("papila", tmp_path)
    assert data.n_patients == 120
    for method in ("stratified", "hash"):
        sides = (
            data.table.assign(side=split(data, method=method)).groupby("patient")["side"].nunique()
        )
        assert sides.max() == 1


@pytest.mark.row("dataset", "brset")
def test_brset(tmp_path):
    rows = records(
        "image_id|patient_id|camera|patient_age|comorbidities|diabetes_time_y|insuline|patient_sex|exam_eye|DR_SDRG|DR_ICDR|quality",
        "img00001|1|Canon CR|48.0|diabetes1|12.0|yes|1|1|0|0|Adequate",
        "img00002|1|Canon CR|48.0|diabetes1|12.0|yes|1|2|0|4|Adequate",
        "img00003|2|NIKON NF5050||||no|2|1|0|1|Adequate",
        "img00004|3|NIKON NF5050|60||||2|1|0|0|Inadequate",
    )
    write_csv(tmp_path / "labels.csv", rows)
    for row in rows:
        write_image(tmp_path / "fundus_photos" / f"{row['image_id']}.jpg")
    data = datasets.load("brset", tmp_path)
    assert data.labels.tolist() == [0, 1, 1, 0]
    assert data.patients().tolist() == [0, 0, 1, 2]
    assert data.groups("sex") == (pytest.approx(np.array([0, 0, 1, 1])), ["male", "female"])
    assert data.groups("age")[0].tolist() == [0, 0, -1, 1]
    assert data.groups("camera") == (
        pytest.approx(np.array([0, 0, 1, 1])),
        ["Canon CR", "NIKON NF5050"],
    )


HARVARD = "filename|age|gender|race|ethnicity|language|maritalstatus"


@pytest.mark.row("dataset", "fairvlmed10k")
@pytest.mark.parametrize("folder", ["", "Training"])
def test_fairvlmed10k(tmp_path, folder):
    rows = records(
        f"{HARVARD}|note|gpt4_summary|glaucoma|use",
        'data_00001.npz|62.1|female|white|non-hispanic|english|single|a "quoted", note\nof two lines|short|yes|training',
        "data_00002.npz|47.9|male|black|hispanic|spanish|married|note|short|no|validation",
        "data_00003.npz|60.0|female|asian|unknown|unknown|unknown|note|short|no|test",
        "data_00004.npz|12.5|male|asian|non-hispanic|other|unknown|note|short|yes|test",
    )
    write_csv(tmp_path / "data_summary.csv", rows)
    for i, row in enumerate(rows):
        write_npz(tmp_path / folder / row["filename"], slo_fundus=np.full((5, 7), 10 * i, np.uint8))
    data = datasets.load("fairvlmed10k", tmp_path)
    assert data.labels.tolist() == [1, 0, 0, 1]
    assert data.attributes == ["sex", "age", "race", "language", "ethnicity"]
    assert data.groups("race") == (
        pytest.approx(np.array([2, 1, 0, 0])),
        ["asian", "black", "white"],
    )
    assert data.groups("language")[0].tolist() == [0, 1, -1, 2]
    assert data.groups("ethnicity")[0].tolist() == [1, 0, -1, 1]
    assert data.groups("age")[0].tolist() == [1, 0, 1, 0]
    pixels = data.read(data.table["image"][2])
    assert (pixels.shape, pixels.mean()) == ((5, 7, 3), 20)


@pytest.mark.row("dataset", "gf3300")
def test_gf3300_maps_thickness_to_grey_as_published(tmp_path):
    rows = records(
        f"{HARVARD}|glaucoma|use",
        "data_0001.npz|62.1|female|white|non-hispanic|english|single|yes|training",
        "data_0002.npz|47.9|male|black|hispanic|spanish|married|no|test",
    )
    write_csv(tmp_path / "data_summary.csv", rows)
    thickness = np.linspace(-2, 350, 200 * 200).reshape(200, 200)
    for row in rows:
        write_npz(
            tmp_path / row["filename"],
            rnflt=thickness,
            oct_bscans=np.zeros((2, 3, 3)),
            md=-1.5,
            male=1,
            age=62.1,
        )
    data = datasets.load("gf3300", tmp_path)
    assert data.labels.tolist() == [1, 0]
    assert data.attributes == ["sex", "age", "race", "language"]
    expected = np.rint((thickness + 2) / 352 * 255)
    np.testing.assert_allclose(data.read("data_0001.npz")[..., 1], expected, atol=0.51)


@pytest.fixture
def fairseg(tmp_path):
    people = [(0, 0, 0, 61.5), (1, 1, 1, 40.0), (2, 0, 2, 60.0), (2, 1, -1, 59.0)]
    for i, (race, gender, language, age) in enumerate(people):
        borders = np.zeros((6, 6), np.int16)
        borders[1:5, 1:5], borders[2:4, 2:4] = -1, -2
        image = {("slo_fundus", "fundus")[i % 2]: np.full((6, 6), i, np.uint8)}
        facts = {"race": race, "gender": gender, "language": language} | ({"age": age} if i else {})
        folder = tmp_path / ("Training" if i < 2 else "Test")
        write_npz(folder / f"data_{i:05d}.npz", disc_cup_borders=borders, **image, **facts)
    return tmp_path


@pytest.mark.row("dataset", "fairseg")
def test_fairseg_from_its_arrays(fairseg):
    data = datasets.load("FairSeg", fairseg)
    assert data.groups("race") == (
        pytest.approx(np.array([0, 1, 2, 2])),
        ["asian", "black", "white"],
    )
    assert data.groups("sex") == (pytest.approx(np.array([0, 1, 0, 1])), ["female", "male"])
    assert data.groups("language")[0].tolist() == [0, 1, 2, -1]
    assert data.groups("age")[0].tolist() == [-1, 0, 1, 0]  # the first file tells no age
    assert data.mask_classes == ("rim", "cup")
    assert data.read_mask("Test/data_00002.npz")[2].tolist() == [0, 1, 2, 2, 1, 0]
    assert data.read("Training/data_00001.npz").mean() == 1
    with pytest.raises(UserError, match="fairseg has no label to classify by"):
        _ = data.labels


def test_fairseg_from_a_table(fairseg):
    rows = records(
        HARVARD,
        "data_00000.npz|70|Female|Asian|unknown|English|unknown",
        "data_00001.npz|40|male|black|unknown|unknown|unknown",
    )
    write_csv(fairseg / "data_summary.csv", rows)
    data = datasets.load("fairseg", fairseg)
    assert data.table["image"].tolist() == ["Training/data_00000.npz", "Training/data_00001.npz"]
    assert data.groups("age")[0].tolist() == [1, 0]
    assert data.groups("language")[0].tolist() == [0, -1]
    assert data.has_mask.all()
