"""A published checkpoint -> a model directory."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fairjax.converters import arch as arch_file
from fairjax.converters import readers
from fairjax.converters.engine import Layout, Plan, Shapes, combine, detect_layout, make_plan
from fairjax.converters.rules import LAYOUTS
from fairjax.models.checkpoint import build_abstract, make_card, save, state_dict
from fairjax.models.tokenizer import file_names, require_tokenizer_files, tokenizer_files
from fairjax.models.zoo import MODELS, FoundationModel
from fairjax.utils.errors import UserError, lookup
from fairjax.utils.storage import read_json


@dataclasses.dataclass(frozen=True)
class Conversion:
    """The result of a conversion."""

    card: Mapping[str, Any]
    plan: Plan
    n_parameters: int


def layouts_of(row: FoundationModel) -> list[Layout]:
    """The layouts that a model is published in.

    Raises:
      UserError: it is published in none, because it was made here.
    """
    if not row.layouts:
        raise UserError(
            f"{row.name} has no published checkpoint to convert: its weights ship with fairjax"
        )
    return [LAYOUTS[name] for name in row.layouts]


def plan_for(row: FoundationModel, architecture, layout: Layout, sources: Shapes) -> Plan:
    """The plan for a checkpoint of which only names and shapes are known."""
    module = build_abstract(row.family, architecture)
    return make_plan(layout, sources, {name: x.shape for name, x in state_dict(module).items()})


def convert(
    model: str,
    checkpoint: str | os.PathLike | Sequence[str | os.PathLike],
    out: str | os.PathLike,
    arch: Mapping[str, Any] | str | os.PathLike | None = None,
    tokenizer: str | os.PathLike | None = None,
) -> Conversion:
    """Converts a checkpoint and writes the model directory `out`, whole or not at all.

    Args:
      model: name of the zoo's row.
      checkpoint: file, index of a sharded file, directory from Hugging Face or
        `hf:org/name[@revision]`; several of them for a model that is published in parts, of which a
        later one's tensors count.
      out: folder to be made.
      arch: sizes that differ from the published ones, or a JSON file that holds them.
      tokenizer: folder of the tokenizer's files; by default the checkpoint's, if they are there.

    Raises:
      UserError: anything that the user can mend.
    """
    row = lookup("model", model, MODELS)
    layouts = layouts_of(row)
    if arch is not None and not isinstance(arch, Mapping):
        arch = _read_arch(arch)
    given = [checkpoint] if isinstance(checkpoint, (str, os.PathLike)) else list(checkpoint)
    extra_files = file_names(row.tokenizer.kind) if row.tokenizer else []
    paths = [readers.locate(one, extra_files) for one in given]
    tokenizer_paths = _tokenizer_files(row, paths[0].parent, tokenizer)
    keys = dict.fromkeys(key for layout in layouts for key in layout.keys)
    parts = [readers.read(path, keys) for path in paths]
    tensors = parts[0] if len(parts) == 1 else combine(layouts, parts)
    layout = detect_layout(layouts, tensors)
    architecture = arch_file.resolve(row.architecture, arch or {}, layout)
    try:
        plan = plan_for(row, architecture, layout, {name: x.shape for name, x in tensors.items()})
    except UserError as error:
        hint = (
            ""
            if arch is not None
            else " (if this is a variant of another size, give its sizes by --arch)"
        )
        raise UserError(f"{' + '.join(map(str, paths))}: {error}{hint}") from None
    arrays = plan.convert(tensors)
    source = {
        "file": " + ".join(
            readers.describe(one, path) for one, path in zip(given, paths, strict=True)
        ),
        "sha256": " + ".join(map(readers.fingerprint, paths)),
        "layout": layout.name,
    }
    card = save(out, arrays, make_card(model, architecture, source=source), tokenizer_paths)
    return Conversion(card, plan, sum(x.size for x in arrays.values()))


def _tokenizer_files(
    row: FoundationModel, checkpoint_dir: Path, named: str | os.PathLike | None
) -> list[Path]:
    """Returns the tokenizer's files in the folder `named`, or those next to the checkpoint."""
    if row.tokenizer is None:
        if named is not None:
            raise UserError(f"{row.name} has no text tower: leave --tokenizer out")
        return []
    if named is not None:
        return require_tokenizer_files(named, row.tokenizer)
    return tokenizer_files(checkpoint_dir, row.tokenizer.kind)


def _read_arch(path: str | os.PathLike) -> Mapping[str, Any]:
    if not Path(path).is_file():
        raise UserError(f"there is no architecture file {path}")
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a JSON object of architecture fields")
    return content
