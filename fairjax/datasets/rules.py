"""Declarative rules: what in a table is the label, and which value belongs to which group.

A value that no rule names is an error that lists it with its count: there is no `else` in a group
map.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from fairjax.datasets import bins
from fairjax.datasets.bins import EACH, Cuts
from fairjax.datasets.values import (
    MISSING_WORDS,
    Distinct,
    canonical,
    distinct,
    fold,
    is_missing,
    listed,
    tally,
)
from fairjax.utils.errors import UserError, did_you_mean, lookup

MAX_NUMBERS = 20  # distinct numbers that may be groups; more are a continuous attribute
MAX_GROUPS = 50
RARE = ("missing", "group")  # what becomes of a rare value
NA = "NA"  # the group of the missing, where they are not all written in one way


@dataclasses.dataclass(frozen=True)
class Label:
    """The positive class, by value or by a part of the text.

    Attributes:
      column: its name in the table.
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
        """Returns the rule with other positive values, of those that it knows; all others are
        negative.

        Raises:
          UserError: it knows no such value.
        """
        known = (*self.positive, *(self.negative or ()))
        for value in positive:
            lookup(f"value of {where}'s label {self.column!r}", value, dict.fromkeys(known))
        negative = tuple(value for value in known if value not in positive)
        meaning = f"{self.column} = {', '.join(positive)}"
        return dataclasses.replace(
            self, positive=tuple(positive), negative=negative, meaning=meaning
        )

    def apply(self, values: pd.Series, where: str) -> pd.Series:
        """Returns labels 1, 0, or −1 for a row to drop; raises a `UserError` on a value that no
        rule names.
        """
        if self.contains is not None:
            return canonical(values).str.contains(self.contains, regex=False).astype(int)
        found = distinct(values)
        known = dict.fromkeys(self.positive, 1) | dict.fromkeys(self.drop, -1)
        known |= dict.fromkeys(self.negative or (), 0)
        labels = [_named(text, known) for text in found.text]
        if self.negative is None:
            labels = [0 if label is None else label for label in labels]
        _refuse(found, labels, f"{where}: label column {self.column!r}", "labels are", known)
        of_distinct = np.array([label or 0 for label in labels])
        return pd.Series(of_distinct[found.codes], values.index)

    def unknown(self, values: pd.Series) -> int:
        """Counts the rows without a label, which `negative=None` would make negative."""
        return int((is_missing(values) & ~canonical(values).isin(self.positive)).sum())


class Grouping(NamedTuple):
    """The groups of one attribute.

    Attributes:
      codes: (n,) group of each row, −1 where missing.
      names: of the groups, in order.
      notes: what was missing, and which spellings were merged, a line each.
      rule: how the attribute was cut, in words; '' if it was not.
    """

    codes: Int[np.ndarray, " n"]
    names: list[str]
    notes: list[str]
    rule: str = ""


@dataclasses.dataclass(frozen=True)
class Rule(abc.ABC):
    """What makes groups of a column.

    Attributes:
      column: its name in the table.
      missing: values that mean "not recorded", besides `values.MISSING_WORDS`.
    """

    column: str
    missing: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)

    def group(self, values: pd.Series, where: str, *, keep_na: bool = False) -> Grouping:
        """Returns the group of every row.

        Args:
          values: n cells.
          where: the table, for messages.
          keep_na: whether those whose value is missing are a group of their own.

        Raises:
          UserError: a value has no place in the rule.
        """
        found = distinct(values)
        words = MISSING_WORDS | set(map(fold, self.missing))
        blank = np.array([fold(text) in words and not self.has_place(text) for text in found.text])
        places, names, notes, rule = self._of_distinct(found, blank, where)
        gone = tally(found, blank)
        if keep_na and gone:
            written = list(filter(None, gone))
            places = np.where(blank, len(names), places)
            names = [*names, written[0] if len(written) == 1 else NA]
        elif gone:
            notes = [_missing_note(self.column, gone), *notes]
        return Grouping(places[found.codes], names, notes, rule)

    def apply(self, values: pd.Series, where: str) -> pd.Categorical:
        """Returns groups as a categorical, NaN where missing; raises as `group` does."""
        grouping = self.group(values, where)
        return pd.Categorical.from_codes(grouping.codes, grouping.names)

    def has_place(self, text: str) -> bool:
        """Whether the rule itself has a place for a value, even if it is a word for missing."""
        return False

    @abc.abstractmethod
    def _of_distinct(self, found: Distinct, blank: Bool[np.ndarray, " k"], where: str) -> Grouping:
        """Returns the group of each of the k distinct values, −1 where blank."""


