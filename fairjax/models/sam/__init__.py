"""SAM and its descendants: image encoders, prompts, mask decoder, and the whole model."""
