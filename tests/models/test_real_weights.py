"""The published MobileSAM on real images, where ../shared/data holds them."""

import jax
import numpy as np
from flax import nnx
from helpers import needs
from PIL import Image

from fairjax import models
from fairjax.converters.convert import convert


def test_mobile_sam_converts_and_distinguishes_images(tmp_path):
    weights = needs.data("mobile_sam/mobile_sam.safetensors")
    # The file lacks norm_head and head.
    done = convert("mobile_sam", weights, tmp_path / "model")
    module = models.load(tmp_path / "model")
    preprocess = models.load_preprocess(done.card).replace(size=128)
    files = [
        file
        for name in ("isic2017", "covid_cxr")
        for file in sorted(needs.data(name).glob("**/*.jpg"))[:2]
    ]
    pixels = np.stack([preprocess(np.asarray(Image.open(file).convert("RGB"))) for file in files])
    graph, state = nnx.split(module)
    features = jax.jit(lambda state, x: nnx.merge(graph, state).probe_features(x))(state, pixels)
    assert features.shape == (4, 256)
    similarity = np.corrcoef(features)
    within, between = (similarity[0, 1] + similarity[2, 3]) / 2, similarity[:2, 2:].mean()
    assert within > between
