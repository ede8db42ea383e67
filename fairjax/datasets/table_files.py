"""The file of a table: what it is called, how large it may become, and how it is opened."""

from __future__ import annotations

import dataclasses
import gzip
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from fairjax.utils.errors import UserError, did_you_mean

MAX_COLUMNS = 4096
MAX_WHOLE = 2**28  # bytes of a file that cannot be read in parts, once it is inflated
READ = 2**16  # bytes that are inflated at a time
MAX_INFLATED = 2**32  # bytes that a compressed text may become

Header = Sequence[Sequence[Any]]
Positions = Callable[[Header], tuple[dict[str, int], int]]


@dataclasses.dataclass(frozen=True)
class TableFile:
    """A table's file, inflated where it is compressed.

    Attributes:
      path: where it is.
      name: its name without the ending of a compression.
      open: gives its bytes from the beginning.
      plain: whether the bytes are those of the file itself.
    """

    path: Path
    name: str
    open: Callable[[], IO[bytes]]
    plain: bool = True

    @property
    def suffix(self) -> str:
        """The ending that tells its kind, in lower case."""
        return Path(self.name).suffix.lower()

    def whole(self) -> bytes:
        """Returns all bytes; raises a `UserError` where there are too many."""
        with self.open() as file:
            data = file.read(MAX_WHOLE + 1)
        check_whole(self.path, len(data))
        return data


def check_whole(path: Path, size: int) -> None:
    """Refuses a file that would take too much memory."""
    if size > MAX_WHOLE:
        raise UserError(
            f"{path} would take {size} bytes, more than the {MAX_WHOLE} that are read of such a "
            "file"
        )


def open_table(path: Path) -> TableFile:
    """Finds out what is in a file: `t.csv`, `t.csv.gz`, or a zip archive of one table."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return TableFile(path, path.stem, lambda: _bounded(gzip.open(path), path), plain=False)
    if suffix == ".zip":
        member = _member(path)
        return TableFile(path, member, lambda: _bounded(_extract(path, member), path), plain=False)
    return TableFile(path, path.name, lambda: open(path, "rb"))


def _extract(path: Path, member: str) -> IO[bytes]:
    archive = zipfile.ZipFile(path)  # closed with its member
    return archive.open(member)


def _bounded(file: Any, path: Path) -> IO[bytes]:
    return io.BufferedReader(_Bounded(file, path), READ)


def _member(path: Path) -> str:
    """The one table of an archive; what systems add to archives does not count."""
    with zipfile.ZipFile(path) as archive:
        names = [
            name
            for name in archive.namelist()
            if not name.endswith("/")
            and not name.startswith("__MACOSX/")
            and not Path(name).name.startswith(".")
        ]
    if len(names) != 1:
        raise UserError(
            f"{path} holds {len(names)} files ({', '.join(names[:3])}); give an archive of one "
            "table"
        )
    return names[0]


class _Bounded(io.RawIOBase):
    """Bytes of a compressed file, of which no more than `MAX_INFLATED` are read."""

    def __init__(self, file: IO[bytes], path: Path):
        self.file, self.path, self.n = file, path, 0

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def readinto(self, buffer) -> int:
        """See `io.RawIOBase`; raises a `UserError` where there is too much."""
        data = self.file.read(len(buffer))
        self.n += len(data)
        if self.n > MAX_INFLATED:
            raise UserError(
                f"{self.path} inflates to more than the {MAX_INFLATED} bytes that are read"
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """See `io.RawIOBase`."""
        self.file.close()
        super().close()


def positions(
    path: Path, columns: Sequence[str] | None, optional: Sequence[str], header: Header
) -> tuple[dict[str, int], int]:
    """Finds the place of each column in the first row that names it, and after how many rows the
    header ends.

    Args:
      path: the table, for messages.
      columns: what must be there; None: all that have a name.
      optional: what may be there.
      header: cells of the rows that may name columns.

    Raises:
      UserError: a column is not there, is there twice, or there are too many.
    """
    width = max(map(len, header), default=0)
    if width > MAX_COLUMNS:
        raise UserError(f"{path} has {width} columns, more than the {MAX_COLUMNS} that are read")
    names = [
        ["" if cell is None else str(cell).strip().lstrip("\ufeff") for cell in row]
        for row in header
    ]
    every = list(dict.fromkeys(cell for row in names for cell in row if cell))
    wanted = every if columns is None else dict.fromkeys([*columns, *optional])
    found: dict[str, int] = {}
    ends = 0
    for number, row in enumerate(names, start=1):
        for name in [name for name in wanted if name not in found]:
            if row.count(name) > 1:
                raise UserError(
                    f"{path} has {row.count(name)} columns {name!r}; rename all but one"
                )
            if name in row:
                found[name], ends = row.index(name), number
    for name in columns or ():
        if name not in found:
            raise UserError(f"{path} has no column {name!r}{did_you_mean(name, every[:200])}")
    return found, ends or len(names)


def records(path: Path, cells: Any) -> tuple[list[str], list[Mapping[str, Any]]]:
    """Reads the ways in which JSON holds a table: a list of records, or columns as pandas has them.

    Returns:
      The names of the columns, and a mapping per row.

    Raises:
      UserError: it is none of these.
    """
    if isinstance(cells, Mapping) and isinstance(cells.get("data"), list):  # orient=split, table
        if "columns" in cells:
            cells = [dict(zip(cells["columns"], row)) for row in cells["data"]]
        else:
            cells = cells["data"]
    elif isinstance(cells, Mapping) and cells and all(map(_is_column, cells.values())):
        columns = {
            name: column if isinstance(column, Mapping) else dict(enumerate(column))
            for name, column in cells.items()
        }
        keys = list(dict.fromkeys(key for column in columns.values() for key in column))
        if all(map(str.isdecimal, columns)) and not all(str(key).isdecimal() for key in keys):
            cells = list(columns.values())  # orient=index
        else:
            cells = [{name: columns[name].get(key) for name in columns} for key in keys]
    if not isinstance(cells, list) or not all(isinstance(row, Mapping) for row in cells):
        raise UserError(f"{path} holds no list of records")
    return list(dict.fromkeys(name for row in cells for name in row)), cells


def _is_column(value: Any) -> bool:
    return isinstance(value, Mapping | list)
