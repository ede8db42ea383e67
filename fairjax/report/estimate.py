"""A number with its interval, its sample and its status."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fairjax.report.format import decimal, finite


@dataclass(frozen=True)
class Estimate:
    """One number of `results` with its interval, sample, status and tests.

    Attributes:
      value: the estimate; NaN where there is none.
      low: lower end of its interval.
      high: upper end of its interval.
      n: samples that it is computed on.
      n_positive: positives among them.
      status: "ok", or why there is no number.
      n_invalid: bootstrap replicates without a value.
      p_value: p-value of its test; NaN where none was made.
      p_holm: the same after Holm's correction.
      expects_interval: whether others of its run have an interval.
    """

    value: float
    low: float
    high: float
    n: float
    n_positive: float
    status: str = "ok"
    n_invalid: float = 0
    p_value: float = math.nan
    p_holm: float = math.nan
    expects_interval: bool = True

    @property
    def known(self) -> bool:
        """Whether there is a number."""
        return finite(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval."""
        return finite(self.low) and finite(self.high)

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 is outside the interval (of a gap or a difference)."""
        return self.known and self.has_interval and (self.low > 0 or self.high < 0)

    @property
    def p_text(self) -> str:
        """Returns "p = 0.012, 0.048 corrected" of a test, or nothing."""
        if not finite(self.p_value):
            return ""
        corrected = f", {decimal(self.p_holm)} corrected" if finite(self.p_holm) else ""
        return f"p {'= ' if self.p_value >= 5e-4 else ''}{decimal(self.p_value)}{corrected}"

    @property
    def remark(self) -> str:
        """The status of a number that is known but not "ok", e.g. "without other"; else nothing."""
        return self.status if self.known and self.status != "ok" else ""

    @property
    def reason(self) -> str:
        """Why there is no number."""
        return self.status if self.status != "ok" else "no number was recorded"

    def interval(self, digits: int = 3) -> str:
        """Returns "[low, high]"."""
        if not self.has_interval:
            return "[no interval]" if self.expects_interval else ""
        return f"[{decimal(self.low, digits)}, {decimal(self.high, digits)}]"

    def text(self, digits: int = 3) -> str:
        """Returns "value [low, high]", or "–" where there is no number."""
        if not self.known:
            return "–"
        return f"{decimal(self.value, digits)} {self.interval(digits)}".rstrip()


ABSENT = Estimate(math.nan, math.nan, math.nan, math.nan, math.nan, "not computed")
