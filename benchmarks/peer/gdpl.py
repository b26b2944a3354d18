"""GDPL training steps: ViT-B/16, 19 or 45 classes, batch 4, domain features given, without noise.

as_run  the published code: prompts of 77 tokens, the text tower picture after picture
cut     all pictures' prompts at once, the tokens after the longest prompt dropped (exact under the causal mask)

Deltas are applied to the activations, which is cheaper than to the weights.
"""
import torch
from torch import nn
from torch.nn import functional as F

from model import HEAD, ClassPrompts, ImageTower, TextTower, normalised, read_weights

DEPTH, RANK, WORDS = 9, 4, "a photo of a"


def delta(x, down, up, scale):
    return F.linear(F.linear(x, down) * scale, up)


def tuned(block, x, own):
    """A block's forward with GDPL's deltas: those of q, k and v, and of the output projection."""
    normal = block.norm1(x)
    fused = block.qkv(normal)
    if own:
        fused = fused + delta(normal, *own["qkv"])
    q, k, v = (part.unflatten(-1, (block.heads, HEAD)).transpose(1, 2) for part in fused.chunk(3, -1))
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=block.causal).transpose(1, 2).flatten(2)
    out = block.out(mixed)
    if own:
        out = out + delta(mixed, *own["out"])
    x = x + out
    hidden = block.fc1(block.norm2(x))
    return x + block.fc2(hidden * torch.sigmoid(1.702 * hidden))


class Gdpl:
    def __init__(self, inputs):
        data, weights = inputs.tensors(), read_weights(inputs.model)
        classes = int(inputs.case.rsplit("_", 1)[1])
        names = [f"{WORDS} {name}" for name in inputs.lines("classes")[:classes]]
        self.text, self.image, self.scale = TextTower(weights), ImageTower(weights), weights["logit_scale"].exp()
        self.pixels, self.domain, self.labels = data["pixels"][:4], data["image_features"][:4], data["labels"][:4] % classes
        self.each = inputs.variant == "as_run"
        self.prompts = ClassPrompts(inputs.model, self.text, names, 0, cut=not self.each)
        self.prompts.rest = self.prompts.rest[:, 2:]  # learned tokens take the place of the first two words
        self.own = {name[5:]: nn.Parameter(value) for name, value in data.items() if name.startswith("gdpl.")}
        self.optimiser = torch.optim.SGD(self.own.values(), lr=0.0035, momentum=0.9, weight_decay=5e-4)

    def mix(self, block, tokens, bias):
        """The quaternion layer on [0 ; tokens + bias]: [B, 2, out]."""
        p = self.own
        r, i, j, k = (p[f"mix.{block}.{part}"] for part in "rijk")
        x = torch.cat([torch.zeros_like(tokens).expand(len(bias), -1, -1), tokens + bias[:, None]], -1)
        matrix = torch.cat([torch.cat([r, i, j, k], 1), torch.cat([-i, r, k, -j], 1), torch.cat([-j, -k, r, i], 1), torch.cat([-k, j, -i, r], 1)])
        return x @ matrix + p[f"mix.{block}.bias"]

    def deltas(self, tower, column):
        p, found = self.own, []
        for block in range(DEPTH):
            both = torch.stack([p[f"lora.{t}.{block}.singular"] for t in ("image", "text")], -1)
            singular = (both + both @ p["relation"])[:, column] / RANK / 4
            name = f"lora.{tower}.{block}"
            found.append({"qkv": (p[name + ".down"], p[name + ".up"], singular), "out": (p[name + ".out.down"], p[name + ".out.up"], 1 / RANK)})
        return found + [None] * 3

    def encode_text(self, context, deltas):
        """Contexts [B, 2, width] -> features [B, C, d]."""
        count, classes = len(context), len(self.prompts.start)
        x = torch.cat([self.prompts.start.repeat(count, 1, 1), context.repeat_interleave(classes, 0), self.prompts.rest.repeat(count, 1, 1)], 1)
        x = x + self.text.positions[: x.shape[1]]
        for number, (block, own) in enumerate(zip(self.text.blocks, deltas)):
            if 0 < number < DEPTH:
                x = torch.cat([x[:, :1], self.own[f"text.{number}"].expand(len(x), -1, -1), x[:, 3:]], 1)
            x = tuned(block, x, own)
        end = self.prompts.end.repeat(count)
        return (self.text.norm(x[torch.arange(len(x)), end]) @ self.text.projection).unflatten(0, (count, classes))

    def encode_image(self, tokens, deltas):
        x = self.image.patch(self.pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.image.head.expand(len(x), 1, -1), x], 1) + self.image.positions
        length = x.shape[1]
        x = self.image.norm_in(torch.cat([x, tokens[0].expand(len(x), -1, -1)], 1))
        for number, (block, own) in enumerate(zip(self.image.blocks, deltas)):
            if 0 < number < DEPTH:
                x = torch.cat([x[:, :length], tokens[number]], 1)
            x = tuned(block, x, own)
        return self.image.norm_out(x[:, 0]) @ self.image.projection

    def round(self):
        p = self.own
        hidden = F.relu(F.linear(self.domain, p["meta_net.1.weight"], p["meta_net.1.bias"]))
        bias = F.linear(hidden, p["meta_net.2.weight"], p["meta_net.2.bias"])
        contexts = self.mix(0, p["context"], bias)
        tokens = [F.linear(p["context"], p["coupling.0.weight"], p["coupling.0.bias"])]
        tokens += [self.mix(block, p[f"text.{block}"], bias) for block in range(1, DEPTH)]
        image, deltas = self.encode_image(tokens, self.deltas("image", 0)), self.deltas("text", 1)
        text = torch.cat([self.encode_text(one[None], deltas) for one in contexts]) if self.each else self.encode_text(contexts, deltas)
        logits = self.scale * (normalised(text) @ normalised(image)[:, :, None])[:, :, 0]
        loss = F.cross_entropy(logits, self.labels)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item()

    def tensors(self):
        return {f"gdpl.{name}": value for name, value in self.own.items()}


make = Gdpl
