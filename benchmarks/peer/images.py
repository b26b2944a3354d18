"""Image features of 1, 8 and 32 pictures: transformers, open_clip, torch.compile, ONNX Runtime."""
import warnings

import numpy as np
import torch

import torchvision_operators  # noqa: F401
from model import ImageTower, read_weights


def transformers_encoder(inputs):
    from transformers import CLIPVisionModelWithProjection
    model = CLIPVisionModelWithProjection.from_pretrained(inputs.model, attn_implementation="sdpa").eval()
    return lambda pixels: model(pixel_values=pixels).image_embeds


def open_clip_encoder(inputs):
    import open_clip
    return open_clip.create_model("local-dir:" + str(inputs.model.with_name("open_clip"))).eval().encode_image


def compiled_encoder(inputs):
    return torch.compile(ImageTower(read_weights(inputs.model)))


def onnxruntime_encoder(inputs):
    import onnxruntime
    path = inputs.model.parent / f"{inputs.case}.onnx"
    if not path.exists():
        temporary = path.with_suffix(".part")
        pixels = inputs.tensors()["pixels"][: batch_of(inputs)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(ImageTower(read_weights(inputs.model)), (pixels,), str(temporary), input_names=["pixels"],
                              external_data=False, dynamo=True, verbose=False)
        temporary.rename(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = inputs.threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda pixels: torch.from_numpy(np.asarray(session.run(None, {"pixels": pixels.numpy()})[0]))


ENCODERS = {"transformers": transformers_encoder, "open_clip": open_clip_encoder, "compiled": compiled_encoder,
            "onnxruntime": onnxruntime_encoder}


def batch_of(inputs):
    return int(inputs.case.rsplit("_", 1)[1])


class Images:
    def __init__(self, inputs):
        self.pixels = inputs.tensors()["pixels"][: batch_of(inputs)].clone()
        self.encode = ENCODERS[inputs.variant](inputs)

    @torch.no_grad()
    def round(self):
        self.features = self.encode(self.pixels)
        return self.features.abs().sum().item()

    def tensors(self):
        return {"features": self.features}


make = Images
