"""`table`: a user's own CSV or Parquet of image paths, labels, patients and attributes, by
configuration alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fairjax.datasets.assemble import describe, patients, read_masks
from fairjax.datasets.dataset import Dataset
from fairjax.datasets.files import existing_root, fingerprint, locate, require_some
from fairjax.datasets.frames import read_table
from fairjax.datasets.masks import NONZERO
from fairjax.datasets.readers.images import ImageFiles, MaskImages
from fairjax.datasets.readers.volume_files import VolumeImages, VolumeMasks
from fairjax.datasets.rules import MOST_GROUPS, Bins, Groups, Label
from fairjax.datasets.spec import DIMENSIONS, MaskFile
from fairjax.datasets.volumes import AXES, check_spacing
from fairjax.utils.errors import UserError, did_you_mean, lookup

MOST_NUMBERS = (
    6  # distinct numbers that may be groups of their own; more are a continuous attribute
)


def load(
    root: str | None,
    *,
    table: str = "",
    image: str = "image",
    label: str = "label",
    patient: str | None = None,
    attributes: Sequence[str] = (),
    positive: Sequence[str] = ("1",),
    negative: Sequence[str] | None = ("0",),
    missing: Sequence[str] = ("unknown",),
    mask: str | None = None,
    mask_classes: Sequence[str] = ("foreground",),
    dimensions: str = "2D",
    window: Sequence[float] = (),
    axis: str = "axial",
    spacing: Sequence[float] = (),
    cuts: Mapping[str, Sequence[float]] | None = None,
) -> Dataset:
    """Reads a dataset from one table.

    Args:
      root: the folder that the image paths are relative to.
      table: the table's path, absolute or relative to `root`.
      image: column of the image paths.
      label: column of the labels; '' where the images are only to be segmented.
      patient: column of the patients; None or '' where every image is its own unit.
      attributes: columns of the attributes, by default all that no other argument names.
      positive, negative: values of the label; `negative=None` means all others.
      missing: values of the attributes that mean "not recorded", besides the empty one.
      mask: column of the paths of the masks, relative to `root`, blank where an image has none.
      mask_classes: one name, for every value but 0; or values and names, as `("1=kidney",
        "2=tumor", "3=tumor")`.
      dimensions: `2D` for images; `2.5D` or `3D` where a path is that of a volume (.nii, .nii.gz,
        .mha, DICOM).
      window: (low, high) of DICOM files and volumes, what becomes black and white; () what the file
        or its values say.
      axis: along which the slices of volumes are counted: `axial`, `coronal` or `sagittal`.
      spacing: (slices, rows, columns) in mm that volumes are resampled to; () leaves them as they
        are.
      cuts: cut points of the continuous attributes; every other attribute has its distinct values
        as groups.

    Returns:
      The `Dataset`.

    Raises:
      UserError: a file or column is missing, a label has another value, a continuous attribute has
        no cut points.
    """
    folder = existing_root("table", root)
    if not table:
        raise UserError("dataset 'table' needs its table: give --config.dataset.table=FILE.csv")
    path = folder / table if (folder / table).is_file() else Path(table)
    if not path.is_file():
        raise UserError(
            f"table {table} is neither in {folder} nor a path of its own; give --config.dataset.table=FILE.csv"
        )
    named = [column for column in (image, label, patient, mask) if column]
    frame = read_table(path, [*named, *attributes])
    for attribute in cuts or {}:
        if attribute not in attributes:
            raise UserError(
                f"{path}: cut points for {attribute!r}, which is no attribute{did_you_mean(attribute, attributes)}"
            )
    images, sizes = locate(folder, [frame[image].tolist()])
    require_some(folder, images, sizes)
    columns: dict[str, Any] = {
        "image": images,
        "patient": patients(frame, patient, images, str(path)),
    }
    meaning = f"{label} = {', '.join(positive)}" if label else ""
    if label:
        rest = tuple(negative) if negative is not None else None
        columns["label"] = Label(label, meaning, tuple(positive), rest).apply(
            frame[label], str(path)
        )
    for attribute in attributes:
        rule = _rule(frame[attribute], str(path), tuple(missing), (cuts or {}).get(attribute))
        columns[attribute] = rule.apply(frame[attribute], str(path))
    info = {
        "modality": "",
        "label": meaning,
        "classes": ["negative", "positive"],
        "prompt": "",
        "citation": "",
        "licence": "",
    }
    pixels, values = _readers(str(folder), dimensions, window, axis, spacing)
    files = [MaskFile((f"{{{mask}}}",), _mask_classes(mask_classes))] if mask else []
    masks = read_masks(folder, files, values, frame, images)
    if masks and not masks.files:
        raise UserError(
            f"none of the masks in column {mask!r} of {path} is in {folder}; their paths are relative to it"
        )
    return Dataset(
        "table",
        pd.DataFrame(columns),
        pixels,
        fingerprint(images, sizes, describe(pixels)),
        info,
        masks,
    )


def _readers(
    root: str, dimensions: str, window: Sequence[float], axis: str, spacing: Sequence[float]
) -> tuple:
    """The readers of the images and of the masks."""
    lookup("dimensions", dimensions, dict.fromkeys(DIMENSIONS))
    lookup("axis", axis, AXES)
    if window and (len(window) != 2 or not window[0] < window[1]):
        raise UserError(f"window must be two increasing numbers, as -1250,250; not {tuple(window)}")
    low_high = (float(window[0]), float(window[1])) if window else None
    if dimensions == "2D":
        return ImageFiles(root, low_high), MaskImages(root)
    target = check_spacing(spacing) if spacing else ()
    return VolumeImages(root, low_high, axis, target), VolumeMasks(root, target)


def _mask_classes(classes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    values: dict[str, tuple[int, ...]] = {}
    for text in classes:
        value, equals, name = text.partition("=")
        if (len(classes) > 1 and not equals) or (equals and not value.strip().isdecimal()):
            raise UserError(
                f"mask_classes must be one name, or values and names as 1=kidney,2=tumor; not {text!r}"
            )
        name = name.strip() if equals else value
        values[name] = (*values.get(name, ()), int(value)) if equals else NONZERO
    return values


def _rule(
    values: pd.Series, where: str, missing: tuple[str, ...], cuts: Sequence[float] | None
) -> Groups | Bins:
    attribute = str(values.name)
    if cuts is not None:
        return Bins(attribute, tuple(map(float, cuts)), missing)
    groups = sorted(set(values) - {"", *missing})
    numeric = pd.to_numeric(pd.Series(groups), errors="coerce").notna().all()
    if len(groups) > (MOST_NUMBERS if numeric else MOST_GROUPS):
        raise UserError(
            f"{where}: attribute {attribute!r} has {len(groups)} distinct values; "
            f"give cut points, for example --config.dataset.cuts={attribute}=40,60"
        )
    return Groups(attribute, {value: value for value in groups}, missing)
