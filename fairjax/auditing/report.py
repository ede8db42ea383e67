"""What an audit returns: tables, and ways to write them."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fairjax import __version__
from fairjax.utils import storage
from fairjax.utils.errors import UserError

if TYPE_CHECKING:
    from fairjax.report import ReportData


@dataclasses.dataclass(frozen=True, repr=False)
class AuditReport:
    """The numbers of an audit.

    Attributes:
      summary: one row per attribute, index `attribute` (with several models: `model`, `attribute`):
        the overall value, gap, worst group, … of every metric, and the criteria of fairness; ends
        of intervals in …_low and …_high.
      by_group: index `attribute`, `group` (with several models `model` before them): counts and
        every metric.
      results: tidy: one row per run (the model), attribute, metric and group, with value, ci_low,
        ci_high, n, n_positive, status (`ok`, or why there is no number), n_invalid, and of gaps
        p_value, p_holm, p_bh.
      comparisons: differences between models on the same draws, with p-values; None where there is
        one model.
      notes: what a reader must know.
      data: all that the HTML report shows.
      remarks: those of the notes that concern the groups: what was missing, what was merged.
    """

    summary: pd.DataFrame
    by_group: pd.DataFrame
    results: pd.DataFrame
    comparisons: pd.DataFrame | None
    notes: list[str]
    data: ReportData
    remarks: list[str] = dataclasses.field(default_factory=list)

    def to_html(self, path: str | os.PathLike) -> Path:
        """Writes the report as one HTML file that needs nothing else: `path` itself, or index.html
        in a folder.
        """
        from fairjax.report.page import render

        path = Path(path) if Path(path).suffix in (".html", ".htm") else Path(path) / "index.html"
        return self._write(path, render(self.data))

    def to_json(self, path: str | os.PathLike) -> Path:
        """Writes summary, groups, comparisons, settings, versions and the hash of the input as
        JSON; NaN is null.
        """
        return self._write(
            Path(path),
            json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        )

    def to_csv(self, path: str | os.PathLike) -> Path:
        """Writes the tidy results as CSV."""
        return self._write(Path(path), self.results.to_csv(index=False))

    def write_tables(self, out_dir: str | os.PathLike) -> list[Path]:
        """Writes summary.csv, by_group.csv and, of several models, comparisons.csv."""
        tables = {"summary": self.summary.reset_index(), "by_group": self.by_group.reset_index()}
        if self.comparisons is not None:
            tables["comparisons"] = self.comparisons
        return [
            self._write(Path(out_dir) / f"{name}.csv", table.to_csv(index=False))
            for name, table in tables.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain Python values; NaN is None."""
        return _plain(
            {
                "fairjax": __version__,
                "data": self.data.dataset,
                "population": self.data.population,
                "settings": self.data.config.get("evaluation", {}),
                "thresholds": self.data.thresholds,
                "summary": _records(self.summary),
                "by_group": _records(self.by_group),
                "results": self.results.to_dict("records"),
                "comparisons": []
                if self.comparisons is None
                else self.comparisons.to_dict("records"),
                "notes": self.notes,
                "environment": self.data.environment,
            }
        )

    def __str__(self) -> str:
        from fairjax.report import console_table

        models = list(dict.fromkeys(self.results["run"]))
        if len(models) == 1:
            tables = [console_table(self.data)]
        else:
            tables = [f"{model}\n{console_table(self.data, model)}" for model in models]
        return "\n".join(["\n\n".join(tables), *self.remarks])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.summary.to_html(float_format=lambda value: f"{value:.3f}")

    @staticmethod
    def _write(path: Path, text: str) -> Path:
        try:
            storage.write_text(path, text)
        except OSError as error:
            raise UserError(
                f"cannot write {path}: {error.strerror}; choose another place"
            ) from None
        return path


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return table.reset_index().to_dict("records")


def _plain(value: Any) -> Any:
    """Numbers, text, lists and dicts only; what is not a finite number is None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)
