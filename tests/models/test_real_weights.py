"""The published MobileSAM on real pictures, where ../shared/data holds them."""

import os
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from fairjax import models
from fairjax.converters.convert import convert

DATA = Path(os.environ.get("FAIRJAX_DATA", Path(__file__).parents[3] / "shared" / "data"))
WEIGHTS = DATA / "mobile_sam" / "mobile_sam.safetensors"

pytestmark = pytest.mark.skipif(
    not WEIGHTS.is_file(), reason="there is no ../shared/data/mobile_sam"
)


def test_mobile_sam_converts_and_tells_pictures_apart(tmp_path):
    # Without norm_head and head, which this file leaves out.
    done = convert("mobile_sam", WEIGHTS, tmp_path / "model")
    module = models.load(tmp_path / "model")
    preprocess = models.load_preprocess(done.card).replace(size=128)
    files = [
        *sorted(DATA.glob("isic2017/**/*.jpg"))[:2],
        *sorted(DATA.glob("covid_cxr/**/*.jpg"))[:2],
    ]
    if len(files) < 4:
        pytest.skip("there are no pictures in ../shared/data")
    pixels = np.stack([preprocess(np.asarray(Image.open(file).convert("RGB"))) for file in files])
    graph, state = nnx.split(module)
    features = jax.jit(lambda state, x: nnx.merge(graph, state).probe_features(x))(state, pixels)
    assert features.shape == (4, 256)
    similarity = np.corrcoef(features)
    within, between = (similarity[0, 1] + similarity[2, 3]) / 2, similarity[:2, 2:].mean()
    assert within > between
