"""Published files as they lie on disks and on the hub."""

import argparse
import json
import re

import numpy as np
import pytest
from helpers import needs
from helpers.commands import call
from helpers.golden import Recording, recording_of, recordings
from helpers.tokenizers import write_clip
from safetensors.numpy import save_file

from fairjax.converters import readers
from fairjax.converters.__main__ import main
from fairjax.converters.convert import convert, layouts_of
from fairjax.converters.engine import combine, detect_layout
from fairjax.utils.errors import UserError


def published(torch, recording: Recording) -> dict:
    """What the published PyTorch file holds: the tensors, under the key and among the things that
    the recording tells.
    """
    config, tensors = recording.config, recording.tensors()
    rest = {
        "epoch": 3,
        "best_epoch": np.int64(3),
        "best_loss": np.float64(0.25),
        "arch": "resnet18",
        "args": argparse.Namespace(lr=1e-3, mlp=True),
        "scaler": {"scale": 65536.0},
        "optimizer": {
            "state": {0: {"step": torch.tensor(7.0)}},
            "param_groups": [{"lr": 1e-3, "params": [0]}],
        },
        "optimizer_state_dict": {"state": {}, "param_groups": []},
    }
    key = config.get("state_dict_key")
    return tensors if key is None else rest | {key: tensors}


@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.folder.name)
def test_the_published_pytorch_file_equals_safetensors(recording, tmp_path):
    torch = needs.torch()
    torch.save(published(torch, recording), tmp_path / "published.pth.tar")
    keys = [key for layout in layouts_of(recording.row) for key in layout.keys]
    tensors, weights = readers.read(tmp_path / "published.pth.tar", keys), recording.weights()
    assert tensors.keys() == weights.keys()
    for name, tensor in tensors.items():
        wanted = (
            weights[name].astype(np.float32) if weights[name].dtype == np.float16 else weights[name]
        )
        np.testing.assert_array_equal(tensor, wanted, strict=True)


