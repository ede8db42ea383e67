"""Models that are functions: registered by a user, without a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flax import nnx
from jaxtyping import Array, Float

REGISTERED = "<registered>"  # in place of the folder of a model's directory
FAMILY = "function"
ImageFunction = Callable[[Float[Array, "b h w 3"]], Float[Array, "b d"]]


class FunctionModel(nnx.Module):
    """A function of preprocessed images as a model: what it gives is embedded and probed."""

    def __init__(self, function: ImageFunction):
        self.function = function

    def encode_image(self, images: Float[Array, "b h w 3"]) -> Float[Array, "b d"]:
        """Applies the function."""
        return self.function(images)

    def probe_features(self, images: Float[Array, "b h w 3"]) -> Float[Array, "b d"]:
        """Applies the function."""
        return self.function(images)


FUNCTIONS: dict[str, tuple[FunctionModel, dict[str, Any]]] = {}  # name → module and its card


def directory_of(name: str) -> Path:
    """Returns the path in place of the directory of a registered function."""
    return Path(REGISTERED, name)


def registered(directory: Path) -> tuple[FunctionModel, dict[str, Any]] | None:
    """The module and card of what `directory_of` gave; None of any other directory."""
    return FUNCTIONS.get(directory.name) if directory.parent == Path(REGISTERED) else None
