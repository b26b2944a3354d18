"""Makes clipseg/, a small random segmenter, and clipseg.safetensors: what transformers answers for it and for one with the
complex head, and the steps of an independent implementation of the search for embeddings.

    python make_clipseg.py

Needs torch, transformers, safetensors, Pillow. Weights are stored as fp16, expected values are of fp32.
"""
import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file

from small_models import shake, tokens  # first: without it transformers may not import
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

HERE = pathlib.Path(__file__).parent
MEAN, DEVIATION = [0.5, 0.4, 0.45], [0.25, 0.3, 0.28]
SIDE, OWN = 32, 24  # of the input, and of the tower of the plain one


def segmenter(folder, complex_head):
    config = CLIPSegConfig(
        projection_dim=24, reduce_dim=16, decoder_num_attention_heads=2, decoder_intermediate_size=20, extract_layers=[0, 2],
        conditional_layer=1 if complex_head else 0, use_complex_transposed_convolution=complex_head,
        text_config={"vocab_size": 640, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
                     "max_position_embeddings": 16, "bos_token_id": 638, "eos_token_id": 639, "pad_token_id": 639},
        vision_config={"hidden_size": 20, "intermediate_size": 28, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 16 if complex_head else OWN,
                       "patch_size": 16 if complex_head else 8, "hidden_act": "gelu" if complex_head else "quick_gelu"})
    model = CLIPSegForImageSegmentation(config).eval()
    shake(model)
    model.half().save_pretrained(folder)
    shutil.copy(HERE.parent.parent / "clip/data/hf_quick/tokenizer.json", folder / "tokenizer.json")
    (folder / "preprocessor_config.json").write_text(json.dumps(
        {"size": {"height": SIDE, "width": SIDE}, "resample": 2, "image_mean": MEAN, "image_std": DEVIATION}, indent=2) + "\n")
    return CLIPSegForImageSegmentation.from_pretrained(folder, dtype=torch.float32).eval()


def answers(model, pixels, ids, name):
    with torch.no_grad():
        named = model(input_ids=ids, pixel_values=pixels)
    conditions = (torch.randn(len(pixels), 24) * 2).requires_grad_()
    weights = torch.randn(named.logits.shape)
    given = model(pixel_values=pixels, conditional_embeddings=conditions).logits
    gradient, = torch.autograd.grad((given * weights).sum(), conditions)
    tensors = {"conditions": named.conditional_embeddings, "named": named.logits, "given": conditions, "logits": given, "weights": weights, "gradient": gradient}
    return {f"{name}.{key}": value.detach().contiguous() for key, value in tensors.items()}


def overlap_loss(logits, target):
    """Per-pixel cross-entropy and 1 - Dice, of each picture."""
    p = torch.sigmoid(logits)
    entropy = -(target * torch.log(p) + (1 - target) * torch.log(1 - p)).mean((1, 2))
    dice = 1 - (2 * (p * target).sum((1, 2)) + 1) / (p.sum((1, 2)) + target.sum((1, 2)) + 1)
    return entropy, dice


def search(model, levels):
    """Ten steps of AdamW on embeddings of two concepts; picture i shows concept i % 2, the last one is the first mirrored."""
    targets = (torch.rand(4, SIDE, SIDE) < 0.3).float()
    levels = torch.cat([levels, levels[:1].flip(3)])
    pictures = (levels / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)
    embeddings = torch.nn.Parameter(torch.randn(2, 24))
    start = embeddings.detach().clone()
    optimiser = torch.optim.AdamW([embeddings], lr=0.05, weight_decay=0.0)
    losses, states = [], []
    for step in range(10):
        batch = [(2 * step) % 4, (2 * step + 1) % 4]
        entropy, dice = overlap_loss(model(pixel_values=pictures[batch], conditional_embeddings=embeddings[[i % 2 for i in batch]]).logits, targets[batch])
        loss = (entropy + dice).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append([loss.item(), entropy.mean().item(), dice.mean().item()])
        states.append(embeddings.detach().clone())
    return {"search.targets": targets.to(torch.uint8), "search.start": start, "search.losses": torch.tensor(losses),
            "search.states": torch.stack(states)}


def main():
    torch.manual_seed(0)
    plain, detailed = segmenter(HERE / "clipseg", False), segmenter(HERE / "clipseg_complex", True)
    ids, _ = tokens(HERE / "clipseg", 639)
    levels = torch.randint(0, 256, (3, 3, SIDE, SIDE), dtype=torch.uint8)
    pixels = levels.float() / 127.5 - 1
    own = torch.randint(0, 256, (3, 3, OWN, OWN), dtype=torch.uint8)
    tensors = {"levels": levels, "own.levels": own}
    tensors |= answers(plain, pixels, ids, "plain") | answers(detailed, pixels, ids, "complex")
    tensors |= answers(plain, own.float() / 127.5 - 1, ids, "own")  # the tower's own size: positions as they are
    tensors |= search(plain, levels)
    save_file(tensors, HERE / "clipseg.safetensors")
    for path in HERE.glob("clipseg*/model.safetensors"):
        path.chmod(0o644)
    (HERE / "clipseg.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
