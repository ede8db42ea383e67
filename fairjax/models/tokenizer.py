"""Tokenizers: prompts -> token ids, from local files and without a model hub."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from fairjax.models.zoo import MODELS, TokenizerSpec
from fairjax.utils.errors import UserError, lookup
from fairjax.utils.storage import hash_file

# kind -> the class of transformers that reads its files.
CLASSES = {
    "bert": "BertTokenizerFast",
    "clip": "CLIPTokenizerFast",
    "unigram": "PreTrainedTokenizerFast",
}

# Any of these sets of files is a tokenizer of the kind; the others are settings.
VOCABULARIES = {
    "bert": (("tokenizer.json",), ("vocab.txt",)),
    "clip": (("tokenizer.json",), ("vocab.json", "merges.txt")),
    "unigram": (("tokenizer.json",),),
}
SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """Prompts -> token ids.

    Attributes:
      backend: a tokenizer of transformers.
      spec: how prompts become token ids.
      context_length: tokens that longer prompts are cut to.
      vocab_size: tokens in the model's vocabulary.
    """

    backend: Any
    spec: TokenizerSpec
    context_length: int
    vocab_size: int

    def __call__(
        self, texts: Sequence[str]
    ) -> tuple[Int[np.ndarray, "b l"], Bool[np.ndarray, "b l"] | None]:
        """Tokenizes prompts as one batch.

        Args:
          texts: b prompts.

        Returns:
          Token ids, int32 (b, l), and the mask, true where there is no padding; None for a model
          that takes none.

        Raises:
          UserError: ids outside the model's vocabulary: the files are another model's.
        """
        encoded = self.backend(
            list(texts),
            padding=self.spec.padding,
            truncation=True,
            max_length=self.context_length,
            return_tensors="np",
        )
        ids = encoded["input_ids"].astype(np.int32)
        if ids.max(initial=0) >= self.vocab_size:
            raise UserError(
                f"the tokenizer gives id {ids.max()}, but the model's vocabulary has "
                f"{self.vocab_size} tokens: it needs the files of {self.spec.name}"
            )
        return ids, encoded["attention_mask"].astype(bool) if self.spec.masked else None


def file_names(kind: str) -> list[str]:
    """Every file that a tokenizer of a kind may have."""
    return list(dict.fromkeys(name for names in (*VOCABULARIES[kind], SETTINGS) for name in names))


def tokenizer_files(tokenizer_dir: str | os.PathLike, kind: str) -> list[Path]:
    """Returns the files of a tokenizer, vocabulary and settings; none without a vocabulary."""
    tokenizer_dir = Path(tokenizer_dir)
    for vocabulary in lookup("kind of tokenizer", kind, VOCABULARIES):
        if all((tokenizer_dir / name).is_file() for name in vocabulary):
            return [
                tokenizer_dir / name
                for name in (*vocabulary, *SETTINGS)
                if (tokenizer_dir / name).is_file()
            ]
    return []


def require_tokenizer_files(tokenizer_dir: str | os.PathLike, spec: TokenizerSpec) -> list[Path]:
    """Returns the same files.

    Raises:
      UserError: there is no vocabulary; it names the files that are wanted.
    """
    if found := tokenizer_files(tokenizer_dir, spec.kind):
        return found
    wanted = " or ".join(" and ".join(names) for names in VOCABULARIES[spec.kind])
    raise UserError(f"{tokenizer_dir} holds no tokenizer; put there {wanted} of {spec.name}")


def read_tokenizer(
    tokenizer_dir: str | os.PathLike, spec: TokenizerSpec, context_length: int, vocab_size: int
) -> Tokenizer:
    """Reads a tokenizer from a folder of files as Hugging Face has them.

    Raises:
      UserError: files are missing or damaged, or do not say how to pad.
    """
    import transformers

    require_tokenizer_files(tokenizer_dir, spec)
    try:
        backend = getattr(transformers, CLASSES[spec.kind]).from_pretrained(
            str(tokenizer_dir), local_files_only=True
        )
    except Exception as error:  # what the libraries raise for damaged files
        raise UserError(
            f"the tokenizer in {tokenizer_dir} cannot be read ({error}): take the files of "
            f"{spec.name}"
        ) from None
    if backend.pad_token_id is None:
        raise UserError(
            f"the tokenizer in {tokenizer_dir} does not say how to pad: add its "
            "tokenizer_config.json"
        )
    return Tokenizer(backend, spec, context_length, vocab_size)


def load_tokenizer(model_dir: str | os.PathLike) -> Tokenizer:
    """The tokenizer of a model directory.

    Args:
      model_dir: folder as written by the converters.

    Raises:
      UserError: the model has no text tower, or its tokenizer is damaged or was missing when it was
        converted.
    """
    from fairjax.models.checkpoint import load_card

    card = load_card(model_dir)
    spec = MODELS[card["model"]].tokenizer
    if spec is None:
        raise UserError(f"{card['model']} has no text tower, and no tokenizer")
    if not card.get("tokenizer"):
        raise UserError(
            f"{model_dir} holds no tokenizer: convert the checkpoint again with --tokenizer=DIR, "
            f"a folder with the files of {spec.name}"
        )
    tokenizer_dir = Path(model_dir) / "tokenizer"
    if {path.name: hash_file(path) for path in tokenizer_files(tokenizer_dir, spec.kind)} != card[
        "tokenizer"
    ]:
        raise UserError(
            f"the tokenizer in {tokenizer_dir} is incomplete or damaged: convert the checkpoint "
            "again"
        )
    text = card["architecture"]["text"]
    return read_tokenizer(tokenizer_dir, spec, text["context_length"], text["vocab_size"])
