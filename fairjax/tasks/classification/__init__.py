"""Heads and adapters of frozen foundation models: dataset → embeddings → sweep → metrics → report."""
