"""Made-up methods on top of a made-up report: values by seed and strength, and differences with rough intervals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from fairjax.report.data import ReportData

NAMES = (
    "group_dro cvar_dro laftr cfair domain_independent mmd coral equalized_odds equal_opportunity demographic_parity "
    "arl jtt fis sinkhorn reweighting resampling"
).split()
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
RATE = 1e-3


def with_methods(
    data: ReportData,
    n_methods: int = 2,
    n_seeds: int = 8,
    usages: tuple[str, ...] = ("linear_probe",),
    harmful: tuple[str, ...] = ("laftr",),
) -> ReportData:
    """The report with `n_methods` methods, ERM among them.

    Args:
      data: of one method.
      n_methods: ERM and the first of `NAMES`; the last two of these have no strength, and are told of nothing.
      n_seeds: of each method.
      usages: of each method.
      harmful: methods whose first group of each attribute is worse off beyond noise.
    """
    rng = np.random.default_rng(5)
    base = data.results[data.results["run"] == data.run]
    attributes = [name for name in dict.fromkeys(base["attribute"]) if name != "all"]
    names = ["erm", *NAMES[: n_methods - 1]]
    results, frames = [], []
    for usage in usages:
        for place, method in enumerate(names):
            blind = method in ("erm", "reweighting", "resampling")
            for sensitive in [""] if blind else attributes:
                strengths = (np.nan,) if blind else STRENGTHS
                effect = rng.normal(0, 0.4)
                for step, strength in enumerate(strengths):
                    pull = 0 if blind else (step / len(strengths)) ** 2
                    shift = {
                        "overall": -0.06 * pull * rng.uniform(0.3, 1),
                        "gap": -0.07 * pull + 0.02 * effect,
                        "worst": 0.05 * pull - 0.05 * pull**2,
                    }
                    for seed in range(n_seeds):
                        rows = base[base["metric"].eq("auc") & base["group"].isin(list(shift))].copy()
                        rows["value"] += rows["group"].map(shift) * (
                            rows["attribute"] == (sensitive or "sex")
                        ) + rng.normal(0, 0.004, len(rows))
                        run = f"{usage}-{method}-{sensitive}-{strength:g}-{seed}"
                        results.append(
                            rows.assign(
                                run=run,
                                usage=usage,
                                method=method,
                                sensitive=sensitive,
                                strength=strength,
                                seed=seed,
                                learning_rate=RATE,
                            )
                        )
                frames.append(
                    _frame(
                        base,
                        usage,
                        method,
                        sensitive,
                        np.nan if blind else STRENGTHS[2],
                        n_seeds,
                        rng,
                        method in harmful,
                    )
                )
    first = base.assign(usage=usages[0], sensitive="", strength=np.nan)
    results = pd.concat([first, *results], ignore_index=True)
    frame = pd.concat(frames, ignore_index=True)
    chosen = results[results["strength"].isna() | results["strength"].eq(STRENGTHS[2])]
    chosen = chosen[chosen["run"] != data.run]
    means = chosen.groupby(["usage", "method", "sensitive", "attribute", "metric", "group"])["value"].mean()
    keys = pd.MultiIndex.from_frame(frame[list(means.index.names)])
    frame["value"] = means.reindex(keys).fillna(pd.Series(frame["value"].to_numpy(), keys)).to_numpy()
    return dataclasses.replace(data, results=results, methods=frame)


def _frame(base, usage, method, sensitive, strength, n_seeds, rng, harmful) -> pd.DataFrame:
    rows = base[~base["group"].str.contains(" − ")].reset_index(drop=True)
    columns = ["attribute", "metric", "group", "value", "ci_low", "ci_high", "n", "n_positive", "status"]
    frame = rows[columns].assign(usage=usage, method=method, sensitive=sensitive, strength=strength, learning_rate=RATE)
    is_erm = method == "erm"
    half = rng.uniform(0.004, 0.02, len(frame))
    difference = rng.normal(0, 0.35, len(frame)) * half
    lower_is_better = frame["metric"].isin(["bce", "ece"]) | frame["group"].eq("gap")
    first = frame.groupby("attribute")["group"].transform(lambda of: of.iloc[1] if len(of) > 1 else "")
    if harmful:
        difference = np.where(frame["group"] == first, np.where(lower_is_better, 0.04, -0.04), difference)
    frame["difference"] = np.nan if is_erm else difference
    frame["difference_low"], frame["difference_high"] = frame["difference"] - half, frame["difference"] + half
    frame["p_value"] = np.where(is_erm, np.nan, np.exp(-2 * (np.abs(difference) / half) ** 2).clip(0.001))
    return frame.assign(n_seeds=n_seeds, baseline="" if is_erm else "erm")
