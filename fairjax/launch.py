"""`python -m fairjax.launch --config=configs/NAME.py[:argument] [--config.key=value …] [--workdir=DIR] [--dry_run]`.

Embeds a dataset with a foundation model, trains many probes on that, and reports utility and fairness with intervals.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from fairjax.errors import EXIT_USER_ERROR, UserError

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The experiment: a file of configs/, with an argument after a colon."
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where results go; by default runs/<name of the config>-<hash of the settings>."
)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Say what would be done, and do nothing.")


def config_file() -> str:
    """The path given in --config, without the argument after the colon."""
    return config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")[0]


def default_workdir(config: dict) -> Path:
    """`runs/NAME-HASH`: the same settings come back to the same folder, so that a killed run is resumed."""
    from fairjax.io import hash_json

    return Path("runs") / f"{Path(config_file()).stem}-{hash_json(config)[:8]}"


def cache_dir(config: dict) -> Path:
    """The folder of embeddings and compiled programs."""
    chosen = config["cache_dir"] or os.environ.get("FAIRJAX_CACHE") or Path.home() / ".cache" / "fairjax"
    return Path(chosen).expanduser()


def main(argv: list[str]) -> None:
    """Runs the pipeline on the parsed flags."""
    if len(argv) > 1:
        raise UserError(f"unexpected argument {argv[1]!r}; settings are given as --config.key=value")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # libraries tell of every file they open
    if CONFIG.value is None:
        raise UserError("give an experiment: --config=configs/quickstart.py")
    config = CONFIG.value.to_dict()
    workdir = Path(WORKDIR.value) if WORKDIR.value else default_workdir(config)
    command = "python -m fairjax.launch " + shlex.join(sys.argv[1:])

    import jax

    from fairjax.devices import one_cpu_device_per_core

    one_cpu_device_per_core()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_dir(config) / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)

    from fairjax import pipeline

    if DRY_RUN.value:
        print(pipeline.describe(config, workdir, cache_dir(config)))
    else:
        pipeline.run(config, workdir, cache_dir(config), command=command)


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
    """Names the flag that sets a key which the configuration does not have; ml_collections knows the nearest."""
    near = re.search(r'Did you mean "(.+?)" instead of "(.+?)"', text)
    key = near[2] if near else (re.search(r"\w+", text) or [text])[0]
    flag = next((arg.partition("=")[0] for arg in argv if key in re.split(r"[.=]", arg)), key)
    return f"unknown config key {flag}" + (
        f"; did you mean {near[1]!r}?" if near else "; see the configuration file and configs/common.py"
    )


def _main() -> None:
    try:
        app.run(main, flags_parser=_parse)
    except UserError as error:
        print(f"fairjax: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


if __name__ == "__main__":
    _main()
