"""Makes kgcoop.safetensors and prograd.safetensors: 20 steps of each of an independent PyTorch implementation.

    python make_contexts.py ../../clip/data/hf_quick .
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
EPOCHS, STEPS, BATCH = 5, 4, 5


def kgcoop_gradient(logits, labels, text, teacher, hand):
    distance = 1 - F.cosine_similarity(text, hand, dim=1, eps=1e-7).mean()
    cross_entropy = F.cross_entropy(logits, labels)
    loss = cross_entropy + 8 * distance
    return loss, torch.autograd.grad(loss, context)[0], {"cross_entropy": cross_entropy, "distance": distance}


def prograd_gradient(logits, labels, text, teacher, hand):
    loss = F.cross_entropy(logits, labels)
    general = -(teacher.softmax(1) * logits.log_softmax(1)).sum(1).mean()
    own, other = (torch.autograd.grad(x, context, retain_graph=True)[0] for x in (loss, general))
    unit = other / other.norm()
    along = (own * unit).sum()
    conflicts.append(bool(along < 0))
    divergence = F.kl_div(logits.log_softmax(1), teacher.softmax(1), reduction="batchmean")
    return loss, own - 0.8 * along * unit if along < 0 else own, {"divergence": divergence}


for name, gradient in (("kgcoop", kgcoop_gradient), ("prograd", prograd_gradient)):
    torch.manual_seed(1)
    conflicts = []
    features, labels = torch.randn(20, tower.joint), torch.arange(20) % 5
    context = (torch.randn(4, tower.width) * 0.02).requires_grad_(True)
    recorded = {"start.context": context.detach().clone(), "features": features, "labels": labels}
    batches = torch.stack([torch.randperm(20)[:BATCH] for _ in range(EPOCHS * STEPS)])
    hand = tower.sentences([TEMPLATE.format(n) for n in NAMES])
    frame, images = tower.frame(NAMES, 4), F.normalize(features, dim=-1)
    optimiser = torch.optim.SGD([context], lr=1.0, momentum=0.9, weight_decay=5e-4)
    losses, terms = [], []
    for batch, rate in zip(batches, dassl_rates(0.02, EPOCHS, STEPS)):
        optimiser.param_groups[0]["lr"] = rate
        text = F.normalize(tower.class_features(frame, context), dim=-1)
        logits, teacher = tower.scale * images[batch] @ text.T, tower.scale * images[batch] @ hand.T
        loss, context.grad, extra = gradient(logits, labels[batch], text, teacher, hand)
        losses.append(loss.item())
        terms.append([x.item() for x in extra.values()])
        optimiser.step()
    save_file(
        recorded | {"batches": batches, "losses": torch.tensor(losses, dtype=torch.float64), "terms": torch.tensor(terms, dtype=torch.float64), "final.context": context.detach()},
        out / f"{name}.safetensors",
        metadata={"names": json.dumps(NAMES), "template": TEMPLATE},
    )
    print(name, losses[0], losses[-1], sum(conflicts))
