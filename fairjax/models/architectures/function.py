"""The sizes of a model that is a user's function."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class FunctionConfig:
    """The sizes of a function's input and output, in place of an architecture.

    Attributes:
      image_size: pixels per side of the images that it takes.
      probe_width: numbers per image that it gives.
    """

    image_size: int
    probe_width: int
