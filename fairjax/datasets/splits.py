"""Splits by patient: no patient stands on two sides."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from fairjax.datasets.dataset import SPLITS, Dataset
from fairjax.errors import UserError, lookup

TESTS = ("natural", "balanced")


def split(
    dataset: Dataset,
    fractions: Sequence[float] = (0.6, 0.15, 0.25),
    *,
    seed: int = 0,
    test: str = "natural",
    balance_on: str | None = None,
) -> np.ndarray:
    """Deals patients into train, validation and test.

    Every side gets its share of every stratum, which is the class (has the patient a positive image? where there are
    labels) and the group by each attribute of the dataset. Within a stratum patients are ordered by a hash of (seed, patient), so the split
    depends on neither the order of the table nor the machine.

    Args:
      dataset: n images.
      fractions: shares of patients in train, validation and test.
      seed: another seed, another split.
      test: `natural`, or `balanced`: the test side keeps, for either class, equally many patients of every group of
        `balance_on`; the others go to train, and nobody is left out but of the test side.
      balance_on: the attribute to balance (a patient counts by the first image).

    Returns:
      (n,) array of 'train', 'validation', 'test'.

    Raises:
      UserError: fractions that do not fit, an unknown `test`, or a side without both classes.
    """
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(f"split fractions must be three positive numbers that add up to 1, not {tuple(fractions)}")
    if test not in TESTS:
        raise UserError(f"unknown test split {test!r}; there are: {', '.join(TESTS)}")
    image_patients = dataset.patients()
    first_image = np.unique(image_patients, return_index=True)[1]
    positive = np.zeros(len(first_image), bool)
    if dataset.labelled:
        np.logical_or.at(positive, image_patients, dataset.labels == 1)
    groups = {attribute: dataset.groups(attribute)[0][first_image] for attribute in dataset.attributes}
    draw = np.array([_draw(seed, name) for name in dataset.table["patient"].to_numpy()[first_image]])

    ordered = np.lexsort((draw, *groups.values(), positive))
    in_test = _every(len(ordered), fractions[2])
    rest = ordered[~in_test]
    side = np.zeros(len(ordered), np.int32)
    side[ordered[in_test]] = 2
    side[rest[_every(len(rest), fractions[1] / (1 - fractions[2]))]] = 1
    if test == "balanced":
        if balance_on is None:
            raise UserError("a balanced test split needs an attribute: give --config.dataset.balance_on=NAME")
        side = _balance(side, lookup("attribute", balance_on, groups), positive, draw)
    if dataset.labelled:
        _require_classes(dataset, side[image_patients])
    return np.asarray(SPLITS)[side[image_patients]]


def _every(n: int, share: float) -> np.ndarray:
    """Marks a `share` of n positions, evenly spaced: so that any run of positions has its share, within one."""
    steps = np.floor(np.arange(n + 1) * share + 0.5)
    return np.diff(steps) > 0


def _balance(
    side: Int[np.ndarray, " p"], groups: Int[np.ndarray, " p"], positive: np.ndarray, draw: np.ndarray
) -> np.ndarray:
    """Sends to train the test patients of unknown group, and those above the smallest group's count in their class."""
    side = np.where((side == 2) & (groups < 0), 0, side)
    for stratum in (False, True):
        cells = [np.flatnonzero((side == 2) & (groups == g) & (positive == stratum)) for g in range(groups.max() + 1)]
        keep = min(map(len, cells))
        for cell in cells:
            side[cell[np.argsort(draw[cell], kind="stable")][keep:]] = 0
    return side


def _require_classes(dataset: Dataset, side: np.ndarray) -> None:
    for code, name in enumerate(SPLITS):
        counts = np.bincount(dataset.labels[side == code], minlength=2)
        if counts.min() == 0:
            raise UserError(
                f"{dataset.name}: the {name} split has {counts[0]} negative and {counts[1]} positive images; "
                f"it needs both classes: change --config.dataset.fractions or the dataset"
            )


def _draw(seed: int, patient: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}|{patient}".encode()).digest()[:8], "big")
