"""Small trees in the published layouts, with made-up values: what the tests of the specs share."""

import csv
import json
from pathlib import Path

import h5py
import nibabel
import numpy as np
import openpyxl
import SimpleITK
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def write_csv(path: Path, rows: list[dict], *, before: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        file.write(before)
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def records(columns: str, *rows: str) -> list[dict]:
    """Rows written as text: columns and values apart by `|`."""
    names = columns.split("|")
    return [dict(zip(names, row.split("|"), strict=True)) for row in rows]


def write_xlsx(path: Path, rows: list[list], sheet: str = "Sheet1") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    book.active.title = "about"
    page = book.active if sheet == "about" else book.create_sheet(sheet, 0)
    for row in rows:
        page.append(row)
    book.save(path)


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value))


def write_image(path: Path, value=0, size: tuple[int, int] = (6, 4)) -> None:
    """An RGB image of one value, or of the array `value`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = (
        Image.fromarray(value)
        if isinstance(value, np.ndarray)
        else Image.new("RGB", size, (value, value, value))
    )
    image.save(path)


def write_npz(path: Path, **arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)


def write_hdf5(path: Path, **arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def write_nifti(path: Path, values_xyz: np.ndarray, affine=None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values_xyz, np.eye(4) if affine is None else affine), path)


def write_mha(
    path: Path, values_zyx: np.ndarray, spacing_xyz=(1.0, 1.0, 1.0), direction=None
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(values_zyx)
    image.SetSpacing(spacing_xyz)
    if direction is not None:
        image.SetDirection(direction)
    SimpleITK.WriteImage(image, path, True)


def dicom(values: np.ndarray, **elements) -> FileDataset:
    """A DICOM image: uint16 (rows, columns) or (frames, rows, columns), MONOCHROME2, as CT unless
    `elements` differ.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    file.Rows, file.Columns = values.shape[-2:]
    if values.ndim == 3:
        file.NumberOfFrames = len(values)
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 16
    file.HighBit, file.PixelRepresentation = 15, 0
    file.PixelData = values.astype("<u2").tobytes()
    for name, value in elements.items():
        setattr(file, name, value)
    return file


def write_dicom(path: Path, values: np.ndarray, **elements) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    dicom(values, **elements).save_as(path, enforce_file_format=True)


def write_series(folder: Path, hounsfield_zyx: np.ndarray, spacing_zyx=(5.0, 1.0, 1.0)) -> None:
    """A CT series, lying on the back, feet first in the array and last in the files' names."""
    series = generate_uid()
    for k, values in enumerate(hounsfield_zyx):
        write_dicom(
            folder / f"IM{len(hounsfield_zyx) - k:04d}.dcm",
            values + 1024,
            SeriesInstanceUID=series,
            InstanceNumber=k + 1,
            RescaleSlope=1,
            RescaleIntercept=-1024,
            PixelSpacing=list(spacing_zyx[1:]),
            SliceThickness=spacing_zyx[0],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, spacing_zyx[0] * k],
        )