@dataclasses.dataclass(frozen=True)
class Groups(Rule):
    """A categorical attribute: value → group.

    Attributes:
      groups: value → group; several values may share a group. Case makes no difference.
      parts: the keys of `groups` are parts of the text; the first that it contains counts.
      rare: values of a few people, who are a group of their own or count as missing, as the user
        says: value → group.
    """

    groups: Mapping[str, str]
    parts: bool = False
    rare: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def has_place(self, text: str) -> bool:
        """See `Rule`."""
        return text in self.groups

    def with_rare(self, how: str) -> Groups:
        """Returns the rule with rare values as groups of their own (`how="group"`), or missing."""
        if how == "group":
            return dataclasses.replace(self, groups=dict(self.groups) | dict(self.rare), rare={})
        return dataclasses.replace(self, missing=(*self.missing, *self.rare), rare={})

    def _of_distinct(self, found, blank, where):
        names = list(dict.fromkeys(self.groups.values()))
        groups = [
            "" if gone or text in self.rare else self._group_of(text)
            for text, gone in zip(found.text, blank)
        ]
        what = f"{where}: attribute column {self.column!r}"
        _refuse(found, groups, what, "the group map names", self.groups)
        number = {name: i for i, name in enumerate(names)}
        return Grouping(np.array([number.get(group or "", -1) for group in groups]), names, [])

    def _group_of(self, text: str) -> str | None:
        if self.parts and text not in self.groups:
            return next((group for part, group in self.groups.items() if part in text), None)
        return _named(text, self.groups)


@dataclasses.dataclass(frozen=True)
class Values(Rule):
    """A categorical attribute whose distinct values are its groups, as sites or cameras.

    Spellings that differ in case or surrounding blanks are one group.

    Attributes:
      many: whether there may be as many groups as there are values.
    """

    many: bool = False

    def _of_distinct(self, found, blank, where):
        what = f"{where}{': ' * bool(where)}attribute {self.column!r}"
        known = tally(found, ~blank)
        spellings: dict[str, dict[str, int]] = {}
        for text, count in known.items():
            spellings.setdefault(fold(text), {})[text] = count
        # the most frequent spelling, of equals the first in the alphabet
        title = {
            key: min(counts, key=lambda text: (-counts[text], text))
            for key, counts in spellings.items()
        }
        numbers = pd.to_numeric(pd.Series(list(title), dtype=object), errors="coerce").to_numpy(
            np.float64
        )
        numeric = bool(title) and not np.isnan(numbers).any()
        if not self.many:
            self._check(what, numbers if numeric else None, len(title))
        keys = list(title)  # of a categorical, in the order of its categories
        if numeric:
            keys = [keys[i] for i in np.argsort(numbers, kind="stable")]
        elif not found.ordered:
            keys = sorted(title, key=lambda key: (key, title[key]))
        number = {key: i for i, key in enumerate(keys)}
        places = [
            -1 if gone else number.get(fold(text), -1) for text, gone in zip(found.text, blank)
        ]
        names = [title[key] for key in keys]
        return Grouping(np.array(places), names, _merged_notes(self.column, found, title, blank))

    def _check(self, what: str, numbers: np.ndarray | None, n_groups: int) -> None:
        kind, limit = ("values", MAX_GROUPS) if numbers is None else ("numbers", MAX_NUMBERS)
        if n_groups > limit:
            cut = f" {self.column}=40,60 cuts at these points, {self.column}=q4 in quartiles,"
            raise UserError(
                f"{what} has {n_groups} distinct {kind}; give bins:{cut * (kind == 'numbers')} "
                f"{self.column}=each makes every value a group"
            )
        _refuse_sentinel(what, None if numbers is None else bins.sentinel(numbers))


