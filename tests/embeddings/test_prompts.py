import dataclasses

import jax
import numpy as np
import pytest
from helpers.tokenizers import write_bert, write_clip

from fairjax import models
from fairjax.embeddings import prompts
from fairjax.embeddings.prompts import embed_prompts, load_text_encoder
from fairjax.models.tokenizer import tokenizer_files
from fairjax.utils.errors import UserError

PROMPTS = ["a chest x", "normal heart", "a lesion of a heart", "a"]


SMALL = {"width": 16, "depth": 2, "heads": 2, "mlp_dim": 16}
MEDCLIP = {
    "vision": {"image_size": 28, "embed_dim": 8, "depths": (1,), "heads": (2,)},
    "text": {**SMALL, "vocab_size": 20, "positions": 12, "context_length": 12},
    "embed_dim": 8,
}


def save(folder, words):
    """A small MedCLIP, whose text features depend on the padding."""
    module = models.build("medclip", **MEDCLIP)
    models.save(
        folder, module, models.make_card("medclip", module.config), tokenizer_files(words, "bert")
    )
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("medclip")
    return save(folder / "model", write_bert(folder / "words"))


@pytest.fixture(scope="module")
def encoder(folder):
    return load_text_encoder(folder)


def test_prompts_are_embedded_as_one_padded_batch(encoder, tmp_path):
    ids, mask = encoder.tokenizer(PROMPTS)
    expected = encoder.module.encode_text(ids, mask)
    for batch_size in (3, 4, 64):
        found = embed_prompts(PROMPTS, encoder, tmp_path / str(batch_size), batch_size=batch_size)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    alone = embed_prompts(PROMPTS[3:], encoder, tmp_path)  # less padding
    assert np.abs(alone[0] - expected[3]).max() > 1e-3


def test_prompts_are_embedded_once(encoder, tmp_path, monkeypatch):
    first = embed_prompts(PROMPTS, encoder, tmp_path)

    def refuse(*args):
        raise AssertionError("embedded again")

    monkeypatch.setattr(prompts, "_encode", refuse)
    np.testing.assert_array_equal(embed_prompts(PROMPTS, encoder, tmp_path), first)
    with pytest.raises(AssertionError, match="again"):
        embed_prompts(PROMPTS[::-1], encoder, tmp_path)


def test_what_the_embeddings_depend_on_is_in_their_key(folder, encoder, tmp_path):
    words = write_bert(tmp_path / "words")
    with open(words / "vocab.txt", "a") as file:
        file.write("\nmore")
    keys = [
        encoder.key,
        load_text_encoder(save(tmp_path / "model", words)).key,
        load_text_encoder(folder, "bfloat16").key,
    ]
    assert keys[0] == load_text_encoder(folder, module=encoder.module).key
    assert len({str(key) for key in keys}) == 3


def test_a_damaged_cache_is_refused(encoder, tmp_path):
    embed_prompts(PROMPTS, encoder, tmp_path)
    next(tmp_path.rglob("*.npy")).write_bytes(b"")
    with pytest.raises(UserError, match="damaged"):
        embed_prompts(PROMPTS, encoder, tmp_path)


def test_no_prompts_are_refused(encoder, tmp_path):
    with pytest.raises(UserError, match="no prompts"):
        embed_prompts([], encoder, tmp_path)


def test_a_model_without_masks_gets_none(tmp_path):
    module = models.build(
        "clip", vision=SMALL, text=SMALL | {"vocab_size": 40, "context_length": 12}, embed_dim=8
    )
    words = tokenizer_files(write_clip(tmp_path / "words"), "clip")
    models.save(tmp_path / "model", module, models.make_card("clip", module.config), words)
    encoder = load_text_encoder(tmp_path / "model")
    assert encoder.tokenizer(PROMPTS)[1] is None
    # CLIP's towers are causal: what stands after the end of the text, and so how far it is padded,
    # changes nothing.
    spec = dataclasses.replace(encoder.tokenizer.spec, padding="longest")
    longest = dataclasses.replace(
        encoder, tokenizer=dataclasses.replace(encoder.tokenizer, spec=spec)
    )
    with jax.default_matmul_precision("highest"):
        found = [
            embed_prompts(PROMPTS, e, tmp_path / str(i)) for i, e in enumerate((encoder, longest))
        ]
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)
