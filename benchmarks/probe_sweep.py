"""Runs per second of the sweep of linear probes, against the same probes trained one by one in PyTorch, in one run.

    python benchmarks/probe_sweep.py                    # R = 256 runs, n = 8,192 samples, D = 768 features
    python benchmarks/probe_sweep.py --order=per_run

Both sides train the same heads (one logit, AdamW, warm-up and cosine, batch 128) on the same data for as many epochs.
PyTorch is timed twice: as a training script is written (`DataLoader` over a `TensorDataset`, as FairMedFM's), and with the
loader taken out (shuffled tensors in memory, sliced); each on one thread and on all, and the fastest run counts. The
roofline is this machine's float32 matmul rate, measured in the same run: a probe needs 4·n·D floating-point operations per
epoch, and whatever else a step does is overhead.
"""

import os
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from fairjax import progress
from fairjax.training import sweep
from fairjax.training.probe import ProbeConfig
from fairjax.training.runs import expand

RUNS = flags.DEFINE_integer("runs", 256, "Runs swept together (R).")
SAMPLES = flags.DEFINE_integer("samples", 8192, "Training samples (n).")
FEATURES = flags.DEFINE_integer("features", 768, "Feature width (D).")
EPOCHS = flags.DEFINE_integer("epochs", 10, "Epochs.")
TORCH_RUNS = flags.DEFINE_integer("torch_runs", 2, "Runs that PyTorch trains; 0 leaves it out.")
ORDER = flags.DEFINE_enum("order", "shared", ["shared", "per_run"], "Order of samples.")
REPEATS = flags.DEFINE_integer("repeats", 3, "Repetitions; the fastest of each counts.")


def data() -> sweep.Features:
    rng = np.random.default_rng(0)
    direction = rng.normal(size=FEATURES.value) / FEATURES.value**0.5
    sizes = f"R = {RUNS.value}, n = {SAMPLES.value}, D = {FEATURES.value}, {EPOCHS.value} epochs"
    print(f"{jax.devices()[0].device_kind}: {sizes}; matmul {rate / 1e9:.0f} GFLOP/s")
    _row(f"fairjax, {ORDER.value}", per_run, f"{flops / 1e9:.0f} GFLOP/s, {flops / rate:.0%} of the matmul rate")
    print(f"  and once {first - seconds:.1f} s of compilation")
    for name, loader in (("torch, DataLoader", True), ("torch, tensors", False)) if TORCH_RUNS.value else ():
        theirs = torch_seconds(features, config, loader)
        _row(name, theirs, f"fairjax is {theirs / per_run:.0f}× as fast")


def _row(name: str, seconds: float, remark: str) -> None:
    print(f"{name:18s} {1e3 * seconds:10.3f} ms/run {1 / seconds:10.2f} runs/s   {remark}")


if __name__ == "__main__":
    app.run(main)
