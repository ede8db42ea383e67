"""ResNet and DenseNet under torchvision's names, alone or as a query encoder of MoCo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fairjax.converters.engine import Alias, Drop, Layout, Rule, linear, norm, rule, under
from fairjax.converters.transforms import CONV

_COUNTER = Drop(r".*\.num_batches_tracked", "a counter of training steps")


def _batch_norm(source: str, target: str) -> tuple[Rule, ...]:
    return (
        *norm(source, target),
        *rule(f"{source}.running_mean", f"{target}.mean"),
        *rule(f"{source}.running_var", f"{target}.var"),
    )


def _conv_norm(conv: str, batch_norm: str, target: str) -> tuple[Rule, ...]:
    return (*rule(f"{conv}.weight", f"{target}.kernel", CONV), *_batch_norm(batch_norm, target))


_RESNET = (
    *_conv_norm("conv1", "bn1", "conv1"),
    *under(
        "layer{i}.{j}",
        "layer{i}.{j}",
        (
            *_conv_norm("conv1", "bn1", "conv1"),
            *_conv_norm("conv2", "bn2", "conv2"),
            *_conv_norm("conv3", "bn3", "conv3"),
            *_conv_norm("downsample.0", "downsample.1", "downsample"),
        ),
    ),
)

_DENSENET = (
    *_conv_norm("features.conv0", "features.norm0", "conv0"),
    *under(
        "features.denseblock{i}.denselayer{j}",
        "denseblock{i}.denselayer{j}",
        (
            *_batch_norm("norm1", "norm1"),
            *_conv_norm("conv1", "norm2", "conv1"),
            *rule("conv2.weight", "conv2.kernel", CONV),
        ),
    ),
    *_batch_norm("features.transition{i}.norm", "transition{i}.norm"),
    *rule("features.transition{i}.conv.weight", "transition{i}.conv.kernel", CONV),
    *_batch_norm("features.norm5", "norm5"),
)

RESNET = Layout(
    name="resnet_torchvision",
    rules=_RESNET,
    drops=(_COUNTER, Drop(r"fc\.(weight|bias)", "a classifier, which is not part of the encoder")),
    keys=("state_dict", "model"),
    aliases={
        "width": lambda width, given: {"width": width, "stem_width": width},
        "size": "image_size",
    },
    ignored=frozenset({"seed"}),
)

C2L = Layout(
    name="c2l",
    rules=(*_RESNET, *linear("fc", "projection.0")),
    drops=(_COUNTER,),
    keys=("model",),
    prefixes=("encoder.module.", "encoder."),
    aliases={
        "width": lambda factor, given: {
            "width": int(64 * factor)
        },  # of all stages; the stem has always 64
        "low_dim": lambda dim, given: {"projection": (dim,)},
        "in_channel": "in_channels",
        "size": "image_size",
    },
    ignored=frozenset({"seed"}),
)


def _moco(
    name: str, encoder: Iterable[Rule], head: str, aliases: Mapping[str, Alias], *, mlp: bool
) -> Layout:
    """MoCo's pretraining file; its projection is linear or, with `mlp`, two layers."""
    layers = (
        {f"{head}.0": "projection.0", f"{head}.2": "projection.1"}
        if mlp
        else {head: "projection.0"}
    )
    projection = tuple(r for source, target in layers.items() for r in linear(source, target))
    return Layout(
        name=name,
        rules=tuple(
            Rule(tuple(f"encoder_q.{source}" for source in r.sources), r.target, r.transform)
            for r in (*encoder, *projection)
        ),
        drops=(
            Drop(r"encoder_k\..*", "MoCo's key encoder, for pretraining only"),
            Drop("queue|queue_ptr", "MoCo's queue of keys, for pretraining only"),
            _COUNTER,
        ),
        aliases=aliases,
        ignored=frozenset({"seed", "K", "mlp"}),
        implied={} if mlp else {"projection": (128,)},
    )


def _resnet_dim(dim: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
    width = given["width"] * 2 ** (len(given["layers"]) - 1)
    return {"projection": (width, dim) if given.get("mlp", True) else (dim,)}


_MOCO_RESNET: Mapping[str, Alias] = {**RESNET.aliases, "dim": _resnet_dim}
MOCO = tuple(
    _moco(f"moco_{family}{'' if mlp else '_linear'}", rules, head, aliases, mlp=mlp)
    for family, rules, head, aliases in (
        ("resnet", _RESNET, "fc", _MOCO_RESNET),
        ("densenet", _DENSENET, "classifier", {}),
    )
    for mlp in (True, False)
)

LAYOUTS = (RESNET, C2L, *MOCO)
