"""What a number was computed with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

REPORTED = (
    "fairjax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
    "pandas",
    "scikit-learn",
)


def environment(command: str) -> dict[str, Any]:
    """What a number was computed with: command, versions, devices, platform."""
    import jax

    devices = jax.devices()
    return {
        "command": command,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "devices": f"{len(devices)} × {devices[0].device_kind}",
        "backend": jax.default_backend(),
        "versions": {name: importlib.metadata.version(name) for name in REPORTED},
    }
