from . import zoo
from .checkpoint import (
    build,
    bundled,
    intermediates,
    load,
    load_card,
    load_preprocess,
    make_card,
    save,
    state_dict,
)
from .tokenizer import load_tokenizer

__all__ = [
    "build",
    "bundled",
    "intermediates",
    "load",
    "load_card",
    "load_preprocess",
    "load_tokenizer",
    "make_card",
    "save",
    "state_dict",
    "zoo",
]
