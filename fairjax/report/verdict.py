"""The result in plain words, and no stronger than the intervals allow."""

from __future__ import annotations

from dataclasses import dataclass

from fairjax.report.numbers import GAP, Cell, Selected, comma_list, decimal, metric


@dataclass(frozen=True)
class Finding:
    """What can be said of one attribute: `kind` is "shown" (the gap's interval excludes 0), "not shown" or "unknown"."""

    attribute: str
    kind: str
    gap: Cell
    sentence: str
    elsewhere: str


def headline(selected: Selected) -> str:
    """Returns the sentence on the overall value, e.g. "AUC 0.84 [0.80, 0.88] overall."."""
    label, cell = metric(selected.primary).label, selected.overall(selected.primary)
    return f"{label} {cell.text(2)} overall." if cell.known else f"No overall {label}: {cell.reason}."


def findings(selected: Selected) -> list[Finding]:
    """Returns what can be said of the gap of each attribute."""
    return [_finding(selected, attribute) for attribute in selected.attributes]


def _finding(selected: Selected, attribute: str) -> Finding:
    gap = selected.cell(attribute, selected.primary, GAP)
    elsewhere = _elsewhere(selected, attribute)
    if not gap.known:
        return Finding(attribute, "unknown", gap, f"By {attribute} no gap could be computed: {gap.reason}.", elsewhere)
    digits = gap_digits(gap)
    if not gap.excludes_zero:
        sentence = f"By {attribute} no gap could be shown: {gap.text(digits)}"
        if gap.has_interval:
            sentence += f"; one of up to {decimal(gap.high, digits)} remains compatible with the data"
        return Finding(attribute, "not shown", gap, f"{sentence}.", elsewhere)
    cells = {group: selected.cell(attribute, selected.primary, group) for group in selected.groups(attribute)}
    order = sorted((group for group in cells if cells[group].known), key=lambda group: cells[group].value)
    ends = [f"{group} {decimal(cells[group].value, digits)}" for group in (order[0], order[-1])]
    if len(order) > 2:
        ends = [f"lowest {ends[0]}", f"highest {ends[1]}"]
    sentence = f"By {attribute} the gap is {gap.text(digits)}: {', '.join(ends)}."
    return Finding(attribute, "shown", gap, sentence, elsewhere)


def _elsewhere(selected: Selected, attribute: str) -> str:
    """Returns a sentence on the other metrics whose gap excludes 0, or "" where there is none."""
    found = [
        f"{metric(name).label} ({gap.text(gap_digits(gap))})"
        for name in selected.metrics
        if name != selected.primary and (gap := selected.cell(attribute, name, GAP)).excludes_zero
    ]
    return f"The interval of the gap also excludes 0 in {comma_list(found)}." if found else ""


def gap_digits(gap: Cell) -> int:
    """Returns 2, or 3 where two digits would round the lower end of the interval to 0 although it is above."""
    return 3 if 0 < gap.low < 0.005 else 2
