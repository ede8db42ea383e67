"""Tokenizers made up for tests, as files of each kind, for the vocabularies of the recordings."""

from __future__ import annotations

import json
from pathlib import Path

WORDS = ["a", "chest", "x", "##ray", "of", "normal", "lesion", "heart"]


def write_bert(folder: Path) -> Path:
    """WordPiece: vocab.txt; [PAD]=0 [CLS]=1 [SEP]=2."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]", *WORDS])
    )
    return folder


def write_clip(folder: Path) -> Path:
    """Byte-pair encoding: vocab.json and merges.txt; end-of-text, the last id, is also the padding."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [*"achestxryofnml", *(f"{letter}</w>" for letter in "atyfln"), "ch", "chest</w>"]
    vocabulary = [*dict.fromkeys(letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\nc h\n")
    return folder


def write_unigram(folder: Path) -> Path:
    """tokenizer.json of a unigram model, lower-casing, with </s>=1 at the end and as the padding."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    folder.mkdir(parents=True, exist_ok=True)
    pieces = [
        ("<unk>", 0.0),
        ("</s>", 0.0),
        *((f"▁{word.strip('#')}", -2.0) for word in WORDS),
        ("▁", -5.0),
    ]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    backend.save(str(folder / "tokenizer.json"))
    settings = {"pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


WRITERS = {"bert": write_bert, "clip": write_clip, "unigram": write_unigram}
