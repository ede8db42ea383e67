"""Heads on cached embeddings, trained by the thousand in one compiled program."""
