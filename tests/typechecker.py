"""Checks annotations at run time: `pytest --jaxtyping-packages=fairjax,typechecker.checked`."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as for mypy
