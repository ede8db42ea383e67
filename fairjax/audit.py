"""`fairjax.audit(y_true, y_score, groups)`, and the command `python -m fairjax.audit TABLE
--label=COL …`.

Importing this module binds the function, not a module: a package attribute and a submodule cannot
both be called `audit`.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from fairjax.auditing.command import run

    run()
else:
    from fairjax.auditing.classification import audit

    sys.modules[__name__] = audit  # type: ignore[assignment]
