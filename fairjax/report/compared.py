"""The numbers of methods and their differences to a baseline."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from fairjax.report.estimate import Estimate
from fairjax.report.format import finite, signed
from fairjax.report.selected import GAP, OVERALL, WORST
from fairjax.statistics.methods import KEY, SETTINGS

if TYPE_CHECKING:
    import pandas as pd

SHOWN = (OVERALL, WORST, GAP)


class Method(NamedTuple):
    """What was compared.

    Attributes:
      usage: the usage, e.g. "linear_probe".
      method: the method, e.g. "group_dro".
      sensitive: the attribute that the method uses; "" for none.
    """

    usage: str
    method: str
    sensitive: str


class Difference(Estimate):
    """A difference to the baseline."""

    def interval(self, digits: int = 3) -> str:
        """Returns "[low, high]" with signs."""
        if not self.has_interval:
            return "[no interval]"
        return f"[{signed(self.low, digits)}, {signed(self.high, digits)}]"

    def text(self, digits: int = 3) -> str:
        """Returns "+value [low, high]", or "–" where there is no number."""
        return f"{signed(self.value, digits)} {self.interval(digits)}" if self.known else "–"

    def direction(self, higher_is_better: bool | None) -> str:
        """Returns "better" or "worse" if the whole interval is, else "unclear"."""
        if not self.excludes_zero or higher_is_better is None:
            return "unclear"
        return "better" if (self.low > 0) == higher_is_better else "worse"


class Compared:
    """Methods, their numbers and their differences to the baseline.

    Args:
      frame: the frame of `fairjax.statistics.methods.compare_methods`.
    """

    def __init__(self, frame: pd.DataFrame):
        self.frame = frame
        self._estimates: dict[tuple, tuple[Estimate, Difference]] = {}
        for row in frame.itertuples(index=False):
            sample = row.n, row.n_positive, row.status
            value = Estimate(row.value, row.ci_low, row.ci_high, *sample)
            ends = row.difference, row.difference_low, row.difference_high
            difference = Difference(*ends, *sample, p_value=row.p_value)
            method = Method(row.usage, row.method, row.sensitive)
            self._estimates[method, row.attribute, row.metric, row.group] = value, difference
        self.settings = {
            Method(*(getattr(row, name) for name in KEY)): {
                name: getattr(row, name) for name in SETTINGS if name in frame
            }
            for row in frame.drop_duplicates(list(KEY)).itertuples(index=False)
        }
        self.n_seeds = dict(frame.groupby(list(KEY), sort=False)["n_seeds"].first().items())

    @property
    def methods(self) -> list[Method]:
        """All, in the order of the frame."""
        return list(self.settings)

    @property
    def usages(self) -> list[str]:
        """All, in the order of the frame."""
        return list(dict.fromkeys(method.usage for method in self.methods))

    @cached_property
    def baselines(self) -> dict[str, str]:
        """Usage → the method that others of it are compared with."""
        pairs = self.frame.loc[
            self.frame["baseline"] != "", ["usage", "baseline"]
        ].drop_duplicates()
        return dict(pairs.itertuples(index=False))

    def is_baseline(self, method: Method) -> bool:
        """Whether others are compared with it."""
        return self.baselines.get(method.usage) == method.method

    def methods_for(self, usage: str, attribute: str) -> list[Method]:
        """Methods of a usage that use `attribute` or no sensitive attribute."""
        return [m for m in self.methods if m.usage == usage and m.sensitive in ("", attribute)]

    def label(self, method: Method, among: list[Method]) -> str:
        """Returns the method's name, with its sensitive attribute if the name is ambiguous."""
        same = [m for m in among if m.method == method.method and m.usage == method.usage]
        ambiguous = len(same) > 1 and method.sensitive
        return f"{method.method} ({method.sensitive})" if ambiguous else method.method

    def pair(
        self, method: Method, attribute: str, name: str, group: str
    ) -> tuple[Estimate, Difference]:
        """Returns the number and its difference to the baseline; NaN if there is no such row."""
        nothing = (math.nan,) * 5
        absent = Estimate(*nothing, "not computed"), Difference(*nothing, "not computed")
        return self._estimates.get((method, attribute, name, group), absent)

    def best(
        self, methods: list[Method], attribute: str, name: str, group: str, *, higher: bool
    ) -> set[Method]:
        """Returns the methods with the best value; several if they are equal."""
        values = {m: self.pair(m, attribute, name, group)[0].value for m in methods}
        known = {method: value for method, value in values.items() if finite(value)}
        wanted = (max if higher else min)(known.values(), default=math.nan)
        return {method for method, value in known.items() if value == wanted}


class Runs:
    """The values of single runs, by method, attribute and summary.

    Args:
      results: the tidy table of `ReportData`.
      compared: the methods.
      name: the metric.
    """

    def __init__(self, results: pd.DataFrame, compared: Compared, name: str):
        wanted = (results["metric"] == name) & results["group"].isin(SHOWN)
        rows = results[wanted & results["value"].notna()]
        self._keys = [key for key in (*KEY, "attribute", "group") if key in rows]
        self._groups = dict(list(rows.groupby(self._keys, sort=False, observed=True)))
        self._settings = compared.settings

    def values(self, method: Method, attribute: str, group: str, free: str = "") -> pd.DataFrame:
        """Returns the rows of a method's selected settings, of which one may be `free`."""
        where = {**method._asdict(), "attribute": attribute, "group": group}
        rows = self._groups.get(tuple(where[key] for key in self._keys))
        if rows is None:
            return next(iter(self._groups.values())).iloc[:0]
        for name, value in self._settings[method].items():
            if name in rows and name != free:
                rows = rows[rows[name] == value] if finite(value) else rows[rows[name].isna()]
        return rows
