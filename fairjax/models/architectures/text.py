"""Text towers: the transformer of CLIP and SigLIP, and BERT for MedCLIP, BLIP and BLIP-2."""

from __future__ import annotations

import dataclasses

from fairjax.models.architectures.transformer import TransformerConfig, check_positive
from fairjax.utils.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class CLIPTextConfig(TransformerConfig):
    """The text transformer of CLIP (causal, pooled at the end of the text) and SigLIP (neither)."""

    vocab_size: int
    context_length: int
    causal: bool = True
    # "eos": the end-of-text token; "last": the last position, whatever is there.
    pool: str = "eos"
    # With pool="eos", the first token with this id; None: the largest id (end-of-text in OpenAI's
    # code).
    eos_token_id: int | None = None

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "vocab_size", "context_length")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BERTConfig:
    """BERT: a stack of post-norm layers, norm(x + attn(x)), then norm(x + mlp(x))."""

    width: int
    depth: int
    heads: int
    mlp_dim: int
    vocab_size: int
    positions: int  # that have an embedding
    context_length: int  # tokens that prompts are cut to; at most `positions`
    token_types: int = 2  # 0: the model has no token type embedding
    activation: str = "gelu"
    norm_eps: float = 1e-12
    pool: str = "cls"  # a key of bert.POOLS
    # Without a mask, tokens with this id are not attended; None: all are.
    pad_token_id: int | None = None
    cross_every: int = 0  # layers 0, k, 2k, … also attend to an image; 0: none does
    # BLIP-2's learned queries, which come before the text and have their own MLPs.
    queries: int = 0

    def __post_init__(self):
        check_positive(
            self, "width", "depth", "heads", "mlp_dim", "vocab_size", "positions", "context_length"
        )
        if self.width % self.heads:
            raise UserError(
                f"architecture: width {self.width} is not divisible by {self.heads} heads"
            )
        if self.context_length > self.positions:
            raise UserError(
                f"architecture: {self.positions} positions are too few "
                f"for {self.context_length} tokens"
            )
