"""COVID-CT-MD, ADNI, KiTS23, CANDI, IRCADb, SPIDER and TUSC on small trees in their published
layouts.
"""

import numpy as np
import pytest
from helpers.trees import (
    records,
    write_csv,
    write_hdf5,
    write_json,
    write_mha,
    write_nifti,
    write_series,
)

from fairjax import datasets
from fairjax.datasets.splits import split
from fairjax.utils.errors import UserError


@pytest.fixture
def covid_ct(tmp_path):
    rows = records(
        "Diagnosis|Folder|Patient Gender|Patient Age|Clinical characteristics |Surgery",
        "COVID-19|P001|M|039Y|fever|",
        "COVID-19|P002|F|060Y||",
        "CAP|cap001|M|105Y||",
        "Normal|normal001|F|009Y||",
        "Normal|normal002|M|||",
    )
    write_csv(
        tmp_path / "Clinical-data.csv", rows, before="\ufeffClinical data of the patients,,,,,\r\n"
    )
    ramp = np.linspace(-1250, 250, 3 * 4 * 5).reshape(3, 4, 5).round().astype(int)
    for case, folder in (("COVID-19", "P001"), ("COVID-19", "P002"), ("Cap", "cap001")):
        write_series(tmp_path / f"{case} Cases" / folder, np.maximum(ramp, -1024))
    write_nifti(tmp_path / "Normal Cases" / "normal001.nii.gz", np.zeros((5, 4, 3), np.int16))
    write_nifti(
        tmp_path / "Normal Cases" / "normal002" / "any.nii.gz", np.zeros((5, 4, 7), np.int16)
    )
    return tmp_path


@pytest.mark.row("dataset", "covid_ct_md")
def test_covid_ct_md(covid_ct):
    data = datasets.load("COVID-CT-MD", covid_ct)
    assert data.labels.tolist() == [1, 1, 1, 0, 0]
    assert data.groups("sex")[0].tolist() == [1, 0, 1, 0, 1]
    assert data.groups("age")[0].tolist() == [0, 1, 1, 0, -1]
    assert data.table["image"].tolist()[::2] == [
        "COVID-19 Cases/P001",
        "Cap Cases/cap001",
        "Normal Cases/normal002/any.nii.gz",
    ]
    volume = data.read_volume("COVID-19 Cases/P001")
    assert (volume.values.shape, volume.spacing) == ((3, 4, 5), (5.0, 1.0, 1.0))
    assert volume.values[-1].max() == 250  # the head's end: the last slice, though the first file
    slices = data.slices()
    assert len(slices) == 3 * 4 + 7
    assert slices.volumes()[-1] == 4
    last = slices.read("COVID-19 Cases/P001#2")
    assert (
        last[-1, -1, 0] == 255
    )  # 250 HU is white; the patient's left lies on the right of the image
    assert slices.read("COVID-19 Cases/P001#0")[0, 0, 0] == round((1250 - 1024) / 1500 * 255)


def test_a_missing_diagnosis_is_refused_and_not_read_from_another_folder(covid_ct):
    text = (covid_ct / "Clinical-data.csv").read_text(encoding="utf-8")
    (covid_ct / "Clinical-data.csv").write_text(text.replace("CAP", "Cap."), encoding="utf-8")
    with pytest.raises(
        UserError, match=r"'Diagnosis' holds 'Cap\.' \(1 row\), of which no cases is known"
    ):
        datasets.load("covid_ct_md", covid_ct)


@pytest.mark.row("dataset", "adni")
def test_adni(tmp_path):
    rows = records(
        "Image Data ID|Subject|Group|Sex|Age|Visit|Modality|Description|Type|Acq Date|Format|Downloaded",
        "I45108|002_S_0295|CN|M|85|1|MRI|MPR|Processed|4/18/2006|NiFTI|",
        "I45112|002_S_0413|MCI|F|76|1|MRI|MPR|Processed|5/02/2006|NiFTI|",
        "I45118|002_S_0619|AD|F|59|1|MRI|MPR|Processed|6/01/2006|NiFTI|",
        "I45119|002_S_0619|AD|F|60|3|MRI|MPR|Processed|6/01/2007|NiFTI|",
    )
    write_csv(tmp_path / "ADNI1_Complete_1Yr_1.5T_1_01_2024.csv", rows)
    for row, deeper in zip(rows, ("S13407", "", "S1", "")):
        folder = (
            tmp_path
            / "ADNI"
            / row["Subject"]
            / "MPR__GradWarp__N3"
            / "2006-04-18_08_20_30.0"
            / row["Image Data ID"]
        )
        write_nifti(
            folder / deeper / f"ADNI_{row['Image Data ID']}.nii", np.ones((3, 4, 5), np.float32)
        )
    data = datasets.load("adni", tmp_path)
    assert data.labels.tolist() == [0, 1, 1]
    assert data.patients().tolist() == [0, 1, 1]
    assert data.groups("age")[0].tolist() == [1, 0, 1]
    assert data.info["dropped"] == 1
    assert len(data.slices()) == 15
    write_nifti(folder / "second.nii", np.ones((3, 4, 5), np.float32))
    with pytest.raises(UserError, match="2 files match"):
        datasets.load("adni", tmp_path)


