"""Makes dpl.safetensors and dpl_joint.safetensors: 12 steps of DPL, each picture against its own domain's texts, and
against those of all domains at once as released, by an independent PyTorch implementation without dropout.

    python make_dpl.py ../../clip/data/hf_quick .
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
TOKENS, HIDDEN = 3, 10

for name, joint in (("dpl", False), ("dpl_joint", True)):
    torch.manual_seed(4)
    features, labels, domains = torch.randn(24, tower.joint), torch.arange(24) % 3, torch.tensor([0, 2, 3]).repeat_interleave(8)
    layers = {"input": nn.Linear(tower.joint, HIDDEN), "hidden": nn.Linear(HIDDEN, HIDDEN), "output": nn.Linear(HIDDEN, TOKENS * tower.width)}
    for layer in layers.values():
        nn.init.xavier_uniform_(layer.weight)
        layer.bias.data.fill_(0.01)
    net = nn.Sequential(layers["input"], nn.ReLU(), layers["hidden"], nn.ReLU(), layers["output"])
    state = lambda kind: {f"{kind}.{l}.{p}": getattr(layer, p).detach().clone() for l, layer in layers.items() for p in ("weight", "bias")}
    recorded = state("start") | {"features": features, "labels": labels, "domains": domains}
    # Batches with unequal shares of the domains, one of them without the last.
    batches = torch.stack([torch.randperm(24)[:9] for _ in range(11)] + [torch.randperm(16)[:9]])
    frame = tower.frame(NAMES, TOKENS)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.1)
    losses = []
    for batch in batches:
        texts, images, answers = [], [], []
        for domain in domains[batch].unique():
            rows = batch[domains[batch] == domain]
            context = net(features[rows]).mean(0).view(TOKENS, tower.width)
            texts.append(F.normalize(tower.class_features(frame, context), dim=-1))
            images.append(F.normalize(features[rows], dim=-1))
            answers.append(labels[rows])
        if joint:
            logits = tower.scale * torch.cat(images) @ torch.cat(texts).T
        else:
            logits = torch.cat([tower.scale * i @ t.T for i, t in zip(images, texts)])
        loss = F.cross_entropy(logits, torch.cat(answers))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    with torch.no_grad():
        domain_logits = torch.empty(24, 3)
        for domain in domains.unique():
            rows = domains == domain
            context = net(features[rows]).mean(0).view(TOKENS, tower.width)
            domain_logits[rows] = tower.scale * F.normalize(features[rows], dim=-1) @ F.normalize(tower.class_features(frame, context), dim=-1).T
        contexts = net(features).view(-1, TOKENS, tower.width)
        image_logits = torch.stack([tower.scale * F.normalize(tower.class_features(frame, c), dim=-1) @ F.normalize(f, dim=0) for c, f in zip(contexts, features)])
        training_logits = tower.scale * F.normalize(features, dim=-1) @ F.normalize(tower.class_features(frame, contexts.mean(0)), dim=-1).T
    predicted = {"batch_logits": domain_logits, "image_logits": image_logits, "training_logits": training_logits}
    save_file(
        recorded | state("final") | predicted | {"batches": batches, "losses": torch.tensor(losses, dtype=torch.float64)},
        out / f"{name}.safetensors",
        metadata={"names": json.dumps(NAMES), "template": "a photo of a {}."},
    )
    print(name, losses[0], losses[-1])
