"""A dataset: one row per image, with its patient, label and groups, and a reader of its pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int, Shaped, UInt8

from fairjax.errors import UserError, lookup

Reader = Callable[[str], "UInt8[np.ndarray, 'h w 3']"]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images of patients, with labels and groups.

    Attributes:
      name: the dataset's name in the catalog.
      table: one row per image; columns `image` (the reader's key), `patient`, `label` (0 or 1), then one categorical
        column per attribute, whose categories are its groups in order and whose missing values are NaN.
      read: `read(image)` gives uint8 RGB pixels (H, W, 3); picklable and free of jax, for worker processes.
      fingerprint: hash of what the pixels depend on; two datasets with equal fingerprints share cached embeddings.
      info: facts for people: modality, label, classes, prompt, citation, licence.
    """

    name: str
    table: pd.DataFrame
    read: Reader
    fingerprint: str
    info: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def attributes(self) -> list[str]:
        """Names of the attributes, in the table's order."""
        return [column for column in self.table.columns if column not in ("image", "patient", "label")]

    @property
    def labels(self) -> Int[np.ndarray, " n"]:
        """Labels (n,), 1 where the finding is present."""
        return self.table["label"].to_numpy(np.int32)

    def groups(self, attribute: str) -> tuple[Int[np.ndarray, " n"], list[str]]:
        """Codes (n,) of the groups of one attribute, −1 where missing, and the groups' names."""
        lookup("attribute", attribute, dict.fromkeys(self.attributes))
        column = self.table[attribute].cat
        return column.codes.to_numpy(np.int32), [str(name) for name in column.categories]

    def patients(self) -> Int[np.ndarray, " n"]:
        """Codes (n,) of the patients, 0 … number of patients − 1, in the order of their first image."""
        return pd.factorize(self.table["patient"])[0].astype(np.int32)

    @property
    def n_patients(self) -> int:
        """Number of patients (units)."""
        return self.table["patient"].nunique()

    def take(self, rows: Bool[np.ndarray, " n"]) -> Dataset:
        """The same dataset with only these rows."""
        return dataclasses.replace(self, table=self.table[rows].reset_index(drop=True))

    def cohort(self, split: np.ndarray) -> pd.DataFrame:
        """Counts images and patients per attribute, group (`missing` too), split and label, zeros included."""
        groups = {attribute: self.groups(attribute) for attribute in self.attributes}
        return cohort(groups, self.labels, self.table["patient"], pd.Categorical(split, SPLITS))


def cohort(
    groups: Mapping[str, tuple[Int[np.ndarray, " n"], Sequence[str]]],
    labels: Int[np.ndarray, " n"],
    patients: Shaped[np.ndarray, " n"] | pd.Series,
    split: pd.Categorical,
) -> pd.DataFrame:
    """Counts images and patients per attribute, group (`missing` too), split and label, zeros included.

    Args:
      groups: attribute → (codes (n,), names), -1 where missing.
      labels: (n,) in {0, 1}.
      patients: (n,) who each image is of.
      split: (n,) the side of each image.
    """
    frames = []
    sample = pd.DataFrame({"patient": np.asarray(patients), "split": split, "label": pd.Categorical(labels, [0, 1])})
    for attribute, (codes, names) in groups.items():
        group = pd.Categorical.from_codes(np.where(codes < 0, len(names), codes), [*names, MISSING])
        frame = sample.assign(attribute=attribute, group=group)
        counts = frame.groupby(["attribute", "group", "split", "label"], observed=False)["patient"]
        counts = counts.agg(n_images="size", n_patients="nunique").reset_index()
        frames.append(counts.astype({"group": str, "split": str, "label": int}))
    return pd.concat(frames, ignore_index=True)


SPLITS = ["train", "validation", "test"]
MISSING = "missing"  # the name of those whose group is not known


def require_both_classes(dataset: Dataset, attributes: list[str]) -> None:
    """Refuses a dataset in which a group has one class only: no split of it can be evaluated.

    Raises:
      UserError: names the attribute, the group and its counts.
    """
    labels = dataset.labels
    for attribute in attributes:
        codes, names = dataset.groups(attribute)
        for code, name in enumerate(names):
            counts = np.bincount(labels[codes == code], minlength=2)
            if counts.min() == 0 and counts.sum() > 0:
                raise UserError(
                    f"{dataset.name}: group {name!r} of attribute {attribute!r} has one class only "
                    f"({counts[0]} negative, {counts[1]} positive images); merge it with another, move the cut points, "
                    f"leave the attribute out of --config.attributes, or set --config.evaluation.one_class=report"
                )
