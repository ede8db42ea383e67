"""From images to the report, as a user starts it."""

import json
import signal
import subprocess
import sys
import time
import warnings

import fairmedfm
import numpy as np
import pandas as pd
import pytest
from helpers.segmentation import config
from safetensors.numpy import load_file

from fairjax.tasks.segmentation import pipeline
from fairjax.utils.errors import UserError


@pytest.fixture(scope="module")
def finished(root, checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    pipeline.run(config(root, checkpoint), folder / "work", folder / "cache", progress=False)
    return folder


def test_a_run_leaves_tidy_results_and_a_report(finished):
    tidy = pd.read_parquet(finished / "work" / "results.parquet")
    assert set(tidy["run"]) == {
        f"{p}:{s}" for p in ("rand", "rand/0", "rand/1", "bbox") for s in ("predicted", "oracle")
    }
    assert set(tidy["attribute"]) == {"all", "sex", "side", "sex × side"}
    assert set(tidy["usage"]) == {"prompted_segmentation"}
    assert {"dice", "dice_median", "iou", "nsd", "hd95"} <= set(tidy["metric"])
    rows = tidy.query(
        "run == 'bbox:predicted' and metric == 'dice' and attribute == 'sex'"
    ).set_index("group")
    assert {"overall", "F", "M", "gap", "worst", "es_std", "skewness"} <= set(rows.index)
    objects = pd.read_parquet(finished / "work" / "scores" / "objects.parquet")
    boxes = objects.query("prompt == 'bbox' and selection == 'predicted'")
    assert len(boxes) == 12
    assert rows.loc["overall", "value"] == pytest.approx(boxes["dice"].mean())
    assert (
        rows.loc["overall", "ci_low"]
        <= rows.loc["overall", "value"]
        <= rows.loc["overall", "ci_high"]
    )
    assert rows.loc["overall", "n"] == 12
    page = (finished / "work" / "report" / "index.html").read_text()
    for words in (
        "Worst cases",
        "oracle",
        "data:image/jpeg",
        "1 images have no true mask",
        "6 masks are empty",
    ):
        assert words in page
    assert "http://" not in page.split("data:image")[0].replace("http://www.w3.org", "")
    summary = pd.read_csv(finished / "work" / "summary.csv")
    assert {"prompt", "selection", "overall", "overall_low", "gap", "worst"} <= set(summary.columns)


def test_a_second_run_changes_nothing(finished, root, checkpoint):
    before = pd.read_parquet(finished / "work" / "results.parquet")
    pipeline.run(config(root, checkpoint), finished / "work", finished / "cache", progress=False)
    pd.testing.assert_frame_equal(before, pd.read_parquet(finished / "work" / "results.parquet"))
    said = [json.loads(line) for line in (finished / "work" / "log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in said[-5:]] == [
        "dataset",
        "objects",
        "masks",
        "metrics",
        "report",
    ]


def test_what_only_the_evaluation_depends_on_changes_in_the_same_work_directory(
    root, checkpoint, tmp_path
):
    pipeline.run(config(root, checkpoint), tmp_path / "work", tmp_path / "cache", progress=False)
    masks = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("rows-*.npy")}
    before = pd.read_parquet(tmp_path / "work" / "results.parquet")
    changed = config(root, checkpoint, evaluation__confidence=0.5, prompting__intersections=False)
    pipeline.run(changed, tmp_path / "work", tmp_path / "cache", progress=False)
    assert masks == {path: path.stat().st_mtime_ns for path in masks}
    after = pd.read_parquet(tmp_path / "work" / "results.parquet")
    assert set(before["attribute"]) - set(after["attribute"]) == {"sex × side"}
    keys = ["run", "metric", "attribute", "group"]
    both = before.merge(after, on=keys, suffixes=("", "_after"))
    np.testing.assert_array_equal(both["value"], both["value_after"])
    assert (both["ci_low"] < both["ci_low_after"]).any()
    refused = config(root, checkpoint, prompting__tolerance=1.0)
    with pytest.raises(UserError, match="prompting.tolerance was 2.0, is 1.0"):
        pipeline.run(refused, tmp_path / "work", tmp_path / "cache", progress=False)


def test_what_would_be_done_is_said(finished, root, checkpoint):
    text = pipeline.describe(config(root, checkpoint), finished / "work", finished / "cache")
    assert "12 in 8 images" in text
    assert "0 images to segment, 8 in the cache" in text


def test_compat_gives_the_summary_of_fairmedfm(root, checkpoint, tmp_path):
    settings = config(
        root,
        checkpoint,
        evaluation__policy="compat",
        prompting__prompts="bbox",
        prompting__intersections=False,
        prompting__cases=0,
    )
    pipeline.run(settings, tmp_path / "work", tmp_path / "cache", progress=False)
    objects = pd.read_parquet(tmp_path / "work" / "scores" / "objects.parquet").query(
        "selection == 'predicted'"
    )
    people = pd.read_csv(root / "t.csv").set_index("path")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        groups = people.loc[objects["image"], ["sex", "side"]].reset_index(drop=True)
        expected = fairmedfm.evaluate_segmentation(groups, dice=objects["dice"].to_numpy()).summary
    got = pd.read_csv(tmp_path / "work" / "compat.csv").set_index("attribute")
    for column in (
        "mean_dice",
        "min_dice",
        "max_dice",
        "delta_dice",
        "skewness_dice",
        "std_dice",
        "es_dice",
    ):
        np.testing.assert_allclose(got.loc[expected.index, column], expected[column], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompting__prompts": "centre"}, "did you mean 'center'"),
        ({"prompting__primary_prompt": "rands"}, "prompting.primary_prompt"),
        ({"prompting__metrics": ("iou",)}, "begin with dice"),
        ({"prompting__metrics": ("dice", "auc")}, "unknown prompting.metrics 'auc'"),
        ({"prompting__draws": 0}, "prompting.draws must be at least 1"),
        ({"prompting__jitter": 1.5}, "jitter"),
        ({"prompting__objects": "pixel"}, "objects"),
        ({"model__name": "dinov2"}, "cannot be prompted"),
        ({"evaluation__policy": "loose"}, "evaluation.policy"),
        ({"model__image_size": 50}, "no images of 50 pixels"),
        ({"dataset__mask": ""}, "no masks"),
    ],
)
def test_mistakes_are_one_line(root, checkpoint, tmp_path, changes, words):
    with pytest.raises(UserError, match=words) as caught:
        pipeline.run(
            config(root, checkpoint, **changes),
            tmp_path / "work",
            tmp_path / "cache",
            progress=False,
        )
    assert "\n" not in str(caught.value)


