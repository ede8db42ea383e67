"""SAM 2.1 (`sam2.1_hiera_tiny.pt`) and MedSAM2, without the memory of video frames."""

from __future__ import annotations

from fairjax.converters.engine import Drop, Layout, linear, norm, rule, under
from fairjax.converters.rules.sam import DECODER_SIZES, PROMPTS, decoder
from fairjax.converters.transforms import CHANNELS_LAST, CONV, squeeze

_MEMORY = "memory_attention|memory_encoder|obj_ptr_proj|obj_ptr_tpos_proj|mask_downsample"
_MEMORY_TENSORS = "maskmem_tpos_enc|no_mem_pos_enc|no_obj_ptr|no_obj_embed_spatial"

_BLOCK = (
    *norm("norm1", "norm1"),
    *linear("proj", "shortcut"),
    *linear("attn.qkv", "attn.qkv"),
    *linear("attn.proj", "attn.proj"),
    *norm("norm2", "norm2"),
    *linear("mlp.layers.0", "mlp.fc1"),
    *linear("mlp.layers.1", "mlp.fc2"),
)

_TRUNK = (
    *rule("patch_embed.proj.weight", "kernel", CONV),
    *rule("patch_embed.proj.bias", "bias"),
    *rule("pos_embed", "pos_embed", CHANNELS_LAST),
    *rule("pos_embed_window", "pos_window", CHANNELS_LAST),
    *under("blocks.{i}", "blocks.{i}", _BLOCK),
)

_DECODER = (
    *decoder(("layers.0", "layers.1")),
    *rule("obj_score_token.weight", "object_token"),
    *linear("pred_obj_score_head.layers.{i}", "object_head.layers.{i}"),
    *(
        r
        for a, b in (("conv_s0", "skip4"), ("conv_s1", "skip8"))
        for r in rule(f"{a}.weight", f"{b}.kernel", CONV)
    ),
    *(
        r
        for a, b in (("conv_s0", "skip4"), ("conv_s1", "skip8"))
        for r in rule(f"{a}.bias", f"{b}.bias")
    ),
)

SAM2 = Layout(
    name="sam2",
    keys=("model", "state_dict"),
    rules=(
        *under("image_encoder.trunk", "encoder", _TRUNK),
        *rule("image_encoder.neck.convs.{i}.conv.weight", "encoder.laterals.{i}.kernel", CONV),
        *rule("image_encoder.neck.convs.{i}.conv.bias", "encoder.laterals.{i}.bias"),
        *under("sam_prompt_encoder", "prompts", PROMPTS),
        *under("sam_mask_decoder", "decoder", _DECODER),
        *rule("no_mem_embed", "no_memory", squeeze(2)),
    ),
    drops=(
        Drop(
            rf"({_MEMORY})\..*|{_MEMORY_TENSORS}",
            "the memory of other frames, which a single image has none of",
        ),
    ),
    aliases={
        **DECODER_SIZES,
        "image_size": "encoder.image_size",
        "embed_dim": "encoder.width",
        "num_heads": "encoder.heads",
        "stages": "encoder.depths",
        "global_att_blocks": "encoder.global_blocks",
        "window_pos_embed_bkg_spatial_size": "encoder.background_grid",
        "window_spec": "encoder.windows",
        "q_pool": "encoder.pooled_stages",
        "mlp_ratio": "encoder.mlp_ratio",
        "d_model": lambda width, given: {"encoder.neck_dim": width, "decoder.width": width},
        "fpn_top_down_levels": "encoder.top_down_levels",
        "patch_embed": lambda sizes, given: {
            "encoder.patch_kernel": sizes["kernel"],
            "encoder.patch_stride": sizes["stride"],
        },
        "trunk_norm_eps": "encoder.norm_eps",
    },
    ignored=frozenset(
        {
            "seed",
            "q_stride",
            "fpn_interp_model",
            "scalp",
            "mem_dim",
            "mem_ff",
            "mem_layers",
            "backbone_stride",
        }
    ),
)

LAYOUTS = (SAM2,)
