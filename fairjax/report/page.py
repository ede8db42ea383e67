"""The report as one HTML file that needs nothing else."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from fairjax import __version__
from fairjax.report import sections, svg
from fairjax.report.data import ReportData
from fairjax.report.format import count, decimal, signed
from fairjax.utils import storage


def write(report_dir: str | os.PathLike, data: ReportData) -> Path:
    """Writes `report_dir`/index.html, whole or not at all; the same data give the same bytes.

    Args:
      report_dir: folder of the page, made if it is missing.
      data: what the report shows.

    Returns:
      The path of the page.

    Raises:
      UserError: the results do not hold the selected run.
    """
    path = Path(report_dir) / "index.html"
    storage.write_text(path, render(data))
    return path


def render(data: ReportData) -> str:
    """Returns the page as HTML; it loads nothing and runs no script."""
    page = sections.Page(data)
    environment = _environment()
    shared: dict[str, Any] = {
        "level": _percent(data.confidence),
        "rest": _percent(1 - data.confidence),
        "has_classes": page.selected.has_classes,
        "has_intervals": page.selected.has_intervals,
        "sample": data.sample,
        "unit": data.unit,
    }
    bodies = []
    for section in sections.SECTIONS:
        variables = section.build(page)
        if variables is not None:
            body = environment.get_template(f"{section.name}.html").render(variables, **shared)
            bodies.append((section.name, section.title, body))
    template = environment.get_template("page.html")
    shared |= {"data": data, "sections": bodies, "tokens": svg.TOKENS, "version": __version__}
    return template.render(sections.header(page), **shared)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:g}\N{NO-BREAK SPACE}%"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fairjax.report"),
        autoescape=True,  # names of groups come from people's own tables
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": count, "decimal": decimal, "signed": signed}
    return environment
