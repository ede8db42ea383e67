"""Rows in files of their own: text files per patient, arrays per image, frames of one
file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from fairjax.datasets.files import OutsideRootError, find, inside, matches
from fairjax.datasets.readers import arrays
from fairjax.datasets.sources import Rows, Source, absent_error
from fairjax.datasets.values import canonical
from fairjax.utils.errors import UserError

MAX_TEXT = 2**16  # bytes of a patient's text file


@dataclasses.dataclass(frozen=True)
class TextFiles(Source):
    """One text file per row; the column `stem` is its name without the ending.

    Attributes:
      pattern: of the files, relative to the root.
      fields: column → regular expression whose first group it is; '' in a file where it is not
        found.
    """

    pattern: str
    fields: Mapping[str, str]

    def read(self, root: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Rows:
        """See `Source`."""
        found = matches(root, self.pattern)
        if not found:
            raise absent_error(self, root)
        texts = [_text(root, name) for name in found]
        frame = pd.DataFrame({"stem": [Path(name).stem for name in found]})
        for column in self.fields.keys() & {*columns, *optional}:
            hits = [re.search(self.fields[column], text) for text in texts]
            frame[column] = [hit.group(1).strip() if hit else "" for hit in hits]
        return Rows(
            frame.reindex(columns=[*dict.fromkeys([*columns, *optional])], fill_value=""),
            f"{root / self.pattern}",
        )

    def absent(self, root: Path) -> str:
        """See `Source`."""
        return "" if matches(root, self.pattern) else self.pattern


@dataclasses.dataclass(frozen=True)
class ArrayFiles(Source):
    """One NPZ file per row, with its facts as scalars; the column `file` is its path.

    Attributes:
      patterns: of the files, relative to the root; all that match count.
      fields: column → name of the scalar; '' in a file that lacks it.
    """

    patterns: tuple[str, ...]
    fields: Mapping[str, str]

    def read(self, root: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Rows:
        """See `Source`."""
        found = [name for pattern in self.patterns for name in matches(root, pattern)]
        if not found:
            raise absent_error(self, root)
        wanted = {
            column: self.fields[column] for column in self.fields if column in {*columns, *optional}
        }
        records = [{"file": name} | _scalars(root, name, wanted) for name in found]
        frame = pd.DataFrame(records).reindex(
            columns=[*dict.fromkeys([*columns, *optional])], fill_value=""
        )
        return Rows(frame.apply(canonical), str(root / self.patterns[0]))

    def absent(self, root: Path) -> str:
        """See `Source`."""
        return (
            ""
            if any(matches(root, pattern) for pattern in self.patterns)
            else " or ".join(self.patterns)
        )


@dataclasses.dataclass(frozen=True)
class FrameRows(Source):
    """One row per frame of an HDF5 file; the column `frame` is its number, `file` the file's name.

    Attributes:
      file: relative to the root.
      key: the array with one value per frame; a column of that name.
    """

    file: str
    key: str

    def read(self, root: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Rows:
        """See `Source`."""
        path = find(root, (self.file,))
        if path is None:
            raise absent_error(self, root)
        try:
            values = arrays.hdf5_data(str(path), self.key)[:].ravel()
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read {path}: {error}") from None
        text = list(map(_as_text, values.tolist()))
        frame = pd.DataFrame(
            {self.key: text, "frame": [str(i) for i in range(len(text))], "file": self.file}
        )
        return Rows(
            frame.reindex(columns=[*dict.fromkeys([*columns, *optional])], fill_value=""), str(path)
        )

    def absent(self, root: Path) -> str:
        """See `Source`."""
        return "" if find(root, (self.file,)) else self.file


def _text(root: Path, name: str) -> str:
    try:
        with open(inside(root, name), "rb") as file:
            return file.read(MAX_TEXT).decode("utf-8-sig", errors="replace")
    except (OSError, OutsideRootError) as error:
        raise UserError(f"cannot read {os.path.join(root, name)}: {error}") from None


def _scalars(root: Path, name: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """The scalars of one file; '' where one is absent or damaged (then so is the image, as will be
    found).
    """
    values = dict.fromkeys(wanted, "")
    try:
        path = inside(root, name)
        there = set(arrays.member_names(path))
    except OutsideRootError as error:
        raise UserError(f"{error}; nothing outside {root} is read") from None
    except (OSError, ValueError):
        return values
    for column, key in wanted.items():
        with contextlib.suppress(OSError, ValueError):
            values[column] = (
                _as_text(arrays.read_member(path, (key,)).item()) if key in there else ""
            )
    return values


def _as_text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
