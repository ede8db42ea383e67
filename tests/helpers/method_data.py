"""Made-up methods on top of a made-up report: values by seed and strength, and differences with
rough intervals.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from fairjax.report.data import ReportData

NAMES = [
    "group_dro",
    "cvar_dro",
    "laftr",
    "cfair",
    "domain_independent",
    "mmd",
    "coral",
    "equalized_odds",
    "equal_opportunity",
]
NAMES += [
    "demographic_parity",
    "arl",
    "jtt",
    "fis",
    "sinkhorn",
    "reweighting",
    "resampling",
    "swad",
    "sam",
    "fairclip",
]
BLIND = {"erm", "reweighting", "resampling"}  # of no strength, and told of nothing
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
CHOSEN = 3
SETTINGS = {"learning_rate": 1e-3, "weight_decay": 0.05}
KEY = ["usage", "method", "sensitive"]
AT = ["attribute", "metric", "group"]


def with_methods(
    data: ReportData,
    n_methods: int = 2,
    n_seeds: int = 8,
    usages: tuple[str, ...] = ("linear_probe",),
    harmful: str = "",
) -> ReportData:
    """The report with `n_methods` methods, ERM among them.

    Args:
      data: of one method.
      n_methods: ERM and the first of `NAMES`.
      n_seeds: of each method.
      usages: of each method.
      harmful: a method under which the first group of each attribute is worse off beyond noise.
    """
    rng = np.random.default_rng(5)
    base = data.results[
        (data.results["run"] == data.run) & ~data.results["group"].str.contains(" − ")
    ]
    attributes = [name for name in dict.fromkeys(base["attribute"]) if name != "all"]
    results, frames = [base.assign(sensitive="", strength=np.nan, seed=0, **SETTINGS)], []
    for usage in usages:
        for method in ["erm", *NAMES[: n_methods - 1]]:
            for sensitive in [""] if method in BLIND else attributes:
                of = {"usage": usage, "method": method, "sensitive": sensitive}
                runs = _runs(base, of, n_seeds, rng)
                results.append(runs)
                frames.append(_frame(base, runs, of, n_seeds, rng, method == harmful))
    results = pd.concat(results, ignore_index=True)
    # Which is the selected run.
    results = results[~(results["run"].str.fullmatch("linear_probe-erm--nan-0"))]
    return dataclasses.replace(data, results=results, methods=pd.concat(frames, ignore_index=True))


def _runs(base, of, n_seeds, rng) -> pd.DataFrame:
    """AUC overall, gap and worst of every strength and seed: stronger is fairer, and costs utility."""
    rows = base[base["metric"].eq("auc") & base["group"].isin(["overall", "gap", "worst"])]
    strengths = (np.nan,) if of["method"] in BLIND else STRENGTHS
    cost, gain = rng.uniform(0.01, 0.05), rng.uniform(0.0, 0.6)
    parts = []
    for step, strength in enumerate(strengths):
        pull = 0.0 if of["method"] == "erm" else ((step + 1) / len(STRENGTHS)) ** 1.5
        factor = {
            "overall": 1 - cost * pull,
            "gap": 1 - gain * pull,
            "worst": 1 + (0.06 * gain - cost * pull) * pull,
        }
        told = rows["attribute"].eq(of["sensitive"] or "sex") | rows["group"].eq("overall")
        for seed in range(n_seeds):
            value = (
                rows["value"]
                * rows["group"].map(factor).where(told, 1.0)
                * rng.normal(1, 0.003, len(rows))
            )
            run = f"{of['usage']}-{of['method']}-{of['sensitive']}-{strength:g}-{seed}"
            parts.append(
                rows.assign(value=value, run=run, strength=strength, seed=seed, **of, **SETTINGS)
            )
    return pd.concat(parts)


def _frame(base, runs, of, n_seeds, rng, harmful) -> pd.DataFrame:
    strength = np.nan if of["method"] in BLIND else STRENGTHS[CHOSEN]
    chosen = runs if of["method"] in BLIND else runs[runs["strength"] == strength]
    frame = base[[*AT, "value", "ci_low", "ci_high", "n", "n_positive", "status"]].reset_index(
        drop=True
    )
    half = rng.uniform(0.006, 0.015, len(frame)) * (1 if of["method"] != "erm" else np.nan)
    difference = rng.normal(0, 0.3, len(frame)) * half
    means = chosen.groupby(AT)["value"].mean()
    keys = pd.MultiIndex.from_frame(frame[AT])
    known = keys.isin(means.index)
    before = frame["value"].to_numpy()
    difference = np.where(known, means.reindex(keys).to_numpy() - before, difference) + 0 * half
    if harmful:
        names = (
            frame[~frame["group"].isin(["overall", "gap", "worst"])]
            .groupby("attribute")["group"]
            .first()
        )
        loss = np.where(frame["metric"].isin(["bce", "ece"]), 0.04, -0.04)
        difference = np.where(frame["group"] == frame["attribute"].map(names), loss, difference)
    moved = np.nan_to_num(difference)
    least = np.where(frame["group"] == "gap", 0, -np.inf)
    frame = frame.assign(
        value=before + moved,
        ci_low=np.maximum(frame["ci_low"] + moved, least),
        ci_high=frame["ci_high"] + moved,
    )
    ends = {
        "difference": difference,
        "difference_low": difference - half,
        "difference_high": difference + half,
    }
    p_value = np.exp(-1.9 * (np.abs(difference) / half) ** 1.5).clip(0.001)
    own = {
        "n_seeds": n_seeds,
        "baseline": "" if of["method"] == "erm" else "erm",
        "strength": strength,
    }
    return frame.assign(**of, **ends, p_value=p_value, **own, **SETTINGS)
