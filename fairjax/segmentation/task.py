"""What is segmented, by which model, with which prompts, and how it is judged: what travels
together through loading, segmenting and tuning.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Array, Bool

from fairjax.datasets.dataset import Dataset
from fairjax.models.protocols import Embedding, Promptable
from fairjax.segmentation.image_embeddings import EmbeddingSource
from fairjax.segmentation.objects import ObjectRule, Objects
from fairjax.segmentation.prompts import PromptPlan
from fairjax.segmentation.segmenter import Scoring, Segmenter


@dataclasses.dataclass(frozen=True)
class PromptedTask:
    """Objects of a dataset that a model is prompted for.

    Attributes:
      dataset: n images, each with at least one object.
      objects: their objects, from `scan`; `objects.table["row"]` counts the images.
      segmenter: the model.
      rule: what counts as an object.
      plan: prompts of every object.
      scoring: how masks are compared with the truth.
      source: cached embeddings of the images, which need no encoder any more; None to embed.
    """

    dataset: Dataset
    objects: Objects
    segmenter: Segmenter
    rule: ObjectRule
    plan: PromptPlan
    scoring: Scoring
    source: EmbeddingSource | None = None

    def take(self, keep: Bool[np.ndarray, " n"]) -> PromptedTask:
        """Gives the task on some of the images, and the objects in them."""
        return dataclasses.replace(
            self, dataset=self.dataset.take(keep), objects=self.objects.take(keep)
        )

    @property
    def n_tokens(self) -> int:
        """Tokens of the prompt that has most of them."""
        return self.plan.max_tokens(self.segmenter.transform.prompts)

    @property
    def module(self) -> Promptable:
        """The model, without its image encoder where embeddings are read."""
        module = self.segmenter.module
        return self.source.decoder_of(module) if self.source else module

    def embed(self, module: Any, x: Array) -> Embedding:
        """Embeds what is read of images, by `module`."""
        return self.source.embed(module, x) if self.source else module.embed(x)
