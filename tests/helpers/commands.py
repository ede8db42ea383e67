"""The command line, started as a user starts it."""

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

from absl import flags
from absl.testing import flagsaver

from fairjax.utils import cli

ROOT = Path(__file__).parents[2]
SMALL = [
    "--config=configs/quickstart.py",
    "--config.dataset.n_patients=240",
    "--config.seeds=20",
    "--config.memory_gib=0.0003",  # three chunks
    "--config.n_boot=50",
    "--config.training.epochs=8",
    "--config.embedding.batch_size=16",
    "--config.embedding.shard_batches=1",
]

ONE_DEVICE = {"JAX_NUM_CPU_DEVICES": "1"}  # so that chunks are the same on machines with more cores


def launch(*arguments, module="fairjax.launch", cache=None, **options):
    environment = os.environ | ONE_DEVICE | ({"FAIRJAX_CACHE": str(cache)} if cache else {})
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        **options,
    )


def call(main, *arguments):
    """Runs a command in this process, and returns its exit code."""
    argv = [main.__module__, *map(str, arguments)]
    with flagsaver.flagsaver(), mock.patch.object(sys, "argv", argv):
        flags.FLAGS.unparse_flags()
        try:
            cli.run(main)
        except SystemExit as end:
            return end.code or 0
    return 0
