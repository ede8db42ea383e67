"""The fixtures of prompted segmentation."""

from helpers.segmentation import checkpoint, data, root  # noqa: F401
