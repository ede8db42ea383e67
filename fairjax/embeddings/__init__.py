"""Every image through the frozen encoder once, into a content-addressed cache: `embed(dataset,
encoder, cache)`.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("embed", "open_cache", "Encoder"):
        from fairjax.embeddings import extract

        return getattr(extract, name)
    if name in ("Cache", "Embeddings"):
        from fairjax.embeddings import cache

        return getattr(cache, name)
    if name in ("embed_prompts", "load_text_encoder", "TextEncoder"):
        from fairjax.embeddings import prompts

        return getattr(prompts, name)
    raise AttributeError(f"module 'fairjax.embeddings' has no attribute {name!r}")
