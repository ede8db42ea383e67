"""Each method against a closed form, a direct computation or another library."""

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest
from fairlearn.metrics import MetricFrame, selection_rate, true_positive_rate
from scipy import stats
from sklearn.metrics import log_loss as sklearn_log_loss

from fairjax.training.__main__ import tables
from fairjax.training.objectives import (
    METHODS,
    adversaries,
    distributions,
    matching,
    parity,
    parse,
    weighting,
)
from fairjax.training.objectives.base import Sizes, Step, group_means, reverse
from fairjax.training.objectives.losses import log_loss
from fairjax.utils.errors import UserError

R, B, G = 3, 40, 3
ONE = jnp.ones(R)


@pytest.fixture
def drawn():
    """Logits, labels, group codes (one unknown), weights and the step that objectives see."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(R, B)).astype(np.float32)
    y = rng.integers(0, 2, B).astype(np.float32)
    codes = np.where(np.arange(B) == 7, -1, rng.integers(0, G, B))
    weights = np.where(np.arange(B) > 36, 0.0, rng.uniform(0.5, 2, B)).astype(np.float32)
    return logits, y, codes, weights


def step_of(logits, y, codes, weights, **more):
    logits = jnp.asarray(logits)
    return Step(
        losses=log_loss(logits, jnp.asarray(y)),
        weights=jnp.asarray(weights),
        membership=jnp.asarray((codes[:, None] == np.arange(G)).astype(np.float32)),
        y=jnp.asarray(y),
        logits=logits,
        outputs=logits[:, None],
        features=logits[:, None],
        **more,
    )


def losses_of(logits, y):
    return np.logaddexp(0, logits) - y * logits


def mean(values, weights):
    return (values * weights).sum(-1) / weights.sum(-1)


def test_group_means_leave_out_those_of_unknown_group(drawn):
    logits, _, codes, weights = drawn
    means, totals = group_means(
        jnp.asarray(logits), jnp.asarray(weights), step_of(*drawn).membership
    )
    for g in range(G):
        of = codes == g
        np.testing.assert_allclose(means[:, g], mean(logits[:, of], weights[of]), rtol=1e-5)
        np.testing.assert_allclose(totals[0, g], weights[of].sum(), rtol=1e-6)


@pytest.mark.row("method", "group_dro")
def test_group_dro_has_the_weights_of_exponentiated_gradient_ascent(drawn):
    logits, y, codes, weights = drawn
    eta = np.array([0.1, 1.0, 5.0], np.float32)
    state = {"log_q": jnp.log(jnp.full((R, G), 1 / 3))}
    value, state = METHODS["group_dro"].loss(step_of(*drawn), jnp.asarray(eta), state)
    losses = np.stack(
        [mean(losses_of(logits, y)[:, codes == g], weights[codes == g]) for g in range(G)], 1
    )
    q = np.exp(eta[:, None] * losses)
    q /= q.sum(1, keepdims=True)
    np.testing.assert_allclose(np.exp(state["log_q"]), q, rtol=1e-5)
    np.testing.assert_allclose(value, (q * losses).sum(1), rtol=1e-5)


def test_an_absent_group_keeps_its_weight_in_group_dro(drawn):
    logits, y, codes, weights = drawn
    state = {"log_q": jnp.log(jnp.full((R, G), 1 / 3))}
    absent = step_of(logits, y, np.where(codes == 2, 1, codes), weights)
    _, state = METHODS["group_dro"].loss(absent, 0 * ONE, state)
    np.testing.assert_allclose(np.exp(state["log_q"]), 1 / 3, rtol=1e-5)


@pytest.mark.row("method", "cvar_dro")
@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.1])
def test_cvar_is_the_mean_of_the_worst_losses(drawn, alpha):
    logits, y, _, _ = drawn
    plain = step_of(logits, y, np.zeros(B, int), np.ones(B, np.float32))
    value, _ = METHODS["cvar_dro"].loss(plain, alpha * ONE, {})
    worst = np.sort(losses_of(logits, y), 1)[:, -int(alpha * B) :]
    np.testing.assert_allclose(value, worst.mean(1), rtol=1e-5)


@pytest.mark.row("method", "reweighting", "reweighting_class")
def test_balancing_gives_each_cell_the_same_weight_at_strength_one():
    codes = np.repeat([0, 1, 2], [50, 30, 20])
    cells = jnp.asarray((codes[:, None] == np.arange(3)).astype(np.float32))
    weights = np.asarray(
        weighting.inverse_frequency(jax.random.key(0), cells, jnp.array([0.0, 1.0]))
    )
    np.testing.assert_allclose(weights[0], 1, rtol=1e-6)
    np.testing.assert_allclose([weights[1, codes == k].sum() for k in range(3)], 100 / 3, rtol=1e-5)


@pytest.mark.row("method", "resampling", "resampling_class")
def test_resampling_draws_poisson_multiplicities_with_the_balanced_mean():
    codes = np.repeat([0, 1], [1500, 500])
    cells = jnp.asarray((codes[:, None] == np.arange(2)).astype(np.float32))
    counts = np.asarray(weighting.resampled(jax.random.key(3), cells, jnp.array([1.0])))[0]
    assert (counts == counts.round()).all()
    for k, expected in ((0, 2000 / 3000), (1, 2.0)):
        drawn = counts[codes == k]
        observed = np.bincount(drawn.astype(int), minlength=7)[:7]
        theory = stats.poisson.pmf(np.arange(7), expected) * len(drawn)
        enough = theory > 5
        chi2 = ((observed - theory) ** 2 / theory)[enough].sum()
        assert chi2 < stats.chi2.ppf(0.999, enough.sum())


def direct_mmd(z, a, b):
    """MMD² by its definition, of weights a and b that sum to 1, in float64."""
    d = (z[:, None] - z) ** 2
    kernel = sum(np.exp(-d / (2 * s**2)) for s in (2, 1, 0.5))
    return a @ kernel @ a - 2 * a @ kernel @ b + b @ kernel @ b


@pytest.mark.row("method", "mmd")
def test_mmd_is_that_of_a_direct_computation_and_so_is_its_gradient(drawn):
    logits, y, codes, weights = drawn
    step = step_of(*drawn)

    def total(z):
        all_ = weights / weights.sum()
        inside = [weights * (codes == g) for g in range(G)]
        return sum(direct_mmd(z.astype(np.float64), w / w.sum(), all_) for w in inside)

    value = matching.squared_mmd(step.features, step.weights, step.membership)
    np.testing.assert_allclose(value, [total(z) for z in logits], rtol=2e-4)
    gradient = jax.grad(lambda z: matching.squared_mmd(z, step.weights, step.membership).sum())(
        step.features
    )[0, 0]
    h = 1e-5
    for i in (0, 5, 20):
        plus, minus = (logits[0].astype(np.float64) + s * h * (np.arange(B) == i) for s in (1, -1))
        np.testing.assert_allclose(
            gradient[i], (total(plus) - total(minus)) / (2 * h), rtol=1e-3, atol=1e-7
        )


def test_mmd_of_wide_features_agrees_with_that_of_their_only_column(drawn):
    step = step_of(*drawn)
    padded = jnp.concatenate([step.features, jnp.zeros((R, 2, B))], 1)
    one, wide = (
        matching.squared_mmd(z, step.weights, step.membership) for z in (step.features, padded)
    )
    np.testing.assert_allclose(one, wide, rtol=1e-4)


@pytest.mark.row("method", "coral")
def test_coral_compares_means_and_covariances(drawn):
    logits, y, codes, weights = drawn
    rng = np.random.default_rng(1)
    features = rng.normal(size=(R, 4, B)).astype(np.float32)
    step = step_of(*drawn)._replace(features=jnp.asarray(features))
    value, _ = METHODS["coral"].loss(step, ONE, {})
    expected = mean(losses_of(logits, y), weights)
    for r in range(R):
        everybody = (
            np.average(features[r], axis=1, weights=weights),
            np.cov(features[r], aweights=weights, ddof=0),
        )
        for g in range(G):
            of = codes == g
            m = np.average(features[r][:, of], axis=1, weights=weights[of])
            c = np.cov(features[r][:, of], aweights=weights[of], ddof=0)
            expected[r] += (
                ((m - everybody[0]) ** 2).sum() + ((c - everybody[1]) ** 2).sum() / 4
            ) / 4
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_sinkhorn_is_that_of_pot():
    rng = np.random.default_rng(2)
    a, b = rng.dirichlet(np.ones(distributions.GRID), 2)
    cost, epsilon = np.asarray(distributions.grid_cost(), np.float64), distributions.EPSILON
    value = distributions.sinkhorn(
        jnp.asarray(a)[None], jnp.asarray(b)[None], jnp.asarray(cost), iterations=500
    )[0]
    plan = ot.sinkhorn(a, b, cost, epsilon, numItermax=10_000, stopThr=1e-12)
    np.testing.assert_allclose(
        value, (plan * cost).sum() + epsilon * (plan * np.log(plan)).sum(), rtol=1e-4
    )
    few = distributions.sinkhorn(jnp.asarray(a)[None], jnp.asarray(b)[None], jnp.asarray(cost))[0]
    np.testing.assert_allclose(few, value, rtol=1e-3)


def test_the_gradient_of_sinkhorn_is_its_potential():
    rng = np.random.default_rng(3)
    a, b, c = (jnp.asarray(rng.dirichlet(np.full(distributions.GRID, 5.0)))[None] for _ in range(3))
    cost = distributions.grid_cost()
    value = lambda a: distributions.sinkhorn(a, b, cost, iterations=300)[0]  # noqa: E731
    towards = (c - a)[0]
    slope = jnp.sum(jax.grad(value)(a)[0] * towards)
    difference = (value(a + 1e-2 * towards) - value(a - 1e-2 * towards)) / 2e-2
    np.testing.assert_allclose(slope, difference, rtol=2e-2)


@pytest.mark.row("method", "fair_sinkhorn")
def test_fair_sinkhorn_adds_nothing_where_groups_have_the_same_scores():
    logits = np.tile(np.random.default_rng(4).normal(size=(R, B // 4)), (1, 4)).astype(np.float32)
    codes, y = np.repeat([0, 1, 2, 2], B // 4), np.zeros(B, np.float32)
    step = step_of(logits, y, codes, np.ones(B, np.float32))
    value, _ = METHODS["fair_sinkhorn"].loss(step, 100 * ONE, {})
    np.testing.assert_allclose(value, losses_of(logits, y).mean(1), rtol=1e-3)
    apart, _ = METHODS["fair_sinkhorn"].loss(
        step_of(logits + 2 * codes, y, codes, np.ones(B)), 100 * ONE, {}
    )
    assert (apart - losses_of(logits + 2 * codes, y).mean(1) > 1).all()


def test_wasserstein_distances_of_groups_are_those_of_scipy(drawn):
    _, _, codes, weights = drawn
    values = np.random.default_rng(5).uniform(size=(R, B)).astype(np.float32)
    step = step_of(*drawn)
    distances = distributions.group_distances(
        jnp.asarray(values), jnp.broadcast_to(step.weights, (R, B)), step.membership
    )
    for r in range(R):
        for g in range(G):
            of = codes == g
            expected = stats.wasserstein_distance(values[r, of], values[r], weights[of], weights)
            np.testing.assert_allclose(distances[r, g], expected, atol=1 / distributions.GRID)


@pytest.mark.row("method", "fis")
def test_fis_scales_by_the_softmax_of_losses_at_share_zero_and_by_groups_at_share_one(drawn):
    logits, y, codes, _ = drawn
    step = step_of(logits, y, codes, np.ones(B, np.float32))
    individual, _ = METHODS["fis"].loss(step, 0 * ONE, {})
    losses = losses_of(logits, y)
    softmax = np.exp(losses) / np.exp(losses).sum(1, keepdims=True)
    np.testing.assert_allclose(individual, (softmax * losses).sum(1), rtol=1e-4)
    grouped, _ = METHODS["fis"].loss(step, ONE, {})
    distances = distributions.group_distances(
        1 - jnp.exp(-step.losses), jnp.ones((R, B)), step.membership
    )
    scales = np.asarray(jax.nn.softmax(distances, -1)) * G
    of_sample = np.where(codes >= 0, scales[:, codes], 1.0)
    np.testing.assert_allclose(grouped, (of_sample * losses).mean(1), rtol=1e-4)


@pytest.mark.row("method", "dp_penalty", "eopp_penalty")
@pytest.mark.parametrize(
    ("criterion", "rate", "of"),
    [("dp", selection_rate, lambda y: y >= 0), ("eopp", true_positive_rate, lambda y: y == 1)],
)
def test_violations_are_the_rates_of_fairlearn(drawn, criterion, rate, of):
    logits, y, codes, weights = drawn
    known = codes >= 0
    certain = np.where(logits > 0, 30, -30).astype(np.float32)
    step = step_of(certain, y, codes, weights)
    plain = mean(losses_of(certain, y), weights)
    value, _ = METHODS[f"{criterion}_penalty"].loss(step, ONE, {})
    for r in range(R):
        frame = MetricFrame(
            metrics=rate,
            y_true=y[known],
            y_pred=logits[r, known] > 0,
            sensitive_features=codes[known],
            sample_params={"sample_weight": weights[known]},
        )
        expected = ((frame.by_group - frame.overall) ** 2).sum()
        np.testing.assert_allclose(value[r] - plain[r], expected, rtol=1e-3, atol=2e-6)


@pytest.mark.row("method", "eo_penalty")
def test_equalized_odds_adds_up_both_classes(drawn):
    logits, y, codes, weights = drawn
    step = step_of(*drawn)
    plain = np.asarray(METHODS["erm"].loss(step, ONE, {})[0])
    positive = np.asarray(METHODS["eopp_penalty"].loss(step, ONE, {})[0]) - plain
    both = np.asarray(METHODS["eo_penalty"].loss(step, ONE, {})[0]) - plain
    negative = (
        np.asarray(METHODS["eopp_penalty"].loss(step._replace(y=1 - step.y), ONE, {})[0]) - plain
    )
    np.testing.assert_allclose(both, positive + negative, rtol=1e-4)


def test_multipliers_converge_to_those_of_the_constrained_optimum():
    """min (x − 2)² subject to x ≤ 1 has x = 1 with multiplier 2; to −x ≤ −3, x = 3 with 2; to |x| ≤
    5, none.
    """

    def solve(sign, bound):
        def play(_, players):
            x, multipliers = players
            x = x - 0.01 * (2 * (x - 2) + sign * (multipliers[0] - multipliers[1]))
            return x, parity.ascend(multipliers, sign * x, bound, rate=0.01)

        x, multipliers = jax.lax.fori_loop(0, 4000, play, (jnp.zeros(()), jnp.zeros(2)))
        return float(x), np.asarray(multipliers)

    x, multipliers = solve(1.0, 1.0)
    assert x == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(multipliers, [2, 0], atol=5e-3)
    x, multipliers = solve(1.0, 5.0)
    assert x == pytest.approx(2, abs=1e-3)
    np.testing.assert_allclose(multipliers, 0, atol=1e-6)


@pytest.mark.row("method", "dp_constraint", "eopp_constraint", "eo_constraint")
@pytest.mark.parametrize(
    ("criterion", "event"),
    [("dp", lambda y: y >= 0), ("eopp", lambda y: y == 1), ("eo", lambda y: y >= 0)],
)
def test_constraints_raise_the_multiplier_of_the_group_that_is_ahead(drawn, criterion, event):
    logits, y, codes, weights = drawn
    ahead = np.where(codes == 1, 3.0, -3.0)[None].repeat(R, 0).astype(np.float32)
    objective = METHODS[f"{criterion}_constraint"]
    state = jax.tree.map(
        lambda a: jnp.broadcast_to(a, (R, *a.shape)), objective.state(Sizes(G, 1, 4))
    )
    step = step_of(ahead, y, codes, weights)
    for _ in range(5):
        value, state = objective.loss(step, 0.01 * ONE, state)
    multipliers = np.asarray(state["multipliers"])  # (runs, events, groups, 2)
    assert (multipliers[:, :, 1, 0] > 0).all()
    assert (multipliers[:, :, [0, 2], 1] > 0).all()
    gradient = jax.grad(
        lambda z: objective.loss(step_of(z, y, codes, weights), 0.01 * ONE, state)[0].sum()
    )(ahead)
    plain = jax.grad(
        lambda z: METHODS["erm"].loss(step_of(z, y, codes, weights), ONE, {})[0].sum()
    )(ahead)
    of = (codes == 1) & (weights > 0) & event(y)
    # Descent lowers the scores of the group that is ahead.
    assert (np.asarray(gradient - plain)[:, of] > 0).all()


def test_reversal_turns_gradients_and_leaves_values():
    x = jnp.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(reverse(x, jnp.array([1.0, 2.0])), x)
    gradient = jax.grad(lambda x: (reverse(x, jnp.array([1.0, 2.0])) * 5).sum())(x)
    np.testing.assert_allclose(gradient, [[-5] * 3, [-10] * 3])


@pytest.mark.row("method", "laftr", "cfair")
@pytest.mark.parametrize("name", ["laftr", "cfair"])
def test_adversaries_descend_what_the_features_ascend(drawn, name):
    logits, y, codes, weights = drawn
    objective, sizes = METHODS[name], Sizes(G, 1, 4)
    one = objective.parameters(jax.random.key(0), sizes)
    rng = np.random.default_rng(6)
    parameters = {
        key: jnp.asarray(rng.normal(size=(R, *a.shape)).astype(np.float32))
        for key, a in one.items()
    }

    def value(features, parameters, strength):
        step = step_of(*drawn, parameters=parameters)._replace(features=features)
        return objective.loss(step, strength, {})[0].sum()

    features = jnp.asarray(logits)[:, None]
    to_features, to_adversary = jax.grad(value, (0, 1))(features, parameters, jnp.full(R, 3.0))
    honest = jax.grad(value)(features, parameters, jnp.full(R, -1.0))  # reversed twice
    np.testing.assert_allclose(to_features, -3 * honest, rtol=1e-4, atol=1e-6)
    same = jax.grad(value, 1)(features, parameters, jnp.full(R, 0.5))
    for key in same:
        np.testing.assert_allclose(same[key], to_adversary[key], rtol=1e-4, atol=1e-6)


def test_the_adversary_of_cfair_has_the_balanced_loss_of_scikit_learn(drawn):
    logits, y, codes, weights = drawn
    guess = np.random.default_rng(7).normal(size=(1, G, B)).astype(np.float32)
    step = step_of(*drawn)
    ours = adversaries._balanced(jnp.asarray(guess), step.weights, step.membership)
    use = (codes >= 0) & (weights > 0)
    totals = np.array([weights[codes == g].sum() for g in range(G)])
    shares = np.exp(guess[0]) / np.exp(guess[0]).sum(0)
    balanced = (weights / totals[codes])[use]
    theirs = sklearn_log_loss(codes[use], shares[:, use].T, sample_weight=balanced, labels=range(G))
    np.testing.assert_allclose(ours, [theirs], rtol=1e-5)


@pytest.mark.row("method", "arl")
def test_arl_descends_the_loss_and_its_adversary_ascends_it(drawn):
    logits, y, codes, weights = drawn
    x = np.random.default_rng(8).normal(size=(B, 4)).astype(np.float32)
    one = METHODS["arl"].parameters(jax.random.key(0), Sizes(0, 1, 4))
    parameters = {key: jnp.broadcast_to(a, (R, *a.shape)) for key, a in one.items()}

    def value(parameters, turned=1.0):
        step = step_of(*drawn, parameters=parameters, x=jnp.asarray(x))
        return METHODS["arl"].loss(step, ONE, {})[0].sum()

    np.testing.assert_allclose(
        value(parameters) / R, mean(losses_of(logits, y), weights).mean(), rtol=1e-5
    )
    gradient = jax.grad(value)(parameters)
    moved = {
        key: parameters[key] - 0.1 * gradient[key] for key in parameters
    }  # a descent step of everything
    assert value(moved) > value(parameters)


@pytest.mark.row("method", "domain_independent")
def test_domain_independent_outputs_learn_from_their_own_group_alone(drawn):
    logits, y, codes, weights = drawn
    outputs = jnp.asarray(np.random.default_rng(9).normal(size=(R, G, B)).astype(np.float32))

    def value(outputs):
        step = step_of(outputs.mean(1), y, codes, weights)._replace(outputs=outputs)
        return METHODS["domain_independent"].loss(step, ONE, {})[0].sum()

    gradient = np.asarray(jax.grad(value)(outputs))
    for g in range(G):
        assert (gradient[:, g, (codes != g) & (codes >= 0)] == 0).all()
        assert (gradient[:, g, (codes == g) & (weights > 0)] != 0).all()
        assert (
            gradient[:, g, codes == -1] != 0
        ).all()  # a sample of unknown group teaches the mean
    own = np.where(
        codes >= 0,
        np.take_along_axis(np.asarray(outputs), np.maximum(codes, 0)[None, None], 1)[:, 0],
        0,
    )
    own[:, codes < 0] = np.asarray(outputs.mean(1))[:, codes < 0]
    np.testing.assert_allclose(value(outputs), mean(losses_of(own, y), weights).sum(), rtol=1e-5)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_weights_of_zero_leave_samples_out(drawn, name):
    """Of every method: what a sample of weight 0 is, changes nothing."""
    logits, y, codes, weights = drawn
    objective, sizes = METHODS[name], Sizes(G, 1, 4)
    state = jax.tree.map(lambda a: jnp.broadcast_to(a, (R, *a.shape)), objective.state(sizes))
    one = objective.parameters(jax.random.key(0), sizes)
    parameters = {key: jnp.broadcast_to(a, (R, *a.shape)) for key, a in one.items()}
    x = np.random.default_rng(8).normal(size=(B, 4)).astype(np.float32)
    values = []
    for noise in (0.0, 1.5):
        out = weights == 0
        changed = logits + noise * out
        outputs = (
            jnp.stack([jnp.asarray(changed)] * G, 1)
            if name == "domain_independent"
            else changed[:, None]
        )
        step = step_of(changed, np.where(out, 1 - y, y) if noise else y, codes, weights)
        step = step._replace(
            outputs=jnp.asarray(outputs),
            parameters=parameters,
            x=jnp.asarray(x + noise * out[:, None]),
        )
        values.append(np.asarray(objective.loss(step, 0.5 * ONE, state)[0]))
    np.testing.assert_allclose(values[0], values[1], rtol=1e-5)


def test_names_of_methods_with_wrappers():
    method = parse("group_dro+swad+sam")
    assert (method.objective.name, method.average, method.sharpness) == ("group_dro", "swad", True)
    assert parse("erm").strength is None
    assert "radius" in parse("erm+sam").strength.meaning
    with pytest.raises(UserError, match="unknown method 'groupdro'; did you mean 'group_dro'"):
        parse("groupdro")
    with pytest.raises(UserError, match="averages weights twice"):
        parse("erm+swa+swad")


def test_every_row_names_its_paper_and_the_values_of_its_path():
    for name, row in METHODS.items():
        assert any(character.isdigit() for character in row.paper), name
        if row.strength:
            assert row.strength.default in row.strength.path, name
            assert len(set(row.strength.path)) == 8, name


def test_the_table_of_methods_names_every_method():
    printed = tables()
    assert all(f"\n{name} " in f"\n{printed}" for name in METHODS)
    assert "step size η of the groups' weights (0.01)" in printed
