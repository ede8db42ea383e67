"""Model directories: `card.json` (the model), `weights/` (arrays, by Orbax), `tokenizer/`.

Arrays are named by their path in the module, joined by dots:
`vision.encoder.blocks.0.attn.qkv.kernel`.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import flax
import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx
from jax.sharding import Sharding

import fairjax
from fairjax.models import functions
from fairjax.models.architectures import Architecture, from_dict, override
from fairjax.models.preprocess import Preprocess
from fairjax.models.stack import EVERY, layer_names, stacked, unrolled
from fairjax.models.zoo import FAMILIES, MODELS
from fairjax.utils import plugins
from fairjax.utils.errors import UserError, lookup
from fairjax.utils.storage import hash_arrays, hash_file, read_json, write_json

FORMAT = 1
# Fields of an architecture that leave the weights and the results as they are.
HOW_COMPUTED = ("scan", "remat")
Card = dict[str, Any]


def build(name: str, *, dtype=None, rngs: nnx.Rngs | None = None, **changes) -> nnx.Module:
    """Builds a model of the zoo with fresh weights.

    Args:
      name: name of the zoo's row.
      dtype: data type of the computation, float32 (default) or bfloat16; parameters are float32.
      rngs: random keys of the initial weights; `nnx.Rngs(0)` by default.
      **changes: fields of the architecture that differ from the row's; nested ones as
        `**{"vision.depth": 2}`.

    Raises:
      UserError: unknown name or field.
    """
    row = lookup("model", name, MODELS)
    return _construct(row.family, override(row.architecture, changes), dtype, rngs)


def build_abstract(family: str, architecture: Architecture, dtype=None) -> nnx.Module:
    """The same module with shapes in place of arrays: nothing is computed or allocated."""
    return nnx.eval_shape(lambda: _construct(family, architecture, dtype, _SameKey()))


class _SameKey(nnx.Rngs):
    """Stands in for `nnx.Rngs` where only shapes matter.

    Under eval_shape, the counters of `nnx.Rngs` cost seconds for a deep tower.
    """

    def __init__(self):
        pass

    def params(self) -> jax.Array:
        """Returns always the same key."""
        return jax.random.key(0)


def family_class(family: str) -> Any:
    """Returns the class of a family: a key of `FAMILIES`, or "module:Class" itself."""
    path = family if ":" in family else lookup("model family", family, FAMILIES)
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def _construct(family: str, architecture: Architecture, dtype, rngs: nnx.Rngs | None) -> nnx.Module:
    rngs = nnx.Rngs(0) if rngs is None else rngs
    return family_class(family)(architecture, dtype=dtype, rngs=rngs)


def state_dict(module: nnx.Module) -> dict[str, Any]:
    """Returns the arrays (or shapes) of a module by dotted name, one per layer of a stack."""
    arrays: dict[str, Any] = {}
    for path, leaf in nnx.to_flat_state(nnx.state(module)):
        x = leaf.get_value()
        names = layer_names(path, x.shape)
        if EVERY not in path:
            arrays[names[0]] = x
        elif isinstance(x, jax.ShapeDtypeStruct):
            arrays |= dict.fromkeys(names, jax.ShapeDtypeStruct(x.shape[1:], x.dtype))
        else:
            arrays |= zip(names, x, strict=True)
    return arrays


def with_arrays(module: nnx.Module, arrays: Mapping[str, Any]) -> nnx.Module:
    """Returns `module`, which may be abstract, with `arrays` named as in `state_dict`."""
    return _filled(module, arrays.__getitem__)


def _filled(module: nnx.Module, take: Callable[[str], Any]) -> nnx.Module:
    graph, state = nnx.split(module)
    flat = []
    for path, leaf in nnx.to_flat_state(state):
        layers = [take(name) for name in layer_names(path, leaf.get_value().shape)]
        flat.append((path, leaf.replace(stacked(layers) if EVERY in path else layers[0])))
    return nnx.merge(graph, nnx.from_flat_state(flat))


def make_card(
    name: str,
    architecture: Architecture | None = None,
    *,
    preprocess: Preprocess | None = None,
    source: Mapping[str, str] | None = None,
) -> Card:
    """The card of a model of the zoo; `save` adds the hash of the weights.

    Args:
      name: name of the zoo's row.
      architecture: architecture, if it differs from the row's.
      preprocess: preprocessing, if it differs from the row's.
      source: origin of the weights: file, sha256, layout.
    """
    row = lookup("model", name, MODELS)
    architecture = row.architecture if architecture is None else architecture
    return {
        "format": FORMAT,
        "model": name,
        "family": row.family,
        "architecture": _without_how(dataclasses.asdict(cast(Any, architecture))),
        "preprocess": dataclasses.asdict(preprocess or row.preprocess_for(architecture)),
        "probe_feature": row.probe_feature,
        "probe_width": architecture.probe_width,
        "source": dict(source or {}),
        "versions": {
            "fairjax": fairjax.__version__,
            "jax": jax.__version__,
            "flax": flax.__version__,
        },
    }


def _without_how(fields: dict[str, Any]) -> dict[str, Any]:
    """An architecture's fields, nested ones too, but for those that only say how it is computed."""
    return {
        name: _without_how(value) if isinstance(value, dict) else value
        for name, value in fields.items()
        if name not in HOW_COMPUTED
    }


