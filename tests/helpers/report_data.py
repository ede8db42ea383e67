"""Reports on made-up scores: realistic in shape, with true numbers and rough intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score

from fairjax.report.data import ReportData

SEX = {"female": 0.7, "male": 1.6}
AGE = {"<40": 1.2, "40–60": 1.2, ">60": 1.1}
METRICS = ("auc", "acc", "tpr", "tnr", "bce", "ece")


def measure(
    scores: np.ndarray, labels: np.ndarray, threshold: float
) -> dict[str, tuple[float, str]]:
    """Metric → (value, status)."""
    positive = labels == 1
    called = scores >= threshold
    if not len(labels):
        return dict.fromkeys(METRICS, (np.nan, "no test images"))
    index = np.clip((scores * 10).astype(int), 0, 9)
    ece = sum(abs((scores - labels)[index == b].sum()) for b in range(10)) / len(labels)
    values = {
        "acc": ((called == positive).mean(), "ok"),
        "bce": (log_loss(labels, scores, labels=[0, 1]), "ok"),
        "ece": (ece, "ok"),
    }
    one = f"only one class among {len(labels)} images"
    both = positive.any() and not positive.all()
    values["auc"] = (roc_auc_score(labels, scores), "ok") if both else (np.nan, one)
    values["tpr"] = (called[positive].mean(), "ok") if positive.any() else (np.nan, "no positives")
    values["tnr"] = (
        ((~called)[~positive].mean(), "ok") if not positive.all() else (np.nan, "no negatives")
    )
    return {name: values[name] for name in METRICS}


def make_results(attributes, groups_of, runs, threshold, all_metrics_of="run-0000"):
    """Tidy results: every metric of one run, and AUC alone of the others."""
    rng = np.random.default_rng(1)
    rows, measured = [], {}

    def add(run, attribute, metric, group, value, half, n, n_positive, status="ok"):
        low, high = (value - half, value + half) if np.isfinite(half) else (np.nan, np.nan)
        bounded = metric in ("auc", "acc", "tpr", "tnr", "ece") or group == "gap"
        if bounded and " − " not in group:
            low, high = max(low, 0), min(high, 1)
        n_invalid = 3 if n and n_positive < 12 else 0
        rows.append(
            {
                **run,
                "metric": metric,
                "attribute": attribute,
                "group": group,
                "value": value,
                "ci_low": low,
                "ci_high": high,
                "n": n,
                "n_positive": n_positive,
                "status": status,
                "n_invalid": n_invalid,
            }
        )

    for run in runs:
        names = METRICS if run["run"] == all_metrics_of else ("auc",)
        shift = (
            0.0
            if run["run"] == all_metrics_of
            else rng.normal(0, 0.008) - 0.01 * abs(np.log10(run["learning_rate"]) + 3)
        )
        blocks = {"all": {"overall": groups_of["all"]["overall"]}} | {
            a: groups_of[a] for a in attributes
        }
        for attribute, samples in blocks.items():
            numbers = {}
            for group, (scores, labels) in samples.items():
                key = (attribute, group)
                if key not in measured:
                    measured[key] = measure(scores, labels, threshold)
                n, n_positive = len(labels), int(labels.sum())
                for metric in names:
                    value, status = measured[key][metric]
                    value = value + shift + (rng.normal(0, 0.006) if shift else 0)
                    few = {
                        "auc": min(n_positive, n - n_positive),
                        "tpr": n_positive,
                        "tnr": n - n_positive,
                    }.get(metric, n)
                    half = (
                        0.98 * np.sqrt(max(value * (1 - value), 0.02) / max(few, 1))
                        if np.isfinite(value)
                        else np.nan
                    )
                    add(run, attribute, metric, group, value, half, n, n_positive, status)
                    if group != "overall" and np.isfinite(value):
                        numbers.setdefault(metric, {})[group] = (value, half)
            for metric, by_group in numbers.items():
                high, low = max(by_group.values()), min(by_group.values())
                half = np.hypot(high[1], low[1])
                add(run, attribute, metric, "gap", high[0] - low[0], half, np.nan, np.nan)
                worst = high if metric in ("bce", "ece") else low
                add(run, attribute, metric, "worst", worst[0], worst[1], np.nan, np.nan)
                if len(names) > 1:
                    for a in by_group:
                        for b in list(by_group)[list(by_group).index(a) + 1 :]:
                            spread = np.hypot(by_group[a][1], by_group[b][1])
                            add(
                                run,
                                attribute,
                                metric,
                                f"{a} − {b}",
                                by_group[a][0] - by_group[b][0],
                                spread,
                                np.nan,
                                np.nan,
                            )
    return pd.DataFrame(rows)


def make_report_data(strengths=None, n=1800, n_runs=64, sparse=None) -> ReportData:
    """A report on scores whose separation differs by group.

    Args:
      strengths: attribute → group → separation of the classes.
      n: test images.
      n_runs: runs in the results.
      sparse: (attribute, group) → share of the test images; 0 leaves the group empty.
    """
    strengths = strengths or {"sex": SEX, "age": AGE}
    sparse = sparse or {}
    rng = np.random.default_rng(0)
    labels = (rng.random(n) < 0.25).astype(int)
    members, separation = {}, np.zeros(n)
    for attribute, table in strengths.items():
        share = np.array([sparse.get((attribute, group), 1.0) for group in table])
        members[attribute] = rng.choice(list(table), n, p=share / share.sum())
        separation += np.array([table[group] for group in members[attribute]]) / len(strengths)
    logit = -1.6 + (labels * 2 - 0.6) * separation + rng.normal(0, 1.4, n)
    scores = 1 / (1 + np.exp(-logit))
    known = rng.random(n) > 0.04
    groups_of = {"all": {"overall": (scores, labels)}}
    for attribute, table in strengths.items():
        of = members[attribute]
        groups_of[attribute] = {"overall": (scores[known], labels[known])}
        groups_of[attribute] |= {
            g: (scores[known & (of == g)], labels[known & (of == g)]) for g in table
        }
    base = {
        "dataset": "isic2017",
        "model": "mobile_sam",
        "usage": "linear_probe",
        "method": "erm",
        "policy": "strict",
    }
    rates = (1e-4, 3e-4, 1e-3, 3e-3)
    runs = [
        {
            **base,
            "run": f"run-{i:04d}",
            "seed": i // 4,
            "learning_rate": rates[(i + 2) % 4],
            "weight_decay": 0.05,
        }
        for i in range(n_runs)
    ]
    cohort = []
    for attribute, table in strengths.items():
        for split, times in (("train", 3), ("validation", 1), ("test", 1)):
            for group in (*table, "missing"):
                here = ~known if group == "missing" else known & (members[attribute] == group)
                for label in (0, 1):
                    images = int((here & (labels == label)).sum() * times)
                    cohort.append((attribute, group, split, label, images, -(-images * 2 // 3)))
    return ReportData(
        title="Linear probe of mobile_sam on isic2017",
        command="python -m fairjax.launch --config=configs/linear_probe.py:dataset=isic2017,model=mobile_sam "
        "--config.dataset.root=data/isic2017 --config.model.checkpoint=checkpoints/mobile_sam",
        config={
            "dataset": {"name": "isic2017", "root": "data/isic2017"},
            "seeds": 64,
            "n_boot": 2000,
            "sweep": {"learning_rate": list(rates), "weight_decay": [0.05], "epochs": 100},
        },
        environment={
            "python": "3.12.3",
            "fairjax": "0.1.0",
            "jax": "0.10.2",
            "devices": ["cpu:0"],
            "platform": "Linux",
        },
        dataset={
            "name": "isic2017",
            "modality": "dermoscopy",
            "label": "melanoma",
            "classes": ["other", "melanoma"],
            "n_images": 2750,
            "n_patients": 2750,
            "licence": "CC0",
            "citation": "Codella et al., Skin lesion analysis toward melanoma detection, ISBI 2018",
            "quarantined": [{"image": "ISIC_0000123.jpg", "reason": "truncated file"}],
        },
        model={
            "name": "mobile_sam",
            "family": "TinyViT",
            "feature_width": 256,
            "source_file": "mobile_sam.safetensors",
            "weights_sha256": "5b2f6c0f3c3a7d5be0b6b2c8f0a1d94e7e6a5d1c9b8a7f6e5d4c3b2a19080706",
            "preprocessing": {
                "size": 256,
                "mean": [0.485, 0.456, 0.406],
                "interpolation": "bilinear",
            },
            "citation": "Zhang et al., Faster Segment Anything, 2023",
            "licence": "Apache-2.0",
        },
        cohort=pd.DataFrame(
            cohort, columns=["attribute", "group", "split", "label", "n_images", "n_patients"]
        ),
        results=make_results(list(strengths), groups_of, runs, threshold=0.31),
        run="run-0000",
        curves=groups_of,
        thresholds={"rule": "best F1 on validation", "value": 0.31},
        notes=["Every image is its own patient."],
    )
