"""Convolutional encoders: frozen BatchNorm, first layers, pooling and projection."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from fairjax.models.architectures import ConvNetConfig
from fairjax.models.layers import linear
from fairjax.utils.errors import UserError, lookup


class BatchNorm(nnx.Module):
    """A frozen BatchNorm: the affine map of its running statistics."""

    def __init__(self, width: int, eps: float, *, dtype=None):
        self.eps, self.dtype = eps, dtype
        self.scale, self.bias = nnx.Param(jnp.ones((width,))), nnx.Param(jnp.zeros((width,)))
        self.mean, self.var = nnx.BatchStat(jnp.zeros((width,))), nnx.BatchStat(jnp.ones((width,)))

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Scales and shifts each channel."""
        scale = self.scale[...] * jax.lax.rsqrt(self.var[...] + self.eps)
        bias = self.bias[...] - self.mean[...] * scale
        x, scale, bias = nnx.nn.dtypes.promote_dtype((x, scale, bias), dtype=self.dtype)
        return x * scale + bias


def max_pool(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """The maximum over 3x3 windows, stride 2, padded by 1."""
    return nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))


class ConvNet(nnx.Module):
    """An encoder whose `features(images)` are averaged and, perhaps, projected."""

    def __init__(self, config: ConvNetConfig, *, dtype=None, rngs: nnx.Rngs):
        self.config = config
        self._probe = lookup(
            "probe feature", config.probe, {"projected": "encode_image", "pooled": "pool_image"}
        )
        widths = (config.width_out, *config.projection)
        self.projection = nnx.List(
            [
                linear(n_in, n_out, dtype=dtype, rngs=rngs)
                for n_in, n_out in itertools.pairwise(widths)
            ]
        )

    def features(self, images: Float[Array, "b H W c"]) -> Float[Array, "b h w d"]:
        """Preprocessed images -> the last grid of features."""
        raise NotImplementedError

    def pool_image(self, images: Float[Array, "b H W c"]) -> Float[Array, "b d"]:
        """Preprocessed images -> the average of the last grid, in float32, before any projection.

        Raises:
          UserError: if the original's pooling window does not fit the images' size.
        """
        grid = self.features(images)
        wanted = self.config.fixed_grid
        if wanted is not None and grid.shape[1:3] != (wanted, wanted):
            raise UserError(
                f"this model takes images of {self.config.image_size}x{self.config.image_size} "
                f"pixels, not of {images.shape[1]}x{images.shape[2]}: its pooling needs "
                f"{wanted}x{wanted} features, not {grid.shape[1]}x{grid.shape[2]}"
            )
        return grid.astype(jnp.float32).mean(axis=(1, 2))

    def encode_image(self, images: Float[Array, "b H W c"]) -> Float[Array, "b e"]:
        """Preprocessed images -> the projected feature; without projection, the pooled one."""
        x = self.pool_image(images)
        for i, layer in enumerate(self.projection):
            x = layer(x if i == 0 else jax.nn.relu(x))
        x = x.astype(jnp.float32)
        return x / jnp.linalg.norm(x, axis=-1, keepdims=True) if self.config.normalize else x

    def probe_features(self, images: Float[Array, "b H W c"]) -> Float[Array, "b f"]:
        """The feature that a linear probe is trained on; the configuration says which."""
        return getattr(self, self._probe)(images)
