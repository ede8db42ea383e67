import json
import os
import pickle
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import needs
from helpers.commands import call
from helpers.golden import recording_of
from safetensors.numpy import save_file

from fairjax import models
from fairjax.converters.__main__ import main
from fairjax.converters.arch import resolve
from fairjax.converters.convert import convert
from fairjax.converters.rules import LAYOUTS
from fairjax.models.zoo import MODELS
from fairjax.utils.errors import UserError


@pytest.fixture
def clip():
    return recording_of("clip")


def run(*flags: str, capsys) -> tuple[int, str, str]:
    code = call(main, *flags)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def assert_one_line(result, *words: str):
    code, _, err = result
    assert code == 2
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    for word in words:
        assert word in err


def weights_hash(out) -> str:
    return models.load_card(out)["weights_sha256"]


@pytest.fixture
def reference(clip, tmp_path):
    """The hash of CLIP's recorded weights, converted from safetensors."""
    return convert("clip", clip.weights_file, tmp_path / "reference", clip.config).card[
        "weights_sha256"
    ]


def test_the_command_line_writes_a_model_and_says_what_it_left_out(clip, tmp_path, capsys):
    flags = (
        "--model=clip",
        f"--checkpoint={clip.weights_file}",
        f"--arch={clip.folder / 'config.json'}",
    )
    code, out, err = run(*flags, f"--out={tmp_path / 'model'}", capsys=capsys)
    assert (code, err) == (0, "")
    assert "context_length" in out
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    assert card["source"]["file"] == "weights.safetensors"
    assert len(card["source"]["sha256"]) == 64
    assert card["preprocess"]["size"] == clip.config["constructor"]["image_size"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]  # no leftovers next to it


def test_the_card_is_reproducible(clip, tmp_path):
    cards = [
        convert("clip", clip.weights_file, tmp_path / name, clip.config)
        and (tmp_path / name / "card.json")
        for name in "ab"
    ]
    assert cards[0].read_bytes() == cards[1].read_bytes()


def test_mistakes_on_the_command_line_are_one_line(clip, tmp_path, capsys):
    checkpoint, out = f"--checkpoint={clip.weights_file}", f"--out={tmp_path / 'model'}"
    assert_one_line(
        run("--model=clipp", checkpoint, out, capsys=capsys), "'clipp'", "did you mean 'clip'?"
    )
    assert_one_line(run("--model=clip", out, capsys=capsys), "--checkpoint")
    assert_one_line(run("--model=clip", checkpoint, out, "--achr=x", capsys=capsys), "--achr")
    assert_one_line(
        run("--model=clip", "--checkpoint=nowhere.pt", out, capsys=capsys), "nowhere.pt"
    )
    assert_one_line(
        run("--model=clip", checkpoint, out, "--arch=no.json", capsys=capsys), "no.json"
    )
    arch = f"--arch={clip.folder / 'config.json'}"
    assert_one_line(
        run("--model=clip", checkpoint, arch, "--out=/proc/nowhere/model", capsys=capsys),
        "/proc/nowhere",
    )
    assert_one_line(run("--model=phantom_vit", checkpoint, out, capsys=capsys), "phantom_vit")
    assert not (tmp_path / "model").exists()


def test_a_checkpoint_of_another_size_is_refused_with_advice(clip, tmp_path, capsys):
    result = run(
        "--model=clip",
        f"--checkpoint={clip.weights_file}",
        f"--out={tmp_path / 'model'}",
        capsys=capsys,
    )
    assert_one_line(result, "mis-shaped", "--arch")


def test_faulty_tensors_are_all_named(clip, tmp_path):
    weights = clip.weights()
    del weights["visual.ln_post.weight"]
    weights["ln_fnal.bias"] = weights.pop("ln_final.bias")
    weights["text_projection"] = weights["text_projection"].T.copy()[:-1]
    weights["visual.attnpool.weight"] = np.zeros(3, np.float32)
    save_file(weights, tmp_path / "faulty.safetensors")
    with pytest.raises(UserError) as caught:
        convert("clip", tmp_path / "faulty.safetensors", tmp_path / "out", clip.config)
    for name in (
        "visual.ln_post.weight",
        "ln_fnal.bias",
        "ln_final.bias",
        "text_projection",
        "visual.attnpool.weight",
    ):
        assert name in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_architecture_in_our_own_names(clip, tmp_path, reference):
    c = clip.config["constructor"]
    ours = {
        "embed_dim": c["embed_dim"],
        "vision": {
            "image_size": c["image_size"],
            "patch_size": c["patch"],
            "width": c["v_width"],
            "depth": c["v_layers"],
            "heads": c["v_heads"],
            "mlp_dim": 4 * c["v_width"],
        },
        "text.width": c["t_width"],
        "text.depth": c["t_layers"],
        "text.heads": c["t_heads"],
        "text.mlp_dim": 4 * c["t_width"],
        "text.vocab_size": c["vocab"],
        "text.context_length": c["ctx"],
    }
    for name, arch in (("flat", ours), ("wrapped", {"architecture": ours})):
        (tmp_path / f"{name}.json").write_text(json.dumps(arch))
        done = convert("clip", clip.weights_file, tmp_path / name, tmp_path / f"{name}.json")
        assert done.card["weights_sha256"] == reference


