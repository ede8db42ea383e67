"""Images per second of vision towers, against transformers and PyTorch in the same run.

    # ViT-B/16 and ViT-B/32, batch 16, float32, on the CPU
    python benchmarks/towers.py
    # Seconds to compile ViT-L and ViT-g: a scan over layers against unrolled layers
    python benchmarks/towers.py --what=compile
    # bfloat16, against torch.compile and SDPA; needs a GPU for both
    python benchmarks/towers.py --what=gpu

Both have the same random weights, and their features are compared before anything is timed. They
take turns, so that a machine that others use too slows both alike: the table gives the fastest
turn of each, and the median over turns of the ratio of a turn's times. Ours runs as extraction
does: on a CPU one device per core, the batch sharded over them; PyTorch with as many threads as
there are cores. FLOP are those of the matmuls, two per multiplication, and MFU their rate over the
GPU's published dense bfloat16 rate.
"""

import dataclasses
import functools
import os
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from fairjax.converters.engine import Layout, fused_linear, linear, make_plan, norm, rule, under
from fairjax.converters.transforms import CONV, squeeze
from fairjax.models import layers
from fairjax.models.architectures import ViTConfig
from fairjax.models.checkpoint import build_abstract, state_dict, with_arrays
from fairjax.utils.devices import one_cpu_device_per_core

WHAT = flags.DEFINE_enum("what", "cpu", ["cpu", "compile", "gpu"], "What is measured.")
BATCH = flags.DEFINE_integer("batch", 0, "Images at once; 0: 16 on the CPU, 256 on a GPU.")
TURNS = flags.DEFINE_integer("turns", 15, "Turns of each library.")
DEPTH = flags.DEFINE_integer("depth", 0, "Layers; 0: as many as the tower has.")
DEVICES = flags.DEFINE_integer("devices", 0, "CPU devices; 0: one per core.")
ATTENTION = flags.DEFINE_enum(
    "attention", "xla", ["xla", "cudnn"], "Implementation of attention on a GPU."
)
SCAN = flags.DEFINE_bool("scan", None, "Scan over layers; by default from 24 layers on.")

BASE = {
    "width": 768,
    "depth": 12,
    "heads": 12,
    "mlp_dim": 3072,
    "image_size": 224,
    "norm_eps": 1e-6,
}
TOWERS = {
    "ViT-B/16": ViTConfig(**BASE, patch_size=16),
    "ViT-B/32": ViTConfig(**BASE, patch_size=32),
    "ViT-L/14": ViTConfig(
        image_size=224, patch_size=14, width=1024, depth=24, heads=16, mlp_dim=4096
    ),
    "ViT-g/14": ViTConfig(
        image_size=224, patch_size=14, width=1408, depth=39, heads=16, mlp_dim=6144
    ),
    "SO400M/14-448": ViTConfig(
        image_size=448, patch_size=14, width=1152, depth=27, heads=16, mlp_dim=4304
    ),
}
MEASURED = {
    "cpu": ("ViT-B/16", "ViT-B/32"),
    "compile": ("ViT-L/14", "ViT-g/14"),
    "gpu": ("ViT-B/16", "ViT-L/14", "SO400M/14-448"),
}
# Dense bfloat16 FLOP/s, from the makers' data sheets.
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12}

# transformers' ViTModel, as version 5 calls its parameters in memory.
TRANSFORMERS = Layout(
    name="transformers",
    rules=(
        *rule("embeddings.cls_token", "cls_token", squeeze(2)),
        *rule("embeddings.position_embeddings", "pos_embed", squeeze(1)),
        *rule("embeddings.patch_embeddings.projection.weight", "patch_embed.kernel", CONV),
        *rule("embeddings.patch_embeddings.projection.bias", "patch_embed.bias"),
        *under(
            "layers.{i}",
            "encoder.blocks.{i}",
            (
                *norm("layernorm_before", "norm1"),
                *fused_linear((f"attention.{part}_proj" for part in "qkv"), "attn.qkv"),
                *linear("attention.o_proj", "attn.proj"),
                *norm("layernorm_after", "norm2"),
                *linear("mlp.fc1", "mlp.fc1"),
                *linear("mlp.fc2", "mlp.fc2"),
            ),
        ),
        *norm("layernorm", "norm"),
    ),
)


def flop_per_image(c: ViTConfig) -> float:
    """Returns the FLOP of the matmuls: patches, projections and MLPs, scores and mixing."""
    n = c.grid**2 + 1
    per_layer = 2 * n * (4 * c.width**2 + 2 * c.width * c.mlp_dim) + 4 * n**2 * c.width
    return 2 * c.grid**2 * 3 * c.patch_size**2 * c.width + c.depth * per_layer


def torch_tower(config: ViTConfig):
    import torch
    from transformers import ViTConfig as Config
    from transformers import ViTModel

    torch.manual_seed(0)
    sizes = Config(
        image_size=config.image_size,
        patch_size=config.patch_size,
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        intermediate_size=config.mlp_dim,
        layer_norm_eps=config.norm_eps,
        attn_implementation="sdpa",
    )
    return ViTModel(sizes, add_pooling_layer=False).eval()


def our_tower(config: ViTConfig, theirs, dtype) -> nnx.Module:
    module = build_abstract("vit", config, dtype)
    tensors = {name: tensor.float().cpu().numpy() for name, tensor in theirs.state_dict().items()}
    shapes = {name: x.shape for name, x in state_dict(module).items()}
    arrays = make_plan(
        TRANSFORMERS, {name: x.shape for name, x in tensors.items()}, shapes
    ).convert(tensors)
    return with_arrays(module, arrays)


