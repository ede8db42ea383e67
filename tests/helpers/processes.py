"""Python in processes of its own: to the end, or killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable


def run_python(script: str, *arguments, timeout: float = 300, **environment: str) -> str:
    """Runs a script, and gives what it printed; what it says on stderr is in the failure."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def kill_when(
    reached: Callable[[], bool], script: str, *arguments, seconds: float = 300, **environment: str
) -> None:
    """Starts a script, and kills it as soon as `reached()`, or when its time is over."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], env=os.environ | environment
    )
    deadline = time.monotonic() + seconds
    while not reached() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def devices(n: int) -> dict[str, str]:
    """The environment in which JAX sees `n` CPU devices."""
    return {"JAX_NUM_CPU_DEVICES": str(n), "JAX_PLATFORMS": "cpu"}
