"""Writes contrastive.safetensors: the symmetric soft-target contrastive loss of random features and its gradients.

python contrastive.py; needs torch and safetensors.
"""
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file


def main():
    torch.manual_seed(0)
    images, texts = torch.randn(6, 5, requires_grad=True), torch.randn(6, 5, requires_grad=True)
    scale = torch.tensor(7.0, requires_grad=True)
    keys = torch.tensor([3, 1, 3, 0, 1, 3])
    same = (keys[:, None] == keys).float()
    targets = same / same.sum(1, keepdim=True)
    logits = scale * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    # cross_entropy takes probabilities as targets: an independent statement of the same loss.
    loss = (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
    distinct = torch.arange(6)
    plain = (F.cross_entropy(logits, distinct) + F.cross_entropy(logits.T, distinct)) / 2
    loss.backward()
    similar = F.cosine_similarity(images[:, None], images[None], dim=2)
    save_file({"images": images.detach(), "texts": texts.detach(), "scale": scale.detach().reshape(1), "keys": keys,
               "loss": loss.detach().reshape(1), "plain": plain.detach().reshape(1), "images.gradient": images.grad,
               "texts.gradient": texts.grad, "scale.gradient": scale.grad.reshape(1),
               "cosine": ((similar.sum() - 6) / 30).detach().reshape(1)}, Path(__file__).parent / "contrastive.safetensors")


if __name__ == "__main__":
    main()
