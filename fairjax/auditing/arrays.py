"""NumPy arrays of what users have: lists, pandas, tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fairjax.datasets.values import is_missing, to_numpy
from fairjax.utils.errors import UserError


def numbers(values: Any, name: str) -> np.ndarray:
    """Returns float64 numbers, NaN where missing.

    Args:
      values: what the caller has.
      name: what it is, for messages.

    Raises:
      UserError: something is no number.
    """
    if isinstance(values, pd.Series | pd.DataFrame):
        values = values.astype(object).where(values.notna(), np.nan)
    array = to_numpy(values, name)
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        pass
    flat = pd.Series(array.reshape(-1), dtype=object)
    found = pd.to_numeric(flat, errors="coerce")
    refused = flat[found.isna() & ~is_missing(flat)]
    if len(refused):
        raise UserError(f"{name} must be numbers, not {refused.iloc[0]!r} (row {refused.index[0]})")
    return found.to_numpy(np.float64).reshape(array.shape)


def require_same_order(inputs: Mapping[str, Any]) -> None:
    """Refuses pandas objects whose indexes have the same labels in another order: pair them by
    position or by label?

    Args:
      inputs: name → what the caller has.

    Raises:
      UserError: names the two.
    """
    indexed = {
        name: values.index
        for name, values in inputs.items()
        if isinstance(values, pd.Series | pd.DataFrame)
    }
    for (name, index), (other, reference) in zip(indexed.items(), list(indexed.items())[1:]):
        if (
            len(index) == len(reference)
            and not index.equals(reference)
            and index.isin(reference).all()
        ):
            raise UserError(
                f"{name} and {other} have the same index in another order; align them, as "
                f"{other}.loc[{name}.index], or give {other}.to_numpy() to pair them by position"
            )
