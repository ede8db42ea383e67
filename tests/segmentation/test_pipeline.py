"""From images to the report, as a user starts it."""

import json
import warnings

import fairmedfm
import numpy as np
import pandas as pd
import pytest

from configs.segmentation import get_config
from fairjax import segmentation_pipeline as pipeline
from fairjax.errors import UserError


def config(root, checkpoint, **changes):
    settings = get_config("dataset=table,model=mobile_sam,prompts=rand+bbox")
    settings.update(
        {
            "n_boot": 40,
            "attributes": ("sex", "side"),
            "embedding": {"batch_size": 2, "shard_batches": 2},
            "evaluation": {"min_group": 1},
            "model": {"checkpoint": str(checkpoint)},
            "prompting": {"draws": 2, "cases": 2},
            "dataset": {
                "root": str(root),
                "table": "t.csv",
                "image": "path",
                "label": "",
                "patient": "who",
                "mask": "mask",
                "mask_classes": ("1=big", "2=small"),
            },
        }
    )
    for key, value in changes.items():
        section, _, name = key.partition("__")
        settings[section][name] = value
    return settings.to_dict()


@pytest.fixture(scope="module")
def finished(root, checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    pipeline.run(config(root, checkpoint), folder / "work", folder / "cache", show_progress=False)
    return folder


def test_a_run_leaves_tidy_results_and_a_report(finished):
    tidy = pd.read_parquet(finished / "work" / "results.parquet")
    assert set(tidy["run"]) == {
        f"{p}:{s}" for p in ("rand", "rand/0", "rand/1", "bbox") for s in ("predicted", "oracle")
    }
    assert set(tidy["attribute"]) == {"all", "sex", "side", "sex × side"}
    assert set(tidy["usage"]) == {"prompted_segmentation"}
    assert {"dice", "dice_median", "iou", "nsd", "hd95"} <= set(tidy["metric"])
    rows = tidy.query("run == 'bbox:predicted' and metric == 'dice' and attribute == 'sex'").set_index("group")
    assert {"overall", "F", "M", "gap", "worst", "es_std", "skewness"} <= set(rows.index)
    objects = pd.read_parquet(finished / "work" / "scores" / "objects.parquet")
    boxes = objects.query("prompt == 'bbox' and selection == 'predicted'")
    assert len(boxes) == 12
    assert rows.loc["overall", "value"] == pytest.approx(boxes["dice"].mean())
    assert rows.loc["overall", "ci_low"] <= rows.loc["overall", "value"] <= rows.loc["overall", "ci_high"]
    assert rows.loc["overall", "n"] == 12
    page = (finished / "work" / "report" / "index.html").read_text()
    for words in ("Worst cases", "oracle", "data:image/jpeg", "1 images have no true mask", "6 masks are empty"):
        assert words in page
    assert "http://" not in page.split("data:image")[0].replace("http://www.w3.org", "")
    summary = pd.read_csv(finished / "work" / "summary.csv")
    assert {"prompt", "selection", "overall", "overall_low", "gap", "worst"} <= set(summary.columns)


def test_a_second_run_changes_nothing(finished, root, checkpoint):
    before = pd.read_parquet(finished / "work" / "results.parquet")
    pipeline.run(config(root, checkpoint), finished / "work", finished / "cache", show_progress=False)
    pd.testing.assert_frame_equal(before, pd.read_parquet(finished / "work" / "results.parquet"))
    said = [json.loads(line) for line in (finished / "work" / "log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in said[-5:]] == ["dataset", "objects", "masks", "metrics", "report"]


def test_what_would_be_done_is_said(finished, root, checkpoint):
    text = pipeline.describe(config(root, checkpoint), finished / "work", finished / "cache")
    assert "12 in 8 images" in text
    assert "0 images to segment, 8 in the cache" in text


def test_compat_gives_the_summary_of_fairmedfm(root, checkpoint, tmp_path):
    settings = config(root, checkpoint, evaluation__policy="compat", prompting__prompts="bbox")
    settings["prompting"] |= {"intersections": False, "cases": 0}
    pipeline.run(settings, tmp_path / "work", tmp_path / "cache", show_progress=False)
    objects = pd.read_parquet(tmp_path / "work" / "scores" / "objects.parquet").query("selection == 'predicted'")
    people = pd.read_csv(root / "t.csv").set_index("path")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        groups = people.loc[objects["image"], ["sex", "side"]].reset_index(drop=True)
        expected = fairmedfm.evaluate_segmentation(groups, dice=objects["dice"].to_numpy()).summary
    got = pd.read_csv(tmp_path / "work" / "compat.csv").set_index("attribute")
    for column in ("mean_dice", "min_dice", "max_dice", "delta_dice", "skewness_dice", "std_dice", "es_dice"):
        np.testing.assert_allclose(got.loc[expected.index, column], expected[column], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompting__prompts": "centre"}, "did you mean 'center'"),
        ({"prompting__shown": "rands"}, "prompting.shown"),
        ({"prompting__measures": ("iou",)}, "begin with dice"),
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
        pipeline.run(config(root, checkpoint, **changes), tmp_path / "work", tmp_path / "cache", show_progress=False)
    assert "\n" not in str(caught.value)
