"""`python -m fairjax.models`: the table of foundation models."""

from __future__ import annotations

from fairjax.models.zoo import MODELS

HEADER = ("name", "family", "input", "probe", "published file", "licence", "model")


def table() -> str:
    """The zoo as aligned text, one line per model."""
    rows = [HEADER]
    for row in MODELS.values():
        width = f"{row.architecture.probe_width}"
        size = f"{row.preprocess.size}"
        rows.append((row.name, row.family, size, width, row.published_file, row.licence, row.title))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows)


if __name__ == "__main__":
    print(table())
