"""MobileSAM in PyTorch, from the tensors of its checkpoint: the peer of the benchmark."""

import itertools

import numpy as np
import torch
import torch.nn.functional as F

WINDOWS, HEADS, DEPTHS = (7, 7, 14, 7), (2, 4, 5, 10), (2, 2, 6, 2)


class MobileSAM:
    """Images (1, 3, S, S) and one prompt at a time, as SAM's predictor takes them.

    Args:
      weights: name → array, under the published names.
      windows: sides of the windows of each stage, which no tensor shows.
      heads: heads of each stage, likewise.
      decoder_heads: heads of the mask decoder.
    """

    def __init__(
        self, weights: dict[str, np.ndarray], windows=WINDOWS, heads=HEADS, decoder_heads: int = 8
    ):
        self.w = {name: torch.from_numpy(np.array(x)) for name, x in weights.items()}
        self.windows, self.heads, self.decoder_heads = windows, heads, decoder_heads
        self.bias = {}

    def _conv_norm(self, x, name, stride=1):
        kernel = self.w[f"{name}.c.weight"]
        x = F.conv2d(
            x,
            kernel,
            None,
            stride,
            kernel.shape[-1] // 2,
            groups=x.shape[1] if kernel.shape[1] == 1 else 1,
        )
        parts = (
            self.w[f"{name}.bn.{part}"]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, *parts, training=False, eps=1e-5)

    def _linear(self, x, name):
        return F.linear(x, self.w[f"{name}.weight"], self.w.get(f"{name}.bias"))

    def _norm(self, x, name, eps=1e-5):
        return F.layer_norm(x, x.shape[-1:], self.w[f"{name}.weight"], self.w[f"{name}.bias"], eps)

    def _norm2d(self, x, name):
        return self._norm(x.permute(0, 2, 3, 1), name, 1e-6).permute(0, 3, 1, 2)

    def _bottleneck(self, x, name, stride=1):
        x = F.gelu(self._conv_norm(x, f"{name}.conv1"))
        return self._conv_norm(F.gelu(self._conv_norm(x, f"{name}.conv2", stride)), f"{name}.conv3")

    def _attention_bias(self, name, window):
        if name not in self.bias:
            places = list(itertools.product(range(window), range(window)))
            table: dict = {}
            index = [
                table.setdefault((abs(a - c), abs(b - d)), len(table))
                for a, b in places
                for c, d in places
            ]
            self.bias[name] = self.w[name][:, torch.tensor(index).reshape(window**2, window**2)]
        return self.bias[name]

    def _window_attention(self, x, name, window, heads):
        b, h, w, c = x.shape
        down, right = -h % window, -w % window
        x = F.pad(x, (0, 0, 0, right, 0, down))
        rows, columns = (h + down) // window, (w + right) // window
        x = x.view(b, rows, window, columns, window, c).transpose(2, 3).reshape(-1, window**2, c)
        q, k, v = (
            self._linear(self._norm(x, f"{name}.norm"), f"{name}.qkv")
            .view(*x.shape[:2], heads, -1)
            .chunk(3, -1)
        )
        bias = self._attention_bias(f"{name}.attention_biases", window)
        x = F.scaled_dot_product_attention(*(y.transpose(1, 2) for y in (q, k, v)), attn_mask=bias)
        x = self._linear(x.transpose(1, 2).reshape(-1, window**2, c), f"{name}.proj")
        x = (
            x.view(b, rows, columns, window, window, c)
            .transpose(2, 3)
            .reshape(b, h + down, w + right, c)
        )
        return x[:, :h, :w]

    def _block(self, x, name, window, heads):
        x = x + self._window_attention(
            x.permute(0, 2, 3, 1), f"{name}.attn", window, heads
        ).permute(0, 3, 1, 2)
        x = self._conv_norm(x, f"{name}.local_conv").permute(0, 2, 3, 1)
        y = F.gelu(self._linear(self._norm(x, f"{name}.mlp.norm"), f"{name}.mlp.fc1"))
        return (x + self._linear(y, f"{name}.mlp.fc2")).permute(0, 3, 1, 2)

    @torch.inference_mode()
    def encode(self, image):
        """(1, 3, S, S) → (1, c, S / 16, S / 16)."""
        e = "image_encoder"
        x = F.gelu(self._conv_norm(image, f"{e}.patch_embed.seq.0", 2))
        x = self._conv_norm(x, f"{e}.patch_embed.seq.2", 2)
        for stage in range(len(self.heads)):
            block = 0
            while any(name.startswith(f"{e}.layers.{stage}.blocks.{block}.") for name in self.w):
                name = f"{e}.layers.{stage}.blocks.{block}"
                if stage:
                    x = self._block(x, name, self.windows[stage], self.heads[stage])
                else:
                    x = F.gelu(x + self._bottleneck(x, name))
                block += 1
            if stage < len(self.heads) - 1:
                x = self._bottleneck(
                    x, f"{e}.layers.{stage}.downsample", 1 if stage == len(self.heads) - 2 else 2
                )
        x = self._norm2d(F.conv2d(x, self.w[f"{e}.neck.0.weight"]), f"{e}.neck.1")
        return self._norm2d(F.conv2d(x, self.w[f"{e}.neck.2.weight"], padding=1), f"{e}.neck.3")

    def _fourier(self, places):
        phase = (
            2
            * np.pi
            * (
                (2 * places - 1)
                @ self.w["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
            )
        )
        return torch.cat([phase.sin(), phase.cos()], -1)

    def _attend(self, q, k, v, name):
        q, k, v = (
            self._linear(x, f"{name}.{part}_proj") for x, part in ((q, "q"), (k, "k"), (v, "v"))
        )
        q, k, v = (x.view(*x.shape[:2], self.decoder_heads, -1).transpose(1, 2) for x in (q, k, v))
        x = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return self._linear(x.reshape(*x.shape[:2], -1), f"{name}.out_proj")

    def _head(self, x, name, depth=3):
        for i in range(depth):
            x = self._linear(x, f"{name}.layers.{i}")
            x = F.relu(x) if i < depth - 1 else x
        return x

    @torch.inference_mode()
    def decode(self, embedding, coords, labels):
        """Decodes a prompt, coords (t, 2) and labels (t,) → masks (1, 4, 4h, 4w), IoU (1, 4)."""
        p, d = "prompt_encoder", "mask_decoder"
        h, w = embedding.shape[-2:]
        sparse = self._fourier((coords + 0.5) / torch.tensor([16.0 * w, 16.0 * h]))
        kinds = [
            self.w[f"{p}.not_a_point_embed.weight"]
            if label < 0
            else at + self.w[f"{p}.point_embeddings.{label}.weight"]
            for at, label in zip(sparse, labels.tolist())
        ]
        y, x = torch.meshgrid(
            (torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w, indexing="ij"
        )
        positions = self._fourier(torch.stack([x, y], -1)).view(1, h * w, -1)
        image = embedding + self.w[f"{p}.no_mask_embed.weight"].view(1, -1, 1, 1)
        keys = image.flatten(2).transpose(1, 2)
        prompt = torch.cat(
            [self.w[f"{d}.iou_token.weight"], self.w[f"{d}.mask_tokens.weight"], *kinds]
        )[None]
        tokens, t = prompt, f"{d}.transformer"
        for i in range(2):
            b = f"{t}.layers.{i}"
            q = tokens + prompt
            tokens = (
                self._attend(tokens, tokens, tokens, f"{b}.self_attn")
                if i == 0
                else tokens + self._attend(q, q, tokens, f"{b}.self_attn")
            )
            tokens = self._norm(tokens, f"{b}.norm1")
            attended = self._attend(
                tokens + prompt, keys + positions, keys, f"{b}.cross_attn_token_to_image"
            )
            tokens = self._norm(tokens + attended, f"{b}.norm2")
            mixed = self._linear(F.relu(self._linear(tokens, f"{b}.mlp.lin1")), f"{b}.mlp.lin2")
            tokens = self._norm(tokens + mixed, f"{b}.norm3")
            attended = self._attend(
                keys + positions, tokens + prompt, tokens, f"{b}.cross_attn_image_to_token"
            )
            keys = self._norm(keys + attended, f"{b}.norm4")
        attended = self._attend(
            tokens + prompt, keys + positions, keys, f"{t}.final_attn_token_to_image"
        )
        tokens = self._norm(tokens + attended, f"{t}.norm_final_attn")
        x = keys.transpose(1, 2).view(1, -1, h, w)
        up = f"{d}.output_upscaling"
        x = F.conv_transpose2d(x, self.w[f"{up}.0.weight"], self.w[f"{up}.0.bias"], stride=2)
        x = F.gelu(self._norm2d(x, f"{up}.1"))
        x = F.gelu(
            F.conv_transpose2d(x, self.w[f"{up}.3.weight"], self.w[f"{up}.3.bias"], stride=2)
        )
        maps = [
            self._head(tokens[:, 1 + i], f"{d}.output_hypernetworks_mlps.{i}") for i in range(4)
        ]
        masks = torch.einsum("bmc,bchw->bmhw", torch.stack(maps, 1), x)
        return masks, self._head(tokens[:, 0], f"{d}.iou_prediction_head")
