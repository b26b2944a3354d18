"""Makes the small random domain models beside this file and what transformers computes with them.

Needs torch, transformers and safetensors; the tests only need what it writes. Weights are stored as fp16 and the
expected values computed in fp32 from the stored ones.
"""
import json
import pathlib
import shutil

import torch

# A torchvision built for CUDA looks for these operators, which the CPU torch lacks.
OPERATORS = torch.library.Library("torchvision", "DEF")
for operator in ("nms(Tensor a, Tensor b, float c) -> Tensor", "qnms(Tensor a, Tensor b, float c) -> Tensor"):
    OPERATORS.define(operator)

import transformers
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent
SHAPE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "patch_size": 8}
DECODER = {"decoder_hidden_size": 16, "decoder_num_hidden_layers": 2, "decoder_num_attention_heads": 2,
           "decoder_intermediate_size": 20}


def shaken(model):
    """Weights that are random, far from zero and representable in fp16."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            scale = 0.5 if "lambda" in name or "norm" in name else 0.2
            shift = 1.0 if ("norm" in name and name.endswith("weight")) or "lambda" in name else 0.0
            value.copy_((torch.randn_like(value) * scale + shift).half().float())
    return model.eval()


def write(name, model, processor):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    save_file({key: value.half() for key, value in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config.pop("transformers_version")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    processor = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3} | processor
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")


def square(side):
    return {"size": {"height": side, "width": side}}


def vit(expected, pixels):
    config = transformers.ViTConfig(**SHAPE, intermediate_size=40, image_size=32, num_labels=7)
    model = shaken(transformers.ViTForImageClassification(config))
    write("vit", model, square(32))
    rows = model.vit(pixels).last_hidden_state
    expected |= {"vit.class": rows[:, 0], "vit.mean": rows[:, 1:].mean(1), "vit.classifier": model(pixels).logits}
    config.qkv_bias = False
    model = shaken(transformers.ViTModel(config, add_pooling_layer=False))
    write("vit_bare", model, square(32))
    expected["vit_bare.class"] = model(pixels).last_hidden_state[:, 0]


def stored_name(name):
    """The name of a parameter in the folders that are in use; in memory newer releases have others."""
    for new, stored in (("vit.layers.", "vit.encoder.layer."), ("attention.q_proj", "attention.attention.query"),
                        ("attention.k_proj", "attention.attention.key"),
                        ("attention.v_proj", "attention.attention.value"),
                        ("attention.o_proj", "attention.output.dense"), ("mlp.fc1", "intermediate.dense"),
                        ("mlp.fc2", "output.dense")):
        name = name.replace(new, stored)
    return name


def vit_mae(expected, pixels):
    config = transformers.ViTMAEConfig(**SHAPE, **DECODER, intermediate_size=40, image_size=32, mask_ratio=0.0,
                                       norm_pix_loss=True, layer_norm_eps=1e-6)
    model = shaken(transformers.ViTMAEForPreTraining(config))
    rows = model.vit(pixels).last_hidden_state
    expected |= {"vit_mae.class": rows[:, 0], "vit_mae.mean": rows[:, 1:].mean(1),
                 "vit_mae.decoder": model.decoder.decoder_embed(rows[:, 1:]).mean(1)}
    config.mask_ratio = 0.75
    write("vit_mae", model, square(32))
    fresh = transformers.ViTMAEForPreTraining(config)
    fresh.decoder.initialize_weights(16)
    # One step of pre-training with a given mask: loss, reconstruction and every gradient.
    noise = torch.rand(len(pixels), 16)
    model.train()
    outputs = model(pixels, noise=noise)
    outputs.loss.backward()
    step = {"noise": noise, "loss": outputs.loss.detach().reshape(1), "logits": outputs.logits.detach(),
            "mask": outputs.mask, "positions": fresh.decoder.decoder_pos_embed.detach()}
    for name, value in model.named_parameters():
        if value.grad is not None:
            step["gradient." + stored_name(name)] = value.grad
    save_file({key: value.contiguous() for key, value in step.items()}, HERE / "mae_step.safetensors")


def dinov2(expected, pixels):
    config = transformers.Dinov2Config(**SHAPE, mlp_ratio=2, image_size=56)
    model = shaken(transformers.Dinov2Model(config))
    write("dinov2", model, {"do_center_crop": True, "crop_size": {"height": 32, "width": 32},
                            "size": {"shortest_edge": 36}})
    rows = model(pixels).last_hidden_state
    expected |= {"dinov2.class": rows[:, 0], "dinov2.mean": rows[:, 1:].mean(1)}


def sam(expected):
    config = transformers.SamVisionConfig(**SHAPE, mlp_dim=40, image_size=80, window_size=4, global_attn_indexes=[1],
                                          output_channels=12)
    model = shaken(transformers.SamVisionModel(config))
    write("sam", model, {"size": {"longest_edge": 80}})
    pixels = torch.randn(2, 3, 80, 80)
    expected |= {"sam.pixels": pixels, "sam.mean": model(pixels).last_hidden_state.mean((2, 3))}


def main():
    torch.manual_seed(0)
    pixels = torch.randn(3, 3, 32, 32)
    expected = {"pixels": pixels}
    with torch.no_grad():
        vit(expected, pixels)
        dinov2(expected, pixels)
        sam(expected)
    vit_mae(expected, pixels)
    save_file({key: value.detach().contiguous() for key, value in expected.items()}, HERE / "expected.safetensors")


if __name__ == "__main__":
    main()
