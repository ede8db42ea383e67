from .cache import Cache, Embeddings
from .extract import Encoder, embed, open_cache
from .prompts import TextEncoder, embed_prompts, load_text_encoder

__all__ = [
    "Cache",
    "Embeddings",
    "Encoder",
    "TextEncoder",
    "embed",
    "embed_prompts",
    "load_text_encoder",
    "open_cache",
]
