"""SAM and its descendants: image encoders (`vit`, `hiera`; TinyViT is next to them), prompts, mask
decoder, the whole.
"""
