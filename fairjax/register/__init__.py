"""A user's own datasets, models, objectives, metrics, usages and post-processors.

A package registers them when it is imported, and is found by its entry point of the group
`fairjax.plugins`; `examples/plugin/` is one.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
