"""Objectives that teach an encoder from images without labels.

Each is an NNX module that holds the encoder and whatever else it needs, with one method:
`loss(images, partners, key)`, where `partners` are other images of the same patients, row by row.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Key

from fairjax.models.architectures import TransformerConfig
from fairjax.models.layers import EMBED_INIT, Transformer, linear
from fairjax.models.vit import ViT

Images = Float[Array, "b H W c"]


class MaskedAutoencoder(nnx.Module):
    """Reconstructs the pixels of hidden patches from the visible ones (He et al., Masked
    autoencoders, CVPR 2022).
    """

    VISIBLE = 0.25
    DECODER = TransformerConfig(width=64, depth=2, heads=2, mlp_dim=256)

    def __init__(self, encoder: ViT, *, rngs: nnx.Rngs):
        c, width = encoder.config, self.DECODER.width
        self.encoder = encoder
        self.to_decoder = linear(c.width, width, rngs=rngs)
        self.mask_token = nnx.Param(EMBED_INIT(rngs.params(), (width,)))
        self.positions = nnx.Param(EMBED_INIT(rngs.params(), (c.grid**2, width)))
        self.decoder = Transformer(self.DECODER, rngs=rngs)
        self.to_pixels = linear(width, c.patch_size**2 * c.in_channels, rngs=rngs)

    def loss(self, images: Images, partners: Images, key: Key[Array, ""]) -> Float[Array, ""]:
        """Mean squared error over the hidden patches' pixels."""
        del partners
        b, n = len(images), self.encoder.config.grid**2
        rows = jnp.arange(b)[:, None]
        order = jnp.argsort(jax.random.uniform(key, (b, n)), axis=1)
        visible, hidden = jnp.split(order, [round(self.VISIBLE * n)], axis=1)
        tokens = self.encoder.embed(images)[rows, visible]
        tokens = self.to_decoder(self.encoder.norm(self.encoder.encoder(tokens)))
        full = (
            jnp.broadcast_to(self.mask_token[...], (b, n, tokens.shape[-1]))
            .at[rows, visible]
            .set(tokens)
        )
        pixels = self.to_pixels(self.decoder(full + self.positions[...]))
        return jnp.square(pixels - patches(images, self.encoder.config.patch_size))[
            rows, hidden
        ].mean()


class Contrastive(nnx.Module):
    """Finds a patient's other image among those of the batch.

    The loss is NT-Xent (Chen et al., SimCLR, ICML 2020) between the two images of each patient (as
    in Azizi et al., Big self-supervised models advance medical image classification, ICCV 2021),
    each with brightness and contrast changed.
    """

    TEMPERATURE = 0.1
    PROJECTION = 64

    def __init__(self, encoder: ViT, *, rngs: nnx.Rngs):
        width = encoder.config.probe_width
        self.encoder = encoder
        self.hidden = linear(width, 2 * width, rngs=rngs)
        self.projection = linear(2 * width, self.PROJECTION, rngs=rngs)

    def loss(self, images: Images, partners: Images, key: Key[Array, ""]) -> Float[Array, ""]:
        """Cross-entropy of picking the right partner, both ways."""
        b = len(images)
        gain, shift = jax.random.uniform(key, (2, 2 * b, 1, 1, 1), minval=-1)
        views = jnp.concatenate([images, partners]) * jnp.exp(0.2 * gain) + 0.3 * shift
        z = self.projection(jax.nn.relu(self.hidden(self.encoder.encode_image(views))))
        z /= jnp.linalg.norm(z, axis=-1, keepdims=True)
        logits = z[:b] @ z[b:].T / self.TEMPERATURE  # (b, b)
        both = jnp.stack([logits, logits.T])
        return optax.softmax_cross_entropy_with_integer_labels(both, jnp.arange(b)[None]).mean()


class ForeignPatch(nnx.Module):
    """Says of every patch how much of it was blended in from elsewhere in another patient.

    A third of the images stay whole. Tan et al., Detecting outliers with foreign patch
    interpolation, MELBA 2022; here the region is a soft ellipse and its source is shifted, so that
    it neither shows an edge nor fits the anatomy.
    """

    BLENDED = 0.67  # fraction of the images
    RADIUS = (0.06, 0.25)  # of the ellipse, in halves of the image's side
    SHIFT = 0.25  # of the image's side, at most

    def __init__(self, encoder: ViT, *, rngs: nnx.Rngs):
        self.encoder = encoder
        self.head = linear(encoder.config.width, 1, rngs=rngs)

    def loss(self, images: Images, partners: Images, key: Key[Array, ""]) -> Float[Array, ""]:
        """Binary cross-entropy per patch against the fraction of it that is blended."""
        b, side, _, _ = images.shape
        keys = jax.random.split(key, 4)
        reach = round(self.SHIFT * side)
        foreign = jnp.roll(
            partners, (1, *jax.random.randint(keys[0], (2,), -reach, reach + 1)), (0, 1, 2)
        )
        region = soft_ellipses(keys[1], b, side, self.RADIUS)
        region *= jax.random.bernoulli(keys[2], self.BLENDED, (b, 1, 1, 1))
        strength = jax.random.uniform(keys[3], (b, 1, 1, 1), minval=0.2)
        tokens = self.encoder(images + strength * region * (foreign - images))[
            :, self.encoder.n_prefix :
        ]
        fraction = patches(region, self.encoder.config.patch_size).mean(-1)  # (b, n)
        return optax.sigmoid_binary_cross_entropy(self.head(tokens)[..., 0], fraction).mean()


def patches(images: Images, size: int) -> Float[Array, "b n p"]:
    """Cuts images into patches of size × size pixels, row by row, each flattened."""
    b, h, w, c = images.shape
    grid = images.reshape(b, h // size, size, w // size, size, c).transpose(0, 1, 3, 2, 4, 5)
    return grid.reshape(b, -1, size * size * c)


def soft_ellipses(
    key: Key[Array, ""], b: int, side: int, radius: tuple[float, float]
) -> Float[Array, "b side side 1"]:
    """One ellipse per image: 1 inside, falling smoothly to 0; `radius` in halves of the side, drawn
    log-uniformly.
    """
    keys = jax.random.split(key, 3)
    x, y = jax.random.uniform(keys[0], (2, b, 1, 1), minval=-0.8, maxval=0.8)
    low, high = jnp.log(jnp.asarray(radius))
    mean_radius = jnp.exp(jax.random.uniform(keys[1], (b, 1, 1), minval=low, maxval=high))
    stretch = jnp.exp(jax.random.uniform(keys[2], (b, 1, 1), minval=-0.4, maxval=0.4))
    axis = (jnp.arange(side) + 0.5) * (2 / side) - 1
    distance = (
        jnp.hypot((axis[None, None, :] - x) * stretch, (axis[None, :, None] - y) / stretch)
        / mean_radius
    )
    return jax.nn.sigmoid((1 - distance) / 0.15)[..., None]


OBJECTIVES: dict[str, Callable[..., nnx.Module]] = {
    "masked": MaskedAutoencoder,
    "contrastive": Contrastive,
    "foreign_patch": ForeignPatch,
}
