"""Both towers of a model folder in plain matrix products, with what methods add to them. Imported by the scripts that make expected
values."""
import json
import math
import pathlib

import torch
import torch.nn.functional as F

from text_tower import TextTower


class Towers(TextTower):
    """Both towers, with tokens that are overwritten or appended before the blocks, and low-rank deltas of q, k and v."""

    def __init__(self, folder):
        super().__init__(folder)
        self.vision = json.loads((pathlib.Path(folder) / "config.json").read_text())["vision_config"]
        self.vision_width, self.patch, self.side = (self.vision[k] for k in ("hidden_size", "patch_size", "image_size"))
        self.vision_layers, self.vision_heads = self.vision["num_hidden_layers"], self.vision["num_attention_heads"]

    @staticmethod
    def delta(y, down, up, scale):
        """`scale` is a number, or a vector that stands between the two factors."""
        return (scale * (y @ down.T)) @ up.T

    def block(self, x, base, heads, mask, deltas):
        width = x.shape[-1]
        norm = lambda y, name: F.layer_norm(y, (width,), self.weights[name + ".weight"], self.weights[name + ".bias"], 1e-5)
        y = norm(x, base + "layer_norm1")
        parts = []
        for p in "qkv":
            part = self._linear(y, f"{base}self_attn.{p}_proj")
            if p in deltas:
                part = part + self.delta(y, *deltas[p])
            parts.append(part.unflatten(-1, (heads, -1)).transpose(1, 2))
        q, k, v = parts
        scores = q @ k.transpose(-1, -2) / math.sqrt(width // heads) + mask
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + self._linear(mixed, base + "self_attn.out_proj")
        if "o" in deltas:
            x = x + self.delta(mixed, *deltas["o"])
        h = self._linear(norm(x, base + "layer_norm2"), base + "mlp.fc1")
        return x + self._linear(h * torch.sigmoid(1.702 * h), base + "mlp.fc2")

    def text(self, frame, context, deep=(), deltas=lambda layer: {}):
        embedded, ends = frame
        n = context.shape[0]
        x = torch.cat([embedded[:, :1], context.expand(len(embedded), -1, -1), embedded[:, 1 + n :]], 1)
        x = x + self.weights["text_model.embeddings.position_embedding.weight"][: x.shape[1]]
        mask = torch.full((x.shape[1], x.shape[1]), -math.inf).triu(1)
        for layer in range(self.layers):
            if 0 < layer <= len(deep):
                x = torch.cat([x[:, :1], deep[layer - 1].expand(len(x), -1, -1), x[:, 1 + n :]], 1)
            x = self.block(x, f"text_model.encoder.layers.{layer}.", self.heads, mask, deltas(layer))
        x = self._norm(x, "text_model.final_layer_norm")
        return x[torch.arange(len(x)), ends] @ self.weights["text_projection.weight"].T

    def image(self, pixels, tokens=(), after_class=False, deltas=lambda layer: {}):
        base = "vision_model."
        x = F.conv2d(pixels, self.weights[base + "embeddings.patch_embedding.weight"], stride=self.patch).flatten(2).transpose(1, 2)
        x = torch.cat([self.weights[base + "embeddings.class_embedding"].expand(len(x), 1, -1), x], 1)
        x = x + self.weights[base + "embeddings.position_embedding.weight"]
        count = x.shape[1]

        def put(x, new):
            new = new.expand(len(x), -1, -1)
            if after_class:
                return torch.cat([x[:, :1], new, x[:, x.shape[1] - count + 1 :]], 1)
            return torch.cat([x[:, :count], new], 1)

        if tokens:
            x = put(x, tokens[0])
        width = (self.vision_width,)
        x = F.layer_norm(x, width, self.weights[base + "pre_layrnorm.weight"], self.weights[base + "pre_layrnorm.bias"], 1e-5)
        for layer in range(self.vision_layers):
            if 0 < layer < len(tokens):
                x = put(x, tokens[layer])
            x = self.block(x, f"{base}encoder.layers.{layer}.", self.vision_heads, 0.0, deltas(layer))
        x = F.layer_norm(x[:, 0], width, self.weights[base + "post_layernorm.weight"], self.weights[base + "post_layernorm.bias"], 1e-5)
        return x @ self.weights["visual_projection.weight"].T
