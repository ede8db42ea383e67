"""From columns of patients' attributes to groups: as they are, cut, or crossed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from fairjax.datasets.bins import parse_bins
from fairjax.datasets.rules import rule_for
from fairjax.datasets.values import to_numpy
from fairjax.utils.errors import UserError, did_you_mean

CROSS = " × "
Attribute = tuple[Int[np.ndarray, " n"], Sequence[str]]  # codes, −1 where missing; names


@dataclass(frozen=True)
class GroupTable:
    """Attributes in order.

    Attributes:
      attributes: name → (codes (n,), names), −1 where missing.
      rules: name → how it was cut or crossed, in words.
      notes: what was missing, and which spellings were merged, a line each.
    """

    attributes: dict[str, Attribute] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def encode(
    groups: Any,
    n: int | None = None,
    bins: str | Sequence[str] | Mapping[str, Any] | None = None,
    intersections: bool | Sequence[Sequence[str]] = False,
    *,
    missing: Sequence[str] = (),
    keep_na: bool = False,
) -> GroupTable:
    """Codes the groups of every attribute.

    Args:
      groups: a DataFrame or dict with a column for each attribute, a Series, or an array (n,) or
        (n, attributes).
      n: samples that there must be; None: whatever there are.
      bins: how to cut numbers; see `fairjax.datasets.bins.parse_bins`.
      intersections: True: also all attributes crossed; or tuples of names to cross.
      missing: values that mean "not recorded", besides `values.MISSING_WORDS`.
      keep_na: whether those whose value is missing are a group of their own.

    Raises:
      UserError: a column does not fit, or cannot be cut as asked for.
    """
    table, result, cuts = as_columns(groups), GroupTable(), parse_bins(bins)
    if not table:
        raise UserError("there is no attribute to compare groups of; give at least one")
    for name in cuts:
        if name not in table:
            raise UserError(f"bins for {name!r}, which is no attribute{did_you_mean(name, table)}")
    for name, values in table.items():
        if n is not None and len(values) != n:
            raise UserError(
                f"attribute {name!r} has {len(values)} values, but there are {n} samples"
            )
        rule = rule_for(name, cuts.get(name), tuple(missing))
        found = rule.group(values, "", keep_na=keep_na)
        used, codes = np.unique(found.codes[found.codes >= 0], return_inverse=True)
        dense = np.full(len(values), -1)  # a group without patients is left out
        dense[found.codes >= 0] = codes
        result.attributes[name] = dense, [found.names[i] for i in used]
        result.notes.extend(found.notes)
        if found.rule:
            result.rules[name] = found.rule
    for names in [tuple(table)] if intersections is True else intersections or []:
        _cross(names, result)
    return result


def as_columns(groups: Any) -> dict[str, pd.Series]:
    """Returns one column for each attribute; raises a `UserError` on two of one name."""
    if isinstance(groups, pd.DataFrame):
        twice = groups.columns[groups.columns.duplicated()]
        if len(twice):
            raise UserError(f"two columns of the groups are called {twice[0]!r}; rename one")
        return {str(name): groups[name].reset_index(drop=True) for name in groups}
    if isinstance(groups, Mapping):
        return {str(name): _series(values) for name, values in groups.items()}
    if isinstance(groups, pd.Series):
        return {str(groups.name or "group"): _series(groups)}
    array = to_numpy(groups, "groups")
    if array.ndim == 2:
        return {f"group_{i}": pd.Series(column) for i, column in enumerate(array.T)}
    return {"group": _series(array)}


def _series(values: Any) -> pd.Series:
    if isinstance(values, pd.Series | pd.Categorical):
        return pd.Series(values).reset_index(drop=True)
    return pd.Series(to_numpy(values, "groups").reshape(-1))


def _cross(names: Sequence[str], result: GroupTable) -> None:
    """Adds the attribute of those who are in one group of each; unknown where any of them is."""
    if len(names) < 2 or isinstance(names, str):
        raise UserError(f"an intersection needs at least two attributes, not {names!r}")
    for name in names:
        if name not in result.attributes:
            raise UserError(
                f"intersection of {name!r}, which is no attribute"
                f"{did_you_mean(name, result.attributes)}"
            )
    parts = [result.attributes[name] for name in names]
    code, unknown = np.zeros_like(parts[0][0]), np.zeros(parts[0][0].shape, bool)
    for codes, groups in parts:
        code, unknown = code * len(groups) + codes, unknown | (codes < 0)
    every = list(itertools.product(*(groups for _, groups in parts)))
    used, dense = np.unique(code[~unknown], return_inverse=True)
    codes = np.full(code.shape, -1)
    codes[~unknown] = dense
    crossed = CROSS.join(names)
    result.attributes[crossed] = codes, [CROSS.join(every[i]) for i in used]
    result.rules[crossed] = "crossed"
