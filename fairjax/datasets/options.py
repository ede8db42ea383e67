"""The options of a dataset, each in one place: its name, default, form and meaning.

`datasets.load` takes them as keywords, `python -m fairjax.datasets` as flags, and a configuration
as the keys of its section `dataset`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fairjax.datasets.bins import Cuts, parse_bins
from fairjax.utils.errors import UserError, lookup


def names(value: Any) -> tuple[str, ...]:
    """Reads `a,b`, `("a", "b")` or one value as names; '' and () are none."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",")) if value.strip() else ()
    if isinstance(value, Mapping) or not hasattr(value, "__iter__"):
        return (str(value),)
    return tuple(map(str, value))


def names_or_rest(value: Any) -> tuple[str, ...] | None:
    """Reads names; None, also as text, is all that have no other."""
    return None if value is None or value == "None" else names(value)


def numbers(value: Any) -> tuple[float, ...]:
    """Reads `1,2.5`, `(1, 2.5)` or one number."""
    return tuple(map(float, names(value)))


def number_or_none(value: Any) -> float | None:
    """Reads a number; None, also as text, or '' is none."""
    return None if value in (None, "", "None") else float(value)


def text(value: Any) -> str:
    """Reads a text; None, also as text, is ''."""
    return "" if value is None or value == "None" else str(value)


def boolean(value: Any) -> bool:
    """Reads True or False, also as text."""
    if str(value).lower() in ("true", "1", "yes", ""):
        return True
    if str(value).lower() in ("false", "0", "no", "none"):
        return False
    raise ValueError(value)


def option(default: Any, read: Callable[[Any], Any], help: str) -> Any:
    """Declares a field: what it is by default, how it is read, and what it means."""
    return dataclasses.field(default=default, metadata={"read": read, "help": help})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What every dataset takes."""

    bins: Mapping[str, Cuts] = dataclasses.field(
        default_factory=dict,
        metadata={
            "read": parse_bins,
            "help": "groups of continuous attributes: age=40,60 (cut points: 40 is in the group "
            "above it), age=q4 (quartiles), age=each; ';' between attributes",
        },
    )
    keep_na: bool = option(
        False, boolean, "whether those whose value is missing are a group of their own"
    )

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            try:
                read = field.metadata["read"](value)
            except (TypeError, ValueError):
                raise UserError(
                    f"option {field.name}={value!r} cannot be read: {field.metadata['help']}"
                ) from None
            object.__setattr__(self, field.name, read)

    @classmethod
    def of(cls, dataset: str, given: Mapping[str, Any]) -> Any:
        """Returns the options of a dataset from keywords.

        Args:
          dataset: its name, for messages.
          given: option → value.

        Raises:
          UserError: there is no such option, or it cannot have that value.
        """
        known = {field.name: field for field in dataclasses.fields(cls)}
        for name in given:
            lookup(f"option of the dataset {dataset}", name, known)
        return cls(**given)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpecOptions(Options):
    """What a dataset of the catalog takes."""

    positive: tuple[str, ...] = option(
        (), names, "values of the label that are positive, instead of the published ones"
    )
    rare: str = option(
        "missing", text, "what becomes of rare values of an attribute: missing, or group"
    )
    spacing: tuple[float, ...] = option(
        (), numbers, "slices, rows, columns in mm that volumes are resampled to"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableOptions(Options):
    """What a user's own table takes."""

    table: str = option("", text, "path of the table, absolute or relative to the root")
    image: str = option("image", text, "column of the image paths, relative to the root")
    label: str = option(
        "label", text, "column of the labels; '' where there is nothing to classify"
    )
    patient: str = option("", text, "column of the patients; '' where every image is its own unit")
    attributes: tuple[str, ...] = option(
        (), names, "columns of the attributes; by default all that can be groups"
    )
    positive: tuple[str, ...] = option(("1",), names, "values of the label that are positive")
    negative: tuple[str, ...] | None = option(
        ("0",), names_or_rest, "values of the label that are negative; None: all others"
    )
    missing: tuple[str, ...] = option(
        (), names, "values of attributes that mean 'not recorded', besides NA, None, unknown, -, …"
    )
    mask: str = option(
        "",
        text,
        "column of the paths of the masks, relative to the root, blank where there is none",
    )
    mask_classes: tuple[str, ...] = option(
        ("foreground",),
        names,
        "one name, of masks of two values; or values and names, as 1=kidney,2=tumor,3=tumor",
    )
    mask_threshold: float | None = option(
        None, number_or_none, "cuts soft masks (probabilities, 0 to 255), as 0.5 at half the range"
    )
    dimensions: str = option(
        "2D", text, "2D for images; 2.5D or 3D where a path is that of a volume"
    )
    window: tuple[float, ...] = option(
        (), numbers, "low,high of DICOM files and volumes, what becomes black and white"
    )
    axis: str = option(
        "axial", text, "along which slices of volumes are counted: axial, coronal or sagittal"
    )
    spacing: tuple[float, ...] = option(
        (), numbers, "slices, rows, columns in mm that volumes are resampled to"
    )


def every_option() -> Iterator[dataclasses.Field]:
    """Yields each option once, for flags: those of tables first."""
    seen: set[str] = set()
    for kind in (TableOptions, SpecOptions):
        for field in dataclasses.fields(kind):
            if field.name not in seen:
                seen.add(field.name)
                yield field
