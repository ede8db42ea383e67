"""From the measurements of every object and prompt to the tidy table: means and medians by group,
with intervals.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from fairjax.datasets.files import FRAGMENT
from fairjax.metrics.disparity import DISPARITIES
from fairjax.segmentation.decode import SELECTIONS
from fairjax.segmentation.prompts import PromptPlan
from fairjax.segmentation.segmenter import Measured
from fairjax.statistics.evaluation import Evaluation, evaluate_runs
from fairjax.statistics.rows import Attribute
from fairjax.utils.progress import bar

FROZEN = "frozen"  # the method of the model as it is


def run_name(kind: str, selection: str, draw: int | None = None) -> str:
    """The name of a run: `bbox:predicted`, or of one draw of a random prompt `rand/3:predicted`."""
    return f"{kind}:{selection}" if draw is None else f"{kind}/{draw}:{selection}"


def runs(
    measured: Measured, plan: PromptPlan, metrics: Sequence[str]
) -> Iterator[tuple[dict[str, Any], dict[str, Float[np.ndarray, " k"]]]]:
    """Yields what each run of the frozen model is, and metric → its value for every object.

    A random prompt is a run for each draw, and one whose value for an object is the mean over
    draws: a bootstrap of patients resamples the noise of their prompts with them, so that it is in
    the intervals.
    """
    kinds = [kind for kind, _ in plan.instances]
    for kind in plan.kinds:
        indices = [index for index, name in enumerate(kinds) if name == kind]
        for s, selection in enumerate(SELECTIONS):
            draws: list[tuple[int | None, list[int]]] = [(None, indices)]
            draws += (
                [(draw, [index]) for draw, index in enumerate(indices)] if len(indices) > 1 else []
            )
            for draw, chosen in draws:
                facts = {"run": run_name(kind, selection, draw), "method": FROZEN, "prompt": kind}
                values = _mean(measured.values[:, chosen, s].astype(np.float64))
                yield (
                    facts | {"selection": selection, "seed": draw},
                    dict(zip(metrics, values.T, strict=True)),
                )


def tuned_runs(
    method: str, of_seeds: Mapping[int, Measured], plan: PromptPlan, metrics: Sequence[str]
) -> Iterator[tuple[dict[str, Any], dict[str, Float[np.ndarray, " k"]]]]:
    """Yields the runs of a tuned model as `runs` does: one for each seed of its training, and their
    mean.

    Args:
      method: how it was tuned.
      of_seeds: seed → what was measured of the same objects.
      plan: as in `runs`.
      metrics: as in `runs`.
    """
    found = {
        seed: [
            (facts, values)
            for facts, values in runs(measured, plan, metrics)
            if facts["seed"] is None
        ]
        for seed, measured in of_seeds.items()
    }
    for index, (facts, _) in enumerate(next(iter(found.values()))):
        of_seed = {seed: ran[index][1] for seed, ran in found.items()}
        stacked = {
            name: np.stack([values[name] for values in of_seed.values()]) for name in metrics
        }
        values = {name: _mean(value.T[..., None])[:, 0] for name, value in stacked.items()}
        facts = facts | {"run": f"{method}:{facts['run']}", "method": method}
        yield facts, values
        for seed, own in of_seed.items() if len(of_seed) > 1 else ():
            name = facts["run"].replace(f"{method}:", f"{method}/{seed}:", 1)
            yield facts | {"run": name, "seed": seed}, own


def _mean(values: Float[np.ndarray, "*k d m"]) -> Float[np.ndarray, "*k m"]:
    """The mean over the last axis but one (draws, slices) where a metric is defined; NaN where it
    is in none.
    """
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=-2)
    return np.where(known.any(axis=-2), total / np.maximum(known.sum(axis=-2), 1), np.nan)


def evaluate(
    found: Sequence[tuple[dict[str, Any], dict[str, np.ndarray]]],
    metrics: Sequence[str],
    attributes: Mapping[str, Attribute],
    patients: Int[np.ndarray, " k"],
    *,
    n_boot: int,
    seed: int,
    confidence: float,
    min_group: int,
    progress: bool = True,
) -> pd.DataFrame:
    """Evaluates every run, by attribute and group.

    Args:
      found: from `runs` and `tuned_runs`: what each is, and metric → values of k objects.
      metrics: names of the metrics.
      attributes: name → (codes (k,), names).
      patients: (k,) codes of the patients that the objects are of.
      n_boot: number of bootstrap replicates.
      seed: seed of the experiment.
      confidence: confidence of the intervals.
      min_group: objects below which a group has no number.
      progress: whether to show a bar.

    Returns:
      Columns run, method, prompt, selection, seed (the draw of a random prompt, or the seed that a
      method was trained with; missing for the mean over them), attribute, metric, group, value,
      ci_low, ci_high, n (objects), status, n_invalid. Objects for which a metric is undefined are
      left out of it.
    """
    options = {"n_boot": n_boot, "seed": seed, "confidence": confidence, "min_group": min_group}
    parts = []
    with bar("evaluating", "run", len(found) * len(metrics), show=progress) as shown:
        for metric in metrics:
            known = [~np.isnan(values[metric]) for _, values in found]
            for pattern, members in itertools.groupby(
                sorted(range(len(found)), key=lambda i: known[i].tobytes()),
                key=lambda i: known[i].tobytes(),
            ):
                chosen = list(members)
                keep = np.frombuffer(pattern, bool)
                if not keep.any():
                    shown.update(len(chosen))
                    continue
                columns = evaluate_runs(
                    np.stack([found[i][1][metric][keep] for i in chosen]),
                    None,
                    {name: (codes[keep], names) for name, (codes, names) in attributes.items()},
                    0.0,
                    np.unique(patients[keep], return_inverse=True)[1],
                    metrics=(metric, f"{metric}_median"),
                    disparities=tuple(DISPARITIES),
                    progress=shown.update,
                    **options,
                )
                table = pd.DataFrame(columns)
                position = np.array(chosen)[table.pop("run").to_numpy()]
                facts = pd.DataFrame([facts for facts, _ in found]).astype({"seed": float})
                parts.append(
                    pd.concat([facts.iloc[position].reset_index(drop=True), table], axis=1)
                )
    tidy = pd.concat(parts, ignore_index=True).assign(n_positive=np.nan)
    order = {facts["run"]: i for i, (facts, _) in enumerate(found)}
    return tidy.sort_values("run", key=lambda run: run.map(order), kind="stable").reset_index(
        drop=True
    )


def differences(
    found: Sequence[tuple[dict[str, Any], dict[str, np.ndarray]]],
    metrics: Sequence[str],
    attributes: Mapping[str, Attribute],
    patients: Int[np.ndarray, " k"],
    baselines: Sequence[str],
    *,
    n_boot: int,
    seed: int,
    confidence: float,
    min_group: int,
) -> pd.DataFrame:
    """Paired differences of every method to baselines, on the same bootstrap draws, where both runs
    are defined.

    Args:
      found: from `runs` and `tuned_runs`.
      metrics: names of the metrics.
      attributes: name → (codes (k,), names).
      patients: (k,) codes of the patients.
      baselines: methods that the others are compared with.
      n_boot: number of bootstrap replicates.
      seed: seed of the experiment.
      confidence: confidence of the intervals.
      min_group: objects below which a group has no number.

    Returns:
      Columns a, b (methods), prompt, selection, attribute, metric, group, value (a − b), ci_low,
      ci_high, p_value, n, status and n_invalid.
    """
    averaged = [(facts, values) for facts, values in found if facts["seed"] is None]
    parts = []
    for (prompt, selection), members in itertools.groupby(
        sorted(averaged, key=lambda run: (run[0]["prompt"], run[0]["selection"])),
        key=lambda run: (run[0]["prompt"], run[0]["selection"]),
    ):
        of_method = {facts["method"]: values for facts, values in members}
        methods = list(of_method)
        pairs = [
            (methods.index(a), methods.index(b))
            for index, b in enumerate(baselines)
            for a in methods
            if b in methods
            and a not in baselines[: index + 1]  # of two baselines, the later to the earlier one
        ]
        for metric in metrics if pairs else ():
            scores = np.stack([values[metric] for values in of_method.values()])
            keep = ~np.isnan(scores).any(0)
            if not keep.any():
                continue
            evaluation = Evaluation(
                None,
                {name: (codes[keep], names) for name, (codes, names) in attributes.items()},
                int(keep.sum()),
                np.unique(patients[keep], return_inverse=True)[1],
                metrics=(metric,),
                n_boot=n_boot,
                seed=seed,
                confidence=confidence,
                min_group=min_group,
            )
            columns = pd.DataFrame(evaluation.evaluate_and_compare(scores[:, keep], 0.0, pairs)[1])
            columns[["a", "b"]] = columns[["a", "b"]].map(methods.__getitem__)
            parts.append(
                columns.drop(columns="n_positive").assign(prompt=prompt, selection=selection)
            )
    return pd.concat(parts, ignore_index=True)


def by_volume(measured: Measured, volumes: Int[np.ndarray, " n"]) -> Measured:
    """Gives the metrics of volumes: of every class, the mean over its objects in all slices.

    A slice counts as much as any other, however little of the object is in it; a metric that is
    undefined in a slice is left out there.

    Args:
      measured: objects in slices.
      volumes: (n,) codes of the volume that each slice (row of the dataset) is of.
    """
    table = measured.table.assign(volume=volumes[measured.table["row"]])
    grouped = table.groupby(["volume", "class"], sort=True)
    code = grouped.ngroup().to_numpy()
    members = [np.flatnonzero(code == k) for k in range(grouped.ngroups)]
    first = table.iloc[[rows[0] for rows in members]].reset_index(drop=True)
    pooled = first.drop(columns="volume").assign(
        image=first["image"].str.partition(FRAGMENT)[0],
        target=first["class"],
        pixels=grouped["pixels"].sum().to_numpy(),
    )
    values = np.stack(
        [_mean(np.moveaxis(measured.values[rows], 0, -2).astype(np.float64)) for rows in members]
    )
    iou = np.stack([measured.predicted_iou[rows].mean(0) for rows in members])
    return dataclasses.replace(measured, table=pooled, values=values, predicted_iou=iou)


def per_object(measured: Measured, plan: PromptPlan, metrics: Sequence[str]) -> pd.DataFrame:
    """One row per object, prompt, draw and selection, with its metrics and the predicted IoU of
    the mask.
    """
    frames = []
    for index, (kind, draw) in enumerate(plan.instances):
        for s, selection in enumerate(SELECTIONS):
            values = pd.DataFrame(measured.values[:, index, s], columns=list(metrics))
            facts = {"prompt": kind, "draw": draw, "selection": selection}
            frame = measured.table.drop(columns="row").assign(**facts)
            frames.append(
                pd.concat([frame, values], axis=1).assign(
                    predicted_iou=measured.predicted_iou[:, index]
                )
            )
    return pd.concat(frames, ignore_index=True)
