"""The result in plain words, and no stronger than the intervals allow."""

from __future__ import annotations

from dataclasses import dataclass

from fairjax.report.display import metric
from fairjax.report.estimate import Estimate
from fairjax.report.format import count, decimal, finite, some
from fairjax.report.selected import GAP, Selected

MIN_CASES = 20  # cases of one class, below which a reader is warned about the interval


@dataclass(frozen=True)
class GapVerdict:
    """What the data show about the gap of an attribute.

    Attributes:
      attribute: the attribute.
      kind: "shown" (the interval excludes 0), "not shown" or "unknown".
      gap: the gap of the primary metric.
      digits: decimals of its numbers.
      sentence: the verdict in words.
      elsewhere: a sentence on other metrics whose gap excludes 0, or "".
    """

    attribute: str
    kind: str
    gap: Estimate
    digits: int
    sentence: str
    elsewhere: str


def headline(selected: Selected, sample: str = "image") -> str:
    """Returns the sentence on the overall value, with the size of the sample."""
    label, overall = metric(selected.primary).short, selected.overall(selected.primary)
    if not overall.known:
        return f"No overall {label}: {overall.reason}."
    positive = ""
    if finite(overall.n_positive):
        positive = f" of which {count(overall.n_positive)} are positive"
    return f"{label} {overall.text(2)} overall, on {count(overall.n)} {sample}s{positive}."


def gap_verdicts(selected: Selected) -> list[GapVerdict]:
    """Returns what the data show about the gap of each attribute."""
    return [_gap_verdict(selected, attribute) for attribute in selected.attributes]


def _gap_verdict(selected: Selected, attribute: str) -> GapVerdict:
    gap = selected.estimate(attribute, selected.primary, GAP)
    digits = gap_digits(gap)
    number = f"{gap.text(digits)} ({gap.remark})" if gap.remark else gap.text(digits)
    if not gap.known:
        kind, text = "unknown", f"no gap could be computed: {gap.reason}"
    elif not gap.has_interval:
        kind, text = "unknown", f"the gap is {number}; no interval says how sure that is"
    elif gap.excludes_zero:
        kind, text = "shown", f"the gap is {number}: {_ends(selected, attribute, digits)}"
    else:
        upper = f"one of up to {decimal(gap.high, digits)} remains compatible with the data"
        kind, text = "not shown", f"no gap could be shown: {number}; {upper}"
    sentence = f"By {attribute} {text}.{_test(selected, gap)}"
    return GapVerdict(attribute, kind, gap, digits, sentence, _elsewhere(selected, attribute))


def _test(selected: Selected, gap: Estimate) -> str:
    """Returns a sentence on the permutation test of a gap, or ""."""
    if not gap.p_text:
        return ""
    n_tests = selected.n_tests(selected.primary)
    corrected = f", {decimal(gap.p_holm)} after Holm's correction over {n_tests} gaps"
    p_value = gap.p_text.partition(",")[0]
    return f" Permutation test: {p_value}{corrected if n_tests > 1 else ''}."


def _ends(selected: Selected, attribute: str, digits: int) -> str:
    """Returns the groups with the lowest and the highest value, e.g. "female 0.79, male 0.88"."""
    groups = selected.groups(attribute)
    found = {group: selected.estimate(attribute, selected.primary, group) for group in groups}
    values = {group: estimate.value for group, estimate in found.items() if estimate.known}
    order = sorted(values, key=values.__getitem__)
    words = ("lowest ", "highest ") if len(order) > 2 else ("", "")
    return ", ".join(
        f"{word}{group} {decimal(values[group], digits)}"
        for word, group in zip(words, (order[0], order[-1]))
    )


def _elsewhere(selected: Selected, attribute: str) -> str:
    """Returns a sentence on the other metrics whose gap excludes 0, or ""."""
    found = [
        f"{metric(name).short} {gap.text(gap_digits(gap))}"
        for name in selected.metrics
        if name != selected.primary
        and (gap := selected.estimate(attribute, name, GAP)).excludes_zero
    ]
    return f"Also above 0 with its interval: the gap in {some(found, 5)}." if found else ""


def gap_digits(gap: Estimate) -> int:
    """Returns 2, or 3 if two digits would round the lower end of an interval above 0 to 0."""
    return 3 if 0 < gap.low < 0.005 else 2


def small_groups(selected: Selected, sample: str = "image") -> str:
    """Returns a sentence on the groups with few images of one class, or ""."""
    found = []
    for attribute in selected.attributes:
        for group in selected.groups(attribute):
            n, n_positive = selected.sizes(attribute, group)
            known = selected.estimate(attribute, selected.primary, group).known
            if known and min(n_positive, n - n_positive) < MIN_CASES:
                sizes = f"{count(n_positive)} positive, {count(n - n_positive)} negative"
                found.append(f"{attribute} = {group} ({sizes})")
    if not found:
        return ""
    warning = "Such intervals are rough, and often too narrow."
    return f"Fewer than {MIN_CASES} {sample}s of one class: {some(found)}. {warning}"
