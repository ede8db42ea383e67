"""`examples/plugin/`, installed: found by its entry point, used in a sweep, computed again when its code changes."""

import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from helpers.commands import ONE_DEVICE, ROOT

SWEEP = [
    "--config=linear_probe:dataset=tinted,model=mean_colour",
    "--config.attributes=sex",
    "--config.dataset.n_patients=200",
    "--config.seeds=2",
    "--config.n_boot=0",
    "--config.training.usages=linear_probe,nearest_mean",
    "--config.training.methods=erm,focal",
    "--config.training.postprocess=prior_shift",
    "--config.training.learning_rates=1e-1",
    "--config.training.epochs=60",
    "--config.evaluation.metrics=auc,threat_score",
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that the plugin is installed in."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(ROOT / "examples" / "plugin", folder / "source")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", "site", "./source"],
        cwd=folder,
        check=True,
        timeout=300,
    )
    return folder


def fairjax(folder, *arguments):
    paths = [str(ROOT), str(folder / "site")]
    return subprocess.run(
        [sys.executable, "-m", "fairjax", *map(str, arguments)],
        cwd=folder,
        env=os.environ
        | ONE_DEVICE
        | {"PYTHONPATH": os.pathsep.join(paths), "FAIRJAX_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=600,
    )


def launch(folder, *arguments):
    done = fairjax(folder, "launch", *SWEEP, "--workdir=work", *arguments)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def swept(installed):
    return launch(installed), pd.read_parquet(installed / "work" / "results.parquet")


def replace(folder, old, new):
    path = folder / "site" / "fairjax_example.py"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def trained(folder):
    """Method → the folders of its trained heads, of those that were trained by a method."""
    found = {}
    for path in (folder / "work" / "scores").rglob("sweep.json"):
        found.setdefault(json.loads(path.read_text()).get("method"), set()).add(path.parent)
    return found


def ids(folder, method):
    runs = pd.read_parquet(folder / "work" / "runs.parquet")
    return set(runs.loc[runs["method"] == method, "run_id"])


def test_the_tables_of_every_command_have_what_the_plugin_adds(installed):
    assert "probe_width = 6" in fairjax(installed, "models", "mean_colour").stdout
    methods = fairjax(installed, "methods").stdout
    assert "the focal loss" in methods
    assert "prior_shift" in methods


@pytest.mark.slow
def test_one_sweep_uses_all_that_the_plugin_adds(swept):
    done, table = swept
    assert "embeddings: model mean_colour, width 6" in done.stdout
    assert set(table["usage"]) == {"linear_probe", "nearest_mean"}
    assert {"erm", "focal", "none", "erm>prior_shift", "none>prior_shift"} <= set(table["method"])
    assert set(table["metric"]) == {"auc", "threat_score"}
    overall = table[(table["group"] == "overall") & (table["metric"] == "auc")]
    assert overall["value"].between(0.6, 1).all()  # the tint is found by every usage and method


@pytest.mark.slow
def test_the_same_code_again_computes_nothing(swept, installed):
    before = trained(installed), ids(installed, "focal")
    again = launch(installed, "--dry_run").stdout
    assert "0 images to embed, 200 in the cache" in again
    launch(installed)
    assert (trained(installed), ids(installed, "focal")) == before


@pytest.mark.slow
def test_a_changed_objective_is_trained_again_and_nothing_else(swept, installed):
    before, runs = trained(installed), {name: ids(installed, name) for name in ("erm", "focal")}
    replace(installed, "(1 - jnp.exp(-step.losses))", "jnp.tanh(step.losses)")
    launch(installed)
    after = trained(installed)
    assert after["erm"] == before["erm"]
    assert len(after["focal"]) == len(before["focal"]) + 1
    assert ids(installed, "erm") == runs["erm"]
    assert not ids(installed, "focal") & runs["focal"]


@pytest.mark.slow
def test_a_changed_usage_is_computed_again(swept, installed):
    runs = {name: ids(installed, name) for name in ("erm", "none")}
    replace(installed, ".sum(-1) / 2", ".sum(-1) / 4")
    launch(installed)
    assert ids(installed, "erm") == runs["erm"]
    assert not ids(installed, "none") & runs["none"]


@pytest.mark.slow
def test_a_changed_model_or_dataset_is_embedded_again(swept, installed):
    replace(installed, "images.std((1, 2))", "images.max((1, 2))")
    assert "200 images to embed, 0 in the cache" in launch(installed, "--dry_run").stdout
    replace(installed, "images.max((1, 2))", "images.std((1, 2))")
    assert "0 images to embed, 200 in the cache" in launch(installed, "--dry_run").stdout
    replace(installed, "normal(128, 30,", "normal(128, 31,")
    assert "200 images to embed, 0 in the cache" in launch(installed, "--dry_run").stdout
    replace(installed, "normal(128, 31,", "normal(128, 30,")


def test_a_plugin_that_is_refused_is_one_line_and_the_command_goes_on(installed):
    replace(installed, "return jnp.concatenate([images.mean((1, 2)),", "return jnp.stack([images,")
    done = fairjax(installed, "models", "clip")
    assert done.returncode == 0
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("fairjax: plugin example (fairjax_example:register_all) failed: model")
