"""Registers a dataset: a declaration, or a function that loads it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from fairjax.datasets import catalog
from fairjax.datasets.dataset import Dataset
from fairjax.datasets.rules import Groups
from fairjax.datasets.spec import Spec
from fairjax.register import table
from fairjax.utils.errors import UserError

Loader = Callable[..., Dataset]


def dataset(name: str, spec: Spec | Loader, *, version: str = "") -> None:
    """Registers a dataset: `--config.dataset.name=NAME`, `fairjax.datasets.load(NAME, root)`.

    Args:
      name: the dataset's name.
      spec: its declaration, or a function (root, **options) → `Dataset`, whose options that have a
        plain default are keys of the configuration: `--config.dataset.OPTION=…`.
      version: changes the cache key of its images, where they depend on more than files and code.

    Raises:
      UserError: the name is taken, or the declaration cannot be one.
    """
    if isinstance(spec, Spec):
        _check(name, spec)
        table.require_free("dataset", catalog.LOADERS, name)
        table.add("dataset", catalog.SPECS, name, spec, version=version)
    elif callable(spec):
        with table.trial(f"dataset {name!r}: its function, called with a root,"):
            inspect.signature(spec).bind("root")
        table.require_free("dataset", catalog.SPECS, name)
        loader = _checked(name, spec)
        table.add("dataset", catalog.LOADERS, name, loader, code=spec, version=version)
    else:
        raise UserError(f"dataset {name!r} must be a Spec or a function, not {spec!r}")


def _check(name: str, spec: Spec) -> None:
    """Refuses what could only fail after the images were embedded."""
    for attribute, rule in spec.attributes.items():
        if not hasattr(rule, "apply") or not hasattr(rule, "column"):
            raise UserError(
                f"dataset {name!r}: attribute {attribute!r} needs a rule such as Groups, "
                f"not {rule!r}"
            )
        if isinstance(rule, Groups):
            wrong = [key for key, group in rule.groups.items() if not isinstance(group, str)]
            if wrong:
                raise UserError(
                    f"dataset {name!r}: Groups of {attribute!r} maps values to groups, as "
                    f'{{"M": "male"}}; {wrong[0]!r} is mapped to {rule.groups[wrong[0]]!r}'
                )
    if spec.label is None and not spec.masks:
        raise UserError(f"dataset {name!r} needs a label or masks: nothing else can be evaluated")


def _checked(name: str, loader: Loader) -> Loader:
    """The loader, given those options that it takes; what it returns must be a `Dataset`."""
    takes = inspect.signature(loader).parameters.values()
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes)
    known = {parameter.name for parameter in takes}

    @functools.wraps(loader)
    def load(root: str | None = None, **options: Any) -> Dataset:
        taken = {key: value for key, value in options.items() if takes_all or key in known}
        loaded = loader(root, **taken)
        table.require_type("dataset", name, loaded, Dataset)
        return loaded

    return load
