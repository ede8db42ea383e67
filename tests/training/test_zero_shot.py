import jax.numpy as jnp
import numpy as np
import pytest
from helpers.golden import recordings, relative_error
from scipy.special import softmax

from fairjax import models
from fairjax.converters.convert import convert
from fairjax.training.zero_shot import class_embeddings, expand_prompts, zero_shot_scores
from fairjax.utils.errors import UserError


def test_every_template_meets_every_synonym():
    prompts, classes = expand_prompts(["a {}", "photo of {}."], [["normal"], ["lesion", "mass"]])
    assert prompts == [
        "a normal",
        "photo of normal.",
        "a lesion",
        "photo of lesion.",
        "a mass",
        "photo of mass.",
    ]
    np.testing.assert_array_equal(classes, [0, 0, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("templates", "synonyms", "words"),
    [
        (["a photo"], [["x"]], "'a photo'"),
        (["{} {}"], [["x"]], "exactly one"),
        ([], [["x"]], "template"),
        (["{}"], [["x"], []], "name for every class"),
    ],
)
def test_prompts_that_describe_no_class_are_refused(templates, synonyms, words):
    with pytest.raises(UserError, match=words):
        expand_prompts(templates, synonyms)


def test_an_ensemble_is_the_normalised_average_of_normalised_embeddings():
    rng = np.random.default_rng(0)
    prompts, classes = rng.normal(size=(5, 7)), np.array([1, 0, 1, 0, 1])
    ours = class_embeddings(jnp.asarray(prompts), jnp.asarray(classes), 2)
    for k in (0, 1):
        unit = [p / np.sqrt(p @ p) for p, c in zip(prompts, classes) if c == k]
        mean = np.mean(unit, axis=0)
        np.testing.assert_allclose(ours[k], mean / np.sqrt(mean @ mean), rtol=1e-5)


@pytest.mark.parametrize("length", [1.0, 3.0])
def test_one_prompt_per_class_is_no_ensemble(length):
    prompts = length * np.eye(3, 4)
    np.testing.assert_allclose(
        class_embeddings(jnp.asarray(prompts), jnp.arange(3), 3), np.eye(3, 4), rtol=1e-6
    )


ZERO_SHOT = [r for r in recordings() if "out.fairmedfm_zeroshot_logits" in r.io()]


@pytest.mark.parametrize("recording", ZERO_SHOT, ids=lambda recording: recording.folder.name)
def test_scores_are_the_softmax_of_the_recorded_logits(recording, tmp_path):
    convert(recording.row.name, recording.weights_file, tmp_path / "model", recording.config)
    module, io = models.load(tmp_path / "model"), recording.io()
    texts = io["out.text_features"]
    classes = class_embeddings(
        jnp.asarray(texts), jnp.arange(len(texts)), len(texts)
    )  # a prompt each
    scores = zero_shot_scores(module, io["out.image_features"], classes)
    # The classes' embeddings are normalised already, and the model normalises them once more: no
    # more than rounding.
    assert relative_error(scores, softmax(io["out.fairmedfm_zeroshot_logits"], axis=1)) < 1e-4
