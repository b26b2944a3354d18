"""Makes clip_adapter.safetensors and tip_adapter_f.safetensors: steps of an independent PyTorch implementation of
CLIP-Adapter (20) and of Tip-Adapter-F (12), and tip_adapter.safetensors: keys, logits and the grid of Tip-Adapter.

    python make_adapters.py ../../clip/data/hf_quick .
"""
import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from text_tower import TextTower, dassl_rates

tower, out = TextTower(sys.argv[1]), pathlib.Path(sys.argv[2])
NAMES = ["dog", "cat on a mat", "big photo", "a b c", "owl"]
TEMPLATE = "a big photo of a {}, an owl."
metadata = {"names": json.dumps(NAMES), "template": TEMPLATE}
hand = tower.sentences([TEMPLATE.format(n) for n in NAMES])


def batches_of(samples, batch, count):
    return torch.stack([torch.randperm(samples)[:batch] for _ in range(count)])


def clip_adapter():
    torch.manual_seed(2)
    features, labels = torch.randn(20, tower.joint) * 3, torch.arange(20) % 5
    net = nn.Sequential(nn.Linear(tower.joint, tower.joint // 4, bias=False), nn.ReLU(), nn.Linear(tower.joint // 4, tower.joint, bias=False), nn.ReLU())
    start = {"start.down": net[0].weight.detach().clone(), "start.up": net[2].weight.detach().clone()}
    batches = batches_of(20, 5, 20)
    optimiser = torch.optim.SGD(net.parameters(), lr=1.0, momentum=0.9, weight_decay=5e-4)
    losses = []
    for batch, rate in zip(batches, dassl_rates(0.02, 5, 4)):
        optimiser.param_groups[0]["lr"] = rate
        x = features[batch]
        x = F.normalize(0.3 * net(x) + 0.7 * x, dim=-1)
        loss = F.cross_entropy(tower.scale * x @ hand.T, labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    final = {"final.down": net[0].weight.detach(), "final.up": net[2].weight.detach()}
    recorded = {"features": features, "labels": labels, "batches": batches, "losses": torch.tensor(losses, dtype=torch.float64)}
    save_file(start | final | recorded, out / "clip_adapter.safetensors", metadata=metadata)
    print(losses[0], losses[-1])


def tip(features, keys, values, alpha, beta):
    affinity = features @ keys.T
    return tower.scale * features @ hand.T + alpha * torch.exp(-beta * (1 - affinity)) @ values


def search(features, labels, keys, values, scales):
    """200 values of beta by 20 of alpha; the first strict maximum of the accuracy."""
    best = (0.0, 0.0, 0.0)
    for i in range(200):
        beta = i * (scales[0] - 0.1) / 200 + 0.1
        for j in range(20):
            alpha = j * (scales[1] - 0.1) / 20 + 0.1
            accuracy = (tip(features, keys, values, alpha, beta).argmax(1) == labels).double().mean().item()
            if accuracy > best[0]:
                best = (accuracy, alpha, beta)
    return torch.tensor(best, dtype=torch.float64)


def tip_adapter():
    torch.manual_seed(3)
    # Pictures of a class look alike, so that the cache has something to say.
    centres, labels = torch.randn(5, tower.joint), torch.arange(15) % 5
    views = centres[labels] + 1.2 * torch.randn(4, 15, tower.joint)
    validation_labels = torch.arange(40) % 5
    validation = centres[validation_labels] + 1.2 * torch.randn(40, tower.joint)
    keys, values = F.normalize(views.mean(0), dim=-1), F.one_hot(labels).float()
    unit = F.normalize(validation, dim=-1)
    # A stronger cache than is usual stands against the logit scale of this small model.
    found = search(unit, validation_labels, keys, values, (12, 50))
    logits = tip(unit, keys, values, 1.17, 1.0)
    tensors = {"views": views, "labels": labels, "validation": validation, "validation_labels": validation_labels}
    save_file(tensors | {"keys": keys, "logits": logits, "found": found, "found_logits": tip(unit, keys, values, *found[1:].tolist())}, out / "tip_adapter.safetensors", metadata=metadata)
    print(found, (logits.argmax(1) == validation_labels).double().mean())

    features, start = views[0], keys
    weight = keys.clone().requires_grad_(True)
    batches = batches_of(15, 5, 12)
    optimiser = torch.optim.AdamW([weight], lr=0.01, eps=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 12)
    losses = []
    for batch in batches:
        loss = F.cross_entropy(tip(F.normalize(features[batch], dim=-1), weight, values, 5.0, 1.5), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    state = {"labels": labels, "alpha_beta": torch.tensor([5.0, 1.5], dtype=torch.float64)}
    recorded = {"features": features, "labels": labels, "batches": batches, "losses": torch.tensor(losses, dtype=torch.float64), "final.keys": weight.detach()}
    save_file(recorded | {"start.keys": start} | {"start." + k: v.clone() for k, v in state.items()}, out / "tip_adapter_f.safetensors", metadata=metadata)
    print(losses[0], losses[-1])


clip_adapter()
tip_adapter()
