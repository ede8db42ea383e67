"""From columns of people's attributes to groups: as they are, cut, or crossed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from fairjax.auditing.arrays import to_numpy
from fairjax.auditing.tables import is_missing
from fairjax.datasets.rules import Bins, canonical, listed
from fairjax.statistics.rows import Attribute
from fairjax.utils.errors import UserError, did_you_mean

MOST_NUMBERS = 20  # distinct numbers of an attribute, beyond which it is taken for continuous
EACH = "each"  # in place of cut points: every number is a group
CROSS = " × "
Cuts = int | str | Sequence[float]


@dataclass(frozen=True)
class GroupTable:
    """Attributes in order.

    Attributes:
      attributes: Name → (codes (n,), names), -1 where missing.
      rules: Name → how it was cut or crossed, in words.
    """

    attributes: dict[str, Attribute] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)


def encode(
    groups: Any,
    n: int | None = None,
    bins: Mapping[str, Cuts] | None = None,
    intersections: bool | Sequence[Sequence[str]] = False,
) -> GroupTable:
    """Codes the groups of every attribute.

    Args:
      groups: A DataFrame or dict with a column for each attribute, a Series, or an array (n,) or
        (n, attributes).
      n: Samples that there must be; None: whatever there are.
      bins: Attribute → cut points (half-open intervals `[a, b)`), a number of quantiles, or
        `"each"`.
      intersections: True: also all attributes crossed; or tuples of names to cross.

    Raises:
      UserError: A column that does not fit, or cannot be cut as asked for.
    """
    table, result, bins = as_columns(groups), GroupTable(), dict(bins or {})
    if not table:
        raise UserError("there is no attribute to compare groups of; give at least one")
    for name in bins:
        if name not in table:
            raise UserError(f"bins for {name!r}, which is no attribute{did_you_mean(name, table)}")
    for name, values in table.items():
        if n is not None and len(values) != n:
            raise UserError(
                f"attribute {name!r} has {len(values)} values, but there are {n} samples"
            )
        if bins.get(name, EACH) != EACH:
            attribute, result.rules[name] = _cut(name, values, bins[name])
        else:
            attribute = _as_they_are(name, values, allow_many=name in bins)
        result.attributes[name] = attribute
    for names in [tuple(table)] if intersections is True else intersections or []:
        _cross(names, result)
    return result


def as_columns(groups: Any) -> dict[str, pd.Series]:
    """One column for each attribute."""
    if isinstance(groups, pd.DataFrame):
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


def _as_they_are(name: str, values: pd.Series, allow_many: bool) -> Attribute:
    """Every value a group: in the order of its categories, of numbers, or of the alphabet."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        codes, distinct = (
            values.cat.codes.to_numpy(np.int64),
            pd.Series(values.cat.categories, dtype=object),
        )
    else:
        codes, found = pd.factorize(values)
        distinct = pd.Series(np.asarray(found), dtype=object)
    text, blank = canonical(distinct), is_missing(distinct)
    known = text[~blank].drop_duplicates()
    numbers = pd.to_numeric(known, errors="coerce")
    numeric = bool(len(known)) and bool(numbers.notna().all())
    if numeric and len(known) > MOST_NUMBERS and not allow_many:
        raise UserError(
            f"attribute {name!r} has {len(known)} distinct numbers: cut it, as with --bins {name}=40,60 "
            f"(bins={{{name!r}: (40, 60)}}) or {name}=q4 (bins={{{name!r}: 4}}) for quartiles; "
            f"{name}=each makes every number a group"
        )
    if not isinstance(values.dtype, pd.CategoricalDtype):
        known = (
            known.loc[numbers.sort_values().index]
            if numeric
            else known.sort_values(key=lambda x: x.str.casefold())
        )
    names = known.tolist()
    number = {text: i for i, text in enumerate(names)}
    of_distinct = np.array(
        [*(-1 if b else number[t] for t, b in zip(text, blank, strict=True)), -1]
    )
    codes = of_distinct[codes]
    used = np.unique(codes[codes >= 0])  # a category that nobody is in is no group
    renumbered = np.full(len(names) + 1, -1)
    renumbered[used] = np.arange(len(used))
    return renumbered[codes], [names[i] for i in used]


