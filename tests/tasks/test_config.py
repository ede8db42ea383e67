"""The typed configuration: every mistake is one line, every list is read by one rule, and every key is documented."""

import dataclasses
from pathlib import Path

import pytest

from fairjax.configs import common, quickstart, segmentation, sweep
from fairjax.tasks import config, docs
from fairjax.tasks.options import option
from fairjax.utils.errors import UserError
from fairjax.utils.lists import split_list
from fairjax.utils.meanings import meanings


def built(cls=common.base, dataset="synthetic", **changes):
    """A configuration with changes as `training__epochs=3`."""
    values = cls(dataset).to_dict()
    for key, value in changes.items():
        section, _, name = key.rpartition("__")
        (values[section] if section else values)[name] = value
    return config.from_dict(values)


@pytest.mark.parametrize(
    "made",
    [
        quickstart.get_config(),
        segmentation.get_config(),
        sweep.get_config("datasets=mine:table+isic2017"),
        common.base("table"),
    ],
    ids=["quickstart", "segmentation", "sweep", "table"],
)
def test_a_configuration_survives_the_way_to_plain_values_and_back(made):
    typed = config.from_dict(made.to_dict())
    assert config.from_dict(typed.to_dict()) == typed
    assert set(typed.to_dict()["dataset"]) == set(made.dataset)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dataset__split": "kfolds"}, "unknown dataset.split 'kfolds'; did you mean 'kfold'"),
        ({"dataset__aggregate_slices": "median"}, "unknown dataset.aggregate_slices 'median'"),
        ({"dataset__slices": -1}, "dataset.slices must be at least 0"),
        ({"dataset__folds": 1}, "dataset.folds must be at least 2"),
        ({"dataset__middle": 0.0}, "dataset.middle must be above 0"),
        ({"dataset__n_patient": 3}, "dataset.n_patient is unknown; did you mean 'n_patients'"),
        ({"model__preprocess": "imagenet"}, "unknown model.preprocess 'imagenet'"),
        ({"model__image_size": "big"}, "config.model.image_size must be int, not 'big'"),
        ({"training__epoch": 3}, "config.training.epoch is unknown; did you mean 'epochs'"),
        ({"training__methods": ("erms",)}, "unknown method 'erms'"),
        ({"training__strengths": ("paths",)}, "unknown training.strengths 'paths'; did you mean"),
        ({"training__strengths": ()}, "training.strengths must be distinct, at least one"),
        ({"training__learning_rates": ("fast",)}, "config.training.learning_rates must be"),
        ({"training__warmup_epochs": 100}, "0 ≤ warmup_epochs < epochs"),
        ({"training__warmup_epochs": -2}, "training.warmup_epochs must be at least -1"),
        (
            {"evaluation__metrics": ("aucc",)},
            "unknown evaluation.metrics 'aucc'; did you mean 'auc'",
        ),
        ({"evaluation__metrics": ("dice",)}, "unknown evaluation.metrics 'dice'"),
        ({"evaluation__primary": "f1"}, "unknown evaluation.primary among evaluation.metrics 'f1'"),
        ({"evaluation__policy": "compat"}, "unknown evaluation.policy 'compat'"),
        ({"evaluation__confidence": 95.0}, "evaluation.confidence must be between 0 and 1"),
        ({"n_boot": -1}, "n_boot must be at least 0"),
        ({"task": "classify"}, "unknown task 'classify'; did you mean 'classification'"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_one_line(changes, says):
    with pytest.raises(UserError) as raised:
        built(**changes)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("written", ["sex,age", "sex, age", "('sex','age')", "['sex', 'age']"])
def test_a_list_is_read_however_it_is_written(written):
    assert split_list(written) == ("sex", "age")
    assert built(attributes=written).attributes == ("sex", "age")


def test_items_of_lists_get_the_type_of_the_field():
    assert split_list("") == ()
    assert split_list("sex") == ("sex",)
    assert split_list("('a, b',)") == ("a, b",)
    made = built(
        training__learning_rates="1e-3,4e-3", training__strengths="0.1,path", training__lora_ranks=8
    )
    assert made.training.learning_rates == (1e-3, 4e-3)
    assert made.training.strengths == (0.1, "path")
    assert made.training.lora_ranks == (8,)
    assert built(dataset="table", dataset__positive=(1, 2)).dataset.options.positive == ("1", "2")
    with pytest.raises(UserError, match="cannot read the list"):
        split_list("('a'")


def test_a_short_training_has_a_short_warm_up():
    warmups = {
        n: built(training__epochs=n).training.probe.warmup_epochs for n in (1, 3, 12, 30, 60)
    }
    assert warmups == {1: 0, 3: 0, 12: 2, 30: 5, 60: 5}
    given = built(training__epochs=8, training__warmup_epochs=7)
    assert given.training.probe.warmup_epochs == 7
    tuned = {
        n: built(
            common.segmentation, "isic2017", mitigation__epochs=n
        ).mitigation.tune.warmup_epochs
        for n in (1, 2, 10)
    }
    assert tuned == {1: 0, 2: 1, 10: 1}


def test_only_what_adds_runs_or_concerns_the_evaluation_may_change():
    old, new = (
        built(),
        built(
            seeds=4,
            n_boot=10,
            training__methods=("erm", "jtt"),
            evaluation__threshold="youden",
            evaluation__metrics=("auc", "f1"),
            training__epochs=3,
            dataset__n_patients=9,
        ),
    )
    refused, allowed = config.changes(type(new), old.to_dict(), new.to_dict())
    assert set(allowed) == {
        "seeds", "n_boot", "training.methods", "evaluation.threshold", "evaluation.metrics"
    }  # fmt: skip
    assert refused == ["dataset.n_patients was 3200, is 9", "training.epochs was 100, is 3"]


def test_tables_of_ones_own_have_names_in_a_sweep():
    made = config.from_dict(common.sweep("mine:table+theirs:table", "phantom_vit").to_dict())
    found = {name: of.dataset for name, _, of in made.experiments()}
    assert {name: (of.name, of.alias) for name, of in found.items()} == {
        "mine": ("table", "mine"),
        "theirs": ("table", "theirs"),
    }


def test_the_documentation_is_that_of_the_fields():
    page = Path(__file__).parents[2] / "docs" / "config.md"
    assert page.read_text() == docs.document(), "python -m fairjax.tasks.docs > docs/config.md"


@pytest.mark.parametrize("cls", config.TASKS.values())
def test_every_key_is_documented(cls):
    text = docs.document()
    for key, _ in config.keys(cls):
        if not key.startswith(("datasets", "models")) and key != "dataset.options":
            assert f"`{key}`" in text


def test_an_undocumented_field_is_noticed():
    @dataclasses.dataclass(frozen=True)
    class Section:
        """A section.

        Attributes:
          known: what it is,
            in two lines.
        """

        known: int = option(1)
        unknown: int = option(2)

    assert meanings(Section) == {"known": "what it is, in two lines."}
