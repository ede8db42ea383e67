"""Every spec on a small tree in exactly its published layout."""

import csv
from pathlib import Path

import numpy as np
import pytest
from helpers import needs
from PIL import Image

from fairjax import datasets
from fairjax.datasets.dataset import require_both_classes
from fairjax.utils.errors import UserError


def write_csv(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_image(path: Path, value: int = 0, size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


@pytest.fixture
def ham(tmp_path):
    fields = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
    values = [
        ("HAM_1", "ISIC_1", "mel", "histo", "60.0", "male", "back"),
        ("HAM_1", "ISIC_2", "mel", "histo", "60.0", "male", "back"),
        ("HAM_2", "ISIC_3", "nv", "histo", "0.0", "female", "face"),
        ("HAM_3", "ISIC_4", "akiec", "histo", "", "unknown", "face"),
        ("HAM_4", "ISIC_5", "bkl", "histo", "59.9", "female", "face"),
    ]
    rows = [dict(zip(fields, row)) for row in values]
    write_csv(tmp_path / "HAM10000_metadata.csv", rows)
    for i, row in enumerate(rows):
        part = "HAM10000_images_part_1" if i < 3 else "HAM10000_images_part_2"
        write_image(tmp_path / part / f"{row['image_id']}.jpg", value=i)
    return tmp_path


@pytest.mark.row("dataset", "ham10000")
def test_ham10000_in_its_published_layout(ham):
    data = datasets.load("ham10000", ham)
    assert data.labels.tolist() == [1, 1, 0, 1, 0]
    assert data.patients().tolist() == [0, 0, 1, 2, 3]
    assert data.groups("sex") == (pytest.approx(np.array([1, 1, 0, -1, 0])), ["female", "male"])
    assert data.groups("age")[0].tolist() == [1, 1, 0, -1, 0]
    assert data.table["image"][3] == "HAM10000_images_part_2/ISIC_4.jpg"
    assert data.read(data.table["image"][3]).shape == (4, 6, 3)


def test_cut_points_can_be_chosen(ham):
    data = datasets.load("ham10000", ham, bins={"age": (30, 60)})
    assert data.groups("age")[1] == ["<30", "30-<60", "≥60"]
    with pytest.raises(UserError, match=r"'sex', no continuous attribute.*age"):
        datasets.load("ham10000", ham, bins={"sex": (30,)})


def test_an_unknown_diagnosis_or_sex_is_refused(ham):
    table = ham / "HAM10000_metadata.csv"
    original = table.read_text()
    table.write_text(original.replace("bkl", "xyz"))
    with pytest.raises(UserError, match=r"'dx' holds 'xyz' \(1 row\)"):
        datasets.load("ham10000", ham)
    table.write_text(original.replace("female", "femal"))
    with pytest.raises(UserError, match=r"'sex' holds 'femal' \(2 rows\)"):
        datasets.load("ham10000", ham)


def test_the_fingerprint_follows_the_images_and_not_the_groups(ham):
    before = datasets.load("ham10000", ham).fingerprint
    assert datasets.load("ham10000", ham, bins={"age": (30,)}).fingerprint == before
    write_image(ham / "HAM10000_images_part_1" / "ISIC_1.jpg", size=(60, 40))
    assert datasets.load("ham10000", ham).fingerprint != before


def test_wrong_names_and_folders_get_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="unknown dataset 'isic2071'; did you mean 'isic2017'"):
        datasets.load("isic2071", tmp_path)
    with pytest.raises(UserError, match="image root .*nowhere does not exist"):
        datasets.load("isic2017", tmp_path / "nowhere")
    with pytest.raises(UserError, match="needs its folder"):
        datasets.load("isic2017")
    with pytest.raises(UserError, match=r"no metadata\.csv in"):
        datasets.load("isic2017", tmp_path)


@pytest.mark.row("dataset", "isic2017", "covid_cxr")
def test_isic2017_and_covid_cxr_in_their_layouts(tmp_path):
    isic = [
        {
            "image_id": f"ISIC_{i}",
            "age_approximate": age,
            "sex": sex,
            "melanoma": y,
            "orig_width": 9,
            "orig_height": 9,
        }
        for i, (age, sex, y) in enumerate(
            [("30", "female", 0), ("unknown", "unknown", 1), ("60", "male", 1)]
        )
    ]
    write_csv(tmp_path / "isic" / "metadata.csv", isic)
    cxr = [
        {"patientid": p, "sex": s, "age": a, "finding": f, "image": f"{i}.png"}
        for i, (p, s, a, f) in enumerate(
            [
                ("2", "M", "65.0", "COVID-19, ARDS"),
                ("2", "M", "65.0", "COVID-19"),
                ("7", "F", "", "SARS"),
            ]
        )
    ]
    write_csv(tmp_path / "cxr" / "metadata.csv", cxr)
    for i in range(3):
        write_image(tmp_path / "isic" / "images" / f"ISIC_{i}.jpg")
        Image.fromarray(np.full((4, 5), 300 * i, np.uint16)).save(tmp_path / "cxr" / f"{i}.png")
        (tmp_path / "cxr" / "images").mkdir(exist_ok=True)
        (tmp_path / "cxr" / f"{i}.png").rename(tmp_path / "cxr" / "images" / f"{i}.png")
    data = datasets.load("isic2017", tmp_path / "isic")
    assert data.labels.tolist() == [0, 1, 1]
    assert data.n_patients == 3
    assert data.groups("age")[0].tolist() == [0, -1, 1]
    data = datasets.load("covid_cxr", tmp_path / "cxr")
    assert data.labels.tolist() == [1, 1, 0]
    assert data.n_patients == 2
    assert data.read("images/2.png")[0, 0].tolist() == [2, 2, 2]  # 16 bits: 600 of 65535


@pytest.mark.parametrize(
    ("name", "images", "positive"),
    [("ham10000", 1800, 337), ("isic2017", 1500, 275), ("covid_cxr", 378, 289)],
)
def test_the_real_files_load(name, images, positive):
    data = datasets.load(name, needs.data(name))
    assert (len(data), data.labels.sum()) == (images, positive)
    require_both_classes(data, data.attributes)


def test_synthetic_needs_no_folder_and_refuses_unknown_options():
    data = datasets.load("synthetic", n_patients=50)
    assert data.attributes == ["sex", "age", "site"]
    assert data.read(data.table["image"][0]).shape == (64, 64, 3)
    assert datasets.load("synthetic", n_patients=50, seed=1).fingerprint != data.fingerprint
    with pytest.raises(UserError, match="did you mean 'n_patients'"):
        datasets.load("synthetic", n_patient=50)
