"""Makes the small random models beside this file and what transformers and open_clip compute with them.

Needs torch, transformers, open_clip_torch, safetensors; the tests only need what it writes. Weights are stored as fp16
and the expected values computed in fp32 from the stored ones.
"""
import json
import math
import pathlib

import torch

# A torchvision built for CUDA looks for these operators, which the CPU torch lacks.
OPERATORS = torch.library.Library("torchvision", "DEF")
for operator in ("nms(Tensor a, Tensor b, float c) -> Tensor", "qnms(Tensor a, Tensor b, float c) -> Tensor"):
    OPERATORS.define(operator)

import open_clip
import transformers
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent.parent
ENTRIES = 640
SENTENCES = ["a photo of a cat.", "itap of the large bird", "", "a drawing of 3 red leaves, upside down!", "x",
             "a sentence that is a good deal longer than the others, to have suffixes of many lengths"]
CONTEXT = 4


def tokenizer():
    """The shipped tokenizer, cut to its first entries."""
    table = json.loads((ROOT / "models/pocket/tokenizer.json").read_text())
    vocabulary = list(table["model"]["vocab"])[: ENTRIES - 2] + ["<|startoftext|>", "<|endoftext|>"]
    table["model"]["vocab"] = {token: i for i, token in enumerate(vocabulary)}
    known = set(vocabulary)
    table["model"]["merges"] = [m for m in table["model"]["merges"] if "".join(m) in known]
    for i, token in enumerate(table["added_tokens"]):
        token["id"] = ENTRIES - 2 + i
    table["post_processor"]["cls"][1] = ENTRIES - 2
    table["post_processor"]["sep"][1] = ENTRIES - 1
    return json.dumps(table, ensure_ascii=False)


def shake(model):
    """Weights that are random, far from zero and representable in fp16."""
    with torch.no_grad():
        for name, value in list(model.named_parameters()) + list(model.named_buffers()):
            if not value.is_floating_point() or name == "attn_mask" or name.endswith("logit_scale"):
                continue
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif value.dim() >= 2 and "embed" not in name:
                value.normal_(0, 1.0 / math.sqrt(value[0].numel()))
            elif name.endswith("weight") and value.dim() == 1:
                value.normal_(1.0, 0.1)
            else:
                value.normal_(0, 0.3 if value.dim() >= 2 else 0.1)
            value.copy_(value.half().float())


def pixels(size):
    return torch.randn(2, 3, size, size).half().float()


def ids_of(folder, length=77):
    encode = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    rows = [encode(text)["input_ids"] for text in SENTENCES]
    return torch.tensor([row + [0] * (length - len(row)) for row in rows]), torch.tensor([len(r) for r in rows])


def context_gradient(embedding, encode, ids, width):
    """Gradient of a random projection of the features of [start, context, text, end] in the padded computation."""
    context = (0.5 * torch.randn(CONTEXT, width)).requires_grad_()
    longer = torch.cat([ids[:, :1], torch.full((len(ids), CONTEXT), 5), ids[:, 1:-CONTEXT]], 1)
    hook = embedding.register_forward_hook(lambda module, given, out: torch.cat(
        [out[:, :1], context.expand(len(ids), -1, -1), out[:, 1 + CONTEXT:]], 1))
    features = encode(longer)
    hook.remove()
    weights = torch.randn_like(features)
    (features * weights).sum().backward()
    return {"context": context.detach(), "context_features": features.detach(), "projection": weights,
            "context_gradient": context.grad}


def save(folder, expected):
    save_file({name: value.contiguous() for name, value in expected.items()}, str(folder / "expected.safetensors"))
    (folder / "sentences.json").write_text(json.dumps(SENTENCES) + "\n")


