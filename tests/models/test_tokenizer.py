import json
import subprocess
import sys

import numpy as np
import pytest
from helpers.commands import call
from helpers.golden import recording_of
from helpers.tokenizers import WRITERS, write_clip

from fairjax import models
from fairjax.converters.__main__ import main
from fairjax.converters.convert import convert
from fairjax.models.tokenizer import read_tokenizer
from fairjax.models.zoo import MODELS, TokenizerSpec
from fairjax.utils.errors import UserError

PROMPTS = ["A chest", "normal"]


def read(tmp_path, kind, padding="longest", *, context=8, vocab=100, masked=True):
    folder = WRITERS[kind](tmp_path / kind)
    return read_tokenizer(
        folder, TokenizerSpec(name=kind, kind=kind, padding=padding, masked=masked), context, vocab
    )


def test_bert_marks_both_ends_and_pads_to_the_longest(tmp_path):
    ids, mask = read(tmp_path, "bert")(PROMPTS)
    np.testing.assert_array_equal(ids, [[1, 5, 6, 2], [1, 10, 2, 0]])
    np.testing.assert_array_equal(mask, [[1, 1, 1, 1], [1, 1, 1, 0]])
    assert ids.dtype == np.int32


def test_clip_reads_the_first_end_of_text(tmp_path):
    ids, mask = read(tmp_path, "clip", "max_length", masked=False)(PROMPTS)
    assert ids.shape == (2, 8)
    assert mask is None
    assert (ids[:, 0] == ids.max() - 1).all()
    assert (ids[1] == ids.max()).sum() >= 1
    np.testing.assert_array_equal(ids[0, ids[0].argmax() :], ids.max())


def test_unigram_ends_with_its_padding(tmp_path):
    ids, _ = read(tmp_path, "unigram", "max_length")(["A chest", "LESION"])
    np.testing.assert_array_equal(ids, [[2, 3, 1, 1, 1, 1, 1, 1], [8, 1, 1, 1, 1, 1, 1, 1]])


def test_long_prompts_are_cut_and_keep_their_end(tmp_path):
    ids, _ = read(tmp_path, "bert", context=5)(["a a a a a a a a"])
    np.testing.assert_array_equal(ids, [[1, 5, 5, 5, 2]])


def test_ids_outside_the_models_vocabulary_are_refused(tmp_path):
    with pytest.raises(UserError, match="id 10, but the model's vocabulary has 7"):
        read(tmp_path, "bert", vocab=7)(PROMPTS)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "tokenizer.json or vocab.txt"),
        ({"tokenizer.json": "{"}, "cannot be read"),
        ({"tokenizer.json": None}, "does not say how to pad"),
    ],
)
def test_missing_and_damaged_files_are_refused_in_one_line(tmp_path, files, words):
    folder = tmp_path / "files"
    folder.mkdir()
    for name, content in files.items():
        whole = (WRITERS["unigram"](tmp_path / "whole") / "tokenizer.json").read_text()
        (folder / name).write_text(whole if content is None else content)
    kind = "unigram" if None in files.values() else "bert"
    with pytest.raises(UserError, match=words) as caught:
        read_tokenizer(folder, TokenizerSpec(name="some/model", kind=kind), 8, 100)
    assert "\n" not in str(caught.value)


class TestModelDirectories:
    @pytest.fixture(scope="class")
    def recording(self):
        return recording_of("clip")

    def test_the_tokenizer_is_copied_from_next_to_the_checkpoint(self, recording, tmp_path):
        folder = write_clip(tmp_path / "hub")
        (folder / "model.safetensors").write_bytes(recording.weights_file.read_bytes())
        convert("clip", folder, tmp_path / "out", recording.config)
        tokenizer = models.load_tokenizer(tmp_path / "out")
        assert tokenizer.context_length == recording.config["constructor"]["ctx"]
        assert tokenizer(PROMPTS)[0].shape == (2, tokenizer.context_length)

    def test_or_from_the_folder_that_is_named(self, recording, tmp_path, capsys):
        flags = [
            f"--checkpoint={recording.weights_file}",
            f"--arch={recording.folder / 'config.json'}",
        ]
        flags += ["--model=clip", f"--out={tmp_path / 'out'}"]
        assert call(main, *flags, f"--tokenizer={write_clip(tmp_path / 'words')}") == 0
        assert "tokenizer" not in capsys.readouterr().out
        assert len(models.load_tokenizer(tmp_path / "out")(PROMPTS)[0]) == 2
        assert call(main, *flags, f"--tokenizer={tmp_path}") == 2
        assert "vocab.json and merges.txt of openai/clip" in capsys.readouterr().err

    def test_without_one_the_message_says_how_to_get_it(self, recording, tmp_path, capsys):
        flags = [
            f"--checkpoint={recording.weights_file}",
            f"--arch={recording.folder / 'config.json'}",
        ]
        assert call(main, *flags, "--model=clip", f"--out={tmp_path / 'out'}") == 0
        assert "--tokenizer=DIR" in capsys.readouterr().out
        with pytest.raises(UserError, match="--tokenizer=DIR"):
            models.load_tokenizer(tmp_path / "out")

    def test_a_changed_file_is_refused(self, recording, tmp_path):
        convert(
            "clip",
            recording.weights_file,
            tmp_path / "out",
            recording.config,
            write_clip(tmp_path / "words"),
        )
        (tmp_path / "out" / "tokenizer" / "merges.txt").write_text("#version: 0.2")
        with pytest.raises(UserError, match="incomplete or damaged"):
            models.load_tokenizer(tmp_path / "out")

    def test_a_model_of_images_alone_has_none(self, tmp_path):
        recording = recording_of("dinov2")
        with pytest.raises(UserError, match="no text tower"):
            convert(
                "dinov2",
                recording.weights_file,
                tmp_path / "out",
                recording.config,
                write_clip(tmp_path / "w"),
            )
        module = models.build("phantom_vit", width=16, heads=2, depth=1, mlp_dim=16)
        models.save(tmp_path / "vit", module, models.make_card("phantom_vit", module.config))
        with pytest.raises(UserError, match="no text tower"):
            models.load_tokenizer(tmp_path / "vit")


@pytest.mark.parametrize("name", [name for name, row in MODELS.items() if row.tokenizer])
def test_every_row_names_a_kind_that_can_be_read(name, tmp_path):
    row = MODELS[name]
    folder = WRITERS[row.tokenizer.kind](tmp_path)
    ids, mask = read_tokenizer(folder, row.tokenizer, row.architecture.text.context_length, 100)(
        PROMPTS
    )
    assert len(ids) == 2
    assert (mask is not None) == row.tokenizer.masked
    if row.tokenizer.padding == "max_length":
        assert ids.shape[1] == row.architecture.text.context_length


def test_transformers_is_imported_only_where_a_tokenizer_is_read():
    code = "import sys, json, fairjax, fairjax.models, fairjax.models.tokenizer, fairjax.models.checkpoint, fairjax.tasks.classification.pipeline\n"
    code += "print(json.dumps(sorted({'transformers', 'torch'} & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
