"""CoOp training steps: 100 classes, 16 context tokens, batch 32.

as_run      the published code: the image tower in every step, all 77 tokens
cached      image features given
cached_cut  and the tokens after the longest prompt dropped, which is exact under the causal mask
compiled    torch.compile of cached_cut
"""
import torch
from torch.nn import functional as F

from model import ClassPrompts, ImageTower, TextTower, normalised, read_weights


class Coop:
    def __init__(self, inputs):
        data, weights, names = inputs.tensors(), read_weights(inputs.model), inputs.lines("classes")
        classes, images = round(inputs.part * len(names)), round(inputs.part * len(data["labels"]))
        if inputs.variant != "as_run":
            images = len(data["labels"])  # features that are given cost nothing
        self.text = TextTower(weights)
        self.image = ImageTower(weights) if inputs.variant == "as_run" else None
        self.source = data["pixels" if self.image else "image_features"][:images]
        self.labels = data["labels"][:images] % classes
        self.scale = weights["logit_scale"].exp()
        cut = inputs.variant in ("cached_cut", "compiled")
        self.prompts = ClassPrompts(inputs.model, self.text, names[:classes], len(data["context"]), cut)
        self.context = torch.nn.Parameter(data["context"].clone())
        self.optimiser = torch.optim.SGD([self.context], lr=0.002, momentum=0.9, weight_decay=5e-4)
        self.loss = torch.compile(self.plain_loss) if inputs.variant == "compiled" else self.plain_loss

    def plain_loss(self, context, features):
        text = normalised(self.text(self.prompts(context), self.prompts.end))
        return F.cross_entropy(self.scale * normalised(features) @ text.t(), self.labels)

    def round(self):
        features = self.source
        if self.image:
            with torch.no_grad():
                features = self.image(self.source)
        loss = self.loss(self.context, features)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item()

    def tensors(self):
        return {"context": self.context}


make = Coop
