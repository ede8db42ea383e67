"""Reading checkpoints: safetensors (single or sharded), PyTorch files without code in them, TorchScript archives."""

from __future__ import annotations

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fairjax.errors import UserError
from fairjax.io import hash_file, hash_json, read_json

Tensors = dict[str, np.ndarray]

# What a Hugging Face directory may hold, in order of preference.
HF_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def locate(path: str | os.PathLike) -> Path:
    """The file to read: `path`, or the checkpoint inside the directory `path`."""
    path = Path(path)
    if path.is_dir():
        for name in HF_FILES:
            if (path / name).is_file():
                return path / name
        raise UserError(f"{path} holds none of {', '.join(HF_FILES)}: name the checkpoint file itself")
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    return path


def fingerprint(path: Path) -> str:
    """SHA-256 of the file; of an index, of all hashes of its shards."""
    return hash_json([hash_file(shard) for shard in _shards(path)]) if path.suffix == ".json" else hash_file(path)


def read(path: Path, keys: Iterable[str] = ()) -> Tensors:
    """Reads all tensors of a checkpoint.

    Args:
      path: from `locate`.
      keys: where a PyTorch file's tensors may lie, if they are not at its top.

    Raises:
      UserError: for a file that is truncated, of another format, or holds code in place of tensors.
    """
    tensors: Tensors = {}
    for part in _shards(path) if path.suffix == ".json" else [path]:
        tensors |= _read_file(part, list(keys))
    return tensors


def _shards(index: Path) -> list[Path]:
    table = read_json(index)
    if not isinstance(table, dict) or not isinstance(table.get("weight_map"), dict):
        raise UserError(f"{index} is no index of a sharded checkpoint: it has no 'weight_map'")
    shards = [index.parent / name for name in sorted(set(table["weight_map"].values()))]
    if lost := [shard.name for shard in shards if not shard.is_file()]:
        raise UserError(f"{index} names shards that are not there: {', '.join(lost)}")
    return shards


def _read_file(path: Path, keys: list[str]) -> Tensors:
    with open(path, "rb") as file:
        head = file.read(9)
    if zipfile.is_zipfile(path):
        return _read_torch(path, keys)
    if len(head) == 9 and head[8:] == b"{":
        return _read_safetensors(path)
    if head[:1] == b"\x80":
        return _read_torch(path, keys)
    if head[:2] == b"PK":
        raise UserError(f"{path} is truncated: it begins as a PyTorch file, but its end is missing; download it again")
    raise UserError(f"{path} is neither a safetensors nor a PyTorch file")


def _read_safetensors(path: Path) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, KeyError, TypeError) as error:
        raise UserError(f"{path} is truncated or damaged ({error}): download it again") from None


def _read_torch(path: Path, keys: list[str]) -> Tensors:
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{path} is a PyTorch file, and PyTorch is not installed: pip install 'fairjax[convert]', "
            "or take the model's .safetensors file"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the file's age, which the user cannot change
            if _is_torchscript(path):
                loaded: Any = torch.jit.load(path, map_location="cpu").state_dict()
            else:
                loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f"it calls {found[1]}" if found else "it is no plain dictionary of tensors"
        raise UserError(f"{path} is refused: {what}, and to load it could run code; find a .safetensors file") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise UserError(f"{path} is truncated or no PyTorch checkpoint ({str(error).splitlines()[0]})") from None
    state = _unwrap(path, loaded, keys)
    return {name: _to_numpy(tensor) for name, tensor in state.items()}


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.split("/")[-1] == "constants.pkl" for name in archive.namelist())


def _unwrap(path: Path, loaded: Any, keys: list[str]) -> Mapping[str, Any]:
    """The dictionary of tensors: `loaded` itself, or what it holds under one of `keys`."""
    import torch

    for candidate in (loaded, *(loaded.get(key) for key in keys if isinstance(loaded, Mapping))):
        if (
            isinstance(candidate, Mapping)
            and candidate
            and all(isinstance(value, torch.Tensor) for value in candidate.values())
        ):
            return candidate
    found = ", ".join(map(repr, list(loaded)[:8])) if isinstance(loaded, Mapping) else type(loaded).__name__
    raise UserError(f"{path} holds no dictionary of tensors, neither at its top nor under {keys}: it holds {found}")


def _to_numpy(tensor) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
