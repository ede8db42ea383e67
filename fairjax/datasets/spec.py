"""What a dataset is, as a declaration: where its rows come from, what they mean, and how its pixels
are read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from fairjax.datasets.files import fields_of
from fairjax.datasets.readers.images import ImageFiles, MaskImages
from fairjax.datasets.rules import Label, Rule
from fairjax.datasets.sources import Source

TASKS = ("classification", "segmentation")
DIMENSIONS = ("2D", "2.5D", "3D")


@dataclasses.dataclass(frozen=True)
class MaskFile:
    """One file of an image's true segmentation.

    Attributes:
      files: templates of its path over the table's columns; the first that exists is taken.
      classes: class → the values that mean it in the file; `masks.NONZERO` is every value but 0.
    """

    files: tuple[str, ...]
    classes: Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """One dataset in its published layout.

    Attributes:
      title: its name as published.
      task: what it is made for, of `TASKS`; one for segmentation may have labels too.
      modality: what the images are, in words.
      dimensions: of `DIMENSIONS`: images; volumes of which slices are embedded and their scores
        pooled; volumes.
      source: where the rows come from.
      image: templates of an image's path over the columns; the first that exists is taken. `*` may
        stand for a part.
      pixels: root → reader of the images.
      label: the rule of the positive class; None where there is nothing to classify.
      attributes: name → rule of the groups.
      patient: column of the unit that must be in one split alone; None where each
        image is a unit.
      unit: what that is, in words.
      prompt, classes: zero-shot template and class names (negative, positive).
      masks: the files of an image's true segmentation; an image that lacks one of them has no mask.
      mask_values: root → reader of the values in a mask's file.
      citation, licence: of the data.
      access: where to apply for it.
      tree: what the root folder holds, for people.
      note: what else a user must know.
      compat_grey: mean and standard deviation by which FairMedFM normalises its grey images; None
        where it uses CLIP's.
    """

    title: str
    task: str
    modality: str
    dimensions: str = "2D"
    source: Source
    image: tuple[str, ...]
    pixels: Callable[..., Any] = ImageFiles
    label: Label | None = None
    attributes: Mapping[str, Rule]
    patient: str | None
    unit: str = "patient"
    prompt: str = ""
    classes: tuple[str, str] = ("", "")
    masks: tuple[MaskFile, ...] = ()
    mask_values: Callable[..., Any] = MaskImages
    citation: str
    licence: str
    access: str
    tree: str
    note: str = ""
    compat_grey: tuple[float, float] | None = None

    @property
    def columns(self) -> list[str]:
        """Every column that the spec cannot do without."""
        named = [name for template in self.image for name in fields_of(template)]
        named += [rule.column for rule in self.attributes.values()]
        named += [self.label.column] if self.label else []
        return list(dict.fromkeys(named + ([self.patient] if self.patient else [])))

    @property
    def mask_columns(self) -> list[str]:
        """Columns that only the masks' paths are made of; a table may lack them, and then there are
        no masks.
        """
        named = (
            name for file in self.masks for template in file.files for name in fields_of(template)
        )
        return [name for name in dict.fromkeys(named) if name not in self.columns]

    @property
    def volumetric(self) -> bool:
        """Whether a row is a volume."""
        return self.dimensions != "2D"
