import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from helpers.golden import recordings
from PIL import Image

from fairjax.datasets.catalog import compat_grey
from fairjax.models.preprocess import CLIP_MEAN, CLIP_STD, Preprocess, compat
from fairjax.models.zoo import MODELS
from fairjax.utils.errors import UserError

rng = np.random.default_rng(0)


def sample_image(height: int, width: int) -> np.ndarray:
    """Smooth colours and an edge, so that interpolation and cropping show."""
    y, x = np.mgrid[:height, :width]
    image = np.stack(
        [x * 255 / width, y * 255 / height, 128 + 100 * np.sign(x - width / 3)], axis=-1
    )
    return image.astype(np.uint8)


@pytest.mark.parametrize(
    ("height", "width"), [(300, 400), (401, 300), (224, 224), (100, 173), (515, 512)]
)
def test_clip_style_equals_pil_resize_and_crop_done_by_hand(height, width):
    image = sample_image(height, width)
    if height <= width:
        resized = Image.fromarray(image).resize(
            (int(224 * width / height), 224), Image.Resampling.BICUBIC
        )
    else:
        resized = Image.fromarray(image).resize(
            (224, int(224 * height / width)), Image.Resampling.BICUBIC
        )
    left, top = round((resized.width - 224) / 2), round((resized.height - 224) / 2)
    cropped = np.asarray(resized.crop((left, top, left + 224, top + 224)), np.float64) / 255
    expected = (cropped - np.array(CLIP_MEAN)) / np.array(CLIP_STD)
    ours = MODELS["clip"].preprocess(image)
    assert ours.dtype == np.float32
    assert ours.shape == (224, 224, 3)
    np.testing.assert_allclose(ours, expected, atol=2e-6)


def test_dinov2_resizes_to_256_before_cropping_224():
    image = sample_image(512, 512)
    resized = np.asarray(Image.fromarray(image).resize((256, 256), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(
        MODELS["dinov2"].preprocess.resized(image), resized[16:240, 16:240]
    )


def test_the_share_that_is_cropped_follows_another_size():
    preprocess = MODELS["dinov2"].preprocess.replace(size=112)
    resized = np.asarray(
        Image.fromarray(sample_image(512, 512)).resize((128, 128), Image.Resampling.BICUBIC)
    )
    np.testing.assert_array_equal(preprocess.resized(sample_image(512, 512)), resized[8:120, 8:120])


def test_the_longest_side_is_kept_whole_and_padding_is_zero_after_normalising():
    preprocess = MODELS["mobile_sam"].preprocess.replace(size=64)
    out = preprocess(np.full((100, 50, 3), 255, np.uint8))
    assert (out[:, :32] > 2).all()
    assert (out[:, 32:] == 0).all()


def test_squash_fills_the_square():
    preprocess = Preprocess(size=8, resize="squash", mean=(0.0,) * 3, std=(1.0,) * 3)
    np.testing.assert_allclose(preprocess(np.full((20, 5, 3), 51, np.uint8)), 0.2, rtol=1e-6)


@pytest.mark.parametrize(
    "image",
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 4), np.uint8)],
)
def test_what_is_no_rgb_image_is_refused(image):
    with pytest.raises(UserError, match="uint8 images"):
        MODELS["clip"].preprocess(image)


def test_unknown_rules_are_refused_with_the_nearest():
    with pytest.raises(UserError, match="'shorter'"):
        Preprocess(size=8, resize="short")


@pytest.mark.parametrize("name", MODELS)
def test_every_preprocessing_travels_to_a_loader_process(name):
    preprocess = MODELS[name].preprocess
    image = rng.integers(0, 256, (40, 30, 3), np.uint8)
    again = pickle.loads(pickle.dumps(preprocess.replace(size=32)))
    np.testing.assert_array_equal(again(image), preprocess.replace(size=32)(image))


def test_neither_the_zoo_nor_preprocessing_imports_jax():
    code = "import fairjax.models.preprocess, fairjax.models.zoo, fairjax.models, sys; print({'jax', 'flax', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(("height", "width"), [(300, 400), (401, 300), (100, 173)])
def test_medclip_pads_grey_images_to_a_square(height, width):
    image = sample_image(height, width)
    grey = Image.fromarray(image).convert("L")
    side = max(224, height, width)
    square = Image.new("L", (side, side), 0)
    square.paste(grey, (int((side - width) / 2), int((side - height) / 2)))
    resized = np.asarray(square.resize((224, 224), Image.Resampling.BICUBIC), np.float64) / 255
    ours = MODELS["medclip"].preprocess(image)
    np.testing.assert_allclose(
        ours,
        ((resized - 0.5862785803043838) / 0.27950088968644304)[..., None].repeat(3, 2),
        atol=2e-6,
    )


def test_compat_is_the_recorded_preprocessing_of_fairmedfm():
    (published,) = {
        json.dumps(r.config["preprocess_fairmedfm"])
        for r in recordings()
        if "preprocess_fairmedfm" in r.config
    }
    for names, constants in json.loads(published)["mean_std_by_dataset"].items():
        for name in (
            names.replace("CXP", "CHEXPERT").replace("all others", "isic2017").lower().split(",")
        ):
            ours = compat(compat_grey(name))
            assert (list(ours.mean), list(ours.std)) == (constants["mean"], constants["std"])
            assert (ours.size, ours.resize, ours.interpolation) == (224, "shorter", "bicubic")
