"""SAM's mask decoder: a two-way transformer between tokens and image, then masks.

Arrays have an axis for images (b) and one for the prompts of an image (p). What the prompts of an
image share has p = 1 until a layer makes it differ, so that it is projected once.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from fairjax.models.architectures import MaskDecoderConfig
from fairjax.models.layers import (
    EMBED_INIT,
    KERNEL_INIT,
    MLP,
    PatchEmbed,
    attention,
    gelu,
    layer_norm,
    linear,
)


class DecoderAttention(nnx.Module):
    """Attention with separate projections, in `inner` channels."""

    def __init__(self, width: int, inner: int, heads: int, *, dtype, rngs):
        self.heads = heads
        self.q = linear(width, inner, dtype=dtype, rngs=rngs)
        self.k = linear(width, inner, dtype=dtype, rngs=rngs)
        self.v = linear(width, inner, dtype=dtype, rngs=rngs)
        self.out = linear(inner, width, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        q: Float[Array, " b #p n c"],
        k: Float[Array, " b #p m c"],
        v: Float[Array, " b #p m c"],
        present: Bool[Array, " b #p m"] | None = None,
    ) -> Float[Array, "b p n c"]:
        """Attends to those keys that are `present`."""
        q, k, v = self.q(q), self.k(k), self.v(v)
        b, p, n, inner = q.shape
        if (
            k.shape[1] == 1 and present is None
        ):  # all prompts look at the same keys: their queries are one list
            return self.out(
                self._attend(q.reshape(b, p * n, inner), k[:, 0], v[:, 0], None).reshape(
                    b, p, n, inner
                )
            )
        p = k.shape[1]
        q, k, v = (
            jnp.broadcast_to(x, (b, p, *x.shape[2:])).reshape(b * p, *x.shape[2:])
            for x in (q, k, v)
        )
        mask = None if present is None else present.reshape(b * p, 1, 1, -1)
        return self.out(self._attend(q, k, v, mask).reshape(b, p, n, inner))

    def _attend(self, q: Array, k: Array, v: Array, mask: Array | None) -> Array:
        q, k, v = (x.reshape(*x.shape[:2], self.heads, -1) for x in (q, k, v))
        return attention(q, k, v, mask=mask)


class TwoWayBlock(nnx.Module):
    """Tokens attend to each other, tokens to the image, an MLP, and the image to tokens."""

    def __init__(self, config: MaskDecoderConfig, *, dtype, rngs):
        c, inner = config, config.width // config.downsample
        shared = {"dtype": dtype, "rngs": rngs}
        self.self_attn = DecoderAttention(c.width, c.width, c.heads, **shared)
        self.norm1 = layer_norm(c.width, c.norm_eps, **shared)
        self.to_image = DecoderAttention(c.width, inner, c.heads, **shared)
        self.norm2 = layer_norm(c.width, c.norm_eps, **shared)
        self.mlp = MLP(c.width, c.mlp_dim, "relu", **shared)
        self.norm3 = layer_norm(c.width, c.norm_eps, **shared)
        self.to_tokens = DecoderAttention(c.width, inner, c.heads, **shared)
        self.norm4 = layer_norm(c.width, c.norm_eps, **shared)

    def __call__(self, tokens, image, prompt, positions, present, first: bool):
        """Updates both; in the first block, self-attention has no residual."""
        if first:
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens, present))
        else:
            q = tokens + prompt
            tokens = self.norm1(tokens + self.self_attn(q, q, tokens, present))
        tokens = self.norm2(tokens + self.to_image(tokens + prompt, image + positions, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(
            image + self.to_tokens(image + positions, tokens + prompt, tokens, present)
        )
        return tokens, image


class TwoWayTransformer(nnx.Module):
    """The blocks, and a last look of the tokens at the image."""

    def __init__(self, config: MaskDecoderConfig, *, dtype, rngs):
        c = config
        self.blocks = nnx.List([TwoWayBlock(c, dtype=dtype, rngs=rngs) for _ in range(c.depth)])
        self.final_attn = DecoderAttention(
            c.width, c.width // c.downsample, c.heads, dtype=dtype, rngs=rngs
        )
        self.final_norm = layer_norm(c.width, c.norm_eps, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        prompt: Float[Array, "b p t c"],
        image: Float[Array, " b #p n c"],
        positions: Float[Array, "n c"],
        present: Bool[Array, "b p t"],
    ) -> tuple[Float[Array, "b p t c"], Float[Array, "b p n c"]]:
        """Tokens and image after the blocks."""
        tokens = prompt
        for index, block in enumerate(self.blocks):
            tokens, image = block(tokens, image, prompt, positions, present, index == 0)
        tokens = self.final_norm(
            tokens + self.final_attn(tokens + prompt, image + positions, image)
        )
        return tokens, image


class Head(nnx.Module):
    """An MLP of `depth` linear layers with ReLU between them."""

    def __init__(self, width: int, hidden: int, n_out: int, depth: int, *, dtype, rngs):
        sizes = [width, *[hidden] * (depth - 1), n_out]
        self.layers = nnx.List(
            [linear(a, b, dtype=dtype, rngs=rngs) for a, b in itertools.pairwise(sizes)]
        )

    def __call__(self, x: Float[Array, "*s c"]) -> Float[Array, "*s d"]:
        """Maps each vector on its own."""
        for layer in self.layers[:-1]:
            x = jax.nn.relu(layer(x))
        return self.layers[-1](x)


class Double(nnx.Module):
    """A transposed convolution with kernel and stride 2: a cell becomes 2 × 2 cells."""

    def __init__(self, n_in: int, n_out: int, *, dtype, rngs):
        self.dtype = dtype
        self.kernel = nnx.Param(KERNEL_INIT(rngs.params(), (2, 2, n_in, n_out)))
        self.bias = nnx.Param(jnp.zeros((n_out,)))

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w d"]:
        """Twice the height and width."""
        x, kernel, bias = nnx.nn.dtypes.promote_dtype(
            (x, self.kernel[...], self.bias[...]), dtype=self.dtype
        )
        b, h, w, _ = x.shape
        return jnp.einsum("bhwc,ijcd->bhiwjd", x, kernel).reshape(b, 2 * h, 2 * w, -1) + bias


class MaskDecoder(nnx.Module):
    """Image embedding and prompts -> low-resolution masks, and their predicted IoU.

    Args:
      config: sizes and choices.
      dtype: precision of the computation; parameters are float32, and so are the results.
      rngs: for the initial weights.
    """

    def __init__(self, config: MaskDecoderConfig, *, dtype=None, rngs: nnx.Rngs):
        c, n_masks = config, config.n_multimask + 1
        shared = {"dtype": dtype, "rngs": rngs}
        self.config = config
        self.transformer = TwoWayTransformer(c, **shared)
        self.iou_token = nnx.Param(EMBED_INIT(rngs.params(), (1, c.width)))
        self.mask_tokens = nnx.Param(EMBED_INIT(rngs.params(), (n_masks, c.width)))
        self.object_token = (
            nnx.Param(EMBED_INIT(rngs.params(), (1, c.width))) if c.object_score else None
        )
        self.up1 = Double(c.width, c.width // 4, **shared)
        self.up_norm = layer_norm(c.width // 4, 1e-6, **shared)
        self.up2 = Double(c.width // 4, c.width // 8, **shared)
        self.hypernets = nnx.List(
            [Head(c.width, c.width, c.width // 8, 3, **shared) for _ in range(n_masks)]
        )
        self.iou_head = Head(c.width, c.iou_hidden, n_masks, c.iou_depth, **shared)
        self.object_head = Head(c.width, c.width, 1, 3, **shared) if c.object_score else None
        self.skip4: Any = PatchEmbed(1, c.width, c.width // 8, **shared) if c.skips else None
        self.skip8: Any = PatchEmbed(1, c.width, c.width // 4, **shared) if c.skips else None

    def __call__(
        self,
        image: Float[Array, "b h w c"],
        positions: Float[Array, "h w c"],
        sparse: Float[Array, "b p t c"],
        dense: Float[Array, "#b #p h w c"],
        present: Bool[Array, "b p t"],
        skips: tuple[Array, ...] = (),
    ) -> dict[str, Array]:
        """Decodes all prompts of all images.

        Args:
          image: the image embedding.
          positions: embeddings of the positions of its cells.
          sparse: tokens of the prompts.
          dense: what mask prompts add to the image embedding.
          present: which tokens there are.
          skips: features at strides 8 and 4, projected, if the decoder takes any.

        Returns:
          `masks` (b, p, m, 4h, 4w) logits of masks 0 … n_multimask, their predicted `iou` (b, p,
          m), the mask tokens after the transformer `tokens` (b, p, m, c), and, of a decoder that
          has one, `object_score` (b, p, 1).
        """
        c = self.config
        b, p, _, width = sparse.shape
        h, w = image.shape[1:3]
        parts = [
            x[...] for x in (self.object_token, self.iou_token, self.mask_tokens) if x is not None
        ]
        own = jnp.broadcast_to(jnp.concatenate(parts), (b, p, sum(map(len, parts)), width))
        prompt = jnp.concatenate([own, sparse], axis=2)
        present = jnp.concatenate([jnp.ones(own.shape[:3], bool), present], axis=2)
        cells = (image[:, None] + dense).reshape(b, -1, h * w, width)
        tokens, cells = self.transformer(prompt, cells, positions.reshape(h * w, width), present)
        start = int(c.object_score)
        mask_tokens = tokens[:, :, start + 1 : start + 1 + len(self.hypernets)]
        upscaled = self._upscale(cells.reshape(b * p, h, w, width), p, skips)
        maps = jnp.stack(
            [net(mask_tokens[:, :, i]) for i, net in enumerate(self.hypernets)], axis=2
        )
        masks = jnp.einsum(
            "bpmc,bpyxc->bpmyx",
            maps,
            upscaled.reshape(b, p, *upscaled.shape[1:]),
            preferred_element_type=jnp.float32,
        )
        iou = self.iou_head(tokens[:, :, start]).astype(jnp.float32)
        found = {"masks": masks, "iou": jax.nn.sigmoid(iou) if c.iou_sigmoid else iou}
        found["tokens"] = mask_tokens.astype(jnp.float32)
        if self.object_head is not None:
            found["object_score"] = self.object_head(tokens[:, :, 0]).astype(jnp.float32)
        return found

    def _upscale(
        self, x: Float[Array, "b*p h w c"], p: int, skips: tuple[Array, ...]
    ) -> Float[Array, "b*p H W d"]:
        """Four times the resolution; `skips` are of images, x is of prompts."""
        finer = [jnp.repeat(skip, p, axis=0) for skip in skips] or [jnp.zeros((), x.dtype)] * 2
        x = gelu(self.up_norm(self.up1(x) + finer[0]))
        return gelu(self.up2(x) + finer[1])