def hugging_face(folder, activation, end, text, vision, width):
    """A Hugging Face folder; text and vision hold (width, hidden, layers, heads), vision (image size, patch) too."""
    torch.manual_seed(len(folder.name))
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(tokenizer())
    sizes = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size")
    text_config = dict(zip(sizes, text), vocab_size=ENTRIES, max_position_embeddings=77, hidden_act=activation,
                       bos_token_id=ENTRIES - 2, eos_token_id=end, pad_token_id=1)
    vision_config = dict(zip(sizes, vision), hidden_act=activation)
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text_config, vision_config=vision_config,
                                                           projection_dim=width))
    model.eval()
    shake(model)
    model.half().save_pretrained(folder)
    model.float()
    ids, lengths = ids_of(folder)

    def encode(rows):
        pooled = model.text_model(input_ids=rows).pooler_output
        return model.text_projection(pooled)

    image = pixels(vision[4])
    with torch.no_grad():
        seen = model.vision_model(pixel_values=image)
        expected = {"pixels": image, "ids": ids, "lengths": lengths, "text": encode(ids),
                    "image": model.visual_projection(seen.pooler_output),
                    "local": model.visual_projection(model.vision_model.post_layernorm(seen.last_hidden_state[:, 1:]))}
    expected |= context_gradient(model.text_model.embeddings.token_embedding, encode, ids, text[0])
    save(folder, expected)


def local_of_pool(pool, maps):
    """CLIP's attention pool with every token as a query."""
    x = maps.flatten(2).permute(2, 0, 1)
    x = torch.cat([x.mean(0, keepdim=True), x]) + pool.positional_embedding[:, None]
    out, _ = torch.nn.functional.multi_head_attention_forward(
        x, x, x, x.shape[-1], pool.num_heads, None, torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]),
        None, None, False, 0, pool.c_proj.weight, pool.c_proj.bias, use_separate_proj_weight=True,
        q_proj_weight=pool.q_proj.weight, k_proj_weight=pool.k_proj.weight, v_proj_weight=pool.v_proj.weight,
        training=False, need_weights=False)
    return out[1:].transpose(0, 1)


def open_clip_folder(folder, quick, text, vision, width):
    """An OpenCLIP folder; text holds (width, heads, layers), vision is its section of the configuration."""
    torch.manual_seed(len(folder.name))
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(tokenizer())
    config = {"embed_dim": width, "quick_gelu": quick, "vision_cfg": vision,
              "text_cfg": {"context_length": 77, "vocab_size": ENTRIES} | dict(zip(("width", "heads", "layers"), text))}
    model = open_clip.CLIP(**config)
    model.eval()
    shake(model)
    state = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()
             if k != "attn_mask"}
    save_file({k: v.contiguous() for k, v in state.items()}, str(folder / "open_clip_model.safetensors"))
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bicubic",
                  "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}, indent=1) + "\n")
    ids, lengths = ids_of(folder)
    image = pixels(vision["image_size"])
    with torch.no_grad():
        expected = {"pixels": image, "ids": ids, "lengths": lengths, "text": model.encode_text(ids),
                    "image": model.encode_image(image)}
        if isinstance(vision["layers"], list):
            maps = {}
            hook = model.visual.layer4.register_forward_hook(lambda m, i, out: maps.update(out=out))
            model.encode_image(image)
            hook.remove()
            expected["local"] = local_of_pool(model.visual.attnpool, maps["out"])
    expected |= context_gradient(model.token_embedding, model.encode_text, ids, text[0])
    save(folder, expected)


if __name__ == "__main__":
    small_text, small_vision = (32, 64, 3, 4), (48, 96, 2, 4, 32, 8)
    hugging_face(HERE / "hf_quick", "quick_gelu", 2, small_text, small_vision, 24)
    hugging_face(HERE / "hf_gelu", "gelu", ENTRIES - 1, small_text, small_vision, 24)
    open_clip_folder(HERE / "open_clip_vit", True, (32, 4, 3),
                     {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}, 24)
    open_clip_folder(HERE / "open_clip_resnet", False, (32, 4, 3),
                     {"image_size": 64, "layers": [1, 2, 1, 1], "width": 4, "patch_size": None}, 24)
