"""`fairjax audit TABLE --label=COL --score=COL --group=COL [--group=COL …] …`.

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
    "Groups of numbers: age=40,60 cuts at these points (40 is in the group above it), age=q4 in "
    "quartiles, site=each not at all.",
)
INTERSECTIONS = flags.DEFINE_bool("intersections", False, "Also compare all attributes crossed.")
MISSING = flags.DEFINE_enum(
    "missing", "error", ["error", "drop"], "Rows without label or score: refuse, or leave out."
)
MISSING_VALUES = flags.DEFINE_list(
    "missing_values", [], "Values of attributes that mean 'not known', besides NA, None, blank, …"
)
KEEP_NA = flags.DEFINE_bool("keep_na", False, "Keep those whose group is missing as a group.")
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
MASK_LABEL = flags.DEFINE_integer("mask_label", None, "Value of the masks that is foreground.")
MASK_THRESHOLD = flags.DEFINE_float(
    "mask_threshold", None, "Cuts soft masks, as 0.5 at half the range; else they are refused."
)
POLICY = _TEXT(
    "policy", "strict", "strict, or compat: the numbers of the published FairMedFM code."
)
N_BOOT = flags.DEFINE_integer("n_boot", 2000, "Bootstrap replicates; 0: no intervals.")
N_PERMUTATIONS = flags.DEFINE_integer(
    "n_permutations", 2000, "Permutations of the test of each gap; 0: none."
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the replicates and permutations.")
CONFIDENCE = flags.DEFINE_float("confidence", 0.95, "Level of the intervals.")
INTERVAL = _TEXT("interval", "percentile", "percentile or bca.")
AUC_INTERVAL = _TEXT("auc_interval", "bootstrap", "bootstrap or delong.")
STRATIFY = flags.DEFINE_bool("stratify", False, "Draw patients within label and groups.")
MIN_GROUP = flags.DEFINE_integer(
    "min_group", None, "Minimal number of patients of either label for a group to have numbers."
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
            f"give one table of predictions, not {len(argv) - 1}: python -m fairjax.audit "
            "TABLE.csv --label=…"
        )
    from fairjax.auditing import output
    from fairjax.datasets.tables import read_table

    path = Path(argv[1])
    table = read_table(path, text=False)
    facts: dict[str, Any] = {"name": path.name, "title": f"Audit of {path.name}"}
    facts |= output.hashes(argv[1], METADATA.value)
    facts["command"] = f"python -m fairjax.audit {shlex.join(sys.argv[1:])}"
    out_dir = Path(OUT.value) if OUT.value else output.default_dir(argv[1])
    output.require_own(out_dir, str(path), facts[output.TABLE_HASH])
    table, notes = _joined(table, facts)
    if not GROUP.value:
        raise UserError(
            "say whose groups to compare, with --group; the columns are "
            + ", ".join(map(str, table))
        )
    cli.set_up_jax(cli.cache_dir())
    plugins.load()
    report = _audit(table, path, facts)
    paths = output.write(report, out_dir)
    print("\n".join([str(report), *notes]))
    print(f"report: {paths[0]} (and {', '.join(path.name for path in paths[1:])})")


def _joined(table: Any, facts: dict[str, Any]) -> tuple[Any, list[str]]:
    """The table with the columns of the metadata, and notes on how the files were read."""
    from fairjax.auditing import tables
    from fairjax.datasets.tables import read_table

    notes = list(table.attrs["notes"])
    if bool(METADATA.value) != bool(ON.value):
        raise UserError("--metadata and --on belong together: --metadata=patients.csv --on=patient")
    if METADATA.value:
        metadata = read_table(METADATA.value, text=False)
        notes += metadata.attrs["notes"]
        table, joined = tables.join(table, metadata, ON.value or "")
        facts |= {"metadata": Path(METADATA.value).name}
        facts |= {name: count for name, count in joined.items() if count}
    facts |= {"reading": "; ".join(notes)} if notes else {}
    return table, notes


def _audit(table: Any, path: Path, facts: dict[str, Any]) -> Any:
    options: dict[str, Any] = {flag.name: flag.value for flag in ANALYSIS}
    options |= {
        "bins": BINS.value,
        "intersections": INTERSECTIONS.value,
        "missing": MISSING.value,
        "missing_values": MISSING_VALUES.value,
        "keep_na": KEEP_NA.value,
        "population": POPULATION.value,
        "facts": facts,
        "progress": True,
    }
    if DICE.value or PRED_MASK.value or TRUE_MASK.value:
        return _audit_segmentation(table, path, options)
    return _audit_scores(table, options)


def _patients(rows: Any) -> dict[str, Any]:
    """The columns of groups, patients and weights."""
    from fairjax.auditing import tables

    names = list(dict.fromkeys(GROUP.value))
    taken = {LABEL.value: "label", CLUSTER.value: "cluster", WEIGHT.value: "weight"}
    for name in names:
        if name in taken:
            raise UserError(f"--group={name} is the column of --{taken[name]}, and no attribute")
    found: dict[str, Any] = {
        "groups": rows[[tables.column(rows, name, "--group").name for name in names]]
    }
    if CLUSTER.value:
        found["cluster"] = tables.column(rows, CLUSTER.value, "--cluster")
    if WEIGHT.value:
        found["weights"] = tables.number_column(rows, WEIGHT.value, "--weight")
    return found


def _audit_segmentation(table: Any, path: Path, options: dict[str, Any]) -> Any:
    from fairjax.auditing import audit_segmentation, tables

    for flag in ONLY_WITH_SCORES:
        if flag.value:
            raise UserError(f"--{flag.name} has no meaning for segmentations; leave it out")
    if DICE.value:
        measured: dict[str, Any] = {
            "dice": {name: tables.number_column(table, name, "--dice") for name in DICE.value}
        }
    else:
        pred, true = (_mask_paths(table, path, flag) for flag in (PRED_MASK, TRUE_MASK))
        chosen = {"label": MASK_LABEL.value, "mask_threshold": MASK_THRESHOLD.value}
        measured = {"pred_masks": pred, "true_masks": true, "masks_options": chosen}
    return audit_segmentation(**measured, **_patients(table), **options)


def _mask_paths(table: Any, path: Path, flag: flags.FlagHolder) -> list[Path]:
    from fairjax.auditing import tables
    from fairjax.datasets.values import is_missing

    column = tables.column(table, flag.value or "", f"--{flag.name}")
    blank = is_missing(column)
    if blank.any():
        raise UserError(
            f"--{flag.name}={flag.value}: {blank.sum()} rows have no path, the first is row "
            f"{blank.argmax() + 1}; leave them out"
        )
    return [path.parent / str(name).strip() for name in column]


def _audit_scores(table: Any, options: dict[str, Any]) -> Any:
    from fairjax.auditing import audit, tables
    from fairjax.datasets.values import canonical

    if not LABEL.value or not SCORE.value:
        raise UserError(
            "give --label and --score (or --dice, or --pred_mask and --true_mask, of segmentations)"
        )
    options |= {
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
        chosen = canonical(tables.column(table, name, "--validation")) == value.strip()
        if not chosen.any() or chosen.all():
            raise UserError(
                f"--validation={VALIDATION.value}: {chosen.sum()} of {len(table)} rows; some must "
                "be left"
            )
        options["validation"], table = predictions(table[chosen]), table[~chosen]
    labels, scores = predictions(table)
    return audit(labels, scores, **_patients(table), **options)


def _score(table: Any, name: str) -> Any:
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
            f"--score={name}: no column is named by the positive class, as prob_{positive}; rename "
            "them"
        )
    return pd.DataFrame(columns, index=table.index).rename(columns=classes)
