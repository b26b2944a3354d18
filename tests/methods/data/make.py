"""Makes coop_parity.safetensors and cocoop_parity.safetensors: 20 steps of CoOp and 12 of CoCoOp of an independent PyTorch
implementation on padded 77-token prompts.

    python make.py ../../clip/data/hf_quick .

The text tower is written out here with plain matrix products, from the tensors of the model folder; prompts are padded to
the model's context length, as the published code does.
"""
import json
import math
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

model_folder, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
weights = {k: v.float() for k, v in load_file(model_folder / "model.safetensors").items()}
config = json.loads((model_folder / "config.json").read_text())["text_config"]
tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(model_folder / "tokenizer.json"))
length, heads, width = config["max_position_embeddings"], config["num_attention_heads"], config["hidden_size"]
start, end = tokenizer.convert_tokens_to_ids("<|startoftext|>"), tokenizer.convert_tokens_to_ids("<|endoftext|>")


def linear(x, name):
    return F.linear(x, weights[name + ".weight"], weights.get(name + ".bias"))


def norm(x, name):
    return F.layer_norm(x, (width,), weights[name + ".weight"], weights[name + ".bias"], 1e-5)


def text_features(embedded, end_position):  # [C, T, width] -> [C, d]
    x = embedded + weights["text_model.embeddings.position_embedding.weight"][: embedded.shape[1]]
    mask = torch.full((x.shape[1], x.shape[1]), -math.inf).triu(1)
    for layer in range(config["num_hidden_layers"]):
        base = f"text_model.encoder.layers.{layer}."
        y = norm(x, base + "layer_norm1")
        q, k, v = (linear(y, f"{base}self_attn.{p}_proj").unflatten(-1, (heads, -1)).transpose(1, 2) for p in "qkv")
        scores = q @ k.transpose(-1, -2) / math.sqrt(width // heads) + mask
        x = x + linear((scores.softmax(-1) @ v).transpose(1, 2).flatten(2), base + "self_attn.out_proj")
        h = linear(norm(x, base + "layer_norm2"), base + "mlp.fc1")
        x = x + linear(h * torch.sigmoid(1.702 * h), base + "mlp.fc2")
    x = norm(x, "text_model.final_layer_norm")
    return x[torch.arange(len(x)), end_position] @ weights["text_projection.weight"].T


def run(names, context, batches, features, labels, schedule):
    table = weights["text_model.embeddings.token_embedding.weight"]
    context = context.clone().requires_grad_(True)
    count = context.shape[0]
    ids, ends = [], []
    for name in names:
        tail = tokenizer.encode(name + ".", add_special_tokens=False) + [end]
        row = [start] + [0] * count + tail
        ends.append(len(row) - 1)
        ids.append(row + [0] * (length - len(row)))
    embedded, ends = table[torch.tensor(ids)], torch.tensor(ends)
    optimiser = torch.optim.SGD([context], lr=1.0, momentum=0.9, weight_decay=5e-4)
    scale, losses = weights["logit_scale"].exp(), []
    for batch, rate in zip(batches, schedule):
        optimiser.param_groups[0]["lr"] = rate
        prompts = torch.cat([embedded[:, :1], context.expand(len(names), -1, -1), embedded[:, 1 + count :]], 1)
        t = F.normalize(text_features(prompts, ends), dim=-1)
        loss = F.cross_entropy(scale * F.normalize(features[batch], dim=-1) @ t.T, labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64), context.detach()


def run_cocoop(names, state, batches, features, labels, rate):
    """Batches of images, each with prompts of its own, encoded one after the other as the published code does."""
    table = weights["text_model.embeddings.token_embedding.weight"]
    learned = {name: value.clone().requires_grad_(True) for name, value in state.items()}
    count = state["context"].shape[0]
    tails = [tokenizer.encode(name + ".", add_special_tokens=False) + [end] for name in names]
    ends = torch.tensor([count + len(tail) for tail in tails])
    rows = torch.stack([table[torch.tensor([start] + [0] * count + tail + [0] * (length - 1 - count - len(tail)))] for tail in tails])
    optimiser = torch.optim.SGD(list(learned.values()), lr=rate, momentum=0.9, weight_decay=5e-4)
    scale, losses = weights["logit_scale"].exp(), []
    for batch in batches:
        images, logits = F.normalize(features[batch], dim=-1), []
        for image in images:
            hidden = F.relu(F.linear(image, learned["meta_net.linear1.weight"], learned["meta_net.linear1.bias"]))
            context = learned["context"] + F.linear(hidden, learned["meta_net.linear2.weight"], learned["meta_net.linear2.bias"])
            prompts = torch.cat([rows[:, :1], context.expand(len(names), -1, -1), rows[:, 1 + count :]], 1)
            logits.append(scale * F.normalize(text_features(prompts, ends), dim=-1) @ image)
        loss = F.cross_entropy(torch.stack(logits), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64), {name: value.detach() for name, value in learned.items()}


torch.manual_seed(0)
names = ["dog", "cat on a mat", "big photo", "a b c", "owl"]
features, labels = torch.randn(20, weights["visual_projection.weight"].shape[0]), torch.arange(20) % 5
context = torch.randn(4, width) * 0.02
epochs = 5
batches = [torch.randperm(20)[:5] for _ in range(20)]
rates = [1e-5 if e == 0 else 0.02 * 0.5 * (1 + math.cos(math.pi * (e - 1) / epochs)) for e in range(epochs) for _ in range(4)]
losses, final = run(names, context, batches, features, labels, rates)
save_file(
    {"context": context, "features": features, "labels": labels, "batches": torch.stack(batches), "losses": losses, "final": final},
    out / "coop_parity.safetensors",
    metadata={"names": json.dumps(names)},
)
print(losses.tolist())

joint = features.shape[1]
start_state = {
    "context": torch.randn(4, width) * 0.02,
    "meta_net.linear1.weight": torch.randn(max(1, joint // 16), joint) * 0.2,
    "meta_net.linear1.bias": torch.randn(max(1, joint // 16)) * 0.1,
    "meta_net.linear2.weight": torch.randn(width, max(1, joint // 16)) * 0.1,
    "meta_net.linear2.bias": torch.randn(width) * 0.02,
}
cocoop_batches = [torch.randperm(20)[:3] for _ in range(12)]
losses, final = run_cocoop(names, start_state, cocoop_batches, features, labels, 0.01)
save_file(
    {"features": features, "labels": labels, "batches": torch.stack(cocoop_batches), "losses": losses}
    | {"start." + name: value for name, value in start_state.items()}
    | {"final." + name: value for name, value in final.items()},
    out / "cocoop_parity.safetensors",
    metadata={"names": json.dumps(names)},
)
print(losses.tolist())
