"""SAM and its descendants: the ViT or TinyViT encoder, prompts and decoder."""

from __future__ import annotations

from fairjax.converters.engine import Alias, Drop, Layout, Rule, linear, norm, rule, under
from fairjax.converters.transforms import CONV, CONV_TRANSPOSE, FUSE, LINEAR, squeeze

_POINT_KINDS = tuple(f"point_embeddings.{kind}.weight" for kind in range(4))

PROMPTS = (
    *rule("pe_layer.positional_encoding_gaussian_matrix", "frequencies"),
    *rule(_POINT_KINDS, "kinds", FUSE),
    *rule("not_a_point_embed.weight", "padding", squeeze(1)),
    *rule("no_mask_embed.weight", "no_mask", squeeze(1)),
    *rule("mask_downscaling.0.weight", "mask_conv1.kernel", CONV),
    *rule("mask_downscaling.0.bias", "mask_conv1.bias"),
    *norm("mask_downscaling.1", "mask_norm1"),
    *rule("mask_downscaling.3.weight", "mask_conv2.kernel", CONV),
    *rule("mask_downscaling.3.bias", "mask_conv2.bias"),
    *norm("mask_downscaling.4", "mask_norm2"),
    *rule("mask_downscaling.6.weight", "mask_conv3.kernel", CONV),
    *rule("mask_downscaling.6.bias", "mask_conv3.bias"),
)


def _attention(source: str, target: str) -> tuple[Rule, ...]:
    parts = {"q_proj": "q", "k_proj": "k", "v_proj": "v", "out_proj": "out"}
    return tuple(r for a, b in parts.items() for r in linear(f"{source}.{a}", f"{target}.{b}"))


def decoder(mlp: tuple[str, str]) -> tuple[Rule, ...]:
    """The mask decoder; `mlp` are the names of the linear layers in a two-way block."""
    block = (
        *_attention("self_attn", "self_attn"),
        *_attention("cross_attn_token_to_image", "to_image"),
        *_attention("cross_attn_image_to_token", "to_tokens"),
        *(r for i in (1, 2, 3, 4) for r in norm(f"norm{i}", f"norm{i}")),
        *(r for i, name in enumerate(mlp, 1) for r in linear(f"mlp.{name}", f"mlp.fc{i}")),
    )
    return (
        *under("transformer.layers.{i}", "transformer.blocks.{i}", block),
        *_attention("transformer.final_attn_token_to_image", "transformer.final_attn"),
        *norm("transformer.norm_final_attn", "transformer.final_norm"),
        *rule("iou_token.weight", "iou_token"),
        *rule("mask_tokens.weight", "mask_tokens"),
        *rule("output_upscaling.0.weight", "up1.kernel", CONV_TRANSPOSE),
        *rule("output_upscaling.0.bias", "up1.bias"),
        *norm("output_upscaling.1", "up_norm"),
        *rule("output_upscaling.3.weight", "up2.kernel", CONV_TRANSPOSE),
        *rule("output_upscaling.3.bias", "up2.bias"),
        *linear("output_hypernetworks_mlps.{i}.layers.{j}", "hypernets.{i}.layers.{j}"),
        *linear("iou_prediction_head.layers.{i}", "iou_head.layers.{i}"),
    )


_PROMPTED = (
    *under("prompt_encoder", "prompts", PROMPTS),
    *under("mask_decoder", "decoder", decoder(("lin1", "lin2"))),
)

_NECK = (
    *rule("neck.0.weight", "neck.kernel1", CONV),
    *norm("neck.1", "neck.norm1"),
    *rule("neck.2.weight", "neck.kernel2", CONV),
    *norm("neck.3", "neck.norm2"),
)

_VIT_BLOCK = (
    *norm("norm1", "norm1"),
    *linear("attn.qkv", "attn.qkv"),
    *linear("attn.proj", "attn.proj"),
    *rule("attn.rel_pos_h", "attn.rel_pos_h"),
    *rule("attn.rel_pos_w", "attn.rel_pos_w"),
    *norm("norm2", "norm2"),
    *linear("mlp.lin1", "mlp.fc1"),
    *linear("mlp.lin2", "mlp.fc2"),
    *rule("Adapter.channel.0.weight", "adapter.gate1.kernel", LINEAR),
    *rule("Adapter.channel.2.weight", "adapter.gate2.kernel", LINEAR),
    *rule("Adapter.spatial.0.weight", "adapter.down", CONV),
    *rule("Adapter.spatial.2.weight", "adapter.up", CONV_TRANSPOSE),
    *norm("Adapter.norm", "adapter.norm"),
)

_VIT = (
    *rule("patch_embed.proj.weight", "patch_embed.kernel", CONV),
    *rule("patch_embed.proj.bias", "patch_embed.bias"),
    *rule("pos_embed", "pos_embed", squeeze(1)),
    *under("blocks.{i}", "blocks.{i}", _VIT_BLOCK),
    *_NECK,
)


def _conv_norm(source: str, target: str) -> tuple[Rule, ...]:
    return (
        *rule(f"{source}.c.weight", f"{target}.kernel", CONV),
        *rule(f"{source}.bn.weight", f"{target}.scale"),
        *rule(f"{source}.bn.bias", f"{target}.bias"),
        *rule(f"{source}.bn.running_mean", f"{target}.mean"),
        *rule(f"{source}.bn.running_var", f"{target}.var"),
    )


