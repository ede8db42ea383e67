"""Foundation models as Flax NNX modules."""
