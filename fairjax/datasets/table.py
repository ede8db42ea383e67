"""`table`: a user's own table of image paths, labels, patients and attributes, by configuration
alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fairjax.datasets.assemble import describe, patients, read_masks
from fairjax.datasets.bins import parse_bins
from fairjax.datasets.dataset import KEYS, Dataset
from fairjax.datasets.files import existing_root, fingerprint, locate, require_some
from fairjax.datasets.masks import NONZERO
from fairjax.datasets.options import TableOptions, as_names, as_options
from fairjax.datasets.readers.images import ImageFiles
from fairjax.datasets.readers.mask_files import MaskFiles
from fairjax.datasets.readers.volume_files import VolumeImages, VolumeMasks
from fairjax.datasets.rules import Label, rule_for
from fairjax.datasets.spec import DIMENSIONS, MaskFile
from fairjax.datasets.tables import read_table
from fairjax.datasets.values import canonical
from fairjax.datasets.volumes import AXES, check_spacing
from fairjax.utils.errors import UserError, did_you_mean, lookup


def load(root: str | None, *, attributes: Any = (), bins: Any = None, **options: Any) -> Dataset:
    """Reads a dataset from one table.

    Args:
      root: the folder that the image paths are relative to.
      attributes: columns of the attributes; by default all that can be groups.
      bins: groups of continuous attributes, as `age=40,60`; see `fairjax.datasets.bins`.
      **options: fields of `fairjax.datasets.options.TableOptions`.

    Returns:
      The `Dataset`.

    Raises:
      UserError: a file or column is missing, a label has another value, a continuous attribute has
        no bins.
    """
    cfg = as_options(TableOptions, "table", options)
    attributes, cuts = as_names(attributes), parse_bins(bins)
    root_dir = existing_root("table", root)
    path = _path(root_dir, cfg.table)
    named = [column for column in (cfg.image, cfg.label, cfg.patient, cfg.mask) if column]
    raw = read_table(path, [*named, *attributes] if attributes else None, text=False)
    for column in named:
        if column not in raw:
            raise UserError(f"{path} has no column {column!r}{did_you_mean(column, raw.columns)}")
    frame = raw[list(dict.fromkeys(named))].apply(canonical)
    images, sizes = locate(root_dir, [frame[cfg.image].tolist()])
    require_some(root_dir, images, sizes)
    columns: dict[str, Any] = {
        "image": images,
        "patient": patients(frame, cfg.patient, images, str(path)),
    }
    if cfg.label:
        columns["label"] = _labels(frame[cfg.label], cfg, str(path))
    notes = list(raw.attrs["notes"])
    _check_attributes(raw, attributes, cuts, str(path))
    free = [column for column in raw if column not in (*named, *KEYS)]
    for attribute in attributes or free:
        rule = rule_for(attribute, cuts.get(attribute), cfg.missing)
        try:
            found = rule.group(raw[attribute], str(path), keep_na=cfg.keep_na)
        except UserError as error:
            if attributes:
                raise
            notes.append(f"column {attribute!r} is no attribute: {error}")
        else:
            columns[attribute] = pd.Categorical.from_codes(found.codes, found.names)
            notes += found.notes
    info = {
        "modality": "",
        "label": _meaning(cfg),
        "classes": ["negative", "positive"],
        "prompt": "",
        "citation": "",
        "licence": "",
        "notes": notes,
    }
    pixels, values = _readers(str(root_dir), cfg)
    files = [MaskFile((f"{{{cfg.mask}}}",), _mask_classes(cfg.mask_classes))] if cfg.mask else []
    masks = read_masks(root_dir, files, values, frame, images, cfg.mask_threshold or None)
    if masks and not masks.files:
        raise UserError(
            f"none of the masks in column {cfg.mask!r} of {path} is in {root_dir}; their paths are "
            "relative to it"
        )
    key = fingerprint(images, sizes, describe(pixels))
    return Dataset("table", pd.DataFrame(columns), pixels, key, info, masks)


def _path(root_dir: Path, table: str) -> Path:
    if not table:
        raise UserError(
            "dataset 'table' needs its table: give --config.dataset.table=FILE.csv (of "
            "fairjax.datasets --table=FILE.csv)"
        )
    path = root_dir / table if (root_dir / table).is_file() else Path(table)
    if not path.is_file():
        raise UserError(
            f"table {table} is neither in {root_dir} nor a path of its own; correct the option "
            "table"
        )
    return path


def _meaning(cfg: TableOptions) -> str:
    return f"{cfg.label} = {', '.join(cfg.positive)}" if cfg.label else ""


def _labels(values: pd.Series, cfg: TableOptions, where: str) -> pd.Series:
    rule = Label(cfg.label, _meaning(cfg), cfg.positive, cfg.negative or None)
    unknown = 0 if cfg.negative else rule.unknown(values)
    if unknown:
        raise UserError(
            f"{where}: label column {cfg.label!r} is missing in {unknown} rows, where every other "
            "value is negative: fill them in, or leave the rows out"
        )
    return rule.apply(values, where)


def _check_attributes(
    raw: pd.DataFrame, attributes: Sequence[str], cuts: Mapping[str, Any], where: str
) -> None:
    for attribute in attributes:
        if attribute in KEYS:
            raise UserError(
                f"{where}: an attribute cannot be called {attribute!r}, which is the dataset's own "
                f"name ({', '.join(KEYS)}); rename the column"
            )
    for attribute in cuts:
        if attribute not in (attributes or raw):
            raise UserError(
                f"{where}: bins for {attribute!r}, which is no attribute"
                f"{did_you_mean(attribute, attributes or raw)}"
            )


def _readers(root: str, cfg: TableOptions) -> tuple:
    """The readers of the images and of the masks."""
    lookup("dimensions", cfg.dimensions, dict.fromkeys(DIMENSIONS))
    lookup("axis", cfg.axis, AXES)
    window = cfg.window
    if window and (len(window) != 2 or not window[0] < window[1]):
        raise UserError(f"window must be two increasing numbers, as -1250,250; not {window}")
    low_high = (window[0], window[1]) if window else None
    if cfg.dimensions == "2D":
        return ImageFiles(root, low_high), MaskFiles(root)
    target = check_spacing(cfg.spacing) if cfg.spacing else ()
    return VolumeImages(root, low_high, cfg.axis, target), VolumeMasks(root, target)


def _mask_classes(classes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    values: dict[str, tuple[int, ...]] = {}
    for text in classes:
        value, equals, name = text.partition("=")
        if (len(classes) > 1 and not equals) or (equals and not value.strip().isdecimal()):
            raise UserError(
                "mask_classes must be one name, or values and names as 1=kidney,2=tumor; not "
                f"{text!r}"
            )
        name = name.strip() if equals else value
        values[name] = (*values.get(name, ()), int(value)) if equals else NONZERO
    return values
