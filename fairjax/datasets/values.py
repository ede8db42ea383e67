"""What a cell of a table means: text in one form, what is missing, and which values are the same.

Datasets and audits read cells by these rules alone: `7`, `7.0` and `"7 "` are one value (and one
patient), `007` is another; `NA`, `None`, `-`, … are missing, in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from fairjax.utils.errors import UserError

# in lower case
MISSING_WORDS = frozenset(
    [
        "",
        "-",
        "--",
        ".",
        "?",
        "na",
        "n/a",
        "n.a.",
        "#n/a",
        "<na>",
        "nan",
        "-nan",
        "nat",
        "none",
        "null",
        "unknown",
    ]
)
WHOLE = r"^([-+]?\d+)\.0*$"  # a whole number written with a fraction


def to_numpy(values: Any, name: str) -> np.ndarray:
    """Returns an array of at least one dimension; of a tensor of any device, its values.

    Args:
      values: a list, array, pandas object or tensor.
      name: what it is, for messages.

    Raises:
      UserError: there is nothing, or a single value.
    """
    if hasattr(values, "detach"):  # PyTorch, which is not imported here
        values = values.detach().cpu()
        values = values.float().numpy() if "bfloat16" in str(values.dtype) else values.numpy()
    elif hasattr(values, "to_numpy"):
        values = values.to_numpy()
    array = np.asarray(values)
    if array.ndim == 0:
        raise UserError(f"{name} must have one value for each sample, not {values!r}")
    return array


def canonical(values: pd.Series) -> pd.Series:
    """Returns text without surrounding blanks, '' where null; whole numbers without a fraction:
    `1.0` is `1`.
    """
    if isinstance(values.dtype, pd.StringDtype):
        text = values.fillna("").str.strip()
    else:
        text = values.astype(object).where(values.notna(), "").astype(str).str.strip()
    return text.str.replace(WHOLE, r"\1", regex=True)


def is_missing(values: pd.Series | Sequence, more: Iterable[str] = ()) -> Bool[np.ndarray, " n"]:
    """Marks cells that say that nothing is known.

    Args:
      values: n cells.
      more: further words that mean it, in any case.
    """
    words = MISSING_WORDS | {fold(word) for word in more}
    found = distinct(pd.Series(values))
    return np.array([fold(text) in words for text in found.text], bool)[found.codes]


def fold(text: str) -> str:
    """Returns what spellings of one value have in common."""
    return text.strip().casefold()


class Distinct(NamedTuple):
    """The k distinct values of a column.

    Attributes:
      codes: (n,) which of them each cell holds.
      text: (k,) in canonical form.
      written: (k,) as they are in the column.
      counts: (k,) cells that hold them.
      ordered: whether their order is that of categories.
    """

    codes: Int[np.ndarray, " n"]
    text: list[str]
    written: list[str]
    counts: Int[np.ndarray, " k"]
    ordered: bool


def distinct(values: pd.Series) -> Distinct:
    """Returns the distinct values of a column: of a categorical in the order of its categories."""
    ordered = isinstance(values.dtype, pd.CategoricalDtype)
    if ordered:
        codes, found = values.cat.codes.to_numpy(np.int64), list(values.cat.categories)
    else:
        codes, index = pd.factorize(values)
        found = list(index)
    codes = np.where(codes < 0, len(found), codes)  # null cells come last
    column = pd.Series([*found, None], dtype=object)
    written = ["" if value is None else str(value) for value in column]
    counts = np.bincount(codes, minlength=len(column))
    return Distinct(codes, canonical(column).tolist(), written, counts, ordered)


def codes_of(values: pd.Series) -> Int[np.ndarray, " n"]:
    """Numbers the identities (patients, keys) of a column in the order of their first cell."""
    found = distinct(values)
    return pd.factorize(np.asarray(found.text, object)[found.codes])[0]


def listed(values: pd.Series | Mapping[str, int], limit: int = 5) -> str:
    """Returns `'x' (12 rows), 'y' (1 row)`: values with their counts, the most frequent first."""
    if isinstance(values, Mapping):
        counts = pd.Series(dict(values), dtype=int).sort_values(ascending=False, kind="stable")
    else:
        counts = values.value_counts()
    shown = ", ".join(
        f"{value!r} ({count} row{'s' * (count != 1)})"
        for value, count in counts.head(limit).items()
    )
    return shown + (f" and {len(counts) - limit} more" if len(counts) > limit else "")


def tally(found: Distinct, chosen: Sequence[bool] | np.ndarray) -> dict[str, int]:
    """Counts the cells of the chosen distinct values, by their text."""
    counts: dict[str, int] = {}
    for text, count, wanted in zip(found.text, found.counts.tolist(), chosen, strict=True):
        if wanted and count:
            counts[text] = counts.get(text, 0) + count
    return counts
