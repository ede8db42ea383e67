"""Reading checkpoints: safetensors, PyTorch files without code, TorchScript archives.

They come from this machine or, as `hf:org/name[@revision]`, from Hugging Face's hub or the cache of
it.
"""

from __future__ import annotations

import argparse
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fairjax.utils.errors import UserError
from fairjax.utils.storage import hash_file, hash_json, read_json

Tensors = dict[str, np.ndarray]

# What a Hugging Face directory may hold, in order of preference.
HF_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
)
HUB = "hf:"

# What training scripts save next to the tensors: plain values that hold no code.
_SCALAR_TYPES = [type(np.dtype(code)) for code in "?bBhHiIlLqQefd"]
_PLAIN: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *_SCALAR_TYPES,
    *(
        (np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar")
        for core in ("core", "_core")
    ),
]


def locate(path: str | os.PathLike, extra_files: Iterable[str] = ()) -> Path:
    """Returns the file to read: `path`, the checkpoint in that folder, or one from the hub.

    From the hub the `extra_files` are fetched too, as far as they are there.
    """
    if str(path).startswith(HUB):
        return _download(str(path), extra_files)
    path = Path(path)
    if path.is_dir():
        for name in HF_FILES:
            if (path / name).is_file():
                return path / name
        raise UserError(
            f"{path} holds none of {', '.join(HF_FILES)}: name the checkpoint file itself"
        )
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    return path


def describe(given: str | os.PathLike, path: Path) -> str:
    """Returns a card's name for the file that `locate` found, without its local folder."""
    return f"{given}/{path.name}" if str(given).startswith(HUB) else path.name


def _download(source: str, extra_files: Iterable[str]) -> Path:
    """Returns the checkpoint of a hub's repository, with its shards and `extra_files`."""
    try:
        from huggingface_hub import errors
        from huggingface_hub.utils import logging
    except ImportError:
        raise UserError(
            f"{source} needs Hugging Face's client: pip install 'fairjax[convert]'"
        ) from None
    repository = _Repository(source)
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # it warns about every attempt to reach the network
    try:
        found = repository.fetch_all(extra_files)
    except (
        errors.HfHubHTTPError,
        errors.HFValidationError,
        errors.OfflineModeIsEnabled,
        OSError,
    ) as error:
        raise UserError(f"{source}: {error}") from None
    finally:
        logging.set_verbosity(verbosity)
    if found:
        return found
    if repository.unreachable:
        raise UserError(
            f"{source} is not in the cache, and the hub cannot be reached: download the "
            "repository where there is a network, and give its directory as the checkpoint"
        )
    raise UserError(
        f"{source} holds none of {', '.join(HF_FILES)}: download its checkpoint, and give the file"
    )


class _Repository:
    """A repository of the hub, fetched file by file into the hub's own cache."""

    def __init__(self, source: str):
        self.name, _, self.revision = source.removeprefix(HUB).partition("@")
        self.unreachable = False  # waiting once for a network that is not there is enough

    def fetch_all(self, extra_files: Iterable[str]) -> Path | None:
        """Fetches the checkpoint, its shards and extra files; None if there is no checkpoint."""
        found = next((path for name in HF_FILES if (path := self.fetch(name))), None)
        if found and found.suffix == ".json":
            for name in sorted(set(_weight_map(found).values())):
                self.fetch(name)  # next to the index; what is lost is named on reading
        for name in extra_files if found else ():
            self.fetch(name)
        return found

    def fetch(self, name: str) -> Path | None:
        """Fetches a file; None if it is not there, or not in the cache without a network."""
        from huggingface_hub import errors, hf_hub_download

        options: dict[str, Any] = {"local_files_only": self.unreachable}
        try:
            return Path(hf_hub_download(self.name, name, revision=self.revision or None, **options))
        except errors.LocalEntryNotFoundError:
            self.unreachable = True
        except errors.EntryNotFoundError:
            pass
        return None


def fingerprint(path: Path) -> str:
    """SHA-256 of the file; of an index, of all hashes of its shards."""
    return (
        hash_json([hash_file(shard) for shard in _shards(path)])
        if path.suffix == ".json"
        else hash_file(path)
    )


def read(path: Path, keys: Iterable[str] = ()) -> Tensors:
    """Reads all tensors of a checkpoint.

    Args:
      path: file that `locate` found.
      keys: keys under which the tensors of a PyTorch file may be, if they are not at its top.

    Raises:
      UserError: the file is truncated, of another format, or holds code in place of tensors.
    """
    tensors: Tensors = {}
    for part in _shards(path) if path.suffix == ".json" else [path]:
        tensors |= _read_file(part, list(keys))
    return tensors


def _shards(index: Path) -> list[Path]:
    shards = [index.parent / name for name in sorted(set(_weight_map(index).values()))]
    if lost := [shard.name for shard in shards if not shard.is_file()]:
        raise UserError(f"{index} names shards that are not there: {', '.join(lost)}")
    return shards


def _weight_map(index: Path) -> dict[str, str]:
    table = read_json(index)
    if not isinstance(table, dict) or not isinstance(table.get("weight_map"), dict):
        raise UserError(f"{index} is no index of a sharded checkpoint: it has no 'weight_map'")
    return table["weight_map"]


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
        raise UserError(
            f"{path} is truncated: it begins as a PyTorch file, but its end is missing; download "
            "it again"
        )
    raise UserError(f"{path} is neither a safetensors nor a PyTorch file")


def _read_safetensors(path: Path) -> Tensors:
    from safetensors import SafetensorError, safe_open

    try:
        with (
            safe_open(path, framework="np") as file,
            safe_open(path, framework="flax") as with_bfloat16,
        ):
            return {
                name: np.asarray(with_bfloat16.get_tensor(name), np.float32)
                if file.get_slice(name).get_dtype() == "BF16"  # which NumPy alone does not know
                else file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118 (it is no dict)
            }
    except (SafetensorError, KeyError, TypeError) as error:
        raise UserError(f"{path} is truncated or damaged ({error}): download it again") from None


def _read_torch(path: Path, keys: list[str]) -> Tensors:
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{path} is a PyTorch file, and PyTorch is not installed: pip install "
            "'fairjax[convert]', or take the model's .safetensors file"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the file's age, which the user cannot change
            if _is_torchscript(path):
                loaded: Any = torch.jit.load(path, map_location="cpu").state_dict()
            else:
                with torch.serialization.safe_globals(_PLAIN):
                    loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f"it calls {found[1]}" if found else "it is no plain dictionary of tensors"
        raise UserError(
            f"{path} is refused: {what}, and to load it could run code; find a .safetensors file"
        ) from None
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
    ) as error:
        raise UserError(
            f"{path} is truncated or no PyTorch checkpoint ({str(error).splitlines()[0]})"
        ) from None
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
    found = (
        ", ".join(map(repr, list(loaded)[:8]))
        if isinstance(loaded, Mapping)
        else type(loaded).__name__
    )
    raise UserError(
        f"{path} holds no dictionary of tensors, neither at its top nor under {keys}: it holds "
        f"{found}"
    )


def _to_numpy(tensor) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
