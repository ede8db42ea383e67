"""From the words of a configuration to the things they name: dataset, splits, encoder, runs,
features.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from fairjax import datasets, models
from fairjax.datasets.dataset import SPLITS, Dataset, require_both_classes
from fairjax.datasets.splits import METHODS, split
from fairjax.datasets.volumes import POOLS
from fairjax.embeddings import Embeddings, Encoder
from fairjax.metrics.threshold import parse_rule
from fairjax.models import zoo
from fairjax.models.preprocess import compat
from fairjax.statistics.selection import SELECTORS
from fairjax.training.store import Sweep
from fairjax.training.sweep import Features
from fairjax.utils.errors import UserError, lookup
from fairjax.utils.storage import hash_arrays

Config = Mapping[str, Any]

SPLIT_KEYS = (
    "fractions",
    "test",
    "balance_on",
    "split",
    "folds",
    "fold",
    "site",
    "hold_out",
    "split_file",
)
SLICE_KEYS = ("slices", "middle", "pool")
CHOICES = {  # of keys that no other place checks at once
    "evaluation.policy": ("strict",),
    "evaluation.one_class": ("error", "report"),
    "model.dtype": ("float32", "bfloat16"),
    "model.preprocess": ("own", "compat"),
    "dataset.split": tuple(METHODS),
    "training.select": tuple(SELECTORS),
    "dataset.pool": tuple(POOLS),
}

LEAST = {
    "embedding.batch_size": 1,
    "embedding.shard_batches": 1,
    "embedding.threads": 1,
    "embedding.processes": 0,
    "embedding.max_unreadable": 0,
    "evaluation.min_group": 1,
    "model.image_size": 0,
    "dataset.slices": 0,
    "dataset.folds": 2,
    "dataset.fold": 0,
}


def check(config: Config) -> None:
    """Refuses settings that could only fail later, after the images were embedded.

    Raises:
      UserError: names the key and what it may be.
    """
    for key, choices in CHOICES.items():
        section, _, name = key.partition(".")
        lookup(key, config[section][name], dict.fromkeys(choices))
    for key, least in LEAST.items():
        section, _, name = key.partition(".")
        if config[section][name] < least:
            raise UserError(f"{key} must be at least {least}, not {config[section][name]}")
    if not 0 < config["dataset"]["middle"] <= 1:
        raise UserError(
            f"dataset.middle must be a share above 0 and up to 1, not {config['dataset']['middle']}"
        )
    parse_rule(config["evaluation"]["threshold"])
    if config["n_boot"] < 0 or not 0 < config["evaluation"]["confidence"] < 1:
        raise UserError("n_boot must be ≥ 0, and evaluation.confidence between 0 and 1")


def load_dataset(config: Config) -> tuple[Dataset, list[str]]:
    """The dataset, and the attributes to compare; of volumes, their slices.

    Raises:
      UserError: an unknown name, file, column or value; a group with one class, unless
        `evaluation.one_class=report`.
    """
    options = {
        key: value
        for key, value in config["dataset"].items()
        if key not in ("name", "root", "bins", *SPLIT_KEYS, *SLICE_KEYS)
    }
    attributes = attribute_names(config)
    if config["dataset"]["name"] == "table":
        options["attributes"] = attributes
    options["bins"] = config["dataset"]["bins"]
    dataset = datasets.load(config["dataset"]["name"], config["dataset"]["root"], **options)
    if dataset.volumetric:
        dataset = dataset.slices(config["dataset"]["slices"], config["dataset"]["middle"])
    for attribute in attributes:
        if file := dataset.info.get("absent", {}).get(attribute):
            raise UserError(
                f"{dataset.name}: attribute {attribute!r} needs {file}, which is not in the dataset's folder"
            )
        lookup(f"attribute of {dataset.name}", attribute, dict.fromkeys(dataset.attributes))
    if config["evaluation"]["one_class"] == "error":
        require_both_classes(dataset, attributes)
    return dataset, attributes


def attribute_names(config: Config) -> list[str]:
    """The attributes to compare."""
    return [name.strip() for part in config["attributes"] for name in part.split(",")]


def split_dataset(config: Config, dataset: Dataset) -> np.ndarray:
    """The side of every image: 'train', 'validation', 'test' or 'unused'."""
    words = config["dataset"]
    return split(
        dataset,
        words["fractions"],
        seed=config["seed"],
        test=words["test"],
        balance_on=words["balance_on"] or None,
        method=words["split"],
        file=words["split_file"],
        **{key: words[key] for key in ("folds", "fold", "site", "hold_out")},
    )


def load_encoder(config: Config) -> tuple[Encoder, dict[str, Any]]:
    """The frozen tower with its preprocessing, and its card.

    Raises:
      UserError: an unknown model, no checkpoint, one of another model, or a damaged one.
    """
    words = config["model"]
    folder, card = find_model(config)
    preprocess = (
        models.load_preprocess(card)
        if words["preprocess"] == "own"
        else compat(config["dataset"]["name"])
    )
    if words["image_size"]:
        preprocess = preprocess.replace(size=words["image_size"])
    module = models.load(folder, dtype=words["dtype"])
    shape = (preprocess.size, preprocess.size, 3)
    try:
        nnx.eval_shape(
            lambda module, x: module.probe_features(x),
            module,
            jax.ShapeDtypeStruct((1, *shape), np.float32),
        )
    except (TypeError, ValueError, ArithmeticError):
        raise UserError(
            f"{card['model']} takes no images of {preprocess.size} pixels; give another --config.model.image_size"
        ) from None
    card = {**card, "preprocess": dataclasses.asdict(preprocess)}
    return Encoder(module, preprocess, shape, model_key(config, card)), card


def find_model(config: Config) -> tuple[Path, dict[str, Any]]:
    """The model's directory, and its card.

    Raises:
      UserError: an unknown model, no checkpoint, or one of another model.
    """
    words = config["model"]
    row = lookup("model", words["name"], zoo.MODELS)
    folder = Path(words["checkpoint"]) if words["checkpoint"] else models.bundled(row.name)
    card = models.load_card(folder)
    if card["model"] != row.name:
        raise UserError(
            f"{folder} holds {card['model']}, not {row.name}; give another --config.model.checkpoint or .name"
        )
    return folder, card


def model_key(config: Config, card: Mapping[str, Any]) -> dict[str, Any]:
    """What a model's outputs depend on besides the images."""
    return {
        "weights": card["weights_sha256"],
        "architecture": card["architecture"],
        "preprocess": card["preprocess"],
        "dtype": config["model"]["dtype"],
    }


