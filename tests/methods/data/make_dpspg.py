"""Makes dpspg_label.safetensors and dpspg.safetensors: 12 steps of a domain's prompts and of the generators of DPSPG, of an
independent PyTorch implementation with PyTorch's own transformer layers, without dropout.

    python make_dpspg.py ../../clip/data/hf_quick .

The generators start from a formula that the test computes too, and of every final tensor a fifth of the entries is kept.
"""
import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from text_tower import TextTower

tower, out = TextTower(sys.argv[1]), pathlib.Path(sys.argv[2])
NAMES = ["dog", "cat on a mat", "owl"]
metadata = {"names": json.dumps(NAMES), "template": "a photo of a {}."}
HIDDEN, LAYERS, HEADS, M, ALPHA = 8, 4, 8, 4, 0.2


def wave(key, *shape):
    count = torch.Size(shape).numel()
    return (0.2 * torch.sin(torch.arange(count, dtype=torch.float64) * 0.7 + key)).float().view(shape)


def label():
    torch.manual_seed(5)
    features, labels = torch.randn(18, tower.joint), torch.arange(18) % 3
    prompts = {k: (torch.randn(M, tower.width) * 0.02).requires_grad_(True) for k in ("positive", "negative")}
    start = {f"start.{k}": v.detach().clone() for k, v in prompts.items()}
    batches = torch.stack([torch.randperm(18)[:6] for _ in range(12)])
    frame = tower.frame(NAMES, M)
    optimiser = torch.optim.SGD(prompts.values(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    losses, terms = [], []
    for batch in batches:
        images = F.normalize(features[batch], dim=-1)
        right, wrong = (tower.scale * images @ F.normalize(tower.class_features(frame, prompts[k]), dim=-1).T for k in ("positive", "negative"))
        positive = F.cross_entropy(right, labels[batch])
        negative = F.binary_cross_entropy_with_logits(wrong, 1 - F.one_hot(labels[batch], 3).float(), pos_weight=torch.tensor([2.0]))
        optimiser.zero_grad()
        (positive + negative).backward()
        optimiser.step()
        losses.append((positive + negative).item())
        terms.append([positive.item(), negative.item()])
    recorded = {"features": features, "labels": labels, "batches": batches, "losses": torch.tensor(losses, dtype=torch.float64), "terms": torch.tensor(terms, dtype=torch.float64)}
    save_file(start | {f"final.{k}": v.detach() for k, v in prompts.items()} | recorded, out / "dpspg_label.safetensors", metadata=metadata)
    print(losses[0], losses[-1])


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(d_model=tower.joint, nhead=HEADS, dim_feedforward=HIDDEN, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, num_layers=LAYERS, enable_nested_tensor=False)
        self.prompt = nn.Linear(tower.joint, M * tower.width)

    def forward(self, features):
        return self.prompt(self.encoder(features.unsqueeze(0)).squeeze(0)).view(-1, M, tower.width)

    def named(self):
        """The tensors that matter, by our names; a single token's queries and keys do not."""
        found, d = {}, tower.joint
        for i, layer in enumerate(self.encoder.layers):
            found[f"{i}.value.weight"], found[f"{i}.value.bias"] = layer.self_attn.in_proj_weight[2 * d :], layer.self_attn.in_proj_bias[2 * d :]
            for ours, theirs in (("out", layer.self_attn.out_proj), ("linear1", layer.linear1), ("linear2", layer.linear2), ("norm1", layer.norm1), ("norm2", layer.norm2)):
                found[f"{i}.{ours}.weight"], found[f"{i}.{ours}.bias"] = theirs.weight, theirs.bias
        return dict(sorted((found | {"prompt.weight": self.prompt.weight, "prompt.bias": self.prompt.bias}).items()))


def generators():
    torch.manual_seed(6)
    features, labels, domains = torch.randn(24, tower.joint), torch.arange(24) % 3, torch.tensor([0, 2]).repeat_interleave(12)
    paths, recorded = {}, {"features": features, "labels": labels, "domains": domains}
    for p, path in enumerate(("positive", "negative")):
        encoder = Encoder()
        with torch.no_grad():
            for i, (name, tensor) in enumerate(encoder.named().items()):
                tensor.copy_(wave(i + 100 * p, *tensor.shape) + (1 if name.endswith("weight") and "norm" in name else 0))
        targets = torch.randn(3, M, tower.width) * 0.03
        recorded |= {f"labels.{path}": targets}
        paths[path] = (encoder, targets)
    optimisers = [torch.optim.AdamW(encoder.parameters(), lr=0.002, weight_decay=1e-4) for encoder, _ in paths.values()]
    batches = torch.stack([torch.randperm(24)[:6] for _ in range(12)])
    losses, terms = [], []
    for batch in batches:
        images = F.normalize(features[batch], dim=-1)
        each = [F.mse_loss(encoder(images), targets[domains[batch]]) for encoder, targets in paths.values()]
        for optimiser in optimisers:
            optimiser.zero_grad()
        sum(each).backward()
        for optimiser in optimisers:
            optimiser.step()
        losses.append(sum(each).item())
        terms.append([x.item() for x in each])
    frame = tower.frame(NAMES, M)
    with torch.no_grad():
        images = F.normalize(features, dim=-1)
        scores = {}
        for path, (encoder, _) in paths.items():
            texts = [F.normalize(tower.class_features(frame, context), dim=-1) for context in encoder(images)]
            scores[path] = torch.stack([tower.scale * t @ image for t, image in zip(texts, images)])
        recorded["logits"] = scores["positive"] - ALPHA * scores["negative"]
        recorded |= {f"final.{path}.generator.{name}": tensor.flatten()[::5].clone() for path, (encoder, _) in paths.items() for name, tensor in encoder.named().items()}
    recorded |= {"batches": batches, "losses": torch.tensor(losses, dtype=torch.float64), "terms": torch.tensor(terms, dtype=torch.float64)}
    save_file(recorded, out / "dpspg.safetensors", metadata=metadata)
    print(losses[0], losses[-1])


label()
generators()
