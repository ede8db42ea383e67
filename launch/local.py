"""`fairjax local --processes=2 -- --config=NAME …`: processes of this machine that share the work.

They find each other on 127.0.0.1. Every line of output begins with the process's index. When one
fails, the others are stopped, and the launcher exits as the one that failed.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time

from absl import flags

from fairjax.launchers import common
from fairjax.launchers.common import DRY_RUN, program
from fairjax.utils import cli
from fairjax.utils.devices import MAX_CPU_DEVICES
from fairjax.utils.distributed import COORDINATOR, COUNT, INDEX
from fairjax.utils.errors import UserError

PROCESSES = flags.DEFINE_integer("processes", 2, "Processes to start.", lower_bound=1)
flags.adopt_module_key_flags(common)
PORT = flags.DEFINE_integer("port", 0, "Port on which they meet; 0: one that is free.")
SECONDS_TO_STOP = 10.0


def environment(index: int, count: int, port: int) -> dict[str, str]:
    """The variables of one process; the CPU's cores are dealt out unless the user has chosen.

    Args:
      index: index of the process.
      count: number of processes.
      port: port on which they meet.
    """
    chosen = "JAX_NUM_CPU_DEVICES" in os.environ or "device_count" in os.environ.get(
        "XLA_FLAGS", ""
    )
    cores = min(max(1, len(os.sched_getaffinity(0)) // count), MAX_CPU_DEVICES)
    variables = {COORDINATOR: f"127.0.0.1:{port}", COUNT: str(count), INDEX: str(index)}
    return variables if chosen else variables | {"JAX_NUM_CPU_DEVICES": str(cores)}


def main(argv: list[str]) -> None:
    """Starts the processes and waits for them."""
    line, count = program(argv, sys.executable), PROCESSES.value
    port = PORT.value or _free_port()
    environments = [environment(index, count, port) for index in range(count)]
    if DRY_RUN.value:
        for variables in environments:
            settings = [f"{name}={value}" for name, value in variables.items()]
            print(shlex.join(["env", *settings, *line]))
        return
    processes: list[subprocess.Popen[str]] = []
    try:
        for index, variables in enumerate(environments):
            processes.append(_start(index, line, variables))
        status = _wait(processes)
    finally:
        _stop(processes)
    sys.exit(status)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _start(index: int, line: list[str], variables: dict[str, str]) -> subprocess.Popen[str]:
    """Starts a process in its own session, so that its workers are stopped with it.

    A thread passes its output on.
    """
    try:
        process = subprocess.Popen(
            line,
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,  # a progress bar's carriage returns end lines too
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise UserError(f"process {index} could not be started: {error}") from None

    def pass_on() -> None:
        for line in process.stdout or ():
            sys.stdout.write(f"[{index}] {line}")
            sys.stdout.flush()

    threading.Thread(target=pass_on, name=f"output-{index}", daemon=True).start()
    return process


def _wait(processes: list[subprocess.Popen[str]]) -> int:
    """The exit status: of the first that failed as soon as one has, else 0 when all are done."""
    while True:
        statuses = [process.poll() for process in processes]
        failed = [(index, status) for index, status in enumerate(statuses) if status]
        if failed:
            index, status = failed[0]
            print(f"process {index} failed ({status}); the others are stopped", file=sys.stderr)
            return status if status > 0 else 128 - status
        if all(status == 0 for status in statuses):
            return 0
        time.sleep(0.1)


def _stop(processes: list[subprocess.Popen[str]]) -> None:
    """Asks those that still run to end, then kills them, and passes their last lines on."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        running = [process for process in processes if process.poll() is None]
        for process in running:
            os.killpg(process.pid, sent)
        deadline = time.monotonic() + SECONDS_TO_STOP
        while any(process.poll() is None for process in running) and time.monotonic() < deadline:
            time.sleep(0.05)
    for thread in threading.enumerate():
        if thread.name.startswith("output-"):
            thread.join(timeout=1.0)


if __name__ == "__main__":
    cli.run(main)
