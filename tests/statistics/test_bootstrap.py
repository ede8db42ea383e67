"""Draws: their totals, their clusters and strata, their distribution, and on what they depend."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from fairjax.statistics.bootstrap import Resampling, _high_word, replicate_weights

draw = jax.jit(replicate_weights)


def test_each_replicate_draws_as_many_samples_as_there_are():
    weights = np.asarray(draw(Resampling.build(101), 0, jnp.arange(50)))
    assert weights.shape == (101, 50)
    np.testing.assert_array_equal(weights.sum(0), 101)
    assert (weights == np.round(weights)).all()


def test_clusters_are_drawn_whole():
    clusters = np.array(["c", "a", "b", "a", "c", "c", "d"])
    weights = np.asarray(draw(Resampling.build(7, clusters), 0, jnp.arange(200)))
    for name in "abcd":
        of_cluster = weights[clusters == name]
        assert (of_cluster == of_cluster[0]).all()
    first_rows = [1, 2, 0, 6]
    np.testing.assert_array_equal(weights[first_rows].sum(0), 4)


def test_strata_keep_their_size():
    rng = np.random.default_rng(0)
    clusters, strata = rng.permutation(40), rng.integers(0, 3, 40)
    weights = np.asarray(draw(Resampling.build(40, clusters, strata), 3, jnp.arange(100)))
    for code in range(3):
        np.testing.assert_array_equal(weights[strata == code].sum(0), (strata == code).sum())
    assert weights.std() > 0.5


def test_a_cluster_of_several_strata_is_drawn_among_its_like():
    clusters, strata = np.array([0, 0, 1, 1, 2, 3]), np.array([0, 1, 1, 0, 0, 1])
    weights = np.asarray(draw(Resampling.build(6, clusters, strata), 0, jnp.arange(100)))
    np.testing.assert_array_equal(weights[[0, 2]].sum(0), 2)
    np.testing.assert_array_equal(weights[4:], 1)


def test_a_replicate_depends_on_seed_and_number_alone():
    resampling = Resampling.build(33)
    together = np.asarray(draw(resampling, 5, jnp.arange(20)))
    np.testing.assert_array_equal(draw(resampling, 5, jnp.array([17, 3])), together[:, [17, 3]])
    assert (np.asarray(draw(resampling, 6, jnp.arange(20))) != together).any()
    assert len(np.unique(together, axis=1).T) == 20


def test_multiplicities_are_multinomial():
    n, n_replicates = 7, 20_000
    weights = np.asarray(draw(Resampling.build(n), 1, jnp.arange(n_replicates)))
    counts = np.bincount(weights.astype(int).reshape(-1), minlength=n + 1)
    expected = stats.binom.pmf(np.arange(n + 1), n, 1 / n) * n * n_replicates
    tail = counts[5:].sum(), expected[5:].sum()
    statistic = (
        (((counts - expected) ** 2 / expected)[:5]).sum() + (tail[0] - tail[1]) ** 2 / tail[1]
    )
    assert stats.chi2.sf(statistic, 5) > 1e-3
    correlation = np.corrcoef(weights)
    np.testing.assert_allclose(correlation[~np.eye(n, dtype=bool)], -1 / (n - 1), atol=0.04)


def test_high_word_is_the_high_half_of_a_64_bit_product():
    a, b = np.random.default_rng(0).integers(0, 2**32, (2, 1000), dtype=np.uint64)
    got = _high_word(jnp.asarray(a, jnp.uint32), jnp.asarray(b, jnp.uint32))
    np.testing.assert_array_equal(got, (a * b) >> np.uint64(32))
