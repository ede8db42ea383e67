"""Rules per group on scores, fitted on the validation split: thresholds, temperature, Platt
scaling.
"""
