"""What sections share: the page, and the style of each group."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fairjax.report import drawing
from fairjax.report.compared import Compared
from fairjax.report.data import ReportData
from fairjax.report.selected import Selected

_BASELINE = drawing.Style("ink", "X", "✖", "-")


@dataclass(frozen=True)
class Page:
    """The data, the numbers of the selected run, and the style of each group and method."""

    data: ReportData

    @cached_property
    def selected(self) -> Selected:
        """The numbers of the selected run."""
        return Selected(self.data.results, self.data.run, self.data.primary)

    @cached_property
    def styles(self) -> dict[tuple[str, str], drawing.Style]:
        """The style of each (attribute, group)."""
        return drawing.styles(
            {name: self.selected.groups(name) for name in self.selected.attributes}
        )

    @cached_property
    def compared(self) -> Compared | None:
        """Methods and their differences to a baseline; None where there are fewer than two."""
        compared = None if self.data.methods is None else Compared(self.data.methods)
        return compared if compared and len(compared.methods) > 1 else None

    @cached_property
    def method_styles(self) -> dict[str, drawing.Style]:
        """The style of each method, the same in every usage; baselines have their own."""
        if not self.compared:
            return {}
        baselines = self.compared.baselines.values()
        names = dict.fromkeys(method.method for method in self.compared.methods)
        found = drawing.styles({"": [name for name in names if name not in baselines]})
        styles = {name: style for (_, name), style in found.items()}
        return styles | dict.fromkeys(baselines, _BASELINE)

    @property
    def models(self) -> list[str]:
        """The models that are compared; empty for the runs of one model."""
        if self.data.comparisons is None:
            return []
        return list(dict.fromkeys(self.data.results["run"]))


@dataclass(frozen=True)
class Section:
    """One section.

    Attributes:
      name: anchor, and name of the template.
      title: heading.
      build: function from the page to the template's variables; None leaves the section out.
    """

    name: str
    title: str
    build: Callable[[Page], dict[str, Any] | None]


def by_attribute(
    page: Page, samples: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each attribute that has samples, and these by group in the order of the results."""
    for attribute in page.selected.attributes:
        found = samples.get(attribute, {})
        groups = {
            group: found[group] for group in page.selected.groups(attribute) if group in found
        }
        if groups:
            yield attribute, groups
