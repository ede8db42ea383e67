"""Runs per second of a sweep of linear probes, against the same probes in PyTorch, in one run.

    # R = 256 runs, n = 8,192 samples, D = 768 features
    python benchmarks/probe_sweep.py
    python benchmarks/probe_sweep.py --order=per_run

Both train the same heads (one logit, AdamW, warm-up and cosine, batch 128) on the same data for as
many epochs, PyTorch one after another. PyTorch is timed twice: as a training script is written
(`DataLoader` over a `TensorDataset`, as FairMedFM's), and without the loader (shuffled tensors in
memory); each on one thread and on all, and the fastest run counts. The roofline is this machine's
float32 matmul rate, measured in the same run: a probe needs 4·n·D floating-point operations per
epoch, and whatever else a step does is overhead.
"""

import os

import jax
import numpy as np
from absl import app, flags
from common import fastest, gemm_rate

from fairjax.training import sweep
from fairjax.training.program import ProbeConfig
from fairjax.training.runs import expand
from fairjax.utils.devices import one_cpu_device_per_core

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
    sizes = {"train": SAMPLES.value, "validation": 1024, "test": 1024}
    x = {name: rng.normal(size=(n, FEATURES.value)).astype(np.float32) for name, n in sizes.items()}
    y = {
        name: (rng.random(len(v)) < 1 / (1 + np.exp(-3 * v @ direction))).astype(np.int32)
        for name, v in x.items()
    }
    return sweep.Features(x, y, np.arange(sizes["train"]), {})


def fairjax_seconds(features: sweep.Features, config: ProbeConfig) -> tuple[float, float]:
    """Seconds of one chunk of R runs: with compilation, and without."""
    runs = expand(RUNS.value // 4, (2.5e-4, 1e-3, 4e-3, 1.6e-2), (0.05,))
    engine = sweep.make_engine(features, sweep.make_program(config), None, 0)

    def train():
        engine.train(runs, len(runs), lambda trained: None)

    first = fastest(train, 1)
    return first, fastest(train, REPEATS.value)


def torch_seconds(features: sweep.Features, config: ProbeConfig, loader: bool) -> float:
    """Seconds per run of PyTorch, one run after another."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    x, y = torch.from_numpy(features.x["train"]), torch.from_numpy(features.y["train"]).float()
    x_validation, y_validation = (
        torch.from_numpy(a["validation"]).float() for a in (features.x, features.y)
    )
    loss = torch.nn.functional.binary_cross_entropy_with_logits

    def shuffled():
        order = torch.randperm(len(x))
        for rows in order.split(config.batch_size):
            yield x[rows], y[rows]

    def train(seed: int) -> None:
        torch.manual_seed(seed)
        batches = DataLoader(TensorDataset(x, y), config.batch_size, shuffle=True)
        head = torch.nn.Linear(FEATURES.value, 1)
        optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.05)
        steps = len(batches)
        warmup = torch.optim.lr_scheduler.LinearLR(
            optimizer, 1e-3, 1.0, config.warmup_epochs * steps
        )
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, (config.epochs - config.warmup_epochs) * steps, 4e-5
        )
        schedule = torch.optim.lr_scheduler.SequentialLR(
            optimizer, [warmup, cosine], [config.warmup_epochs * steps]
        )
        for _ in range(config.epochs):
            for x_batch, y_batch in batches if loader else shuffled():
                optimizer.zero_grad()
                loss(head(x_batch)[:, 0], y_batch).backward()
                optimizer.step()
                schedule.step()
            with torch.no_grad():
                float(loss(head(x_validation)[:, 0], y_validation))

    seconds = []
    for threads in (1, os.cpu_count()):  # steps this small may be faster on one
        torch.set_num_threads(threads)
        seconds += [fastest(lambda seed=seed: train(seed), 1) for seed in range(TORCH_RUNS.value)]
    return min(seconds)


def main(argv):
    del argv
    one_cpu_device_per_core()  # as the command line does
    features = data()
    config = ProbeConfig(epochs=EPOCHS.value, warmup_epochs=1, standardize=False, order=ORDER.value)
    rate = gemm_rate()
    first, seconds = fairjax_seconds(features, config)
    rate = max(rate, gemm_rate())
    per_run = seconds / RUNS.value
    flops = 4 * SAMPLES.value * FEATURES.value * EPOCHS.value / per_run
    sizes = f"R = {RUNS.value}, n = {SAMPLES.value}, D = {FEATURES.value}, {EPOCHS.value} epochs"
    print(f"{jax.devices()[0].device_kind}: {sizes}; matmul {rate / 1e9:.0f} GFLOP/s")
    remark = f"{flops / 1e9:.0f} GFLOP/s, {flops / rate:.0%} of the matmul rate"
    _row(f"fairjax, {ORDER.value}", per_run, remark)
    print(f"  and once {first - seconds:.1f} s of compilation")
    peers = {"torch, DataLoader": True, "torch, tensors": False} if TORCH_RUNS.value else {}
    for name, loader in peers.items():
        theirs = torch_seconds(features, config, loader)
        _row(name, theirs, f"fairjax is {theirs / per_run:.0f}× as fast")


def _row(name: str, seconds: float, remark: str) -> None:
    print(f"{name:18s} {1e3 * seconds:10.3f} ms/run {1 / seconds:10.2f} runs/s   {remark}")


if __name__ == "__main__":
    app.run(main)
