"""From files to pixels: images, DICOM, volumes and arrays, each with bounded memory; see
`fairjax.datasets.files`.
"""

from __future__ import annotations

import importlib
from typing import Any

from fairjax.utils.errors import UserError


def optional(module: str, package: str, what: str) -> Any:
    """Imports a library of the extra `medical`; a `UserError` says how to install it where it is
    missing.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(f"{what} needs {package}: pip install 'fairjax[medical]'") from None
