"""Splits by patient: no patient is in two splits."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from fairjax.datasets.dataset import SPLITS, Dataset
from fairjax.datasets.tables import read_table
from fairjax.utils.errors import UserError, lookup
from fairjax.utils.storage import write_text

TRAIN, VALIDATION, TEST, UNUSED = range(4)
NAMES = (*SPLITS, "unused")
TESTS = ("natural", "balanced")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the methods; see `split`."""

    fractions: Sequence[float] = (0.6, 0.15, 0.25)
    seed: int = 0
    folds: int = 5
    fold: int = 0
    site: str = ""
    hold_out: str = ""
    file: str = ""


@dataclasses.dataclass(frozen=True)
class Patients:
    """The p patients of a dataset, in the order of their first image.

    Attributes:
      dataset: the dataset.
      code: (n,) the patient of every image.
      name: (p,) their names.
      positive: (p,) whether any of their images is positive; False where there are no labels.
      groups: attribute → (p,) codes of their first image, −1 where missing.
    """

    dataset: Dataset
    code: Int[np.ndarray, " n"]
    name: np.ndarray
    positive: Bool[np.ndarray, " p"]
    groups: Mapping[str, Int[np.ndarray, " p"]]

    @classmethod
    def of(cls, dataset: Dataset) -> Patients:
        """Returns the patients of a dataset."""
        code = dataset.patients()
        first = np.unique(code, return_index=True)[1]
        positive = np.zeros(len(first), bool)
        if dataset.labelled:
            np.logical_or.at(positive, code, dataset.labels == 1)
        groups = {
            attribute: dataset.groups(attribute)[0][first] for attribute in dataset.attributes
        }
        return cls(dataset, code, dataset.table["patient"].to_numpy()[first], positive, groups)

    def draw(self, *key: object) -> Float[np.ndarray, " p"]:
        """Draws a number in [0, 1) per patient, by the key and the patient's name alone."""
        prefix = "".join(f"{part}|" for part in key)
        digests = (hashlib.sha256(f"{prefix}{name}".encode()).digest() for name in self.name)
        return (
            np.array([int.from_bytes(digest[:8], "big") for digest in digests], np.float64)
            / 2.0**64
        )


def split(
    dataset: Dataset,
    fractions: Sequence[float] = (0.6, 0.15, 0.25),
    *,
    seed: int = 0,
    test: str = "natural",
    balance_on: str | None = None,
    method: str = "stratified",
    **options: Any,
) -> np.ndarray:
    """Splits patients into train, validation and test, whatever the order of the table.

    Args:
      dataset: n images.
      fractions: fractions of patients in train, validation and test; the last one counts in
        `stratified` and `hash` alone.
      seed: another seed, another split.
      test: `natural`, or `balanced`: the test keeps, for either class, equally many patients of
        every group of `balance_on`; in `stratified` the others go to train, elsewhere they are
        `unused`.
      balance_on: the attribute to balance (a patient counts by the first image).
      method: of `METHODS`:
        `stratified`: every split gets its fraction of every stratum, which is the class (has the
        patient a positive image?) and the group by each attribute; a new patient may move others.
        `hash`: by a hash of (seed, patient): whoever joins or leaves, no other patient changes its
        split. (In a balanced test a patient may become `unused`, or be taken back, and nothing
        else.) `kfold`: the hash deals patients into `folds`; `fold` is the test, and of the others
        the hash takes validation. `leave_one_out`: the group `hold_out` of the attribute `site` is
        the test; patients of unknown site, and those who were seen there and elsewhere, are
        `unused`. `file`: as a CSV with the columns patient and split says.
      **options: `folds`, `fold`, `site`, `hold_out`, `file`.

    Returns:
      (n,) array of 'train', 'validation', 'test', 'unused'.

    Raises:
      UserError: fractions that do not fit, an unknown name, or a split without both classes.
    """
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(
            "split fractions must be three positive numbers that add up to 1, not "
            f"{tuple(fractions)}"
        )
    if test not in TESTS:
        raise UserError(f"unknown test split {test!r}; there are: {', '.join(TESTS)}")
    chosen = Options(fractions=fractions, seed=seed, **options)
    patients = Patients.of(dataset)
    assigned = lookup("way to split", method, METHODS)(patients, chosen)
    if test == "balanced":
        if method == "file":
            raise UserError(
                "a split from a file is taken as it is: leave --config.dataset.test=balanced out"
            )
        if balance_on is None:
            raise UserError(
                "a balanced test split needs an attribute: give --config.dataset.balance_on=NAME"
            )
        groups = lookup("attribute", balance_on, patients.groups)
        surplus = TRAIN if method == "stratified" else UNUSED
        assigned = _balance(assigned, groups, patients.positive, patients.draw(seed), surplus)
    if dataset.labelled:
        _require_classes(dataset, assigned[patients.code])
    return np.asarray(NAMES)[assigned[patients.code]]


def _stratified(patients: Patients, options: Options) -> Int[np.ndarray, " p"]:
    ordered = np.lexsort(
        (patients.draw(options.seed), *patients.groups.values(), patients.positive)
    )
    in_test = _every(len(ordered), options.fractions[2])
    rest = ordered[~in_test]
    assigned = np.full(len(ordered), TRAIN)
    assigned[ordered[in_test]] = TEST
    assigned[rest[_every(len(rest), _validation_fraction(options))]] = VALIDATION
    return assigned


