"""MobileSAM (`mobile_sam.pt`): the image encoder."""

from __future__ import annotations

from converters.engine import Drop, Layout, Rule, linear, norm, rule, under
from converters.transforms import CONV


def _conv_norm(source: str, target: str) -> tuple[Rule, ...]:
    return (
        *rule(f"{source}.c.weight", f"{target}.kernel", CONV),
        *rule(f"{source}.bn.weight", f"{target}.scale"),
        *rule(f"{source}.bn.bias", f"{target}.bias"),
        *rule(f"{source}.bn.running_mean", f"{target}.mean"),
        *rule(f"{source}.bn.running_var", f"{target}.var"),
    )


_BOTTLENECK = (*_conv_norm("conv1", "conv1"), *_conv_norm("conv2", "conv2"), *_conv_norm("conv3", "conv3"))

_ATTENTION_BLOCK = (
    *norm("attn.norm", "attn.norm"),
    *linear("attn.qkv", "attn.attn.qkv"),
    *linear("attn.proj", "attn.attn.proj"),
    *rule("attn.attention_biases", "attn.biases"),
    *_conv_norm("local_conv", "local_conv"),
    *norm("mlp.norm", "norm"),
    *linear("mlp.fc1", "mlp.fc1"),
    *linear("mlp.fc2", "mlp.fc2"),
)

_ENCODER = (
    *_conv_norm("image_encoder.patch_embed.seq.0", "stem1"),
    *_conv_norm("image_encoder.patch_embed.seq.2", "stem2"),
    *under("image_encoder.layers.{i}.blocks.{j}", "stages.{i}.blocks.{j}", (*_BOTTLENECK, *_ATTENTION_BLOCK)),
    *under("image_encoder.layers.{i}.downsample", "stages.{i}.downsample", _BOTTLENECK),
    *rule("image_encoder.neck.0.weight", "neck.kernel1", CONV),
    *norm("image_encoder.neck.1", "neck.norm1"),
    *rule("image_encoder.neck.2.weight", "neck.kernel2", CONV),
    *norm("image_encoder.neck.3", "neck.norm2"),
)

MOBILE_SAM = Layout(
    name="mobile_sam",
    rules=_ENCODER,
    drops=(
        Drop(r"prompt_encoder\..*|mask_decoder\..*", "prompted segmentation, which is not built on this model yet"),
        Drop(r"image_encoder\.(norm_head|head)\..*", "TinyViT's ImageNet classifier, which SAM never calls"),
        Drop(r".*\.num_batches_tracked", "a counter of training steps"),
        Drop(r".*\.(attention_bias_idxs|ab)|pixel_mean|pixel_std", "a constant that some exports keep"),
    ),
    aliases={
        "img_size": "image_size",
        "in_chans": "in_channels",
        "num_heads": "heads",
        "window_sizes": "windows",
        "mbconv_expand_ratio": "expand_ratio",
        "local_conv_size": "local_kernel",
        "last_downsample_stride": "last_stride",
        "layernorm_eps": "norm_eps",
        "batchnorm_eps": "batch_norm_eps",
        "out_chans": "neck_dim",
        "neck_layernorm2d_eps": "neck_norm_eps",
    },
    ignored=frozenset(
        {
            "seed",
            "patch_size",
            "num_classes",
            "prompt_embed_dim",
            "mask_in_chans",
            "decoder_depth",
            "decoder_mlp_dim",
            "decoder_num_heads",
            "iou_head_depth",
            "iou_head_hidden_dim",
            "num_multimask_outputs",
        }
    ),
)
