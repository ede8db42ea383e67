"""A sweep of methods × strengths × seeds, against a PyTorch loop of each method, in one run.

    # 12 methods × 8 strengths × 128 seeds = 12,288 runs, 20 epochs
    python benchmarks/methods.py

Features are n = 8,192 of width D = 512, groups are two, batches 128. The sweep is timed as a user
starts it, with compilation, chunks on disk and scores of every run, and its peak of memory is that
of the process. PyTorch trains one run of each method, with AdamW on tensors in memory, on one
thread, which at this size is faster than two. The roofline is this machine's float32 matmul rate,
measured in the same run: a linear probe needs 4·n·D operations per epoch.
"""

import resource
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from absl import app, flags, logging
from common import gemm_rate

from fairjax.training import sweep
from fairjax.training.objectives import METHODS
from fairjax.training.program import ProbeConfig
from fairjax.training.runs import expand
from fairjax.utils.devices import one_cpu_device_per_core

NAMES = (
    "reweighting",
    "resampling",
    "group_dro",
    "cvar_dro",
    "laftr",
    "mmd",
    "coral",
    "fair_sinkhorn",
    "eo_penalty",
    "eo_constraint",
    "jtt",
    "fis",
)
SEEDS = flags.DEFINE_integer("seeds", 128, "Seeds of each strength.")
SAMPLES = flags.DEFINE_integer("samples", 8192, "Training samples (n).")
FEATURES = flags.DEFINE_integer("features", 512, "Feature width (D).")
EPOCHS = flags.DEFINE_integer("epochs", 20, "Epochs.")
TORCH_EPOCHS = flags.DEFINE_integer(
    "torch_epochs", 2, "Epochs that PyTorch is timed for; 0 leaves it out."
)
ONLY = flags.DEFINE_list("methods", list(NAMES), "Methods.")


def data() -> tuple[sweep.Features, sweep.Groups]:
    rng = np.random.default_rng(0)
    direction = rng.normal(size=FEATURES.value) / FEATURES.value**0.5
    sizes = {"train": SAMPLES.value, "validation": 1024, "test": 1024}
    x = {name: rng.normal(size=(n, FEATURES.value)).astype(np.float32) for name, n in sizes.items()}
    y = {
        name: (rng.random(len(v)) < 1 / (1 + np.exp(-3 * v @ direction))).astype(np.int32)
        for name, v in x.items()
    }
    groups = sweep.Groups(rng.integers(0, 2, SAMPLES.value), 2)
    return sweep.Features(x, y, np.arange(SAMPLES.value), {"benchmark": "methods"}), groups