def save(
    model_dir: str | os.PathLike,
    module: nnx.Module | Mapping[str, Any],
    card: Card,
    tokenizer: Sequence[Path] = (),
) -> Card:
    """Writes a model directory, whole or not at all.

    Args:
      model_dir: folder to be made; an earlier model there is replaced, anything else is refused.
      module: module, or its arrays by dotted names.
      card: card of `make_card`.
      tokenizer: files of its tokenizer, which are copied into `tokenizer/`.

    Returns:
      The card as written, with `weights_sha256` and the hashes of the tokenizer's files.
    """
    model_dir = Path(model_dir)
    if model_dir.exists() and not _replaceable(model_dir):
        raise UserError(
            f"{model_dir} exists and is not a model directory: choose another --out, or delete it"
        )
    arrays = {
        name: np.asarray(x)
        for name, x in (module if isinstance(module, Mapping) else state_dict(module)).items()
    }
    card = card | {"weights_sha256": hash_arrays(arrays)}
    if tokenizer:
        card["tokenizer"] = {path.name: hash_file(path) for path in tokenizer}
    model_dir.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(
        tempfile.mkdtemp(dir=model_dir.parent, prefix=f".{model_dir.name}.", suffix=".tmp")
    )
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save((staging / "new" / "weights").absolute(), arrays)
        # It holds an absolute path, and nothing else.
        (staging / "new" / "weights" / "commit_success.txt").unlink(missing_ok=True)
        if tokenizer:
            (staging / "new" / "tokenizer").mkdir()
            for path in tokenizer:
                shutil.copyfile(path, staging / "new" / "tokenizer" / path.name)
        write_json(staging / "new" / "files.json", _file_sizes(staging / "new"))
        write_json(staging / "new" / "card.json", card)
        if model_dir.exists():
            model_dir.rename(staging / "old")
        (staging / "new").rename(model_dir)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return card


def _replaceable(model_dir: Path) -> bool:
    return model_dir.is_dir() and (
        (model_dir / "card.json").is_file() or not any(model_dir.iterdir())
    )


def _file_sizes(model_dir: Path) -> dict[str, int]:
    weights = sorted(path for path in (model_dir / "weights").rglob("*") if path.is_file())
    return {path.relative_to(model_dir).as_posix(): path.stat().st_size for path in weights}


def load_card(model_dir: str | os.PathLike) -> Card:
    """Reads the card of a model directory.

    Raises:
      UserError: it is not one, or was written by a later version.
    """
    if function := functions.registered(Path(model_dir)):
        return function[1]
    path = Path(model_dir) / "card.json"
    if not path.is_file():
        raise UserError(
            f"{model_dir} holds no converted model (no card.json); make one by "
            "`python -m converters --model=NAME --checkpoint=FILE --out=DIR`"
        )
    card = read_json(path)
    if not isinstance(card, dict) or card.get("format") != FORMAT or "family" not in card:
        raise UserError(
            f"{path} is no model card of this version of fairjax; convert the checkpoint again"
        )
    return card


def load_preprocess(card: Card) -> Preprocess:
    """The preprocessing that a card names."""
    return from_dict(Preprocess, card["preprocess"], "preprocess")


