"""Makes prompt_sets.safetensors, the inputs, descriptions.json, and plot.safetensors and dual_pt_<loss>.safetensors: steps of an
independent PyTorch implementation of prompts that meet a picture's cells by optimal transport.

    python make_prompt_sets.py ../../clip/data/hf_quick .
"""
import json
import math
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from text_tower import TextTower, dassl_rates

tower, out = TextTower(sys.argv[1]), pathlib.Path(sys.argv[2])
torch.set_num_threads(1)
torch.manual_seed(11)
NAMES = ["dog", "cat on a mat", "big photo", "a b c", "owl"]
TEMPLATE = "a photo of a {}."
DESCRIPTIONS = {"dog": ["a dog has fur.", "a small dog on a mat"], "Cat_on a  mat": ["the cat lies there.", "fur", "a mat of grass"], "owl": ["an owl"], "a b c": []}
EPOCHS, STEPS, BATCH, PICTURES, CELLS, PROMPTS, LENGTH = 3, 4, 4, 16, 9, 3, 2
features, cells = torch.randn(PICTURES, tower.joint), torch.randn(PICTURES, CELLS, tower.joint)
# Cells that lean to their picture, so that transports are not all alike.
cells += 0.7 * features[:, None]
labels = torch.arange(PICTURES) % len(NAMES)
batches = torch.stack([torch.randperm(PICTURES)[:BATCH] for _ in range(EPOCHS * STEPS)])
save_file({"features": features, "local_features": cells, "labels": labels, "batches": batches}, out / "prompt_sets.safetensors")
(out / "descriptions.json").write_text(json.dumps(DESCRIPTIONS, indent=1) + "\n")

hand = tower.sentences([TEMPLATE.format(n) for n in NAMES]).detach()
read = {"dog": "dog", "cat on a mat": "Cat_on a  mat", "owl": "owl", "a b c": "a b c"}
described = [tower.sentences(DESCRIPTIONS[read[n]]).detach() if DESCRIPTIONS.get(read.get(n)) else hand[i : i + 1] for i, n in enumerate(NAMES)]
means = torch.stack([d.mean(0) for d in described])
frame = tower.frame(NAMES, LENGTH)


def sinkhorn(kernel, u, v):
    r, c = torch.ones_like(u), torch.ones_like(v)
    for _ in range(100):
        old = r
        r = u / (kernel @ c[..., None])[..., 0]
        c = v / (kernel.transpose(1, 2) @ r[..., None])[..., 0]
        if (r - old).abs().mean() < 1e-2:
            break
    return r[..., None] * c[..., None, :] * kernel


def plans(similarity, together):
    with torch.no_grad():
        kernel = torch.exp(-(1 - similarity.double()) / 0.1)
        u = torch.full(kernel.shape[:2], 1 / kernel.shape[1], dtype=torch.float64)
        v = torch.full((kernel.shape[0], kernel.shape[2]), 1 / kernel.shape[2], dtype=torch.float64)
        if together:
            return sinkhorn(kernel, u, v).float()
        return torch.cat([sinkhorn(kernel[i : i + 1], u[i : i + 1], v[i : i + 1]) for i in range(len(kernel))]).float()


def run(name, answer_loss):
    contexts = (0.5 * torch.randn(PROMPTS, LENGTH, tower.width)).requires_grad_(True)
    start = contexts.detach().clone()
    optimiser = torch.optim.SGD([contexts], lr=1.0, momentum=0.9, weight_decay=5e-4)
    losses, terms = [], []
    for batch, rate in zip(batches, dassl_rates(0.05, EPOCHS, STEPS)):
        optimiser.param_groups[0]["lr"] = rate
        text = torch.stack([F.normalize(tower.class_features(frame, c), dim=-1) for c in contexts])  # [M, C, d]
        g, f = F.normalize(features[batch], dim=-1), F.normalize(cells[batch], dim=-1)
        similarity = torch.einsum("bpd,mcd->bcpm", f, text).flatten(0, 1)
        parts = answer_loss(text, g, similarity, labels[batch])
        loss = sum(weight * part for weight, part in parts)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        terms.append([part.item() for _, part in parts])
    save_file({"start.contexts": start, "final.contexts": contexts.detach(), "losses": torch.tensor(losses, dtype=torch.float64), "terms": torch.tensor(terms, dtype=torch.float64)},
              out / f"{name}.safetensors", metadata={"names": json.dumps(NAMES), "template": TEMPLATE})
    print(name, losses[0], losses[-1])


def transported(similarity, together):
    return (plans(similarity, together) * similarity).sum((1, 2)).view(BATCH, len(NAMES))


run("plot", lambda text, g, similarity, y: [(1, F.cross_entropy(tower.scale * transported(similarity, True), y))])


def text_losses(text, g):
    mean, unit = text.mean(0), F.normalize(text.mean(0), dim=-1)
    apart = []
    for c, own in enumerate(described):
        s = (text[:, c] @ own.T)[None]
        apart.append((plans(s, False) * (1 - s)).sum())
    return {
        "ot": torch.stack(apart).mean(),
        "cosine": 1 - F.cosine_similarity(mean, means).mean(),
        "kl": F.kl_div((tower.scale * g @ mean.T).log_softmax(1), (tower.scale * g @ means.T).softmax(1), reduction="batchmean"),
        "contrast": F.cross_entropy(tower.scale * unit @ F.normalize(means, dim=-1).T, torch.arange(len(NAMES))),
    }


for form, weight in (("ot", 1), ("cosine", 8), ("kl", 1), ("contrast", 1)):
    def dual(text, g, similarity, y):
        return [(1, F.cross_entropy(tower.scale * g @ text.mean(0).T, y)), (1, F.cross_entropy(tower.scale * transported(similarity, False), y)), (weight, text_losses(text, g)[form])]
    run(f"dual_pt_{form}", dual)
