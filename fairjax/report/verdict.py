"""The result in plain words, and no stronger than the intervals allow."""

from __future__ import annotations

from dataclasses import dataclass

from fairjax.report.cells import Cell, count, decimal, finite, metric, some
from fairjax.report.selected import GAP, Selected

FEW = 20  # cases of one class, below which a reader is warned of the interval


@dataclass(frozen=True)
class Finding:
    """What can be said of an attribute's gap: `kind` is "shown" (its interval excludes 0), "not
    shown" or "unknown".
    """

    attribute: str
    kind: str
    gap: Cell
    digits: int
    sentence: str
    elsewhere: str


def headline(selected: Selected, sample: str = "image") -> str:
    """Returns the sentence on the overall value, with the size of the sample."""
    label, cell = metric(selected.primary).short, selected.overall(selected.primary)
    if not cell.known:
        return f"No overall {label}: {cell.reason}."
    positive = f" of which {count(cell.n_positive)} are positive" if finite(cell.n_positive) else ""
    return f"{label} {cell.text(2)} overall, on {count(cell.n)} {sample}s{positive}."


def findings(selected: Selected) -> list[Finding]:
    """Returns what can be said of the gap of each attribute."""
    return [_finding(selected, attribute) for attribute in selected.attributes]


def _finding(selected: Selected, attribute: str) -> Finding:
    gap = selected.cell(attribute, selected.primary, GAP)
    digits = gap_digits(gap)
    number = f"{gap.text(digits)} ({gap.remark})" if gap.remark else gap.text(digits)
    if not gap.known:
        kind, sentence = "unknown", f"By {attribute} no gap could be computed: {gap.reason}."
    elif not gap.has_interval:
        kind, sentence = (
            "unknown",
            f"By {attribute} the gap is {number}; no interval says how sure that is.",
        )
    elif gap.excludes_zero:
        kind, sentence = (
            "shown",
            f"By {attribute} the gap is {number}: {_ends(selected, attribute, digits)}.",
        )
    else:
        most = f"one of up to {decimal(gap.high, digits)} remains compatible with the data"
        kind, sentence = "not shown", f"By {attribute} no gap could be shown: {number}; {most}."
    if gap.p_text:
        n_tests = selected.n_tests(selected.primary)
        corrected = (
            f", {decimal(gap.p_holm)} after Holm's correction over {n_tests} gaps"
            if n_tests > 1
            else ""
        )
        sentence += f" Permutation test: {gap.p_text.partition(',')[0]}{corrected}."
    return Finding(attribute, kind, gap, digits, sentence, _elsewhere(selected, attribute))


def _ends(selected: Selected, attribute: str, digits: int) -> str:
    """Returns the groups with the lowest and the highest value, e.g. "female 0.79, male 0.88"."""
    cells = {
        group: selected.cell(attribute, selected.primary, group)
        for group in selected.groups(attribute)
    }
    order = sorted(
        (group for group in cells if cells[group].known), key=lambda group: cells[group].value
    )
    words = ("lowest ", "highest ") if len(order) > 2 else ("", "")
    return ", ".join(
        f"{word}{group} {decimal(cells[group].value, digits)}"
        for word, group in zip(words, (order[0], order[-1]))
    )


def _elsewhere(selected: Selected, attribute: str) -> str:
    """Returns a sentence on the other metrics whose gap excludes 0, or "" where there is none."""
    found = [
        f"{metric(name).short} {gap.text(gap_digits(gap))}"
        for name in selected.metrics
        if name != selected.primary and (gap := selected.cell(attribute, name, GAP)).excludes_zero
    ]
    return f"Also above 0 with its interval: the gap in {some(found, 5)}." if found else ""


def gap_digits(gap: Cell) -> int:
    """Returns 2, or 3 where two digits would round the lower end of the interval to 0 although it
    is above.
    """
    return 3 if 0 < gap.low < 0.005 else 2


def few(selected: Selected, sample: str = "image") -> str:
    """Returns a sentence on the groups with few images of one class, or "" where there are none."""
    found = []
    for attribute in selected.attributes:
        for group in selected.groups(attribute):
            n, n_positive = selected.sizes(attribute, group)
            if (
                selected.cell(attribute, selected.primary, group).known
                and min(n_positive, n - n_positive) < FEW
            ):
                found.append(
                    f"{attribute} = {group} ({count(n_positive)} positive, {count(n - n_positive)} negative)"
                )
    if not found:
        return ""
    return f"Fewer than {FEW} {sample}s of one class: {some(found)}. Such intervals are rough, and often too narrow."
