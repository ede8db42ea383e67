"""Text tables (CSV, TSV, …) of any separator, decimal sign and encoding, in bounded memory."""

from __future__ import annotations

import codecs
import csv
import functools
import io
import itertools
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from fairjax.datasets.table_files import Positions, TableFile
from fairjax.datasets.values import MISSING_WORDS, fold
from fairjax.utils.errors import UserError

SEPARATORS = {",": ",", ";": ";", "\t": "tab", "|": "|", " ": "blank"}
MAX_HEADER = 2**20  # bytes of one line of a header
MAX_BLOCK = 2**22  # bytes that are parsed at a time; no row is longer
SAMPLE = 50  # rows that show the separator
PIECE = 2**20  # bytes that are decoded at a time
DECIMAL = r"^[-+]?\d*(,\d+)?([eE][-+]?\d+)?$"
GROUPED = r"^[-+]?\d{1,3}(\.\d{3})+(,\d+)?$"  # 1.234,5
THOUSANDS = r"^[-+]?[1-9]\d{0,2}(,\d{3})+$"  # 1,234


def read_delimited(
    file: TableFile, positions: Positions, header_rows: int, sheet: str | None, text: bool
) -> tuple[pd.DataFrame, list[str]]:
    """Reads columns as text, '' where missing; see `fairjax.datasets.tables.read_table`.

    Returns:
      The columns that `positions` finds, and notes on how the file was read.
    """
    path, encoding = file.path, _encoding(file)
    with file.open() as raw:
        lines = list(_sample(io.TextIOWrapper(raw, encoding, newline=""), file, header_rows))
    if not any(line.strip() for line in lines):
        raise UserError(f"{path} is empty")
    skipped = 0  # Excel's first line may name the separator
    separator = _separator(lines, "\t" if file.suffix in (".tsv", ".tab") else ",")
    if lines[0].lower().startswith("sep=") and len(lines[0].strip()) == 5:
        separator, skipped, lines = lines[0].strip()[-1], 1, lines[1:]
    parsed = csv.reader(lines, delimiter=separator, skipinitialspace=separator == " ")
    header = [(row, parsed.line_num) for row in itertools.islice(parsed, header_rows)]
    found, ends = positions([row for row, _ in header])
    names, below = header[ends - 1]
    rows = [row for row, _ in header[ends:]] + list(parsed)
    rows = rows[:-1] if len(lines) == header_rows + SAMPLE else rows  # the last may be cut off
    n_index = _index_columns(file, len(names), [row for row in rows if any(row)])
    kept = {name: str(place + n_index) for name, place in found.items()}
    bad: list[Any] = []
    try:
        table = pyarrow.csv.read_csv(
            path if file.plain else file.open(),
            pyarrow.csv.ReadOptions(
                use_threads=False,
                block_size=MAX_BLOCK,
                skip_rows=below + skipped,
                column_names=[str(i) for i in range(len(names) + n_index)],
                encoding="utf8" if encoding == "utf-8-sig" else encoding,
            ),
            pyarrow.csv.ParseOptions(
                delimiter=separator,
                newlines_in_values=True,
                invalid_row_handler=functools.partial(_refuse, bad),
            ),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(kept.values(), pa.string()),
                include_columns=list(kept.values()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        raise _said(file, error, bad, len(names), below + skipped) from None
    table, decimals = _with_points(table.rename_columns(list(kept)), separator)
    frame = pd.DataFrame({name: _cells(table[name], text) for name in table.column_names})
    return frame, list(_notes(file, encoding, separator, decimals, n_index))


def _encoding(file: TableFile) -> str:
    """UTF-8 (with or without a mark), UTF-16, else Latin-1 as Windows has it."""
    with file.open() as raw:
        start = raw.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(start) == 4 and 0 in (start[0], start[1]) and any(start[:2]):
        return "utf-16-be" if start[0] == 0 else "utf-16-le"
    return next((name for name in ("utf-8-sig", "cp1252") if _decodes(file, name)), "latin-1")


def _decodes(file: TableFile, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with file.open() as raw:
        try:
            while piece := raw.read(PIECE):
                decoder.decode(piece)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _sample(text: io.TextIOBase, file: TableFile, header_rows: int) -> Iterator[str]:
    """The first lines; what follows a line that is too long is left to the parser."""
    for number in range(header_rows + SAMPLE):
        line = text.readline(MAX_HEADER)
        if len(line) == MAX_HEADER and not line.endswith("\n"):
            if number < header_rows:
                raise UserError(
                    f"{file.path} has a header of more than {MAX_HEADER} characters; is it a table?"
                )
            return
        if line:
            yield line


def _separator(lines: list[str], default: str) -> str:
    """The separator by which most lines have the same number of cells, more than one."""
    best = (0, 0)
    chosen = default
    for separator in sorted(SEPARATORS, key=lambda mark: mark != default):
        if separator == " " and 2 * best[0] > len(lines):
            continue  # blanks are in texts, too
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=separator) if any(row)]
        except csv.Error:
            continue
        several = [width for width in widths if width > 1]
        if several:
            common = max(set(several), key=several.count)
            best, chosen = max((best, chosen), ((several.count(common), common), separator),
                               key=lambda item: item[0])  # fmt: skip
    return chosen


def _index_columns(file: TableFile, width: int, rows: list[list[str]]) -> int:
    """1 where every row has one cell more than the header: an index without a name comes first."""
    if not rows or any(len(row) != width + 1 for row in rows):
        return 0
    if all(not row[-1].strip() for row in rows):
        raise UserError(
            f"{file.path}: every row has {width + 1} cells, the last of them blank, and the header "
            f"{width}; name the first column, or remove the separators at the ends of the rows"
        )
    return 1


def _refuse(bad: list[Any], row: Any) -> str:
    """What to do with a row of another number of cells: one with nothing in it does not count."""
    bad.append(row)
    return "skip" if _blank(row.text) else "error"


def _blank(text: str) -> bool:
    return not text.strip(",;| \t\r\n")


def _said(file: TableFile, error: Exception, bad: list[Any], width: int, skipped: int) -> UserError:
    """What the parser found, in words."""
    path = file.path
    if bad and not _blank(bad[-1].text):
        row = bad[-1]
        number = "a row" if row.number is None else f"row {row.number - skipped}"
        return UserError(
            f"{path}: {number} has {row.actual_columns} cells, the header {width}; "
            "correct the row, or its separators and quotes"
        )
    if "straddling" in str(error):
        return UserError(f"{path} has a row of more than {MAX_BLOCK} bytes; is it a table?")
    if "Empty CSV" in str(error):
        return UserError(f"{path} has no rows")
    return UserError(f"cannot read table {path}: {str(error)[:300]}")


def _with_points(table: pa.Table, separator: str) -> tuple[pa.Table, list[str]]:
    """Numbers with a decimal comma, as `0,35`, with a point; and the columns that had any."""
    changed = []
    for place, name in enumerate(table.column_names):
        cells = pc.utf8_trim_whitespace(table[name])
        with_comma = cells.filter(pc.match_substring(cells, ","))
        if not len(with_comma):
            continue
        plain = pc.or_(pc.match_substring_regex(cells, DECIMAL), _matches(cells, GROUPED))
        others = pc.unique(cells.filter(pc.invert(plain)))
        if len(others) > len(MISSING_WORDS) or any(
            fold(word) not in MISSING_WORDS for word in others.to_pylist()
        ):
            continue
        if separator == "," and pc.all(_matches(with_comma, THOUSANDS)).as_py():
            continue
        grouped = pc.if_else(_matches(cells, GROUPED), pc.replace_substring(cells, ".", ""), cells)
        points = pc.replace_substring(grouped, ",", ".")
        table = table.set_column(place, name, points)
        changed.append(name)
    return table, changed


def _matches(cells: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    return pc.match_substring_regex(cells, pattern)


def _cells(column: pa.ChunkedArray, text: bool) -> pd.Series:
    """Cells as written, or in canonical form: cleaned in Arrow, so that a column of a large table
    never becomes Python strings on the way.
    """
    column = pc.fill_null(column, "")
    if text:
        trimmed = pc.utf8_trim_whitespace(column)
        column = pc.replace_substring_regex(trimmed, r"^([-+]?\d+)\.0*$", r"\1")
    return column.to_pandas()


def _notes(
    file: TableFile, encoding: str, separator: str, decimals: list[str], n_index: int
) -> Iterator[str]:
    name = file.path.name
    if encoding in ("cp1252", "latin-1"):
        yield f"{name}: not in UTF-8, read as Latin-1; look at names with accents"
    if decimals:
        yield f"{name}: ',' is read as the decimal sign of {', '.join(decimals)}"
    if n_index:
        yield f"{name}: rows have one cell more than the header; the first is read as the index"
