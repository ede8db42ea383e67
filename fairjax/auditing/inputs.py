"""Labels, scores and people of an audit, checked and in one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import special

from fairjax.auditing import arrays
from fairjax.datasets.groups import encode
from fairjax.datasets.options import as_names
from fairjax.datasets.values import (
    canonical,
    codes_of,
    distinct,
    fold,
    is_missing,
    listed,
    tally,
    to_numpy,
)
from fairjax.statistics.rows import Attribute
from fairjax.utils.errors import UserError, did_you_mean, lookup

SCORE_TYPES = ("auto", "probability", "logit")
MISSING = ("error", "drop")
AMBIGUOUS = ("none", "-")  # words for missing that may be an answer
_SUM_TOLERANCE = 1e-3  # of the probabilities of all classes of a sample


@dataclass(frozen=True)
class Predictions:
    """What is audited, rows without label or score left out.

    Attributes:
      labels: (n,) in {0, 1}; None for values that need none.
      scores: model → (n,) float64.
      attributes: name → (codes (n,), names), −1 where missing.
      patients: (n,) codes of patients; None: every row is one.
      weights: (n,) or None.
      n_given: rows before any was left out.
      left_out: reason → rows.
      left_out_by_group: attribute, group, n_given, n_left_out.
      rules: attribute → how it was cut.
      facts: how labels and scores were read.
      notes: what was missing in the attributes, and which spellings were merged.
    """

    labels: Int[np.ndarray, " n"] | None
    scores: dict[str, Float[np.ndarray, " n"]]
    attributes: dict[str, Attribute]
    patients: Int[np.ndarray, " n"] | None
    weights: Float[np.ndarray, " n"] | None
    n_given: int
    left_out: dict[str, int]
    left_out_by_group: pd.DataFrame
    rules: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def binary_labels(
    y_true: Any, pos_label: Any = None
) -> tuple[Float[np.ndarray, " n"], dict[str, Any]]:
    """Returns labels 0 and 1, NaN where missing, and how they were read.

    Args:
      y_true: (n,) labels of any form.
      pos_label: the positive one; every other is negative.

    Raises:
      UserError: labels are not 0/1 and no positive one is given, or the positive one does not
        occur.
    """
    array = to_numpy(y_true, "labels")
    if array.ndim > 1 and array.size != len(array):
        raise UserError(f"labels must be one for each sample, not an array of shape {array.shape}")
    column = pd.Series(array.reshape(-1), dtype=object)
    found = distinct(column)
    blank = is_missing(found.text)
    known = tally(found, ~blank)
    facts: dict[str, Any] = {}
    if pos_label is None:
        values = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0}
        if not set(map(fold, known)) <= values.keys():
            raise UserError(
                f"labels are {listed(known)}: say which is the positive one, with pos_label"
            )
        label_of = {text: values[fold(text)] for text in known}
    else:
        positive = _positive(pos_label, known)
        label_of = {text: float(fold(text) == fold(positive)) for text in known}
        facts["positive label"] = positive
        _refuse_ambiguous(column)
        negative = {text for text, label in label_of.items() if not label}
        if len(negative) > 1:
            facts["negative labels"] = ", ".join(sorted(negative))
    of_distinct = np.array(
        [np.nan if gone else label_of.get(text, np.nan) for text, gone in zip(found.text, blank)]
    )
    return of_distinct[found.codes], facts


def _positive(pos_label: Any, known: Mapping[str, int]) -> str:
    """The positive label as the labels write it."""
    positive = canonical(pd.Series([pos_label], dtype=object)).iloc[0]
    alike = [text for text in known if fold(text) == fold(positive)]
    if not alike:
        raise UserError(
            f"no label is {positive!r}, the positive one{did_you_mean(positive, known)}"
        )
    return positive if positive in alike else alike[0]


def _refuse_ambiguous(labels: pd.Series) -> None:
    """Among names of findings, `none` or `-` may mean negative as well as missing."""
    text = canonical(labels).str.lower()
    for word in AMBIGUOUS:
        rows = (text == word).to_numpy()
        if rows.any():
            raise UserError(
                f"the label of {rows.sum()} rows is {word!r}, the first is row {np.argmax(rows)}: "
                "is it negative or missing? Write 'no finding', or leave these cells empty"
            )


def positive_scores(
    y_score: Any,
    *,
    name: str = "scores",
    score_type: str = "auto",
    pos_label: Any = None,
    classes: Sequence[str] = (),
) -> tuple[Float[np.ndarray, " n"], dict[str, Any]]:
    """Returns probabilities of the positive class, NaN where missing, and how they were made.

    Args:
      y_score: (n,) or (n, 1) scores, or (n, K) one column per class.
      name: name of the model, for messages.
      score_type: `auto`: probabilities; `logit`: sigmoid of one column, softmax of several.
      pos_label: the positive class, one of `classes`; without it the second of two columns.
      classes: names of the columns, in order.

    Raises:
      UserError: scores are infinite, or not in [0, 1] although they are no logits.
    """
    lookup("score_type", score_type, dict.fromkeys(SCORE_TYPES))
    scores = arrays.numbers(y_score, name)
    if np.isinf(scores).any():
        rows = np.isinf(scores).reshape(len(scores), -1).any(1)
        raise UserError(
            f"{name}: {rows.sum()} rows are infinite, the first is row {np.argmax(rows)}"
        )
    if scores.ndim == 1 or scores.shape[1] == 1:
        scores = scores.reshape(-1)
        if score_type == "logit":
            return special.expit(scores), {"scores": "logits, through a sigmoid"}
        return _probabilities(scores, name), {}
    if scores.ndim > 2:
        raise UserError(
            f"{name} must be one or one per class for each sample, not an array of shape "
            f"{scores.shape}"
        )
    column = _positive_column(scores.shape[1], name, pos_label, classes)
    how = f"column {classes[column] if len(classes) else column} of {scores.shape[1]}"
    if score_type == "logit":
        return special.softmax(scores, axis=1)[:, column], {"scores": f"{how}, through a softmax"}
    _probabilities(scores, name)
    total = scores.sum(1)
    if (np.abs(total - 1) > _SUM_TOLERANCE).any():
        row = int(np.argmax(np.abs(total - 1) > _SUM_TOLERANCE))
        raise UserError(
            f"{name}: the classes of row {row} sum to {total[row]:g}, not 1; are they logits "
            "(score_type)?"
        )
    return scores[:, column], {"scores": how}


def _positive_column(n_classes: int, name: str, pos_label: Any, classes: Sequence[str]) -> int:
    names = [str(label) for label in classes]
    if pos_label is not None and str(pos_label) in names:
        return names.index(str(pos_label))
    if n_classes == 2 and (pos_label is None or not names):
        return 1
    raise UserError(
        f"{name} has {n_classes} columns: say which class is positive, with "
        f"pos_label{_among(names)}"
    )


def _among(names: Sequence[str]) -> str:
    return f"; the classes are {', '.join(names)}" if names else ""


def _probabilities(scores: np.ndarray, name: str) -> np.ndarray:
    known = scores[~np.isnan(scores)]
    if known.size and (known.min() < 0 or known.max() > 1):
        raise UserError(
            f"{name} range from {known.min():g} to {known.max():g}, which are no probabilities; "
            f"if they are logits, say so with --score_type=logit (score_type='logit')"
        )
    return scores


def collect(
    y_true: Any,
    y_score: Any,
    groups: Any,
    *,
    pos_label: Any = None,
    score_type: str = "auto",
    cluster: Any = None,
    **options: Any,
) -> Predictions:
    """Reads all that `fairjax.audit` takes.

    Args:
      y_true: as in `fairjax.audit`.
      y_score: as in `fairjax.audit`.
      groups: as in `fairjax.audit`.
      pos_label: as in `fairjax.audit`.
      score_type: as in `fairjax.audit`.
      cluster: as in `fairjax.audit`.
      **options: further arguments of `assemble`.

    Raises:
      UserError: what is wrong, where, and what to do.
    """
    arrays.require_same_order(
        {"y_true": y_true, "y_score": y_score, "groups": groups, "cluster": cluster}
    )
    labels, facts = binary_labels(y_true, pos_label)
    classes = _classes(y_true) if pos_label is not None else []
    scores = {}
    for name, values in by_model(y_score).items():
        reading = {"score_type": score_type, "pos_label": pos_label, "classes": classes}
        if isinstance(values, pd.DataFrame):
            reading["classes"] = [str(column) for column in values.columns]
        scores[name], how = positive_scores(values, name=name, **reading)
        facts |= how
    return assemble(labels, scores, groups, cluster=cluster, facts=facts, **options)


def by_model(y_score: Any, name: str = "score") -> dict[str, Any]:
    """Returns model → scores: a DataFrame has one column for each model."""
    if isinstance(y_score, pd.DataFrame):
        return {str(name): y_score[name] for name in y_score}
    if isinstance(y_score, Mapping):
        return {str(name): values for name, values in y_score.items()}
    return {name: y_score}


def assemble(
    labels: Float[np.ndarray, " n"] | None,
    scores: dict[str, Float[np.ndarray, " n"]],
    groups: Any,
    *,
    cluster: Any = None,
    weights: Any = None,
    bins: str | Sequence[str] | Mapping[str, Any] | None = None,
    intersections: bool | Sequence[Sequence[str]] = False,
    missing: str = "error",
    missing_values: Sequence[str] = (),
    keep_na: bool = False,
    facts: dict[str, Any] | None = None,
) -> Predictions:
    """Puts together what was read, with rows left out that have no label or no score of a model.

    Args:
      labels: (n,) in {0, 1}, NaN where missing; None for values that need none.
      scores: model → (n,), NaN where missing.
      groups: as in `fairjax.audit`.
      cluster: as in `fairjax.audit`.
      weights: as in `fairjax.audit`.
      bins: as in `fairjax.audit`.
      intersections: as in `fairjax.audit`.
      missing: as in `fairjax.audit`.
      missing_values: as in `fairjax.audit`.
      keep_na: as in `fairjax.audit`.
      facts: how labels and scores were read.

    Raises:
      UserError: what is wrong, where, and what to do.
    """
    lookup("missing", missing, dict.fromkeys(MISSING))
    columns = {**({} if labels is None else {"label": labels}), **scores}
    n = len(next(iter(columns.values())))
    if not n:
        raise UserError("there are no samples")
    for name, values in columns.items():
        if len(values) != n:
            raise UserError(
                f"{name!r} has {len(values)} values, but {next(iter(columns))!r} has {n}"
            )
    table = encode(
        groups, n, bins, intersections, missing=as_names(missing_values), keep_na=keep_na
    )
    unknown = {f"no {name}": np.isnan(values) for name, values in columns.items()}
    keep = ~np.any(list(unknown.values()), axis=0)
    left_out = {reason: int(rows.sum()) for reason, rows in unknown.items() if rows.any()}
    if left_out and missing == "error":
        reasons = ", ".join(f"{count} rows have {reason}" for reason, count in left_out.items())
        raise UserError(
            f"{reasons}, the first is row {np.argmin(keep)}: fill them in, or leave them out (they "
            "are counted, also by group) with --missing=drop (missing='drop')"
        )
    if not keep.any():
        raise UserError("no row has a label and a score")
    patients = _patients(cluster, n)
    weighed = _weights(weights, n)
    return Predictions(
        labels=None if labels is None else labels[keep].astype(np.int64),
        scores={name: values[keep] for name, values in scores.items()},
        attributes={
            name: (codes[keep], names) for name, (codes, names) in table.attributes.items()
        },
        patients=None
        if patients is None
        else np.unique(patients[keep], return_inverse=True)[1].reshape(-1),
        weights=None if weighed is None else weighed[keep],
        n_given=n,
        left_out=left_out,
        left_out_by_group=_by_group(table.attributes, keep),
        rules=table.rules,
        facts=facts or {},
        notes=table.notes,
    )


def _classes(y_true: Any) -> list[str]:
    """Classes in the order in which scikit-learn has their columns: sorted, numbers by value."""
    values = pd.Series(to_numpy(y_true, "labels").reshape(-1), dtype=object)
    return canonical(pd.Series(sorted(values[~is_missing(values)].unique()), dtype=object)).tolist()


def _patients(cluster: Any, n: int) -> Int[np.ndarray, " n"] | None:
    if cluster is None:
        return None
    values = pd.Series(to_numpy(cluster, "cluster").reshape(-1), dtype=object)
    if len(values) != n:
        raise UserError(f"cluster has {len(values)} values, but there are {n} samples")
    blank = is_missing(values)
    if blank.any():
        raise UserError(
            f"{blank.sum()} rows have no patient (cluster), the first is row {np.argmax(blank)}: "
            "fill it in"
        )
    return codes_of(values)


def _weights(weights: Any, n: int) -> Float[np.ndarray, " n"] | None:
    if weights is None:
        return None
    values = arrays.numbers(weights, "weights").reshape(-1)
    if len(values) != n:
        raise UserError(f"weights has {len(values)} values, but there are {n} samples")
    if not np.isfinite(values).all() or (values < 0).any() or not values.any():
        raise UserError("weights must be finite and not negative, and not all 0")
    return values


def _by_group(attributes: Mapping[str, Attribute], keep: np.ndarray) -> pd.DataFrame:
    rows = []
    for attribute, (codes, names) in attributes.items():
        for count, code in ((None, -1), *enumerate(range(len(names)))):
            member = codes == code
            name = "missing" if count is None else names[code]
            rows.append((attribute, name, int(member.sum()), int((member & ~keep).sum())))
    return pd.DataFrame(rows, columns=["attribute", "group", "n_given", "n_left_out"])
