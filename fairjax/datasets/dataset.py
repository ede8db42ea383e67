"""A dataset: one row per image, with its patient, label and groups, and a reader of its pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int, Shaped, UInt8

from fairjax.datasets.files import FRAGMENT
from fairjax.datasets.masks import Masks
from fairjax.datasets.readers.volume_files import SliceMasks, VolumeImages
from fairjax.datasets.volumes import Volume, select
from fairjax.utils.errors import UserError, lookup
from fairjax.utils.storage import hash_json

# image → uint8 (h, w, 3); of volumes `fairjax.datasets.readers.volume_files`
Reader = Callable[[str], Any]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images of patients, with labels and groups.

    Attributes:
      name: the dataset's name in the catalog.
      table: one row per image (or volume); columns `image` (the reader's key), `patient`, `label`
        (0 or 1; none in a dataset for segmentation), of slices also `volume`, then one categorical
        column per attribute, whose categories are its groups in order and whose missing values are
        NaN.
      read: `read(image)` gives uint8 RGB pixels (H, W, 3); picklable and free of jax, for worker
        processes.
      fingerprint: hash of what the pixels depend on; two datasets with equal fingerprints share
        cached embeddings.
      info: facts for people: modality, label, classes, prompt, citation, licence.
      masks: reads true segmentations, where the dataset has any (see `read_mask`); picklable and
        free of jax.
    """

    name: str
    table: pd.DataFrame
    read: Reader
    fingerprint: str
    info: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    masks: Masks | None = None

    def __len__(self) -> int:
        return len(self.table)

    @property
    def attributes(self) -> list[str]:
        """Names of the attributes, in the table's order."""
        return [column for column in self.table.columns if column not in KEYS]

    @property
    def labels(self) -> Int[np.ndarray, " n"]:
        """Labels (n,), 1 where the finding is present.

        Raises:
          UserError: the dataset has none: it is made for segmentation.
        """
        if not self.labelled:
            raise UserError(
                f"{self.name} has no label to classify by: it is a dataset for segmentation"
            )
        return self.table["label"].to_numpy(np.int32)

    @property
    def labelled(self) -> bool:
        """Whether there is a label to classify by."""
        return "label" in self.table

    @property
    def mask_classes(self) -> tuple[str, ...]:
        """Names of the classes of the masks: code k of a mask is `mask_classes[k - 1]`.

        Raises:
          UserError: the dataset has no masks.
        """
        return self._masks().classes

    @property
    def has_mask(self) -> Bool[np.ndarray, " n"]:
        """Which images (n,) have a true segmentation; none where the dataset has no masks."""
        has = self.masks.has if self.masks else lambda image: False
        return np.fromiter(map(has, self.table["image"]), bool, len(self))

    def read_mask(self, image: str) -> UInt8[np.ndarray, "*shape"]:
        """The true segmentation of one image.

        Args:
          image: a key of the table.

        Returns:
          Class codes in the shape of the image's pixels, (H, W), or of the volume, (D, H, W); 0 is
          background, k is `mask_classes[k - 1]`.

        Raises:
          UserError: the dataset has no masks.
          OSError, ValueError: this image has none, or it cannot be read.
        """
        return self._masks()(image)

    def pixel_spacing(self, image: str) -> tuple[float, float] | None:
        """Edges of an image's pixels along its rows' and columns' axes (y, x) in mm, from the
        file's header.

        None where the file does not tell them, as a photograph does not.
        """
        known = getattr(self.read, "pixel_spacing", None)
        return known(image) if known else None

    @property
    def volumetric(self) -> bool:
        """Whether a row is a volume: `read_volume` reads it, and `slices` makes images of it."""
        return isinstance(self.read, VolumeImages) and "volume" not in self.table

    def read_volume(self, image: str) -> Volume:
        """One volume: voxels (D, H, W) float32 in RAS orientation, and their spacing in mm.

        Raises:
          UserError: the dataset is of images.
          OSError, ValueError: it cannot be read.
        """
        return self._volumes().volume(image)

    def slices(self, count: int = 0, middle: float = 1.0) -> Dataset:
        """The slices of the volumes as images: a row each, with a column `volume`, whatever a
        volume's patient, label and groups are; masks are those of the slices.

        Args:
          count: slices of each volume, evenly spaced; 0 takes all.
          middle: share of the depth to take them from, about its middle.

        Raises:
          UserError: the dataset is of images.
        """
        reader = self._volumes()
        with ThreadPoolExecutor() as pool:
            depths = list(pool.map(self._depth, self.table["image"]))
        chosen = [select(depth, count, middle) for depth in depths]
        table = self.table.loc[np.repeat(np.arange(len(self)), list(map(len, chosen)))].reset_index(
            drop=True
        )
        table.insert(1, "volume", table["image"])
        table["image"] = table["image"] + FRAGMENT + pd.Series(np.concatenate(chosen)).astype(str)
        key = hash_json([self.fingerprint, table["image"].tolist()])
        masks = SliceMasks(**vars(self.masks), axis=reader.axis) if self.masks else None
        return dataclasses.replace(self, table=table, fingerprint=key, masks=masks)

    def _depth(self, image: str) -> int:
        """Number of slices; 1 of a volume that cannot be read, so that it is found to be
        unreadable, and counted.
        """
        try:
            return self._volumes().depth(image)
        except (OSError, ValueError):
            return 1

    def _volumes(self) -> VolumeImages:
        if not isinstance(self.read, VolumeImages):
            raise UserError(f"{self.name} holds images, no volumes that have slices")
        return self.read

    def volumes(self) -> Int[np.ndarray, " n"]:
        """Codes (n,) of the volume that each slice is of, in the order of their first slice; of
        images, their rows.
        """
        if "volume" not in self.table:
            return np.arange(len(self), dtype=np.int32)
        return pd.factorize(self.table["volume"])[0].astype(np.int32)

    def by_volume(self) -> Dataset:
        """One row per volume, in the order of `volumes`: that of the first of its slices."""
        return self.take(np.diff(self.volumes(), prepend=-1) > 0)

    def _masks(self) -> Masks:
        if self.masks is None:
            raise UserError(
                f"{self.name} has no masks to segment by: it is a dataset for classification"
            )
        return self.masks

    def groups(self, attribute: str) -> tuple[Int[np.ndarray, " n"], list[str]]:
        """Codes (n,) of the groups of one attribute, −1 where missing, and the groups' names."""
        lookup("attribute", attribute, dict.fromkeys(self.attributes))
        column = self.table[attribute].cat
        return column.codes.to_numpy(np.int32), [str(name) for name in column.categories]

    def patients(self) -> Int[np.ndarray, " n"]:
        """Codes (n,) of the patients, 0 … number of patients − 1, in the order of their first
        image.
        """
        return pd.factorize(self.table["patient"])[0].astype(np.int32)

    @property
    def n_patients(self) -> int:
        """Number of patients (units)."""
        return self.table["patient"].nunique()

    def take(self, rows: Bool[np.ndarray, " n"]) -> Dataset:
        """The same dataset with only these rows."""
        return dataclasses.replace(self, table=self.table[rows].reset_index(drop=True))

    def cohort(self, split: np.ndarray) -> pd.DataFrame:
        """Counts images and patients per attribute, group (`missing` too), split and label (if
        any), zeros included.

        Of slices it counts the volumes. Rows that are `unused` do not count.
        """
        if "volume" in self.table:
            first = np.diff(self.volumes(), prepend=-1) > 0
            return self.by_volume()._counts(split[first])
        return self._counts(split)

    def _counts(self, split: np.ndarray) -> pd.DataFrame:
        groups = {attribute: self.groups(attribute) for attribute in self.attributes}
        labels = self.labels if self.labelled else np.zeros(len(self), np.int32)
        counts = cohort(groups, labels, self.table["patient"], pd.Categorical(split, SPLITS))
        return (
            counts
            if self.labelled
            else counts[counts["label"] == 0].drop(columns="label").reset_index(drop=True)
        )


