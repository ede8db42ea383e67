"""`fairjax launch --config=NAME[:ARGUMENT] [--config.KEY=VALUE …] [--workdir=DIR] [--dry_run]`.

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

from fairjax.utils import plugins
from fairjax.utils.cli import cache_dir, mistake, run, set_up_jax
from fairjax.utils.distributed import initialize_from_environment, is_first
from fairjax.utils.errors import UserError, did_you_mean
from fairjax.utils.lists import split_list

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The experiment: a packaged one's name or a file; an argument after a colon."
)
WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Where results go; by default runs/<name of the config>-<hash of the settings>.",
)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Say what would be done, and do nothing.")
NO_EXPERIMENTS = ("__init__", "common", "pretrain_phantom")  # files of configs/


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
        raise UserError(
            f"give an experiment: --config=NAME, one of {', '.join(packaged_configs())}, or a file"
        )

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


def packaged_configs() -> dict[str, Path]:
    """Name → file of the configurations that are in the package."""
    files = sorted(Path(__file__).with_name("configs").glob("*.py"))
    return {path.stem: path for path in files if path.stem not in NO_EXPERIMENTS}


def with_path(argument: str) -> str:
    """A command-line argument, in which `--config=NAME` becomes the path of the packaged file.

    Raises:
      UserError: there is neither such a file nor such a name.
    """
    flag, equals, value = argument.partition("=")
    if not equals or flag.lstrip("-") != "config" or not flag.startswith("-"):
        return argument
    name, colon, rest = value.partition(":")
    packaged = packaged_configs()
    if name and not Path(name).is_file() and name not in packaged:
        near = did_you_mean(Path(name).stem, packaged)
        raise UserError(f"there is no configuration file {name}, nor a packaged one{near}")
    return f"{flag}={name if Path(name).is_file() else packaged.get(name, name)}{colon}{rest}"


def parse(argv: list[str]) -> list[str]:
    """Parses flags; what is wrong with them is the user's mistake, in one line."""
    try:
        argv = [with_path(argument) for argument in argv]
        plugins.load()  # a configuration may name what they add
        rest = flags.FLAGS(argv)
        _set_lists(CONFIG.value, argv)
    except (AttributeError, KeyError) as error:
        raise UserError(_unknown_key(argv, str(error))) from error
    except (flags.Error, TypeError, ValueError) as error:
        raise mistake(error) from error
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
    run(main, parse)
