"""`python -m fairjax.launch --config=configs/NAME.py[:argument] [--config.key=value …]
[--workdir=DIR] [--dry_run]`.

Embeds a dataset with a foundation model, trains many probes on that, and reports utility and
fairness with intervals.
"""

from __future__ import annotations

import functools
import re
import shlex
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from fairjax.utils.cli import cache_dir, run, set_up_jax
from fairjax.utils.distributed import initialize_from_environment, is_first
from fairjax.utils.errors import UserError
from fairjax.utils.lists import split_list

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The experiment: a file of configs/, with an argument after a colon."
)
WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Where results go; by default runs/<name of the config>-<hash of the settings>.",
)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Say what would be done, and do nothing.")


def config_file() -> str:
    """The path given in --config, without the argument after the colon."""
    return config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")[0]


def default_workdir(config: dict[str, Any]) -> Path:
    """`runs/NAME-HASH`: the same settings come back to the same folder, so that a killed run is
    resumed.
    """
    from fairjax.utils.storage import hash_json

    return Path("runs") / f"{Path(config_file()).stem}-{hash_json(config)[:8]}"


def main(argv: list[str]) -> None:
    """Runs the pipeline on the parsed flags."""
    if len(argv) > 1:
        raise UserError(
            f"unexpected argument {argv[1]!r}; settings are given as --config.key=value"
        )
    if CONFIG.value is None:
        raise UserError("give an experiment: --config=configs/quickstart.py")

    from fairjax.tasks import config as configs

    config = configs.from_dict(CONFIG.value.to_dict())
    workdir = Path(WORKDIR.value) if WORKDIR.value else default_workdir(config.to_dict())
    command = "python -m fairjax.launch " + shlex.join(sys.argv[1:])

    cache = cache_dir(config.cache_dir)
    set_up_jax(cache)
    if initialize_from_environment() and config.task == "segmentation":
        raise UserError(
            "prompted segmentation runs in one process, over all devices of one machine"
        )
    first = is_first()

    from fairjax.tasks import sweep
    from fairjax.tasks.classification import pipeline as classification
    from fairjax.tasks.segmentation import pipeline as segmentation

    pipelines = {"classification": classification, "segmentation": segmentation, "sweep": sweep}
    task: Any = pipelines[config.task]
    if DRY_RUN.value and first:
        print(task.describe(config, workdir, cache))
    elif not DRY_RUN.value:
        task.run(config, workdir, cache, command=command, progress=first)


def _parse(argv: list[str]) -> list[str]:
    """Parses flags; what is wrong with them is the user's mistake, in one line."""
    try:
        rest = flags.FLAGS(argv)
        path = config_file() if flags.FLAGS["config"].present else ""
        if path and not Path(path).is_file():
            raise UserError(f"there is no configuration file {path}")
        _set_lists(CONFIG.value, argv)
    except (AttributeError, KeyError) as error:
        raise UserError(_unknown_key(argv, str(error))) from error
    except (flags.Error, TypeError, ValueError) as error:
        raise UserError(f"in the flags: {error}") from error
    return rest


def _set_lists(config: ConfigDict | None, argv: list[str]) -> None:
    """Reads the values of lists anew: `a,b`, which ml_collections takes for one item, is two."""
    if config is None:
        return
    lists = set(_lists(config))
    for flag, following in pairwise([*argv, ""]):
        name, equals, value = flag.partition("=")
        _, _, key = name.lstrip("-").partition("config.")
        if name.startswith("-") and key in lists:
            *sections, last = key.split(".")
            section = functools.reduce(getattr, sections, config)
            section[last] = split_list(value if equals else following)


def _lists(config: ConfigDict, prefix: str = "") -> Iterator[str]:
    """The dotted keys of all lists."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _lists(value, f"{prefix}{name}.")
        elif isinstance(value, tuple):
            yield prefix + name


def _unknown_key(argv: list[str], text: str) -> str:
    """Names the flag that sets a key which the configuration does not have; ml_collections knows
    the nearest.
    """
    near = re.search(r'Did you mean "(.+?)" instead of "(.+?)"', text)
    key = near[2] if near else (re.search(r"\w+", text) or [text])[0]
    flag = next((arg.partition("=")[0] for arg in argv if key in re.split(r"[.=]", arg)), key)
    return f"unknown config key {flag}" + (
        f"; did you mean {near[1]!r}?" if near else "; docs/config.md lists them"
    )


if __name__ == "__main__":
    run(main, _parse)
