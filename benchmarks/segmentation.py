"""Images per second of prompted segmentation, against the original in PyTorch, in one run.

    python benchmarks/segmentation.py --weights=mobile_sam.safetensors

MobileSAM at 1,024 pixels with the same weights for both. Each image gets 8 prompts: a centre, 5
draws of a random point, 5 points together, and a box; every prompt's masks are upsampled to 1,024
pixels and thresholded. The original is FairMedFM's loop: one image and one prompt at a time, the
encoder each time. It is also timed with the encoder once per image (SAM's predictor), and encoders
are compared alone. PyTorch runs on all cores.
"""

import os
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import torch
from absl import app, flags
from common import fastest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from safetensors.numpy import load_file
from torch_mobile_sam import MobileSAM

from fairjax import models
from fairjax.converters.convert import convert
from fairjax.models.sam.tokens import Points, padded, tokens
from fairjax.segmentation.decode import PROMPTS_AT_ONCE, upsample
from fairjax.segmentation.transform import InputTransform
from fairjax.utils.devices import one_cpu_device_per_core

WEIGHTS = flags.DEFINE_string("weights", "mobile_sam.safetensors", "The published weights.")
IMAGES = flags.DEFINE_integer("images", 4, "Images that fairjax takes at a time.")
TORCH_IMAGES = flags.DEFINE_integer(
    "torch_images", 1, "Images that PyTorch takes, one after the other."
)
REPEATS = flags.DEFINE_integer("repeats", 3, "Repetitions; the fastest of each counts.")
SIZE = 1024


def prompts(config, rng) -> list[Points]:
    """Eight prompts of one image."""
    sizes = [1, 1, 1, 1, 1, 1, 5]
    found = [
        tokens(config, rng.uniform(0, SIZE, (1, n, 2)), np.ones((1, n), np.int32)) for n in sizes
    ]
    corners = np.sort(rng.uniform(0, SIZE, (2, 2)), axis=0)
    return [*found, tokens(config, boxes=corners.reshape(1, 4))]


def main(argv):
    del argv
    one_cpu_device_per_core()  # as the command line does
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as model_dir:
        card = convert("mobile_sam", WEIGHTS.value, f"{model_dir}/model").card
        module = models.load(f"{model_dir}/model")
    transform = InputTransform.of(module, models.load_preprocess(card))
    asked = prompts(module.config.decoder, rng)
    longest = max(one.labels.shape[-1] for one in asked)
    coords, labels = (np.concatenate(x) for x in zip(*(padded(one, longest) for one in asked)))
    pixels = rng.normal(size=(IMAGES.value, SIZE, SIZE, 3)).astype(np.float32)
    rows, columns = transform.matrices(SIZE, SIZE)

    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    whole, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    graph, state = nnx.split(module)
    state = jax.device_put(state, whole)

    def segment(state, images):
        module = nnx.merge(graph, state)

        def one(embedding):
            embedding = jax.tree.map(lambda x: x[None], embedding)

            def prompt(points):
                decoded = module.decode(
                    embedding, Points(points[0][None, None], points[1][None, None])
                )
                return upsample(decoded["masks"][0, 0, 1:], rows, columns) > 0, decoded["iou"][
                    0, 0, 1:
                ]

            return jax.lax.map(
                prompt, (jnp.asarray(coords), jnp.asarray(labels)), batch_size=PROMPTS_AT_ONCE
            )

        return jax.lax.map(one, module.embed(images))

    images = jax.device_put(pixels, split)
    ours = jax.jit(segment, in_shardings=(whole, split), out_shardings=split)
    encode = jax.jit(
        lambda state, x: nnx.merge(graph, state).embed(x)["image"],
        in_shardings=(whole, split),
        out_shardings=split,
    )
    masks, iou = jax.block_until_ready(ours(state, images))
    jax.block_until_ready(encode(state, images))
    seconds = (
        fastest(lambda: jax.block_until_ready(ours(state, images)), REPEATS.value) / IMAGES.value
    )
    encoding = (
        fastest(lambda: jax.block_until_ready(encode(state, images)), REPEATS.value) / IMAGES.value
    )

    torch.set_num_threads(os.cpu_count() or 1)
    theirs = MobileSAM(load_file(WEIGHTS.value))
    inputs = [
        torch.from_numpy(x.transpose(2, 0, 1).copy())[None] for x in pixels[: TORCH_IMAGES.value]
    ]
    questions = [
        (torch.from_numpy(one.coords[0].copy()), torch.from_numpy(one.labels[0].copy()))
        for one in asked
    ]

    def answer(embedding, question):
        found, score = theirs.decode(embedding, *question)
        big = torch.nn.functional.interpolate(
            found[:, 1:], (SIZE, SIZE), mode="bilinear", align_corners=False
        )
        return big[0] > 0, score[0, 1:]

    def original():
        return [[answer(theirs.encode(x), question) for question in questions] for x in inputs]

    def once_per_image():
        for x in inputs:
            embedding = theirs.encode(x)
            for question in questions:
                answer(embedding, question)

    found = original()
    agree = np.mean(
        [(np.asarray(masks[0, p]) == found[0][p][0].numpy()).mean() for p in range(len(asked))]
    )
    np.testing.assert_allclose(iou[0], np.stack([score for _, score in found[0]]), atol=1e-3)
    n = len(inputs)
    times = {
        "torch, original": fastest(original, REPEATS.value) / n,
        "torch, encoder once": fastest(once_per_image, REPEATS.value) / n,
    }
    torch_encoding = fastest(lambda: [theirs.encode(x) for x in inputs], REPEATS.value) / n
    print(
        f"{jax.devices()[0].device_kind}: {len(asked)} prompts per image; "
        f"{agree:.4%} of the masks' pixels agree"
    )
    print(f"{'fairjax':20s} {1e3 * seconds:9.0f} ms/image {1 / seconds:7.2f} images/s")
    for name, value in times.items():
        remark = f"fairjax is {value / seconds:.1f}× as fast"
        print(f"{name:20s} {1e3 * value:9.0f} ms/image {1 / value:7.2f} images/s   {remark}")
    alone = f"fairjax {1e3 * encoding:.0f} ms, torch {1e3 * torch_encoding:.0f} ms"
    print(f"encoder alone: {alone}: {torch_encoding / encoding:.2f}×")


if __name__ == "__main__":
    app.run(main)