def _cut(name: str, values: pd.Series, cuts: Cuts) -> tuple[Attribute, str]:
    """Groups between cut points, or quantiles."""
    values = values.astype(object).where(~is_missing(values))
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
    if (np.isnan(numbers) & values.notna()).any():
        refused = canonical(values[np.isnan(numbers) & values.notna()])
        raise UserError(f"attribute {name!r} cannot be cut: no numbers in {listed(refused)}")
    known = numbers[~np.isnan(numbers)]
    if np.isinf(known).any():
        raise UserError(
            f"attribute {name!r} cannot be cut: {np.isinf(known).sum()} values are infinite"
        )
    rule = "cut at {}"
    if isinstance(cuts, int | np.integer):
        if cuts < 2 or known.size < cuts:
            raise UserError(
                f"attribute {name!r}: cannot make {cuts} quantiles of {known.size} values"
            )
        points = np.unique(np.quantile(known, np.arange(1, cuts) / cuts))
        cuts, rule = (
            [float(point) for point in points if point > known.min()],
            f"{cuts} quantiles, cut at {{}}",
        )
    if isinstance(cuts, str) or not len(cuts):
        raise UserError(
            f"attribute {name!r}: cannot be cut at {cuts!r}; give increasing numbers, as {name}=40,60"
        )
    bins = Bins(name, tuple(map(float, cuts)))
    categories = bins.apply(pd.Series(numbers), f"bins of {name!r}")
    codes, names = categories.codes.astype(np.int64), bins.names
    used = np.unique(codes[codes >= 0])
    renumbered = np.full(len(names) + 1, -1)
    renumbered[used] = np.arange(len(used))
    return (renumbered[codes], [names[i] for i in used]), rule.format(
        ", ".join(f"{cut:g}" for cut in bins.cuts)
    )


def _cross(names: Sequence[str], result: GroupTable) -> None:
    """Adds the attribute of those who are in one group of each; unknown where any of them is."""
    if len(names) < 2 or isinstance(names, str):
        raise UserError(f"an intersection needs at least two attributes, not {names!r}")
    for name in names:
        if name not in result.attributes:
            raise UserError(
                f"intersection of {name!r}, which is no attribute{did_you_mean(name, result.attributes)}"
            )
    parts = [result.attributes[name] for name in names]
    code, unknown = np.zeros_like(parts[0][0]), np.zeros(parts[0][0].shape, bool)
    for codes, groups in parts:
        code, unknown = code * len(groups) + codes, unknown | (codes < 0)
    every = [
        CROSS.join(combination)
        for combination in itertools.product(*(groups for _, groups in parts))
    ]
    used, dense = np.unique(code[~unknown], return_inverse=True)
    codes = np.full(code.shape, -1)
    codes[~unknown] = dense
    crossed = CROSS.join(names)
    result.attributes[crossed] = codes, [every[i] for i in used]
    result.rules[crossed] = "crossed"


def parse_bins(flags: Sequence[str]) -> dict[str, Cuts]:
    """Reads `age=40,60` (cut points), `age=q4` (quantiles) and `site=each`.

    Raises:
      UserError: A flag that is none of these.
    """
    found: dict[str, Cuts] = {}
    for flag in flags:
        name, equals, text = flag.rpartition("=")
        try:
            if not equals or not name:
                raise ValueError
            if text == EACH:
                found[name] = EACH
            else:
                found[name] = (
                    int(text[1:])
                    if text.startswith("q")
                    else [float(cut) for cut in text.split(",")]
                )
        except ValueError:
            raise UserError(
                f"--bins {flag}: write age=40,60 (cut points), age=q4 (quantiles) or site=each"
            ) from None
    return found
