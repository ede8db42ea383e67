"""A user's table of predictions: CSV, TSV or Parquet, with a table of metadata beside it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from fairjax.datasets.rules import canonical, listed
from fairjax.utils.errors import UserError, did_you_mean

MISSING_WORDS = ("", "na", "n/a", "nan", "none", "null", "nat", "<na>")  # in any case
_HEADER_LINES = 2  # of a file: the first row of data is line 2


def is_missing(text: pd.Series) -> Bool[np.ndarray, " n"]:
    """Marks cells that say that nothing is known."""
    return (
        text.isna().to_numpy()
        | text.astype(str).str.strip().str.lower().isin(MISSING_WORDS).to_numpy()
    )


def read_table(path: str | Path) -> pd.DataFrame:
    """Reads a table by its suffix; columns of text files stay text, so that a patient `007` is not
    7.

    Raises:
      UserError: There is no such file, it has another suffix, no rows, twice the same column, or it
        is damaged.
    """
    path = Path(path)
    suffixes = path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:]
    read = _READERS.get("".join(suffixes).lower())
    if read is None:
        raise UserError(f"{path}: cannot read this kind of file; give one of {', '.join(_READERS)}")
    if not path.is_file():
        raise UserError(f"there is no table {path}")
    try:
        table = read(path)
    except pd.errors.EmptyDataError:
        raise UserError(f"{path} is empty") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None
    except pd.errors.ParserError as error:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        said = (
            f"line {found[2]} has {found[3]} columns, the lines above {found[1]}"
            if found
            else error
        )
        raise UserError(f"{path}: {said}; correct the file, or its separators") from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({str(error).splitlines()[0]}); is it damaged?"
        ) from None
    if table.empty:
        raise UserError(f"{path} has no rows")
    return table


def _separated(separator: str) -> Callable[[Path], pd.DataFrame]:
    def read(path: Path) -> pd.DataFrame:
        # index_col=False: without it, rows with one column too many become an index
        options: dict[str, Any] = {
            "sep": separator,
            "dtype": str,
            "keep_default_na": False,
            "index_col": False,
        }
        names = (
            pd.read_csv(path, **options | {"header": None, "nrows": 1}).iloc[0].str.strip().tolist()
        )
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise UserError(f"{path} has more than one column {doubled[0]!r}; rename them")
        return pd.read_csv(path, **options | {"header": None, "names": names, "skiprows": 1})

    return read


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    ".parquet": pd.read_parquet,
    ".csv.gz": _separated(","),
    ".tsv.gz": _separated("\t"),
}


def column(table: pd.DataFrame, name: str, flag: str) -> pd.Series:
    """A column by name.

    Args:
      table: Of the file.
      name: The column.
      flag: Where the name was given, for the message.

    Raises:
      UserError: There is no such column.
    """
    if name not in table:
        raise UserError(
            f"{flag}={name}: there is no such column{did_you_mean(name, table.columns)}"
        )
    return table[name]


def number_column(table: pd.DataFrame, name: str, flag: str) -> Float[np.ndarray, " n"]:
    """A column of numbers, NaN where missing.

    Raises:
      UserError: There is no such column, or it holds something else.
    """
    values = column(table, name, flag)
    if pd.api.types.is_numeric_dtype(values):
        return values.to_numpy(np.float64, na_value=np.nan)
    numbers = pd.to_numeric(values.where(~is_missing(values)), errors="coerce").to_numpy(np.float64)
    refused = np.isnan(numbers) & ~is_missing(values)
    if refused.any():
        line = int(np.argmax(refused)) + _HEADER_LINES
        raise UserError(
            f"{flag}={name}: no numbers in {listed(canonical(values[refused]))}, first in line {line}"
        )
    return numbers


def join(
    predictions: pd.DataFrame, metadata: pd.DataFrame, on: str
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Adds the columns of a second table by key; a row of predictions without metadata keeps empty
    cells.

    Args:
      predictions: One row per sample.
      metadata: One row per key.
      on: The column of the key, or `COLUMN=COLUMN_OF_METADATA`.

    Returns:
      The predictions with more columns, and how many rows found no metadata.

    Raises:
      UserError: No such column, a key that is twice in the metadata, no key in common, or a column
        in both tables that says different things.
    """
    left, _, right = on.partition("=")
    right = right or left
    keys = canonical(column(predictions, left, "--on"))
    others = canonical(column(metadata, right, "--on (in the metadata)"))
    doubled = others[others.duplicated()]
    if len(doubled):
        raise UserError(
            f"the metadata have more than one row for {right} {listed(doubled)}; keep one for each"
        )
    place = pd.Index(others).get_indexer(pd.Index(keys))
    if (place < 0).all():
        raise UserError(
            f"no {left} of the predictions (as {keys.iloc[0]!r}) is a {right} of the metadata (as {others.iloc[0]!r})"
        )
    added = metadata.drop(columns=right).iloc[place.clip(min=0)].set_index(predictions.index)
    added[place < 0] = None
    for name in added.columns.intersection(predictions.columns):
        known = place >= 0
        if not canonical(predictions[name][known]).equals(canonical(added[name][known])):
            raise UserError(f"column {name!r} is in both tables and differs; rename or remove one")
        added = added.drop(columns=name)
    return pd.concat([predictions, added], axis=1), {
        "rows without metadata": int((place < 0).sum())
    }
