"""Frozen foundation models: dataset → embeddings → sweep → metrics → report."""
