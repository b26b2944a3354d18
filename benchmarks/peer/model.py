"""CLIP's two towers as plain torch modules, with weights of a transformers folder: what the peers of every case compute with.

Blocks use one product for q, k and v and torch's fused attention. Frozen weights carry no gradient, so autograd computes
the gradient of the input only. Anything that a usual PyTorch user would not do (shared prefixes, packed weights) is absent.
"""
import pathlib

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F

TOKENS = 77
HEAD = 64


class Block(nn.Module):
    def __init__(self, weights, name, causal):
        super().__init__()
        width = weights[f"{name}.layer_norm1.weight"].numel()
        self.heads, self.causal = width // HEAD, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        own = {"norm1": "layer_norm1", "norm2": "layer_norm2", "out": "self_attn.out_proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}
        state = {f"{a}.{kind}": weights[f"{name}.{b}.{kind}"] for a, b in own.items() for kind in ("weight", "bias")}
        for kind in ("weight", "bias"):
            state[f"qkv.{kind}"] = torch.cat([weights[f"{name}.self_attn.{part}_proj.{kind}"] for part in "qkv"])
        self.load_state_dict(state)

    def forward(self, x):
        q, k, v = (part.unflatten(-1, (self.heads, HEAD)).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, -1))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=self.causal).transpose(1, 2).flatten(2))
        hidden = self.fc1(self.norm2(x))
        return x + self.fc2(hidden * torch.sigmoid(1.702 * hidden))


def norm_of(weights, name):
    norm = nn.LayerNorm(weights[f"{name}.weight"].numel())
    norm.load_state_dict({kind: weights[f"{name}.{kind}"] for kind in ("weight", "bias")})
    return norm


class TextTower(nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.register_buffer("embedding", weights["text_model.embeddings.token_embedding.weight"])
        self.register_buffer("positions", weights["text_model.embeddings.position_embedding.weight"])
        self.blocks = nn.Sequential(*[Block(weights, f"text_model.encoder.layers.{i}", True) for i in range(12)])
        self.norm = norm_of(weights, "text_model.final_layer_norm")
        self.register_buffer("projection", weights["text_projection.weight"].t().contiguous())
        self.requires_grad_(False)

    def forward(self, embeddings, end):
        """Embeddings [N, L, width] without positions, end [N] the row that is read -> features [N, d], not normalised."""
        x = self.blocks(embeddings + self.positions[: embeddings.shape[1]])
        return self.norm(x)[torch.arange(x.shape[0]), end] @ self.projection


class ImageTower(nn.Module):
    def __init__(self, weights):
        super().__init__()
        name = "vision_model.embeddings"
        self.patch = nn.Conv2d(3, 768, 16, 16, bias=False)
        self.patch.load_state_dict({"weight": weights[f"{name}.patch_embedding.weight"]})
        self.register_buffer("head", weights[f"{name}.class_embedding"])
        self.register_buffer("positions", weights[f"{name}.position_embedding.weight"])
        self.norm_in = norm_of(weights, "vision_model.pre_layrnorm")
        self.blocks = nn.Sequential(*[Block(weights, f"vision_model.encoder.layers.{i}", False) for i in range(12)])
        self.norm_out = norm_of(weights, "vision_model.post_layernorm")
        self.register_buffer("projection", weights["visual_projection.weight"].t().contiguous())
        self.requires_grad_(False)

    def forward(self, pixels):
        """Normalised pixels [B, 3, 224, 224] -> features [B, d], not normalised."""
        x = self.patch(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.head.expand(x.shape[0], 1, -1), x], 1) + self.positions
        return self.norm_out(self.blocks(self.norm_in(x))[:, 0]) @ self.projection


def read_weights(folder):
    return load_file(pathlib.Path(folder) / "model.safetensors")


def tokenize(folder, texts):
    """Ids [N, 77] with zeros after the end token, and the position of that token [N]."""
    rows = [row.ids for row in Tokenizer.from_file(str(pathlib.Path(folder) / "tokenizer.json")).encode_batch(list(texts))]
    ids = torch.zeros(len(rows), TOKENS, dtype=torch.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
    return ids, torch.tensor([len(row) - 1 for row in rows])


class ClassPrompts:
    """[SOS] context, name, ".", [EOS] for every class: the parts that do not change while a context is learned."""

    def __init__(self, folder, text, names, context, cut):
        """`context` is the number of its tokens; `cut` drops the columns after the longest prompt, else 77 stay."""
        ids, end = tokenize(folder, [name + "." for name in names])
        self.end = end + context
        length = int(self.end.max()) + 1 if cut else TOKENS
        embedded = text.embedding[ids]
        self.start = embedded[:, :1]
        self.rest = embedded[:, 1 : length - context]

    def __call__(self, context):
        """Context [M, width] -> embeddings [C, L, width]."""
        return torch.cat([self.start, context.expand(len(self.start), -1, -1), self.rest], 1)


def normalised(features):
    return features / features.norm(dim=-1, keepdim=True)
