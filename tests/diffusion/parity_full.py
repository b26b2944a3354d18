"""Compares models of the published sizes, with random weights, with diffusers.

usage: parity_full.py TEST_DIFFUSION [v1|v2...]   TEST_DIFFUSION is the built test program
Each model is made in a temporary folder (2 GB), compared by the program, and removed; it takes 10 GB of memory.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent / "data"))
import make
import torch
from safetensors.torch import save_file

MODELS = {"v1": (make.SD1, 768), "v2": (make.SD2, 1024)}


def expectations(unet, vae, width):
    torch.manual_seed(8)
    side = 32  # a quarter of the cells: enough for every stage to attend
    maps, steps, hidden = torch.randn(1, 4, side, side), torch.tensor([501]), torch.randn(1, 77, width, requires_grad=True)
    weight, latents, pixels = torch.randn_like(maps), torch.randn(1, 4, 8, 8), torch.rand(1, 3, 64, 64) * 2 - 1
    out = unet.float()(maps, steps, hidden).sample
    (out * weight).sum().backward()
    with torch.no_grad():
        decoded, mean = vae.float().decode(latents).sample, vae.encode(pixels).latent_dist.mean
    tensors = dict(maps=maps, steps=steps, hidden=hidden.detach(), weight=weight, latents=latents, pixels=pixels,
                   predicted=out.detach(), gradient=hidden.grad, decoded=decoded, mean=mean)
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


failed = 0
for name in sys.argv[2:] or MODELS:
    config, width = MODELS[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        torch.manual_seed(7)
        unet = make.UNet2DConditionModel(**config).eval().requires_grad_(False)
        vae = make.AutoencoderKL(**make.SD_VAE).eval().requires_grad_(False)
        make.store(unet, folder / "unet")
        make.store(vae, folder / "vae")
        make.PNDMScheduler(**make.PN, skip_prk_steps=True).save_pretrained(folder / "scheduler")
        (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
        save_file(expectations(unet, vae, width), folder / "expected.safetensors")
        del unet, vae
        run = subprocess.run([sys.argv[1], "--gtest_filter=FullSizeSlow.*"], capture_output=True, text=True,
                             env=os.environ | {"ATTUNE_DIFFUSION_FOLDER": str(folder)})
    failed |= run.returncode
    print(name, *[line for line in run.stdout.splitlines() if "relative error" in line], flush=True)
    if run.returncode:
        print(run.stdout, run.stderr)
sys.exit(failed)
