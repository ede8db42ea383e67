"""From a declaration and a folder to a `Dataset`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fairjax.datasets.bins import parse_bins
from fairjax.datasets.dataset import Dataset
from fairjax.datasets.files import existing_root, fill, fingerprint, locate, require_some
from fairjax.datasets.masks import Masks
from fairjax.datasets.options import CatalogOptions, as_options
from fairjax.datasets.readers.images import ImageFiles
from fairjax.datasets.rules import RARE, Groups, with_bins
from fairjax.datasets.spec import MaskFile, Spec
from fairjax.datasets.values import is_missing
from fairjax.datasets.volumes import check_spacing
from fairjax.utils.errors import UserError, lookup


def dataset(
    name: str, spec: Spec, root: str | None = None, *, bins: Any = None, **options: Any
) -> Dataset:
    """Reads the dataset that `spec` describes from `root`.

    Args:
      name: the dataset's name.
      spec: its declaration.
      root: the folder in the published layout.
      bins: groups of continuous attributes instead of the spec's; see `fairjax.datasets.bins`.
      **options: fields of `fairjax.datasets.options.CatalogOptions`.

    Returns:
      The `Dataset`.

    Raises:
      UserError: root, table, column missing, a value without a rule, a path outside root, an option
        that does not fit.
    """
    cfg = as_options(CatalogOptions, name, options)
    root_dir = existing_root(name, root)
    lookup("way with rare values", cfg.rare, dict.fromkeys(RARE))
    lost = spec.source.lost(root_dir)
    known = {
        attribute: rule for attribute, rule in spec.attributes.items() if rule.column not in lost
    }
    rules = with_bins(name, known, parse_bins(bins))
    rules = {
        key: rule.with_rare(cfg.rare) if isinstance(rule, Groups) else rule
        for key, rule in rules.items()
    }
    frame, where = spec.source.read(root_dir, spec.columns, spec.mask_columns)
    info: dict[str, Any] = _facts(spec)
    info["absent"] = {
        key: lost[rule.column] for key, rule in spec.attributes.items() if key not in known
    }

    columns: dict[str, Any] = {}
    if label := spec.label:
        label = label.with_positive(cfg.positive, name) if cfg.positive else label
        labels = label.apply(frame[label.column], where)
        kept = labels >= 0
        info |= {"label": label.meaning, "dropped": int((~kept).sum())}
        frame, columns["label"] = (
            frame[kept].reset_index(drop=True),
            labels[kept].reset_index(drop=True),
        )
    elif cfg.positive:
        raise UserError(
            f"{name} has no label whose positive values could be chosen: it is made for "
            "segmentation"
        )

    images, sizes = locate(root_dir, [fill(root_dir, template, frame) for template in spec.image])
    require_some(root_dir, images, sizes)
    columns = {"image": images, "patient": patients(frame, spec.patient, images, where)} | columns
    info["notes"] = []
    for attribute, rule in rules.items():
        found = rule.group(frame[rule.column], where, keep_na=cfg.keep_na)
        columns[attribute] = pd.Categorical.from_codes(found.codes, found.names)
        info["notes"] += found.notes
    spacing = {"spacing": _spacing(name, spec, cfg.spacing)} if cfg.spacing else {}
    pixels = spec.pixels(str(root_dir), **spacing)
    values = spec.mask_values(str(root_dir), **spacing)
    masks = read_masks(root_dir, spec.masks, values, frame, images)
    key = fingerprint(images, sizes, describe(pixels))
    return Dataset(name, pd.DataFrame(columns), pixels, key, info, masks)


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
    """Returns the unit of every row: the patient where there is such a column, else the image.

    Args:
      frame: text columns in canonical form.
      column: the column of the patients.
      images: paths of the images.
      where: the table, for messages.

    Raises:
      UserError: a row has no patient.
    """
    if not column:
        return list(images)
    blank = int(is_missing(frame[column]).sum())
    if blank:
        raise UserError(
            f"{where}: patient column {column!r} is empty in {blank} rows; fill it, or no split by "
            "patient can be made"
        )
    return frame[column].tolist()


def read_masks(
    root_dir: Path,
    files: Sequence[MaskFile],
    values: Callable[[str], Any],
    frame: pd.DataFrame,
    images: Sequence[str],
    threshold: float | None = None,
) -> Masks | None:
    """Returns the reader of the masks of those images that have every file of theirs; None where
    no files are declared.

    Args:
      root_dir: the dataset's folder.
      files: what the masks are.
      values: path of a mask file → its values.
      frame: the columns that the paths are made of.
      images: paths of the images.
      threshold: cuts soft masks; None: they are refused.
    """
    if not files:
        return None
    parts = [
        locate(root_dir, [fill(root_dir, template, frame) for template in file.files])
        for file in files
    ]
    rows = zip(images, *(zip(paths, sizes) for paths, sizes in parts))
    found = {
        image: tuple(path for path, _ in part)
        for image, *part in rows
        if all(size >= 0 for _, size in part)
    }
    return Masks(values, found, tuple(file.classes for file in files), threshold)
