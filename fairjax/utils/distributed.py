"""Several processes of one program: who is who, whose work is whose, and where they wait for each
other.

A process does its own shard on its own devices and writes its own files into a work directory that
all see; after a barrier the first one assembles. Nothing is exchanged in between.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator

from fairjax.utils.errors import UserError

COORDINATOR, COUNT, INDEX = "FAIRJAX_COORDINATOR", "FAIRJAX_NUM_PROCESSES", "FAIRJAX_PROCESS_ID"
DETECT = "FAIRJAX_DISTRIBUTED"


def initialize_from_environment() -> bool:
    """Joins the other processes, where the environment tells of any; call it before JAX looks at
    its devices.

    `FAIRJAX_COORDINATOR` (host:port), `FAIRJAX_NUM_PROCESSES` and `FAIRJAX_PROCESS_ID` name them,
    as `python -m launch.local` does; with `FAIRJAX_DISTRIBUTED=auto` JAX asks SLURM or the TPU pod.
    Each process has all devices that it sees. CPUs talk by gloo.

    Returns:
      Whether there are others to join.

    Raises:
      UserError: the variables are incomplete or are no numbers, or `FAIRJAX_DISTRIBUTED` is not
        `auto`.
    """
    import jax

    given = {name: os.environ[name] for name in (COORDINATOR, COUNT, INDEX) if name in os.environ}
    detect = os.environ.get(DETECT, "")
    if detect not in ("", "auto"):
        raise UserError(f"{DETECT} must be auto or nothing, not {detect!r}")
    if not given and not detect:
        return False
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it would swallow SIGTERM
    if not given:
        jax.distributed.initialize(local_device_ids=[])  # else a SLURM task has one device alone
        return True
    if missing := {COORDINATOR, COUNT, INDEX} - given.keys():
        raise UserError(
            f"{', '.join(sorted(missing))} must be set too, where {', '.join(given)} is"
        )
    if not (
        given[COUNT].isdecimal()
        and given[INDEX].isdecimal()
        and int(given[INDEX]) < int(given[COUNT])
    ):
        raise UserError(
            f"{INDEX} must be a number from 0 and below {COUNT}, "
            f"not {given[INDEX]!r} and {given[COUNT]!r}"
        )
    jax.distributed.initialize(
        given[COORDINATOR], int(given[COUNT]), int(given[INDEX]), local_device_ids=[]
    )
    return True


def process() -> tuple[int, int]:
    """This process's index, and how many there are."""
    import jax

    return jax.process_index(), jax.process_count()


def is_first() -> bool:
    """Whether this is the process that assembles and reports."""
    return process()[0] == 0


def barrier(name: str) -> None:
    """Waits until every process is here; with one process, nothing happens.

    Args:
      name: name of the barrier, the same in all processes; JAX raises if they differ.
    """
    if process()[1] > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


@contextlib.contextmanager
def failing_at_once() -> Iterator[None]:
    """Ends a process that fails without the wait for the others, minutes long, that JAX has at a
    process's exit.

    A launcher sees the failure at once, and stops the others. A process that is alone, or succeeds,
    ends as ever.
    """
    try:
        yield
    except BaseException as error:
        status = error.code if isinstance(error, SystemExit) else 1
        if (
            status in (None, 0)
            or "jax" not in sys.modules
            or not sys.modules["jax"].distributed.is_initialized()
        ):
            raise
        if not isinstance(error, SystemExit):
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)
