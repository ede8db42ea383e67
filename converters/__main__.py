"""`fairjax convert --model=NAME --checkpoint=PATH [--arch=JSON] [--tokenizer=DIR] --out=DIR`.

Converts a published PyTorch checkpoint into a fairjax model directory. `fairjax models` lists the
models, and the files that they are published in.
"""

from __future__ import annotations

from absl import flags

from fairjax.utils import cli
from fairjax.utils.errors import UserError, lookup

MODEL = flags.DEFINE_string("model", None, "Name of the model in the zoo.")
CHECKPOINT = flags.DEFINE_multi_string(
    "checkpoint",
    [],
    "The published file, its directory, or hf:org/name[@revision]; again for a further part.",
)
ARCH = flags.DEFINE_string("arch", None, "JSON file of sizes that differ from the published ones.")
TOKENIZER = flags.DEFINE_string(
    "tokenizer", None, "Directory of the tokenizer's files, if not next to the checkpoint."
)
OUT = flags.DEFINE_string(  # an audit has a flag of this name; one process may import both
    "out", None, "The model directory to write.", allow_override=True
)


def main(argv: list[str]) -> None:
    """Converts what the flags name, and prints what was left out."""
    if len(argv) > 1:
        raise UserError(f"unexpected argument {argv[1]!r}; see --help")
    for flag in (MODEL, CHECKPOINT, OUT):
        if not flag.value:
            raise UserError(f"--{flag.name} is missing; see --help")
    run(MODEL.value or "", CHECKPOINT.value, OUT.value or "", ARCH.value, TOKENIZER.value)


def run(
    model: str,
    checkpoint: list[str],
    out: str,
    arch: str | None = None,
    tokenizer: str | None = None,
) -> None:
    """Converts a checkpoint and prints what was left out; arguments as in `convert.convert`.

    Raises:
      UserError: whatever the user can mend.
    """
    from fairjax.models.zoo import MODELS

    row = lookup("model", model, MODELS)  # before the slow imports

    from fairjax.converters.convert import convert

    try:
        done = convert(model, checkpoint, out, arch, tokenizer)
    except OSError as error:
        raise UserError(str(error)) from error
    print(f"{model}: {done.n_parameters:,} numbers ({done.card['source']['layout']}) -> {out}")
    if row.tokenizer is not None and "tokenizer" not in done.card:
        print(
            "  without a tokenizer, which zero-shot prompts need: "
            f"--tokenizer=DIR, the files of {row.tokenizer.name}"
        )
    for reason in sorted(set(done.plan.dropped.values())):
        names = [name for name, why in done.plan.dropped.items() if why == reason]
        more = ", …" if len(names) > 1 else ""
        print(f"  not converted: {len(names)} ({names[0]}{more}): {reason}")


if __name__ == "__main__":
    cli.run(main)
