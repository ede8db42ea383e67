"""Which rows a result has: everybody, and of every attribute its groups, disparities, differences
and criteria.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from fairjax.metrics.disparity import CRITERION, DISPARITIES
from fairjax.metrics.table import METRICS
from fairjax.utils.errors import UserError

OK = "ok"
# of more groups, each is compared with the attribute's overall value instead of with every other
MAX_PAIRED_GROUPS = 6
ALL, OVERALL, SUBGROUP, DIFFERENCE = "all", "overall", "subgroup", "difference"
CLASSES, NO_CLASSES = (
    {0: "negative", 1: "positive"},
    {0: ""},
)  # values without classes are all of label 0
Attribute = tuple[
    Int[np.ndarray, " n"], Sequence[str]
]  # code of each sample, -1 where missing, and the groups' names


class Row(NamedTuple):
    """A row of the result, for every metric and run.

    Attributes:
      attribute: name, or `all`.
      group: `overall`, a group's name, a name in `DISPARITIES`, or `a − b`.
      kind: `subgroup`, `difference`, or a name in `DISPARITIES`.
      subgroups: indices of the subgroups it is made of, of a disparity those of the groups; none
        where it has no number.
      overall: the subgroup of all samples whose group is known.
      n: samples.
      n_positive: samples with label 1.
      n_patients: patients of the rarer class, in the smallest of the subgroups.
      status: `ok`, or why there is no number, or who was left out.
    """

    attribute: str
    group: str
    kind: str
    subgroups: tuple[int, ...]
    overall: int
    n: int
    n_positive: int
    n_patients: int
    status: str


@dataclass
class RowPlan:
    """The rows in the order of the result, and the members of the subgroups they are made of."""

    rows: list[Row] = field(default_factory=list)
    members: list[np.ndarray] = field(default_factory=list)
    _index: dict[bytes, int] = field(default_factory=dict)  # by members: equal subgroups are one

    @classmethod
    def build(
        cls,
        labels: Int[np.ndarray, " n"],
        attributes: Mapping[str, Attribute],
        patients: Int[np.ndarray, " n"],
        min_group: int,
        disparities: Sequence[str] = tuple(DISPARITIES),
        classes: Mapping[int, str] = CLASSES,
    ) -> RowPlan:
        """Plans `all`, and of each attribute overall, groups, disparities and pairwise differences.

        A group with fewer than `min_group` patients of one of the classes, or none, has counts and
        a reason but no number, and is left out of disparities and differences. Of more than
        `MAX_PAIRED_GROUPS` groups each is compared with the attribute's overall value, which does
        not depend on the outcome as a best group would.
        """
        plan, people = cls(), (labels, patients, classes)
        plan._add(
            ALL,
            OVERALL,
            np.ones(labels.shape, bool),
            labels,
            _count(np.ones(labels.shape, bool), *people),
        )
        for attribute, (codes, names) in attributes.items():
            for name in set(names) & {OVERALL, CRITERION, *DISPARITIES}:
                raise UserError(
                    f"attribute {attribute!r}: {name!r} is the name of a row in the results; "
                    "rename that group"
                )
            overall = plan._add(attribute, OVERALL, codes >= 0, labels, _count(codes >= 0, *people))
            groups = []
            for code, name in enumerate(names):
                member = codes == code
                counts = _count(member, *people)
                groups.append(
                    plan._add(attribute, name, member, labels, counts, _reason(counts, min_group))
                )
            plan._contrast(attribute, overall, groups, disparities)
        return plan

    def _add(
        self,
        attribute: str,
        group: str,
        member: np.ndarray,
        labels: np.ndarray,
        counts: Mapping[str, int],
        reason: str = OK,
    ) -> Row:
        subgroups: tuple[int, ...] = ()
        reason = reason if member.any() else "no samples"
        if reason == OK:
            key = np.packbits(member).tobytes()
            if key not in self._index:
                self._index[key] = len(self.members)
                self.members.append(member)
            subgroups = (self._index[key],)
        sizes = int(member.sum()), int(labels[member].sum()), min(counts.values())
        row = Row(attribute, group, SUBGROUP, subgroups, -1, *sizes, reason)
        self.rows.append(row)
        return row

    def _contrast(
        self, attribute: str, overall: Row, groups: list[Row], disparities: Sequence[str]
    ) -> None:
        usable = [row for row in groups if row.subgroups]
        left_out = [row.group for row in groups if not row.subgroups]
        status = f"without {', '.join(left_out)}" if left_out else OK
        if len(usable) < 2:
            status = "fewer than 2 groups" + (f" {status}" if left_out else "")
        pairs = (
            [(row, overall) for row in usable]
            if len(usable) > MAX_PAIRED_GROUPS
            else list(combinations(usable, 2))
        )

        def add(name: str, kind: str, of: Sequence[Row], status: str) -> None:
            subgroups = (
                tuple(subgroup for row in of for subgroup in row.subgroups) if len(of) > 1 else ()
            )
            sizes = sum(row.n for row in of), sum(row.n_positive for row in of)
            n_patients = min((row.n_patients for row in of), default=0)
            known = overall.subgroups[0] if overall.subgroups else -1
            self.rows.append(
                Row(attribute, name, kind, subgroups, known, *sizes, n_patients, status)
            )

        for name in disparities:
            add(name, name, usable, status)
        for a, b in pairs:
            add(difference_name(a.group, b.group), DIFFERENCE, (a, b), OK)

    def of_kind(self, *kinds: str) -> list[tuple[int, Row]]:
        """The rows of these kinds that have numbers, each with its place."""
        return [(k, row) for k, row in enumerate(self.rows) if row.kind in kinds and row.subgroups]


def difference_name(a: str, b: str) -> str:
    """The name of the row of a difference between two groups."""
    return f"{a} − {b}"


def applies(row: Row, metric: str) -> bool:
    """Whether a metric has this row: none is the worst group where neither end of the metric is
    better.
    """
    return row.kind not in DISPARITIES or DISPARITIES[row.kind].applies(METRICS[metric])


def _count(
    member: np.ndarray, labels: np.ndarray, patients: np.ndarray, classes: Mapping[int, str]
) -> dict[str, int]:
    """Patients of each class."""
    return {
        name: np.unique(patients[member & (labels == label)]).size
        for label, name in classes.items()
    }


def _reason(counts: Mapping[str, int], min_group: int) -> str:
    """`ok`, or why a group that has samples has no number."""
    for name, count in counts.items():
        if count == 0:
            return f"no {name or 'sample'}s"
    for name, count in counts.items():
        if count < min_group:
            return f"{count} {name} patient{'s' * (count > 1)}, fewer than {min_group}".replace(
                "  ", " "
            )
    return OK
