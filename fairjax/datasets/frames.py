"""Tables (CSV, TSV, Parquet, XLSX, JSON) as exact text, column by column, in bounded memory."""

from __future__ import annotations

import csv
import functools
import io
import itertools
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from fairjax.datasets.readers import optional as optional_library
from fairjax.datasets.rules import canonical
from fairjax.utils.errors import UserError, did_you_mean

SEPARATORS = {".tsv": "\t"}
MAX_COLUMNS = 4096
MAX_ROWS = 2 * 10**7  # of a Parquet file, whose size tells nothing of them
MAX_HEADER = 2**20  # bytes of one line of a header
MAX_BLOCK = 2**22  # bytes that are parsed at a time; no row is longer
MAX_WHOLE = 2**28  # bytes of a file that cannot be read in parts, once it is inflated


def read_table(
    path: Path,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    *,
    header_rows: int = 1,
    sheet: str | None = None,
) -> pd.DataFrame:
    """Reads columns of a table as text without surrounding blanks, '' where missing; an optional
    column may be absent.

    Args:
      path: a .csv, .tsv, .parquet, .xlsx or .json (a list of objects) file; one without an ending
        is a CSV.
      columns: what must be there; names count without surrounding blanks.
      optional: what may be there.
      header_rows: lines or rows at the top, of which each column's name stands in one: 2 with a
        title line.
      sheet: of an XLSX file; by default the first.

    Raises:
      UserError: the file cannot be read, is empty, has too many columns or lacks one (the nearest
        name is given).
    """
    wanted = list(dict.fromkeys([*columns, *optional]))
    read = READERS.get(path.suffix.lower(), _read_csv)
    try:
        frame = read(path, functools.partial(_positions, path, columns, wanted), header_rows, sheet)
    except (
        OSError,
        ValueError,
        KeyError,
        csv.Error,
        zipfile.BadZipFile,
        pa.ArrowException,
        RecursionError,
    ) as error:
        raise UserError(f"cannot read table {path}: {str(error)[:300]}") from None
    if frame.empty:
        raise UserError(f"{path} has no rows")
    return frame.reindex(columns=wanted, fill_value="")


Header = Sequence[Sequence[Any]]
Positions = Callable[[Header], tuple[dict[str, int], int]]


def _positions(
    path: Path, columns: Sequence[str], wanted: Sequence[str], header: Header
) -> tuple[dict[str, int], int]:
    """Where each wanted column stands, in the first row that names it, and after how many rows the
    header ends.
    """
    found: dict[str, int] = {}
    ends = 0
    if max(map(len, header), default=0) > MAX_COLUMNS:
        raise UserError(
            f"{path} has {max(map(len, header))} columns, more than the {MAX_COLUMNS} that are read"
        )
    names = [
        ["" if cell is None else str(cell).strip().lstrip("\ufeff") for cell in row]
        for row in header
    ]
    for number, row in enumerate(names, start=1):
        for name in set(wanted) - set(found):
            if row.count(name) > 1:
                raise UserError(
                    f"{path} has {row.count(name)} columns {name!r}; rename all but one"
                )
            if name in row:
                found[name], ends = row.index(name), number
    for name in columns:
        if name not in found:
            known = sorted({cell for row in names for cell in row if cell})
            raise UserError(f"{path} has no column {name!r}{did_you_mean(name, known[:200])}")
    return found, ends


