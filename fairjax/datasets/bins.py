"""How continuous attributes are cut: one notation for configurations, flags and Python."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from fairjax.utils.errors import UserError

EACH = "each"  # in place of cut points: every value is a group
SENTINELS = (-1.0, -9.0, -99.0, -999.0, -9999.0)  # numbers that often mean "not known"

# cut points, a number of quantiles, or EACH
Cuts = tuple[float, ...] | int | str


def parse_bins(bins: str | Sequence[str] | Mapping[str, Any] | None) -> dict[str, Cuts]:
    """Reads `age=40,60` (cut points), `age=q4` (quantiles) and `site=each`.

    Args:
      bins: a text with `;` between attributes, several such texts, or attribute → cut points,
        number of quantiles, or either as text.

    Returns:
      Attribute → its cuts.

    Raises:
      UserError: something is none of these.
    """
    if isinstance(bins, Mapping):
        return {str(name): _cuts(value, f"{name}={value}") for name, value in bins.items()}
    texts = [bins] if isinstance(bins, str) else list(bins or ())
    found: dict[str, Cuts] = {}
    for part in filter(None, (part.strip() for text in texts for part in text.split(";"))):
        name, equals, value = part.rpartition("=")
        found[name.strip()] = _cuts(value if equals and name.strip() else "", part)
    return found


def _cuts(value: Any, written: str) -> Cuts:
    try:
        if isinstance(value, str):
            text = value.strip()
            if text == EACH:
                return EACH
            return int(text[1:]) if text.startswith("q") else tuple(map(float, text.split(",")))
        if isinstance(value, int | np.integer):
            return int(value)
        return tuple(map(float, np.atleast_1d(np.asarray(value)).tolist()))
    except (TypeError, ValueError):
        raise UserError(
            f"cannot read the bins {written}; write age=40,60 (cut points: 40 is in the group "
            "above "
            "it), age=q4 (quantiles) or site=each (every value a group)"
        ) from None


def cut_points(cuts: Cuts, numbers: Float[np.ndarray, " n"], where: str) -> tuple[float, ...]:
    """Returns increasing cut points; quantiles become those of the known numbers.

    Raises:
      UserError: they do not increase, or there are fewer numbers than quantiles.
    """
    if isinstance(cuts, int):
        if cuts < 2 or numbers.size < cuts:
            raise UserError(f"{where}: cannot make {cuts} quantiles of {numbers.size} values")
        points = np.unique(np.quantile(numbers, np.arange(1, cuts) / cuts))
        return tuple(float(point) for point in points if point > numbers.min())
    if not cuts or isinstance(cuts, str) or list(cuts) != sorted(set(cuts)):
        raise UserError(f"{where}: cut points must increase, as 40,60; not {cuts}")
    return cuts


def interval_names(points: Sequence[float]) -> list[str]:
    """Returns the names of half-open intervals: `<40`, `40-<60`, `≥60`; a cut point belongs to
    the group above it.
    """
    short = [f"{point:g}" for point in points]
    ends = short if len(set(short)) == len(short) else [repr(float(point)) for point in points]
    if not ends:
        return ["all"]
    return [f"<{ends[0]}", *(f"{a}-<{b}" for a, b in itertools.pairwise(ends)), f"≥{ends[-1]}"]


def sentinel(numbers: Float[np.ndarray, " n"], lowest: float = 0.0) -> float | None:
    """Returns the one negative number among others that are none, if it often means "not known".

    Args:
      numbers: the known numbers.
      lowest: the first cut point, where there is one: below it, negative numbers are expected.
    """
    negative = np.unique(numbers[numbers < 0])
    alone = len(negative) == 1 and len(negative) < len(np.unique(numbers)) and lowest >= 0
    return float(negative[0]) if alone and negative[0] in SENTINELS else None
