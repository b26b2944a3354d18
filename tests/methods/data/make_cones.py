"""Makes cones.safetensors: 20 steps of an independent PyTorch implementation of the embedding search for classes.

    python make_cones.py ../../clip/data/hf_quick .
"""
import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from text_tower import TextTower, dassl_rates

tower, out = TextTower(sys.argv[1]), pathlib.Path(sys.argv[2])
NAMES = ["dog", "cat on a mat", "big photo", "a b c", "owl"]
TEMPLATE = "a big photo of a {}, an owl."

torch.manual_seed(8)
features, labels = torch.randn(20, tower.joint) * 3, torch.arange(20) % 5
start = tower.sentences([TEMPLATE.format(n) for n in NAMES])
embeddings = torch.nn.Parameter(start.clone())
batches = torch.stack([torch.randperm(20)[:5] for _ in range(20)])
optimiser = torch.optim.AdamW([embeddings], lr=1.0, weight_decay=0.01)
losses = []
for batch, rate in zip(batches, dassl_rates(0.02, 5, 4)):
    optimiser.param_groups[0]["lr"] = rate
    logits = tower.scale * F.cosine_similarity(features[batch][:, None], embeddings[None], dim=2)
    loss = F.cross_entropy(logits, labels[batch])
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    losses.append(loss.item())
save_file({"features": features, "labels": labels, "batches": batches, "losses": torch.tensor(losses, dtype=torch.float64),
           "start.embeddings": start, "final.embeddings": embeddings.detach()}, out / "cones.safetensors",
          metadata={"names": json.dumps(NAMES), "template": TEMPLATE})
print(losses[0], losses[-1])
