"""What an experiment does, from its configuration to its report: classification, segmentation,
sweeps of both.
"""