@pytest.fixture
def kits(tmp_path):
    cases = [
        {
            "case_id": "case_00000",
            "gender": "male",
            "age_at_nephrectomy": 49,
            "comorbidities": {"copd": False},
        },
        {
            "case_id": "case_00299",
            "gender": "female",
            "age_at_nephrectomy": 60,
            "comorbidities": {},
        },
        {
            "case_id": "case_00400",
            "gender": "transgender_male_to_female",
            "age_at_nephrectomy": 55,
            "comorbidities": {},
        },
        {
            "case_id": "case_00588",
            "gender": "female",
            "age_at_nephrectomy": None,
            "comorbidities": {},
        },
    ]
    write_json(tmp_path / "kits23.json", cases)
    image = np.random.default_rng(0).integers(-200, 300, (6, 5, 4)).astype(np.int16)
    labels = np.zeros((6, 5, 4), np.uint8)
    labels[1:3, 1:3, 1:3], labels[2, 2, 2], labels[4, 4, 3] = 1, 2, 3
    for i, case in enumerate(cases):
        names = (f"{case['case_id']}/imaging", f"{case['case_id']}/segmentation")
        names = (
            (f"imagesTr/{case['case_id']}_0000", f"labelsTr/{case['case_id']}") if i == 3 else names
        )
        for name, values in zip(names, (image, labels)):
            write_nifti(tmp_path / f"{name}.nii.gz", values, np.diag([-0.8, -0.8, 3.0, 1.0]))
    return tmp_path


@pytest.mark.row("dataset", "kits23")
def test_kits23(kits):
    data = datasets.load("kits23", kits)
    assert len(data) == 4  # with case_00588
    assert data.groups("sex") == (
        pytest.approx(np.array([1, 0, -1, 0])),
        ["female", "male"],
    )  # missing, never male
    own = datasets.load("kits23", kits, rare="group")
    assert own.groups("sex") == (
        pytest.approx(np.array([1, 0, 2, 0])),
        ["female", "male", "transgender male to female"],
    )
    assert data.groups("age")[0].tolist() == [0, 1, 0, -1]
    assert data.mask_classes == ("kidney", "tumor", "cyst")
    for name in data.table["image"][[0, 3]]:
        mask, volume = data.read_mask(name), data.read_volume(name)
        assert mask.shape == volume.values.shape == (4, 5, 6)
        assert np.bincount(mask.ravel()).tolist() == [120 - 9, 7, 1, 1]
        assert volume.spacing == pytest.approx((3.0, 0.8, 0.8))
    with pytest.raises(UserError, match="way with rare values"):
        datasets.load("kits23", kits, rare="male")


def test_slices_of_kits23_have_the_masks_of_their_volume(kits):
    data = datasets.load("kits23", kits)
    slices = data.slices()
    assert len(slices) == 16
    assert slices.has_mask.all()
    image, mask = (read("case_00000/imaging.nii.gz#2") for read in (slices.read, slices.read_mask))
    assert image.shape[:2] == mask.shape == (5, 6)
    # The file's x and y run to the left and to the back, as the rows and columns of a slice as it
    # is shown.
    assert np.argwhere(mask == 2).tolist() == [[2, 2]]
    np.testing.assert_array_equal(
        mask > 0,
        datasets.load("kits23", kits).slices(4).read_mask("case_00000/imaging.nii.gz#2") > 0,
    )
    assert split(slices).tolist() == [side for side in split(data) for _ in range(4)]


@pytest.mark.row("dataset", "candi")
def test_candi(tmp_path):
    people = {
        "BPDwithoutPsy": "BPDwoPsy_029",
        "BPDwithPsy": "BPDwPsy_065",
        "HC": "HC_001",
        "SS": "SS_084",
    }
    sexes, ages = ("female", "male", "F", "Male"), ("10", "17.2", "4.5", "9")
    for i, (cohort, subject) in enumerate(people.items()):
        rows = [{"Subject": subject, "Gender": sexes[i], "Age": ages[i], "Handedness": "Right"}]
        write_csv(tmp_path / f"{cohort}_Basic_Demographics.csv", rows)
        labels = np.zeros((4, 4, 4), np.int16)
        labels[0, 0, 0], labels[1, 1, 1], labels[2, 2, 2] = 17, 53, 16
        folder = tmp_path / subject if i else tmp_path / cohort / subject
        write_nifti(folder / f"{subject}_procimg.nii.gz", np.ones((4, 4, 4), np.float32))
        write_nifti(folder / f"{subject}_seg.nii.gz", labels)
    data = datasets.load("candi", tmp_path)
    assert data.groups("sex")[0].tolist() == [0, 1, 0, 1]
    assert data.groups("age") == (pytest.approx(np.array([1, 1, 0, 0])), ["<10", "≥10"])
    assert data.groups("cohort")[1] == sorted(people, key=str.casefold)
    mask = data.read_mask("HC_001/HC_001_procimg.nii.gz")
    assert [data.mask_classes[mask[i, i, i] - 1] for i in range(3)] == [
        "left hippocampus",
        "right hippocampus",
        "brain stem",
    ]
    side = split(data, method="leave_one_out", site="cohort", hold_out="SS")
    assert side.tolist()[-1] == "test"
    assert "test" not in side[:-1]


