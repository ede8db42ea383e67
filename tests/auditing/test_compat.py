"""Policy compat against the package that it is compatible with, on hostile input: every number, to
1e-6.
"""

import warnings

import fairmedfm
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fairjax
from fairjax.utils.errors import UserError


def make(seed, n, n_groups, grid, single_label, missing):
    """Scores of unequal groups, on a grid of 0.01 or not; a group of one label; some whose group is
    not known.
    """
    rng = np.random.default_rng(seed)
    group = rng.choice(n_groups, n, p=rng.dirichlet(np.full(n_groups, 3.0)))
    labels = (rng.random(n) < rng.uniform(0.1, 0.9)).astype(int)
    labels[:2] = 0, 1
    scores = 1 / (1 + np.exp(-rng.normal(2 * labels - 1 + 0.5 * (group == 0), 1.5)))
    if single_label:
        labels[group == n_groups - 1] = rng.integers(0, 2)
        labels[:2], group[:2] = (0, 1), 0
    names = pd.Series(group).map(lambda code: f"g{code}")
    if missing:
        names[rng.random(n) < 0.1] = None
    other = pd.Series(rng.choice(["F", "M"], n))
    return labels, scores.round(2) if grid else scores, pd.DataFrame({"a": names, "sex": other})


def assert_same(labels, scores, groups):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = fairmedfm.evaluate(labels, scores, groups)
    got = fairjax.audit(labels, scores, groups, policy="compat", n_boot=0, n_permutations=0)
    for table in ("summary", "by_group"):
        theirs, ours = getattr(expected, table), getattr(got, table)
        assert ours.index.tolist() == theirs.index.tolist()
        for column in theirs.columns.drop("skipped", errors="ignore"):
            np.testing.assert_allclose(
                ours[column].astype(float),
                theirs[column].astype(float),
                atol=1e-6,
                rtol=0,
                err_msg=f"{table} {column}",
            )
    skipped = expected.by_group["skipped"].notna()
    assert (got.by_group["skipped"].notna() == skipped).all()


cases = {
    "seed": st.integers(0, 2**32 - 1),
    "n": st.sampled_from([40, 173, 1000, 5000]),
    "n_groups": st.integers(2, 6),
    "grid": st.booleans(),
    "single_label": st.booleans(),
    "missing": st.booleans(),
}


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(**cases)
def test_every_number_equals_that_of_fairmedfm(**case):
    assert_same(*make(**case))


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(**cases)
def test_every_number_equals_that_of_fairmedfm_on_many_inputs(**case):
    assert_same(*make(**case))


@pytest.mark.parametrize(
    "scores",
    [np.full(40, 0.3), np.tile([0.0, 1.0], 20), np.tile([0.0, 0.5, 0.5, 1.0], 10)],
    ids=["constant", "extreme", "at a half"],
)
def test_odd_scores_have_the_numbers_of_fairmedfm(scores):
    labels = np.tile([0, 1, 1, 0, 1], 8)
    assert_same(labels, scores, pd.DataFrame({"sex": np.repeat(["F", "M"], 20)}))


def test_columns_are_those_of_the_published_summary_and_intervals_beside_them():
    labels, scores, groups = make(0, 200, 3, True, False, False)
    summary = fairjax.audit(
        labels, scores, groups, policy="compat", n_boot=20, n_permutations=0
    ).summary
    plain = fairjax.audit(
        labels, scores, groups, policy="compat", n_boot=0, n_permutations=0
    ).summary
    gaps = ["worst-auc", "auc-gap", "acc-gap", "bce-gap", "ece-gap", "eod", "eo"]
    names = ["overall-auc", "overall-acc", "overall-bce", "overall-ece", *gaps]
    assert plain.columns.tolist() == ["n", "n_groups", *names]
    assert summary.index.name == "attribute"
    assert set(summary.columns) == {
        *plain.columns,
        *(f"{name}{end}" for name in names for end in ("_low", "_high")),
    }
    pd.testing.assert_frame_equal(summary[plain.columns], plain)


def test_weights_are_refused():
    with pytest.raises(UserError, match="compat knows no sample weights"):
        fairjax.audit(
            [0, 1] * 10, [0.1, 0.7] * 10, [0, 1] * 10, weights=np.ones(20), policy="compat"
        )
