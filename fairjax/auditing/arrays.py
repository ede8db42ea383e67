"""NumPy arrays of what users have: lists, pandas, tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fairjax.utils.errors import UserError


def to_numpy(values: Any, name: str) -> np.ndarray:
    """An array of at least one dimension; of a tensor of any device, its values.

    Raises:
      UserError: There is nothing, or a single value.
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


def numbers(values: Any, name: str) -> np.ndarray:
    """Float64 numbers, NaN where missing.

    Raises:
      UserError: Something is no number.
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
    refused = flat[found.isna() & flat.notna()]
    if len(refused):
        raise UserError(f"{name} must be numbers, not {refused.iloc[0]!r} (row {refused.index[0]})")
    return found.to_numpy(np.float64).reshape(array.shape)


def require_same_order(inputs: Mapping[str, Any]) -> None:
    """Refuses pandas objects whose indexes have the same labels in another order: pair them by
    position or by label?

    Raises:
      UserError: Names the two.
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
                f"{name} and {other} have the same index in another order; align them, as {other}.loc[{name}.index], "
                f"or give {other}.to_numpy() to pair them by position"
            )
