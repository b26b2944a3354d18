"""Inference with one generated prompt an image: for each image the prompts of all 65 classes, 77 tokens, as in SPG's published code."""
import torch

from model import ClassPrompts, TextTower, normalised, read_weights


class Spg:
    def __init__(self, inputs):
        data, weights = inputs.tensors(), read_weights(inputs.model)
        images = round(inputs.part * len(data["prompts"]))
        self.contexts, self.images = data["prompts"][:images], normalised(data["spg_image_features"][:images])
        self.text, self.scale = TextTower(weights), weights["logit_scale"].exp()
        self.prompts = ClassPrompts(inputs.model, self.text, inputs.lines("classes65"), self.contexts.shape[1], cut=False)

    @torch.no_grad()
    def round(self):
        rows = []
        for context, image in zip(self.contexts, self.images):
            text = normalised(self.text(self.prompts(context), self.prompts.end))
            rows.append(self.scale * image @ text.t())
        self.logits = torch.stack(rows)
        return self.logits.abs().sum().item()

    def tensors(self):
        return {"logits": self.logits}


make = Spg
