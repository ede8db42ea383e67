"""Nothing outside a dataset's folder is read, whatever a table, a link or a header says."""

import pytest
from helpers.trees import records, write_csv, write_image, write_npz

from fairjax import datasets
from fairjax.datasets.files import OutsideRootError, fill, find, inside, locate, split_fragment
from fairjax.datasets.readers.images import ImageFiles
from fairjax.datasets.tables import read_table
from fairjax.utils.errors import UserError


@pytest.fixture
def root(tmp_path):
    """A folder with an image, and beside it one that nobody may see."""
    write_image(tmp_path / "root" / "a.png", 1)
    write_image(tmp_path / "secret" / "b.png", 2)
    return tmp_path / "root"


@pytest.mark.parametrize(
    "path",
    [
        "../secret/b.png",
        "x/../../secret/b.png",
        "a.png/../a.png",
        "link.png",
        "folder/b.png",
        "a\0.png",
    ],
)
def test_paths_that_leave_the_root_are_refused(root, path):
    (root / "link.png").symlink_to(root.parent / "secret" / "b.png")
    (root / "folder").symlink_to(root.parent / "secret")
    with pytest.raises(OutsideRootError, match="leaves the dataset's folder"):
        inside(root, path)
    with pytest.raises(OutsideRootError):
        ImageFiles(str(root))(path)
    with pytest.raises(UserError, match="nothing outside"):
        locate(root, [[path]])


def test_absolute_paths_are_refused(root):
    secret = str(root.parent / "secret" / "b.png")
    with pytest.raises(OutsideRootError):
        ImageFiles(str(root))(secret)
    with pytest.raises(UserError, match="nothing outside"):
        locate(root, [[secret]])


def test_links_within_the_root_and_a_root_that_is_a_link_are_fine(root):
    (root / "link.png").symlink_to(root / "a.png")
    (root.parent / "again").symlink_to(root)
    assert locate(root, [["link.png"]])[1] == [(root / "a.png").stat().st_size]
    assert ImageFiles(str(root.parent / "again"))("link.png").mean() == 1


def test_a_table_that_names_a_file_elsewhere_gets_one_line(root):
    write_csv(root / "t.csv", records("image|label", "a.png|0", "../secret/b.png|1"))
    with pytest.raises(
        UserError, match=r"'\.\./secret/b\.png' leaves the dataset's folder; nothing outside"
    ):
        datasets.load("table", root, table="t.csv")
    write_csv(
        root / "metadata.csv",
        records("image_id|age_approximate|sex|melanoma", "../../secret/b|1|male|0"),
    )
    with pytest.raises(UserError, match="nothing outside"):
        datasets.load("isic2017", root)


def test_a_table_that_is_a_link_elsewhere_is_not_read(root):
    write_csv(
        root.parent / "secret" / "metadata.csv",
        records("image_id|age_approximate|sex|melanoma", "a|1|male|0"),
    )
    (root / "metadata.csv").symlink_to(root.parent / "secret" / "metadata.csv")
    with pytest.raises(UserError, match="nothing outside"):
        datasets.load("isic2017", root)


def test_files_found_by_a_pattern_may_be_no_links_elsewhere(root):
    write_npz(root.parent / "secret" / "data_00001.npz", race=1)
    (root / "data_00001.npz").symlink_to(root.parent / "secret" / "data_00001.npz")
    with pytest.raises(UserError, match="nothing outside"):
        datasets.load("fairseg", root)
    (root / "ClinicalReadings").symlink_to(root.parent / "secret")
    (root.parent / "secret" / "MCUCXR_0001_0.txt").write_text("Patient's Sex: F")
    with pytest.raises(UserError, match="leaves the dataset's folder"):
        datasets.load("montgomery", root)


def test_the_first_of_several_places_counts_and_values_are_no_patterns(root):
    write_image(root / "part_2" / "x[1].png")
    frame = read_table(_table(root), ("name",))
    assert locate(
        root, [fill(root, "part_1/{name}.png", frame), fill(root, "part_2/{name}.png", frame)]
    ) == (
        ["part_2/x[1].png", "part_1/y.png"],
        [(root / "part_2" / "x[1].png").stat().st_size, -1],
    )
    assert fill(root, "*/{name}.png", frame) == ["part_2/x[1].png", ""]


def _table(root):
    write_csv(root / "names.csv", records("name", "x[1]", "y"))
    return root / "names.csv"


def test_a_folder_counts_with_the_files_in_it_and_a_fragment_does_not(root):
    write_image(root / "series" / "1.png")
    size = (root / "series" / "1.png").stat().st_size
    assert locate(root, [["series", "a.png#3", ""]])[1] == [
        size,
        (root / "a.png").stat().st_size,
        -1,
    ]
    assert split_fragment("a#b.png#12") == ("a#b.png", 12)
    assert split_fragment("a#b.png") == ("a#b.png", None)


def test_two_files_that_match_one_pattern_are_refused(root):
    for name in ("ADNI1_a.csv", "ADNI1_b.csv"):
        (root / name).touch()
    with pytest.raises(
        UserError, match=r"2 files match ADNI1_\*\.csv, as ADNI1_a\.csv and ADNI1_b\.csv; keep one"
    ):
        find(root, ["ADNI1_*.csv"])
