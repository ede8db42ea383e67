"""The command line, started as a user starts it."""

import os
import subprocess
import sys
from pathlib import Path

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