@pytest.mark.parametrize(
    ("arch", "words"),
    [
        ({"v_layer": 3}, ("'v_layer'", "'v_layers'")),
        ({"vision.widht": 3}, ("vision.widht", "vision.width")),
        ({"vision": {"depht": 3}}, ("vision.depht", "'depth'")),
        ({"embed_dim": "512"}, ("architecture.embed_dim", "int")),
        ({"vision": {"heads": 5}}, ("768", "5 heads")),
        ({"t_heads": 0}, ("heads is 0",)),
        ({"patch": 300}, ("grid is 0",)),
    ],
)
def test_a_faulty_architecture_is_refused(arch, words):
    with pytest.raises(UserError) as caught:
        resolve(MODELS["clip"].architecture, arch, LAYOUTS["clip_openai"])
    for word in words:
        assert word in str(caught.value)


def test_a_ratio_without_its_width_is_refused():
    with pytest.raises(UserError, match="mlp_ratio.*width"):
        resolve(MODELS["dinov2"].architecture, {"mlp_ratio": 4}, LAYOUTS["dinov2_hub"])


def test_either_layout_of_clip_is_recognised_by_its_names(tmp_path):
    other = recording_of("clip_hf")
    done = convert("clip", other.weights_file, tmp_path / "out", other.config)
    assert done.card["source"]["layout"] == "clip_hf"
    assert models.load(tmp_path / "out").config.probe == "projected"  # the row's, not the file's


def test_another_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="dinov2_hub nor dinov2_hf|dinov2_"):
        convert("dinov2", recording_of("mobile_sam").weights_file, tmp_path / "out")


