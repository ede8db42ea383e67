"""`python -m converters --model=NAME --checkpoint=PATH [--arch=ARCH.json] [--tokenizer=DIR]
--out=DIR`.
"""

from __future__ import annotations

import argparse
import sys

from fairjax.models.zoo import MODELS
from fairjax.utils.errors import EXIT_USER_ERROR, UserError, lookup

DESCRIPTION = "Converts a published PyTorch checkpoint into a fairjax model directory."
EPILOG = "The models, and the files they are published in, are listed by: python -m fairjax.models"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise UserError(f"{message}; see --help")


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    try:
        parser = _Parser(
            prog="python -m converters", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False
        )
        parser.add_argument("--model", required=True, metavar="NAME", help="a name of the zoo")
        parser.add_argument(
            "--checkpoint",
            required=True,
            action="append",
            metavar="PATH",
            help="the published file, its directory, or hf:org/name[@revision]; again for another part of the model",
        )
        parser.add_argument(
            "--arch", metavar="ARCH.json", help="sizes that differ from the published ones"
        )
        parser.add_argument(
            "--tokenizer", metavar="DIR", help="the tokenizer's files, if not beside the checkpoint"
        )
        parser.add_argument(
            "--out", required=True, metavar="DIR", help="the model directory to write"
        )
        args = parser.parse_args(argv)
        lookup("model", args.model, MODELS)  # before the slow imports

        from fairjax.converters.convert import convert

        done = convert(args.model, args.checkpoint, args.out, args.arch, args.tokenizer)
    except (UserError, OSError) as error:
        print(f"converters: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    print(
        f"{args.model}: {done.n_parameters:,} numbers ({done.card['source']['layout']}) -> {args.out}"
    )
    spec = MODELS[args.model].tokenizer
    if spec is not None and "tokenizer" not in done.card:
        print(
            f"  without a tokenizer, which zero-shot prompts need: --tokenizer=DIR, the files of {spec.name}"
        )
    for reason in sorted(set(done.plan.dropped.values())):
        names = [name for name, why in done.plan.dropped.items() if why == reason]
        print(
            f"  not converted: {len(names)} ({names[0]}{', …' if len(names) > 1 else ''}): {reason}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