def model_facts(card: Mapping[str, Any], **more: str) -> dict[str, Any]:
    """What a report says of a model; `more` of what is taken from it."""
    row, pixels = zoo.MODELS[card["model"]], card["preprocess"]
    return {
        "name": row.name,
        "title": row.title,
        **more,
        "input": f"{pixels['size']} × {pixels['size']} pixels, {pixels['resize']}, {pixels['interpolation']}",
        "source": card["source"].get("file"),
        "weights_sha256": card["weights_sha256"],
        "citation": row.citation,
        "licence": row.licence,
    }


def split_features(dataset: Dataset, embedded: Embeddings, side: np.ndarray) -> Features:
    """The readable images' embeddings and labels, by split."""
    rows = {name: (side == name) & embedded.valid for name in SPLITS}
    labels, patients = dataset.labels, dataset.patients()
    cohort = {"labels": labels, "patients": patients, **rows}
    return Features(
        {name: embedded.features[mask] for name, mask in rows.items()},
        {name: labels[mask] for name, mask in rows.items()},
        patients[rows["train"]],
        {"embeddings": embedded.key, "cohort": hash_arrays(cohort)},
    )


def by_volume(sweep: Sweep, validation: Dataset, test: Dataset, how: str) -> Sweep:
    """Scores of volumes in place of those of their slices; as they are where rows are images.

    Args:
      sweep: with scores of the rows of `validation` and `test`.
      validation, test: the readable images of either side.
      how: of `fairjax.datasets.volumes.POOLS`.
    """
    if "volume" not in test.table:
        return sweep
    return dataclasses.replace(
        sweep, pool=how, volumes={"validation": validation.volumes(), "test": test.volumes()}
    )
