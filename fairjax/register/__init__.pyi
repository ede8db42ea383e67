from .datasets import dataset
from .evaluation import metric, postprocessor
from .models import model
from .objectives import objective
from .usages import usage

__all__ = ["dataset", "metric", "model", "objective", "postprocessor", "usage"]
