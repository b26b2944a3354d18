"""CoCoOp training steps: 100 classes, 4 context tokens, batch 1, 77 tokens, a loop over the images as in the published code.

The image feature is given: the published code computes it in every step, which would only add to its time.
"""
import torch
from torch import nn
from torch.nn import functional as F

from model import ClassPrompts, TextTower, normalised, read_weights


class Cocoop:
    def __init__(self, inputs):
        data, weights, names = inputs.tensors(), read_weights(inputs.model), inputs.lines("classes")
        classes = round(inputs.part * len(names))
        self.text, self.scale = TextTower(weights), weights["logit_scale"].exp()
        self.images, self.labels = normalised(data["image_features"][:1]), data["labels"][:1] % classes
        self.prompts = ClassPrompts(inputs.model, self.text, names[:classes], len(data["cocoop_context"]), cut=False)
        self.context = nn.Parameter(data["cocoop_context"].clone())
        self.meta = nn.Sequential()
        self.meta.add_module("linear1", nn.Linear(512, 32))
        self.meta.add_module("relu", nn.ReLU())
        self.meta.add_module("linear2", nn.Linear(32, 512))
        self.meta.load_state_dict({name[5:]: value for name, value in data.items() if name.startswith("meta.")})
        self.optimiser = torch.optim.SGD([self.context, *self.meta.parameters()], lr=0.002, momentum=0.9, weight_decay=5e-4)

    def round(self):
        logits = []
        for image, shift in zip(self.images, self.meta(self.images)):
            text = normalised(self.text(self.prompts(self.context + shift), self.prompts.end))
            logits.append(self.scale * image @ text.t())
        loss = F.cross_entropy(torch.stack(logits), self.labels)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item()

    def tensors(self):
        return {"context": self.context} | {f"meta.{name}": value for name, value in self.meta.named_parameters()}


make = Cocoop
