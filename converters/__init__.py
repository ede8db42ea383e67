"""PyTorch checkpoints -> fairjax model directories: one engine, and one table of rules per
published layout.
"""