@dataclasses.dataclass(frozen=True)
class Bins(Rule):
    """A continuous attribute, cut into half-open intervals: `cuts=(60,)` gives [−∞, 60), [60, ∞).

    Attributes:
      cuts: increasing cut points, in the unit of the column (years for age), or how many quantiles.
      pattern: a regular expression whose first group is the number, for cells such as `039Y`.
    """

    cuts: Cuts = (60.0,)
    pattern: str | None = None

    @property
    def group_names(self) -> list[str]:
        """Names of the groups between given cut points: `<40`, `40-<60`, `≥60`."""
        return bins.interval_names(self.cuts) if isinstance(self.cuts, tuple) else []

    def _of_distinct(self, found, blank, where):
        what = f"{where}{': ' * bool(where)}attribute column {self.column!r}"
        text = pd.Series(found.text, dtype=object).where(~blank)
        text = text.str.extract(self.pattern)[0] if self.pattern else text
        numbers = pd.to_numeric(text, errors="coerce").to_numpy(np.float64)
        refused = tally(found, ~np.isfinite(numbers) & ~blank)
        if refused:
            raise UserError(
                f"{what} holds no number in {listed(refused)}; correct it, or declare it missing"
            )
        repeated = np.repeat(numbers[~blank], found.counts[~blank])
        points = bins.cut_points(self.cuts, repeated, what)
        _refuse_sentinel(what, bins.sentinel(repeated, min(points, default=0.0)))
        places = np.searchsorted(np.asarray(points), numbers, side="right")
        quantiles = f"{self.cuts} quantiles, " if isinstance(self.cuts, int) else ""
        rule = f"{quantiles}cut at {', '.join(f'{point:g}' for point in points)}"
        return Grouping(np.where(blank, -1, places), bins.interval_names(points), [], rule)


def rule_for(column: str, cuts: Cuts | None, missing: tuple[str, ...] = ()) -> Rule:
    """Returns the rule of an undeclared attribute: its values, or bins."""
    if cuts is None or cuts == EACH:
        return Values(column, many=cuts == EACH, missing=missing)
    return Bins(column, cuts, missing=missing)


def with_bins(name: str, rules: Mapping[str, Rule], cuts: Mapping[str, Cuts]) -> dict[str, Rule]:
    """Returns the rules with the user's bins in place of the spec's.

    Raises:
      UserError: an attribute is not continuous.
    """
    continuous = {attribute: rule for attribute, rule in rules.items() if isinstance(rule, Bins)}
    changed: dict[str, Rule] = {}
    for attribute, points in cuts.items():
        if attribute not in continuous:
            raise UserError(
                f"{name}: bins for {attribute!r}, no continuous attribute"
                f"{did_you_mean(attribute, continuous)}"
            )
        rule = continuous[attribute]
        changed[attribute] = (
            Values(rule.column, many=True, missing=rule.missing)
            if points == EACH
            else dataclasses.replace(rule, cuts=points)
        )
    return dict(rules) | changed


def _named(text: str, known: Mapping):
    """What a map has for a value, in any case; None where it has nothing."""
    if text in known:
        return known[text]
    return next((known[key] for key in known if fold(key) == fold(text)), None)


def _refuse(found: Distinct, places: Sequence, where: str, knows: str, named: Mapping) -> None:
    refused = tally(found, [place is None for place in places])
    if refused:
        names = ", ".join(repr(value) for value in named if value != "")
        raise UserError(
            f"{where} holds {listed(refused)}; {knows} {names}: map the value or declare it missing"
        )


def _refuse_sentinel(what: str, number: float | None) -> None:
    if number is not None:
        raise UserError(
            f"{what} holds {number:g} among numbers that are not negative: if it means 'not "
            "known', "
            f"declare it missing (missing={number:g}, of an audit missing_values={number:g}); if "
            "it "
            "is a value, give bins"
        )


def _missing_note(column: str, gone: Mapping[str, int]) -> str:
    n = sum(gone.values())
    words = listed({text or "(blank)": count for text, count in gone.items()}).replace(
        "'(blank)'", "blank"
    )
    question = any(fold(text) == "none" for text in gone)
    return (
        f"{column}: {n:,} row{'s are' if n != 1 else ' is'} missing: {words}"
        + ("; if 'None' is an answer ('nothing'), keep_na keeps it as a group" * question)
        + ("; keep_na makes them a group" * (not question and any(gone)))
    )


def _merged_notes(
    column: str, found: Distinct, title: Mapping[str, str], blank: np.ndarray
) -> list[str]:
    """Says which spellings are one group, and which names may be meant to be."""
    written: dict[str, dict[str, int]] = {}
    for text, raw, count, gone in zip(found.text, found.written, found.counts.tolist(), blank):
        if not gone and count:
            exact = raw if raw.strip() == text else text  # 7.0 is 7 without a word
            counts = written.setdefault(fold(text), {})
            counts[exact] = counts.get(exact, 0) + count
    notes = [
        f"{column}: {listed(counts)} are one group, {title[key]!r}"
        for key, counts in written.items()
        if len(counts) > 1
    ]
    for key, name in title.items():
        longer = [title[other] for other in title if len(other) > 2 and other.startswith(key)]
        if len(key) == 1 and key.isalpha() and longer:
            alike = ", ".join(map(repr, [name, *longer]))
            notes.append(
                f"{column}: {alike} are different groups; if they are one, write them alike"
            )
    return notes