def torch_losses() -> dict:
    """Returns for each method its loss, a function of logits, labels, groups (b,) and state."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as bce

    def each(z, y):
        return bce(z, y, reduction="none")

    def by_group(values, g):
        return torch.stack([values[g == k].mean() for k in (0, 1)])

    def group_dro(z, y, g, state):
        losses = by_group(each(z, y), g)
        q = state.setdefault("q", torch.full((2,), 0.5)) * torch.exp(0.01 * losses.detach())
        state["q"] = q / q.sum()
        return (state["q"] * losses).sum()

    def cvar(z, y, g, state):
        return each(z, y).topk(len(z) // 2).values.mean()

    def adversary(z, y, g, state):
        if "net" not in state:
            state["net"] = torch.nn.Sequential(
                torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)
            )
            state["optimizer"].add_param_group({"params": state["net"].parameters()})
        turned = 2 * z.detach() - z
        s = 2 * y - 1
        guess = state["net"](torch.stack([turned, turned * s, s], 1))
        return bce(z, y) + torch.nn.functional.cross_entropy(guess, g)

    def mmd(z, y, g, state):
        kernel = sum(torch.exp(-((z[:, None] - z) ** 2) / (2 * s**2)) for s in (2, 1, 0.5))
        a = torch.stack([(g == k).float() / (g == k).sum() - 1 / len(g) for k in (0, 1)])
        return bce(z, y) + ((a @ kernel) * a).sum()

    def coral(z, y, g, state):
        apart = sum(
            (z[g == k].mean() - z.mean()) ** 2 + (z[g == k].var() - z.var()) ** 2 for k in (0, 1)
        )
        return bce(z, y) + apart

    def sinkhorn(z, y, g, state):
        p, value = torch.sigmoid(z), bce(z, y)
        for k in (0, 1):
            cost = (p[g == k][:, None] - p) ** 2
            kernel = torch.exp(-cost / 0.02)
            u, v = torch.ones(len(cost)), torch.ones(len(p))
            with torch.no_grad():
                for _ in range(20):
                    u = 1 / len(u) / (kernel @ v)
                    v = 1 / len(v) / (kernel.T @ u)
            value = value + 10 * (u[:, None] * kernel.detach() * v * cost).sum()
        return value

    def violations(p, y, g):
        return [p[(g == k) & (y == c)].mean() - p[y == c].mean() for k in (0, 1) for c in (0, 1)]

    def penalty(z, y, g, state):
        return bce(z, y) + 10 * sum(v**2 for v in violations(torch.sigmoid(z), y, g))

    def constraint(z, y, g, state):
        hard = torch.stack(violations((z > 0).float(), y, g))
        multipliers = state.setdefault("multipliers", torch.zeros(2, 4))
        multipliers[0] = (multipliers[0] + 0.1 * (hard - 0.02)).clamp(0, 20)
        multipliers[1] = (multipliers[1] + 0.1 * (-hard - 0.02)).clamp(0, 20)
        signed = multipliers[0] - multipliers[1]
        return bce(z, y) + (signed * torch.stack(violations(torch.sigmoid(z), y, g))).sum()

    def fis(z, y, g, state):
        losses = each(z, y)
        fixed = losses.detach()
        bins = torch.histc(1 - torch.exp(-fixed), 32, 0, 1).cumsum(0) / len(z)
        distances = [
            (
                (torch.histc(1 - torch.exp(-fixed[g == k]), 32, 0, 1).cumsum(0) / (g == k).sum())
                - bins
            )
            .abs()
            .mean()
            for k in (0, 1)
        ]
        scale = torch.softmax(torch.stack(distances), 0)[g] * 2
        return ((0.5 * torch.softmax(fixed, 0) * len(z) + 0.5 * scale) * losses).mean()

    plain = lambda z, y, g, state: bce(z, y)  # noqa: E731
    weighted = lambda z, y, g, state: (each(z, y) * (1.0 + 0.1 * g)).mean()  # noqa: E731
    return {
        "reweighting": weighted,
        "resampling": plain,
        "group_dro": group_dro,
        "cvar_dro": cvar,
        "laftr": adversary,
        "mmd": mmd,
        "coral": coral,
        "fair_sinkhorn": sinkhorn,
        "eo_penalty": penalty,
        "eo_constraint": constraint,
        "jtt": weighted,
        "fis": fis,
    }


def torch_seconds(
    method: str, features: sweep.Features, groups: sweep.Groups, config: ProbeConfig
) -> float:
    """Seconds of a run of a method in PyTorch."""
    import torch

    torch.set_num_threads(1)
    x, y = torch.from_numpy(features.x["train"]), torch.from_numpy(features.y["train"]).float()
    g, loss = torch.from_numpy(groups.codes), torch_losses()[method]
    head = torch.nn.Linear(FEATURES.value, 1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.05)
    state = {"optimizer": optimizer}

    def epoch() -> None:
        for rows in torch.randperm(len(x)).split(config.batch_size):
            optimizer.zero_grad()
            loss(head(x[rows])[:, 0], y[rows], g[rows], state).backward()
            optimizer.step()

    epoch()
    start = time.perf_counter()
    for _ in range(TORCH_EPOCHS.value):
        epoch()
    epochs = config.epochs * (1.25 if METHODS[method].two_stage else 1)
    return (time.perf_counter() - start) / TORCH_EPOCHS.value * epochs


def main(argv):
    del argv
    logging.set_verbosity(logging.WARNING)  # JAX warns about backends that are not there
    one_cpu_device_per_core()
    features, groups = data()
    config = ProbeConfig(epochs=EPOCHS.value, warmup_epochs=1, standardize=False, keep="last")
    rate, total, count = gemm_rate(), 0.0, 0
    seconds: dict[str, float] = {}
    scores_dir = tempfile.TemporaryDirectory()
    for method in ONLY.value:
        runs = expand(SEEDS.value, (1e-3,), (0.05,), METHODS[method].strength.path)
        start = time.perf_counter()
        sweep.sweep(
            features,
            runs,
            config,
            Path(scores_dir.name),
            method=method,
            groups=groups,
            progress=False,
        )
        seconds[method] = time.perf_counter() - start
        total, count = total + seconds[method], count + len(runs)
    rate = max(rate, gemm_rate())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    flops = 4 * SAMPLES.value * FEATURES.value * EPOCHS.value * count
    print(
        f"{jax.device_count()} × {jax.devices()[0].device_kind}: {count:,} runs of "
        f"{EPOCHS.value} epochs, n = {SAMPLES.value:,}, D = {FEATURES.value}; "
        f"matmul {rate / 1e9:.0f} GFLOP/s"
    )
    for method, took in seconds.items():
        per_run = took / (count / len(seconds))
        line = f"{method:14s} {took:7.1f} s {1 / per_run:8.1f} runs/s"
        if TORCH_EPOCHS.value:
            theirs = torch_seconds(method, features, groups, config)
            line += f"   torch {1 / theirs:6.3f} runs/s   {theirs / per_run:6.0f}×"
        print(line, flush=True)
    print(
        f"all            {total:7.1f} s {count / total:8.1f} runs/s   "
        f"{flops / rate:.0f} s of it the bare matmuls ({flops / 1e12:.1f} TFLOP); "
        f"peak {peak:.2f} GiB"
    )


if __name__ == "__main__":
    app.run(main)
