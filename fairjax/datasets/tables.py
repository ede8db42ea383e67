"""One reader of tables, for datasets and audits: CSV, TSV, Parquet, Feather, XLSX, JSON, JSONL."""

from __future__ import annotations

import csv
import functools
import itertools
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from fairjax.datasets.delimited import read_delimited
from fairjax.datasets.readers import optional as optional_library
from fairjax.datasets.table_files import (
    Positions,
    TableFile,
    check_whole,
    open_table,
    positions,
    records,
)
from fairjax.datasets.values import canonical
from fairjax.utils.errors import UserError, did_you_mean

MAX_ROWS = 2 * 10**7  # of a Parquet or Feather file, whose size tells nothing of them
UNNAMED_INDEX = "__index_level_"  # how pandas calls an index without a name in a file
DAMAGED = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, RecursionError, RuntimeError),
    *(csv.Error, zipfile.BadZipFile, pa.ArrowException),
)


def read_table(
    path: str | Path,
    columns: Sequence[str] | None = None,
    optional: Sequence[str] = (),
    *,
    header_rows: int = 1,
    sheet: str | None = None,
    text: bool = True,
) -> pd.DataFrame:
    """Reads columns of a table; `.attrs["notes"]` of the frame says how, where that was a choice.

    Args:
      path: a .csv, .tsv, .parquet, .feather, .xlsx, .json or .jsonl file, or one of them as .gz or
        .zip; one without an ending is a CSV. Separator, decimal sign and encoding of text are
        found out. The index of a pandas frame is a column.
      columns: what must be there; names count without surrounding blanks. None: all columns.
      optional: what may be there; '' where it is not.
      header_rows: lines or rows at the top, of which each column's name is in one: 2 with a title
        line.
      sheet: name of the sheet of an XLSX file; by default the first.
      text: whether cells become text without surrounding blanks, '' where null; else they are as
        the file has them.

    Raises:
      UserError: the file cannot be read, is empty, has too many columns or lacks one (the nearest
        name is given), or a row is longer than the header.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no table {path}")
    wanted = functools.partial(positions, path, columns, optional)
    try:
        file = open_table(path)
        if file.suffix not in READERS:
            kinds = ", ".join(filter(None, READERS))
            raise UserError(f"{path}: cannot read this kind of table; give one of {kinds}")
        frame, notes = READERS[file.suffix](file, wanted, header_rows, sheet, text)
    except DAMAGED as error:
        raise UserError(f"cannot read table {path}: {str(error)[:300]}; is it damaged?") from None
    if frame.empty:
        raise UserError(f"{path} has no rows")
    if columns is not None:
        frame = frame.reindex(columns=list(dict.fromkeys([*columns, *optional])), fill_value="")
    frame.attrs["notes"] = notes
    return frame


Read = Callable[[TableFile, Positions, int, "str | None", bool], tuple[pd.DataFrame, list[str]]]


def _finished(frame: pd.DataFrame, text: bool) -> tuple[pd.DataFrame, list[str]]:
    return (frame.apply(canonical) if text else frame.infer_objects()), []


def _from_arrow(
    table: pa.Table, schema: pa.Schema, found: Mapping[str, int], text: bool
) -> tuple[pd.DataFrame, list[str]]:
    """Columns of an Arrow table in pandas; the range of rows that pandas keeps as an index, too."""
    frame = table.to_pandas(ignore_metadata=True)
    for name, values in _ranges(schema).items():
        if name in found:
            frame[name] = values
    return _finished(frame[list(found)], text)


def _ranges(schema: pa.Schema) -> dict[str, np.ndarray]:
    """Named indexes of which pandas writes the ends alone."""
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    ranges = [level for level in index if isinstance(level, dict) and level.get("name")]
    return {
        level["name"]: np.arange(level["start"], level["stop"], level["step"]) for level in ranges
    }


def _names(schema: pa.Schema) -> list[str]:
    """The columns of an Arrow schema, those of its index too, if they have a name."""
    return ["" if name.startswith(UNNAMED_INDEX) else name for name in schema.names] + list(
        _ranges(schema)
    )


def _check_rows(path: Path, n: int) -> None:
    if n > MAX_ROWS:
        raise UserError(f"{path} has {n} rows, more than the {MAX_ROWS} that are read")


def _read_parquet(file: TableFile, positions: Positions, header_rows, sheet, text: bool):
    with file.open() if file.plain else pa.BufferReader(file.whole()) as source:
        parquet = pyarrow.parquet.ParquetFile(source)
        _check_rows(file.path, parquet.metadata.num_rows)
        schema = parquet.schema_arrow
        found, _ = positions([_names(schema)])
        stored = [name for name in schema.names if name.strip() in found]
        table = parquet.read(columns=stored)
        return _from_arrow(_stripped(table), schema, found, text)


def _stripped(table: pa.Table) -> pa.Table:
    return table.rename_columns([name.strip() for name in table.column_names])


def _read_feather(file: TableFile, positions: Positions, header_rows, sheet, text: bool):
    with file.open() if file.plain else pa.BufferReader(file.whole()) as source:
        stored = pa.ipc.open_file(source)
        found, _ = positions([_names(stored.schema)])
        batches, n, size = [], 0, 0
        for number in range(stored.num_record_batches):
            batch = stored.get_batch(number)
            n, size = n + batch.num_rows, size + batch.nbytes
            _check_rows(file.path, n)
            check_whole(file.path, size)
            batches.append(batch)
        table = pa.Table.from_batches(batches, stored.schema)
        return _from_arrow(_stripped(table), stored.schema, found, text)


def _read_xlsx(file: TableFile, positions: Positions, header_rows: int, sheet, text: bool):
    openpyxl = optional_library("openpyxl", "openpyxl", f"table {file.path}")
    with file.open() as raw, zipfile.ZipFile(raw) as archive:
        check_whole(file.path, sum(member.file_size for member in archive.infolist()))
    with file.open() as raw:
        book = openpyxl.load_workbook(raw, read_only=True, data_only=True)
        try:
            if sheet is not None and sheet not in book.sheetnames:
                raise UserError(
                    f"{file.path} has no sheet {sheet!r}{did_you_mean(sheet, book.sheetnames)}"
                )
            page = book[sheet] if sheet is not None else book.worksheets[0]
            rows = page.iter_rows(values_only=True)
            header = list(itertools.islice(rows, header_rows))
            found, ends = positions(header)
            cells = [
                [row[place] if place < len(row) else None for place in found.values()]
                for row in itertools.chain(header[ends:], rows)
                if any(cell is not None for cell in row)
            ]
        finally:
            book.close()
    return _finished(pd.DataFrame(cells, columns=list(found), dtype=object), text)


def _read_json(file: TableFile, positions: Positions, header_rows, sheet, text: bool):
    data = file.whole()
    lines = file.suffix in (".jsonl", ".ndjson")
    try:
        cells = _json_lines(data) if lines else json.loads(data, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        if "Extra data" not in str(error):
            raise
        cells = _json_lines(data)  # as pandas writes with lines=True
    names, rows = records(file.path, cells)
    found, _ = positions([names])
    values = [[row.get(names[place]) for place in found.values()] for row in rows]
    return _finished(pd.DataFrame(values, columns=list(found), dtype=object), text)


def _json_lines(data: bytes) -> list[Any]:
    return [json.loads(line, object_pairs_hook=_once) for line in data.splitlines() if line.strip()]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has {twice!r} twice")
    return found


READERS: dict[str, Read] = {
    **dict.fromkeys((".csv", ".tsv", ".tab", ".txt", ""), read_delimited),
    ".parquet": _read_parquet,
    ".feather": _read_feather,
    ".arrow": _read_feather,
    ".xlsx": _read_xlsx,
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), _read_json),
}
