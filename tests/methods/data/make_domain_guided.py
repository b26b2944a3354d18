"""Makes dcpl.safetensors, dplq.safetensors, gdpl.safetensors and dplq_concat.safetensors: steps of an independent PyTorch
implementation, without noise, on the inputs of towers.safetensors, whose image features stand for the domain's; and, under "noisy.", the
loss and every gradient of the first step with noise. The quaternion layer is written out as the Hamilton product, picture after picture, as
the published code runs it. The noise is the program's: Philox4x32-10 (Salmon et al. 2011) keyed by seed, purpose and step, Box-Muller.

    python make_domain_guided.py ../../clip/data/hf_quick .
"""
import json
import math
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


M32, M64 = 2**32 - 1, 2**64 - 1


def philox(counter, key):
    for _ in range(10):
        left, right = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [(right >> 32) ^ counter[1] ^ key[0], right & M32, (left >> 32) ^ counter[3] ^ key[1], left & M32]
        key = [(key[0] + 0x9E3779B9) & M32, (key[1] + 0xBB67AE85) & M32]
    return counter


def normals(shape, seed, purpose, index):
    key = seed + 0x9E3779B97F4A7C15 & M64
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        key = (key ^ key >> shift) * factor & M64
    key ^= key >> 31
    text = 0xCBF29CE484222325
    for byte in purpose.encode():
        text = (text ^ byte) * 0x100000001B3 & M64
    key ^= text

    def uniforms():
        block = 0
        while True:
            a, b, c, d = philox([block & M32, block >> 32, index & M32, index >> 32], [key & M32, key >> 32])
            yield (a | b << 32) >> 11
            yield (c | d << 32) >> 11
            block += 1

    draws = (u * 2.0**-53 for u in uniforms())
    values = [math.sqrt(-2 * math.log(1 - next(draws))) * math.cos(2 * math.pi * next(draws)) for _ in range(math.prod(shape))]
    return torch.tensor(values, dtype=torch.float64).float().reshape(shape)


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


def images(p, batch, tokens_of):
    """Raw image features [B, D], so that their mean over the batch is there before noise is added."""
    return torch.stack([towers.image(pixels[n : n + 1], tokens_of(n), deltas=deltas(p, "image", 0))[0] for n in batch.tolist()])


def answers(p, batch, concat, noise=None):
    mixes = "mix.0.r" in p

    def mix(name, tokens, n):
        each = apply(p, "meta_net", domain[n]).expand(2, -1)
        x = torch.cat([each, tokens], -1) if concat else torch.cat([torch.zeros(2, W), tokens + each], -1)
        return hamilton(x, *(p[f"{name}.{c}"] for c in "rijk"), p[f"{name}.bias"])

    def tokens_of(n):
        tokens = [F.linear(p["context"], p["coupling.0.weight"], p["coupling.0.bias"])]
        return tokens + [mix("mix.1", p["text.1"], n) if mixes else F.linear(p["text.1"], p["coupling.1.weight"], p["coupling.1.bias"])]

    image, rows = images(p, batch, tokens_of), []
    size = domain[batch].mean() if mixes else image.mean()
    for b, n in enumerate(batch.tolist()):
        own = torch.zeros(W if mixes else D) if noise is None else noise[b] * size
        feature = image[b] if mixes else image[b] + apply(p, "image_net", domain[n]) + own
        context = mix("mix.0", p["context"] + own, n) if mixes else p["context"] + apply(p, "meta_net", domain[n])
        text = towers.text(frame, context, [p["text.1"]], deltas=deltas(p, "text", 1))
        rows.append(towers.scale * F.normalize(text, dim=-1) @ F.normalize(feature, dim=-1))
    return torch.stack(rows)


def noisy_step(name, state, concat):
    learned = {k: v.clone().requires_grad_(True) for k, v in state.items()}
    batch = batches[0]
    noise = normals([len(batch), W if "mix.0.r" in state else D], 1, name.split("_")[0] + ".noise", 0)
    loss = F.cross_entropy(answers(learned, batch, concat, noise), labels[batch])
    loss.backward()
    return {"noisy.loss": loss.detach().double()} | {f"noisy.gradient.{k}": v.grad for k, v in learned.items()}


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
    values = noisy_step(name, state, concat) | {f"start.{k}": v for k, v in state.items()} | {f"final.{k}": v.detach() for k, v in learned.items()}
    save_file({k: v.contiguous() for k, v in values.items()} | {"losses": torch.tensor(losses, dtype=torch.float64)}, out / f"{name}.safetensors", metadata={"names": json.dumps(NAMES), "template": "a photo of a {}."})
    print(name, losses[0], losses[-1])


record("dcpl", common | linear("coupling.1") | network("image_net", D))
record("dplq", mixed)
record("dplq_concat", mixed, concat=True)
record("gdpl", mixed | lora)
