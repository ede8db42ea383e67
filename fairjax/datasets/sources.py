"""Where a dataset's rows come from: tables, joined, stacked and completed. Sources are made of
sources.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from fairjax.datasets.files import find
from fairjax.datasets.tables import read_table
from fairjax.datasets.values import listed
from fairjax.utils.errors import UserError


class Rows(NamedTuple):
    """What a source gives: text columns, '' where missing; and where they are, for messages."""

    frame: pd.DataFrame
    where: str


class Source(abc.ABC):
    """Rows below a root folder."""

    @abc.abstractmethod
    def read(self, root: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Rows:
        """Reads columns; those of `optional` may be absent and are '' then. Raises a `UserError` on
        what is missing.
        """

    @abc.abstractmethod
    def absent(self, root: Path) -> str:
        """The names of the files that are not there; '' where all are."""

    def lost(self, root: Path) -> dict[str, str]:
        """Columns that are '' because a file that can be done without is not there: column → the
        file.
        """
        return {}


@dataclasses.dataclass(frozen=True)
class Table(Source):
    """One file.

    Attributes:
      files: names or patterns it may have, relative to the root; the first that is there is taken.
      header_rows: rows at the top, one of which holds each column's name: 2 with a title line.
      sheet: of an XLSX file.
      rows: column → regular expression that its cell must match for the row to count, where a
        header has more rows.
    """

    files: tuple[str, ...]
    header_rows: int = 1
    sheet: str | None = None
    rows: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def read(self, root: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Rows:
        """See `Source`."""
        path = find(root, self.files)
        if path is None or not path.is_file():
            raise absent_error(self, root)
        needed = [*columns, *(name for name in self.rows if name not in columns)]
        frame = read_table(path, needed, optional, header_rows=self.header_rows, sheet=self.sheet)
        for column, pattern in self.rows.items():
            frame = frame[frame[column].str.fullmatch(pattern)]
        if frame.empty:
            raise UserError(
                f"{path} has no rows in which {' and '.join(self.rows)} is as it should be"
            )
        return Rows(frame.reset_index(drop=True), str(path))

    def absent(self, root: Path) -> str:
        """See `Source`."""
        found = find(root, self.files)
        return "" if found and found.is_file() else " or ".join(self.files)


@dataclasses.dataclass(frozen=True)
class Stack(Source):
    """Sources with the same columns, one below the other, and a column that says which row is of
    which.

    Attributes:
      parts: value of that column → source.
      column: its name.
    """

    parts: Mapping[str, Source]
    column: str

    def read(self, root: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Rows:
        """See `Source`."""
        own = [name for name in columns if name != self.column]
        read = {value: part.read(root, own, optional) for value, part in self.parts.items()}
        frames = [rows.frame.assign(**{self.column: value}) for value, rows in read.items()]
        return Rows(
            pd.concat(frames, ignore_index=True), " and ".join(rows.where for rows in read.values())
        )

    def absent(self, root: Path) -> str:
        """See `Source`."""
        return " and ".join(filter(None, (part.absent(root) for part in self.parts.values())))


@dataclasses.dataclass(frozen=True)
class Join(Source):
    """Every row of `left` with columns of the one row of `right` that has its key; '' where there
    is none.

    Attributes:
      left, right: the sources.
      on: the key: column of `left` → column of `right`.
      brings: the columns that come from `right`; all others come from `left`.
      needed: False where the dataset is of use without `right`: its columns are '' then.
    """

    left: Source
    right: Source
    on: Mapping[str, str]
    brings: tuple[str, ...]
    needed: bool = True

    def read(self, root: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Rows:
        """See `Source`."""
        own = [name for name in columns if name not in self.brings]
        left = self.left.read(root, list(dict.fromkeys([*own, *self.on])), optional)
        brought = [name for name in self.brings if name in columns]
        if not self.needed and self.right.absent(root):
            return Rows(left.frame.assign(**dict.fromkeys(brought, "")), left.where)
        right = self.right.read(root, list(dict.fromkeys([*self.on.values(), *brought])))
        keys = right.frame[list(self.on.values())]
        if (twice := keys.duplicated()).any():
            raise UserError(
                f"{right.where}: {listed(keys[twice].agg(' '.join, axis=1))} has more than one row"
            )
        renamed = right.frame.rename(columns={there: here for here, there in self.on.items()})
        frame = left.frame.merge(renamed[[*self.on, *brought]], how="left", on=list(self.on))
        frame[brought] = frame[brought].fillna("")
        return Rows(frame, f"{left.where} with {right.where}" if brought else left.where)

    def absent(self, root: Path) -> str:
        """See `Source`."""
        parts = (self.left, self.right) if self.needed else (self.left,)
        return " and ".join(filter(None, (part.absent(root) for part in parts)))

    def lost(self, root: Path) -> dict[str, str]:
        """See `Source`."""
        file = "" if self.needed else self.right.absent(root)
        return self.left.lost(root) | (dict.fromkeys(self.brings, file) if file else {})


@dataclasses.dataclass(frozen=True)
class FirstKnown(Source):
    """One row per key: the first in which a column is known, else the first.

    Attributes:
      source: with several rows per key.
      by: the key.
      column: what should be known.
      missing: values of it that mean "not recorded", besides the empty one.
    """

    source: Source
    by: str
    column: str
    missing: tuple[str, ...] = ()

    def read(self, root: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Rows:
        """See `Source`."""
        rows = self.source.read(
            root, list(dict.fromkeys([*columns, self.by, self.column])), optional
        )
        unknown = rows.frame[self.column].isin(["", *self.missing])
        ordered = rows.frame.loc[unknown.sort_values(kind="stable").index]
        return Rows(ordered.drop_duplicates(self.by).reset_index(drop=True), rows.where)

    def absent(self, root: Path) -> str:
        """See `Source`."""
        return self.source.absent(root)


@dataclasses.dataclass(frozen=True)
class Derive(Source):
    """Columns made of other columns.

    Attributes:
      source: with the other columns.
      columns: new column → (column, a regular expression whose first group it is, or a map of
        values); a blank cell stays blank, and one that has no place is an error.
    """

    source: Source
    columns: Mapping[str, tuple[str, str | Mapping[str, str]]]

    def read(self, root: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Rows:
        """See `Source`."""
        made = {name: rule for name, rule in self.columns.items() if name in columns}
        own = [name for name in columns if name not in made]
        rows = self.source.read(
            root, list(dict.fromkeys([*own, *(column for column, _ in made.values())])), optional
        )
        frame = rows.frame
        for name, (column, rule) in made.items():
            cells = frame[column]
            values = cells.str.extract(rule)[0] if isinstance(rule, str) else cells.map(dict(rule))
            refused = cells[values.isna() & (cells != "")]
            if len(refused):
                raise UserError(
                    f"{rows.where}: column {column!r} holds {listed(refused)}, of which no {name} "
                    "is known"
                )
            frame = frame.assign(**{name: values.fillna("")})
        return Rows(frame, rows.where)

    def absent(self, root: Path) -> str:
        """See `Source`."""
        return self.source.absent(root)

    def lost(self, root: Path) -> dict[str, str]:
        """See `Source`."""
        return self.source.lost(root)


@dataclasses.dataclass(frozen=True)
class Either(Source):
    """The first of several sources whose files are there.

    Attributes:
      sources: in the order of preference.
    """

    sources: tuple[Source, ...]

    def read(self, root: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Rows:
        """See `Source`."""
        chosen = next((source for source in self.sources if not source.absent(root)), None)
        if chosen is None:
            raise absent_error(self, root)
        return chosen.read(root, columns, optional)

    def absent(self, root: Path) -> str:
        """See `Source`."""
        absent = [source.absent(root) for source in self.sources]
        return " or ".join(absent) if all(absent) else ""


def absent_error(source: Source, root: Path) -> UserError:
    """What to say where the files of a source are not there."""
    return UserError(
        f"no {source.absent(root)} in {root}; is --config.dataset.root the dataset's own folder?"
    )
