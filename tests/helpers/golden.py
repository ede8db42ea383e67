"""Recordings of the original models (`FAIRJAX_GOLDEN`, ../shared/golden, or the selection in
tests/golden): where they lie.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from fairjax.models.zoo import MODELS, FoundationModel
from helpers import needs

ALL, SELECTED = needs.SHARED / "golden", Path(__file__).parents[1] / "golden"


def root() -> Path:
    """The folder of recordings."""
    if named := os.environ.get("FAIRJAX_GOLDEN"):
        return Path(named)
    return ALL if ALL.is_dir() else SELECTED


@dataclasses.dataclass(frozen=True)
class Recording:
    """One small model, with random weights, and what the original code computes with it."""

    folder: Path

    @property
    def config(self) -> dict:
        return json.loads((self.folder / "config.json").read_text())

    @property
    def row(self) -> FoundationModel:
        return MODELS[self.config["name"]]

    @property
    def weights_file(self) -> Path:
        return self.folder / "weights.safetensors"

    def weights(self) -> dict[str, np.ndarray]:
        return load_file(self.weights_file)

    def tensors(self) -> dict:
        """The weights as a PyTorch checkpoint would hold them."""
        import torch

        return {name: torch.from_numpy(np.array(tensor)) for name, tensor in self.weights().items()}

    def io(self) -> dict[str, np.ndarray]:
        return load_file(self.folder / "io.safetensors")

    def full_spec(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the published file."""
        return {
            name: tuple(s)
            for name, s in json.loads((self.folder / "full_spec.json").read_text()).items()
        }


def recordings() -> list[Recording]:
    """All folders whose model has a row in the zoo, whatever the folders are called."""
    found = [Recording(path.parent) for path in sorted(root().rglob("config.json"))]
    return [recording for recording in found if recording.config.get("name") in MODELS]


def recording_of(name: str) -> Recording:
    """The recording of one model; a test that asks for one that is not here is skipped."""
    found = [recording for recording in recordings() if recording.config["name"] == name]
    return found[0] if found else needs.skip(f"a recording of {name}")


def recordings_of(*families: str) -> list[Recording]:
    """Those of some families."""
    return [recording for recording in recordings() if recording.row.family in families]


@functools.cache
def abstract(family: str, architecture):
    """A module of the zoo with shapes in place of arrays, made once."""
    from fairjax.models.checkpoint import build_abstract

    return build_abstract(family, architecture)


@functools.cache
def target_shapes(family: str, architecture) -> dict[str, tuple[int, ...]]:
    """Shapes of its arrays by name."""
    from fairjax.models.checkpoint import state_dict

    return {name: x.shape for name, x in state_dict(abstract(family, architecture)).items()}


def relative_error(ours, theirs, scale: float = 1.0) -> float:
    """Relative L2 distance; an output near 0 is measured by what it is computed from.

    Args:
      ours: what fairjax computes.
      theirs: what the original computed.
      scale: scale of the activations. An output whose root mean square is below a tenth of it is taken to
        be that large: of two numbers near 0, a relative 1e-5 would be less than float32's rounding,
        and so it is an absolute 1e-6 of the scale.
    """
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape, f"{ours.shape} is not {theirs.shape}"
    size = max(np.linalg.norm(theirs), 0.1 * scale * np.sqrt(theirs.size))
    return float(np.linalg.norm(ours - theirs) / size)
