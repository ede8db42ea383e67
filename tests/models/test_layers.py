import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import needs
from scipy.special import erf

from fairjax.models.architectures import ViTConfig
from fairjax.models.convolution import conv
from fairjax.models.layers import ACTIVATIONS, attention, bicubic_matrix, resize_bicubic
from fairjax.models.tinyvit import offset_index
from fairjax.models.vit import ViT
from fairjax.utils.errors import UserError

TINY = {"image_size": 16, "patch_size": 8, "width": 12, "depth": 1, "heads": 2, "mlp_dim": 24}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_attention_equals_the_reference(rng, masked, biased):
    q, k, v = (jnp.asarray(rng.normal(size=(2, 7, 3, 4)), jnp.float32) for _ in range(3))
    bias = jnp.asarray(rng.normal(size=(1, 3, 7, 7)), jnp.float32) if biased else None
    mask = jnp.tril(jnp.ones((7, 7), bool))[None, None] if masked else None
    with jax.default_matmul_precision("highest"):
        ours = jax.jit(attention)(q, k, v, bias, mask)
        theirs = jax.nn.dot_product_attention(q, k, v, bias=bias, mask=mask)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_attention_has_gradients_and_survives_large_scores(rng):
    q = jnp.asarray(rng.normal(size=(1, 5, 2, 4)) * 100, jnp.float32)
    gradient = jax.grad(lambda q: attention(q, q, q).sum())(q)
    assert jnp.isfinite(gradient).all()


def test_activations_follow_their_definitions():
    x = jnp.linspace(-6, 6, 101, dtype=jnp.float32)
    np.testing.assert_allclose(
        ACTIVATIONS["gelu"](x), x * 0.5 * (1 + erf(x / np.sqrt(2))), atol=1e-6
    )
    tanh = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(ACTIVATIONS["gelu_tanh"](x), tanh, atol=1e-6)
    np.testing.assert_allclose(
        ACTIVATIONS["quick_gelu"](x), x / (1 + np.exp(-1.702 * x)), atol=1e-6
    )


@pytest.mark.parametrize(("n_in", "n_out"), [(7, 4), (7, 10), (7, 7), (37, 16)])
@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_bicubic_weights_sum_to_one_and_keep_a_ramp_inside(n_in, n_out, offset):
    matrix = bicubic_matrix(n_in, n_out, offset)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)
    source = (np.arange(n_out) + 0.5) * n_in / (n_out + offset) - 0.5
    inside = (source >= 1) & (source <= n_in - 2)
    assert inside.any()
    # A cubic with a = -0.75 is not exact.
    np.testing.assert_allclose((matrix @ np.arange(n_in))[inside], source[inside], atol=0.1)


@pytest.mark.parametrize(("h", "w"), [(4, 4), (10, 10), (4, 6), (7, 9)])
@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_bicubic_resizing_equals_torch(rng, h, w, offset):
    torch = needs.torch()
    grid = rng.normal(size=(7, 7, 5)).astype(np.float32)
    scale = {"scale_factor": ((h + offset) / 7, (w + offset) / 7)} if offset else {"size": (h, w)}
    image = torch.from_numpy(grid).permute(2, 0, 1)[None]
    theirs = (
        torch.nn.functional.interpolate(image, mode="bicubic", **scale)[0].permute(1, 2, 0).numpy()
    )
    np.testing.assert_allclose(resize_bicubic(jnp.asarray(grid), h, w, offset), theirs, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [7, 8])
def test_depthwise_convolution_equals_the_grouped_one(rng, stride, size):
    x = jnp.asarray(rng.normal(size=(2, size, size + 1, 4)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 1, 4)), jnp.float32)
    theirs = jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(1, 1)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=4,
    )
    np.testing.assert_allclose(conv(x, kernel, stride), theirs, atol=1e-5)


def test_offsets_are_numbered_in_the_order_in_which_the_original_meets_them():
    window, points = 3, [(y, x) for y in range(3) for x in range(3)]
    seen: dict[tuple[int, int], int] = {}
    theirs = [
        [seen.setdefault((abs(a[0] - b[0]), abs(a[1] - b[1])), len(seen)) for b in points]
        for a in points
    ]
    np.testing.assert_array_equal(offset_index(window), theirs)


def test_a_vit_without_resizing_refuses_another_input_size():
    model = ViT(ViTConfig(**TINY), rngs=nnx.Rngs(0))
    with pytest.raises(UserError, match="16x16 pixels"):
        model.encode_image(jnp.zeros((1, 24, 16, 3)))


@pytest.mark.parametrize(("pool", "width"), [("cls", 12), ("mean", 12), ("cls_mean", 24)])
def test_pooling_by_name(rng, pool, width):
    config = ViTConfig(**TINY, pool=pool, resize_offset=0.0, layer_scale=0.1)
    model = ViT(config, rngs=nnx.Rngs(0))
    images = jnp.asarray(rng.normal(size=(2, 24, 16, 3)), jnp.float32)
    tokens, features = model(images), model.probe_features(images)
    assert tokens.shape == (2, 1 + 3 * 2, 12)
    assert features.shape == (2, width) == (2, config.probe_width)
    patches = tokens[:, 1:].mean(axis=1)
    expected = {
        "cls": tokens[:, 0],
        "mean": patches,
        "cls_mean": jnp.concatenate([tokens[:, 0], patches], 1),
    }[pool]
    np.testing.assert_allclose(features, expected, rtol=1e-6)


def test_a_vit_can_do_without_a_class_token():
    model = ViT(ViTConfig(**TINY, class_token=False, pool="mean"), rngs=nnx.Rngs(0))
    assert model(jnp.zeros((1, 16, 16, 3))).shape == (1, 4, 12)
    with pytest.raises(UserError, match="class_token"):
        ViT(ViTConfig(**TINY, class_token=False, pool="cls"), rngs=nnx.Rngs(0))


def test_width_must_be_divisible_by_heads():
    with pytest.raises(UserError, match="5 heads"):
        ViTConfig(**TINY | {"heads": 5})