def compiled(module: nnx.Module, images_bhwc: np.ndarray) -> Callable[[], jax.Array]:
    """The tower as extraction runs it: weights on every device, the batch sharded over them."""
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    whole, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    graph, state = nnx.split(module)
    state, images = jax.device_put(state, whole), jax.device_put(images_bhwc, split)
    encode = jax.jit(
        lambda state, x: nnx.merge(graph, state).encode_image(x),
        in_shardings=(whole, split),
        out_shardings=split,
    )
    return lambda: encode(state, images).block_until_ready()


def torch_runner(model, images_bhwc: np.ndarray, device: str):
    import torch

    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    images = torch.from_numpy(images_bhwc.transpose(0, 3, 1, 2).copy()).to(device, dtype)
    model = model.to(device, dtype)
    if device == "cuda":
        model = torch.compile(model)

    def run():
        with torch.inference_mode():
            features = model(images).last_hidden_state[:, 0]
            if device == "cuda":
                torch.cuda.synchronize()
        return features

    return run


def in_turns(*functions: Callable[[], object]) -> list[list[float]]:
    """Seconds of each function in each turn."""
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(TURNS.value):
        for times, function in zip(seconds, functions, strict=True):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    return seconds


def against_torch(name: str, config: ViTConfig, batch: int, device: str) -> None:
    theirs = torch_tower(config)
    images = (
        np.random.default_rng(0)
        .normal(size=(batch, config.image_size, config.image_size, 3))
        .astype(np.float32)
    )
    ours = compiled(our_tower(config, theirs, None if device == "cpu" else jnp.bfloat16), images)
    torch_run = torch_runner(theirs, images, device)
    features, expected = np.asarray(ours()), torch_run().float().cpu().numpy()
    error = np.linalg.norm(features - expected) / np.linalg.norm(expected)
    assert error < (1e-4 if device == "cpu" else 5e-2), (
        f"{name}: the features differ by {error:.1e}"
    )
    seconds, torch_seconds = in_turns(ours, torch_run)
    rates = [batch / min(times) for times in (seconds, torch_seconds)]
    ratio = statistics.median(
        theirs / ours for ours, theirs in zip(seconds, torch_seconds, strict=True)
    )
    flop = rates[0] * flop_per_image(config)
    peak = next((rate for kind, rate in PEAK.items() if kind in jax.devices()[0].device_kind), None)
    print(
        f"{name:14s} batch {batch:4d}: {rates[0]:9.1f} images/s, torch {rates[1]:9.1f}; "
        f"{rates[0] / rates[1]:.2f}× at the fastest, {ratio:.2f}× in the median turn; "
        f"{flop / 1e9:.0f} GFLOP/s"
        + (f", MFU {flop / peak:.0%}" if peak else "")
        + f"; features differ by {error:.0e}",
        flush=True,
    )


def compile_times(name: str, config: ViTConfig, batch: int) -> None:
    """Prints the seconds to trace and to compile, and the memory for weights and for the rest."""
    for scan in (True, False):
        graph, state = nnx.split(build_abstract("vit", dataclasses.replace(config, scan=scan)))
        images = jax.ShapeDtypeStruct((batch, config.image_size, config.image_size, 3), jnp.float32)
        start = time.perf_counter()
        lowered = jax.jit(lambda state, x, g=graph: nnx.merge(g, state).encode_image(x)).lower(
            state, images
        )
        traced = time.perf_counter()
        memory = lowered.compile().memory_analysis()
        done = time.perf_counter()
        weights, rest = memory.argument_size_in_bytes >> 20, memory.temp_size_in_bytes >> 20
        how = "scanned" if scan else "unrolled"
        print(
            f"{name:14s} {config.depth} layers, {how:8s}: traced in {traced - start:5.2f} s, "
            f"compiled in {done - traced:6.2f} s; weights {weights} MiB, and {rest} MiB",
            flush=True,
        )


def check_gpus() -> None:
    import torch

    if jax.default_backend() != "gpu":
        raise SystemExit("JAX sees no GPU: pip install 'fairjax[cuda]' on a machine that has one")
    if not torch.cuda.is_available():
        raise SystemExit("PyTorch sees no GPU: install its CUDA build")


def main(argv):
    del argv
    if DEVICES.value:
        jax.config.update("jax_num_cpu_devices", DEVICES.value)
    else:
        one_cpu_device_per_core()  # as the command line does
    device = {"cpu": "cpu", "gpu": "cuda"}.get(WHAT.value)
    if device == "cuda":
        # PyTorch needs room on the same GPU.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        check_gpus()
    layers.ACCELERATOR_ATTENTION = functools.partial(
        jax.nn.dot_product_attention, implementation=ATTENTION.value
    )
    kind, load = jax.devices()[0].device_kind, os.getloadavg()[0]
    print(f"{kind}: {jax.device_count()} devices, load {load:.1f} at the start")
    for name in MEASURED[WHAT.value]:
        config = dataclasses.replace(
            TOWERS[name], scan=SCAN.value, depth=DEPTH.value or TOWERS[name].depth
        )
        batch = BATCH.value or (256 if device == "cuda" else 16)
        if device is None:
            compile_times(name, config, batch)
        else:
            against_torch(name, config, batch, device)


if __name__ == "__main__":
    app.run(main)
