"""Makes dcpl.safetensors, dplq.safetensors, gdpl.safetensors and dplq_concat.safetensors: steps of an independent PyTorch
implementation, without noise, on the inputs of towers.safetensors, whose image features stand for the domain's. The quaternion layer
is written out as the Hamilton product, picture after picture, as the published code runs it.

    python make_domain_guided.py ../../clip/data/hf_quick .
"""
import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from text_tower import dassl_rates
from towers import Towers

towers, out = Towers(sys.argv[1]), pathlib.Path(sys.argv[2])
torch.set_num_threads(1)
NAMES = ["dog", "cat on a mat", "big photo", "a b c", "owl"]
data = load_file(out / "towers.safetensors")
pixels, domain, labels, batches = (data[k] for k in ("pixels", "features", "labels", "batches"))
W, V, D, HIDDEN, RANK, DEPTH = towers.width, towers.vision_width, towers.joint, 32, 4, 2
words = towers.table[torch.tensor(towers.ids("a photo of a"))]
frame = towers.frame([f"a photo of a {n}" for n in NAMES], 0)
torch.manual_seed(21)


def hamilton(x, r, i, j, k, bias):
    xr, xi, xj, xk = x.chunk(4, -1)
    return torch.cat([
        xr @ r - xi @ i - xj @ j - xk @ k, xr @ i + xi @ r - xj @ k + xk @ j,
        xr @ j + xi @ k + xj @ r - xk @ i, xr @ k - xi @ j + xj @ i + xk @ r,
    ], -1) + bias


def network(name, into):
    return {f"{name}.1.weight": 0.2 * torch.randn(HIDDEN, D), f"{name}.1.bias": 0.1 * torch.randn(HIDDEN), f"{name}.2.weight": 0.1 * torch.randn(into, HIDDEN), f"{name}.2.bias": 0.05 * torch.randn(into)}


def apply(p, name, x):
    return F.linear(F.relu(F.linear(x, p[name + ".1.weight"], p[name + ".1.bias"])), p[name + ".2.weight"], p[name + ".2.bias"])


def quaternion(name, into):
    return {f"{name}.{c}": 0.2 * torch.randn(2 * W // 4, into // 4) for c in "rijk"} | {f"{name}.bias": 0.02 * torch.randn(into)}


def linear(name):
    return {f"{name}.weight": 0.1 * torch.randn(V, W), f"{name}.bias": 0.1 * torch.randn(V)}


common = {"context": words[:2].clone(), "text.1": 0.02 * torch.randn(2, W)} | linear("coupling.0") | network("meta_net", W)
mixed = common | quaternion("mix.0", W) | quaternion("mix.1", V)
lora = {"relation": 0.2 * torch.randn(2, 2)}
for tower, count, width in (("text", 2, W), ("image", 2, V)):
    for b in range(count):
        name = f"lora.{tower}.{b}"
        lora |= {f"{name}.down": 0.3 * torch.randn(RANK, width), f"{name}.up": 0.3 * torch.randn(3 * width, RANK), f"{name}.singular": 1 + 0.1 * torch.randn(RANK),
                 f"{name}.out.down": 0.2 * torch.randn(RANK, width), f"{name}.out.up": 0.05 * torch.randn(width, RANK)}


def deltas(p, tower, column):
    def of(layer):
        if "relation" not in p or layer >= 2:
            return {}
        both = torch.stack([p[f"lora.{t}.{layer}.singular"] for t in ("image", "text")], -1)  # [rank, 2]
        s = (both + both @ p["relation"])[:, column] / RANK / 4
        name = f"lora.{tower}.{layer}"
        ups = p[name + ".up"].chunk(3)
        return {c: (p[name + ".down"], up, s) for c, up in zip("qkv", ups)} | {"o": (p[name + ".out.down"], p[name + ".out.up"], 1 / RANK)}
    return of


def answers(p, batch, concat):
    rows = []
    for n in batch.tolist():
        bias = apply(p, "meta_net", domain[n])
        mixes = "mix.0.r" in p

        def mix(name, tokens):
            each = bias.expand(2, -1)
            x = torch.cat([each, tokens], -1) if concat else torch.cat([torch.zeros(2, W), tokens + each], -1)
            return hamilton(x, *(p[f"{name}.{c}"] for c in "rijk"), p[f"{name}.bias"])

        context = mix("mix.0", p["context"]) if mixes else p["context"] + bias
        tokens = [F.linear(p["context"], p["coupling.0.weight"], p["coupling.0.bias"])]
        tokens.append(mix("mix.1", p["text.1"]) if mixes else F.linear(p["text.1"], p["coupling.1.weight"], p["coupling.1.bias"]))
        image = towers.image(pixels[n : n + 1], tokens, deltas=deltas(p, "image", 0))[0]
        if not mixes:
            image = image + apply(p, "image_net", domain[n])
        text = towers.text(frame, context, [p["text.1"]], deltas=deltas(p, "text", 1))
        rows.append(towers.scale * F.normalize(text, dim=-1) @ F.normalize(image, dim=-1))
    return torch.stack(rows)


def record(name, state, concat=False):
    learned = {k: v.clone().requires_grad_(True) for k, v in state.items()}
    optimiser = torch.optim.SGD(list(learned.values()), lr=1.0, momentum=0.9, weight_decay=5e-4)
    losses = []
    for batch, rate in zip(batches, dassl_rates(0.01, 3, 4)):
        optimiser.param_groups[0]["lr"] = rate
        loss = F.cross_entropy(answers(learned, batch, concat), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    values = {f"start.{k}": v for k, v in state.items()} | {f"final.{k}": v.detach() for k, v in learned.items()}
    save_file({k: v.contiguous() for k, v in values.items()} | {"losses": torch.tensor(losses, dtype=torch.float64)}, out / f"{name}.safetensors", metadata={"names": json.dumps(NAMES), "template": "a photo of a {}."})
    print(name, losses[0], losses[-1])


record("dcpl", common | linear("coupling.1") | network("image_net", D))
record("dplq", mixed)
record("dplq_concat", mixed, concat=True)
record("gdpl", mixed | lora)