def tuned(root, checkpoint, **mitigation):
    options = {"methods": ("erm", "febs"), "seeds": 2, "epochs": 2, "learning_rates": (1e-3,)}
    changes = {f"mitigation__{key}": value for key, value in (options | mitigation).items()}
    return config(
        root,
        checkpoint,
        prompting__prompts="bbox",
        prompting__cases=1,
        dataset__fractions=(0.5, 0.25, 0.25),
        **changes,
    )


@pytest.mark.slow
def test_tuned_decoders_are_compared_with_the_frozen_one_on_the_test_side(
    root, checkpoint, tmp_path
):
    pipeline.run(tuned(root, checkpoint), tmp_path / "work", tmp_path / "cache", progress=False)
    tidy = pd.read_parquet(tmp_path / "work" / "results.parquet")
    assert set(tidy["method"]) == {"frozen", "erm", "febs"}
    dice = tidy.query(
        "metric == 'dice' and attribute == 'all' and selection == 'predicted'"
    ).set_index("run")["value"]
    seeds = [dice[f"febs/{seed}:bbox:predicted"] for seed in (0, 1)]
    assert dice["febs:bbox:predicted"] == pytest.approx(np.mean(seeds), rel=1e-6)
    side = pd.read_csv(tmp_path / "work" / "split.csv")
    assert set(side["split"]) == {"train", "validation", "test"}
    differences = pd.read_csv(tmp_path / "work" / "differences.csv").query(
        "metric == 'dice' and attribute == 'all'"
    )
    assert set(zip(differences["a"], differences["b"])) == {
        ("erm", "frozen"),
        ("febs", "frozen"),
        ("febs", "erm"),
    }
    row = differences.query("a == 'febs' and b == 'frozen' and selection == 'predicted'").iloc[0]
    assert row["value"] == pytest.approx(
        dice["febs:bbox:predicted"] - dice["bbox:predicted"], abs=1e-6
    )
    assert row["ci_low"] <= row["value"] <= row["ci_high"]
    page = (tmp_path / "work" / "report" / "index.html").read_text()
    assert "Decoders were tuned on the training split" in page
    assert "febs: bbox" in page
    pipeline.run(tuned(root, checkpoint), tmp_path / "work", tmp_path / "cache", progress=False)
    pd.testing.assert_frame_equal(tidy, pd.read_parquet(tmp_path / "work" / "results.parquet"))


@pytest.mark.slow
def test_an_encoder_with_low_rank_additions_is_tuned_and_measured(root, checkpoint, tmp_path):
    settings = tuned(
        root, checkpoint, methods=("erm",), seeds=1, lora_rank=2, learning_rates=(1e-2,)
    )
    pipeline.run(settings, tmp_path / "work", tmp_path / "cache", progress=False)
    assert not (tmp_path / "cache" / "image_embeddings").exists()
    chunk = next((tmp_path / "work" / "decoders").rglob("*.safetensors"))
    assert np.isfinite(load_file(chunk)["loss"]).all()
    tidy = pd.read_parquet(tmp_path / "work" / "results.parquet")
    assert set(tidy["method"]) == {"frozen", "erm"}


KILLED = """
import sys
from pathlib import Path
from helpers.segmentation import config
from fairjax.tasks.segmentation import pipeline
pipeline.run(config(Path({root!r}), {checkpoint!r}), Path({out!r}) / "work", Path({out!r}) / "cache")
"""


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_results_of_an_undisturbed_one(
    finished, root, checkpoint, tmp_path
):
    script = KILLED.format(root=str(root), checkpoint=str(checkpoint), out=str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300

    def shards():
        return list((tmp_path / "cache" / "segmentations").rglob("rows-*.npy"))

    while not shards() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert shards()
    assert not (tmp_path / "work" / "results.parquet").exists()
    pipeline.run(config(root, checkpoint), tmp_path / "work", tmp_path / "cache", progress=False)
    names = ("results.parquet", "scores/objects.parquet")
    got, expected = (
        [pd.read_parquet(path / "work" / name) for name in names] for path in (tmp_path, finished)
    )
    for one, other in zip(got, expected, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
