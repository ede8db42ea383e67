"""From files to tables and pixels: metadata as exact text, images as 8-bit RGB."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageOps

from fairjax.datasets.spec import canonical
from fairjax.errors import UserError, did_you_mean
from fairjax.io import hash_json

SEPARATORS = {".tsv": "\t"}


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Reads image files below a folder: `reader("images/a.jpg")` → uint8 RGB (H, W, 3), turned as EXIF says."""

    root: str

    def __call__(self, image: str) -> UInt8[np.ndarray, "h w 3"]:
        """Decodes one file; repeats grey over the channels, scales 16 bits to 8; raises OSError on a bad file."""
        with Image.open(os.path.join(self.root, image)) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I"):
                wide = np.asarray(upright, np.float32) * (255 / 65535)
                upright = Image.fromarray(wide.round().clip(0, 255).astype(np.uint8))
            return np.asarray(upright.convert("RGB"))


@dataclasses.dataclass(frozen=True)
class MaskImages:
    """Reads masks kept as images below a folder: `reader("masks/a.png")` → the file's values (H, W)."""

    root: str

    def __call__(self, path: str) -> Shaped[np.ndarray, "h w"]:
        """Decodes one file, turned as EXIF says; raises OSError on a bad one, ValueError on one in colours."""
        with Image.open(os.path.join(self.root, path)) as opened:
            values = np.asarray(ImageOps.exif_transpose(opened))
        if values.ndim == 3 and not (values == values[..., :1]).all():
            raise ValueError(f"mask {path} is in colours, not in values of classes")
        return values if values.ndim == 2 else values[..., 0]


def existing_root(name: str, root: str | None) -> Path:
    """`root` as a path, or a `UserError` that says how to give it."""
    if not root:
        raise UserError(f"dataset {name!r} needs its folder: give --config.dataset.root=DIR")
    if not Path(root).is_dir():
        raise UserError(
            f"dataset {name!r}: image root {root} does not exist or is no folder; give --config.dataset.root=DIR"
        )
    return Path(root)


def read_table(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> pd.DataFrame:
    """Reads columns of a CSV, TSV or Parquet file as exact text ('' where missing, or where an optional one is absent).

    Raises:
      UserError: the file cannot be read, is empty, or lacks a column (the nearest name is given).
    """
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        else:
            separator = SEPARATORS.get(path.suffix, ",")
            frame = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read table {path}: {error}") from None
    for column in columns:
        if column not in frame:
            raise UserError(f"{path} has no column {column!r}{did_you_mean(column, frame.columns)}")
    if frame.empty:
        raise UserError(f"{path} has no rows")
    return frame.reindex(columns=list(dict.fromkeys([*columns, *optional])), fill_value="").apply(canonical)


def patients(frame: pd.DataFrame, column: str | None, images: Sequence[str], where: str) -> list[str]:
    """The unit of every row: the patient where there is such a column, else the image."""
    if not column:
        return list(images)
    blank = int((frame[column] == "").sum())
    if blank:
        raise UserError(
            f"{where}: patient column {column!r} is empty in {blank} rows; fill it, or no split by patient can be made"
        )
    return frame[column].tolist()


def image_sizes(root: Path, candidates: Sequence[Sequence[str]]) -> tuple[list[str], list[int]]:
    """For every row the first of its candidate paths that exists, and the file's size in bytes (−1 where none does)."""
    images, sizes = [], []
    for paths in zip(*candidates):
        found = next(((path, size) for path in paths if (size := _size(root / path)) >= 0), (paths[0], -1))
        images.append(found[0])
        sizes.append(found[1])
    if max(sizes) < 0:
        raise UserError(
            f"none of the {len(sizes)} images is in {root} (for example {images[0]}); is it the right folder?"
        )
    return images, sizes


def fingerprint(images: Sequence[str], sizes: Sequence[int], reader: str = "files") -> str:
    """Hash of what the pixels come from: names, file sizes (bytes, −1 where absent) and the reader; opens no image."""
    return hash_json([reader, list(images), list(sizes)])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
