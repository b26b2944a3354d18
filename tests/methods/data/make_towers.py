"""Makes towers.safetensors, the inputs, and <method>.safetensors for the methods that learn tokens, deltas or pixels of the towers: steps of an independent PyTorch
implementation on the pixels of random pictures, with prompts padded to the model's context length.

    python make_towers.py ../../clip/data/hf_quick .
"""
import json
import math
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from text_tower import dassl_rates
from towers import Towers

NAMES = ["dog", "cat on a mat", "big photo", "a b c", "owl"]
WORDS = "a photo of a"
EPOCHS, STEPS, BATCH, PICTURES = 3, 4, 4, 16
torch.set_num_threads(1)


towers, out = Towers(sys.argv[1]), pathlib.Path(sys.argv[2])
torch.manual_seed(5)
pixels, labels = torch.randn(PICTURES, 3, towers.side, towers.side), torch.arange(PICTURES) % 5
with torch.no_grad():
    frozen = towers.image(pixels)
batches = torch.stack([torch.randperm(PICTURES)[:BATCH] for _ in range(EPOCHS * STEPS)])
save_file({"pixels": pixels, "features": frozen, "labels": labels, "batches": batches}, out / "towers.safetensors")
words = towers.table[torch.tensor(towers.ids(WORDS))]
frame = towers.frame([f"{WORDS} {n}" for n in NAMES], 0)  # learned tokens take the place of the first
fixed_text = F.normalize(towers.text(frame, words), dim=-1).detach()


def answers(image, text):
    return towers.scale * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T


