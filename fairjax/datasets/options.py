"""The options of a dataset, each in one place: name, default, form and meaning.

`datasets.load` takes them as keywords, `fairjax datasets` as flags, a configuration as keys of its
section `dataset`. A field's meaning is its line under `Attributes:`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from fairjax.utils.errors import UserError, lookup
from fairjax.utils.lists import split_list

Options = TypeVar("Options", bound="CommonOptions")
TRUTH = {"true": True, "1": True, "false": False, "0": False}


@dataclasses.dataclass(frozen=True)
class CommonOptions:
    """Options of every dataset.

    Attributes:
      keep_na: whether those whose value is missing are a group of their own.
    """

    keep_na: bool = False

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, _read(value, kind))
            except (TypeError, ValueError, KeyError):
                raise UserError(f"option {name} of the dataset cannot be {value!r}") from None


@dataclasses.dataclass(frozen=True)
class CatalogOptions(CommonOptions):
    """Options of a dataset in the catalog.

    Attributes:
      positive: values of the label that are positive; () for the catalog's.
      rare: what becomes of rare values of an attribute: `missing`, or `group`, one of their own.
      spacing: (slices, rows, columns) that volumes are resampled to; () leaves them as they are.
    """

    positive: tuple[str, ...] = ()
    rare: str = "missing"
    spacing: tuple[float, ...] = dataclasses.field(default=(), metadata={"unit": "mm"})


@dataclasses.dataclass(frozen=True)
class TableOptions(CommonOptions):
    """Options of a user's own table.

    Attributes:
      table: path of the table, absolute or relative to `root`.
      image: column of the paths of the images.
      label: column of the labels; '' where images are only to be segmented.
      patient: column of the patients; '' where every image is its own.
      positive: values of the label that are positive.
      negative: values of the label that are negative; () for all others.
      missing: values of the attributes that mean "not recorded", besides NA, None, unknown, -, ….
      mask: column of the paths of the masks, relative to `root`; '' where there are none.
      mask_classes: one name, of masks of two values; or values and names as `1=kidney,2=tumor`.
      mask_threshold: cuts soft masks, as 0.5 at half their range; 0: soft masks are refused.
      dimensions: `2D`, or `2.5D` or `3D` where paths are of volumes.
      window: (low, high) of DICOM files and volumes: what becomes black and white.
      axis: along which the slices of volumes are counted: `axial`, `coronal` or `sagittal`.
      spacing: (slices, rows, columns) that volumes are resampled to; () leaves them as they are.
    """

    table: str = ""
    image: str = "image"
    label: str = "label"
    patient: str = ""
    positive: tuple[str, ...] = ("1",)
    negative: tuple[str, ...] = ("0",)
    missing: tuple[str, ...] = ()
    mask: str = ""
    mask_classes: tuple[str, ...] = ("foreground",)
    mask_threshold: float = 0.0
    dimensions: str = "2D"
    window: tuple[float, ...] = ()
    axis: str = "axial"
    spacing: tuple[float, ...] = dataclasses.field(default=(), metadata={"unit": "mm"})


def as_options(cls: type[Options], dataset: str, given: Mapping[str, Any]) -> Options:
    """Returns the options of a dataset from keywords.

    Args:
      cls: their class.
      dataset: name of the dataset, for messages.
      given: option → value; a list may be `a,b`, a tuple or one value.

    Raises:
      UserError: there is no such option, or it cannot have that value.
    """
    known = {field.name: field for field in dataclasses.fields(cls)}
    for name in given:
        lookup(f"option of the dataset {dataset}", name, known)
    return cls(**given)


def as_names(value: Any) -> tuple[str, ...]:
    """Reads `a,b`, `("a", "b")` or one value; None and '' are no names."""
    if value is None or value == "None":
        return ()
    items = split_list(value) if isinstance(value, str) else value
    return tuple(map(str, items if isinstance(items, tuple | list) else (items,)))


def _read(value: Any, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        return tuple(get_args(kind)[0](item) for item in as_names(value))
    if kind is bool:
        return TRUTH[str(value).lower()]
    return kind() if value is None or value == "None" else kind(value)
