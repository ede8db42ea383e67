"""The command line, as a user meets it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import nibabel
import numpy as np
import pandas as pd
import pytest
from helpers.commands import ONE_DEVICE, ROOT, SMALL, launch
from PIL import Image
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score

from fairjax import models
from fairjax.utils.storage import locked


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A model directory with random weights: what is tested here does not depend on their quality."""
    folder = tmp_path_factory.mktemp("model") / "phantom_vit"
    module = models.build("phantom_vit", depth=1)
    models.save(folder, module, models.make_card("phantom_vit", module.config))
    return folder


@pytest.fixture(scope="module")
def finished(checkpoint, tmp_path_factory):
    """An undisturbed run: its work directory, cache and output."""
    folder = tmp_path_factory.mktemp("finished")
    done = launch(
        *SMALL,
        f"--config.model.checkpoint={checkpoint}",
        f"--workdir={folder / 'work'}",
        cache=folder / "cache",
    )
    assert done.returncode == 0, done.stderr
    return folder / "work", folder / "cache", done


def results(workdir):
    return pd.read_parquet(workdir / "results.parquet").sort_values(
        ["run", "attribute", "metric", "group"], ignore_index=True
    )


def test_a_run_leaves_what_the_work_directory_promises(finished):
    workdir, _, done = finished
    for name in (
        "config.json",
        "environment.json",
        "log.jsonl",
        "results.parquet",
        "summary.csv",
        "report/index.html",
    ):
        assert (workdir / name).stat().st_size > 0, name
    table = results(workdir)
    assert {
        "dataset",
        "model",
        "usage",
        "method",
        "attribute",
        "seed",
        "learning_rate",
        "policy",
        "metric",
        "group",
    } <= set(table)
    assert {"value", "ci_low", "ci_high", "n", "n_positive", "status"} <= set(table)
    assert set(table["metric"]) == {"auc", "acc", "tpr", "tnr", "bce", "ece"}
    assert table["run"].nunique() == 40
    numbers = table[(table["status"] == "ok") & table["value"].notna()]
    assert numbers[["ci_low", "ci_high"]].notna().all().all()
    assert (numbers["ci_low"] <= numbers["ci_high"]).all()
    assert "gap" in done.stdout
    assert str(workdir / "report" / "index.html") in done.stdout
    assert json.loads((workdir / "config.json").read_text())["dataset"]["name"] == "synthetic"


def test_the_same_command_again_computes_nothing_and_changes_nothing(finished, checkpoint):
    workdir, cache, _ = finished
    before = {
        path: path.stat().st_mtime_ns for path in [*workdir.rglob("chunk-*"), *cache.rglob("*.npy")]
    }
    table = results(workdir)
    again = launch(
        *SMALL, f"--config.model.checkpoint={checkpoint}", f"--workdir={workdir}", cache=cache
    )
    assert again.returncode == 0, again.stderr
    assert {
        path: path.stat().st_mtime_ns for path in [*workdir.rglob("chunk-*"), *cache.rglob("*.npy")]
    } == before
    pd.testing.assert_frame_equal(results(workdir), table, check_exact=True)


@pytest.mark.parametrize(
    "stage", ["rows-*.npy", "chunk-*.safetensors"], ids=["while embedding", "in the sweep"]
)
def test_a_killed_run_resumes_to_the_results_of_an_undisturbed_one(
    finished, checkpoint, tmp_path, stage
):
    workdir, _, _ = finished
    command = [*SMALL, f"--config.model.checkpoint={checkpoint}", f"--workdir={tmp_path / 'work'}"]
    environment = os.environ | ONE_DEVICE | {"FAIRJAX_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-m", "fairjax.launch", *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while (
        not list(tmp_path.rglob(stage)) and process.poll() is None and time.monotonic() < deadline
    ):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "work" / "results.parquet").exists()
    resumed = launch(*command, cache=tmp_path / "cache")
    assert resumed.returncode == 0, resumed.stderr
    pd.testing.assert_frame_equal(results(tmp_path / "work"), results(workdir), check_exact=True)