def _read_csv(
    path: Path, positions: Positions, header_rows: int, sheet: str | None
) -> pd.DataFrame:
    separator = SEPARATORS.get(path.suffix.lower(), ",")
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = csv.reader(_bounded_lines(file, path), delimiter=separator)
        header = [(row, lines.line_num) for row in itertools.islice(lines, header_rows)]
    found, ends = positions([row for row, _ in header])
    names, skipped = [str(i) for i in range(len(header[ends - 1][0]))], header[ends - 1][1]
    bad: list[Any] = []
    kept = [str(place) for place in found.values()]
    try:
        table = pyarrow.csv.read_csv(
            path,
            pyarrow.csv.ReadOptions(
                use_threads=False, block_size=MAX_BLOCK, skip_rows=skipped, column_names=names
            ),
            pyarrow.csv.ParseOptions(
                delimiter=separator,
                newlines_in_values=True,
                invalid_row_handler=functools.partial(_refuse, bad),
            ),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(kept, pa.string()),
                include_columns=kept,
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        if bad and not _blank(bad[-1].text):
            row = bad[-1]
            number = "a row" if row.number is None else f"row {row.number - skipped}"
            raise UserError(
                f"{path}: {number} has {row.actual_columns} columns, not {row.expected_columns}"
            ) from None
        if "straddling" in str(error):
            raise UserError(
                f"{path} has a row of more than {MAX_BLOCK} bytes; is it a table?"
            ) from None
        if "UTF8" in str(error):
            raise UserError(f"{path} is not in UTF-8; save it as such") from None
        if "Empty CSV" in str(error):
            raise UserError(f"{path} has no rows") from None
        raise
    return _to_frame(table.rename_columns(list(found)))


def _refuse(bad: list[Any], row: Any) -> str:
    """What to do with a row of another number of columns: one without anything in it does not
    count.
    """
    bad.append(row)
    return "skip" if _blank(row.text) else "error"


def _blank(text: str) -> bool:
    return not text.strip(", \t\r\n")


def _bounded_lines(file: io.TextIOBase, path: Path) -> Iterator[str]:
    while line := file.readline(MAX_HEADER):
        if len(line) == MAX_HEADER and not line.endswith("\n"):
            raise UserError(
                f"{path} has a header of more than {MAX_HEADER} characters; is it a table?"
            )
        yield line


def _to_frame(table: pa.Table) -> pd.DataFrame:
    """Canonical text, cleaned in Arrow: a column of a large table never becomes Python strings on
    the way.
    """
    for place, name in enumerate(table.column_names):
        text = pc.fill_null(pc.utf8_trim_whitespace(table[name]), "")
        table = table.set_column(
            place, name, pc.replace_substring_regex(text, r"^(-?\d+)\.0+$", r"\1")
        )
    return table.to_pandas()


def _read_parquet(
    path: Path, positions: Positions, header_rows: int, sheet: str | None
) -> pd.DataFrame:
    metadata = pyarrow.parquet.read_metadata(path)
    if metadata.num_rows > MAX_ROWS:
        raise UserError(
            f"{path} has {metadata.num_rows} rows, more than the {MAX_ROWS} that are read"
        )
    names = metadata.schema.to_arrow_schema().names
    found, _ = positions([names])
    table = pyarrow.parquet.read_table(path, columns=[names[place] for place in found.values()])
    return table.rename_columns(list(found)).to_pandas().apply(canonical)


def _read_xlsx(
    path: Path, positions: Positions, header_rows: int, sheet: str | None
) -> pd.DataFrame:
    openpyxl = optional_library("openpyxl", "openpyxl", f"table {path}")
    with zipfile.ZipFile(path) as archive:
        _check_whole(path, sum(member.file_size for member in archive.infolist()))
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        if sheet is not None and sheet not in book.sheetnames:
            raise UserError(f"{path} has no sheet {sheet!r}{did_you_mean(sheet, book.sheetnames)}")
        rows = (book[sheet] if sheet is not None else book.worksheets[0]).iter_rows(
            values_only=True
        )
        header = list(itertools.islice(rows, header_rows))
        found, ends = positions(header)
        rows = itertools.chain(header[ends:], rows)
        cells = [
            [row[place] if place < len(row) else None for place in found.values()]
            for row in rows
            if any(row)
        ]
    finally:
        book.close()
    return pd.DataFrame(cells, columns=list(found), dtype=object).apply(canonical)


def _read_json(
    path: Path, positions: Positions, header_rows: int, sheet: str | None
) -> pd.DataFrame:
    _check_whole(path, os.path.getsize(path))
    records = json.loads(path.read_bytes())
    if not isinstance(records, list) or not all(isinstance(record, Mapping) for record in records):
        raise UserError(f"{path} holds no list of records")
    names = list(dict.fromkeys(name for record in records for name in record))
    found, _ = positions([names])
    cells = [[record.get(names[place]) for place in found.values()] for record in records]
    return pd.DataFrame(cells, columns=list(found), dtype=object).apply(canonical)


def _check_whole(path: Path, size: int) -> None:
    if size > MAX_WHOLE:
        raise UserError(
            f"{path} would take {size} bytes, more than the {MAX_WHOLE} that are read of such a file"
        )


READERS: dict[str, Callable[[Path, Positions, int, str | None], pd.DataFrame]] = {
    ".parquet": _read_parquet,
    ".xlsx": _read_xlsx,
    ".json": _read_json,
}
