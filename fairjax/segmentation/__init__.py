"""Promptable segmentation: prompts from true masks, prompted inference, and how well its masks
agree with the truth.
"""
