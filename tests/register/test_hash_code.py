"""The hash of a registered function changes with what the function does, and with nothing else."""

import functools
import importlib
import linecache
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from fairjax.training.objectives import METHODS
from fairjax.utils.plugins import hash_code

MODULE = """
import functools
import jax.numpy as jnp
import {name}_helpers as helpers
from fairjax.training.objectives.base import Objective

SCALE = {scale}
TABLE = {{"a": [1, 2, {scale}]}}

def helper(x):
    return x {sign} SCALE

def uses_helper(x):
    return jnp.sum(helper(x))

def unrelated(x):
    return x * {other}

def closure(y):
    def inner(x):
        return x + y
    return inner

class Callable:
    def __init__(self, power):
        self.power = power
    def __call__(self, x):
        return x ** self.power + len(TABLE["a"])

def default(x, by={default}):
    return x * by

ROW = Objective("mine", "", "", lambda step, strength, state: (helper(step.losses), state))
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def write(**changes):
        values = {"scale": 2, "sign": "+", "other": 3, "default": 4} | changes
        name = "written_module"
        (tmp_path / f"{name}_helpers.py").touch()
        (tmp_path / f"{name}.py").write_text(MODULE.format(name=name, **values))
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        linecache.clearcache()
        try:
            return importlib.import_module(name)
        finally:
            sys.dont_write_bytecode = before

    return write


@pytest.mark.parametrize(
    ("thing", "changes"),
    [
        (lambda m: m.helper, {"sign": "-"}),
        (lambda m: m.helper, {"scale": 5}),
        (lambda m: m.uses_helper, {"sign": "-"}),
        (lambda m: m.uses_helper, {"scale": 5}),
        (lambda m: m.default, {"default": 5}),
        (lambda m: m.Callable(2), {"scale": 5}),
        (lambda m: m.ROW, {"sign": "-"}),
        (lambda m: functools.partial(m.uses_helper), {"scale": 5}),
    ],
)
def test_what_a_function_uses_is_in_its_hash(module, thing, changes):
    before = hash_code(thing(module()))
    assert hash_code(thing(module())) == before
    assert hash_code(thing(module(other=7))) == before
    assert hash_code(thing(module(**changes))) != before


def test_what_closures_objects_and_partials_hold_is_in_their_hash(module):
    m = module()
    for make in (m.closure, m.Callable, functools.partial(functools.partial, m.helper)):
        assert hash_code(make(1)) == hash_code(make(1)) != hash_code(make(2))
    array = np.arange(3, dtype=np.float32)
    assert hash_code(m.closure(array)) == hash_code(m.closure(jnp.asarray(array)))
    assert hash_code(m.closure(array)) != hash_code(m.closure(array + 1))


def test_a_version_changes_the_hash_and_the_environment_does_not(module):
    m = module()
    assert hash_code(m.helper, "1") != hash_code(m.helper)
    assert hash_code(METHODS["erm"]) == hash_code(METHODS["erm"])
