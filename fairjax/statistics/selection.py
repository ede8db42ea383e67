"""Which of many runs to take, when there is more than one thing to want."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from fairjax.utils.errors import UserError

SETTING = [
    "learning_rate",
    "weight_decay",
    "strength",
]  # what differs between the runs of a condition besides the seed
GROUP_AUC = "validation_auc "  # begins the columns of runs: `validation_auc sex=female`


def pareto_front(
    utility: Float[np.ndarray, " r"], disparity: Float[np.ndarray, " r"]
) -> Bool[np.ndarray, " r"]:
    """Marks the runs that no other run beats in one thing without losing in the other.

    Args:
      utility: (R,) higher is better.
      disparity: (R,) lower is better.

    Returns:
      (R,); equal runs are on the front together, a run with NaN is not.
    """
    utility, disparity = np.asarray(utility, np.float64), np.asarray(disparity, np.float64)
    known = np.flatnonzero(~np.isnan(utility) & ~np.isnan(disparity))
    order = known[np.lexsort((disparity[known], -utility[known]))]
    u, d = utility[order], disparity[order]
    least_before = np.minimum.accumulate(np.concatenate([[np.inf], d]))[:-1]
    same_as_before = np.concatenate([[False], (u[1:] == u[:-1]) & (d[1:] == d[:-1])])
    fresh = d < least_before
    # A run equal to its predecessor is on the front if that one is: carry the verdict of the first
    # of each tie.
    first = np.maximum.accumulate(np.where(same_as_before, 0, np.arange(len(order))))
    front = np.zeros(utility.shape, bool)
    front[order] = fresh[first]
    return front


def distance_to_optimum(
    groups: Float[np.ndarray, "r g"], ideal: Float[np.ndarray, " g"] | None = None
) -> Float[np.ndarray, " r"]:
    """Euclidean distance (DTO) of each run's utilities of the groups to the best that any run
    reaches for each group.

    Args:
      groups: (R, G) higher is better.
      ideal: (G,) the utilities to come close to; None: the largest in each column.

    Source: Han et al. 2023, Fair enough: standardizing evaluation and model selection for fairness
    research in NLP; used for medical images by Zong et al. 2023, MEDFAIR.
    """
    groups = np.asarray(groups, np.float64)
    target = np.fmax.reduce(groups, axis=0) if ideal is None else np.asarray(ideal)
    return np.sqrt(((groups - target) ** 2).sum(1))


def best_overall(groups: Float[np.ndarray, "r g"], overall: Float[np.ndarray, " r"]) -> int:
    """The run with the best overall utility."""
    return _first_best(np.asarray(overall, np.float64))


def minimax(groups: Float[np.ndarray, "r g"], overall: Float[np.ndarray, " r"]) -> int:
    """The run whose worst group fares best; of equal ones that with the better overall utility.

    Source: Martinez et al. 2020, Minimax Pareto fairness.
    """
    return _first_best(np.asarray(groups, np.float64).min(1), np.asarray(overall, np.float64))


def dto(groups: Float[np.ndarray, "r g"], overall: Float[np.ndarray, " r"]) -> int:
    """The run closest to the best utility of every group; see `distance_to_optimum`."""
    return _first_best(-distance_to_optimum(groups), np.asarray(overall, np.float64))


SELECTORS: dict[str, Callable[[np.ndarray, np.ndarray], int]] = {
    "overall": best_overall,
    "minimax": minimax,
    "dto": dto,
}


def _first_best(*keys: np.ndarray) -> int:
    """The first run with the largest key, ties broken by the next key; one with NaN never wins."""
    known = ~np.any([np.isnan(key) for key in keys], axis=0)
    if not known.any():
        raise UserError("no run can be selected: none has a utility for every group")
    candidates = np.flatnonzero(known)
    for key in keys:
        candidates = candidates[key[candidates] == key[candidates].max()]
    return int(candidates[0])


def represent(runs: pd.DataFrame, rule: str) -> pd.DataFrame:
    """The runs that stand for each condition: all seeds of the setting that validation chooses.

    Args:
      runs: one row per run.
      rule: name in `SELECTORS`, on validation AUC averaged over seeds: `overall`, or that of the
        groups of the attribute that the method uses (of all attributes, if it uses none).
    """
    chosen = []
    for (_, _, sensitive), condition in runs.groupby(["usage", "method", "sensitive"], sort=False):
        prefix = GROUP_AUC + (f"{sensitive}=" if sensitive else "")

        def select(means: pd.DataFrame, prefix: str = prefix) -> int:
            groups = [
                name for name in means if name.startswith(prefix) and means[name].notna().all()
            ]
            utilities = means[groups or ["validation_auc"]].to_numpy()
            return SELECTORS[rule](utilities, means["validation_auc"].to_numpy())

        chosen.append(best_setting(condition, select))
    return pd.concat(chosen, ignore_index=True)


def best_setting(runs: pd.DataFrame, select: Callable[[pd.DataFrame], int]) -> pd.DataFrame:
    """Gives all seeds of one setting of hyper-parameters.

    Args:
      runs: one row per run.
      select: means over seeds, one row per setting → the number of the row to take.
    """
    number = runs.groupby(SETTING, dropna=False, sort=False).ngroup()
    means = runs.select_dtypes("number").groupby(number).mean()
    return runs[number == select(means)]


def median_seed(runs: pd.DataFrame) -> pd.Series:
    """Of runs that differ in the seed alone, the one with the median validation AUC: no seed is
    picked for its luck.
    """
    seeds = runs.sort_values(["validation_auc", "seed"])
    return seeds.iloc[len(seeds) // 2]
