"""Intervals of clustered data hold the truth about as often as they say. The figure is made by
benchmarks/coverage.py.
"""

import numpy as np
import pytest
from scipy import stats

from fairjax.statistics.coverage import Design, coverage, draw_scores, study
from fairjax.statistics.delong import auc_influence
from fairjax.statistics.intervals import expanded, perfect

STUDIES = 2000


def test_the_population_has_the_metrics_that_it_says():
    design = Design(n=40_000)
    who = study(design)
    scores = draw_scores(design, who, 8)
    truth = design.truth()
    for code, name in enumerate("ab"):
        member, positive = who.groups == code, (who.groups == code) & (who.labels == 1)
        aucs = [
            auc_influence(
                run[member], who.labels[member], who.patients[member], who.patients[-1] + 1
            )[0]
            for run in scores
        ]
        assert np.mean(aucs) == pytest.approx(truth["auc", name], abs=2e-3)
        assert (scores[:, positive] >= 1 / (1 + np.exp(-design.cut))).mean() == pytest.approx(
            truth["tpr", name], abs=5e-3
        )


@pytest.mark.parametrize("n", [2, 5, 30, 10**6])
def test_the_expanded_level_is_that_of_students_t(n):
    z = stats.norm.ppf((1 + expanded(0.95, np.array(n))) / 2)
    if n > 5:  # below, the normal tail is beyond float64
        assert z == pytest.approx(np.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1), rel=1e-6)
    assert 0.95 <= expanded(0.95, np.array(n)) <= 1


@pytest.mark.parametrize("n", [1, 7, 40])
def test_a_perfect_share_has_the_exact_interval(n):
    assert perfect(0.95, np.array(n)) == pytest.approx(
        stats.binomtest(n, n).proportion_ci(0.95, "exact").low
    )


@pytest.mark.slow
@pytest.mark.parametrize("interval", ["percentile", "bca"])
@pytest.mark.parametrize("n", [200, 500, 2000])
def test_intervals_of_clustered_images_cover_nineteen_times_in_twenty(n, interval):
    table = coverage(Design(n), STUDIES, 1000, interval).set_index(["metric", "group"])
    covered = table["covered"]
    assert ((covered["auc"] > 0.925) & (covered["auc"] < 0.975)).all(), covered
    assert (covered > 0.925).all(), covered
    if (
        n > 200 and interval == "percentile"
    ):  # of 9 positive patients, often all are found: then the exact interval is wide
        assert (covered < 0.975).all(), covered


@pytest.mark.slow
def test_the_auc_of_fifteen_positives_is_covered():
    covered = coverage(Design(400, prevalence=1 / 13), STUDIES, 1000)
    assert (covered["positives"] <= 16).all()
    auc = covered[covered["metric"] == "auc"]["covered"]
    assert ((auc > 0.925) & (auc < 0.98)).all(), covered
