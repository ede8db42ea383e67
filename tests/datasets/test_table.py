import pandas as pd
import pytest
from PIL import Image

from fairjax import datasets
from fairjax.datasets.dataset import require_both_classes
from fairjax.utils.errors import UserError


@pytest.fixture
def folder(tmp_path):
    rows = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(8)],
            "y": [0, 1] * 4,
            "pid": [i // 2 for i in range(8)],
            "sex": ["f", "m", "m", "f", "unknown", None, "f", "m"],
            "age": [20.5, 70, 61, 44, 59, 60, None, 33],
        }
    )
    rows.to_csv(tmp_path / "t.csv", index=False)
    rows.to_parquet(tmp_path / "t.parquet")
    for path in rows["path"]:
        Image.new("L", (5, 5)).save(tmp_path / path)
    return tmp_path


COLUMNS = {"image": "path", "label": "y", "patient": "pid"}


@pytest.mark.parametrize("table", ["t.csv", "t.parquet"])
def test_csv_and_parquet_give_the_same_dataset(folder, table):
    data = datasets.load(
        "table", folder, table=table, attributes=("sex", "age"), bins={"age": (60,)}, **COLUMNS
    )
    assert data.labels.tolist() == [0, 1] * 4
    assert data.patients().tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert data.groups("sex")[0].tolist() == [0, 1, 1, 0, -1, -1, 0, 1]
    assert data.groups("age")[0].tolist() == [0, 1, 1, 0, 0, 1, -1, 0]


def test_a_missing_column_is_named_with_the_nearest(folder):
    with pytest.raises(UserError, match=r"t\.csv has no column 'yy'; did you mean 'y'"):
        datasets.load("table", folder, table="t.csv", image="path", label="yy")


def test_a_missing_table_is_named(folder):
    with pytest.raises(UserError, match=r"table nope\.csv is neither"):
        datasets.load("table", folder, table="nope.csv", **COLUMNS)
    with pytest.raises(UserError, match=r"config\.dataset\.table"):
        datasets.load("table", folder)


def test_a_continuous_attribute_needs_cut_points(folder):
    rows = pd.DataFrame({"path": [f"{i % 8}.png" for i in range(22)], "y": [0, 1] * 11})
    rows.assign(pid=range(22), age=range(20, 42)).to_csv(folder / "ages.csv", index=False)
    with pytest.raises(UserError, match=r"'age' has 22 distinct numbers; give bins: age=40,60"):
        datasets.load("table", folder, table="ages.csv", attributes=("age",), **COLUMNS)
    data = datasets.load(
        "table", folder, table="ages.csv", attributes="age", bins="age=q4", **COLUMNS
    )
    assert [len(rows) for rows in data.table.groupby("age", observed=False).groups.values()] == [
        6,
        5,
        5,
        6,
    ]


def test_blank_patients_are_refused(folder):
    rows = pd.read_csv(folder / "t.csv").assign(pid=["1", "", "2", "", "3", "3", "4", "4"])
    rows.to_csv(folder / "blank.csv", index=False)
    with pytest.raises(UserError, match="empty in 2 rows"):
        datasets.load("table", folder, table="blank.csv", **COLUMNS)


def test_a_group_with_one_class_is_refused_with_its_counts(folder):
    rows = pd.read_csv(folder / "t.csv").assign(sex=["f", "m"] * 4)
    rows.to_csv(folder / "one.csv", index=False)
    data = datasets.load("table", folder, table="one.csv", attributes=("sex",), **COLUMNS)
    with pytest.raises(
        UserError, match=r"group 'f' of attribute 'sex' has one class only \(4 negative, 0 positive"
    ):
        require_both_classes(data, ["sex"])


def test_without_patients_a_unit_is_an_image_by_its_name(folder):
    rows = pd.read_csv(folder / "t.csv")
    pd.concat([rows, rows.head(2)]).to_csv(folder / "twice.csv", index=False)
    data = datasets.load("table", folder, table="twice.csv", image="path", label="y")
    assert data.n_patients == len(
        rows
    )  # an image that is listed twice stands on one side of a split
    assert data.patients()[-2:].tolist() == data.patients()[:2].tolist()
