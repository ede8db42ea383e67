"""From the configuration to the conditions of an experiment."""

from __future__ import annotations

import dataclasses

from fairjax.datasets.dataset import Dataset
from fairjax.tasks.classification.condition import Condition
from fairjax.tasks.classification.usages import USAGES
from fairjax.tasks.config import ClassificationConfig
from fairjax.training.postprocessing.sweep import Postprocessed
from fairjax.training.store import Sweep
from fairjax.utils.errors import lookup


def expand(config: ClassificationConfig) -> list[Condition]:
    """Every condition, in the order of usages, methods, post-processors, attributes.

    Raises:
      UserError: an unknown name, or values that make no grid.
    """
    cfg = config.training
    sensitive = cfg.sensitive_attributes or config.attributes
    for name in sensitive:
        lookup("training.sensitive_attributes", name, dict.fromkeys(config.attributes))
    return [
        Condition(
            usage, method, attribute, tuple(usage.runs(config, method)), cfg.probe, postprocess
        )
        for row in [lookup("training.usages", name, USAGES) for name in cfg.usages]
        for usage in row.variants(cfg)
        for method in usage.methods(cfg)
        for postprocess in ("", *cfg.postprocess)
        for attribute in (sensitive if postprocess or usage.needs_groups(method) else ("",))
    ]


def postprocessed(
    condition: Condition, sweep: Sweep, validation: Dataset, test: Dataset, seed: int
) -> Sweep:
    """The sweep with the scores of the condition: post-processed, if it says so.

    Args:
      condition: the condition of the sweep.
      sweep: has scores of the rows of `validation` and `test`.
      validation: the images or volumes that the validation scores belong to.
      test: those of the test scores.
      seed: seed of the experiment.
    """
    if not condition.postprocess:
        return sweep
    codes, names = validation.groups(condition.sensitive)
    plain = {field.name: getattr(sweep, field.name) for field in dataclasses.fields(sweep)}
    return Postprocessed(
        **plain,
        rule=condition.postprocess,
        labels=validation.labels,
        validation_groups=codes,
        test_groups=test.groups(condition.sensitive)[0],
        groups=tuple(names),
        seed=seed,
    )
