"""What the libraries of the extra `medical` are for is said in one line where they are missing, and
all else goes without.
"""

import subprocess
import sys

import numpy as np
import pytest
from helpers.trees import (
    records,
    write_csv,
    write_dicom,
    write_hdf5,
    write_mha,
    write_nifti,
    write_xlsx,
)

BLOCK = """
import sys
for name in ("pydicom", "nibabel", "SimpleITK", "h5py", "openpyxl"):
    sys.modules[name] = None
from fairjax import datasets
from fairjax.datasets import catalog, docs
from fairjax.utils.errors import UserError
"""


def without(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + script, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_everything_else_goes_without_them():
    script = "data = datasets.load('synthetic', n_patients=9); print(data.read(data.table['image'][0]).shape, len(docs.listing()))"
    assert without(script).startswith("(64, 64, 3)")


def test_no_library_is_imported_before_it_is_needed():
    script = (
        "import sys\nfrom fairjax import datasets\nfrom fairjax.datasets import catalog, check, docs, splits\n"
        "print({'pydicom', 'nibabel', 'SimpleITK', 'h5py', 'openpyxl', 'jax', 'scipy'} & set(sys.modules))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "set()"
    )


@pytest.mark.parametrize(
    ("library", "script"),
    [
        (
            "pydicom",
            "datasets.load('table', sys.argv[1], table='t.csv', image='dicom').read('a.dcm')",
        ),
        (
            "nibabel",
            "datasets.load('table', sys.argv[1], table='t.csv', image='nifti', dimensions='3D').slices()",
        ),
        (
            "SimpleITK",
            "datasets.load('table', sys.argv[1], table='t.csv', image='mha', dimensions='3D').read_volume('a.mha')",
        ),
        ("h5py", "datasets.load('tusc', sys.argv[1])"),
        ("openpyxl", "datasets.load('papila', sys.argv[1])"),
    ],
)
def test_the_missing_library_and_the_extra_are_named(tmp_path, library, script):
    write_dicom(tmp_path / "a.dcm", np.zeros((3, 4), np.uint16))
    write_nifti(tmp_path / "a.nii", np.zeros((3, 4, 5), np.int16))
    write_mha(tmp_path / "a.mha", np.zeros((3, 4, 5), np.int16))
    write_hdf5(
        tmp_path / "dataset.hdf5", image=np.zeros((1, 3, 4), np.uint8), annot_id=np.array([b"1_"])
    )
    write_csv(tmp_path / "metadata.csv", records("annot_id|age|sex", "1_|40|Female"))
    write_csv(tmp_path / "t.csv", records("dicom|nifti|mha|label", "a.dcm|a.nii|a.mha|1"))
    for eye in ("od", "os"):
        write_xlsx(
            tmp_path / "ClinicalData" / f"patient_data_{eye}.xlsx",
            [["ID", "Age", "Gender", "Diagnosis"], ["#002", 40, 0, 1]],
        )
    said = without(f"try:\n    {script}\nexcept UserError as error:\n    print(error)", tmp_path)
    assert f"needs {library}: pip install 'fairjax[medical]'" in said
