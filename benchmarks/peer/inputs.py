"""Makes what every side of every case reads: a model folder of full size with random weights, tensors, names and photos.

  python inputs.py FOLDER

Writes FOLDER/model (transformers), FOLDER/open_clip (the same weights), FOLDER/inputs.safetensors, classes.txt, classes65.txt,
templates80.txt and photos.txt. Photos are the first of the sets in the folder that ATTUNE_REAL_DATA names, else drawings.
"""
import gzip
import json
import os
import pathlib
import shutil
import sys

import numpy as np
import torch
import torchvision_operators  # noqa: F401
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizerFast

import names

ROOT = pathlib.Path(__file__).resolve().parents[2]
MERGES = ROOT / "tests" / "text" / "data" / "clip_merges.txt.gz"
START, END = "<|startoftext|>", "<|endoftext|>"
LN_100 = float(np.log(100.0))
PREPROCESS = {"crop_size": 224, "do_center_crop": True, "do_normalize": True, "do_resize": True, "resample": 3, "size": 224,
              "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073],
              "image_std": [0.26862954, 0.26130258, 0.27577711]}


def write_tokenizer(folder):
    merges = [tuple(line.split()) for line in gzip.open(MERGES, "rt", encoding="utf-8").read().split("\n")[1:] if line]
    printing = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = [chr(b) for b in printing] + [chr(256 + i) for i in range(256 - len(printing))]
    entries = symbols + [s + "</w>" for s in symbols] + [a + b for a, b in merges] + [START, END]
    vocabulary = {entry: i for i, entry in enumerate(entries)}
    assert len(vocabulary) == 49408
    CLIPTokenizerFast(vocab=vocabulary, merges=merges).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, merges)) + "\n")


def make_model(folder):
    """openai/clip-vit-base-patch16's configuration with weights from a fixed seed."""
    text = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407, "hidden_act": "quick_gelu"}
    vision = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "patch_size": 16, "hidden_act": "quick_gelu"}
    torch.manual_seed(1)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=512, logit_scale_init_value=LN_100)).eval()
    model.save_pretrained(folder)
    write_tokenizer(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESS))
    return model


