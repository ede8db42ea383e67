"""From the sections of a configuration to what they name: dataset, splits, encoder, features."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from fairjax import datasets, models
from fairjax.datasets import catalog
from fairjax.datasets.dataset import SPLITS, Dataset, require_both_classes
from fairjax.datasets.options import TableOptions
from fairjax.datasets.splits import split
from fairjax.embeddings import Embeddings, Encoder
from fairjax.models import zoo
from fairjax.models.preprocess import compat
from fairjax.tasks.config import Config
from fairjax.tasks.sections import DatasetConfig, ModelConfig
from fairjax.training.store import Sweep
from fairjax.training.sweep import Features
from fairjax.utils.errors import UserError, lookup
from fairjax.utils.storage import hash_arrays

_SPLIT = ("fractions", "test", "folds", "fold", "site", "hold_out")


def load_dataset(config: Config) -> Dataset:
    """Loads the dataset; of volumes, their slices.

    Raises:
      UserError: an unknown name, file, column or value; a group with one class, unless
        `evaluation.one_class=report`.
    """
    cfg = config.dataset
    options = {
        field.name: getattr(cfg.options, field.name) for field in dataclasses.fields(cfg.options)
    }
    if isinstance(cfg.options, TableOptions):
        options["attributes"] = config.attributes
    if cfg.bins:
        options["bins"] = cfg.bins
    dataset = datasets.load(cfg.name, cfg.root, **options)
    if cfg.alias:
        dataset = dataclasses.replace(dataset, name=cfg.alias)
    if dataset.volumetric:
        dataset = dataset.slices(cfg.slices, cfg.middle)
    for attribute in config.attributes:
        if file := dataset.info.get("absent", {}).get(attribute):
            raise UserError(
                f"{dataset.name}: attribute {attribute!r} needs {file}, which is not in the "
                "dataset's folder"
            )
        lookup(f"attribute of {dataset.name}", attribute, dict.fromkeys(dataset.attributes))
    if config.evaluation.one_class == "error":
        require_both_classes(dataset, list(config.attributes))
    return dataset


def notes_of(dataset: Dataset) -> dict[str, str]:
    """The row of a dry run that says how the dataset was read; empty if there is nothing to say."""
    notes = dataset.info.get("notes", ())
    return {"notes": "; ".join(notes)} if notes else {}


def split_dataset(cfg: DatasetConfig, seed: int, dataset: Dataset) -> np.ndarray:
    """The split of every image: 'train', 'validation', 'test' or 'unused'."""
    return split(
        dataset,
        seed=seed,
        method=cfg.split,
        balance_on=cfg.balance_on or None,
        file=cfg.split_file,
        **{key: getattr(cfg, key) for key in _SPLIT},
    )


def load_encoder(cfg: ModelConfig, dataset: str) -> tuple[Encoder, dict[str, Any]]:
    """Loads the frozen tower with its preprocessing, and its card.

    Args:
      cfg: the model.
      dataset: name of the dataset, on which FairMedFM's preprocessing depends.

    Raises:
      UserError: an unknown model, no checkpoint, one of another model, or a damaged one.
    """
    directory, card = find_model(cfg)
    own = cfg.preprocess == "own"
    preprocess = models.load_preprocess(card) if own else compat(catalog.compat_grey(dataset))
    if cfg.image_size:
        preprocess = preprocess.replace(size=cfg.image_size)
    module: Any = models.load(directory, dtype=cfg.dtype)
    shape = (preprocess.size, preprocess.size, 3)
    try:
        nnx.eval_shape(
            lambda module, x: module.probe_features(x),
            module,
            jax.ShapeDtypeStruct((1, *shape), np.float32),
        )
    except (TypeError, ValueError, ArithmeticError):
        raise UserError(
            f"{card['model']} takes no images of {preprocess.size} pixels; "
            "give another --config.model.image_size"
        ) from None
    card = {**card, "preprocess": dataclasses.asdict(preprocess)}
    return Encoder(module, preprocess, shape, model_key(card, cfg.dtype)), card


def find_model(cfg: ModelConfig) -> tuple[Path, dict[str, Any]]:
    """Returns the model's directory, and its card.

    Raises:
      UserError: an unknown model, no checkpoint, or one of another model.
    """
    row = lookup("model", cfg.name, zoo.MODELS)
    directory = Path(cfg.checkpoint) if cfg.checkpoint else models.bundled(row.name)
    card = models.load_card(directory)
    if card["model"] != row.name:
        raise UserError(
            f"{directory} holds {card['model']}, not {row.name}; "
            "give another --config.model.checkpoint or .name"
        )
    return directory, card


def model_key(card: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """What a model's outputs depend on besides the images."""
    return {
        "weights": card["weights_sha256"],
        "architecture": card["architecture"],
        "preprocess": card["preprocess"],
        "dtype": dtype,
    }


def model_facts(card: Mapping[str, Any], **more: str) -> dict[str, Any]:
    """What a report says of a model; `more` says what is taken from it."""
    row, pixels = zoo.MODELS[card["model"]], card["preprocess"]
    size = pixels["size"]
    return {
        "name": row.name,
        "title": row.title,
        **more,
        "input": f"{size} × {size} pixels, {pixels['resize']}, {pixels['interpolation']}",
        "source": card["source"].get("file"),
        "weights_sha256": card["weights_sha256"],
        "citation": row.citation,
        "licence": row.licence,
    }


def split_features(dataset: Dataset, embedded: Embeddings, splits: np.ndarray) -> Features:
    """The readable images' embeddings and labels, by split."""
    rows = {name: (splits == name) & embedded.valid for name in SPLITS}
    labels, patients = dataset.labels, dataset.patients()
    cohort = {"labels": labels, "patients": patients, **rows}
    return Features(
        {name: embedded.features[mask] for name, mask in rows.items()},
        {name: labels[mask] for name, mask in rows.items()},
        patients[rows["train"]],
        {"embeddings": embedded.key, "cohort": hash_arrays(cohort)},
    )


def by_volume(sweep: Sweep, images: Mapping[str, Dataset], how: str) -> Sweep:
    """Scores of volumes in place of those of their slices; as they are where rows are images.

    Args:
      sweep: has scores of the validation and the test split.
      images: the readable images of each split.
      how: a key of `fairjax.datasets.volumes.POOLS`.
    """
    if "volume" not in images["test"].table:
        return sweep
    volumes = {name: images[name].volumes() for name in ("validation", "test")}
    return dataclasses.replace(sweep, pool=how, volumes=volumes)
