"""Threshold rules against a search over every threshold."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from fairjax.metrics import threshold as module
from fairjax.metrics.threshold import choose_threshold
from fairjax.utils.errors import UserError


def rates(s, y, t):
    return ((s >= t) & (y == 1)).sum() / (y == 1).sum(), ((s < t) & (y == 0)).sum() / (y == 0).sum()


def search(s, y, rule):
    """The best of all distinct scores and one above them, the lowest of equals."""
    candidates = np.append(np.unique(s), np.nextafter(s.max(), np.inf))
    if rule == "f1":
        quality = [f1_score(y, s >= t, zero_division=0) for t in candidates]
    elif rule == "youden":
        quality = [round(sum(rates(s, y, t)), 12) for t in candidates]
    elif rule == "sensitivity=0.9":
        quality = [t if rates(s, y, t)[0] >= 0.9 else -1 for t in candidates]
    else:
        quality = [-t if rates(s, y, t)[1] >= 0.9 else -2 for t in candidates]
    return candidates[int(np.argmax(quality))]


@pytest.mark.parametrize("rule", ["f1", "youden", "sensitivity=0.9", "specificity=0.9"])
@pytest.mark.parametrize("grid", [None, 4, 20])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rules_find_what_a_search_over_all_thresholds_finds(rule, grid, dtype):
    rng = np.random.default_rng(7)
    y = (rng.random(50) < 0.4).astype(int)
    scores = rng.random((12, 50)) * 0.6 + 0.3 * y
    scores = (np.round(scores * grid) / grid if grid else scores).astype(dtype)
    chosen = choose_threshold(scores, y, rule)
    assert chosen.dtype == dtype
    np.testing.assert_array_equal(chosen, [search(s, y, rule) for s in scores])


@pytest.mark.parametrize("rule", [0.3, "0.3", 1])
def test_a_number_is_the_threshold(rule):
    np.testing.assert_array_equal(
        choose_threshold(np.zeros((2, 3), np.float32), np.zeros(3, int), rule), np.float32(rule)
    )


def test_targets_are_reached_in_spite_of_rounding():
    y = np.repeat([1, 0], 100)
    s = np.linspace(1, 0, 200)[None]
    assert (s[0, :100] >= choose_threshold(s, y, "sensitivity=0.55")[0]).sum() == 55


def test_no_threshold_below_the_highest_score_may_be_good_enough():
    s = np.array([[0.2, 0.9, 0.9]])
    assert choose_threshold(s, np.array([1, 0, 0]), "specificity=1")[0] > 0.9


def test_constant_scores_have_one_threshold():
    assert choose_threshold(np.full((1, 6), 0.4), np.arange(6) % 2, "f1") == 0.4


def test_a_run_that_diverged_has_no_threshold_and_harms_no_other():
    s = np.array([[0.1, np.nan, 0.9], [0.1, 0.2, 0.9]])
    np.testing.assert_array_equal(choose_threshold(s, np.array([0, 0, 1])), [np.nan, 0.9])


def test_chunks_do_not_change_the_choice(monkeypatch):
    rng = np.random.default_rng(0)
    s, y = rng.random((9, 20)), np.arange(20) % 2
    whole = choose_threshold(s, y)
    monkeypatch.setattr(module, "_CHUNK", 40)
    np.testing.assert_array_equal(choose_threshold(s, y), whole)


@pytest.mark.parametrize(
    "rule", ["best", "sensitivity", "sensitivity=2", "sensitivity=x", "f1=0.3", ""]
)
def test_an_unknown_rule_is_refused(rule):
    with pytest.raises(UserError, match="threshold rule"):
        choose_threshold(np.zeros((1, 2)), np.array([0, 1]), rule)


def test_one_class_cannot_choose():
    with pytest.raises(UserError, match="both classes"):
        choose_threshold(np.zeros((1, 2)), np.array([1, 1]), "f1")
