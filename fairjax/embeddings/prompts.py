"""Prompts pass through a frozen text tower once, into a cache like that of the images."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from fairjax import models
from fairjax.embeddings.cache import Cache
from fairjax.models import protocols
from fairjax.models.tokenizer import Tokenizer, load_tokenizer
from fairjax.utils.errors import UserError

BATCH_SIZE = 64  # prompts


@dataclasses.dataclass(frozen=True)
class TextEncoder:
    """A frozen text tower with its tokenizer.

    Attributes:
      module: an NNX module with a text tower.
      tokenizer: prompts → token ids and mask.
      key: what identifies the embeddings besides the prompts: weights, architecture, tokenizer,
        dtype.
    """

    module: protocols.TextEncoder
    tokenizer: Tokenizer
    key: dict[str, Any]


def load_text_encoder(
    directory: str | os.PathLike, dtype: str = "float32", module: Any = None
) -> TextEncoder:
    """Loads the text tower of a model directory.

    Args:
      directory: a model directory, as written by the converters.
      dtype: floating-point type of the computation.
      module: the model, if it is loaded already.

    Raises:
      UserError: the model has no text tower, its directory no tokenizer, or either is damaged.
    """
    tokenizer = load_tokenizer(directory)
    card = models.load_card(directory)
    key = {
        "weights": card["weights_sha256"],
        "architecture": card["architecture"],
        "tokenizer": card["tokenizer"],
        "padding": tokenizer.spec.padding,
        "dtype": dtype,
    }
    tower: Any = models.load(directory, dtype=dtype) if module is None else module
    return TextEncoder(tower, tokenizer, key)


def embed_prompts(
    prompts: Sequence[str],
    encoder: TextEncoder,
    root: str | os.PathLike,
    *,
    batch_size: int = BATCH_SIZE,
) -> Float[np.ndarray, "n d"]:
    """Embeds prompts, which the tokenizer sees as one batch: it pads them to the longest of all.

    Args:
      prompts: n texts; the same list, in the same order, is embedded once.
      encoder: the frozen text tower.
      root: directory of the caches.
      batch_size: prompts per device batch.

    Returns:
      (n, d) float32, as `encode_text` gives them.

    Raises:
      UserError: there are no prompts, another process is at them, or the cache is damaged.
    """
    if not prompts:
        raise UserError("there are no prompts to embed")
    cache = Cache(Path(root), encoder.key | {"prompts": list(prompts)}, len(prompts), len(prompts))
    if cache.missing():
        with cache.lock():
            cache.refresh()  # it may have been filled before the lock was ours
            for rows in cache.missing():
                cache.add(rows, _encode(prompts, encoder, batch_size), [])
    return cache.load().features


def _encode(
    prompts: Sequence[str], encoder: TextEncoder, batch_size: int
) -> Float[np.ndarray, "n d"]:
    ids, mask = encoder.tokenizer(prompts)
    graph, state = nnx.split(encoder.module)

    @jax.jit
    def encode_text(
        state: nnx.State, ids: Int[Array, "b l"], mask: Bool[Array, "b l"] | None
    ) -> Float[Array, "b d"]:
        module: Any = nnx.merge(graph, state)
        return module.encode_text(ids, mask).astype(jnp.float32)

    parts = []
    for start in range(0, len(ids), batch_size):
        rows = np.resize(
            np.arange(start, min(start + batch_size, len(ids))), min(batch_size, len(ids))
        )
        parts.append(
            np.asarray(encode_text(state, ids[rows], None if mask is None else mask[rows]))
        )
    return np.concatenate(parts)[: len(ids)]
