"""The text tower of a model folder in plain matrix products, on prompts padded to the model's context length as the published
code has them, and the learning rates of its schedules. Imported by the scripts that make expected values."""
import json
import math
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast


class TextTower:
    def __init__(self, folder, dtype=torch.float32):
        folder = pathlib.Path(folder)
        self.weights = {k: v.to(dtype) for k, v in load_file(folder / "model.safetensors").items()}
        config = json.loads((folder / "config.json").read_text())["text_config"]
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        self.length, self.heads, self.width = config["max_position_embeddings"], config["num_attention_heads"], config["hidden_size"]
        self.layers = config["num_hidden_layers"]
        self.joint = self.weights["visual_projection.weight"].shape[0]
        self.start, self.end = (self.tokenizer.convert_tokens_to_ids(t) for t in ("<|startoftext|>", "<|endoftext|>"))
        self.table = self.weights["text_model.embeddings.token_embedding.weight"]
        self.scale = self.weights["logit_scale"].exp()

    def _linear(self, x, name):
        return F.linear(x, self.weights[name + ".weight"], self.weights.get(name + ".bias"))

    def _norm(self, x, name):
        return F.layer_norm(x, (self.width,), self.weights[name + ".weight"], self.weights[name + ".bias"], 1e-5)

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)

    def features(self, embedded, end_position):
        """[C, T, width] -> [C, d], not normalised."""
        x = embedded + self.weights["text_model.embeddings.position_embedding.weight"][: embedded.shape[1]]
        mask = torch.full((x.shape[1], x.shape[1]), -math.inf, dtype=x.dtype).triu(1)
        for layer in range(self.layers):
            base = f"text_model.encoder.layers.{layer}."
            y = self._norm(x, base + "layer_norm1")
            q, k, v = (self._linear(y, f"{base}self_attn.{p}_proj").unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in "qkv")
            scores = q @ k.transpose(-1, -2) / math.sqrt(self.width // self.heads) + mask
            x = x + self._linear((scores.softmax(-1) @ v).transpose(1, 2).flatten(2), base + "self_attn.out_proj")
            h = self._linear(self._norm(x, base + "layer_norm2"), base + "mlp.fc1")
            x = x + self._linear(h * torch.sigmoid(1.702 * h), base + "mlp.fc2")
        x = self._norm(x, "text_model.final_layer_norm")
        return x[torch.arange(len(x)), end_position] @ self.weights["text_projection.weight"].T

    def frame(self, names, count):
        """Embeddings [C, T, width] of [start, `count` places, name, ".", end] and the places of the ends."""
        rows, ends = [], []
        for name in names:
            row = [self.start] + [0] * count + self.ids(name + ".") + [self.end]
            ends.append(len(row) - 1)
            rows.append(row + [0] * (self.length - len(row)))
        return self.table[torch.tensor(rows)], torch.tensor(ends)

    def class_features(self, frame, context):
        """Features [C, d] behind a context [M, width]."""
        embedded, ends = frame
        context = context.expand(len(embedded), -1, -1)
        return self.features(torch.cat([embedded[:, :1], context, embedded[:, 1 + context.shape[1] :]], 1), ends)

    def sentences(self, sentences):
        """Normalised features of whole sentences."""
        rows = [[self.start] + self.ids(s) + [self.end] for s in sentences]
        ends = torch.tensor([len(r) - 1 for r in rows])
        return F.normalize(self.features(self.table[torch.tensor([r + [0] * (self.length - len(r)) for r in rows])], ends), dim=-1)


def dassl_rates(base, epochs, steps):
    """One warm-up epoch at 1e-5, then a cosine."""
    return [1e-5 if e == 0 else base * 0.5 * (1 + math.cos(math.pi * (e - 1) / epochs)) for e in range(epochs) for _ in range(steps)]
