"""The folder of an audit: what is written there, and whose audit may be replaced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from fairjax.utils.errors import UserError
from fairjax.utils.storage import hash_file

if TYPE_CHECKING:
    from fairjax.auditing.report import AuditReport

TABLE_HASH = "SHA-256 of the table"
METADATA_HASH = "SHA-256 of the metadata"
REPORT, JSON, RESULTS = "report.html", "audit.json", "results.csv"
FILES = (REPORT, JSON, RESULTS, "summary.csv", "by_group.csv", "comparisons.csv")


def hashes(table: str, metadata: str | None) -> dict[str, str]:
    """Returns the hashes of the files that are audited, for the report."""
    found = {TABLE_HASH: hash_file(table)}
    return found | ({METADATA_HASH: hash_file(metadata)} if metadata else {})


def default_dir(table: str) -> Path:
    """Returns `audits/NAME` of a table: its file name without endings."""
    path = Path(table)
    while path.suffix:
        path = path.with_suffix("")
    return Path("audits") / path.name


def require_own(out_dir: Path, table: str, table_hash: str) -> None:
    """Refuses a folder that holds the audit of another table; one of the same table is replaced.

    Args:
      out_dir: the folder.
      table: the table that is to be audited, for messages.
      table_hash: its SHA-256.

    Raises:
      UserError: it does, or it is a file.
    """
    if out_dir.exists() and not out_dir.is_dir():
        raise UserError(f"{out_dir} is a file; choose another --out")
    path = out_dir / JSON
    if not path.is_file():
        return
    try:
        found = json.loads(path.read_text())["data"]
        same = found.get(TABLE_HASH) == table_hash
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{path} cannot be read as that of an audit; choose another --out"
        ) from None
    if not same:
        raise UserError(
            f"{out_dir} holds the audit of another table ({found.get('name', 'of no file')}, with "
            f"other content than {table}): choose another folder with --out=DIR, or remove it"
        )


def write(report: AuditReport, out_dir: Path) -> list[Path]:
    """Writes all files of an audit, and removes those of an earlier one that it does not have."""
    paths = [report.to_html(out_dir / REPORT), report.to_json(out_dir / JSON)]
    paths += [report.to_csv(out_dir / RESULTS), *report.write_tables(out_dir)]
    for name in FILES:
        if out_dir / name not in paths:
            (out_dir / name).unlink(missing_ok=True)
    return paths
