"""What command lines share: flags, help, mistakes and interruptions in one line, the cache."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import signal
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from absl import app, flags

from fairjax.utils.distributed import failing_at_once
from fairjax.utils.errors import EXIT_USER_ERROR, UserError, did_you_mean

HELP = {"-h", "-help", "--help", "--helpshort", "--helpfull"}
REPEATED = ";\n"  # what absl adds to the help of flags that may be repeated
WIDTH, QUOTES = 100, "'\""
Main = Callable[[list[str]], None]
Parse = Callable[[list[str]], list[str]]


class Terminated(KeyboardInterrupt):
    """SIGTERM, as an exception, so that files and child processes are left in order."""


def parse(argv: list[str]) -> list[str]:
    """Parses flags, before or after the arguments.

    Raises:
      UserError: a flag does not exist or cannot have its value.
    """
    flags.FLAGS.set_gnu_getopt(True)
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        raise mistake(error) from error


def mistake(error: Exception) -> UserError:
    """What was wrong with the flags, with the nearest name of an unknown one."""
    if not isinstance(error, flags.UnrecognizedFlagError):
        return UserError(f"in the flags: {error}")
    modules = flags.FLAGS.flags_by_module_dict().items()
    known = {flag.name for name, own in modules if not name.startswith("absl.") for flag in own}
    return UserError(f"unknown flag --{error.flagname}{did_you_mean(error.flagname, known)}")


def run(main: Main, parse: Parse = parse, program: str = "") -> None:
    """Runs a command; a user's mistake or an interruption is one line on stderr.

    The exit code is 2 after a mistake, 130 after Ctrl-C and 143 after SIGTERM.

    Args:
      main: takes the arguments, the program's name first; its module's docstring and flags are the
        help.
      parse: argv → arguments.
      program: how the command is called; by default as Python was started.
    """
    module = sys.modules[main.__module__]
    if not program:
        name = module.__spec__.name if module.__spec__ else module.__name__
        program = f"python -m {name.removesuffix('.__main__')}"
    ours = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    if HELP & set(ours):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `--help | head` ends in silence
        print(help_text(module.__name__))
        return
    with failing_at_once():
        before = signal.signal(signal.SIGTERM, _terminate)
        try:
            app.run(main, flags_parser=parse)
        except UserError as error:
            _say(str(error))
            sys.exit(EXIT_USER_ERROR)
        except KeyboardInterrupt as stop:
            sent, how = (signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")
            number, name = sent if isinstance(stop, Terminated) else how
            again = f"{program} {shlex.join(sys.argv[1:])}"
            _say(f"stopped by {name}; to continue, give the same command: {again}")
            _leave(128 + number)
        finally:
            signal.signal(signal.SIGTERM, before)


def _say(message: str) -> None:
    print(f"fairjax: {message}", file=sys.stderr)


def _leave(status: int) -> None:
    """Ends at once: threads of XLA that still compute would crash in the interpreter's shutdown."""
    for child in multiprocessing.active_children():
        child.terminate()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def help_text(module: str) -> str:
    """The docstring of a command's module, and its flags with their defaults."""
    lines = [(sys.modules[module].__doc__ or "").strip(), "", "Flags:"]
    for flag in flags.FLAGS.get_key_flags_for_module(module):
        default = (
            ""
            if flag.default in (None, "", [])
            else f" (default: {str(flag.default_as_str).strip(QUOTES)})"
        )
        text = f"--{flag.name}: {flag.help.partition(REPEATED)[0]}{default}"
        lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="      ")
    return "\n".join(lines)


def cache_dir(chosen: str = "") -> Path:
    """The folder of embeddings and compiled programs.

    Args:
      chosen: by default $FAIRJAX_CACHE, else ~/.cache/fairjax.
    """
    path = chosen or os.environ.get("FAIRJAX_CACHE") or Path.home() / ".cache" / "fairjax"
    return Path(path).expanduser()


def set_up_jax(cache: Path) -> None:
    """Gives JAX a device per core of the CPU, and `cache` for its compiled programs.

    Args:
      cache: used unless JAX_COMPILATION_CACHE_DIR names another.
    """
    import jax
    from absl import logging

    from fairjax.utils.devices import one_cpu_device_per_core

    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # libraries log every file they open
    one_cpu_device_per_core()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