@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.folder.name)
def test_faults_are_named_as_the_file_names_them(recording, tmp_path):
    weights = recording.weights()
    drops = [
        re.compile(drop.pattern) for drop in detect_layout(layouts_of(recording.row), weights).drops
    ]
    used = [
        name
        for name, x in weights.items()
        if x.ndim and not any(drop.fullmatch(name) for drop in drops)
    ]
    lost, renamed, reshaped = used[0], used[len(used) // 2], used[-1]
    del weights[lost]
    weights[f"{renamed}_"] = weights.pop(renamed)
    weights[reshaped] = weights[reshaped][..., None]
    save_file(weights | {"extra.weight": np.zeros(2, np.float32)}, tmp_path / "faulty.safetensors")
    with pytest.raises(UserError) as caught:
        convert(
            recording.row.name, tmp_path / "faulty.safetensors", tmp_path / "out", recording.config
        )
    for name in (lost, renamed, f"{renamed}_", reshaped, "extra.weight"):
        assert name in str(caught.value)


def test_half_precision_safetensors_are_read_as_float32(tmp_path):
    torch = needs.torch()
    from safetensors.torch import save_file as save_torch

    tensors = {
        "a": torch.tensor([1.5, -3.0]).bfloat16(),
        "b": torch.ones(2).half(),
        "ids": torch.arange(3),
    }
    save_torch(tensors, tmp_path / "half.safetensors")
    read = readers.read(tmp_path / "half.safetensors")
    np.testing.assert_array_equal(read["a"], np.array([1.5, -3.0], np.float32), strict=True)
    assert (read["b"].dtype, read["ids"].dtype) == (np.float16, np.int64)


def test_a_sharded_pytorch_file_equals_the_single_one(tmp_path):
    torch = needs.torch()
    tensors = recording_of("plip").tensors()
    names = sorted(tensors)
    shards = {"pytorch_model-00001.bin": names[::2], "pytorch_model-00002.bin": names[1::2]}
    for shard, part in shards.items():
        torch.save({name: tensors[name] for name in part}, tmp_path / shard)
    index = {"weight_map": {name: shard for shard, part in shards.items() for name in part}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    read = readers.read(readers.locate(tmp_path))
    assert read.keys() == tensors.keys()
    np.testing.assert_array_equal(read[names[0]], tensors[names[0]].float())


def test_open_clips_file_is_found_in_its_directory(tmp_path):
    (tmp_path / "open_clip_pytorch_model.bin").touch()
    assert readers.locate(tmp_path).name == "open_clip_pytorch_model.bin"


def test_a_model_published_in_parts_is_put_together():
    class Known:
        part_prefixes = ("tower.",)
        source_pattern = re.compile(r"tower\.\w+|head\.\w+")

    first = {"a": np.zeros(1), "b": np.zeros(2)}
    second = {"head.c": np.zeros(3), "tower.b": np.ones(2)}
    tensors = combine([Known()], [first, second])
    assert {name: x.shape for name, x in tensors.items()} == {
        "tower.a": (1,),
        "tower.b": (2,),
        "head.c": (3,),
    }
    assert tensors["tower.b"].all()


def test_a_second_file_replaces_what_the_first_has(tmp_path, capsys):
    clip = recording_of("clip")
    weights = clip.weights()
    save_file(
        {name: weights.pop(name) for name in ("ln_final.weight", "ln_final.bias")},
        tmp_path / "rest.safetensors",
    )
    save_file(weights, tmp_path / "most.safetensors")
    flags = [f"--checkpoint={tmp_path / name}.safetensors" for name in ("most", "rest")]
    code = call(
        main,
        "--model=clip",
        *flags,
        f"--arch={clip.folder / 'config.json'}",
        f"--out={tmp_path / 'out'}",
    )
    assert code == 0, capsys.readouterr().err
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["source"]["file"] == "most.safetensors + rest.safetensors"
    whole = convert("clip", clip.weights_file, tmp_path / "whole", clip.config)
    assert card["weights_sha256"] == whole.card["weights_sha256"]


class TestHub:
    """The hub itself is not asked: its client is, which then has no network or a stand-in for it."""

    @pytest.fixture(autouse=True)
    def hub(self):
        return pytest.importorskip("huggingface_hub", reason="the hub's client")

    @pytest.fixture
    def repository(self, tmp_path, monkeypatch, hub):
        """A folder in place of every repository on the hub, and the questions that the client
        was asked.
        """
        folder, asked = tmp_path / "snapshots" / "0123abcd", []
        folder.mkdir(parents=True)

        def download(repository, name, *, revision, local_files_only):
            asked.append((repository, name, revision))
            if (folder / name).is_file():
                return str(folder / name)
            raise hub.errors.EntryNotFoundError(f"404: {name}")

        monkeypatch.setattr(hub, "hf_hub_download", download)
        return folder, asked

    def test_a_repository_is_converted_like_its_files(self, repository, tmp_path):
        clip, (folder, asked) = recording_of("clip_hf"), repository
        (folder / "model.safetensors").write_bytes(clip.weights_file.read_bytes())
        done = convert("clip_hf", "hf:org/name@v1", tmp_path / "out", clip.config)
        assert asked[0] == ("org/name", "model.safetensors", "v1")
        assert "tokenizer" not in done.card
        assert done.card["source"]["file"] == "hf:org/name@v1/model.safetensors"
        assert done.card["source"]["sha256"] == readers.fingerprint(clip.weights_file)

    def test_the_tokenizer_comes_with_the_weights(self, repository, tmp_path):
        clip, (folder, _) = recording_of("clip_hf"), repository
        (folder / "model.safetensors").write_bytes(clip.weights_file.read_bytes())
        write_clip(folder)
        done = convert("clip_hf", "hf:org/name", tmp_path / "out", clip.config)
        assert done.card["tokenizer"].keys() == {"vocab.json", "merges.txt"}

    def test_all_shards_are_fetched(self, repository):
        folder, asked = repository
        save_file({"a": np.zeros(1)}, folder / "one.safetensors")
        save_file({"b": np.zeros(1)}, folder / "two.safetensors")
        index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        assert readers.read(readers.locate("hf:org/name")).keys() == {"a", "b"}
        assert [name for _, name, _ in asked[-2:]] == ["one.safetensors", "two.safetensors"]
        assert {revision for _, _, revision in asked} == {None}

    def test_a_repository_without_a_checkpoint_is_named(self, repository):
        with pytest.raises(UserError, match="hf:org/name holds none of model.safetensors"):
            readers.locate("hf:org/name")

    def test_without_a_network_there_is_one_clear_line(self, tmp_path, monkeypatch, hub, capfd):
        monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        code = call(
            main, "--model=clip_hf", "--checkpoint=hf:org/name", f"--out={tmp_path / 'out'}"
        )
        assert code == 2
        error = capfd.readouterr().err
        assert error.count("\n") == 1
        assert "hub cannot be reached" in error
        assert "hf:org/name" in error

    def test_an_impossible_name_is_refused_in_one_line(self, tmp_path, capfd):
        code = call(
            main, "--model=clip", "--checkpoint=hf:one/two/three", f"--out={tmp_path / 'out'}"
        )
        assert code == 2
        error = capfd.readouterr().err
        assert error.count("\n") == 1
        assert "one/two/three" in error