def _hash(patients: Patients, options: Options) -> Int[np.ndarray, " p"]:
    draw = patients.draw(options.seed)
    _, validation, test = options.fractions
    return np.select([draw < test, draw < test + validation], [TEST, VALIDATION], TRAIN)


def _kfold(patients: Patients, options: Options) -> Int[np.ndarray, " p"]:
    if not (options.folds >= 2 and 0 <= options.fold < options.folds):
        raise UserError(
            f"fold must be one of 0 … {options.folds - 1} and folds at least 2; fold is "
            f"{options.fold}"
        )
    fold = np.floor(patients.draw(options.seed) * options.folds)
    return np.where(fold == options.fold, TEST, _validation_or_train(patients, options))


def _leave_one_out(patients: Patients, options: Options) -> Int[np.ndarray, " p"]:
    if not options.site:
        raise UserError(
            "leaving one site out needs the attribute that tells it: give "
            "--config.dataset.site=NAME"
        )
    codes, names = patients.dataset.groups(options.site)
    lookup(f"group of {options.site} to hold out", options.hold_out, dict.fromkeys(names))
    there = codes == names.index(options.hold_out)
    here, elsewhere, unknown = (
        np.bincount(patients.code[rows], minlength=len(patients.name)) > 0
        for rows in (there, ~there & (codes >= 0), codes < 0)
    )
    assigned = np.where(here, TEST, _validation_or_train(patients, options))
    return np.where((here & elsewhere) | unknown, UNUSED, assigned)


def _file(patients: Patients, options: Options) -> Int[np.ndarray, " p"]:
    path = Path(options.file)
    if not options.file or not path.is_file():
        raise UserError(
            f"the split's file {options.file!r} does not exist; give "
            "--config.dataset.split_file=FILE.csv"
        )
    table = read_table(path, ("patient", "split")).drop_duplicates()
    for value in table["split"].unique():
        lookup(f"split in {path}", value, dict.fromkeys(NAMES))
    if (twice := table["patient"].duplicated()).any():
        raise UserError(f"{path}: patient {table['patient'][twice].iloc[0]!r} is in two splits")
    assigned = dict(zip(table["patient"], table["split"]))
    missing = [name for name in patients.name if name not in assigned]
    if missing:
        raise UserError(
            f"{path} lacks {len(missing)} of {len(patients.name)} patients, as {missing[0]!r}"
        )
    return np.array([NAMES.index(assigned[name]) for name in patients.name])


METHODS: Mapping[str, Callable[[Patients, Options], Int[np.ndarray, " p"]]] = {
    "stratified": _stratified,
    "hash": _hash,
    "kfold": _kfold,
    "leave_one_out": _leave_one_out,
    "file": _file,
}


def export(dataset: Dataset, assigned: np.ndarray, path: str | os.PathLike) -> None:
    """Writes a split as a CSV with the columns patient and split, which the method `file` reads.

    Args:
      dataset: n images.
      assigned: (n,) as `split` gives it.
      path: the file.
    """
    table = pd.DataFrame({"patient": dataset.table["patient"], "split": assigned}).drop_duplicates()
    write_text(path, table.sort_values("patient", kind="stable").to_csv(index=False))


def _validation_fraction(options: Options) -> float:
    """The fraction of validation among those who are not in the test."""
    return options.fractions[1] / (1 - options.fractions[2])


def _validation_or_train(patients: Patients, options: Options) -> Int[np.ndarray, " p"]:
    """Draws by a hash of its own, so that the test does not change who is in validation."""
    return np.where(
        patients.draw(options.seed, "validation") < _validation_fraction(options), VALIDATION, TRAIN
    )


def _every(n: int, fraction: float) -> Bool[np.ndarray, " n"]:
    """Marks a fraction of n positions, evenly spaced."""
    steps = np.floor(np.arange(n + 1) * fraction + 0.5)
    return np.diff(steps) > 0


def _balance(
    assigned: Int[np.ndarray, " p"],
    groups: Int[np.ndarray, " p"],
    positive: Bool[np.ndarray, " p"],
    draw: Float[np.ndarray, " p"],
    surplus: int,
) -> Int[np.ndarray, " p"]:
    """Sends the test patients of unknown group, and those above the smallest group's count in their
    class, away.
    """
    assigned = np.where((assigned == TEST) & (groups < 0), surplus, assigned)
    for stratum in (False, True):
        cells = [
            np.flatnonzero((assigned == TEST) & (groups == g) & (positive == stratum))
            for g in range(groups.max() + 1)
        ]
        keep = min(map(len, cells), default=0)
        for cell in cells:
            assigned[cell[np.argsort(draw[cell], kind="stable")][keep:]] = surplus
    return assigned


def _require_classes(dataset: Dataset, assigned: Int[np.ndarray, " n"]) -> None:
    for code, name in enumerate(SPLITS):
        counts = np.bincount(dataset.labels[assigned == code], minlength=2)
        if counts.min() == 0:
            raise UserError(
                f"{dataset.name}: the {name} split has {counts[0]} negative and {counts[1]} "
                "positive images; it needs both classes: change --config.dataset.fractions or the "
                "dataset"
            )