_BOTTLENECK = (
    *_conv_norm("conv1", "conv1"),
    *_conv_norm("conv2", "conv2"),
    *_conv_norm("conv3", "conv3"),
)

_TINY_BLOCK = (
    *norm("attn.norm", "attn.norm"),
    *linear("attn.qkv", "attn.attn.qkv"),
    *linear("attn.proj", "attn.attn.proj"),
    *rule("attn.attention_biases", "attn.biases"),
    *_conv_norm("local_conv", "local_conv"),
    *norm("mlp.norm", "norm"),
    *linear("mlp.fc1", "mlp.fc1"),
    *linear("mlp.fc2", "mlp.fc2"),
)

_TINY_VIT = (
    *_conv_norm("patch_embed.seq.0", "stem1"),
    *_conv_norm("patch_embed.seq.2", "stem2"),
    *under("layers.{i}.blocks.{j}", "stages.{i}.blocks.{j}", (*_BOTTLENECK, *_TINY_BLOCK)),
    *under("layers.{i}.downsample", "stages.{i}.downsample", _BOTTLENECK),
    *_NECK,
)

# Where a training checkpoint keeps its tensors: MedSAM's, and all of SAM-Med2D's.
_KEYS = ("model", "state_dict")
_PIXELS = Drop("pixel_mean|pixel_std", "a constant that some exports keep")

DECODER_SIZES: dict[str, Alias] = {
    "prompt_embed_dim": "decoder.width",
    "mask_in_chans": "decoder.mask_channels",
    "decoder_depth": "decoder.depth",
    "decoder_mlp_dim": "decoder.mlp_dim",
    "decoder_num_heads": "decoder.heads",
    "decoder_attention_downsample_rate": "decoder.downsample",
    "iou_head_depth": "decoder.iou_depth",
    "iou_head_hidden_dim": "decoder.iou_hidden",
    "num_multimask_outputs": "decoder.n_multimask",
}

SAM = Layout(
    name="sam",
    keys=_KEYS,
    rules=(*under("image_encoder", "encoder", _VIT), *_PROMPTED),
    drops=(_PIXELS,),
    aliases={
        **DECODER_SIZES,
        "img_size": "encoder.image_size",
        "patch_size": "encoder.patch_size",
        "in_chans": "encoder.in_channels",
        "embed_dim": "encoder.width",
        "depth": "encoder.depth",
        "num_heads": "encoder.heads",
        "mlp_ratio": "encoder.mlp_ratio",
        "window_size": "encoder.window",
        "global_attn_indexes": "encoder.global_blocks",
        "out_chans": "encoder.neck_dim",
        "qkv_bias": "encoder.qkv_bias",
        "use_abs_pos": "encoder.abs_pos",
        "encoder_norm_eps": "encoder.norm_eps",
        "adapter_mlp_ratio": "encoder.adapter_ratio",
        "adapter_norm_eps": "encoder.adapter_norm_eps",
    },
    # Which blocks have adapters is a matter of the model; without relative positions none is
    # published.
    ignored=frozenset({"seed", "use_rel_pos", "adapter_train"}),
)

LVM_MED = Layout(
    name="lvm_med",
    keys=_KEYS,
    prefixes=("module.", "model."),
    rules=_VIT,
    drops=(Drop(r"neck\..*", "LVM-Med's feature is read before the neck"), _PIXELS),
    aliases={
        "img_size": "image_size",
        "patch": "patch_size",
        "global_idx": "global_blocks",
    },
    ignored=frozenset({"seed", "out_chans", "other_sizes"}),
)

MOBILE_SAM = Layout(
    name="mobile_sam",
    keys=_KEYS,
    rules=(*under("image_encoder", "encoder", _TINY_VIT), *_PROMPTED),
    drops=(
        Drop(
            r"image_encoder\.(norm_head|head)\..*",
            "TinyViT's ImageNet classifier, which SAM never calls",
        ),
        Drop(r".*\.num_batches_tracked", "a counter of training steps"),
        Drop(r".*\.(attention_bias_idxs|ab)", "a constant that some exports keep"),
        _PIXELS,
    ),
    aliases={
        **DECODER_SIZES,
        "img_size": "encoder.image_size",
        "in_chans": "encoder.in_channels",
        "embed_dims": "encoder.embed_dims",
        "depths": "encoder.depths",
        "num_heads": "encoder.heads",
        "window_sizes": "encoder.windows",
        "mlp_ratio": "encoder.mlp_ratio",
        "mbconv_expand_ratio": "encoder.expand_ratio",
        "local_conv_size": "encoder.local_kernel",
        "last_downsample_stride": "encoder.last_stride",
        "layernorm_eps": "encoder.norm_eps",
        "batchnorm_eps": "encoder.batch_norm_eps",
        "out_chans": "encoder.neck_dim",
        "neck_layernorm2d_eps": "encoder.neck_norm_eps",
    },
    ignored=frozenset({"seed", "patch_size", "num_classes"}),
)

LAYOUTS = (SAM, LVM_MED, MOBILE_SAM)
