"""Registers a model: a function of images."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from fairjax.models import functions, zoo
from fairjax.models.architectures import FunctionConfig
from fairjax.models.functions import FunctionModel, ImageFunction
from fairjax.models.preprocess import Preprocess
from fairjax.register import table
from fairjax.utils import plugins
from fairjax.utils.errors import UserError

BATCH = 2  # images of the trial


def model(
    name: str,
    function: ImageFunction,
    *,
    image_size: int,
    preprocess: Preprocess | None = None,
    title: str = "",
    citation: str = "",
    licence: str = "",
    version: str = "",
) -> None:
    """Registers a function as a model: `--config.model.name=NAME`, without a checkpoint.

    Args:
      name: the model's name.
      function: (b, h, w, 3) float32 images, preprocessed → (b, d) features; it must be traceable by
        JAX.
      image_size: h = w, in pixels.
      preprocess: how an image becomes the function's input; by default it is squashed to the size,
        with values in [−1, 1].
      title: its name in reports.
      citation: its source in reports.
      licence: its licence in reports.
      version: changes the cache key, where the function depends on more than its code.

    Raises:
      UserError: the name is taken, or the function does not give (b, d) features.
    """
    preprocess = preprocess or Preprocess(size=image_size, resize="squash")
    if preprocess.size != image_size:
        raise UserError(
            f"model {name!r}: its preprocessing gives {preprocess.size} pixels, not {image_size}"
        )
    table.require_free("model", zoo.MODELS, name)
    architecture = FunctionConfig(image_size, _width(name, function, image_size))
    row = zoo.FoundationModel(
        name=name,
        title=title or name,
        family=functions.FAMILY,
        architecture=architecture,
        preprocess=preprocess,
        usages=("linear_probe",),
        probe_feature="what the function gives",
        citation=citation,
        licence=licence,
    )
    table.add("model", zoo.MODELS, name, row, code=function, version=version)
    card = {
        "model": name,
        "family": row.family,
        "architecture": dataclasses.asdict(architecture),
        "preprocess": dataclasses.asdict(preprocess),
        "probe_feature": row.probe_feature,
        "probe_width": architecture.probe_width,
        "source": {"file": f"{function.__module__}.{getattr(function, '__qualname__', name)}"},
        "weights_sha256": plugins.CODES["model", name],
    }
    functions.FUNCTIONS[name] = FunctionModel(function), card


def _width(name: str, function: ImageFunction, size: int) -> int:
    """The number of features, from a trial without computing."""
    shape = (BATCH, size, size, 3)
    with table.trial(f"model {name!r} on images {shape}"):
        given = jax.eval_shape(function, jax.ShapeDtypeStruct(shape, jnp.float32))
    if not hasattr(given, "shape") or len(given.shape) != 2 or given.shape[0] != BATCH:
        found = getattr(given, "shape", type(given).__name__)
        raise UserError(f"model {name!r} makes {found} of images {shape}, not ({BATCH}, d)")
    return given.shape[1]