@pytest.mark.row("dataset", "ircadb")
def test_ircadb(tmp_path):
    write_csv(
        tmp_path / "overview.csv",
        records("name|sex", "3Dircadb1.1|F", "3Dircadb1.2|M", "3Dircadb1.3|male"),
    )
    for image, liver in (
        ("3Dircadb1.1.nii.gz", "3Dircadb1.1_liver.nii.gz"),
        ("3Dircadb1.2/volume.nii.gz", "3Dircadb1.2/liver.nii.gz"),
    ):
        labels = np.zeros((3, 3, 2), np.uint8)
        labels[0, 0] = 255
        write_nifti(tmp_path / image, np.full((3, 3, 2), 40, np.int16))
        write_nifti(tmp_path / liver, labels)
    write_series(tmp_path / "3Dircadb1.3" / "PATIENT_DICOM", np.full((2, 3, 3), 40))
    for file in (tmp_path / "3Dircadb1.3" / "PATIENT_DICOM").iterdir():
        file.rename(file.with_suffix(""))
    write_series(
        tmp_path / "3Dircadb1.3" / "MASKS_DICOM" / "liver", np.eye(3, dtype=int)[None].repeat(2, 0)
    )
    data = datasets.load("ircadb", tmp_path)
    assert data.groups("sex")[0].tolist() == [0, 1, 1]
    assert data.has_mask.all()
    assert [int(data.read_mask(image).sum()) for image in data.table["image"]] == [2, 2, 6]


@pytest.mark.row("dataset", "spider")
def test_spider(tmp_path):
    rows = records(
        "new_file_name|num_vertebrae|num_discs|sex|birth_date|subset|Manufacturer",
        "1_t1|7|7|F|61|training|SIEMENS",
        "1_t2|7|7|F |61|training|SIEMENS",
        "2_t1|8|8|M ||validation|Philips",
        "12_t2_SPACE|8|8|M|59|training|Philips",
    )
    write_csv(tmp_path / "overview.csv", rows)
    labels = np.zeros((2, 3, 4), np.int16)
    labels[0, 0] = [1, 101, 100, 201]
    for row in rows:
        write_mha(
            tmp_path / "images" / f"{row['new_file_name']}.mha",
            np.arange(24, dtype=np.int16).reshape(2, 3, 4),
            (2.0, 0.5, 0.6),
        )
        write_mha(tmp_path / "masks" / f"{row['new_file_name']}.mha", labels, (2.0, 0.5, 0.6))
    data = datasets.load("spider", tmp_path)
    assert data.groups("sex")[0].tolist() == [0, 0, 1, 1]
    assert data.groups("age")[0].tolist() == [1, 1, -1, 0]
    assert data.patients().tolist() == [0, 0, 1, 2]
    assert data.mask_classes == ("vertebrae", "discs", "canal")
    assert np.bincount(data.read_mask("images/1_t1.mha").ravel()).tolist() == [20, 2, 1, 1]
    assert data.read_volume("images/1_t1.mha").spacing == pytest.approx((0.6, 0.5, 2.0))
    assert len(data.slices()) == 4 * 4  # sagittal: along x


@pytest.mark.row("dataset", "tusc")
def test_tusc(tmp_path):
    write_csv(
        tmp_path / "metadata.csv",
        records(
            "annot_id|age|sex|location|histopath_diagnosis",
            "1_|41|Female|right|Benign",
            "2_|60|Male|left|Papillary",
        ),
    )
    images = np.arange(5 * 4 * 6, dtype=np.uint8).reshape(5, 4, 6)
    masks = np.zeros((5, 4, 6), np.uint8)
    masks[:, 1:3, 2:4] = 255
    write_hdf5(
        tmp_path / "dataset.hdf5",
        image=images,
        mask=masks,
        annot_id=np.array([b"1_", b"1_", b"2_", b"2_", b"2_"]),
    )
    data = datasets.load("tusc", tmp_path)
    assert data.patients().tolist() == [0, 0, 1, 1, 1]
    assert data.groups("sex")[0].tolist() == [0, 0, 1, 1, 1]
    assert data.groups("age")[0].tolist() == [0, 0, 1, 1, 1]
    np.testing.assert_array_equal(data.read("dataset.hdf5#3")[..., 0], images[3])
    np.testing.assert_array_equal(data.read_mask("dataset.hdf5#3"), masks[3] // 255)
    assert data.has_mask.all()
