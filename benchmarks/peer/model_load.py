"""From a model folder to the features of one sentence; the driver times the whole process, imports included."""
import torch

import torchvision_operators  # noqa: F401

SENTENCE = "a photo of a dog."


class ModelLoad:
    def __init__(self, inputs):
        self.inputs = inputs

    @torch.no_grad()
    def round(self):
        features = {"transformers": self.transformers, "open_clip": self.open_clip}[self.inputs.variant]()
        self.features = features / features.norm(dim=-1, keepdim=True)
        return self.features.abs().sum().item()

    def transformers(self):
        from transformers import CLIPModel, CLIPTokenizerFast
        model, tokenizer = CLIPModel.from_pretrained(self.inputs.model), CLIPTokenizerFast.from_pretrained(self.inputs.model)
        output = model.get_text_features(**tokenizer([SENTENCE], return_tensors="pt"))
        return output if torch.is_tensor(output) else output.pooler_output

    def open_clip(self):
        import open_clip
        folder = "local-dir:" + str(self.inputs.model.with_name("open_clip"))
        return open_clip.create_model(folder).eval().encode_text(open_clip.get_tokenizer("ViT-B-16-quickgelu")([SENTENCE]))

    def tensors(self):
        return {"features": self.features}


make = ModelLoad
