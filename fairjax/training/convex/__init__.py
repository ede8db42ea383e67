"""Linear probes at the optimum of their loss, many at once."""
