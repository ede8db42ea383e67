"""Progress bars: what is done, how fast, how long still; one place for how they look."""

from __future__ import annotations

import sys

from tqdm import tqdm

FORMAT = (
    "{desc}: {percentage:3.0f}%|{bar:30}| {n:.0f}/{total:.0f} {unit}s "
    "[{elapsed}<{remaining}, {rate_noinv_fmt}]"
)
SECONDS_IN_A_LOG = 15.0  # between lines that no one watches


def bar(description: str, unit: str, total: int, *, done: int = 0, show: bool = True) -> tqdm:
    """A bar in `unit`s per second with the time left; in a log file a line every 15 s.

    Args:
      description: what is being done.
      unit: name of what is counted, singular.
      total: units in all.
      done: units that were done before.
      show: false for a bar that shows nothing.
    """
    watched = sys.stderr.isatty()
    return tqdm(
        desc=description,
        unit=unit,
        total=total,
        initial=done,
        disable=not show,
        bar_format=FORMAT,
        mininterval=0.1 if watched else SECONDS_IN_A_LOG,
        maxinterval=SECONDS_IN_A_LOG,
        miniters=None if watched else 1,
        smoothing=0.1,
    )


def advance(bar: tqdm, more: float) -> None:
    """Moves a bar on, and never beyond its end: parts of units add up with rounding."""
    bar.update(min(more, bar.total - bar.n))
