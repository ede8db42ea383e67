"""`python -m fairjax.datasets`: what it lists, what `check` finds, and that the page of the
documentation is current.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.trees import write_csv, write_image, write_nifti
from PIL import Image

from fairjax import datasets
from fairjax.datasets import docs
from fairjax.datasets.catalog import LOADERS, SPECS
from fairjax.datasets.check import check, describe, to_json
from fairjax.datasets.splits import split
from fairjax.utils.errors import EXIT_USER_ERROR

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
    return check(data, split(data), show_progress=False, **options)


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
    assert "patients on both sides: none" in text
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
        "2 of 40 images are absent or unreadable, more than the share 0.01",
        "1 pictures stand on two sides of the split",
        "2 masks are of no use",
    ]
    assert len(found.problems(max_unreadable=0.1)) == 2
    text = describe(found)
    assert "absent files: 1\n  HAM10000_images/ISIC_03.jpg: FileNotFoundError" in text
    assert "not ready: 2 of 40 images" in text
    json.dumps(to_json(found))


def test_patients_on_both_sides_are_found(ham):
    data = datasets.load("ham10000", ham)
    side = split(data)
    side[:30], side[30:] = "train", "test"  # lesions 0 to 9 have an image in either part
    found = check(data, side, pixels=False)
    assert found.both_sides == [f"HAM_{i:02d}" for i in range(10)]
    assert found.problems() == ["10 patients stand on two sides of the split"]
    assert found.n_read == 0


def test_without_reading_pixels_absent_files_are_found(ham):
    (ham / "HAM10000_images" / "ISIC_03.jpg").unlink()
    found = looked_at(ham, "ham10000", pixels=False)
    assert found.absent == [("HAM10000_images/ISIC_03.jpg", "no such file")]
    assert found.problems() == ["1 of 40 images are absent or unreadable, more than the share 0.01"]
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
