"""The columns of a user's table of predictions, and those of a table of metadata joined to it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float

from fairjax.datasets.values import canonical, is_missing, listed
from fairjax.utils.errors import UserError, did_you_mean


def column(table: pd.DataFrame, name: str, flag: str) -> pd.Series:
    """Returns a column by name.

    Args:
      table: the table.
      name: name of the column.
      flag: where the name was given, for the message.

    Raises:
      UserError: there is no such column.
    """
    if name not in table:
        raise UserError(
            f"{flag}={name}: there is no such column{did_you_mean(name, table.columns)}"
        )
    return table[name]


def number_column(table: pd.DataFrame, name: str, flag: str) -> Float[np.ndarray, " n"]:
    """Returns a column of numbers, NaN where missing.

    Args:
      table: the table.
      name: name of the column.
      flag: where the name was given, for the message.

    Raises:
      UserError: there is no such column, or it holds something else.
    """
    values = column(table, name, flag)
    if pd.api.types.is_numeric_dtype(values):
        return values.to_numpy(np.float64, na_value=np.nan)
    blank = is_missing(values)
    numbers = pd.to_numeric(values.where(~blank), errors="coerce").to_numpy(np.float64)
    refused = np.isnan(numbers) & ~blank
    if refused.any():
        first = int(np.argmax(refused)) + 1
        raise UserError(
            f"{flag}={name}: no numbers in {listed(canonical(values[refused]))}, first in row "
            f"{first}"
        )
    return numbers


def join(
    predictions: pd.DataFrame, metadata: pd.DataFrame, on: str
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Adds the columns of a second table by key; a row of predictions without metadata keeps empty
    cells.

    Args:
      predictions: one row per sample.
      metadata: one row per key.
      on: the column of the key, or `COLUMN=COLUMN_OF_METADATA`.

    Returns:
      The predictions with more columns, and how many rows found no metadata.

    Raises:
      UserError: no such column, a key that is twice in the metadata, no key in common, or a column
        in both tables that says different things.
    """
    left, _, right = on.partition("=")
    right = right or left
    metadata = metadata[~is_missing(column(metadata, right, "--on (in the metadata)"))]
    if metadata.empty:
        raise UserError(f"no row of the metadata has a {right}")
    keys, others = canonical(column(predictions, left, "--on")), canonical(metadata[right])
    doubled = others[others.duplicated()]
    if len(doubled):
        raise UserError(
            f"the metadata have more than one row for {right} {listed(doubled)}; keep one for each"
        )
    index = pd.Index(others).get_indexer(pd.Index(keys))
    known = index >= 0
    if not known.any():
        raise UserError(
            f"no {left} of the predictions (as {keys.iloc[0]!r}) is a {right} of the metadata "
            f"(as {others.iloc[0]!r})"
        )
    added = metadata.drop(columns=right).iloc[index.clip(min=0)].set_index(predictions.index)
    added[~known] = None
    for name in added.columns.intersection(predictions.columns):
        if not canonical(predictions[name][known]).equals(canonical(added[name][known])):
            raise UserError(f"column {name!r} is in both tables and differs; rename or remove one")
        added = added.drop(columns=name)
    joined = pd.concat([predictions, added], axis=1)
    return joined, {"rows without metadata": int((~known).sum())}
