"""From a declaration and a folder to a `Dataset`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fairjax.datasets.dataset import Dataset
from fairjax.datasets.files import existing_root, fill, fingerprint, locate, require_some
from fairjax.datasets.masks import Masks
from fairjax.datasets.readers.images import ImageFiles
from fairjax.datasets.rules import RARE, Groups, recut
from fairjax.datasets.spec import MaskFile, Spec
from fairjax.datasets.volumes import check_spacing
from fairjax.utils.errors import UserError, lookup


def dataset(
    name: str,
    spec: Spec,
    root: str | None = None,
    *,
    cuts: Mapping[str, Sequence[float]] | None = None,
    positive: Sequence[str] = (),
    rare: str = "missing",
    spacing: Sequence[float] = (),
) -> Dataset:
    """Reads the dataset that `spec` describes from `root`.

    Args:
      name: the dataset's name.
      spec: its declaration.
      root: the folder in the published layout.
      cuts: cut points per continuous attribute, instead of the spec's.
      positive: values of the label that are positive, instead of the spec's.
      rare: what becomes of rare values of an attribute: `missing`, or a `group` of their own.
      spacing: (slices, rows, columns) in mm that volumes are resampled to; () leaves them as they
        are.

    Returns:
      The `Dataset`.

    Raises:
      UserError: root, table, column missing, a value without a rule, a path outside root, an option
        that does not fit.
    """
    folder = existing_root(name, root)
    lookup("way with rare values", rare, dict.fromkeys(RARE))
    lost = spec.source.lost(folder)
    known = {
        attribute: rule for attribute, rule in spec.attributes.items() if rule.column not in lost
    }
    rules = recut(name, known, cuts or {})
    rules = {
        key: rule.with_rare(rare) if isinstance(rule, Groups) else rule
        for key, rule in rules.items()
    }
    frame, where = spec.source.read(folder, spec.columns, spec.mask_columns)
    info: dict[str, Any] = _facts(spec)
    info["absent"] = {
        key: lost[rule.column] for key, rule in spec.attributes.items() if key not in known
    }

    columns: dict[str, Any] = {}
    if label := spec.label:
        label = label.with_positive(positive, name) if positive else label
        labels = label.apply(frame[label.column], where)
        kept = labels >= 0
        info |= {"label": label.meaning, "dropped": int((~kept).sum())}
        frame, columns["label"] = (
            frame[kept].reset_index(drop=True),
            labels[kept].reset_index(drop=True),
        )
    elif positive:
        raise UserError(
            f"{name} has no label whose positive values could be chosen: it is made for segmentation"
        )

    images, sizes = locate(folder, [fill(folder, template, frame) for template in spec.image])
    require_some(folder, images, sizes)
    columns = {"image": images, "patient": patients(frame, spec.patient, images, where)} | columns
    columns |= {
        attribute: rule.apply(frame[rule.column], where) for attribute, rule in rules.items()
    }
    options = {"spacing": _spacing(name, spec, spacing)} if spacing else {}
    pixels = spec.pixels(str(folder), **options)
    masks = read_masks(folder, spec.masks, spec.mask_values(str(folder), **options), frame, images)
    return Dataset(
        name,
        pd.DataFrame(columns),
        pixels,
        fingerprint(images, sizes, describe(pixels)),
        info,
        masks,
    )


def _facts(spec: Spec) -> dict[str, Any]:
    return {
        "title": spec.title,
        "modality": spec.modality,
        "dimensions": spec.dimensions,
        "unit": spec.unit,
        "label": "",
        "classes": list(spec.classes),
        "prompt": spec.prompt,
        "citation": spec.citation,
        "licence": spec.licence,
    }


def _spacing(name: str, spec: Spec, spacing: Sequence[float]) -> tuple[float, ...]:
    if not spec.volumetric:
        raise UserError(f"{name} holds images, no volumes: leave --config.dataset.spacing out")
    return check_spacing(spacing)


def describe(pixels: Any) -> str:
    """What a reader's pixels depend on besides the files: its kind and settings, and not where the
    files lie.
    """
    settings = {
        field.name: getattr(pixels, field.name)
        for field in dataclasses.fields(pixels)
        if field.name != "root"
    }
    return "files" if pixels == ImageFiles(pixels.root) else f"{type(pixels).__name__} {settings}"


def patients(
    frame: pd.DataFrame, column: str | None, images: Sequence[str], where: str
) -> list[str]:
    """The unit of every row: the patient where there is such a column, else the image.

    Raises:
      UserError: a row has no patient.
    """
    if not column:
        return list(images)
    blank = int((frame[column] == "").sum())
    if blank:
        raise UserError(
            f"{where}: patient column {column!r} is empty in {blank} rows; fill it, or no split by patient can be made"
        )
    return frame[column].tolist()


def read_masks(
    folder: Path,
    files: Sequence[MaskFile],
    values: Callable[[str], Any],
    frame: pd.DataFrame,
    images: Sequence[str],
) -> Masks | None:
    """The reader of the masks of those images that have every file of theirs; None where no files
    are declared.
    """
    if not files:
        return None
    parts = [
        locate(folder, [fill(folder, template, frame) for template in file.files]) for file in files
    ]
    rows = zip(images, *(zip(paths, sizes) for paths, sizes in parts))
    found = {
        image: tuple(path for path, _ in part)
        for image, *part in rows
        if all(size >= 0 for _, size in part)
    }
    return Masks(values, found, tuple(file.classes for file in files))
