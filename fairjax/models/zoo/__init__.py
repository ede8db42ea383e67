"""The table of foundation models: a row has all that is known about a model."""

from fairjax.models.zoo import blip, image, image_text, segmentation
from fairjax.models.zoo.entry import FAMILIES, FoundationModel, TokenizerSpec

__all__ = ["FAMILIES", "MODELS", "FoundationModel", "TokenizerSpec"]

MODELS: dict[str, FoundationModel] = {
    row.name: row
    for rows in (image_text.ROWS, blip.ROWS, image.ROWS, segmentation.ROWS)
    for row in rows
}
