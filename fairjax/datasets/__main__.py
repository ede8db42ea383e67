"""`fairjax datasets [list | check NAME --root=DIR | split NAME --root=DIR --out=CSV | docs]`.

The options of a dataset (`fairjax.datasets.options`) are flags.
"""

from __future__ import annotations

import ast
import dataclasses
import sys
from typing import Any

from absl import flags

from fairjax.datasets.options import CatalogOptions, TableOptions
from fairjax.utils import cli, plugins
from fairjax.utils.errors import UserError, lookup
from fairjax.utils.meanings import meanings

_TEXT = flags.DEFINE_string
FIELDS = {
    field.name: (field, meanings(cls)[field.name])
    for cls in (CatalogOptions, TableOptions)
    for field in dataclasses.fields(cls)
}
ROOT = _TEXT("root", None, "The folder that holds the dataset as published.")
OPTIONS = {
    "attributes": _TEXT(
        "attributes", None, "Columns of a table's attributes; by default all that can be groups."
    ),
    "bins": _TEXT(
        "bins",
        None,
        "Groups of continuous attributes: age=40,60 (cut points: 40 is in the group above it), "
        "age=q4 (quartiles) or age=each, with ';' between attributes.",
    ),
    **{
        name: (flags.DEFINE_bool if field.default is False else _TEXT)(
            name, None, f"Option of a dataset: {meaning}"
        )
        for name, (field, meaning) in FIELDS.items()
    },
}
SET = flags.DEFINE_multi_string(
    "set", [], "KEY=VALUE: any option of the dataset, as n_patients=90 of `synthetic`."
)
SPLIT = _TEXT(
    "split", "stratified", "How patients are dealt: stratified, hash, kfold, leave_one_out or file."
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the split.")
FRACTIONS = flags.DEFINE_list(
    "fractions", ["0.6", "0.15", "0.25"], "Fractions of the patients: train, validation, test."
)
TEST = _TEXT("test", "natural", "natural, or balanced over the groups of --balance_on.")
BALANCE_ON = _TEXT("balance_on", None, "Attribute that the test is balanced over.")
FOLDS = flags.DEFINE_integer("folds", 5, "Folds of kfold.")
FOLD = flags.DEFINE_integer("fold", 0, "Fold of kfold that is the test.")
SITE = _TEXT("site", "", "Attribute of leave_one_out.")
HOLD_OUT = _TEXT("hold_out", "", "Group of leave_one_out that is the test.")
SPLIT_FILE = _TEXT("split_file", "", "Table of file, with the columns patient and split.")
PIXELS = flags.DEFINE_bool(
    "pixels", True, "Read every image; --nopixels looks at the tables alone."
)
THREADS = flags.DEFINE_integer("threads", 4, "Threads that read images.", lower_bound=1)
MAX_UNREADABLE = flags.DEFINE_float(
    "max_unreadable", 0.01, "Fraction of images that may be absent or unreadable."
)
OUT = _TEXT(
    "out", None, "File to write: check's findings as JSON, the split as CSV, or the page of docs."
)

EXIT_NOT_READY = 1


def main(argv: list[str]) -> None:
    """Lists, checks or splits datasets, or writes their page."""
    verb, *names = argv[1:] or ["list"]
    plugins.load()
    lookup("command", verb, VERBS)(names)


def _list(names: list[str]) -> None:
    from fairjax.datasets import docs

    print(docs.listing())


def _docs(names: list[str]) -> None:
    from fairjax.datasets import docs
    from fairjax.utils.storage import write_text

    write_text(OUT.value or "docs/datasets.md", docs.markdown())


def _check(names: list[str]) -> None:
    from fairjax.datasets.check import check, describe, to_json
    from fairjax.utils.storage import write_json

    dataset, assigned = _loaded(names)
    findings = check(dataset, assigned, pixels=PIXELS.value, threads=THREADS.value)
    if OUT.value:
        write_json(OUT.value, to_json(findings, MAX_UNREADABLE.value))
    print(describe(findings, MAX_UNREADABLE.value))
    if findings.problems(MAX_UNREADABLE.value):
        sys.exit(EXIT_NOT_READY)


def _split(names: list[str]) -> None:
    from fairjax.datasets.splits import export

    dataset, assigned = _loaded(names)
    if not OUT.value:
        raise UserError("say where to write the split, with --out=split.csv")
    export(dataset, assigned, OUT.value)


def _loaded(names: list[str]) -> tuple[Any, Any]:
    """The dataset that the flags describe, and its split."""
    from fairjax import datasets
    from fairjax.datasets.splits import split

    if len(names) != 1:
        raise UserError(
            f"name one dataset, not {len(names)}: fairjax datasets check NAME --root=DIR"
        )
    dataset = datasets.load(names[0], ROOT.value, **_options())
    try:
        fractions = [float(fraction) for fraction in FRACTIONS.value]
    except ValueError:
        raise UserError(
            f"--fractions={','.join(FRACTIONS.value)}: give three numbers, as 0.6,0.15,0.25"
        ) from None
    options: dict[str, Any] = {
        flag.name: flag.value for flag in (SEED, TEST, BALANCE_ON, FOLDS, FOLD, SITE, HOLD_OUT)
    }
    return dataset, split(dataset, fractions, method=SPLIT.value, file=SPLIT_FILE.value, **options)


def _options() -> dict[str, Any]:
    """The options that flags give, and those of `--set`, whose values may be Python literals."""
    options = {name: flag.value for name, flag in OPTIONS.items() if flag.value is not None}
    for text in SET.value:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set={text}: write it as KEY=VALUE")
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[key] = value
    return options


VERBS = {"list": _list, "check": _check, "split": _split, "docs": _docs}

if __name__ == "__main__":
    cli.run(main)
