"""Makes the diffusers folders and the expectations of tests/diffusion: python make.py (torch, diffusers, transformers)."""
import json
import os
import shutil
import sys

import torch

# A torchvision built for CUDA looks for these operators, which the CPU torch lacks.
OPERATORS = torch.library.Library("torchvision", "DEF")
for operator in ("nms(Tensor a, Tensor b, float c) -> Tensor", "qnms(Tensor a, Tensor b, float c) -> Tensor"):
    OPERATORS.define(operator)

from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))


def half(model):
    """Numbers that half precision holds, so that the stored files are small and exact."""
    for p in model.state_dict().values():
        if p.is_floating_point():
            p.copy_(p.half().float())
    return model


def store(model, folder):
    model.half().save_pretrained(folder, safe_serialization=True)
    model.float()


def unet_case(name, seed, size, **config):
    torch.manual_seed(seed)
    unet = half(UNet2DConditionModel(**config)).eval()
    folder = os.path.join(HERE, name, "unet")
    shutil.rmtree(folder, ignore_errors=True)
    store(unet, folder)
    maps = torch.randn(2, config["in_channels"], *size)
    steps = torch.tensor([3, 870])
    hidden = torch.randn(2, 5, config["cross_attention_dim"], requires_grad=True)
    weight = torch.randn(2, config["out_channels"], *size)
    out = unet(maps, steps, hidden).sample
    (out * weight).sum().backward()
    keep = [n for n, _ in unet.named_parameters() if n in (
        "conv_in.weight", "time_embedding.linear_1.bias", "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight",
        "mid_block.attentions.0.proj_in.weight", "up_blocks.0.resnets.0.conv_shortcut.weight", "conv_norm_out.weight")]
    grads = {f"gradient.{n}": p.grad.reshape(p.grad.shape[0], -1).sum(1) for n, p in unet.named_parameters() if n in keep}
    save_file({"maps": maps, "steps": steps, "hidden": hidden.detach(), "weight": weight, "predicted": out.detach(),
               "gradient.hidden": hidden.grad, **grads}, os.path.join(HERE, name, "unet.safetensors"))


def unets():
    # v1's form: convolutions as outer layers, one number of heads, stages with and without attention.
    unet_case("v1", 1, (8, 8), sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16),
              down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
              layers_per_block=1, attention_head_dim=4, cross_attention_dim=12, norm_num_groups=4)
    # v2's form: matrices, a list of heads; an odd size, whose halves are rounded up; three stages.
    unet_case("v2", 2, (7, 6), sample_size=8, in_channels=3, out_channels=3, block_out_channels=(4, 8, 12),
              down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
              up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), layers_per_block=1,
              attention_head_dim=[1, 2, 3], cross_attention_dim=10, norm_num_groups=2, use_linear_projection=True,
              flip_sin_to_cos=False, freq_shift=1)


if __name__ == "__main__":
    chosen = sys.argv[1:]
    for make in (unets,):
        if not chosen or make.__name__ in chosen:
            make()
