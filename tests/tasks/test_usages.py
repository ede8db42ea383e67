"""Every usage of a foundation model, through the pipeline: images and prompts to results."""

import json

import nibabel
import numpy as np
import pandas as pd
import pytest
from helpers.tokenizers import write_clip

from fairjax import models
from fairjax.configs import common
from fairjax.embeddings import load_text_encoder
from fairjax.models.tokenizer import tokenizer_files
from fairjax.tasks.classification import grid, pipeline, usages
from fairjax.tasks.classification.subject import Subject
from fairjax.tasks.config import from_dict
from fairjax.training.store import gather
from fairjax.training.zero_shot import class_embeddings, expand_prompts, zero_shot_scores
from fairjax.utils.errors import UserError

SMALL = {"width": 16, "depth": 1, "heads": 2, "mlp_dim": 16}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A small CLIP with random weights, and its tokenizer."""
    folder = tmp_path_factory.mktemp("clip")
    words = write_clip(folder / "words")
    size = len(json.loads((words / "vocab.json").read_text()))
    module = models.build(
        "clip",
        vision=SMALL | {"image_size": 32, "patch_size": 16},
        text=SMALL | {"vocab_size": size, "context_length": 12},
        embed_dim=8,
    )
    card = models.make_card("clip", module.config)
    models.save(folder / "model", module, card, tokenizer_files(words, "clip"))
    return folder / "model"


def config(checkpoint, **training):
    words = common.base("synthetic", "clip")
    words.model.update({"checkpoint": str(checkpoint), "image_size": 32})
    words.dataset.n_patients = 100
    words.seeds, words.n_boot, words.attributes = 2, 10, ("sex",)
    words.embedding.batch_size = 16
    words.prompts.update(
        {"templates": ("a {}", "{}"), "negative": ("normal",), "positive": ("chest", "chest x")}
    )
    words.training.update(
        {"usages": tuple(usages.USAGES), "lora_ranks": (1, 2), "epochs": 2, "warmup_epochs": 1}
    )
    words.training.update(training)
    return from_dict(words.to_dict())


@pytest.fixture(scope="module")
def used(clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("used")
    pipeline.run(config(clip), folder / "work", folder / "cache", progress=False)
    return folder


def test_every_usage_has_results(used):
    table = pd.read_parquet(used / "work" / "results.parquet")
    runs = table.drop_duplicates("run_id").groupby("usage")["method"].agg(["size", "first"])
    assert runs["size"].to_dict() == {
        "zero_shot": 1,
        "linear_probe": 2,
        "mlp_probe": 2,
        "convex_probe": 1,
        "prototypes": 2,
        "clip_adapter": 2,
        "lora_1": 2,
        "lora_2": 2,
    }
    assert runs["first"]["zero_shot"] == "none"
    overall = table[(table["attribute"] == "all") & (table["metric"] == "auc")]
    assert len(overall) == 14
    assert overall["value"].notna().all()
    assert not (used / "work" / "failures.json").exists()


def test_zero_shot_scores_are_those_of_the_model(clip, used):
    """Image by image, with the tokenizer and the towers, and no cache."""
    subject = Subject(config(clip), used / "cache", progress=False)
    names = subject.dataset.table["image"][subject.splits == "test"]
    images = [subject.encoder.preprocess(subject.dataset.read(name)) for name in names]
    text = load_text_encoder(clip)
    prompts, classes = expand_prompts(["a {}", "{}"], [["normal"], ["chest", "chest x"]])
    ids, mask = text.tokenizer(prompts)
    ensembles = class_embeddings(text.module.encode_text(ids, mask), classes, 2)
    expected = zero_shot_scores(text.module, text.module.encode_image(np.stack(images)), ensembles)[
        :, 1
    ]

    conditions = grid.expand(subject.config)
    [condition] = [each for each in conditions if each.usage.name == "zero_shot"]
    files = [
        path.parent
        for path in (used / "work" / "scores").rglob("sweep.json")
        if '"zero_shot"' in path.read_text()
    ]
    found = gather(files[0], condition.runs).test_scores(condition.runs[0].name)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_every_usage_scores_volumes_by_their_slices(clip, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {
            "image": f"{i}.nii",
            "label": i % 2,
            "patient": i // 2,
            "sex": ("female", "male")[i // 4 % 2],
        }
        for i in range(60)
    ]
    for i, row in enumerate(rows):
        voxels = rng.integers(0, 200, (10, 9, 2 + i % 3)) + 55 * row["label"]
        nibabel.save(
            nibabel.Nifti1Image(voxels.astype(np.int16), np.eye(4)), tmp_path / row["image"]
        )
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    words = common.base("table", "clip")
    words.model.update({"checkpoint": str(clip), "image_size": 32})
    words.dataset.update(
        {"root": str(tmp_path), "table": str(tmp_path / "table.csv"), "patient": "patient"}
    )
    words.dataset.update({"dimensions": "2.5D", "window": (0, 255), "aggregate_slices": "mean"})
    words.seeds, words.n_boot, words.attributes = 1, 10, ("sex",)
    words.prompts.update({"templates": ("a {}",), "negative": ("normal",), "positive": ("chest",)})
    words.training.update({"usages": tuple(usages.USAGES), "epochs": 2, "warmup_epochs": 1})
    pipeline.run(from_dict(words.to_dict()), tmp_path / "work", tmp_path / "cache", progress=False)
    table = pd.read_parquet(tmp_path / "work" / "results.parquet")
    overall = table[(table["attribute"] == "all") & (table["metric"] == "auc")]
    assert set(overall["usage"]) == set(usages.USAGES)
    samples = pd.read_parquet(tmp_path / "work" / "scores" / "samples.parquet")
    volumes = samples[samples["split"] == "test"]["volume"].nunique()
    assert set(overall["n"]) == {volumes}
    assert len(samples) > 2 * len(rows)


def phantom(**training):
    words = common.base("synthetic", "phantom_vit")
    words.dataset.n_patients, words.seeds, words.n_boot, words.attributes = 100, 2, 0, ("sex",)
    words.training.update({"epochs": 2, **training})
    return from_dict(words.to_dict())


@pytest.mark.parametrize(
    ("training", "says"),
    [
        ({"usages": ("zero_shot",)}, r"tokenizer|text tower"),
        ({"usages": ("linear_probe", "prototypes")}, r"tokenizer|text tower"),
        ({"usages": ("clip_adapter",)}, r"tokenizer|text tower"),
        ({"usages": ("lora",), "order": "per_run"}, "needs training.order='shared'"),
        (
            {"usages": ("convex_probe",), "methods": ("erm", "jtt")},
            "convex probe has no method 'jtt'",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_embedded(tmp_path, training, says):
    for start in (pipeline.describe, pipeline.run):
        with pytest.raises(UserError, match=says):
            start(phantom(**training), tmp_path / "work", tmp_path / "cache")
        assert not (tmp_path / "cache").exists()


def test_lora_is_refused_where_a_model_has_no_layers_for_it(tmp_path):
    folder, module = tmp_path / "c2l", models.build("c2l")
    models.save(folder, module, models.make_card("c2l", module.config))
    words = common.base("synthetic", "c2l")
    words.model.checkpoint = str(folder)
    words.dataset.n_patients, words.attributes = 100, ("sex",)
    words.training.usages = ("lora",)
    with pytest.raises(UserError, match="c2l has no linear layers for LoRA"):
        pipeline.describe(from_dict(words.to_dict()), tmp_path / "work", tmp_path / "cache")


class Constant(usages.Probe):
    """A usage from outside: it trains a linear probe of no epochs worth speaking of."""

    def methods(self, cfg):
        return ("erm",)


def test_a_usage_is_added_by_a_row_of_the_table(tmp_path, monkeypatch):
    monkeypatch.setitem(usages.USAGES, "constant", Constant("constant", "nothing much"))
    settings = phantom(usages=("constant",), methods=("erm", "jtt"))
    text = pipeline.describe(settings, tmp_path / "work", tmp_path / "cache")
    assert "constant/erm" in text
    assert "1, 1 programs, 2 runs" in text
