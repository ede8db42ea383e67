"""`python -m fairjax.datasets`: what it lists, what `check` finds, and that the page of the
documentation is current.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.trees import write_csv, write_image, write_nifti
from PIL import Image

from fairjax import datasets
from fairjax.datasets import docs
from fairjax.datasets.catalog import LOADERS, SPECS
from fairjax.datasets.check import check, describe, to_json
from fairjax.datasets.splits import split
from fairjax.utils.errors import EXIT_USER_ERROR, UserError

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "fairjax.datasets", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def ham(tmp_path):
    """Forty images of thirty lesions, with masks."""
    rows = [
        {
            "lesion_id": f"HAM_{i % 30:02d}",
            "image_id": f"ISIC_{i:02d}",
            "dx": ("mel", "nv")[i % 30 % 2],
            "age": ("40.0", "70.0", "")[i % 3],
            "sex": ("male", "female", "female", "unknown")[i % 4],
        }
        for i in range(40)
    ]
    write_csv(tmp_path / "HAM10000_metadata.csv", rows)
    for row in rows:
        write_image(
            tmp_path / "HAM10000_images" / f"{row['image_id']}.jpg",
            RNG.integers(0, 256, (8, 9, 3), dtype=np.uint8),
        )
        masks = tmp_path / "HAM10000_segmentations_lesion_tschandl"
        write_image(masks / f"{row['image_id']}_segmentation.png", np.full((8, 9), 255, np.uint8))
    return tmp_path


def looked_at(root, name="ham10000_seg", **options):
    data = datasets.load(name, root)
    return check(data, split(data), progress=False, **options)


@pytest.mark.row("dataset", "ham10000_seg")
def test_a_sound_dataset_is_ready(ham):
    found = looked_at(ham)
    assert found.problems() == []
    assert found.missing() == {"sex": 10, "age": 13}
    assert (found.n_read, found.absent, found.unreadable, found.masks, found.duplicates) == (
        40,
        [],
        [],
        [],
        [],
    )
    assert found.counts.query("attribute == 'sex'")["n_images"].sum() == 40
    text = describe(found)
    assert text.startswith("ham10000_seg: 40 images of 30 units (lesion)")
    assert "missing values: sex 10 (25.0%), age 13 (32.5%)" in text
    assert "patients in two splits: none" in text
    assert text.endswith("ready")
    groups = [
        word
        for line in text.splitlines()
        for word in line.split()[:2]
        if word in ("female", "male", "<60", "≥60")
    ]
    assert groups == ["female", "male", "<60", "≥60"]


def test_what_is_absent_damaged_or_there_twice_is_named(ham):
    images, masks = ham / "HAM10000_images", ham / "HAM10000_segmentations_lesion_tschandl"
    (images / "ISIC_03.jpg").unlink()
    (images / "ISIC_05.jpg").write_bytes((images / "ISIC_05.jpg").read_bytes()[:100])
    data = datasets.load("ham10000_seg", ham)
    side = split(data)
    other = next(row for row in range(8, 40) if side[row] != side[7])
    shutil.copy(images / "ISIC_07.jpg", images / f"ISIC_{other:02d}.jpg")
    Image.new("L", (9, 7), 255).save(masks / "ISIC_01_segmentation.png")
    Image.new("L", (9, 8), 0).save(masks / "ISIC_02_segmentation.png")
    found = looked_at(ham)
    assert [image for image, _ in found.absent] == ["HAM10000_images/ISIC_03.jpg"]
    assert [image for image, _ in found.unreadable] == ["HAM10000_images/ISIC_05.jpg"]
    assert dict(found.masks) == {
        "HAM10000_images/ISIC_01.jpg": "the mask has shape (7, 9), the image (8, 9)",
        "HAM10000_images/ISIC_02.jpg": "the mask is empty",
    }
    assert (
        found.duplicates
        == found.leaks
        == [["HAM10000_images/ISIC_07.jpg", f"HAM10000_images/ISIC_{other:02d}.jpg"]]
    )
    assert found.problems() == [
        "2 of 40 images are absent or unreadable, more than the fraction 0.01",
        "1 images are in two splits",
        "2 masks are of no use",
    ]
    assert len(found.problems(max_unreadable=0.1)) == 2
    text = describe(found)
    assert "absent files: 1\n  HAM10000_images/ISIC_03.jpg: FileNotFoundError" in text
    assert "not ready: 2 of 40 images" in text
    json.dumps(to_json(found))


def test_patients_on_in_two_splits_are_found(ham):
    data = datasets.load("ham10000", ham)
    side = split(data)
    side[:30], side[30:] = "train", "test"  # lesions 0 to 9 have an image in either part
    found = check(data, side, pixels=False)
    assert found.in_two_splits == [f"HAM_{i:02d}" for i in range(10)]
    assert found.problems() == ["10 patients are in two splits"]
    assert found.n_read == 0


def test_without_reading_pixels_absent_files_are_found(ham):
    (ham / "HAM10000_images" / "ISIC_03.jpg").unlink()
    found = looked_at(ham, "ham10000", pixels=False)
    assert found.absent == [("HAM10000_images/ISIC_03.jpg", "no such file")]
    assert found.problems() == [
        "1 of 40 images are absent or unreadable, more than the fraction 0.01"
    ]
    assert describe(looked_at(ham, "ham10000", pixels=False), max_unreadable=0.1).endswith(
        "ready, as far as the tables tell"
    )
    data = datasets.load("synthetic", n_patients=60)
    assert check(data, split(data), pixels=False).absent == []


def test_volumes_are_looked_at_whole(tmp_path):
    rows = [
        {
            "case_id": f"case_{i:05d}",
            "gender": ("male", "female")[i % 2],
            "age_at_nephrectomy": 50 + i,
        }
        for i in range(4)
    ]
    (tmp_path / "kits23.json").write_text(json.dumps(rows))
    for i, row in enumerate(rows):
        write_nifti(
            tmp_path / row["case_id"] / "imaging.nii.gz",
            RNG.integers(0, 99, (4, 5, 6)).astype(np.int16),
        )
        write_nifti(
            tmp_path / row["case_id"] / "segmentation.nii.gz",
            np.full((4, 5, 6 + (i == 2)), 1, np.uint8),
        )
    (tmp_path / "case_00003" / "imaging.nii.gz").write_bytes(b"damaged")
    found = looked_at(tmp_path, "kits23")
    assert dict(found.masks) == {
        "case_00002/imaging.nii.gz": "the mask has shape (7, 5, 4), the image (6, 5, 4)"
    }
    assert [image for image, _ in found.unreadable] == ["case_00003/imaging.nii.gz"]
    assert "no label: a dataset for segmentation" in describe(found)


def test_the_command_line_checks_splits_and_says_what_is_wrong(ham, tmp_path):
    out = tmp_path / "found.json"
    done = command(
        "check",
        "HAM10000",
        f"--root={ham}",
        f"--out={out}",
        "--split=hash",
        "--fractions=0.4,0.3,0.3",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ham10000: 40 images of 30 units (lesion)")
    assert json.loads(out.read_text())["problems"] == []
    (ham / "HAM10000_images" / "ISIC_00.jpg").unlink()
    done = command("check", "ham10000", f"--root={ham}")
    assert (done.returncode, "not ready: 1 of 40 images" in done.stdout) == (1, True)
    done = command(
        "split",
        "ham10000",
        f"--root={ham}",
        f"--out={tmp_path / 'split.csv'}",
        "--set=bins={'age': (50,)}",
    )
    assert done.returncode == 0, done.stderr
    data = datasets.load("ham10000", ham)
    side = split(data, method="file", file=str(tmp_path / "split.csv"))
    assert (side == split(datasets.load("ham10000", ham, bins={"age": (50,)}))).all()


@pytest.fixture
def own(tmp_path):
    """A user's own table, as R writes it: NA for what is not known, TRUE and FALSE."""
    n = 24
    sex = [("F", "M", "f", "NA")[i % 4] for i in range(n)]
    rows = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(n)],
            "mask": [f"m{i}.png" for i in range(n)],
            "y": [("Yes", "No")[i // 4 % 2] for i in range(n)],
            "pid": [float(i // 2) for i in range(n)],
            "sex": sex,
            "age": [str(20 + 2 * i).replace(".", ",") for i in range(n)],
            "tone": [i % 7 or -1 for i in range(n)],
        }
    )
    rows.to_csv(tmp_path / "t.csv", index=False, sep=";")
    for i in range(n):
        write_image(tmp_path / f"{i}.png", RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        write_image(tmp_path / f"m{i}.png", RNG.integers(0, 256, (6, 6), dtype=np.uint8))
    return tmp_path


OWN = ("--table=t.csv", "--image=path", "--label=y", "--patient=pid", "--positive=Yes")


def test_a_table_is_checked_with_the_options_of_a_run(own):
    flags = ("--negative=No", "--attributes=sex,age", "--bins=age=30,50", "--nopixels")
    done = command("check", "table", f"--root={own}", *OWN, *flags)
    assert done.returncode == 0, done.stderr
    assert "note: sex: 6 rows are missing: 'NA' (6 rows); keep_na makes them a group" in done.stdout
    assert "note: sex: 'F' (6 rows), 'f' (6 rows) are one group, 'F'" in done.stdout
    assert "30-<50" in done.stdout
    done = command("check", "table", f"--root={own}", *OWN, *flags, "--keep_na")
    assert "are missing" not in done.stdout
    assert re.search(r"^ +NA +\d", done.stdout, re.MULTILINE)
    for options in (
        ("--mask=mask", "--mask_threshold=0.5"),
        ("--mask=mask", "--mask_classes=1=a,2=b"),
    ):
        done = command("check", "table", f"--root={own}", *OWN, *flags[:-1], *options)
        assert ("holds" in done.stdout) == ("classes" in options[1]), done.stdout + done.stderr


def test_without_attributes_all_columns_that_can_be_groups_are_counted(own):
    done = command("check", "table", f"--root={own}", *OWN, "--negative=None", "--nopixels")
    assert done.returncode == 0, done.stderr
    assert "column 'age' is no attribute: " in done.stdout
    assert "column 'tone' is no attribute: " in done.stdout
    data = datasets.load("table", own, table="t.csv", image="path", label="y", patient="pid",
                         positive="Yes", negative=None)  # fmt: skip
    assert data.attributes == ["mask", "sex"]
    pd.DataFrame({"path": ["0.png", "1.png"], "y": ["Yes", "No"]}).to_csv(own / "bare.csv")
    bare = datasets.load(
        "table", own, table="bare.csv", image="path", label="y", positive="Yes", negative="No"
    )
    counts = check(bare, np.array(["train", "test"]), progress=False).counts
    assert counts["n_images"].sum() == 2
    assert set(counts["attribute"]) == {"all"}


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--set=imge=path",), "unknown option of the dataset table 'imge'; did you mean 'image'?"),
        (("--attributes=label",), "an attribute cannot be called 'label'"),
        (("--attributes=tone",), "'tone' holds -1 among numbers that are not negative"),
        (("--attributes=sex", "--bins=age=40"), "bins for 'age', which is no attribute"),
        (("--attributes=sex", "--window=a,b"), "option window of the dataset cannot be"),
        (("--attributes=sex", "--positive=Yes,Maybe", "--rare=group"), "unknown option of the dataset table 'rare'"),
    ],
)  # fmt: skip
def test_mistakes_in_the_options_of_a_table_get_one_line(own, flags, says):
    frame = pd.read_csv(own / "t.csv", sep=";").assign(label="x")
    frame.to_csv(own / "t.csv", index=False, sep=";")
    done = command("check", "table", f"--root={own}", *OWN, "--negative=No", *flags)
    assert (done.returncode, done.stdout) == (EXIT_USER_ERROR, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_labels_are_never_made_negative(own):
    frame = pd.read_csv(own / "t.csv", sep=";", dtype=str, keep_default_na=False)
    frame.loc[[2, 5], "y"] = ["NA", ""]
    frame.to_csv(own / "t.csv", index=False, sep=";")
    for negative, says in (((), "is missing in 2 rows"), ("No", "holds 'NA' (1 row)")):
        with pytest.raises(UserError, match=re.escape(says)):
            datasets.load("table", own, table="t.csv", image="path", label="y", positive="Yes",
                          negative=negative)  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("chek", "ham10000"), "unknown command 'chek'; did you mean 'check'?"),
        (("check",), "name one dataset, not 0"),
        (("check", "HAM1000"), "unknown dataset 'HAM1000'; did you mean 'ham10000'?"),
        (("check", "ham10000"), "dataset 'ham10000' needs its folder"),
        (("check", "ham10000", "--fractions=a,b"), "needs its folder"),
        (("check", "synthetic", "--set=n_patients"), "--set=n_patients: write it as KEY=VALUE"),
        (("check", "synthetic", "--fractions=a,b"), "--fractions=a,b: give three numbers"),
        (("split", "synthetic", "--set=n_patients=90"), "with --out=split.csv"),
    ],
)
def test_mistakes_get_one_line(arguments, says):
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (EXIT_USER_ERROR, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_every_dataset_is_listed():
    done = command()
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [*SPECS, *LOADERS]


def test_the_page_of_the_documentation_is_current():
    """After a change to the catalog: python -m fairjax.datasets docs."""
    assert (ROOT / "docs" / "datasets.md").read_text() == docs.markdown()


@pytest.mark.parametrize("name", SPECS)
def test_every_spec_says_what_a_user_must_know(name):
    spec = SPECS[name]
    assert all(
        (
            spec.title,
            spec.modality,
            spec.licence,
            spec.citation,
            spec.access,
            spec.tree.strip(),
            spec.unit,
        )
    )
    assert bool(spec.prompt) == bool(spec.label and all(spec.classes))
    assert spec.label or spec.masks
    assert spec.task != "segmentation" or spec.masks
    text = docs.section(name, spec)
    assert all(
        fact in text
        for fact in (spec.title, spec.licence, spec.citation, spec.access, *spec.attributes)
    )
