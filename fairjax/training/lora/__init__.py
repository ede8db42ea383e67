"""Low-rank adapters of many runs on one frozen tower."""
