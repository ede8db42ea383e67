"""From the measures of every object and prompt to the tidy table: means and medians by group, with intervals."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from fairjax import progress
from fairjax.metrics.disparity import DISPARITIES
from fairjax.segmentation.decode import SELECTIONS
from fairjax.segmentation.infer import Measured
from fairjax.segmentation.prompts import Plan
from fairjax.statistics.evaluation import evaluate_runs
from fairjax.statistics.rows import Attribute


def run_name(kind: str, selection: str, draw: int | None = None) -> str:
    """The name of a run: `bbox:predicted`, or of one draw of a random prompt `rand/3:predicted`."""
    return f"{kind}:{selection}" if draw is None else f"{kind}/{draw}:{selection}"


def runs(measured: Measured, plan: Plan, measures: Sequence[str]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yields what each run is, and measure → its value for every object.

    A random prompt is a run for each draw, and one whose value for an object is the mean over draws: a bootstrap of
    patients resamples the noise of their prompts with them, so that it is in the intervals.
    """
    kinds = [kind for kind, _ in plan.instances]
    for kind in plan.kinds:
        places = [place for place, name in enumerate(kinds) if name == kind]
        for s, selection in enumerate(SELECTIONS):
            draws: list[tuple[int | None, list[int]]] = [(None, places)]
            draws += [(draw, [place]) for draw, place in enumerate(places)] if len(places) > 1 else []
            for draw, chosen in draws:
                facts = {"run": run_name(kind, selection, draw), "prompt": kind, "selection": selection, "seed": draw}
                values = _mean(measured.values[:, chosen, s].astype(np.float64))
                yield facts, dict(zip(measures, values.T, strict=True))


def _mean(values_kdm: Float[np.ndarray, "k d m"]) -> Float[np.ndarray, "k m"]:
    """The mean over draws in which a measure is defined; NaN where it is in none."""
    known = ~np.isnan(values_kdm)
    total = np.where(known, values_kdm, 0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)


def evaluate(
    measured: Measured,
    plan: Plan,
    measures: Sequence[str],
    attributes: Mapping[str, Attribute],
    patients: Int[np.ndarray, " k"],
    *,
    n_boot: int,
    seed: int,
    confidence: float,
    min_group: int,
    show_progress: bool = True,
) -> pd.DataFrame:
    """Evaluates every run, by attribute and group.

    Args:
      measured: k objects.
      plan: the prompts.
      measures: of `measured.values`.
      attributes: name → (codes (k,), names).
      patients: (k,) whose each object is.
      n_boot, seed, confidence, min_group: as in `fairjax.statistics.evaluation.Evaluation`.
      show_progress: whether to show a bar.

    Returns:
      Columns run, prompt, selection, seed (the draw; missing for the mean over draws), attribute, metric, group, value,
      ci_low, ci_high, n (objects), status, n_invalid. Objects for which a measure is undefined are left out of it.
    """
    found = list(runs(measured, plan, measures))
    options = {"n_boot": n_boot, "seed": seed, "confidence": confidence, "min_group": min_group}
    parts = []
    with progress.bar("evaluating", "run", len(found) * len(measures), show=show_progress) as bar:
        for measure in measures:
            known = [~np.isnan(values[measure]) for _, values in found]
            for pattern, members in itertools.groupby(
                sorted(range(len(found)), key=lambda i: known[i].tobytes()), key=lambda i: known[i].tobytes()
            ):
                chosen = list(members)
                keep = np.frombuffer(pattern, bool)
                if not keep.any():
                    bar.update(len(chosen))
                    continue
                columns = evaluate_runs(
                    np.stack([found[i][1][measure][keep] for i in chosen]),
                    None,
                    {name: (codes[keep], names) for name, (codes, names) in attributes.items()},
                    0.0,
                    np.unique(patients[keep], return_inverse=True)[1],
                    metrics=(measure, f"{measure}_median"),
                    disparities=tuple(DISPARITIES),
                    progress=bar.update,
                    **options,
                )
                table = pd.DataFrame(columns)
                position = np.array(chosen)[table.pop("run").to_numpy()]
                facts = pd.DataFrame([facts for facts, _ in found]).astype({"seed": float})
                parts.append(pd.concat([facts.iloc[position].reset_index(drop=True), table], axis=1))
    tidy = pd.concat(parts, ignore_index=True).assign(n_positive=np.nan)
    order = {facts["run"]: i for i, (facts, _) in enumerate(found)}
    return tidy.sort_values("run", key=lambda run: run.map(order), kind="stable").reset_index(drop=True)


def per_object(measured: Measured, plan: Plan, measures: Sequence[str]) -> pd.DataFrame:
    """One row per object, prompt, draw and selection, with its measures and the predicted IoU of the mask."""
    frames = []
    for place, (kind, draw) in enumerate(plan.instances):
        for s, selection in enumerate(SELECTIONS):
            values = pd.DataFrame(measured.values[:, place, s], columns=list(measures))
            facts = {"prompt": kind, "draw": draw, "selection": selection}
            frame = measured.table.drop(columns="row").assign(**facts)
            frames.append(pd.concat([frame, values], axis=1).assign(predicted_iou=measured.predicted_iou[:, place]))
    return pd.concat(frames, ignore_index=True)
