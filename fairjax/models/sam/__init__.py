"""SAM and its descendants: image encoders (`vit`, `hiera`; TinyViT lies beside), prompts, mask
decoder, the whole.
"""