def cohort(
    groups: Mapping[str, tuple[Int[np.ndarray, " n"], Sequence[str]]],
    labels: Int[np.ndarray, " n"],
    patients: Shaped[np.ndarray, " n"] | pd.Series,
    split: pd.Categorical,
) -> pd.DataFrame:
    """Counts images and patients per attribute, group (`missing` too), split and label, zeros
    included.

    Args:
      groups: attribute → (codes (n,), names), -1 where missing.
      labels: (n,) in {0, 1}.
      patients: (n,) who each image is of.
      split: (n,) the split of each image.
    """
    if not groups:  # of those who have no attribute, the counts of all
        groups = {ALL: (np.zeros(len(labels), np.int32), [ALL])}
    frames = []
    sample = pd.DataFrame(
        {"patient": np.asarray(patients), "split": split, "label": pd.Categorical(labels, [0, 1])}
    )
    for attribute, (codes, names) in groups.items():
        group = pd.Categorical.from_codes(np.where(codes < 0, len(names), codes), [*names, MISSING])
        frame = sample.assign(attribute=attribute, group=group)
        counts = frame.groupby(["attribute", "group", "split", "label"], observed=False)["patient"]
        counts = counts.agg(n_images="size", n_patients="nunique").reset_index()
        frames.append(counts.astype({"group": str, "split": str, "label": int}))
    return pd.concat(frames, ignore_index=True)


KEYS = ("image", "volume", "patient", "label")  # columns of the table that are no attributes
SPLITS = ["train", "validation", "test"]
MISSING = "missing"  # the name of those whose group is not known
ALL = "all"  # attribute and group of all patients, where there is no other


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
                    f"({counts[0]} negative, {counts[1]} positive images); merge it with another, "
                    "move the cut points, "
                    "leave the attribute out of --config.attributes, or set "
                    "--config.evaluation.one_class=report"
                )
