"""What sections share: the page, and how each group looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fairjax.report import figures
from fairjax.report.compared import Compared
from fairjax.report.data import ReportData
from fairjax.report.selected import Selected

_BASELINE = figures.Look("ink", "X", "✖", "-")


@dataclass(frozen=True)
class Page:
    """What sections share: the data, the numbers of the selected run, and how each group looks."""

    data: ReportData

    @cached_property
    def selected(self) -> Selected:
        """The numbers of the selected run."""
        return Selected(self.data.results, self.data.run, self.data.primary)

    @cached_property
    def looks(self) -> dict[tuple[str, str], figures.Look]:
        """The look of each (attribute, group)."""
        return figures.looks(
            {attribute: self.selected.groups(attribute) for attribute in self.selected.attributes}
        )

    @cached_property
    def compared(self) -> Compared | None:
        """Methods and their differences to a baseline; None where there are fewer than two."""
        compared = None if self.data.methods is None else Compared(self.data.methods)
        return compared if compared and len(compared.methods) > 1 else None

    @cached_property
    def method_looks(self) -> dict[str, figures.Look]:
        """The look of each method, the same in every usage; the baseline has ink of its own."""
        baselines = list(self.compared.baselines.values()) if self.compared else []
        names = dict.fromkeys(of.method for of in self.compared.methods) if self.compared else {}
        found = figures.looks({"": [name for name in names if name not in baselines]})
        return {name: look for (_, name), look in found.items()} | dict.fromkeys(
            baselines, _BASELINE
        )

    @property
    def models(self) -> list[str]:
        """The models that are compared; of a sweep, which is of one model, none."""
        return (
            [] if self.data.comparisons is None else list(dict.fromkeys(self.data.results["run"]))
        )


@dataclass(frozen=True)
class Section:
    """One section: anchor and template name, title, and the builder of the template's variables."""

    name: str
    title: str
    build: Callable[[Page], dict[str, Any] | None]


def by_attribute(
    page: Page, samples: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each attribute that has samples, with those of its groups in the order of the results."""
    for attribute in page.selected.attributes:
        found = samples.get(attribute, {})
        groups = {
            group: found[group] for group in page.selected.groups(attribute) if group in found
        }
        if groups:
            yield attribute, groups
