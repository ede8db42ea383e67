"""Embeddings in which objects are seen at once, of two groups; in one of them the other way round."""

import numpy as np

from fairjax import models
from fairjax.segmentation.image_embeddings import EmbeddingSource
from fairjax.segmentation.prompts import PromptPlan
from fairjax.segmentation.segmenter import Segmenter
from fairjax.segmentation.transform import InputTransform
from fairjax.segmentation.tuning import losses, sweep
from fairjax.segmentation.tuning.examples import Examples
from fairjax.segmentation.tuning.runs import TuneConfig
from fairjax.training.runs import expand

CHANGES = {
    "encoder.image_size": 64,
    "encoder.embed_dims": (8, 16),
    "encoder.depths": (1, 1),
    "encoder.heads": (1, 2),
    "encoder.windows": (4, 4),
    "encoder.neck_dim": 16,
    "decoder.width": 16,
    "decoder.heads": 2,
    "decoder.mlp_dim": 16,
    "decoder.iou_hidden": 8,
}

CELLS, SIZE = 8, 32  # of the embedding, and of the model's input: a cell is 4 × 4 pixels
GROUPS = ("plain", "inverted")


# A program that is soon compiled.
SMALL = {"decoder.depth": 1, "decoder.n_multimask": 1, "decoder.iou_depth": 2}


def segmenter(changes=SMALL):
    module = models.build("mobile_sam", **CHANGES, **changes)
    preprocess = models.load_preprocess(models.make_card("mobile_sam", module.config)).replace(
        size=SIZE
    )
    return Segmenter(module, InputTransform.of(module, preprocess), {"weights": "made up"})


def cells(image):
    """The object, in cells, and its group: images are named `number-group`."""
    number, group = map(int, image.split("-"))
    rng = np.random.default_rng(number)
    top, left = rng.integers(0, 4, 2)
    height, width = rng.integers(2, 5, 2)
    mask = np.zeros((CELLS, CELLS), bool)
    mask[top : top + height, left : left + width] = True
    return mask, group, rng


def embedding(image):
    mask, group, rng = cells(image)
    noise = rng.normal(size=(CELLS, CELLS, 16)) / 4
    noise[..., :4] += 2 * (mask[..., None] if group == 0 else ~mask[..., None])
    return noise.astype(np.float32).ravel()


SOURCE = EmbeddingSource(embedding, (CELLS * CELLS * 16,), {"image": (CELLS, CELLS, 16)})


def examples(images, model, kinds=("rand", "bbox"), draws=2):
    plan = PromptPlan(kinds, draws)
    masks = [np.kron(cells(image)[0], np.ones((4, 4), bool)) for image in images]
    tokens = [
        [model.transform.tokens(drawn, 2, SIZE, SIZE) for drawn in plan.draw(mask, image, "1#0")]
        for image, mask in zip(images, masks)
    ]
    return Examples(
        list(images),
        np.array([[coords for coords, _ in of_object] for of_object in tokens]),
        np.array([[labels for _, labels in of_object] for of_object in tokens]),
        np.array([plan.kinds.index(kind) for kind, _ in plan.instances]),
        np.stack([np.packbits(mask) for mask in masks]),
        np.full((len(images), 2), SIZE),
        np.array([cells(image)[1] for image in images]),
        SIZE,
    )


def names(start, count, groups=(0, 1)):
    return [f"{number}-{groups[number % len(groups)]}" for number in range(start, start + count)]


CONFIG = TuneConfig(epochs=3, batch_size=3)


def runs_of(*methods, rate=3e-3, seeds=1):
    """Runs of methods at their own strengths."""
    found = []
    for name in methods:
        strength = losses.methods()[name].strength
        strengths = (strength.default,) if strength else (None,)
        found += expand(seeds, (rate,), (0.01,), strengths, name)
    return found


RUNS = runs_of("erm", "febs", seeds=3)


def sides(model):
    """The examples of training, and those of validation."""
    return examples(names(0, 8), model), examples(names(900, 4), model, ("bbox",), 1)


def tune(model, sides, runs, folder, config=CONFIG):
    return sweep.tune(model, SOURCE, *sides, GROUPS, runs, config, folder, progress=False)
