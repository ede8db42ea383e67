"""True segmentations: from the values in a dataset's files to class codes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Shaped, UInt8

NONZERO: tuple[int, ...] = ()  # as a class's values: every one but 0


@dataclasses.dataclass(frozen=True)
class Masks:
    """Reads the masks of a dataset: `masks(image)` → class codes in the shape of the image's
    pixels.

    Attributes:
      read: path of a mask file → its values.
      files: image → its mask files, in the order of `values`; an image without a mask is not in it.
      values: per file, class → the values that mean it there, or `NONZERO`.
    """

    read: Callable[[str], Shaped[np.ndarray, "*shape"]]
    files: Mapping[str, tuple[str, ...]]
    values: tuple[Mapping[str, tuple[int, ...]], ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes: code k is `classes[k - 1]`."""
        return tuple(name for classes in self.values for name in classes)

    def has(self, image: str) -> bool:
        """Whether an image has a mask."""
        return image in self.files

    def __call__(self, image: str) -> UInt8[np.ndarray, "*shape"]:
        """Codes of the classes, 0 for background; where two files overlap, the later one counts.

        Raises:
          OSError: the image has no mask, or a file cannot be read.
          ValueError: a file holds a value that no class names, or two files differ in shape.
        """
        if not self.has(image):
            raise FileNotFoundError(f"{image} has no mask")
        parts = [self.read(path) for path in self.files[image]]
        if len({part.shape for part in parts}) > 1:
            raise ValueError(
                f"the masks of {image} have shapes {', '.join(str(part.shape) for part in parts)}"
            )
        codes, code = np.zeros(parts[0].shape, np.uint8), 0
        for path, part, classes in zip(self.files[image], parts, self.values, strict=True):
            known = part == 0
            for values in classes.values():
                code += 1
                inside = np.isin(part, values) if values else part != 0
                codes[inside] = code
                known |= inside
            if not known.all():
                raise ValueError(
                    f"mask {path} holds {np.unique(part[~known])[:5].tolist()}, which no class names"
                )
        return codes
