"""The data of a report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class ReportData:
    """Everything that the report of one experiment shows.

    Attributes:
      title: one line, e.g. "Linear probe of mobile_sam on isic2017".
      command: the command that reproduces the experiment.
      config: resolved settings, nested.
      environment: versions, devices, platform.
      dataset: name, modality, label, classes (names of label 0 and 1), citation, licence, n_images,
        n_patients, and quarantined: a list of {"image", "reason"}.
      model: name, family, feature width, source file, weights_sha256, preprocessing, citation,
        licence.
      cohort: columns attribute, group ("missing" where unknown), split, label (0/1), n_images,
        n_patients.
      results: tidy, every run: run, dataset, model, usage, method, attribute, seed, learning_rate,
        weight_decay, policy, metric, group, value, ci_low, ci_high, n, n_positive, status ("ok", or
        why there is no number), n_invalid (bootstrap replicates without a value); of a sweep of
        methods also sensitive (the attribute that the method uses, "" for none) and
        strength. Attribute "all" holds group "overall" over all test images; another attribute
        holds "overall" (its known samples), each group, "gap" and "worst" over groups, and
        differences "a − b".
      run: the run that validation selected, a value of the column `run`.
      curves: attribute → group → (scores, labels), both (n,), of the selected run on the test
        split.
      thresholds: the rule that chose the operating threshold, and its value: {"rule": …, "value":
        …}.
      primary: the metric of the report's verdict; "" for the first in order of display.
      notes: what a reader must know: small groups, what could not be computed.
      sample: what a row of the data is called: an image, a row.
      unit: what is resampled: a patient, or a row where the patients are not known.
      analysis: facts on how an audit was made, besides the threshold.
      population: facts on who the numbers are about, and who was left out.
      missingness: columns attribute, group, n_given, n_left_out; None where nothing was left out.
      comparisons: differences between models: a, b, attribute, metric, group, value, ci_low,
        ci_high, p_value, p_holm, p_bh, status, n_invalid; None where there is one model.
      cases: images of single cases: {"image", "target", "value", "groups": {attribute: group},
        "data_uri": the image}.
      methods: the frame of `fairjax.statistics.methods.compare_methods`; None where one method was
        run.
      values: attribute → group → (n,) values of the cases, e.g. their Dice, of the run that is
        shown.
    """

    title: str
    command: str
    config: dict[str, Any]
    environment: dict[str, Any]
    dataset: dict[str, Any]
    model: dict[str, Any]
    cohort: pd.DataFrame
    results: pd.DataFrame
    run: str
    curves: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]
    thresholds: dict[str, Any]
    primary: str = ""
    notes: list[str] = field(default_factory=list)
    sample: str = "image"
    unit: str = "patient"
    analysis: dict[str, Any] = field(default_factory=dict)
    population: dict[str, Any] = field(default_factory=dict)
    missingness: pd.DataFrame | None = None
    comparisons: pd.DataFrame | None = None
    methods: pd.DataFrame | None = None
    values: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    cases: list[dict[str, Any]] = field(default_factory=list)

    @property
    def confidence(self) -> float:
        """Level of the intervals, from the settings."""
        return self.config.get("evaluation", {}).get("confidence", 0.95)
