"""DenseNet (Huang et al. 2017) in torchvision's form: MoCo-CXR's other encoder."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from fairjax.models.architectures import DenseNetConfig
from fairjax.models.convnet import BatchNorm, ConvNet, max_pool
from fairjax.models.layers import PATCH_INIT
from fairjax.models.tinyvit import ConvNorm, conv


class PlainConv(nnx.Module):
    """A convolution without bias."""

    def __init__(self, n_in: int, n_out: int, kernel: int, *, dtype, rngs):
        self.dtype = dtype
        self.kernel = nnx.Param(PATCH_INIT(rngs.params(), (kernel, kernel, n_in, n_out)))

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        """Convolves."""
        x, kernel = nnx.nn.dtypes.promote_dtype((x, self.kernel[...]), dtype=self.dtype)
        return conv(x, kernel)


class DenseLayer(nnx.Module):
    """Adds `growth` channels: BatchNorm, ReLU, 1x1 convolution, then the same with a 3x3 one."""

    def __init__(self, n_in: int, config: DenseNetConfig, *, dtype, rngs):
        c = config
        self.norm1 = BatchNorm(n_in, c.batch_norm_eps, dtype=dtype)
        self.conv1 = ConvNorm(
            n_in, c.bottleneck * c.growth, 1, eps=c.batch_norm_eps, dtype=dtype, rngs=rngs
        )
        self.conv2 = PlainConv(c.bottleneck * c.growth, c.growth, 3, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        """All channels so far and the new ones."""
        added = self.conv2(jax.nn.relu(self.conv1(jax.nn.relu(self.norm1(x)))))
        return jnp.concatenate([x, added.astype(x.dtype)], axis=-1)


class DenseBlock(nnx.Module):
    """Layers of which each gets the channels of all before it."""

    def __init__(self, n_in: int, n_layers: int, config: DenseNetConfig, *, dtype, rngs):
        self.n_layers = n_layers
        for i in range(n_layers):
            layer = DenseLayer(n_in + i * config.growth, config, dtype=dtype, rngs=rngs)
            setattr(self, f"denselayer{i + 1}", layer)  # torchvision's names, which count from 1

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        """The channels that it gets, and those of all its layers."""
        for i in range(self.n_layers):
            x = getattr(self, f"denselayer{i + 1}")(x)
        return x


class Transition(nnx.Module):
    """Halves the channels, by a 1x1 convolution, and the grid, by the average of 2x2."""

    def __init__(self, n_in: int, eps: float, *, dtype, rngs):
        self.norm = BatchNorm(n_in, eps, dtype=dtype)
        self.conv = PlainConv(n_in, n_in // 2, 1, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Maps the grid to one of half the size; a last odd row or column is dropped."""
        return nnx.avg_pool(
            self.conv(jax.nn.relu(self.norm(x))), (2, 2), strides=(2, 2), padding="VALID"
        )


class DenseNet(ConvNet):
    """A DenseNet for images of any size.

    Args:
      config: sizes and choices.
      dtype: data type of the computation (float32 or bfloat16); parameters and the features
        returned are float32.
      rngs: random keys of the initial weights.
    """

    def __init__(self, config: DenseNetConfig, *, dtype=None, rngs: nnx.Rngs):
        super().__init__(config, dtype=dtype, rngs=rngs)
        c = config
        self.conv0 = ConvNorm(
            c.in_channels, c.stem_width, 7, 2, eps=c.batch_norm_eps, dtype=dtype, rngs=rngs
        )
        for i, (layers, width) in enumerate(zip(c.layers, c.widths), 1):
            block = DenseBlock(width - layers * c.growth, layers, c, dtype=dtype, rngs=rngs)
            setattr(self, f"denseblock{i}", block)
            if i < len(c.layers):
                setattr(
                    self,
                    f"transition{i}",
                    Transition(width, c.batch_norm_eps, dtype=dtype, rngs=rngs),
                )
        self.norm5 = BatchNorm(c.width_out, c.batch_norm_eps, dtype=dtype)

    def features(self, images: Float[Array, "b H W c"]) -> Float[Array, "b h w d"]:
        """Preprocessed images -> the last block's grid of features, normalised and through ReLU."""
        x = max_pool(jax.nn.relu(self.conv0(images)))
        for i in range(1, len(self.config.layers)):
            x = getattr(self, f"transition{i}")(getattr(self, f"denseblock{i}")(x))
        x = getattr(self, f"denseblock{len(self.config.layers)}")(x)
        return jax.nn.relu(self.norm5(x))
