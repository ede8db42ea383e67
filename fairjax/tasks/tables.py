"""The tables of a work directory: their columns, and how they are joined and written."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fairjax.utils.storage import atomic_write, write_text

COLUMNS = [
    "run",
    "dataset",
    "model",
    "usage",
    "method",
    "sensitive",
    "attribute",
    "strength",
    "seed",
    "learning_rate",
    "weight_decay",
    "policy",
    "metric",
    "group",
    "value",
    "ci_low",
    "ci_high",
    "n",
    "n_positive",
    "status",
    "n_invalid",
    "run_id",
]
REPORTED = ("overall", "gap", "worst")  # rows of every run that a report of many runs needs


def combine(parts: Sequence[Path], path: Path) -> int:
    """Joins Parquet files of the same columns, a part at a time; returns the number of rows."""
    rows = 0

    def write(file: IO[bytes]) -> None:
        nonlocal rows
        writer = None
        for part in parts:
            table = pq.read_table(part)
            if writer is None:
                writer = pq.ParquetWriter(file, table.schema)
            writer.write_table(table.cast(writer.schema))
            rows += len(table)
        if writer is not None:
            writer.close()

    atomic_write(path, write)
    return rows


def combine_runs(parts: Sequence[Path], path: Path) -> int:
    """Joins the tables of runs; returns how many runs the table had before and has no more."""
    before = _ids(path) if path.exists() else set()
    combine(parts, path)
    return len(before - _ids(path))


def _ids(path: Path) -> set[str]:
    return set(pq.read_table(path, columns=["run_id"])["run_id"].to_pylist())


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Writes a table atomically."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    atomic_write(path, lambda file: file.write(buffer.getbuffer()))


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Writes a table for people, atomically."""
    write_text(path, table.to_csv(index=False))


def aligned(rows: Mapping[str, str]) -> str:
    """Lines of a name and a text, for the terminal."""
    wide = max(15, *(len(name) for name in rows))
    return "\n".join(f"{name:{wide}s} {text}" for name, text in rows.items())


def for_report(path: Path, runs: Sequence[str], metric: str) -> pd.DataFrame:
    """What a report shows of many runs: all rows of some, and the `REPORTED` rows of one metric of
    the others.
    """
    tidy = pq.read_table(
        path, filters=(pc.field("run").isin(list(runs))) | (pc.field("metric") == metric)
    ).to_pandas()
    shown = tidy["run"].isin(runs)
    return tidy[shown | (~shown & tidy["group"].isin(REPORTED))].reset_index(drop=True)
