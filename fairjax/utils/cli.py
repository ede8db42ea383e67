"""What command lines share: errors in one line, the compilation cache, the cache's folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from absl import app, flags

from fairjax.utils.distributed import failing_at_once
from fairjax.utils.errors import EXIT_USER_ERROR, UserError


def run(main: Callable[[list[str]], None], parse: Callable[[list[str]], list[str]]) -> None:
    """Runs a program; what the user did wrong is one line on stderr and exit code 2."""
    with failing_at_once():
        try:
            app.run(main, flags_parser=parse)
        except UserError as error:
            print(f"fairjax: {error}", file=sys.stderr)
            sys.exit(EXIT_USER_ERROR)


def parse(argv: list[str]) -> list[str]:
    """Parses flags, before or after the arguments.

    Raises:
      UserError: A flag that does not exist or cannot have its value.
    """
    flags.FLAGS.set_gnu_getopt(True)
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        raise UserError(f"in the flags: {error}") from error


def cache_dir(chosen: str = "") -> Path:
    """The folder of embeddings and compiled programs: the chosen one, else $FAIRJAX_CACHE, else
    ~/.cache/fairjax.
    """
    folder = chosen or os.environ.get("FAIRJAX_CACHE") or Path.home() / ".cache" / "fairjax"
    return Path(folder).expanduser()


def set_up_jax(cache: Path) -> None:
    """Shares the CPU's cores out, and keeps compiled programs in `cache` unless JAX was told of
    another place.
    """
    import jax
    from absl import logging

    from fairjax.utils.devices import one_cpu_device_per_core

    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # libraries tell of every file they open
    one_cpu_device_per_core()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
