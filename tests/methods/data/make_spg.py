"""Makes spg.safetensors: SPG's adversarial training, one iteration and fifty, by an independent PyTorch implementation.

    python make_spg.py ../../clip/data/hf_quick .

In double precision: the biases before a batch normalisation have gradients of nothing but rounding, which Adam would turn
into steps. Weights, noise, masks and features come from an integer hash that the test computes too, so that the file holds
no more than the losses and, of every tensor, 48 entries, its sum and its norm.
"""
import json
import math
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

torch.set_default_dtype(torch.float64)
model_folder, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
config = json.loads((model_folder / "config.json").read_text())
D, WIDTH, M, BATCH, SAMPLED = config["projection_dim"], config["text_config"]["hidden_size"], 4, 6, 48


def hashed(key, *shape):
    x = (np.arange(math.prod(shape), dtype=np.uint64) + np.uint64(key * 1000003)) & np.uint64(0xFFFFFFFF)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x ^= x >> np.uint64(shift)
        x = (x * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(16)
    return torch.from_numpy(x.astype(np.float64) / 2.0**32).reshape(shape)


def spread(key, bound, *shape):
    return (2 * hashed(key, *shape) - 1) * bound


class Mask(nn.Module):
    def forward(self, x):
        return x * self.mask


def generator():
    layers, sizes = [], [100 + D, 128, 256, 512, 1024]
    for i in range(4):
        layers.append(nn.Linear(sizes[i], sizes[i + 1]))
        if i > 0:
            layers.append(nn.BatchNorm1d(sizes[i + 1], eps=0.8))
        layers.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*layers, nn.Linear(1024, M * WIDTH), nn.Tanh())


def discriminator():
    layers = [nn.Linear(M * WIDTH + D, 512), nn.LeakyReLU(0.2)]
    for _ in range(2):
        layers += [nn.Linear(512, 512), Mask(), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(512, 1))


def fill(net, base):
    for k, (name, p) in enumerate(sorted(net.named_parameters())):
        fan = p.shape[1] if p.dim() == 2 else p.shape[0]
        bound = math.sqrt((6 if p.dim() == 2 else 1) / fan)
        p.data = spread(base + k, bound, *p.shape)


def judge(net, prompts, features, mask_key):
    keep = (hashed(mask_key, 2, len(features), 512) < 0.6).double() / 0.6
    net[3].mask, net[6].mask = keep[0], keep[1]
    return net(torch.cat([prompts.flatten(1), features], 1))


def clip(named, limit_of):
    for name, p in named:
        if p.grad.norm() > limit_of(name):
            nn.utils.clip_grad_norm_([p], limit_of(name))


def limit_d(name):
    if name in ("0.weight", "0.bias", "8.weight", "8.bias"):
        return 5
    return 5e-2 if "weight" in name else 5e-1


def limit_g(name):
    if "weight" in name:
        return 5e-3
    return 1 if name in ("9.bias", "11.bias") else 5e-8


def run(rates):
    g, d = generator(), discriminator()
    fill(g, 100), fill(d, 200)
    g_optimiser = torch.optim.AdamW(g.parameters(), lr=1.0, weight_decay=1e-4)
    d_optimiser = torch.optim.AdamW(d.parameters(), lr=1.0, weight_decay=1e-4)
    labels, losses = spread(1, 0.3, 2, M, WIDTH), []
    for i, rate in enumerate(rates):
        g_optimiser.param_groups[0]["lr"] = d_optimiser.param_groups[0]["lr"] = rate
        features = nn.functional.normalize(spread(1000 + i, 1, BATCH, D), dim=1)
        others = nn.functional.normalize(spread(2000 + i, 1, BATCH, D), dim=1)
        prompts = labels[torch.arange(BATCH) % 2]
        generated = g(torch.cat([spread(3000 + i, 2, BATCH, 100), others], 1)).view(BATCH, M, WIDTH)
        d_optimiser.zero_grad()
        d_loss = (judge(d, prompts, features, 4000 + 3 * i) - 1).pow(2).mean()
        d_loss = d_loss + judge(d, generated.detach(), others, 4001 + 3 * i).pow(2).mean()
        d_loss.backward()
        clip(d.named_parameters(), limit_d)
        d_optimiser.step()
        g_optimiser.zero_grad()
        g_loss = (judge(d, generated, others, 4002 + 3 * i) - 1).pow(2).mean()
        g_loss.backward()
        clip(g.named_parameters(), limit_g)
        g_optimiser.step()
        losses.append([d_loss.item(), g_loss.item()])
    tensors = {"losses": torch.tensor(losses)}
    for prefix, net in (("generator.", g), ("discriminator.", d)):
        for name, tensor in net.state_dict().items():
            if "num_batches" in name:
                continue
            flat = tensor.flatten()
            picked = flat[(torch.arange(SAMPLED) * len(flat)) // SAMPLED]
            tensors[prefix + name] = torch.cat([picked, flat.sum()[None], flat.norm()[None]])
    return tensors


def rate(epoch, epochs=10, base=2e-3, warm=4):
    if epoch < warm:
        return 1e-5 if epoch == 0 else base * epoch / warm
    return base * 0.5 * (1 + math.cos(math.pi * (epoch - warm) / epochs))


one, fifty = run([2e-3]), run([rate(i // 5) for i in range(50)])
save_file({f"one.{k}": v for k, v in one.items()} | {f"fifty.{k}": v for k, v in fifty.items()}, out / "spg.safetensors")
print(one["losses"], fifty["losses"][::10])
