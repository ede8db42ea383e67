"""The command line of the audit, as a user meets it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from absl import flags
from absl.testing import flagsaver
from PIL import Image

from fairjax.auditing import command as cli
from fairjax.utils.errors import UserError

ROOT = Path(__file__).parents[2]
QUICK = ["--n_boot=30", "--n_permutations=9"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Predictions, and metadata of the patients in another table."""
    folder, rng, n = tmp_path_factory.mktemp("audit"), np.random.default_rng(0), 300
    labels = rng.choice(["benign", "malignant"], n)
    logit = rng.normal(2.0 * (labels == "malignant") - 1, 1)
    p = 1 / (1 + np.exp(-logit))
    table = pd.DataFrame(
        {"image": range(n), "patient": [f"{i // 2:03d}" for i in range(n)], "label": labels}
    )
    table = table.assign(
        p=p,
        logit=logit,
        prob_benign=1 - p,
        prob_malignant=p,
        dice=rng.random(n),
        part=np.where(np.arange(n) < 100, "val", "test"),
    )
    people = pd.DataFrame({"id": [f"{i:03d}" for i in range(n // 2)]})
    people = people.assign(sex=rng.choice(["F", "M"], n // 2), age=rng.integers(20, 90, n // 2))
    table.to_csv(folder / "p.csv", index=False)
    table.to_csv(folder / "p.tsv", index=False, sep="\t")
    table.to_parquet(folder / "p.parquet")
    people.to_csv(folder / "people.csv", index=False)
    table.merge(people, left_on="patient", right_on="id").to_csv(folder / "all.csv", index=False)
    return folder


def audit(folder, *arguments):
    environment = os.environ | {"FAIRJAX_CACHE": str(folder / "cache"), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "fairjax.audit", *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


JOINED = [
    "--metadata=people.csv",
    "--on=patient=id",
    "--group=sex",
    "--group=age",
    "--bins=age=40,60",
    "--cluster=patient",
]
POSITIVE = ["--label=label", "--pos_label=malignant"]


@pytest.mark.parametrize("table", ["p.csv", "p.tsv", "p.parquet"])
def test_one_command_makes_table_report_and_files(folder, table):
    out = folder / f"out-{table}"
    done = audit(folder, table, *POSITIVE, "--score=p", *JOINED, *QUICK, f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert "gap" in done.stdout
    assert str(out / "report.html") in done.stdout
    assert {path.name for path in out.iterdir()} == {
        "report.html",
        "audit.json",
        "results.csv",
        "summary.csv",
        "by_group.csv",
    }
    found = json.loads((out / "audit.json").read_text())
    assert found["population"]["patients"] == 150
    assert len(found["data"]["SHA-256 of the table"]) == 64
    first = pd.read_csv(folder / "out-p.csv" / "summary.csv")
    pd.testing.assert_frame_equal(pd.read_csv(out / "summary.csv"), first, atol=1e-9)


def test_several_models_intersections_logits_and_validation_rows(folder):
    out = folder / "many"
    options = [
        "--score_type=logit",
        "--score=logit",
        "--intersections",
        "--threshold=youden",
        "--validation=part=val",
    ]
    done = audit(
        folder, "p.csv", *POSITIVE, *options, "--score=dice", *JOINED, *QUICK, f"--out={out}"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((out / "audit.json").read_text())
    assert "100 validation samples" in found["thresholds"]["rule"]
    assert found["population"]["rows used"] == 200
    assert {row["attribute"] for row in found["by_group"]} == {"sex", "age", "sex × age"}
    assert {(row["a"], row["b"]) for row in found["comparisons"]} == {("logit", "dice")}


def test_one_column_per_class_and_the_default_folder(folder):
    done = audit(
        folder,
        "all.csv",
        *POSITIVE,
        "--score=prob_benign,prob_malignant",
        "--group=sex",
        "--n_boot=0",
        "--n_permutations=0",
    )
    assert done.returncode == 0, done.stderr
    columns = pd.read_csv(folder / "audits" / "all" / "by_group.csv")
    alone = audit(
        folder,
        "all.csv",
        *POSITIVE,
        "--score=p",
        "--group=sex",
        "--n_boot=0",
        "--n_permutations=0",
        "--out=alone",
    )
    assert alone.returncode == 0
    pd.testing.assert_frame_equal(columns, pd.read_csv(folder / "alone" / "by_group.csv"))


def test_segmentations_from_a_column_or_from_masks(folder):
    rng = np.random.default_rng(0)
    rows = []
    for i in range(40):
        for kind in ("pred", "true"):
            Image.fromarray((rng.random((12, 12)) < 0.5).astype(np.uint8) * 255).save(
                folder / f"{kind}{i}.png"
            )
        rows.append((f"pred{i}.png", f"true{i}.png", "FM"[i % 2]))
    pd.DataFrame(rows, columns=["a", "b", "sex"]).to_csv(folder / "masks.csv", index=False)
    done = audit(
        folder, "masks.csv", "--pred_mask=a", "--true_mask=b", "--group=sex", *QUICK, "--out=masks"
    )
    assert done.returncode == 0, done.stderr
    assert {"dice", "iou_median"} <= set(pd.read_csv(folder / "masks" / "by_group.csv"))
    done = audit(
        folder, "all.csv", "--dice=dice", "--group=sex", "--cluster=patient", *QUICK, "--out=dice"
    )
    assert done.returncode == 0, done.stderr


FAST = ["--label=y", "--score=p", "--group=sex", "--n_boot=0", "--n_permutations=0"]


@pytest.fixture
def table():
    """Predictions of 80 images of 40 patients."""
    rng, n = np.random.default_rng(0), 80
    labels = rng.integers(0, 2, n)
    columns = {"patient": np.arange(n) // 2, "sex": rng.choice(["F", "M"], n), "y": labels}
    return pd.DataFrame(columns | {"p": (labels + rng.random(n)) / 2})


def test_an_audit_replaces_that_of_the_same_table_alone(tmp_path, table):
    table.assign(q=table["p"] ** 2).to_csv(tmp_path / "t.csv", index=False)
    done = audit(tmp_path, "t.csv", *FAST, "--score=q")
    assert done.returncode == 0, done.stderr
    made = tmp_path / "audits" / "t"
    assert (made / "comparisons.csv").exists()
    (made / "notes.txt").write_text("mine")
    done = audit(tmp_path, "t.csv", *FAST)
    assert done.returncode == 0, done.stderr
    assert not (made / "comparisons.csv").exists()  # it was of two models
    assert (made / "notes.txt").exists()
    before = {path: path.read_bytes() for path in made.iterdir()}
    table.head(60).to_csv(tmp_path / "t.csv", index=False)
    for out in ([], ["--out=audits/t"]):
        done = audit(tmp_path, "t.csv", *FAST, *out)
        assert (done.returncode, done.stdout) == (2, "")
        assert "audits/t holds the audit of another table" in done.stderr
        assert "--out=DIR" in done.stderr
    assert {path: path.read_bytes() for path in made.iterdir()} == before


TABLES = {
    "european.csv": lambda t, p: t.to_csv(p, index=False, sep=";", decimal=","),
    "names.csv": lambda t, p: t.to_csv(p, index_label=False),
    "t.xlsx": lambda t, p: t.to_excel(p, index=False),
    "index.parquet": lambda t, p: t.set_index("patient").to_parquet(p),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_any_kind_gives_the_same_numbers(tmp_path, table, name):
    people = table["patient"].astype(object)
    people[1::2] = people[1::2].map("{}.0".format)  # as after a join in pandas
    if name == "index.parquet":
        people = table["patient"].astype(float)
    TABLES[name](table.assign(patient=people), tmp_path / name)
    table.to_csv(tmp_path / "plain.csv", index=False)
    done = [
        audit(tmp_path, file, *FAST, "--group=sex", "--cluster=patient")
        for file in (name, "plain.csv")
    ]
    assert [one.returncode for one in done] == [0, 0], done[0].stderr
    found, expected = (
        json.loads((tmp_path / "audits" / file.split(".")[0] / "audit.json").read_text())
        for file in (name, "plain.csv")
    )
    assert found["population"]["patients"] == expected["population"]["patients"] == 40
    assert found["results"] == expected["results"]


def test_what_was_missing_or_merged_is_said_on_the_console(tmp_path, table):
    region = ["NA", "EU", "eu", "US"] * 20
    history = ["None", "asthma"] * 40
    table.assign(region=region, history=history, y=table["y"].map({0: "FALSE", 1: "TRUE"})).to_csv(
        tmp_path / "t.csv", index=False
    )
    groups = ["--group=region", "--group=history"]
    done = audit(tmp_path, "t.csv", *FAST, *groups)
    assert done.returncode == 0, done.stderr
    assert "region: 20 rows are missing: 'NA' (20 rows); keep_na makes them a group" in done.stdout
    assert "region: 'EU' (20 rows), 'eu' (20 rows) are one group, 'EU'" in done.stdout
    assert "if 'None' is an answer ('nothing'), keep_na keeps it as a group" in done.stdout
    done = audit(tmp_path, "t.csv", *FAST, *groups, "--keep_na", "--out=kept")
    assert done.returncode == 0, done.stderr
    assert "missing" not in done.stdout
    found = pd.read_csv(tmp_path / "kept" / "by_group.csv", keep_default_na=False)
    assert {"NA", "EU", "US", "None", "asthma"} <= set(found["group"])


def test_help_says_what_it_does_without_importing_jax(folder):
    code = "import sys, runpy; sys.argv = ['x', '--help']\ntry: runpy.run_module('fairjax.audit', run_name='__main__')\nexcept SystemExit: pass\nassert not {'jax', 'pandas'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--pos_label" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one table of predictions, not 0"),
        (["nowhere.csv", "--group=sex"], "there is no table nowhere.csv"),
        (["all.csv"], "with --group; the columns are image, patient"),
        (
            ["all.csv", "--group=sexx", "--label=label", "--score=p"],
            "--group=sexx: there is no such column; did you mean 'sex'",
        ),
        (["all.csv", "--group=sex"], "give --label and --score"),
        (
            ["all.csv", "--group=sex", "--label=label", "--score=p"],
            "say which is the positive one, with pos_label",
        ),
        (
            ["all.csv", "--group=sex", "--label=label", "--score=sex", "--pos_label=malignant"],
            "--score=sex: no numbers in",
        ),
        (
            ["all.csv", "--group=sex", "--label=label", "--score=logit", "--pos_label=malignant"],
            "if they are logits",
        ),
        (
            ["all.csv", "--group=sex", "--label=label", "--score=p", "--pos_label=malign"],
            "did you mean 'malignant'",
        ),
        (
            ["all.csv", "--group=age", "--label=label", "--score=p", "--pos_label=malignant"],
            "give bins: age=40,60 cuts at these points",
        ),
        (
            [
                "all.csv",
                "--group=age",
                "--bins=age=x",
                "--label=label",
                "--score=p",
                "--pos_label=malignant",
            ],
            "cannot read the bins age=x; write age=40,60",
        ),
        (
            [
                "all.csv",
                "--group=sex",
                "--label=label",
                "--score=p",
                "--policy=strickt",
                "--pos_label=malignant",
            ],
            "did you mean 'strict'",
        ),
        (
            [
                "all.csv",
                "--group=sex",
                "--label=label",
                "--score=p",
                "--threshold=g1",
                "--pos_label=malignant",
            ],
            "threshold rule",
        ),
        (
            [
                "all.csv",
                "--group=sex",
                "--label=label",
                "--score=p",
                "--n_boot=-1",
                "--pos_label=malignant",
            ],
            "n_boot must be",
        ),
        (
            [
                "all.csv",
                "--group=sex",
                "--label=label",
                "--score=p",
                "--validation=part=none",
                "--pos_label=malignant",
            ],
            "0 of 300 rows",
        ),
        (
            ["all.csv", "--group=sex", "--dice=dice", "--label=label"],
            "--label has no meaning for segmentations",
        ),
        (["p.csv", "--metadata=people.csv", "--group=sex"], "--metadata and --on belong together"),
        (
            ["all.csv", "--group=label", "--label=label", "--score=p", "--pos_label=malignant"],
            "--group=label is the column of --label",
        ),
        (
            ["all.csv", "--group=patient", "--label=label", "--score=p", "--pos_label=malignant"],
            "attribute 'patient' has 150 distinct numbers; give bins",
        ),
        (
            ["p.csv", "--metadata=people.csv", "--on=label=id", "--group=sex"],
            "no label of the predictions",
        ),
    ],
)
def test_mistakes_get_one_line(folder, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    # of this process, in which other tests run
    monkeypatch.setattr(cli.cli, "set_up_jax", lambda cache: None)
    with flagsaver.flagsaver():
        flags.FLAGS.set_gnu_getopt(True)
        rest = flags.FLAGS(["audit", *arguments])
        with pytest.raises(UserError, match=message):
            cli.main(rest)


def test_a_mistake_is_one_line_and_exit_code_two(folder):
    for arguments in (["all.csv", "--grop=sex"], ["nowhere.csv", "--group=sex"]):
        done = audit(folder, *arguments)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("fairjax: ")
