"""A model that is not SAM's is prompted and tuned, if it has what `Promptable` names."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import masks

from fairjax.models.preprocess import Preprocess
from fairjax.models.protocols import MaskFormat, Promptable
from fairjax.models.sam.tokens import Points
from fairjax.segmentation.image_embeddings import embed_images
from fairjax.segmentation.infer import segment
from fairjax.segmentation.objects import ObjectRule, scan
from fairjax.segmentation.prompts import PromptPlan
from fairjax.segmentation.segmenter import Scoring, Segmenter
from fairjax.segmentation.task import PromptedTask
from fairjax.segmentation.transform import InputTransform
from fairjax.segmentation.tuning.examples import make_examples
from fairjax.segmentation.tuning.runs import TuneConfig
from fairjax.segmentation.tuning.sweep import tune
from fairjax.training.runs import expand

SIZE, CELL = 24, 2
PREPROCESS = Preprocess(
    size=SIZE, resize="squash", interpolation="bilinear_plain", mean=(0.0,) * 3, std=(1.0,) * 3
)
EMBEDDING = {"batch_size": 2, "shard_batches": 2}


@dataclasses.dataclass(frozen=True)
class Corners:
    """Every prompt is two tokens: the corners of a box, or a point twice."""

    def tokens(self, points=None, labels=None, boxes=None):
        ends = np.repeat(points[..., :1, :], 2, -2) if boxes is None else boxes.reshape(-1, 2, 2)
        return Points(np.asarray(ends, np.float32), np.ones(ends.shape[:-1], np.int32))

    def length(self, n_points):
        return 2


class Brightness(nnx.Module):
    """Candidates are what is bright (or dark) around a prompt; parts of an embedding are not in
    alphabetical order.
    """

    IMAGE_TOWER, LORA_TARGETS = "eyes", ("look",)
    prompt_format, mask_format = Corners(), MaskFormat()

    def __init__(self):
        self.eyes = nnx.Dict(look=nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
        self.sign = nnx.Param(jnp.array([4.0, -4.0]))
        self.level = nnx.Param(jnp.array([0.5]))

    def embed(self, images):
        cells = images.reshape(len(images), SIZE // CELL, CELL, SIZE // CELL, CELL, 3)
        grid = cells.mean((2, 4))
        return {"look": 0 * self.eyes["look"](grid), "grey": grid.mean(-1)}

    def propose(self, embedding, points):
        grey = embedding["grey"] + embedding["look"].sum(-1)
        y, x = jnp.mgrid[: SIZE // CELL, : SIZE // CELL] * CELL + CELL / 2
        place = jnp.stack([x, y], -1)[None, None]  # (1, 1, h, w, 2)
        low, high = (points.coords[:, :, t, None, None] for t in (0, 1))
        far = jnp.maximum(low - place, place - high).max(-1)  # (b, p, h, w)
        logits = self.sign[...][:, None, None] * (grey - self.level[...])[:, None, None]
        found = logits - jnp.maximum(far, 0)[:, :, None]
        return found, -found.mean((-2, -1))

    def with_all_candidates(self):
        return self

    def accepts(self, size):
        return size == SIZE

    def mask_size(self, size):
        return size // CELL

    def is_tunable(self, name):
        return name in ("sign", "level")


@pytest.fixture(scope="module")
def task(data):
    module = Brightness()
    segmenter = Segmenter(module, InputTransform.of(module, PREPROCESS), {"weights": "toy"})
    rule, plan = ObjectRule(), PromptPlan(("rand", "bbox"), draws=2)
    found = scan(data, rule, progress=False)
    holds = np.isin(np.arange(len(data)), found.table["row"])
    return PromptedTask(data, found, segmenter, rule, plan, Scoring(("dice",))).take(holds)


@pytest.fixture(scope="module")
def cached(task, tmp_path_factory):
    """The task on cached embeddings."""
    root = tmp_path_factory.mktemp("embeddings")
    options = {"threads": 1, "processes": 0, "max_unreadable": 0.0, "progress": False}
    source, _ = embed_images(task.dataset, task.segmenter, root, **EMBEDDING, **options)
    return dataclasses.replace(task, source=source)


def test_models_say_that_they_can_be_prompted():
    assert isinstance(Brightness(), Promptable)
    assert isinstance(masks.segmenter().module, Promptable)
    assert not isinstance(nnx.Linear(2, 2, rngs=nnx.Rngs(0)), Promptable)


def test_masks_are_the_same_of_pixels_and_of_cached_embeddings(task, cached, tmp_path):
    measured = segment(task, tmp_path / "a", **EMBEDDING, progress=False)
    assert measured.values.shape == (len(task.objects.table), 3, 2, 1)
    assert (measured.values[..., 1, 0] >= measured.values[..., 0, 0]).all()
    again = segment(cached, tmp_path / "b", **EMBEDDING, progress=False)
    np.testing.assert_allclose(again.values, measured.values, atol=1e-5)


@pytest.mark.parametrize("rank", [0, 1])
def test_only_what_the_model_names_is_tuned(task, cached, tmp_path, rank):
    examples = make_examples(cached, np.arange(len(cached.dataset)) % 2, threads=1, progress=False)
    assert examples.coords.shape[1:] == (3, 2, 2)
    config = TuneConfig(epochs=2, weight_decay=0.0, lora_rank=rank)
    runs = expand(1, (0.05,), (0.0,), method="erm")
    used = cached if not rank else dataclasses.replace(cached, source=pixels(task))
    tuned = tune(
        used.segmenter, used.source, examples, examples, ("a", "b"), runs, config, tmp_path,
        progress=False,
    )  # fmt: skip
    additions = {"eyes.look.a", "eyes.look.b"} if rank else set()
    assert set(tuned.params(runs[0])) == {"sign", "level"} | additions
    module = tuned.segmenter(runs[0]).module
    assert jax.tree.structure(nnx.state(module)) == jax.tree.structure(nnx.state(Brightness()))


def pixels(task):
    from fairjax.segmentation.image_embeddings import pixels_of

    return pixels_of(task.dataset, task.segmenter.transform)
