"""Makes the small random models beside this file and what diffusers and transformers compute with them.

Needs torch, diffusers, transformers, safetensors; the tests only need what it writes. Weights are stored as fp16 and
the expected values computed in fp32 from the stored ones.
usage: make.py [unets|vaes|texts|schedulers|indices|published...]
"""
import hashlib
import json
import math
import pathlib
import shutil
import sys

import torch

# A torchvision built for CUDA looks for these operators, which the CPU torch lacks.
OPERATORS = torch.library.Library("torchvision", "DEF")
for operator in ("nms(Tensor a, Tensor b, float c) -> Tensor", "qnms(Tensor a, Tensor b, float c) -> Tensor"):
    OPERATORS.define(operator)

import transformers
from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent
CLIP = HERE.parent.parent / "clip" / "data" / "hf_quick"
ENTRIES, CONTEXT = 640, 24
# v1's form: convolutions as outer layers, one number of heads, stages with and without attention; latents.
V1 = dict(sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1,
          down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
          attention_head_dim=4, cross_attention_dim=12, norm_num_groups=4)
# v2's form: matrices, a list of heads; three stages; pixels.
V2 = dict(sample_size=8, in_channels=3, out_channels=3, block_out_channels=(4, 8, 12), layers_per_block=1,
          down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
          up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=[1, 2, 3],
          cross_attention_dim=10, norm_num_groups=2, use_linear_projection=True, flip_sin_to_cos=False, freq_shift=1)
KEPT = ("conv_in.weight", "time_embedding.linear_1.bias", "conv_norm_out.weight",
        "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", "mid_block.attentions.0.proj_in.weight",
        "up_blocks.0.resnets.0.conv_shortcut.weight")


