"""The smallest encoder of images."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import nnx

from fairjax.embeddings import Encoder

OPTIONS = {"batch_size": 4, "shard_batches": 2, "progress": False}


class Projection(nnx.Module):
    """Mean colour of each image quarter, through a fixed matrix."""

    def __init__(self):
        self.kernel = nnx.Param(jnp.linspace(-1, 1, 12 * 5).reshape(12, 5))

    def probe_features(self, images):
        b, h, w, c = images.shape
        quarters = images.reshape(b, 2, h // 2, 2, w // 2, c).mean((2, 4)).reshape(b, 12)
        return quarters @ self.kernel[...]


def to_float(image):
    return image[:4, :4].astype(np.float32) / 255


def make_encoder(preprocess=to_float) -> Encoder:
    return Encoder(Projection(), preprocess, (4, 4, 3), {"weights": "w"})
