"""PyTorch checkpoints -> model directories: one engine, and rules per published layout."""
