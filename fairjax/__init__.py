"""fairjax: how fairly do medical-imaging foundation models treat the people in the images?

Names are listed in `__init__.pyi` and loaded when they are first used: jax and pandas take seconds.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