def record(name, state, optimiser_of, rates, loss_of, finish=None):
    learned = {k: v.clone().requires_grad_(True) for k, v in state.items()}
    optimiser = optimiser_of(list(learned.values()))
    losses, terms = [], []
    for step, (batch, rate) in enumerate(zip(batches, rates)):
        optimiser.param_groups[0]["lr"] = rate
        loss, extra = loss_of(learned, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        terms.append([x.item() for x in extra])
        if finish is not None:
            finish(learned, step)
    values = {f"start.{k}": v for k, v in state.items()} | {f"final.{k}": v.detach() for k, v in learned.items()}
    values["losses"] = torch.tensor(losses, dtype=torch.float64)
    if terms[0]:
        values["terms"] = torch.tensor(terms, dtype=torch.float64)
    save_file({k: v.contiguous() for k, v in values.items()}, out / f"{name}.safetensors", metadata={"names": json.dumps(NAMES), "template": "a photo of a {}."})
    print(name, losses[0], losses[-1])


sgd = lambda parameters: torch.optim.SGD(parameters, lr=1.0, momentum=0.9, weight_decay=5e-4)
rates = dassl_rates(0.02, EPOCHS, STEPS)
text_blocks, vision_blocks = range(1, towers.layers), range(towers.vision_layers)


def random_text(n):
    return {"context": words[:n].clone()} | {f"text.{b}": 0.02 * torch.randn(n, towers.width) for b in text_blocks}


def random_vision(n):
    return {f"vision.{b}": 0.02 * torch.randn(n, towers.vision_width) for b in vision_blocks}


def text_under(p):
    return towers.text(frame, p["context"], [p[f"text.{b}"] for b in text_blocks]) if "context" in p else fixed_text


def vision_under(p, batch, after_class=False):
    return towers.image(pixels[batch], [p[f"vision.{b}"] for b in vision_blocks], after_class)


def plain(p, batch):
    return F.cross_entropy(answers(vision_under(p, batch), text_under(p)), labels[batch]), []


# MaPLe: its depth of two leaves the last block of the text tower without tokens of its own.
layers = {}
for b in range(2):
    layers |= {f"coupling.{b}.weight": 0.1 * torch.randn(towers.vision_width, towers.width), f"coupling.{b}.bias": 0.1 * torch.randn(towers.vision_width)}
maple = {"context": words[:2].clone(), "text.1": 0.02 * torch.randn(2, towers.width)} | layers


def maple_loss(p, batch):
    tokens = [F.linear(p["context"], p["coupling.0.weight"], p["coupling.0.bias"]), F.linear(p["text.1"], p["coupling.1.weight"], p["coupling.1.bias"])]
    return F.cross_entropy(answers(towers.image(pixels[batch], tokens), towers.text(frame, p["context"], [p["text.1"]])), labels[batch]), []


record("maple", maple, sgd, rates, maple_loss)
record("ivlp", random_text(2) | random_vision(2), sgd, rates, plain)
record("vpt", random_vision(3), sgd, rates, lambda p, b: (F.cross_entropy(answers(vision_under(p, b, True), fixed_text), labels[b]), []))
record("deep_text", random_text(4), sgd, rates, lambda p, b: (F.cross_entropy(answers(frozen[b], text_under(p)), labels[b]), []))

# PromptSRC, with a teacher of seven templates, whose features are normalised after their mean only.
SEVEN = ["itap of a {}.", "a bad photo of the {}.", "a origami {}.", "a photo of the large {}.", "a {} in a video game.", "art of the {}.", "a photo of the small {}."]
teacher = F.normalize(torch.stack([towers.text(towers.frame([t.format(n).removesuffix(".") for n in NAMES], 0), words[:0]) for t in SEVEN]).mean(0), dim=-1).detach()


def promptsrc_loss(p, batch):
    text, image = F.normalize(text_under(p), dim=-1), F.normalize(vision_under(p, batch), dim=-1)
    old = F.normalize(frozen[batch], dim=-1)
    logits, expected = towers.scale * image @ text.T, towers.scale * old @ teacher.T
    parts = [
        F.cross_entropy(logits, labels[batch]), F.l1_loss(text, teacher), F.l1_loss(image, old),
        F.kl_div(logits.log_softmax(1), expected.log_softmax(1), reduction="sum", log_target=True) / logits.numel(),
    ]
    return parts[0] + 25 * parts[1] + 10 * parts[2] + parts[3], parts


weights = torch.tensor([math.exp(-0.5 * ((e - 2) / 1.5) ** 2) for e in range(1, EPOCHS + 1)], dtype=torch.float64)
weights = (weights / weights.sum()).tolist()
average = {}


def aggregate(learned, step):
    if (step + 1) % STEPS:
        return
    epoch = step // STEPS
    with torch.no_grad():
        for k, v in learned.items():
            average[k] = average.get(k, 0) + weights[epoch] * v
            if epoch + 1 == EPOCHS:
                v.copy_(average[k])


record("promptsrc", random_text(4) | random_vision(4), sgd, rates, promptsrc_loss, aggregate)

# VP: a frame of five pixels; its inside is in the tensor, but never learned.
inside = torch.ones(towers.side, towers.side)
inside[5:-5, 5:-5] = 0
record("visual_prompt", {"pixels": torch.randn(3, towers.side, towers.side)}, sgd, rates,
       lambda p, b: (F.cross_entropy(answers(towers.image(pixels[b] + p["pixels"] * inside), fixed_text), labels[b]), []))

# CLIP-LoRA without dropout.
lora = {}
for tower, count, width in (("text", towers.layers, towers.width), ("image", towers.vision_layers, towers.vision_width)):
    for layer in range(count):
        for p in "qkv":
            lora |= {f"{tower}.{layer}.{p}.down": 0.2 * torch.randn(2, width), f"{tower}.{layer}.{p}.up": 0.02 * torch.randn(width, 2)}


def lora_loss(p, batch):
    deltas = lambda tower: lambda layer: {x: (p[f"{tower}.{layer}.{x}.down"], p[f"{tower}.{layer}.{x}.up"], 1 / math.sqrt(2)) for x in "qkv"}
    return F.cross_entropy(answers(towers.image(pixels[batch], deltas=deltas("image")), towers.text(frame, words, deltas=deltas("text"))), labels[batch]), []


total = EPOCHS * STEPS
record("clip_lora", lora, lambda parameters: torch.optim.AdamW(parameters, lr=1.0, weight_decay=1e-2),
       [1e-6 + (2e-3 - 1e-6) * 0.5 * (1 + math.cos(math.pi * i / total)) for i in range(total)], lora_loss)
