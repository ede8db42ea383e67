"""Mitigation: mask decoders tuned so that no group is segmented worse, many runs as one program."""
