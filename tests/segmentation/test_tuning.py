"""Decoders are tuned as the formulas say, together as alone, and with any number of interruptions."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import masks
from helpers.masks import RUNS, examples, names, runs_of, tune
from helpers.processes import devices, kill_when
from safetensors.numpy import load_file

from fairjax.models import lora
from fairjax.models.checkpoint import state_dict
from fairjax.segmentation.image_embeddings import EmbeddingSource, without_encoder
from fairjax.segmentation.tuning import losses, sweep
from fairjax.segmentation.tuning.program import Tunable
from fairjax.segmentation.tuning.runs import TuneConfig, select
from fairjax.training.objectives import Step
from fairjax.training.objectives.base import Sizes
from fairjax.utils.errors import UserError


@pytest.fixture(scope="module")
def model():
    return masks.segmenter()


@pytest.fixture(scope="module")
def sides(model):
    return masks.sides(model)


@pytest.fixture(scope="module")
def tuned(model, sides, tmp_path_factory):
    return tune(model, sides, RUNS, tmp_path_factory.mktemp("tuned"))


def chunks(tuned):
    return [load_file(chunk.path) for chunk in tuned.sweep.chunks]


def batch(seed=0, b=6):
    """Logits of b samples of two groups with two candidates each, their truth, and what the image
    fills.
    """
    rng = np.random.default_rng(seed)
    inside = np.ones((b, 8, 8), bool)
    inside[0, 6:] = False
    return rng.normal(size=(b, 2, 8, 8)) * 3, rng.random((b, 8, 8)) < 0.4, inside, np.arange(b) % 2


def numpy_sums(logits, truth, inside):
    p = 1 / (1 + np.exp(-logits))
    y = np.broadcast_to(truth[:, None], p.shape).astype(float)
    entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    return [
        np.array([[part[i, m][inside[i]].mean() for m in range(2)] for i in range(len(p))])
        for part in (p * y, p**2, y, entropy)
    ]


def step(logits, truth, inside, groups):
    sums = jnp.stack([losses.mask_sums(*one) for one in zip(logits, truth, inside)])
    membership = np.eye(2, dtype=np.float32)[groups]
    return Step(
        losses.sample_losses(sums)[None],
        jnp.ones(len(sums)),
        membership,
        outputs=sums.mean(-1).T[None],
    )


def test_the_loss_is_dice_and_cross_entropy_inside_the_image():
    logits, truth, inside, groups = batch()
    overlap, predicted, true, entropy = numpy_sums(logits, truth, inside)
    expected = 0.8 * (1 - 2 * overlap / (predicted + true)) + 0.2 * entropy
    got = step(logits, truth, inside, groups).losses[0]
    np.testing.assert_allclose(got, expected.mean(1), atol=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.5])
def test_febs_scales_predictions_by_the_error_bound_of_their_group(gamma):
    logits, truth, inside, groups = batch()
    logits[groups == 1] *= np.where(truth[groups == 1], 1, -1)[:, None] * np.sign(
        logits[groups == 1]
    )  # nearly right
    parts = [part.mean(1) for part in numpy_sums(logits, truth, inside)]
    by_group = [[part[groups == g].sum() for part in parts] for g in (0, 1)]
    errors = np.array([1 - 2 * i / (p + y) for i, p, y, _ in by_group])
    factor = np.tanh((errors.min() / errors) ** gamma)
    w = factor[groups]
    expected = (
        0.8 * (1 - 2 * (w * parts[0]).sum() / ((w**2 * parts[1]).sum() + parts[2].sum()))
        + 0.2 * parts[3].mean()
    )
    one = step(logits, truth, inside, groups)
    found = losses.febs_factors(one.outputs, one.weights[None], one.membership, jnp.array([gamma]))
    np.testing.assert_allclose(found[0], factor, atol=1e-4)
    value, _ = losses.methods()["febs"].loss(one, jnp.array([gamma]), {})
    np.testing.assert_allclose(value[0], expected, atol=1e-4)


def test_febs_leaves_out_a_group_that_the_batch_lacks():
    logits, truth, inside, groups = batch()
    one = step(logits, truth, inside, np.zeros_like(groups))
    factor = losses.febs_factors(one.outputs, one.weights[None], one.membership, jnp.array([1.0]))
    np.testing.assert_allclose(factor, [[np.tanh(1), 0]], atol=1e-6)


def test_group_dro_moves_its_weights_as_the_formula_says():
    one = step(*batch())
    objective = losses.methods()["group_dro"]
    start = {name: value[None] for name, value in objective.state(Sizes(2, 1, 1)).items()}
    value, state = objective.loss(one, jnp.array([0.7]), start)
    means = np.array([np.asarray(one.losses)[0, g::2].mean() for g in (0, 1)])
    q = np.exp(0.7 * means) / np.exp(0.7 * means).sum()
    np.testing.assert_allclose(np.exp(state["log_q"])[0], q, rtol=1e-5)
    np.testing.assert_allclose(value[0], (q * means).sum(), rtol=1e-5)


def test_a_run_is_the_same_alone_and_together(model, sides, tuned, tmp_path):
    run = RUNS[4]
    alone = tune(model, sides, [run], tmp_path)
    together = tuned.params(run)
    for name, array in alone.params(run).items():
        np.testing.assert_allclose(array, together[name], atol=1e-6, err_msg=name)
    assert alone.table()["validation_score"][0] == pytest.approx(
        tuned.table()["validation_score"][4], abs=1e-6
    )


def test_training_lowers_the_loss_and_keeps_the_best_epoch(tuned):
    for arrays in chunks(tuned):
        assert arrays["loss"][:, -1].mean() < arrays["loss"][:, 0].mean()
        best = arrays["score"][np.arange(len(arrays["score"])), arrays["best_epoch"]]
        np.testing.assert_array_equal(best, arrays["score"].max(1))
        np.testing.assert_allclose(arrays["validation"].mean(1), best, atol=1e-6)


def test_seeds_and_methods_give_different_decoders(tuned):
    params = np.concatenate([arrays["params"] for arrays in chunks(tuned)])
    for a, b in itertools.combinations(range(len(RUNS)), 2):
        assert (
            np.abs(params[a] - params[b]).max() > 1e-5
            or tuned.table()["best_epoch"].iloc[[a, b]].max() == 0
        )


@pytest.fixture
def trained(monkeypatch):
    """The runs of every chunk that is trained from here on, by what each has in a chunk."""
    chunks, train = [], sweep.Engine.train
    monkeypatch.setattr(
        sweep.Engine,
        "train",
        lambda self, runs, *rest: chunks.append(runs) or train(self, runs, *rest),
    )
    return chunks


def test_what_is_on_disk_is_not_trained_again_and_what_is_damaged_is(model, sides, tuned, trained):
    folder = tuned.sweep.folder.parent
    tune(model, sides, RUNS, folder)
    assert trained == []
    last = tuned.sweep.chunks[-1]
    data = last.path.read_bytes()
    last.path.write_bytes(data[:-4] + b"\0\0\0\1")
    tune(model, sides, RUNS, folder)
    assert [[run.name for run in chunk] for chunk in trained] == [list(last.names)]
    assert last.path.read_bytes() == data


def test_a_run_that_is_added_is_the_only_one_that_is_trained(model, sides, tuned, trained):
    (more,) = runs_of("group_dro")
    grown = tune(model, sides, [*RUNS, more], tuned.sweep.folder.parent)
    assert trained == [[more]]
    assert grown.table()["method"].tolist() == [*tuned.table()["method"], "group_dro"]
    for name, array in tuned.params(RUNS[0]).items():
        np.testing.assert_array_equal(array, grown.params(RUNS[0])[name], err_msg=name)


def test_the_encoder_changes_by_low_rank_products(model):
    config = TuneConfig(lora_rank=2, lora_alpha=6.0)
    tunable = Tunable(model.module, config)
    start = tunable.initial(0, 1)
    additions = [name for name in start if name.endswith((".a", ".b"))]
    assert {".".join(name.split(".")[-3:-1]) for name in additions} == {"attn.qkv", "attn.proj"}
    before = state_dict(model.module)
    for name, array in state_dict(lora.merge(tunable.join(start))).items():
        np.testing.assert_array_equal(array, before[name])
    moved = {name: array + name.endswith(".b") for name, array in start.items()}
    for name, array in state_dict(lora.merge(tunable.join(moved))).items():
        layer = name.removesuffix(".kernel")
        if f"{layer}.a" in start:
            added = 3.0 * np.asarray(start[f"{layer}.a"]) @ np.ones_like(start[f"{layer}.b"])
            np.testing.assert_allclose(array - before[name], added, atol=1e-5)
        else:
            np.testing.assert_array_equal(array, before[name])
    plain = Tunable(model.module, TuneConfig()).initial(0, 1)
    assert plain.keys() == {name for name in before if name.startswith("decoder.")}


def test_embeddings_stand_in_for_the_encoder(model):
    parts = {"image": (8, 8, 16), "stride8": (16, 16, 4)}
    whole = {
        name: np.random.default_rng(0).normal(size=(2, *shape)) for name, shape in parts.items()
    }
    flat = np.concatenate([part.reshape(2, -1) for part in whole.values()], 1)
    source = EmbeddingSource(lambda image: flat[0], flat.shape[1:], parts)
    taken = source.decoder_of(model.module)
    for name, part in source.embed(taken, jnp.asarray(flat)).items():
        np.testing.assert_allclose(part, whole[name], rtol=1e-6)
    names = state_dict(without_encoder(model.module))
    assert names.keys() == {n for n in state_dict(model.module) if not n.startswith("encoder.")}


def test_a_method_is_chosen_by_its_mean_over_seeds(tuned):
    table = tuned.table().assign(validation_score=[0.9, 0.1, 0.2, 0.5, 0.5, 0.6])
    table["strength"] = [1.0, 1.0, 2.0, 2.0, 1.0, 1.0]
    table["method"] = "febs"
    table["seed"] = [0, 1, 0, 1, 2, 3]
    assert select(table) == {"febs": table["run"].iloc[[0, 1, 4, 5]].tolist()}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"select": "best"}, r"mitigation\.select"),
        ({"lora_alpha": 0.0}, "lora_alpha must be above 0"),
        ({"epochs": 1}, "warmup_epochs < epochs"),
    ],
)
def test_mistakes_are_one_line(settings, words):
    with pytest.raises(UserError, match=words):
        TuneConfig(**settings)


@pytest.mark.slow
def test_tuning_helps_the_group_that_the_frozen_decoder_fails(tmp_path):
    model = masks.segmenter({})
    validation = examples(names(900, 24), model, ("bbox",), 1)
    config = TuneConfig(epochs=12, batch_size=8, weight_decay=0.0)
    first = examples(names(0, 32, groups=(0,)), model), validation
    known = tune(model, first, runs_of("erm", rate=5e-3), tmp_path, config)
    frozen = known.segmenter(known.runs[0])
    both = examples(names(100, 32), model), validation
    tuned = tune(frozen, both, runs_of("erm", "group_dro"), tmp_path, config)
    hard = validation.groups == 1
    before = chunks(known)[0]["validation"][0]
    after = np.concatenate([arrays["validation"] for arrays in chunks(tuned)])
    assert before[~hard].mean() > 0.6 > 0.2 > before[hard].mean()
    assert (after[:, hard].mean(1) > before[hard].mean() + 0.05).all()
    assert (after.mean(1) > before.mean()).all()


KILLED = """
import sys
from pathlib import Path
from helpers import masks
model = masks.segmenter()
masks.tune(model, masks.sides(model), masks.RUNS, Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_killed_sweep_resumes_to_the_same_decoders(model, sides, tuned, tmp_path):
    folder = tmp_path / "killed"

    def done():
        return list(folder.glob("*/chunk-*.json"))

    kill_when(done, KILLED, folder, **devices(1))
    assert 0 < len(done()) < len(chunks(tuned))
    resumed = tune(model, sides, RUNS, folder)
    for run in RUNS:
        for name, array in resumed.params(run).items():
            np.testing.assert_array_equal(array, tuned.params(run)[name], err_msg=name)
