"""Declarative rules: what in a table is the label, and which value belongs to which group.

A value that no rule names is an error that lists it with its count: there is no `else` in a group
map.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fairjax.utils.errors import UserError, did_you_mean, lookup

MOST_GROUPS = 24
RARE = ("missing", "group")  # what becomes of a rare value


def canonical(values: pd.Series) -> pd.Series:
    """Strings without surrounding blanks, '' where missing; whole numbers without a fraction: `1.0`
    is `1`.
    """
    if isinstance(values.dtype, pd.StringDtype):
        text = values.fillna("").str.strip()
    else:
        text = values.astype(object).where(values.notna(), "").astype(str).str.strip()
    return text.str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)


def listed(values: pd.Series, limit: int = 5) -> str:
    """`'x' (12 rows), 'y' (1 row)`: distinct values with their counts, the most frequent first."""
    counts = values.value_counts()
    shown = ", ".join(
        f"{value!r} ({count} row{'s' * (count != 1)})"
        for value, count in counts.head(limit).items()
    )
    return shown + (f" and {len(counts) - limit} more" if len(counts) > limit else "")


@dataclasses.dataclass(frozen=True)
class Label:
    """The positive class, by value or by a part of the text.

    Attributes:
      column: where it stands.
      meaning: what a positive is, in words.
      positive: values that are positive.
      negative: values that are negative; None means every other value.
      contains: instead of `positive`: text that a positive value contains.
      drop: values whose rows are left out of the dataset (and counted).
    """

    column: str
    meaning: str
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] | None = None
    contains: str | None = None
    drop: tuple[str, ...] = ()

    def with_positive(self, positive: Sequence[str], where: str) -> Label:
        """The rule with other positive values, of those that it knows; all others are negative.

        Raises:
          UserError: it knows no such value.
        """
        known = (*self.positive, *(self.negative or ()))
        for value in positive:
            lookup(f"value of {where}'s label {self.column!r}", value, dict.fromkeys(known))
        negative = tuple(value for value in known if value not in positive)
        return dataclasses.replace(
            self,
            positive=tuple(positive),
            negative=negative,
            meaning=f"{self.column} = {', '.join(positive)}",
        )

    def apply(self, values: pd.Series, where: str) -> pd.Series:
        """Labels 1, 0, or −1 for a row to drop; raises a `UserError` on a value that no rule names."""
        values = canonical(values)
        if self.contains is not None:
            return values.str.contains(self.contains, regex=False).astype(int)
        known = dict.fromkeys(self.positive, 1) | dict.fromkeys(self.drop, -1)
        known |= dict.fromkeys(self.negative or set(values) - set(known), 0)
        return _mapped(
            values, known, f"{where}: label column {self.column!r}", "labels are"
        ).astype(int)


@dataclasses.dataclass(frozen=True)
class Groups:
    """A categorical attribute: value → group.

    Attributes:
      column: where it stands.
      groups: value → group; several values may share a group.
      missing: values that mean "not recorded", besides the empty one.
      parts: the keys of `groups` are parts of the text; the first that it contains counts.
      rare: values of a few people, who are a group of their own or count as missing, as the user
        says: value → group.
    """

    column: str
    groups: Mapping[str, str]
    missing: tuple[str, ...] = ()
    parts: bool = False
    rare: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def apply(self, values: pd.Series, where: str) -> pd.Categorical:
        """Groups as a categorical, NaN where missing; raises a `UserError` on a value that the map
        does not name.
        """
        text = canonical(values)
        known: dict[str, object] = dict(self.groups) | dict.fromkeys(
            ("", *self.missing, *self.rare), np.nan
        )
        if self.parts:
            known |= {
                value: next((group for part, group in self.groups.items() if part in value), None)
                for value in set(text) - set(known)
            }
            known = {value: group for value, group in known.items() if group is not None}
        mapped = _mapped(
            text,
            known,
            f"{where}: attribute column {self.column!r}",
            "the group map names",
            self.groups,
        )
        return pd.Categorical(mapped, list(dict.fromkeys(self.groups.values())))

    def with_rare(self, how: str) -> Groups:
        """The rule with rare values as groups of their own (`how="group"`), or missing."""
        grouped = dict(self.groups) | dict(self.rare) if how == "group" else self.groups
        return dataclasses.replace(self, groups=grouped, rare={} if how == "group" else self.rare)


@dataclasses.dataclass(frozen=True)
class Values:
    """A categorical attribute whose distinct values are its groups, as sites or cameras.

    Attributes:
      column: where it stands.
      missing: values that mean "not recorded", besides the empty one.
    """

    column: str
    missing: tuple[str, ...] = ()

    def apply(self, values: pd.Series, where: str) -> pd.Categorical:
        """Groups as a categorical, NaN where missing; raises a `UserError` on too many values."""
        text = canonical(values)
        groups = sorted(set(text) - {"", *self.missing})
        if len(groups) > MOST_GROUPS:
            raise UserError(
                f"{where}: attribute column {self.column!r} has {len(groups)} distinct values, too many"
            )
        return pd.Categorical(text.where(text.isin(groups)), groups)


@dataclasses.dataclass(frozen=True)
class Bins:
    """A continuous attribute, cut into half-open intervals: `cuts=(60,)` gives [−∞, 60) and [60,
    ∞).

    Attributes:
      column: where it stands.
      cuts: increasing cut points, in the unit of the column (years for age).
      missing: values that mean "not recorded", besides the empty one.
      pattern: a regular expression whose first group is the number, for cells such as `039Y`.
    """

    column: str
    cuts: tuple[float, ...] = (60.0,)
    missing: tuple[str, ...] = ()
    pattern: str | None = None

    @property
    def names(self) -> list[str]:
        """Names of the groups: `<40`, `40-60`, `≥60`."""
        cuts = [f"{cut:g}" for cut in self.cuts]
        return [f"<{cuts[0]}", *(f"{a}-{b}" for a, b in itertools.pairwise(cuts)), f"≥{cuts[-1]}"]

    def apply(self, values: pd.Series, where: str) -> pd.Categorical:
        """Groups as a categorical, NaN where missing; raises a `UserError` on a cell that is not a
        number.
        """
        if not self.cuts or list(self.cuts) != sorted(set(self.cuts)):
            raise UserError(
                f"{where}: cut points of column {self.column!r} must increase, not {self.cuts}"
            )
        text = canonical(values)
        blank = text.isin(["", *self.missing])
        numbers = text.str.extract(self.pattern)[0] if self.pattern else text
        numbers = pd.to_numeric(numbers.where(~blank), errors="coerce")
        refused = text[numbers.isna() & ~blank]
        if len(refused):
            raise UserError(
                f"{where}: attribute column {self.column!r} holds no number in {listed(refused)}; "
                f"correct it, or declare it missing"
            )
        codes = np.searchsorted(np.asarray(self.cuts), numbers.to_numpy(float), side="right")
        return pd.Categorical.from_codes(np.where(numbers.isna(), -1, codes), self.names)


Rule = Groups | Values | Bins


def recut(
    name: str, rules: Mapping[str, Rule], cuts: Mapping[str, Sequence[float]]
) -> dict[str, Rule]:
    """The rules with the user's cut points in place of the spec's."""
    continuous = {attribute: rule for attribute, rule in rules.items() if isinstance(rule, Bins)}
    for attribute in cuts:
        if attribute not in continuous:
            raise UserError(
                f"{name}: cut points for {attribute!r}, no continuous attribute{did_you_mean(attribute, continuous)}"
            )
    recuts = {attribute: tuple(map(float, points)) for attribute, points in cuts.items()}
    return dict(rules) | {
        attribute: dataclasses.replace(rule, cuts=recuts[attribute])
        for attribute, rule in continuous.items()
        if attribute in recuts
    }


def _mapped(
    values: pd.Series, known: Mapping, where: str, knows: str, named: Mapping | None = None
) -> pd.Series:
    refused = values[~values.isin(list(known))]
    if len(refused):
        names = ", ".join(repr(value) for value in (named or known) if value != "")
        raise UserError(
            f"{where} holds {listed(refused)}; {knows} {names}: map the value or declare it missing"
        )
    return values.map(known)
