"""What the scripts beside this file share: a torchvision that imports, random weights, sentences and their tokens."""
import math

import torch
from transformers import PreTrainedTokenizerFast

# A torchvision built for CUDA looks for these operators, which the CPU torch lacks.
OPERATORS = torch.library.Library("torchvision", "DEF")
for operator in ("nms(Tensor a, Tensor b, float c) -> Tensor", "qnms(Tensor a, Tensor b, float c) -> Tensor"):
    OPERATORS.define(operator)

SENTENCES = ["a photo of a cat", "itap of the large bird", "3 red leaves!"]


def shake(model):
    """Weights that are random, far from zero and representable in fp16."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("logit_scale"):
                continue
            if value.dim() >= 2 and "embedding" not in name:
                value.normal_(0, 1.0 / math.sqrt(value[0].numel()))
            elif name.endswith("weight") and value.dim() == 1:
                value.normal_(1.0, 0.1)
            else:
                value.normal_(0, 0.3 if value.dim() >= 2 else 0.1)
            value.copy_(value.half().float())


def tokens(folder, padding):
    """(ids, mask), 16 of each a sentence."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    ids = torch.full((len(SENTENCES), 16), padding)
    mask = torch.zeros_like(ids)
    for row, sentence in enumerate(SENTENCES):
        found = tokenizer(sentence)["input_ids"]
        ids[row, :len(found)], mask[row, :len(found)] = torch.tensor(found), 1
    return ids, mask