def load(
    model_dir: str | os.PathLike,
    dtype=None,
    *,
    sharding: Sharding | Callable[[str, tuple[int, ...]], Sharding] | None = None,
    **changes,
) -> nnx.Module:
    """Loads a model directory, straight to its devices, without initialising weights first.

    Args:
      model_dir: folder as written by the converters or by `save`.
      dtype: data type of the computation, float32 (default) or bfloat16; parameters are float32.
      sharding: sharding of every array, or a function of an array's dotted name and shape (in a
        stack, of one layer); by default all go to the first local device.
      **changes: fields of the architecture that say how it is computed, such as `remat=True`;
        nested ones as `**{"vision.remat": True}`.

    Raises:
      UserError: the folder is missing, incomplete, damaged, or of another version.
    """
    model_dir = Path(model_dir)
    if function := functions.registered(model_dir):
        return function[0]
    card = load_card(model_dir)
    row = lookup("model", card["model"], MODELS)
    if card["family"] != row.family:
        raise UserError(
            f"{model_dir} holds a model of family {card['family']}, but {row.name} is of family "
            f"{row.family}: convert the checkpoint again"
        )
    if other := [name for name in changes if name.split(".")[-1] not in HOW_COMPUTED]:
        raise UserError(
            f"a converted model's {', '.join(other)} cannot be changed, "
            f"only {', '.join(HOW_COMPUTED)}"
        )
    architecture = override(from_dict(type(row.architecture), card["architecture"]), changes)
    module = build_abstract(row.family, architecture, dtype)
    sharding = sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    sharding_of = sharding if callable(sharding) else lambda name, shape: sharding
    wanted = {
        name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding_of(name, x.shape))
        for name, x in state_dict(module).items()
    }
    arrays = _restore(model_dir, wanted, card["weights_sha256"])
    return _filled(module, arrays.pop)  # a stack's layers are freed as it is made


def _restore(
    model_dir: Path, wanted: Mapping[str, jax.ShapeDtypeStruct], sha256: str
) -> dict[str, jax.Array]:
    """Reads the arrays of a model directory; a `UserError` if they are not what was written."""
    damaged = UserError(
        f"the weights in {model_dir} are incomplete or damaged: convert the checkpoint again"
    )
    # Orbax reports a truncated file by tracebacks from its threads, and a lost one by an obscure
    # sentence: look first.
    sizes = model_dir / "files.json"
    if not sizes.is_file() or _file_sizes(model_dir) != read_json(sizes):
        raise damaged
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            arrays = checkpointer.restore((model_dir / "weights").absolute(), wanted)
    except (ValueError, KeyError, OSError):
        raise damaged from None
    if not all(x.is_fully_addressable for x in arrays.values()):
        return arrays  # on several hosts, each sees only a part
    if hash_arrays({name: np.asarray(x) for name, x in arrays.items()}) != sha256:
        raise damaged
    return arrays


def bundled(name: str) -> Path:
    """The directory of a model whose weights ship with the package, or that is registered."""
    plugins.load()
    if name in functions.FUNCTIONS:
        return functions.directory_of(name)
    path = Path(str(files("fairjax.models"))) / "weights" / name
    if not path.is_dir():
        raise UserError(
            f"no weights of {name!r} ship with fairjax: convert a checkpoint of it "
            f"(python -m converters)"
        )
    return path


def intermediates(method, *args) -> dict[str, Any]:
    """Calls a method, and returns what every method of every submodule returned.

    Args:
      method: a bound method, such as `module.encode_image`.
      *args: arguments of the method.

    Returns:
      Outputs by dotted path, the last one where a method is called repeatedly: `encode_image` for
        the method itself,
      `vision.encoder.blocks.0` for a submodule's `__call__`, `vision.positions` for another method
      of it.
    """
    method = getattr(unrolled(method.__self__), method.__name__)
    result, captured = nnx.capture(method, nnx.Intermediate, method_outputs=nnx.Intermediate)(*args)
    outputs = {
        ".".join(str(part) for part in path if part != "__call__"): leaf.get_value()[-1]
        for path, leaf in nnx.to_flat_state(captured)
    }
    return outputs | {method.__name__: result}
