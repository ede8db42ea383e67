"""What usages train on: a model and a split dataset, with everything that is made of them once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fairjax import embeddings
from fairjax.datasets.dataset import SPLITS, Dataset
from fairjax.embeddings import Embeddings, Encoder, TextEncoder
from fairjax.tasks import setup
from fairjax.tasks.config import ClassificationConfig
from fairjax.training import class_prompts
from fairjax.training.sweep import Features


@dataclasses.dataclass
class Subject:
    """Everything that a usage needs to train: model, dataset, splits, caches, configuration.

    Attributes:
      config: the experiment's.
      cache: folder of the caches.
      shard: (index, count) of the process.
      progress: whether to show bars.
    """

    config: ClassificationConfig
    cache: Path
    shard: tuple[int, int] = (0, 1)
    progress: bool = True

    @functools.cached_property
    def dataset(self) -> Dataset:
        """The images."""
        return setup.load_dataset(self.config)

    @functools.cached_property
    def splits(self) -> np.ndarray:
        """The split of every image."""
        return setup.split_dataset(self.config.dataset, self.config.seed, self.dataset)

    @functools.cached_property
    def model(self) -> tuple[Encoder, dict[str, Any]]:
        """The frozen tower, and the model's card."""
        return setup.load_encoder(self.config.model, self.config.dataset.name)

    @property
    def encoder(self) -> Encoder:
        """The frozen tower."""
        return self.model[0]

    @property
    def card(self) -> dict[str, Any]:
        """The model's card."""
        return self.model[1]

    @functools.cached_property
    def text_encoder(self) -> TextEncoder:
        """The model's text tower with its tokenizer.

        Raises:
          UserError: the model has none.
        """
        directory, _ = setup.find_model(self.config.model)
        module = self.encoder.module
        return embeddings.load_text_encoder(directory, self.config.model.dtype, module)

    @functools.cached_property
    def embedded(self) -> Embeddings:
        """What linear probes take of every image; the images are embedded if they are not yet."""
        return self._embed(self.encoder)

    @property
    def rows(self) -> dict[str, np.ndarray]:
        """Split → the readable images that are in it."""
        valid = self.embedded.valid
        return {name: np.flatnonzero((self.splits == name) & valid) for name in SPLITS}

    @property
    def sizes(self) -> dict[str, int]:
        """Split → how many images are in it, readable or not."""
        return {name: int((self.splits == name).sum()) for name in SPLITS}

    @functools.cached_property
    def features(self) -> Features:
        """What linear probes take, by split."""
        return setup.split_features(self.dataset, self.embedded, self.splits)

    @functools.cached_property
    def classes(self) -> np.ndarray:
        """Text embeddings (2, d) of the negative and the positive class."""
        texts = dataclasses.asdict(self.config.prompts)
        cache = self.cache / "prompts"
        return class_prompts.embed_classes(self.dataset, self.text_encoder, cache, **texts)

    def images(self, keep: Callable[[np.ndarray], np.ndarray] | None = None) -> Features:
        """Image embeddings that are compared with texts, or what is kept of them, by split."""
        embedded = self._embed(self.encoder.of("image"), keep=keep)
        return setup.split_features(self.dataset, embedded, self.splits)

    def _embed(self, encoder: Encoder, **options: Any) -> Embeddings:
        return embeddings.embed(
            self.dataset,
            encoder,
            self.cache / "embeddings",
            **dataclasses.asdict(self.config.embedding),
            **options,
            shard=self.shard,
            progress=self.progress,
        )
