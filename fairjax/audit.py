"""The function `fairjax.audit`, and the command `python -m fairjax.audit TABLE --label=COL …`.

A package attribute and a submodule cannot both be called `audit`: importing this module binds the
function.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from fairjax.auditing import command
    from fairjax.utils import cli

    cli.run(command.main, cli.parse, "python -m fairjax.audit")
else:
    from fairjax.auditing.classification import audit

    sys.modules[__name__] = audit  # type: ignore[assignment]