def shake(model):
    """Weights that are random, far from zero and representable in fp16."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.dim() >= 2 and "embed" not in name:
                value.normal_(0, 1.0 / math.sqrt(value[0].numel()))
            elif value.dim() == 1 and "norm" in name and name.endswith("weight"):
                value.normal_(1.0, 0.1)
            else:
                value.normal_(0, 0.3 if value.dim() >= 2 else 0.1)
            value.copy_(value.half().float())
    return model.eval()


def store(model, folder):
    shutil.rmtree(folder, ignore_errors=True)
    model.half().save_pretrained(folder, safe_serialization=True)
    model.float()


def unet_case(name, seed, size, config):
    torch.manual_seed(seed)
    unet = shake(UNet2DConditionModel(**config))
    store(unet, HERE / name / "unet")
    maps, steps = torch.randn(2, config["in_channels"], *size), torch.tensor([3, 870])
    hidden = torch.randn(2, 5, config["cross_attention_dim"], requires_grad=True)
    weight = torch.randn(2, config["out_channels"], *size)
    out = unet(maps, steps, hidden).sample
    (out * weight).sum().backward()
    gradients = {f"gradient.{n}": p.grad.reshape(p.grad.shape[0], -1).sum(1) for n, p in unet.named_parameters()
                 if n in KEPT}
    save_file({"maps": maps, "steps": steps, "hidden": hidden.detach(), "weight": weight, "predicted": out.detach(),
               "gradient.hidden": hidden.grad, **gradients}, HERE / name / "unet.safetensors")


def unets():
    unet_case("v1", 1, (8, 8), V1)
    # An odd size, whose halves are rounded up.
    unet_case("v2", 2, (7, 6), V2)


def vaes():
    torch.manual_seed(3)
    vae = shake(AutoencoderKL(block_out_channels=(4, 8), down_block_types=("DownEncoderBlock2D",) * 2,
                              up_block_types=("UpDecoderBlock2D",) * 2, layers_per_block=1, norm_num_groups=2,
                              latent_channels=4, sample_size=16))
    store(vae, HERE / "v1" / "vae")
    pixels, latents = torch.rand(2, 3, 16, 12) * 2 - 1, torch.randn(2, 4, 8, 6)
    with torch.no_grad():
        posterior = vae.encode(pixels).latent_dist
        save_file({"pixels": pixels, "latents": latents, "mean": posterior.mean.contiguous(),
                   "log_variance": posterior.logvar.contiguous(), "decoded": vae.decode(latents).sample.contiguous()},
                  HERE / "v1" / "vae.safetensors")


def text_case(name, seed, width, activation, older_names, padding):
    torch.manual_seed(seed)
    folder = HERE / name
    text = shake(transformers.CLIPTextModel(transformers.CLIPTextConfig(
        vocab_size=ENTRIES, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=CONTEXT, hidden_act=activation, bos_token_id=ENTRIES - 2, eos_token_id=ENTRIES - 1,
        pad_token_id=ENTRIES - 1)))
    store(text, folder / "text_encoder")
    if older_names:
        file = folder / "text_encoder" / "model.safetensors"
        save_file({"text_model." + n: t for n, t in load_file(file).items()}, file, {"format": "pt"})
    (folder / "tokenizer").mkdir(exist_ok=True)
    shutil.copyfile(CLIP / "tokenizer.json", folder / "tokenizer" / "tokenizer.json")
    (folder / "tokenizer" / "special_tokens_map.json").write_text(json.dumps({"pad_token": padding}))
    encode = transformers.PreTrainedTokenizerFast(tokenizer_file=str(CLIP / "tokenizer.json"))
    content = padding["content"] if isinstance(padding, dict) else padding
    sentences = ["a photo of a cat", ""]
    ids = [encode(one)["input_ids"] for one in sentences]
    ids = torch.tensor([row + [encode.convert_tokens_to_ids(content)] * (CONTEXT - len(row)) for row in ids])
    embedded = text.embeddings.token_embedding(ids).detach().requires_grad_()
    hook = text.embeddings.token_embedding.register_forward_hook(lambda module, given, out: embedded)
    rows = text(ids).last_hidden_state
    hook.remove()
    weight = torch.randn_like(rows)
    (rows * weight).sum().backward()
    (folder / "sentences.json").write_text(json.dumps(sentences))
    save_file({"ids": ids, "rows": rows.detach(), "weight": weight, "gradient": embedded.grad},
              folder / "text.safetensors")


def texts():
    text_case("v1", 4, 12, "quick_gelu", True, "<|endoftext|>")
    text_case("v2", 5, 10, "gelu", False, {"content": "!", "lstrip": False})


PN = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
SD = dict(PN, clip_sample=False)
CASES = [
    (DDIMScheduler, 12, dict()),
    (DDIMScheduler, 12, dict(SD, set_alpha_to_one=False, steps_offset=1)),
    (DDIMScheduler, 11, dict(SD, prediction_type="v_prediction", timestep_spacing="trailing")),
    (DDIMScheduler, 10, dict(SD, prediction_type="v_prediction", timestep_spacing="trailing",
                             rescale_betas_zero_snr=True)),
    (DDIMScheduler, 13, dict(prediction_type="sample", timestep_spacing="linspace", beta_schedule="squaredcos_cap_v2",
                             clip_sample_range=0.7)),
    (DDIMScheduler, 4, dict(num_train_timesteps=10, trained_betas=[0.01 * (i + 1) for i in range(10)])),
    (DDPMScheduler, 12, dict()),
    (DDPMScheduler, 11, dict(SD, prediction_type="v_prediction", timestep_spacing="trailing")),
    (DDPMScheduler, 10, dict(variance_type="fixed_large", prediction_type="sample", timestep_spacing="linspace")),
    (DDPMScheduler, 10, dict(SD, steps_offset=1)),
    (PNDMScheduler, 14, dict(PN, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1)),
    (PNDMScheduler, 11, dict(PN, skip_prk_steps=True, prediction_type="v_prediction", timestep_spacing="trailing")),
    (PNDMScheduler, 10, dict()),
    (PNDMScheduler, 13, dict(PN, set_alpha_to_one=True, timestep_spacing="linspace", prediction_type="v_prediction")),
    (PNDMScheduler, 1, dict(PN, skip_prk_steps=True)),
]


def network(maps, time):
    """Stands for a network: something smooth that depends on maps and time."""
    return torch.tanh(0.8 * maps + 0.3 * math.cos(time / 100.0))


def trajectory(kind, steps, config):
    scheduler = kind(**config)
    scheduler.set_timesteps(steps)
    maps, way, noise = torch.randn(1, 2, 2, 2), [], []
    first = maps
    for i, time in enumerate(scheduler.timesteps.tolist()):
        options = {}
        if kind is DDPMScheduler:
            options["generator"] = torch.Generator().manual_seed(i)
            noise.append(torch.randn(1, 2, 2, 2, generator=torch.Generator().manual_seed(i)))
        maps = scheduler.step(network(maps, time), time, maps, **options).prev_sample
        way.append(maps)
    clean, drawn, at = torch.randn(3, 2), torch.randn(3, 2), torch.tensor([0, scheduler.config.num_train_timesteps // 2,
                                                                         scheduler.config.num_train_timesteps - 1])
    stored = {"times": scheduler.timesteps, "first": first, "way": torch.stack(way), "clean": clean, "drawn": drawn,
              "at": at, "noisy": scheduler.add_noise(clean, drawn, at)}
    if noise:
        stored["noise"] = torch.stack(noise)
    if hasattr(scheduler, "get_velocity"):
        stored["velocity"] = scheduler.get_velocity(clean, drawn, at)
    return dict(scheduler.config, _class_name=kind.__name__), stored


def schedulers():
    torch.manual_seed(6)
    configs, tensors = [], {}
    for i, (kind, steps, options) in enumerate(CASES):
        config, stored = trajectory(kind, steps, options)
        configs.append({"steps": steps, "scheduler": {k: v for k, v in config.items() if k != "_use_default_values"}})
        tensors.update({f"{i}.{name}": tensor for name, tensor in stored.items()})
    (HERE / "schedulers.json").write_text(json.dumps(configs, indent=1) + "\n")
    save_file(tensors, HERE / "schedulers.safetensors")


def indices():
    PNDMScheduler(**PN, skip_prk_steps=True, steps_offset=1).save_pretrained(HERE / "v1" / "scheduler")
    DDIMScheduler(prediction_type="v_prediction", beta_schedule="squaredcos_cap_v2").save_pretrained(
        HERE / "v2" / "scheduler")
    parts = {"unet": ["diffusers", "UNet2DConditionModel"], "text_encoder": ["transformers", "CLIPTextModel"],
             "tokenizer": ["transformers", "CLIPTokenizer"]}
    for name, own in (("v1", {"_class_name": "StableDiffusionPipeline", "vae": ["diffusers", "AutoencoderKL"],
                              "scheduler": ["diffusers", "PNDMScheduler"]}),
                      ("v2", {"_class_name": "AttunePixelDiffusion", "scheduler": ["diffusers", "DDIMScheduler"]})):
        (HERE / name / "model_index.json").write_text(json.dumps({**own, **parts}, indent=1) + "\n")


SD1 = dict(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
SD2 = dict(sample_size=96, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True,
           upcast_attention=True)
SD_VAE = dict(block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
              up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, sample_size=512)


def published():
    """Names and shapes of the published models' tensors, of which a sum is stored."""
    sums = {}
    for name, kind, config in (("v1.unet", UNet2DConditionModel, SD1), ("v2.unet", UNet2DConditionModel, SD2),
                               ("vae", AutoencoderKL, SD_VAE)):
        with torch.device("meta"):
            tensors = kind(**config).state_dict()
        lines = sorted(f"{n} {' '.join(map(str, t.shape))}" for n, t in tensors.items())
        sums[name] = {"tensors": len(lines), "numbers": sum(t.numel() for t in tensors.values()),
                      "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest()}
    (HERE / "published.json").write_text(json.dumps(sums, indent=1) + "\n")


if __name__ == "__main__":
    for make in (unets, vaes, texts, schedulers, indices, published):
        if len(sys.argv) == 1 or make.__name__ in sys.argv[1:]:
            make()
