"""Imported before transformers and open_clip: a torchvision built for CUDA looks for two operators that the CPU torch lacks."""
import importlib.metadata

import torch

LIBRARY = None  # the operators live as long as this object
if "+cpu" in torch.__version__ and "+cpu" not in importlib.metadata.version("torchvision"):
    LIBRARY = torch.library.Library("torchvision", "DEF")
    for operator in ("nms(Tensor a, Tensor b, float c) -> Tensor", "qnms(Tensor a, Tensor b, float c) -> Tensor"):
        LIBRARY.define(operator)
