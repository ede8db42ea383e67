"""`fairjax methods`: the tables of methods, wrappers and post-processors."""

from __future__ import annotations

from fairjax.utils import cli, plugins
from fairjax.utils.errors import UserError
from fairjax.utils.text import aligned


def main(argv: list[str]) -> None:
    """Prints the tables."""
    if len(argv) > 1:
        raise UserError(f"unexpected argument {argv[1]!r}; all methods are listed")
    plugins.load()
    print(tables())


def tables() -> str:
    """Methods and their strengths, wrappers, and post-processors, as aligned text."""
    from fairjax.training.objectives import METHODS, WRAPPERS
    from fairjax.training.objectives.base import describe
    from fairjax.training.postprocessing.table import POSTPROCESSORS

    wrappers = [{"wrapper": f"+{name}", "paper": paper} for name, paper in WRAPPERS.items()]
    rules = [
        {"post-processor": name, "what": row.title, "paper": row.paper}
        for name, row in POSTPROCESSORS.items()
    ]
    methods = [dict(describe(row)) for row in METHODS.values()]
    blocks = (
        [[*rows[0]], *(list(row.values()) for row in rows)] for rows in (methods, wrappers, rules)
    )
    return "\n\n".join("\n".join(aligned(block)) for block in blocks)


if __name__ == "__main__":
    cli.run(main)
