"""What a model must have to be embedded, described to, or prompted, whichever family it is of."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Bool, Float, Int

if TYPE_CHECKING:
    from fairjax.models.sam.tokens import Points

Embedding = dict[str, Any]  # name → array (b, …): what prompts of b images are decoded on


@runtime_checkable
class ImageEncoder(Protocol):
    """A model with an image tower; images (b, H, W, 3) are preprocessed."""

    def encode_image(self, images: Float[Array, "b H W c"]) -> Float[Array, "b *q d"]:
        """Embeds images; those of a model with a text tower are compared with texts."""

    def probe_features(self, images: Float[Array, "b H W c"]) -> Float[Array, "b d"]:
        """Embeds images for a linear probe."""


@runtime_checkable
class TextEncoder(Protocol):
    """A model with a text tower."""

    def encode_text(
        self, token_ids: Int[Array, "b l"], mask: Bool[Array, "b l"]
    ) -> Float[Array, "b d"]:
        """Embeds tokenized texts."""


@runtime_checkable
class ZeroShotClassifier(ImageEncoder, TextEncoder, Protocol):
    """A model that compares images with texts."""

    def zero_shot_logits(
        self, images: Float[Array, "b *q d"], texts: Float[Array, "k d"]
    ) -> Float[Array, "b k"]:
        """Compares embeddings of images with those of texts, as the model was trained to."""


@runtime_checkable
class PromptFormat(Protocol):
    """How prompts become tokens: numpy alone, and picklable, for processes that load images."""

    def tokens(
        self,
        points: Float[np.ndarray, "*s k 2"] | None = None,
        labels: Int[np.ndarray, "*s k"] | None = None,
        boxes: Float[np.ndarray, "*s 4"] | None = None,
    ) -> Points:
        """Puts points and boxes, in pixels of the model's input, in the model's order."""

    def length(self, n_points: int) -> int:
        """Counts the tokens of a prompt of so many points, or of a box alone (0)."""


@dataclasses.dataclass(frozen=True)
class MaskFormat:
    """How decoded masks become those of an image.

    Attributes:
      space: `logits`, or `probabilities`: what is upsampled.
      threshold: value of an upsampled mask above which a pixel is foreground.
      through_input: whether masks are upsampled to the model's input first, then to the image.
    """

    space: str = "logits"
    threshold: float = 0.0
    through_input: bool = False

    @property
    def logit_threshold(self) -> float:
        """The threshold as a logit."""
        if self.space == "logits":
            return self.threshold
        return math.log(self.threshold) - math.log1p(-self.threshold)


@runtime_checkable
class Promptable(Protocol):
    """A model that segments what it is prompted for; an `nnx.Module`.

    Attributes:
      IMAGE_TOWER: attribute that holds the image encoder, which only `embed` uses.
      LORA_TARGETS: ends of the paths of the image tower's layers that take low-rank additions.
      prompt_format: how prompts become tokens.
      mask_format: how decoded masks become those of an image.
    """

    IMAGE_TOWER: str
    LORA_TARGETS: tuple[str, ...]

    @property
    def prompt_format(self) -> PromptFormat: ...  # noqa: D102

    @property
    def mask_format(self) -> MaskFormat: ...  # noqa: D102

    def embed(self, images: Float[Array, "b H W c"]) -> Embedding:
        """Embeds preprocessed images, once for any number of prompts."""

    def propose(
        self, embedding: Embedding, points: Points
    ) -> tuple[Float[Array, "b p m h w"], Float[Array, "b p m"]]:
        """Decodes p prompts of each image: m candidate masks (logits) and their predicted IoU."""

    def with_all_candidates(self) -> Promptable:
        """Gives the model that proposes all masks it can, whatever its own inference chooses."""

    def accepts(self, size: int) -> bool:
        """Says whether the model takes square images of so many pixels per side."""

    def mask_size(self, size: int) -> int:
        """Gives the side of decoded masks, in pixels, for images of a size."""

    def is_tunable(self, name: str) -> bool:
        """Says whether an array (named as in `state_dict`) is trained when the decoder is tuned."""
