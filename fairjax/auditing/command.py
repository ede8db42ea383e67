"""`fairjax audit PREDICTIONS.{csv,tsv,parquet} --label=COL --score=COL --group=COL …`.

A fairness report with confidence intervals from a table with one row per image: labels, scores,
groups and patients. Of segmentations the table has a column with each image's Dice (--dice), or
paths of masks (--pred_mask, --true_mask).
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from absl import flags

from fairjax.utils import cli, plugins
from fairjax.utils.errors import UserError

_TEXT, _LIST = flags.DEFINE_string, flags.DEFINE_multi_string
LABEL = _TEXT("label", None, "Column of the label.")
SCORE = _LIST(
    "score",
    [],
    "Column of a model's score; several models are compared. COL1,COL2,…: one column per class.",
)
GROUP = _LIST("group", [], "Column of an attribute, as sex; give the flag several times.")
CLUSTER = _TEXT(
    "cluster", None, "Column of the patient: what the bootstrap draws. Without it every row is one."
)
WEIGHT = _TEXT("weight", None, "Column of sample weights.")
POS_LABEL = _TEXT("pos_label", None, "The positive label; every other is negative.")
SCORE_TYPE = flags.DEFINE_enum(
    "score_type", "auto", ["auto", "probability", "logit"], "What the scores are."
)
METADATA = _TEXT("metadata", None, "A second table, with more columns; joined by --on.")
ON = _TEXT("on", None, "Column of the key of --metadata, or COL=COL_OF_METADATA.")
BINS = _LIST(
    "bins",
    [],
    "Cuts a number: age=40,60 at these points, age=q4 in quartiles, site=each not at all.",
)
INTERSECTIONS = flags.DEFINE_bool("intersections", False, "Also compare all attributes crossed.")
MISSING = flags.DEFINE_enum(
    "missing", "error", ["error", "drop"], "Rows without label or score: refuse, or leave out."
)
THRESHOLD = _TEXT(
    "threshold", "0.5", "A number, or f1, youden, sensitivity=0.9, specificity=0.9 on --validation."
)
VALIDATION = _TEXT(
    "validation", None, "COL=VALUE: rows that choose the threshold and are not evaluated."
)
POPULATION = _TEXT("population", "", "Who the model is meant for, in words.")
DICE = _LIST("dice", [], "Column of each image's Dice; several models are compared.")
PRED_MASK = _TEXT("pred_mask", None, "Column of paths of predicted masks, relative to the table.")
TRUE_MASK = _TEXT("true_mask", None, "Column of paths of true masks.")
POLICY = _TEXT(
    "policy", "strict", "strict, or compat: the numbers of the published FairMedFM code."
)
N_BOOT = flags.DEFINE_integer("n_boot", 2000, "Bootstrap replicates; 0: no intervals.")
N_PERMUTATIONS = flags.DEFINE_integer(
    "n_permutations", 2000, "Permutations of the test of each gap; 0: none."
)
SEED = flags.DEFINE_integer("seed", 0, "Of the replicates and permutations.")
CONFIDENCE = flags.DEFINE_float("confidence", 0.95, "Level of the intervals.")
INTERVAL = _TEXT("interval", "percentile", "percentile or bca.")
AUC_INTERVAL = _TEXT("auc_interval", "bootstrap", "bootstrap or delong.")
STRATIFY = flags.DEFINE_bool("stratify", False, "Draw patients within label and groups.")
MIN_GROUP = flags.DEFINE_integer(
    "min_group", None, "Fewest patients of either label for a group to have numbers."
)
OUT = _TEXT("out", None, "Folder for the report; by default audits/NAME_OF_THE_TABLE.")

ANALYSIS = (
    POLICY,
    N_BOOT,
    N_PERMUTATIONS,
    SEED,
    CONFIDENCE,
    INTERVAL,
    AUC_INTERVAL,
    STRATIFY,
    MIN_GROUP,
)
ONLY_WITH_SCORES = (LABEL, SCORE, POS_LABEL, VALIDATION)


def main(argv: list[str]) -> None:
    """Audits the table that the flags describe."""
    if len(argv) != 2:
        raise UserError(
            f"give one table of predictions, not {len(argv) - 1}: python -m fairjax.audit TABLE.csv --label=…"
        )
    out = Path(
        OUT.value or Path("audits") / Path(argv[1]).stem.removesuffix(".csv").removesuffix(".tsv")
    )
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; choose another --out")
    from fairjax.auditing import tables

    table, facts = tables.read_table(argv[1]), dict[str, Any](name=Path(argv[1]).name)
    facts |= {
        "title": f"Audit of {Path(argv[1]).name}",
        "command": f"python -m fairjax.audit {shlex.join(sys.argv[1:])}",
    }
    if bool(METADATA.value) != bool(ON.value):
        raise UserError("--metadata and --on belong together: --metadata=patients.csv --on=patient")
    if METADATA.value:
        table, joined = tables.join(table, tables.read_table(METADATA.value), ON.value or "")
        facts |= {"metadata": Path(METADATA.value).name} | {
            name: count for name, count in joined.items() if count
        }
    if not GROUP.value:
        raise UserError(
            f"say whose groups to compare, with --group; the columns are {', '.join(map(str, table))}"
        )
    cli.set_up_jax(cli.cache_dir())
    plugins.load()
    report = _audit(table, Path(argv[1]), facts | _hashes(argv[1]))
    paths = [report.to_html(out / "report.html"), report.to_json(out / "audit.json")]
    paths += [report.to_csv(out / "results.csv"), *report.write_tables(out)]
    print(report)
    print(f"report: {paths[0]} (and {', '.join(path.name for path in paths[1:])})")


def _hashes(table: str) -> dict[str, str]:
    from fairjax.utils.storage import hash_file

    found = {"SHA-256 of the table": hash_file(table)}
    return found | (
        {"SHA-256 of the metadata": hash_file(METADATA.value)} if METADATA.value else {}
    )


def _audit(table, path: Path, facts: dict[str, Any]):
    from fairjax.auditing import audit, audit_segmentation, groups, tables

    columns: dict[str, Any] = {flag.name: flag.value for flag in ANALYSIS}
    columns |= {
        "bins": groups.parse_bins(BINS.value),
        "intersections": INTERSECTIONS.value,
        "missing": MISSING.value,
    }
    columns |= {"population": POPULATION.value, "facts": facts, "show_progress": True}

    def people(rows) -> dict[str, Any]:
        found = {
            "groups": rows[[tables.column(rows, name, "--group").name for name in GROUP.value]]
        }
        if CLUSTER.value:
            found["cluster"] = tables.column(rows, CLUSTER.value, "--cluster")
        return found | (
            {"weights": tables.number_column(rows, WEIGHT.value, "--weight")}
            if WEIGHT.value
            else {}
        )

    if DICE.value or PRED_MASK.value or TRUE_MASK.value:
        for flag in ONLY_WITH_SCORES:
            if flag.value:
                raise UserError(f"--{flag.name} has no meaning for segmentations; leave it out")
        if DICE.value:
            measured: dict[str, Any] = {
                "dice": {name: tables.number_column(table, name, "--dice") for name in DICE.value}
            }
        else:
            masks = ((flag.value, f"--{flag.name}") for flag in (PRED_MASK, TRUE_MASK))
            pred, true = (
                _paths(tables.column(table, name or "", flag), path) for name, flag in masks
            )
            measured = {"pred_masks": pred, "true_masks": true}
        return audit_segmentation(**measured, **people(table), **columns)
    if not LABEL.value or not SCORE.value:
        raise UserError(
            "give --label and --score (or --dice, or --pred_mask and --true_mask, of segmentations)"
        )
    columns |= {
        "score_type": SCORE_TYPE.value,
        "pos_label": POS_LABEL.value,
        "threshold": THRESHOLD.value,
    }

    def predictions(rows) -> tuple[Any, dict[str, Any]]:
        return tables.column(rows, LABEL.value or "", "--label"), {
            name: _score(rows, name) for name in SCORE.value
        }

    if VALIDATION.value:
        name, _, value = VALIDATION.value.partition("=")
        chosen = tables.column(table, name, "--validation").astype(str) == value
        if not chosen.any() or chosen.all():
            raise UserError(
                f"--validation={VALIDATION.value}: {chosen.sum()} of {len(table)} rows; some must be left"
            )
        columns["validation"], table = predictions(table[chosen]), table[~chosen]
    labels, scores = predictions(table)
    return audit(labels, scores, **people(table), **columns)


def _score(table, name: str):
    """A model's column; of several, one per class, a table whose columns are named by class where
    names tell.
    """
    import pandas as pd

    from fairjax.auditing import tables

    columns = {column: tables.number_column(table, column, "--score") for column in name.split(",")}
    if len(columns) == 1:
        return columns[name]
    positive = POS_LABEL.value or ""
    named = [
        column
        for column in columns
        if positive and (column == positive or column.endswith(f"_{positive}"))
    ]
    classes = {column: positive if [column] == named else column for column in columns}
    if positive and not named:
        raise UserError(
            f"--score={name}: no column is named by the positive class, as prob_{positive}; rename them"
        )
    return pd.DataFrame(columns, index=table.index).rename(columns=classes)


def _paths(column, table: Path) -> list[Path]:
    return [table.parent / str(path) for path in column]
