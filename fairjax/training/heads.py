"""What is trained on embeddings: a table of heads, each a dict of arrays whose first axis is the
run.

A head gives k outputs, whose mean is the logit of the positive class, and the features they are
made of. In the shared order of samples, one step of all runs is one matmul with the embeddings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

Parameters = dict[str, Array]
HIDDEN = 64  # of the MLP probe
REDUCTION = 4  # of CLIP-Adapter's bottleneck
RESIDUAL = 0.2  # fraction of the adapted features: CLIP-Adapter's for images


@dataclasses.dataclass(frozen=True)
class Head:
    """A row of the table of heads.

    Attributes:
      name: how it is called.
      init: key, (k, d) → the parameters of one run.
      forward: parameters and constants, x (b, d) shared or (r, b, d) → outputs (r, k, b) and
        features (r, h, b).
      features: (k, d) → h.
      prototypes: whether it begins at embeddings of the classes' descriptions: the constants
        `prototypes` (1, 2, d) and `scale` (1,), which multiplies cosines.
      unit: whether it is made for x of length 1, in place of z-scored x.
    """

    name: str
    init: Callable[[Key[Array, ""], int, int], Parameters]
    forward: Callable[[Parameters, Array], tuple[Float[Array, "r k b"], Float[Array, "r h b"]]]
    features: Callable[[int, int], int]
    prototypes: bool = False
    unit: bool = False

    def logits(self, parameters: Parameters, x: Float[Array, "*r b d"]) -> Float[Array, "r b"]:
        """Logits (r, b) of the positive class, of all runs."""
        return self.forward(parameters, x)[0].mean(1)


def dense(kernel: Float[Array, "r k d"], x: Float[Array, "*r b d"]) -> Float[Array, "r k b"]:
    """Products of all runs' kernels with samples that they share (b, d), or with each run's own (r,
    b, d).
    """
    return jnp.einsum("bd,rkd->rkb" if x.ndim == 2 else "rbd,rkd->rkb", x, kernel)


def _uniform(key: Key[Array, ""], k: int, d: int) -> tuple[Array, Array]:
    """Kernel (k, d) and bias (k,), uniform in ±1/√d, as those of `torch.nn.Linear`."""
    draw = jax.random.uniform(key, (k, d + 1), jnp.float32, -(d**-0.5), d**-0.5)
    return draw[:, :d], draw[:, d]


def _linear_init(key: Key[Array, ""], k: int, d: int) -> Parameters:
    kernel, bias = _uniform(key, k, d)
    return {"kernel": kernel, "bias": bias}


def _linear(parameters: Parameters, x: Array) -> tuple[Array, Array]:
    outputs = dense(parameters["kernel"], x) + parameters["bias"][..., None]
    return outputs, outputs.mean(1, keepdims=True)


def _mlp_init(key: Key[Array, ""], k: int, d: int) -> Parameters:
    first, second = jax.random.split(key)
    hidden, hidden_bias = _uniform(first, HIDDEN, d)
    kernel, bias = _uniform(second, k, HIDDEN)
    return {"hidden": hidden, "hidden_bias": hidden_bias, "kernel": kernel, "bias": bias}


def _mlp(parameters: Parameters, x: Array) -> tuple[Array, Array]:
    features = jax.nn.relu(dense(parameters["hidden"], x) + parameters["hidden_bias"][..., None])
    return jnp.einsum("rkh,rhb->rkb", parameters["kernel"], features) + parameters["bias"][
        ..., None
    ], features


def _prototypes_init(key: Key[Array, ""], k: int, d: int) -> Parameters:
    """Offsets of the prototypes, which begin at 0 whatever the seed: the head begins as the
    zero-shot classifier.
    """
    del key
    return {"offset": jnp.zeros((k, 2, d))}


def _prototypes(parameters: Parameters, x: Array) -> tuple[Array, Array]:
    unit = _normalized(parameters["prototypes"][:, None] + parameters["offset"])  # (r, k, 2, d)
    outputs = dense(parameters["scale"][:, None, None] * (unit[:, :, 1] - unit[:, :, 0]), x)
    return outputs, outputs.mean(1, keepdims=True)


def _adapter_init(key: Key[Array, ""], k: int, d: int) -> Parameters:
    width = max(d // REDUCTION, 1)
    first, second = jax.random.split(key)
    down, _ = _uniform(first, width, d)
    up, _ = _uniform(second, d, width)
    return {"down": down, "up": up, "offset": jnp.zeros((k, 2, d))}


def _adapter(parameters: Parameters, x: Array) -> tuple[Array, Array]:
    """Source: Gao et al. 2021, CLIP-Adapter: better vision-language models with adapters."""
    bottleneck = jax.nn.relu(dense(parameters["down"], x))
    adapted = jax.nn.relu(jnp.einsum("rdw,rwb->rdb", parameters["up"], bottleneck))
    z = _normalized(RESIDUAL * adapted + (1 - RESIDUAL) * jnp.swapaxes(x, -1, -2), 1)
    unit = _normalized(parameters["prototypes"][:, None] + parameters["offset"])
    difference = parameters["scale"][:, None, None] * (unit[:, :, 1] - unit[:, :, 0])
    return jnp.einsum("rkd,rdb->rkb", difference, z), z


def _normalized(a: Array, axis: int = -1) -> Array:
    return a * jax.lax.rsqrt(jnp.maximum(jnp.sum(a * a, axis, keepdims=True), 1e-12))


HEADS = {
    head.name: head
    for head in (
        Head("linear", _linear_init, _linear, lambda k, d: 1),
        Head("mlp", _mlp_init, _mlp, lambda k, d: HIDDEN),
        Head(
            "prototypes", _prototypes_init, _prototypes, lambda k, d: 1, prototypes=True, unit=True
        ),
        Head("clip_adapter", _adapter_init, _adapter, lambda k, d: d, prototypes=True, unit=True),
    )
}
