"""One module per family of published files, with a `Layout` per way of naming their tensors.

Every module here with `LAYOUTS` counts: a new one is listed nowhere else.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from fairjax.converters.engine import Layout

_MODULES = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
LAYOUTS: dict[str, Layout] = {
    layout.name: layout for module in _MODULES for layout in getattr(module, "LAYOUTS", ())
}
