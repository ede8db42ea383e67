"""Sweeps over datasets, models, usages, methods and seeds, as a user starts them."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time

import duckdb
import numpy as np
import pandas as pd
import polars
import pytest
from helpers.commands import ONE_DEVICE, ROOT, launch

from fairjax import models
from fairjax.configs import sweep as configs_sweep
from fairjax.tasks import sweep as sweep_pipeline
from fairjax.tasks.classification import pipeline, usages
from fairjax.tasks.config import from_dict
from fairjax.utils.errors import UserError

KEYS = ["run_id", "attribute", "metric", "group"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "phantom_vit"
    module = models.build("phantom_vit", depth=1)
    models.save(folder, module, models.make_card("phantom_vit", module.config))
    return folder


def small(checkpoint, plain=False, **training):
    config = configs_sweep.get_config()
    config.datasets.synthetic.n_patients = 200
    config.models.phantom_vit.checkpoint = str(checkpoint)
    config.seeds, config.n_boot, config.attributes = 2, 20, ("sex",)
    config.embedding.batch_size = 16
    config.training.update(
        {"methods": ("erm", "group_dro"), "epochs": 4, "warmup_epochs": 1, "strengths": (0.01, 0.1)}
    )
    config.training.update(training)
    return config.to_dict() if plain else from_dict(config.to_dict())


def sorted_results(path):
    return pd.read_parquet(path / "results.parquet").sort_values(KEYS, ignore_index=True)


@pytest.fixture(scope="module")
def swept(checkpoint, tmp_path_factory):
    """A sweep with two usages, a post-processor, a condition that fails, and a dataset that is not
    there.
    """
    folder = tmp_path_factory.mktemp("swept")
    values = small(
        checkpoint,
        plain=True,
        usages=("linear_probe", "convex_probe"),
        postprocess=("equalized_odds", "temperature"),
    )
    values["datasets"] |= {"isic2017": {"attributes": ("sex",)}}
    config = from_dict(values)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(usages.ConvexProbe, "check", lambda *_: None)
        with pytest.raises(UserError) as raised:
            sweep_pipeline.run(config, folder / "work", folder / "cache", progress=False)
    return folder / "work", str(raised.value)


def test_what_fails_is_written_down_and_the_rest_is_done(swept):
    work, message = swept
    assert message.startswith(
        "2 experiment(s) failed, synthetic-phantom_vit first (3 condition(s) failed"
    )
    failed = json.loads((work / "failures.json").read_text())
    assert [entry["experiment"] for entry in failed] == [
        "synthetic-phantom_vit",
        "isic2017-phantom_vit",
    ]
    assert "give --config.datasets.isic2017.root=DIR" in failed[1]["error"]
    of_conditions = json.loads((work / "synthetic-phantom_vit" / "failures.json").read_text())
    assert [entry["condition"] for entry in of_conditions] == [
        f"convex_probe/group_dro{rule}[sex]" for rule in ("", ">equalized_odds", ">temperature")
    ]
    assert "a convex probe has no method 'group_dro'" in of_conditions[0]["error"]
    page = (work / "synthetic-phantom_vit" / "report" / "index.html").read_text()
    assert "The condition convex_probe/group_dro[sex] failed" in page


def test_the_results_are_one_parquet_dataset_of_distinct_rows(swept):
    work, _ = swept
    table = sorted_results(work)
    assert not table.duplicated(KEYS).any()
    methods = table.drop_duplicates("run_id").groupby(["usage", "method"]).size().to_dict()
    assert methods == {
        ("linear_probe", "erm"): 2,
        ("linear_probe", "erm>equalized_odds"): 2,
        ("linear_probe", "erm>temperature"): 2,
        ("linear_probe", "group_dro"): 4,
        ("linear_probe", "group_dro>equalized_odds"): 4,
        ("linear_probe", "group_dro>temperature"): 4,
        ("convex_probe", "erm"): 1,
        ("convex_probe", "erm>equalized_odds"): 1,
        ("convex_probe", "erm>temperature"): 1,
    }
    path = work / "results.parquet"
    assert len(polars.read_parquet(path)) == len(table)
    assert duckdb.sql(f"select count(*) from '{path}'").fetchall() == [(len(table),)]
    decided = table[table["method"].str.endswith("equalized_odds")]
    assert set(decided["metric"]) == {"acc", "tpr", "tnr"}


def test_the_report_compares_the_methods(swept):
    work, _ = swept
    frame = pd.read_parquet(work / "methods.parquet")
    assert set(frame["dataset"]) == set(pd.read_parquet(work / "runs.parquet")["dataset"])
    assert list(frame.columns[:2]) == ["dataset", "model"]
    assert set(frame["method"]) >= {"erm", "group_dro", "erm>temperature"}
    row = frame[
        (frame["method"] == "group_dro") & (frame["metric"] == "auc") & (frame["group"] == "worst")
    ]
    assert np.isfinite(
        row[["difference", "difference_low", "difference_high"]].to_numpy(float)
    ).all()
    page = (work / "synthetic-phantom_vit" / "report" / "index.html").read_text()
    for section in ("methods", "tradeoff", "harm", "seeds"):
        assert f'id="{section}"' in page


def test_a_sweep_grows_in_its_work_directory_and_trains_only_what_is_new(checkpoint, tmp_path):
    config = small(checkpoint)
    sweep_pipeline.run(config, tmp_path / "work", tmp_path / "cache", progress=False)
    chunks = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("chunk-*")}
    first = sorted_results(tmp_path / "work")
    grown = small(checkpoint, methods=("erm", "group_dro", "reweighting"))
    grown = dataclasses.replace(grown, seeds=3)
    sweep_pipeline.run(grown, tmp_path / "work", tmp_path / "cache", progress=False)
    assert {path: path.stat().st_mtime_ns for path in chunks} == chunks
    table = sorted_results(tmp_path / "work")
    same = table[table["run_id"].isin(first["run_id"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, first, check_exact=True)
    assert table.drop_duplicates("run_id").groupby("method").size().to_dict() == {
        "erm": 3,
        "group_dro": 6,
        "reweighting": 6,
    }
    changed = small(checkpoint, epochs=5)
    with pytest.raises(UserError, match=r"other settings \(training.epochs was 4, is 5\)"):
        pipeline.run(
            next(changed.experiments())[2],
            tmp_path / "work" / "synthetic-phantom_vit",
            tmp_path / "cache",
            progress=False,
        )


def test_what_only_the_evaluation_depends_on_changes_in_the_same_work_directory(
    checkpoint, tmp_path, capsys
):
    config = next(small(checkpoint).experiments())[2]
    pipeline.run(config, tmp_path / "work", tmp_path / "cache", progress=False)
    chunks = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("chunk-*")}
    first = sorted_results(tmp_path / "work")
    evaluation = dataclasses.replace(
        config.evaluation, threshold="youden", metrics=("tpr", "f1"), primary="f1", min_group=1
    )
    changed = dataclasses.replace(config, n_boot=30, evaluation=evaluation)
    pipeline.run(changed, tmp_path / "work", tmp_path / "cache", progress=False)
    assert {
        path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("chunk-*")
    } == chunks
    table = sorted_results(tmp_path / "work")
    assert set(table["metric"]) == {"tpr", "f1"}
    assert set(table["run_id"]) == set(first["run_id"])
    both = table.merge(first, on=KEYS)
    assert (both["value_x"] != both["value_y"]).any()
    assert json.loads((tmp_path / "work" / "config.json").read_text())["n_boot"] == 30
    assert "F1" in (tmp_path / "work" / "report" / "index.html").read_text()
    capsys.readouterr()
    fewer = dataclasses.replace(changed, seeds=1)
    pipeline.run(fewer, tmp_path / "work", tmp_path / "cache", progress=False)
    assert "3 runs of earlier settings, which stay on disk" in capsys.readouterr().out
    assert {
        path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("chunk-*")
    } == chunks


def test_advice_names_the_keys_of_the_sweep():
    config = from_dict(configs_sweep.get_config("datasets=mine:table").to_dict())
    told = (
        ("--config.dataset.root=DIR", "--config.datasets.mine.root=DIR"),
        ("--config.dataset.mask_classes=x", "--config.datasets.mine.mask_classes=x"),
        ("--config.dataset.fractions", "--config.dataset.fractions"),
        ("--config.model.checkpoint=DIR", "--config.models.phantom_vit.checkpoint=DIR"),
        ("--config.model.dtype", "--config.model.dtype"),
    )
    for said, expected in told:
        with (
            pytest.raises(UserError) as raised,
            sweep_pipeline.advice_for(config, "mine", "phantom_vit"),
        ):
            raise UserError(f"give {said}")
        assert str(raised.value) == f"give {expected}"


def test_a_dry_run_counts_conditions_programs_and_work(checkpoint, tmp_path):
    said = sweep_pipeline.describe(small(checkpoint), tmp_path / "work", tmp_path / "cache")
    assert "2, 2 programs, 6 runs" in said
    assert "linear_probe/group_dro[sex]" in said
    assert "GFLOP" in said
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("training", "says"),
    [
        ({"methods": ("groupdro",)}, "unknown method 'groupdro'; did you mean 'group_dro'"),
        ({"usages": ("linear",)}, "unknown training.usages 'linear'; did you mean 'linear_probe'"),
        ({"postprocess": ("plat",)}, "unknown training.postprocess 'plat'; did you mean 'platt'"),
        ({"sensitive_attributes": ("site",)}, "unknown training.sensitive_attributes 'site'"),
        ({"strengths": ("weak",)}, "unknown training.strengths 'weak'"),
        ({"strengths": ()}, "training.strengths must be distinct, at least one"),
        ({"methods": ("erm", "erm")}, "training.methods must be distinct, at least one"),
        ({"lora_ranks": (0,)}, "training.lora_ranks must be at least 1"),
        ({"radius": -1.0}, "training.radius must be above 0"),
        ({"keep": "worst"}, "unknown training.keep 'worst'"),
        ({"select": "best"}, "unknown training.select 'best'"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_computed(checkpoint, tmp_path, training, says):
    with pytest.raises(UserError, match=says):
        sweep_pipeline.run(
            small(checkpoint, **training),
            tmp_path / "work",
            tmp_path / "cache",
            progress=False,
        )
    assert not (tmp_path / "cache" / "embeddings").exists()


# ----------------------------------------------------------------------------------------------
# processes, and kills

ARGUMENTS = [
    "--config=configs/sweep.py",
    "--config.datasets.synthetic.n_patients=200",
    "--config.seeds=24",
    "--config.n_boot=20",
    "--config.attributes=sex",
    "--config.memory_gib=0.0004",  # chunks of 16
    "--config.embedding.batch_size=16",
    "--config.embedding.shard_batches=2",
    "--config.training.methods=erm,group_dro",
    "--config.training.strengths=0.01,0.1",
    "--config.training.epochs=4",
    "--config.training.warmup_epochs=1",
]


@pytest.fixture(scope="module")
def undisturbed(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    arguments = [*ARGUMENTS, f"--config.models.phantom_vit.checkpoint={checkpoint}"]
    done = launch(*arguments, f"--workdir={folder / 'work'}", cache=folder / "cache")
    assert done.returncode == 0, done.stderr
    return sorted_results(folder / "work"), arguments


@pytest.mark.slow
def test_two_processes_write_the_results_of_one(undisturbed, tmp_path):
    expected, arguments = undisturbed
    done = launch(
        "--processes=2",
        "--",
        *arguments,
        f"--workdir={tmp_path / 'work'}",
        module="launch.local",
        cache=tmp_path / "cache",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pd.testing.assert_frame_equal(sorted_results(tmp_path / "work"), expected, check_exact=True)
    manifests = sorted(path.name for path in tmp_path.rglob("manifest*.json"))
    assert manifests == ["manifest-1.json", "manifest.json"]  # both embedded


@pytest.mark.slow
def test_a_sweep_killed_ten_times_has_the_results_of_an_undisturbed_one(undisturbed, tmp_path):
    expected, arguments = undisturbed
    environment = os.environ | ONE_DEVICE | {"FAIRJAX_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "fairjax.launch", *arguments, f"--workdir={tmp_path / 'work'}"]
    moments = random.Random(0)
    kills = 0
    for _ in range(10):
        with open(tmp_path / "log.txt", "a") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
            try:
                process.wait(moments.uniform(3, 14))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
        time.sleep(0.1)
    assert kills >= 3
    done = launch(*arguments, f"--workdir={tmp_path / 'work'}", cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    table = sorted_results(tmp_path / "work")
    assert not table.duplicated(KEYS).any()
    pd.testing.assert_frame_equal(table, expected, check_exact=True)
