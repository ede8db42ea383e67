"""Embeddings of images and prompts: each passes through a frozen encoder once, into a cache."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
