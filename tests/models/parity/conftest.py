"""The modules of recordings, each converted once."""

import pytest
from flax import nnx
from helpers.golden import Recording

from fairjax import models
from fairjax.converters.convert import convert


@pytest.fixture(scope="session")
def loaded(tmp_path_factory):
    """Recording -> its module, converted and loaded once."""
    cache = {}

    def load(recording: Recording, dtype=None) -> nnx.Module:
        if recording.folder not in cache:
            out = tmp_path_factory.mktemp("converted") / "model"
            convert(
                recording.row.name, recording.weights_file, out, recording.folder / "config.json"
            )
            cache[recording.folder] = out
        return models.load(cache[recording.folder], dtype)

    return load
