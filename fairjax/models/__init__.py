"""Foundation models: the table of them (`zoo`), and modules built, saved and loaded."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fairjax.models.checkpoint import (
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
    from fairjax.models.tokenizer import load_tokenizer

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
]


def __getattr__(name: str):
    if name in __all__:
        module = "tokenizer" if name == "load_tokenizer" else "checkpoint"
        return getattr(import_module(f"fairjax.models.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
