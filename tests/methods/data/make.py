"""Makes coop_parity.safetensors and cocoop_parity.safetensors: 20 steps of CoOp and 12 of CoCoOp of an independent PyTorch
implementation on padded 77-token prompts.

    python make.py ../../clip/data/hf_quick .
"""
import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from text_tower import TextTower, dassl_rates

tower, out = TextTower(sys.argv[1]), pathlib.Path(sys.argv[2])
width = tower.width


def run(names, context, batches, features, labels, schedule):
    context = context.clone().requires_grad_(True)
    frame = tower.frame(names, context.shape[0])
    optimiser = torch.optim.SGD([context], lr=1.0, momentum=0.9, weight_decay=5e-4)
    losses = []
    for batch, rate in zip(batches, schedule):
        optimiser.param_groups[0]["lr"] = rate
        t = F.normalize(tower.class_features(frame, context), dim=-1)
        loss = F.cross_entropy(tower.scale * F.normalize(features[batch], dim=-1) @ t.T, labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64), context.detach()


def run_cocoop(names, state, batches, features, labels, rate):
    """Batches of images, each with prompts of its own, encoded one after the other as the published code does."""
    learned = {name: value.clone().requires_grad_(True) for name, value in state.items()}
    frame = tower.frame(names, state["context"].shape[0])
    optimiser = torch.optim.SGD(list(learned.values()), lr=rate, momentum=0.9, weight_decay=5e-4)
    losses = []
    for batch in batches:
        images, logits = F.normalize(features[batch], dim=-1), []
        for image in images:
            hidden = F.relu(F.linear(image, learned["meta_net.linear1.weight"], learned["meta_net.linear1.bias"]))
            context = learned["context"] + F.linear(hidden, learned["meta_net.linear2.weight"], learned["meta_net.linear2.bias"])
            logits.append(tower.scale * F.normalize(tower.class_features(frame, context), dim=-1) @ image)
        loss = F.cross_entropy(torch.stack(logits), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64), {name: value.detach() for name, value in learned.items()}


torch.manual_seed(0)
names = ["dog", "cat on a mat", "big photo", "a b c", "owl"]
features, labels = torch.randn(20, tower.joint), torch.arange(20) % 5
context = torch.randn(4, width) * 0.02
epochs = 5
batches = [torch.randperm(20)[:5] for _ in range(20)]
rates = dassl_rates(0.02, epochs, 4)
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
