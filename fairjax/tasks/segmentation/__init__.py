"""Prompted segmentation: dataset → objects → masks of all prompts → metrics → report."""
