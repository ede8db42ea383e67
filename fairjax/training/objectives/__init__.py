"""Training objectives: every mitigation method is a row of `METHODS`.

`group_dro+swad+sam` is a method in two wrappers: `swa` and `swad` average weights, `sam` looks for
flat minima.
"""

from __future__ import annotations

from typing import NamedTuple

from fairjax.training.objectives import adversaries, matching, parity, weighting
from fairjax.training.objectives.base import Objective, Step, Strength
from fairjax.training.objectives.distributions import GRID
from fairjax.utils.errors import UserError, lookup

__all__ = ["METHODS", "WRAPPERS", "Method", "Objective", "Step", "Strength", "parse"]

_BALANCE = Strength(
    "power of the inverse frequency", 1.0, (0.125, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
)
_PENALTY = Strength("weight of the penalty", 3.0, (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0))
_MATCHING = Strength("weight of the distance", 0.3, (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0))
_ADVERSARY = Strength(
    "weight of the reversed gradient", 1.0, (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
)
_BOUND = Strength("violation that is allowed", 0.02, (0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01))

_KAMIRAN = (
    "Kamiran & Calders 2012, Data preprocessing techniques for classification without "
    "discrimination"
)
_IDRISSI = "Idrissi et al. 2022, Simple data balancing achieves competitive worst-group-accuracy"
_BECHAVOD = "Bechavod & Ligett 2017, Penalizing unfairness in binary classification"
_COTTER = "Cotter et al. 2019, Two-player games for efficient non-convex constrained optimization"

_ROWS = (
    Objective(
        "erm",
        "empirical risk",
        "Vapnik 1992, Principles of risk minimization",
        weighting.mean_loss,
        grouped=False,
        lowers_mean_loss=True,
        convex=True,
        of_losses=True,
    ),
    Objective(
        "reweighting",
        "inverse-frequency weights of groups",
        _KAMIRAN,
        weighting.mean_loss,
        _BALANCE,
        sample_weights=weighting.inverse_frequency,
        convex=True,
        of_losses=True,
    ),
    Objective(
        "reweighting_class",
        "inverse-frequency weights of groups × classes",
        _KAMIRAN,
        weighting.mean_loss,
        _BALANCE,
        sample_weights=weighting.inverse_frequency,
        cells="group × class",
        convex=True,
    ),
    Objective(
        "resampling",
        "balanced resampling of groups",
        _IDRISSI,
        weighting.mean_loss,
        _BALANCE,
        sample_weights=weighting.resampled,
        of_losses=True,
    ),
    Objective(
        "resampling_class",
        "balanced resampling of groups × classes",
        _IDRISSI,
        weighting.mean_loss,
        _BALANCE,
        sample_weights=weighting.resampled,
        cells="group × class",
    ),
    Objective(
        "group_dro",
        "the worst group's risk, by exponentiated gradients",
        "Sagawa et al. 2020, Distributionally robust neural networks",
        weighting.group_dro,
        Strength(
            "step size η of the groups' weights",
            0.01,
            (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
        ),
        state=weighting.uniform_log_q,
        of_losses=True,
    ),
    Objective(
        "cvar_dro",
        "the mean of the worst losses",
        "Levy et al. 2020, Large-scale methods for distributionally robust optimization",
        weighting.cvar,
        Strength("share α of the losses", 0.5, (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)),
        grouped=False,
        of_losses=True,
    ),
    Objective(
        "laftr",
        "an adversary that guesses the group from features and label",
        "Madras et al. 2018, Learning adversarially fair and transferable representations",
        adversaries.laftr,
        _ADVERSARY,
        parameters=adversaries.one_adversary,
    ),
    Objective(
        "cfair",
        "balanced errors, and an adversary for each class",
        "Zhao et al. 2020, Conditional learning of fair representations",
        adversaries.cfair,
        _ADVERSARY,
        parameters=adversaries.adversary_per_class,
    ),
    Objective(
        "domain_independent",
        "an output for each group, averaged at test time",
        "Wang et al. 2020, Towards fairness in visual recognition",
        weighting.domain_independent,
        outputs=lambda groups: groups,
    ),
    Objective(
        "mmd",
        "maximum mean discrepancy between the groups' features",
        "Li et al. 2018, Domain generalization with adversarial feature learning",
        matching.mmd,
        _MATCHING,
        workspace=lambda batch: 3 * batch**2,
    ),
    Objective(
        "coral",
        "means and covariances of the groups' features",
        "Sun & Saenko 2016, Deep CORAL: correlation alignment for deep domain adaptation",
        matching.coral,
        _MATCHING,
    ),
    Objective(
        "fair_sinkhorn",
        "Sinkhorn's distance between the groups' scores",
        "Luo et al. 2024, FairCLIP: harnessing fairness in vision-language learning",
        matching.fair_sinkhorn,
        _PENALTY,
        workspace=lambda batch: 2 * GRID * batch,
    ),
    Objective(
        "dp_penalty",
        "squared violations of demographic parity",
        _BECHAVOD,
        parity.penalty("dp"),
        _PENALTY,
    ),
    Objective(
        "eopp_penalty",
        "squared violations of equal opportunity",
        _BECHAVOD,
        parity.penalty("eopp"),
        _PENALTY,
    ),
    Objective(
        "eo_penalty",
        "squared violations of equalized odds",
        _BECHAVOD,
        parity.penalty("eo"),
        _PENALTY,
    ),
    Objective(
        "dp_constraint",
        "demographic parity held by multipliers",
        _COTTER,
        parity.constraint("dp"),
        _BOUND,
        state=parity.constraint_state("dp"),
    ),
    Objective(
        "eopp_constraint",
        "equal opportunity held by multipliers",
        _COTTER,
        parity.constraint("eopp"),
        _BOUND,
        state=parity.constraint_state("eopp"),
    ),
    Objective(
        "eo_constraint",
        "equalized odds held by multipliers",
        _COTTER,
        parity.constraint("eo"),
        _BOUND,
        state=parity.constraint_state("eo"),
    ),
    Objective(
        "arl",
        "weights by an adversary that sees no groups",
        "Lahoti et al. 2020, Fairness without demographics through adversarially reweighted "
        "learning",
        weighting.adversarial_weights,
        Strength("weight of the adversary", 1.0, (0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)),
        grouped=False,
        parameters=weighting.linear_adversary,
    ),
    Objective(
        "jtt",
        "a second model, to which the errors of the first weigh more",
        "Liu et al. 2021, Just train twice: improving group robustness without training group "
        "information",
        weighting.mean_loss,
        Strength("what an error weighs more", 2.0, (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)),
        grouped=False,
        two_stage=True,
    ),
    Objective(
        "fis",
        "losses scaled by difficulty, of the sample and of its group",
        "Luo et al. 2023, FairVision: equitable deep learning for eye disease screening via fair "
        "identity scaling",
        weighting.fair_identity_scaling,
        Strength("share c of the group's scale", 0.5, (0.0, 0.1, 0.25, 0.4, 0.5, 0.65, 0.8, 1.0)),
        workspace=lambda batch: 2 * GRID * batch,
        of_losses=True,
    ),
)

METHODS: dict[str, Objective] = {row.name: row for row in _ROWS}

WRAPPERS = {
    "swa": "Izmailov et al. 2018, Averaging weights leads to wider optima and better "
    "generalization",
    "swad": "Cha et al. 2021, SWAD: domain generalization by seeking flat minima",
    "sam": "Foret et al. 2021, Sharpness-aware minimization for efficiently improving "
    "generalization",
}
_RADIUS = Strength(
    "radius ρ of sharpness-aware minimisation", 0.05, (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
)


class Method(NamedTuple):
    """An objective in its wrappers.

    Attributes:
      name: `objective+wrapper+…`.
      objective: the row of `METHODS`.
      average: "", "swa" or "swad".
      sharpness: whether steps are sharpness-aware.
    """

    name: str
    objective: Objective
    average: str
    sharpness: bool

    @property
    def strength(self) -> Strength | None:
        """The objective's; of `erm+sam`, which has none of its own, the radius."""
        return self.objective.strength or (_RADIUS if self.sharpness else None)

    @property
    def lowers_mean_loss(self) -> bool:
        """Whether training lowers the mean loss of a run's own weights, and nothing else."""
        wrapped = self.average or self.sharpness
        return self.objective.lowers_mean_loss and not wrapped


def parse(name: str) -> Method:
    """Reads `group_dro`, `erm+swad`, `eo_penalty+swa+sam`.

    Raises:
      UserError: names what is unknown, or what does not go together.
    """
    base, *wrappers = name.split("+")
    objective = lookup("method", base, METHODS)
    for wrapper in wrappers:
        lookup("wrapper of methods", wrapper, WRAPPERS)
    averages = [wrapper for wrapper in wrappers if wrapper != "sam"]
    if len(averages) > 1 or len(set(wrappers)) < len(wrappers):
        raise UserError(f"method {name!r} averages weights twice; take one of swa and swad, once")
    return Method(name, objective, averages[0] if averages else "", "sam" in wrappers)
