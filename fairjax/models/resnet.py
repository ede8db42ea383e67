"""ResNet (He et al. 2016) in torchvision's form: LVM-Med's ResNet-50, MoCo-CXR, C2L."""

from __future__ import annotations

import jax
from flax import nnx
from jaxtyping import Array, Float

from fairjax.models.architectures import ResNetConfig
from fairjax.models.convnet import ConvNet, max_pool
from fairjax.models.tinyvit import ConvNorm
from fairjax.utils.errors import lookup


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions and a shortcut, which is a convolution where the shape changes."""

    def __init__(self, n_in: int, width: int, stride: int, *, eps, dtype, rngs):
        self.conv1 = ConvNorm(n_in, width, 3, stride, eps=eps, dtype=dtype, rngs=rngs)
        self.conv2 = ConvNorm(width, width, 3, eps=eps, dtype=dtype, rngs=rngs)
        same = n_in == width and stride == 1
        self.downsample = (
            None if same else ConvNorm(n_in, width, 1, stride, eps=eps, dtype=dtype, rngs=rngs)
        )

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Mixes neighbours and channels; the activation follows the addition of the shortcut."""
        y = self.conv2(jax.nn.relu(self.conv1(x)))
        return jax.nn.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nnx.Module):
    """1x1, 3x3 and 1x1 convolutions, the stride in the middle one (ResNet v1.5), and a shortcut."""

    def __init__(self, n_in: int, width: int, stride: int, *, eps, dtype, rngs):
        self.conv1 = ConvNorm(n_in, width, 1, eps=eps, dtype=dtype, rngs=rngs)
        self.conv2 = ConvNorm(width, width, 3, stride, eps=eps, dtype=dtype, rngs=rngs)
        self.conv3 = ConvNorm(width, 4 * width, 1, eps=eps, dtype=dtype, rngs=rngs)
        same = n_in == 4 * width and stride == 1
        self.downsample = (
            None if same else ConvNorm(n_in, 4 * width, 1, stride, eps=eps, dtype=dtype, rngs=rngs)
        )

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Mixes channels and neighbours; the activation follows the addition of the shortcut."""
        y = self.conv3(jax.nn.relu(self.conv2(jax.nn.relu(self.conv1(x)))))
        return jax.nn.relu(y + (x if self.downsample is None else self.downsample(x)))


BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ResNet(ConvNet):
    """A ResNet for images of any size; what varies between models is in its configuration.

    Args:
      config: sizes and choices.
      dtype: data type of the computation (float32 or bfloat16); parameters and the features
        returned are float32.
      rngs: random keys of the initial weights.
    """

    def __init__(self, config: ResNetConfig, *, dtype=None, rngs: nnx.Rngs):
        super().__init__(config, dtype=dtype, rngs=rngs)
        c = config
        block = lookup("block", c.block, BLOCKS)
        options = {"eps": c.batch_norm_eps, "dtype": dtype, "rngs": rngs}
        self.conv1 = ConvNorm(c.in_channels, c.stem_width, 7, 2, **options)
        n_in = c.stem_width
        for stage, n_blocks in enumerate(c.layers):
            width, blocks = c.width * 2**stage, []
            for i in range(n_blocks):
                blocks.append(block(n_in, width, 2 if stage and not i else 1, **options))
                n_in = c.expansion * width
            setattr(self, f"layer{stage + 1}", nnx.List(blocks))  # torchvision's names

    def stem(self, images: Float[Array, "b H W c"]) -> Float[Array, "b h w d"]:
        """Preprocessed images -> what enters the first stage, a quarter of the images' size."""
        return max_pool(jax.nn.relu(self.conv1(images)))

    def features(self, images: Float[Array, "b H W c"]) -> Float[Array, "b h w d"]:
        """Preprocessed images -> the last stage's grid of features."""
        x = self.stem(images)
        for stage in range(len(self.config.layers)):
            for block in getattr(self, f"layer{stage + 1}"):
                x = block(x)
        return x
