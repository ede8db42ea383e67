"""fairjax: how fairly do medical-imaging foundation models treat the people in the pictures?"""

from __future__ import annotations

__version__ = "0.1.0"