def test_a_sharded_file_equals_the_single_one(clip, tmp_path, reference):
    folder = tmp_path / "hub"
    folder.mkdir()
    weights = clip.weights()
    names = sorted(weights)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, part in shards.items():
        save_file({name: weights[name] for name in part}, folder / shard)
    index = {"weight_map": {name: shard for shard, part in shards.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert (
        convert("clip", folder, tmp_path / "out", clip.config).card["weights_sha256"] == reference
    )
    os.unlink(folder / "b.safetensors")
    with pytest.raises(UserError, match=r"b\.safetensors"):
        convert("clip", folder, tmp_path / "again", clip.config)


def test_a_model_of_two_files_equals_their_union(tmp_path):
    recording = recording_of("blip2_lavis")
    weights = recording.weights()
    eva = {name for name in weights if name.startswith("visual_encoder.")}
    assert eva
    save_file(
        {name.removeprefix("visual_encoder."): weights[name] for name in eva},
        tmp_path / "eva_vit_g.safetensors",
    )
    save_file(
        {name: weights[name] for name in weights if name not in eva},
        tmp_path / "blip2_pretrained.safetensors",
    )
    files = [tmp_path / "eva_vit_g.safetensors", tmp_path / "blip2_pretrained.safetensors"]
    union, parts = (
        convert("blip2_lavis", checkpoint, tmp_path / "out", recording.config).card
        for checkpoint in (recording.weights_file, files)
    )
    assert parts["weights_sha256"] == union["weights_sha256"]
    assert parts["source"]["file"] == "eva_vit_g.safetensors + blip2_pretrained.safetensors"
    with pytest.raises(UserError, match=r"missing: .*visual_encoder\.cls_token"):
        convert("blip2_lavis", files[1], tmp_path / "again", recording.config)


def test_the_later_file_has_the_last_word(tmp_path):
    recording = recording_of("blip2_lavis")
    weights = recording.weights()
    other = {"cls_token": np.zeros_like(weights["visual_encoder.cls_token"])}
    save_file(other, tmp_path / "part.safetensors")
    files = [tmp_path / "part.safetensors", recording.weights_file]
    alone, both = (
        convert("blip2_lavis", f, tmp_path / "out", recording.config)
        for f in (recording.weights_file, files)
    )
    assert alone.card["weights_sha256"] == both.card["weights_sha256"]


def test_a_truncated_safetensors_file_is_refused(clip, tmp_path):
    data = clip.weights_file.read_bytes()
    for size in (0, 5, 100, len(data) // 2):
        (tmp_path / "cut.safetensors").write_bytes(data[:size])
        with pytest.raises(UserError, match=r"cut\.safetensors"):
            convert("clip", tmp_path / "cut.safetensors", tmp_path / "out", clip.config)


def test_a_directory_that_is_no_model_is_not_overwritten(clip, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years")
    with pytest.raises(UserError, match="not a model directory"):
        convert("clip", clip.weights_file, tmp_path / "precious", clip.config)
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "years"


class TestPyTorchFiles:
    """These need torch to write the files; the package needs it to read them."""

    @pytest.fixture(autouse=True)
    def torch(self):
        return needs.torch()

    def test_flat_nested_and_prefixed_files_equal_safetensors(
        self, clip, tmp_path, torch, reference
    ):
        tensors = clip.tensors()
        files = {
            "flat.pt": tensors,
            "nested.pth": {
                "best_epoch": 3,
                "state_dict": tensors,
                "optimizer_state_dict": {"lr": 0.1},
            },
            "parallel.bin": {f"module.{name}": tensor for name, tensor in tensors.items()},
        }
        for name, content in files.items():
            torch.save(content, tmp_path / name)
            assert (
                convert("clip", tmp_path / name, tmp_path / "out", clip.config).card[
                    "weights_sha256"
                ]
                == reference
            )

    def test_lavis_files_hold_their_tensors_under_a_key_of_their_own(self, tmp_path, torch):
        recording = recording_of("blip2_lavis")
        torch.save({"model": recording.tensors(), "epoch": 1}, tmp_path / "blip2_pretrained.pth")
        nested, flat = (
            convert("blip2_lavis", file, tmp_path / "out", recording.config).card["weights_sha256"]
            for file in (tmp_path / "blip2_pretrained.pth", recording.weights_file)
        )
        assert nested == flat

    def test_a_legacy_file_equals_safetensors(self, clip, tmp_path, torch, reference):
        torch.save(clip.tensors(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
        assert (
            convert("clip", tmp_path / "old.pt", tmp_path / "out", clip.config).card[
                "weights_sha256"
            ]
            == reference
        )

    @pytest.mark.filterwarnings("ignore")
    def test_a_torchscript_archive_equals_safetensors(self, clip, tmp_path, torch, reference):
        def tree(tensors):
            module = torch.nn.Module()
            for name in {name.split(".")[0] for name in tensors}:
                if name in tensors:
                    module.register_buffer(name, tensors[name])
                else:
                    inner = {
                        k.split(".", 1)[1]: v
                        for k, v in tensors.items()
                        if k.startswith(f"{name}.")
                    }
                    module.add_module(name, tree(inner))
            return module

        torch.jit.script(tree(clip.tensors())).save(tmp_path / "ViT.pt")
        assert (
            convert("clip", tmp_path / "ViT.pt", tmp_path / "out", clip.config).card[
                "weights_sha256"
            ]
            == reference
        )

    def test_bfloat16_tensors_are_read(self, clip, tmp_path, torch):
        tensors = {
            k: v.bfloat16() if v.is_floating_point() else v for k, v in clip.tensors().items()
        }
        torch.save(tensors, tmp_path / "half.pt")
        convert("clip", tmp_path / "half.pt", tmp_path / "out", clip.config)
        scale = models.state_dict(models.load(tmp_path / "out"))["logit_scale"]
        assert scale.dtype == jnp.float32
        assert float(scale) == pytest.approx(float(clip.weights()["logit_scale"]), rel=1e-2)

    def test_a_pickle_with_code_is_refused_and_not_run(self, tmp_path, torch, capsys):
        class Malicious:
            def __reduce__(self):
                return os.system, (f"touch {tmp_path / 'ran'}",)

        torch.save(
            {"state_dict": {"weight": torch.zeros(1)}, "x": Malicious()}, tmp_path / "zip.pt"
        )
        (tmp_path / "bare.pt").write_bytes(pickle.dumps(Malicious()))
        for name in ("zip.pt", "bare.pt"):
            flags = ("--model=clip", f"--checkpoint={tmp_path / name}", f"--out={tmp_path / 'out'}")
            assert_one_line(run(*flags, capsys=capsys), name, "refused")
        assert not (tmp_path / "ran").exists()

    def test_truncated_and_foreign_files_are_refused(self, clip, tmp_path, torch, capsys):
        torch.save(clip.tensors(), tmp_path / "whole.pt")
        data = (tmp_path / "whole.pt").read_bytes()
        torch.save({"epoch": 3, "net": {"a": torch.zeros(1)}}, tmp_path / "other.pt")
        torch.save(torch.zeros(3), tmp_path / "tensor.pt")
        (tmp_path / "text.pt").write_text(
            "hello, this is a page of a web site that asks you to log in"
        )
        for size in (2, 100, len(data) // 2, len(data) - 10):
            (tmp_path / "cut.pt").write_bytes(data[:size])
            result = run(
                "--model=clip",
                f"--checkpoint={tmp_path / 'cut.pt'}",
                f"--out={tmp_path / 'o'}",
                capsys=capsys,
            )
            assert_one_line(result, "cut.pt")
        for name, words in {
            "other.pt": "'net'",
            "tensor.pt": "Tensor",
            "text.pt": "neither",
        }.items():
            result = run(
                "--model=clip",
                f"--checkpoint={tmp_path / name}",
                f"--out={tmp_path / 'o'}",
                capsys=capsys,
            )
            assert_one_line(result, name, words)


def test_without_torch_a_pytorch_file_gets_one_clear_line(tmp_path, monkeypatch, capsys):
    import zipfile

    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    monkeypatch.setitem(sys.modules, "torch", None)
    flags = ("--model=clip", f"--checkpoint={tmp_path / 'model.pt'}", f"--out={tmp_path / 'out'}")
    assert_one_line(run(*flags, capsys=capsys), "fairjax[convert]", "safetensors")
