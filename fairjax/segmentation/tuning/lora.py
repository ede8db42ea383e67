"""Low-rank additions to the image encoder's attention: kernel + A B, merged before the model is
run.

Source: Hu et al. 2022, LoRA: low-rank adaptation of large language models; for SAM, Zhang & Liu
2023, SAMed.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Array

from fairjax.segmentation.prompts import generator

DOWN, UP = "lora_down.", "lora_up."
TARGETS = ("attn.qkv.kernel", "attn.proj.kernel")


def initial(arrays: dict[str, Array], rank: int, seed: int, run_seed: int) -> dict[str, np.ndarray]:
    """A ~ N(0, 1 / n_in) and B = 0 of every projection of the encoder's attention; {} at rank 0.

    Args:
      arrays: of the model, by name.
      rank: of the additions.
      seed: of the experiment.
      run_seed: of the run.
    """
    names = [
        name for name in sorted(arrays) if name.startswith("encoder.") and name.endswith(TARGETS)
    ]
    found: dict[str, np.ndarray] = {}
    for name in names if rank else []:
        n_in, n_out = arrays[name].shape
        draw = generator(seed, "lora", run_seed, name).normal(size=(n_in, rank)) / np.sqrt(n_in)
        found |= {
            DOWN + name: draw.astype(np.float32),
            UP + name: np.zeros((rank, n_out), np.float32),
        }
    return found


def merged(fixed: dict[str, Array], params: dict[str, Array]) -> dict[str, Array]:
    """The model's arrays that a run changes: its own, and kernels with their additions.

    Args:
      fixed: the frozen model's arrays.
      params: of one run: arrays of the decoder, and pairs of additions.
    """
    low = {name.removeprefix(DOWN) for name in params if name.startswith(DOWN)}
    own = {name: array for name, array in params.items() if not name.startswith((DOWN, UP))}
    return own | {name: fixed[name] + params[DOWN + name] @ params[UP + name] for name in low}