def test_a_dry_run_says_what_it_would_do_and_does_nothing(checkpoint, tmp_path):
    said = launch(
        *SMALL,
        f"--config.model.checkpoint={checkpoint}",
        f"--workdir={tmp_path / 'work'}",
        "--dry_run",
        cache=tmp_path / "cache",
    )
    assert said.returncode == 0, said.stderr
    assert "40 runs in 3 chunks of 16" in said.stdout
    assert "images to embed" in said.stdout
    assert not (tmp_path / "work").exists()
    assert not (tmp_path / "cache" / "embeddings").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--config.dataset.name=isic2071"],
            "unknown dataset 'isic2071'; did you mean 'isic2017'?",
        ),
        (
            ["--config.model.name=phantomvit"],
            "unknown model 'phantomvit'; did you mean 'phantom_vit'?",
        ),
        (["--config.seedz=3"], "unknown config key --config.seedz; did you mean 'seed'?"),
        (
            ["--config.dataset.nam=x"],
            "unknown config key --config.dataset.nam; did you mean 'name'?",
        ),
        (["--config.seeds=many"], "invalid literal for int()"),
        (["--config.attributes=sx"], "unknown attribute of synthetic 'sx'; did you mean 'sex'?"),
        (["--config.evaluation.threshold=f3"], "'f3'"),
        (["--config.evaluation.policy=compat2"], "unknown evaluation.policy 'compat2'"),
        (["--config.embedding.batch_size=0"], "embedding.batch_size must be at least 1, not 0"),
        (["--config.model.image_size=7"], "phantom_vit takes no images of 7 pixels"),
        (["--config.dataset.bins=sex=3"], "'sex', no continuous attribute; there are: age"),
        (["--config.training.order=random"], "training.order must be one of"),
        (["--config.training.methods=erm,erms"], "unknown method 'erms'"),
        (["--config.evaluation.metrics=auc,aucc"], "unknown evaluation.metrics 'aucc'"),
        (
            ["--config=configs/nothing.py"],
            "there is no configuration file configs/nothing.py, nor a packaged one",
        ),
        (
            ["--config=configs/linear_probe.py:datset=x"],
            "unknown config argument 'datset'; did you mean 'dataset'?",
        ),
        (
            ["--config=configs/linear_probe.py:dataset=isic2017", "--config.dataset.root=nowhere"],
            "image root nowhere does not exist",
        ),
        (["--config.model.checkpoint=nowhere"], "nowhere holds no converted model"),
        (["--workdri=x"], "unknown flag --workdri; did you mean 'workdir'?"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_mistake_gets_one_clear_line_and_exit_code_2(arguments, message, checkpoint, tmp_path):
    base = (
        []
        if arguments[0].startswith("--config=")
        else [*SMALL, f"--config.model.checkpoint={checkpoint}"]
    )
    failed = launch(*base, *arguments, f"--workdir={tmp_path / 'work'}", cache=tmp_path / "cache")
    assert failed.returncode == 2, failed.stderr
    lines = failed.stderr.strip().splitlines()
    assert lines[-1].startswith("fairjax: ")
    assert message in lines[-1]
    assert "Traceback" not in failed.stderr


@pytest.fixture
def own_table(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {
            "image": f"{i}.png",
            "label": i % 2,
            "patient": i // 2,
            "sex": ("female", "male")[(i // 4) % 2],
            "age": int(rng.integers(20, 90)),
        }
        for i in range(120)
    ]
    for row in rows:
        Image.fromarray(rng.integers(0, 256, (20, 24), dtype=np.uint8)).save(
            tmp_path / row["image"]
        )
    return tmp_path, rows


def table_run(folder, rows, checkpoint, *more):
    with open(folder / "mine.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return launch(
        "--config=configs/linear_probe.py:dataset=table,model=phantom_vit",
        f"--config.dataset.root={folder}",
        "--config.dataset.table=mine.csv",
        "--config.dataset.patient=patient",
        "--config.dataset.bins=age=50",
        f"--config.model.checkpoint={checkpoint}",
        "--config.seeds=2",
        "--config.n_boot=20",
        "--config.training.epochs=6",
        "--config.evaluation.min_group=1",
        f"--workdir={folder / 'work'}",
        *more,
        cache=folder / "cache",
    )


def test_a_users_own_table_by_configuration_alone(own_table, checkpoint):
    folder, rows = own_table
    done = table_run(folder, rows, checkpoint)
    assert done.returncode == 0, done.stderr
    assert {"<50", "≥50", "female", "male"} <= set(results(folder / "work")["group"])


def test_slices_are_embedded_and_volumes_are_scored(checkpoint, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {
            "image": f"{i}.nii",
            "label": i % 2,
            "patient": i // 2,
            "sex": ("female", "male")[i // 4 % 2],
            "age": 20 + i,
        }
        for i in range(60)
    ]
    for i, row in enumerate(rows):
        voxels = rng.integers(0, 200, (10, 9, 2 + i % 3)) + 55 * row["label"]
        nibabel.save(
            nibabel.Nifti1Image(voxels.astype(np.int16), np.eye(4)), tmp_path / row["image"]
        )
    (tmp_path / "7.nii").write_bytes(b"damaged")
    options = (
        "--config.dataset.dimensions=2.5D",
        "--config.dataset.window=(0, 255)",
        "--config.dataset.aggregate_slices=mean",
    )
    done = table_run(tmp_path, rows, checkpoint, *options, "--config.embedding.max_unreadable=0.1")
    assert done.returncode == 0, done.stderr
    samples = pd.read_parquet(tmp_path / "work" / "scores" / "samples.parquet")
    assert len(samples) == sum(2 + i % 3 for i in range(60) if i != 7) + 1
    assert (samples["readable"] == (samples["volume"] != "7.nii")).all()
    assert samples.groupby("patient")["split"].nunique().max() == 1
    test = samples[(samples["split"] == "test") & samples["readable"]]
    scores = load_file(next((tmp_path / "work" / "scores").glob("*/chunk-*.safetensors")))[
        "test_scores"
    ]
    by_volume = (
        test.assign(score=scores[0]).groupby("volume").agg({"score": "mean", "label": "first"})
    )
    found = results(tmp_path / "work").query(
        "group == 'overall' and metric == 'auc' and attribute == 'sex'"
    )
    first = (
        found[found["learning_rate"] == found["learning_rate"].min()].sort_values("seed").iloc[0]
    )
    assert first["n"] == len(by_volume)
    assert first["value"] == pytest.approx(
        roc_auc_score(by_volume["label"], by_volume["score"]), abs=1e-6
    )
    assert "is the mean of its slices" in (tmp_path / "work" / "report" / "index.html").read_text()


def test_a_dataset_without_labels_cannot_be_classified(own_table, checkpoint):
    folder, rows = own_table
    failed = table_run(
        folder, rows, checkpoint, "--config.dataset.label=", "--config.evaluation.one_class=report"
    )
    assert (failed.returncode, "Traceback" in failed.stderr) == (2, False)
    assert (
        "table has no label to classify by: it is a dataset for segmentation"
        in failed.stderr.splitlines()[-1]
    )


def test_mistakes_in_a_table_get_one_line(own_table, checkpoint):
    folder, rows = own_table
    without_label = [{key: value for key, value in row.items() if key != "label"} for row in rows]
    one_class = [row | {"sex": ("female", "male")[row["label"]]} for row in rows]
    for table, message in (
        (without_label, "has no column 'label'"),
        (one_class, "has one class only"),
    ):
        failed = table_run(folder, table, checkpoint)
        assert (failed.returncode, "Traceback" in failed.stderr) == (2, False)
        assert message in failed.stderr.strip().splitlines()[-1]
    reported = table_run(folder, one_class, checkpoint, "--config.evaluation.one_class=report")
    assert reported.returncode == 0, reported.stderr
    females = results(folder / "work").query("group == 'female' and metric == 'auc'")
    assert females["value"].isna().all()
    assert (females["status"] != "ok").all()


def test_a_work_directory_in_use_or_of_other_settings_is_refused(finished, checkpoint):
    workdir, cache, _ = finished
    command = [*SMALL, f"--config.model.checkpoint={checkpoint}", f"--workdir={workdir}"]
    with locked(workdir / ".lock", "locked"):
        failed = launch(*command, cache=cache)
    assert (failed.returncode, "in use by another run" in failed.stderr) == (2, True)
    failed = launch(*command, "--config.training.epochs=9", cache=cache)
    assert (failed.returncode, "training.epochs was 8, is 9" in failed.stderr) == (2, True)


def test_lists_are_read_however_they_are_written(checkpoint, tmp_path):
    for methods in ("erm,group_dro", "('erm','group_dro')", "('erm',)"):
        said = launch(
            *SMALL,
            f"--config.model.checkpoint={checkpoint}",
            f"--config.training.methods={methods}",
            "--config.attributes=sex",
            "--config.training.usages=linear_probe,mlp_probe",
            "--config.memory_gib=4",
            "--config.training.learning_rates=1e-3,4e-3",
            f"--workdir={tmp_path / 'work'}",
            "--dry_run",
            cache=tmp_path / "cache",
        )
        assert said.returncode == 0, said.stderr
        assert "mlp_probe/erm " in said.stdout
        assert ("linear_probe/group_dro[sex]" in said.stdout) == ("group_dro" in methods)


def test_help_imports_nothing_heavy():
    code = "import sys, fairjax, fairjax.launch; print({'jax', 'flax', 'pandas', 'grain', 'matplotlib'} & set(sys.modules))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "set()"
    )
    assert "--workdir" in launch("--help").stdout