def open_clip_state(state):
    """Weights of a transformers CLIPModel under open_clip's names."""
    result = {"logit_scale": state["logit_scale"], "token_embedding.weight": state["text_model.embeddings.token_embedding.weight"],
              "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
              "text_projection": state["text_projection.weight"].t(), "visual.proj": state["visual_projection.weight"].t(),
              "visual.conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
              "visual.class_embedding": state["vision_model.embeddings.class_embedding"],
              "visual.positional_embedding": state["vision_model.embeddings.position_embedding.weight"]}
    pairs = {"ln_final": "text_model.final_layer_norm", "visual.ln_pre": "vision_model.pre_layrnorm",
             "visual.ln_post": "vision_model.post_layernorm"}
    for ours, theirs in (("", "text_model"), ("visual.", "vision_model")):
        for i in range(12):
            block, layer = f"{ours}transformer.resblocks.{i}", f"{theirs}.encoder.layers.{i}"
            pairs |= {f"{block}.ln_1": f"{layer}.layer_norm1", f"{block}.ln_2": f"{layer}.layer_norm2",
                      f"{block}.mlp.c_fc": f"{layer}.mlp.fc1", f"{block}.mlp.c_proj": f"{layer}.mlp.fc2",
                      f"{block}.attn.out_proj": f"{layer}.self_attn.out_proj"}
            for kind in ("weight", "bias"):
                parts = [state[f"{layer}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
                result[f"{block}.attn.in_proj_{kind}"] = torch.cat(parts)
    result |= {f"{a}.{kind}": state[f"{b}.{kind}"] for a, b in pairs.items() for kind in ("weight", "bias")}
    return {name: value.contiguous() for name, value in result.items()}


def make_open_clip(folder, state):
    folder.mkdir()
    towers = {"embed_dim": 512, "quick_gelu": True,
              "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 16},
              "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}}
    views = {"mean": PREPROCESS["image_mean"], "std": PREPROCESS["image_std"], "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": towers, "preprocess_cfg": views}))
    save_file(open_clip_state(state), folder / "open_clip_model.safetensors")


def gdpl_start(scaled):
    """Learned tensors of GDPL at depth 9 and rank 4, by the names that Attune stores them under."""
    text, image, rank = 512, 768, 4
    start = {"context": scaled(0.02, 2, text), "relation": scaled(0.1, 2, 2), "coupling.0.weight": scaled(0.03, image, text),
             "coupling.0.bias": scaled(0.03, image), "meta_net.1.weight": scaled(0.03, 32, 512), "meta_net.1.bias": scaled(0.03, 32),
             "meta_net.2.weight": scaled(0.1, text, 32), "meta_net.2.bias": scaled(0.03, text)}
    for block in range(9):
        out = image if block else text
        start |= {f"mix.{block}.{part}": scaled(0.03, 256, out // 4) for part in "rijk"} | {f"mix.{block}.bias": scaled(0.01, out)}
        if block:
            start[f"text.{block}"] = scaled(0.02, 2, text)
        for tower, width in (("text", text), ("image", image)):
            name = f"lora.{tower}.{block}"
            start |= {f"{name}.down": scaled(0.03, rank, width), f"{name}.up": scaled(0.03, 3 * width, rank), f"{name}.singular": 1 + scaled(0.1, rank),
                      f"{name}.out.down": scaled(0.03, rank, width), f"{name}.out.up": scaled(0.01, width, rank)}
    return {f"gdpl.{name}": value for name, value in start.items()}


def make_tensors(path, model):
    draw = torch.Generator().manual_seed(2)
    scaled = lambda std, *shape: std * torch.randn(*shape, generator=draw)
    pixels = scaled(1.0, 32, 3, 224, 224)
    with torch.no_grad():
        output = model.get_image_features(pixel_values=pixels)
    features = output if torch.is_tensor(output) else output.pooler_output
    bound = lambda inputs, *shape: (2 * torch.rand(*shape, generator=draw) - 1) / inputs**0.5
    save_file({
        "context": scaled(0.02, 16, 512), "pixels": pixels, "image_features": features.contiguous(),
        "labels": torch.randint(0, 100, (32,), generator=draw),
        "cocoop_context": scaled(0.02, 4, 512),
        "meta.linear1.weight": bound(512, 32, 512), "meta.linear1.bias": bound(512, 32),
        "meta.linear2.weight": bound(32, 512, 32), "meta.linear2.bias": bound(32, 512),
        "prompts": scaled(0.02, 100, 4, 512), "spg_image_features": scaled(1.0, 100, 512)} | gdpl_start(scaled), path)


def draw_photo(path, number):
    """A picture of 640 x 480 with edges, gradients and grain, so that the JPEG has about the size of a photograph."""
    draw = np.random.default_rng(number)
    y, x = np.mgrid[0:480, 0:640]
    image = Image.fromarray(np.stack([(x * 255 // 640), (y * 255 // 480), ((x + y) % 256)], -1).astype(np.uint8))
    canvas = ImageDraw.Draw(image)
    for _ in range(40):
        left, top, width, height = draw.integers(0, 400, 4)
        canvas.ellipse([left, top, left + width + 5, top + height + 5], fill=tuple(int(v) for v in draw.integers(0, 256, 3)))
    grain = np.asarray(image).astype(np.int16) + draw.normal(0, 12, (480, 640, 3)).astype(np.int16)
    Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(path, quality=88)


def photos(folder, final):
    """64 paths: half of each set of real photographs, else as many drawings, written to `folder`, which will be `final`."""
    real = os.environ.get("ATTUNE_REAL_DATA")
    found = [p for name in ("bccd", "grocery") for p in sorted((pathlib.Path(real) / name).rglob("*.jpg"))[::10][:32]] if real else []
    if len(found) == 64:
        return [str(path.resolve()) for path in found]
    (folder / "photos").mkdir()
    for number in range(64):
        draw_photo(folder / "photos" / f"{number}.jpg", number)
    return [str(final / "photos" / f"{number}.jpg") for number in range(64)]


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    temporary = folder.with_name(folder.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    model = make_model(temporary / "model")
    make_open_clip(temporary / "open_clip", load_file(temporary / "model" / "model.safetensors"))
    make_tensors(temporary / "inputs.safetensors", model)
    classes, templates = names.imagenet()
    office = [name.replace("_", " ") for name in names.OFFICE_HOME]
    assert len(templates) == 80 and len(office) == 65
    lists = {"classes": classes[:100], "classes65": office, "templates80": templates, "photos": photos(temporary, folder)}
    for name, lines in lists.items():
        (temporary / f"{name}.txt").write_text("\n".join(lines) + "\n")
    temporary.rename(folder)


main()
