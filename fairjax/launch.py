"""`python -m fairjax.launch --config=configs/NAME.py[:argument] [--config.key=value …]
[--workdir=DIR] [--dry_run]`.

Embeds a dataset with a foundation model, trains many probes on that, and reports utility and
fairness with intervals.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from fairjax.utils.cli import cache_dir, run, set_up_jax
from fairjax.utils.distributed import initialize_from_environment, is_first
from fairjax.utils.errors import UserError, lookup

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


def default_workdir(config: dict) -> Path:
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
    config = CONFIG.value.to_dict()
    workdir = Path(WORKDIR.value) if WORKDIR.value else default_workdir(config)
    command = "python -m fairjax.launch " + shlex.join(sys.argv[1:])

    cache = cache_dir(config["cache_dir"])
    set_up_jax(cache)
    if initialize_from_environment() and config["task"] == "segmentation":
        raise UserError(
            "prompted segmentation runs in one process, over all devices of one machine"
        )
    first = is_first()

    from fairjax.tasks import sweep as sweep_pipeline
    from fairjax.tasks.classification import pipeline
    from fairjax.tasks.segmentation import pipeline as segmentation_pipeline

    ways = {
        "classification": pipeline,
        "segmentation": segmentation_pipeline,
        "sweep": sweep_pipeline,
    }
    way = lookup("task", config["task"], ways)
    if DRY_RUN.value and first:
        print(way.describe(config, workdir, cache))
    elif not DRY_RUN.value:
        way.run(config, workdir, cache, command=command, show_progress=first)


def _parse(argv: list[str]) -> list[str]:
    """Parses flags; what is wrong with them is the user's mistake, in one line."""
    try:
        rest = flags.FLAGS(argv)
        path = config_file() if flags.FLAGS["config"].present else ""
        if path and not Path(path).is_file():
            raise UserError(f"there is no configuration file {path}")
        _ = CONFIG.value
    except (AttributeError, KeyError) as error:
        raise UserError(_unknown_key(argv, str(error))) from error
    except (flags.Error, TypeError, ValueError) as error:
        raise UserError(f"in the flags: {error}") from error
    return rest


def _unknown_key(argv: list[str], text: str) -> str:
    """Names the flag that sets a key which the configuration does not have; ml_collections knows
    the nearest.
    """
    near = re.search(r'Did you mean "(.+?)" instead of "(.+?)"', text)
    key = near[2] if near else (re.search(r"\w+", text) or [text])[0]
    flag = next((arg.partition("=")[0] for arg in argv if key in re.split(r"[.=]", arg)), key)
    return f"unknown config key {flag}" + (
        f"; did you mean {near[1]!r}?"
        if near
        else "; see the configuration file and configs/common.py"
    )


if __name__ == "__main__":
    run(main, _parse)
