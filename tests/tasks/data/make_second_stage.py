"""Makes second_stage.safetensors: three steps of an independent implementation of the second stage, in which every weight of
the detector's image side (owl_vit/, made by make_owl_vit.py) and the embeddings are fine-tuned on boxes/.

    python make_second_stage.py

Needs torch, transformers, scipy, Pillow, safetensors.
"""
import json

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.optimize import linear_sum_assignment

from make_owl_vit import BOXES, FOLDER, HERE, SIDE, OwlViTForObjectDetection, OwlViTImageProcessorPil, corners, focal, overlaps

BATCHES = [[0, 1], [2, 0], [1, 2]]
RATE, DECAY, CLIP = 1e-3, 0.05, 1.0
KEPT = ["layer_norm.weight", "class_head.dense0.bias", "class_head.logit_scale.weight", "box_head.dense2.weight", "box_head.dense0.bias",
        "owlvit.vision_model.post_layernorm.bias", "owlvit.vision_model.embeddings.class_embedding",
        "owlvit.vision_model.encoder.layers.1.self_attn.out_proj.bias", "owlvit.vision_model.encoder.layers.0.mlp.fc1.bias"]


def giou(a, b):
    """Of two boxes given by corners, with gradients."""
    inter = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0).prod()
    union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inter
    hull = (torch.maximum(a[2:], b[2:]) - torch.minimum(a[:2], b[:2])).prod()
    return inter / union - (hull - union) / hull


def see(model, pixels):
    rows = model.owlvit.vision_model.post_layernorm(model.owlvit.vision_model(pixels).last_hidden_state)
    cells = model.layer_norm(rows[:, 1:] * rows[:, :1])
    side = SIDE // 16
    boxes = model.box_predictor(cells, cells.reshape(len(cells), side, side, -1))
    return cells, boxes


def logits_of(model, cells, embeddings):
    head = model.class_head
    rows = head.dense0(cells)
    rows = rows / (rows.norm(dim=-1, keepdim=True) + 1e-6)
    queries = embeddings / (embeddings.norm(dim=-1, keepdim=True) + 1e-6)
    return (rows @ queries.T + head.logit_shift(cells)) * (torch.nn.functional.elu(head.logit_scale(cells)) + 1)


def loss_of(model, embeddings, pixels, pictures, truth, kinds):
    cells, boxes = see(model, pixels)
    logits = logits_of(model, cells, embeddings)
    sums = dict(focal=0, l1=0, giou=0)
    count = 0
    for row, picture in enumerate(pictures):
        scale = torch.tensor([picture["width"], picture["height"]] * 2, dtype=torch.float32)
        own = [a for a in truth["annotations"] if a["image_id"] == picture["id"]]
        centre = lambda a: torch.tensor([a["bbox"][0] + a["bbox"][2] / 2, a["bbox"][1] + a["bbox"][3] / 2, a["bbox"][2], a["bbox"][3]]) / scale
        objects, crowds = [a for a in own if not a["iscrowd"]], [a for a in own if a["iscrowd"]]
        wanted = torch.stack([centre(a) for a in objects])
        classes = [kinds.index(a["category_id"]) for a in objects]
        with torch.no_grad():
            cost = torch.stack([focal(logits[row, :, c], True) - focal(logits[row, :, c], False) for c in classes]) * 2
            cost = cost + 5 * torch.cdist(wanted, boxes[row], p=1) - 2 * overlaps(corners(wanted), corners(boxes[row]))[1]
            matched = list(zip(*linear_sum_assignment(cost.numpy())))
        positive, weight = torch.zeros_like(logits[row]), torch.ones_like(logits[row])
        for a in crowds:
            weight[overlaps(corners(boxes[row].detach()), corners(centre(a)[None]))[2, :, 0] > 0.5, kinds.index(a["category_id"])] = 0
        for r, c in matched:
            positive[c, classes[r]] = weight[c, classes[r]] = 1
            sums["l1"] = sums["l1"] + (boxes[row, c] - wanted[r]).abs().sum()
            sums["giou"] = sums["giou"] + 1 - giou(corners(boxes[row, c]), corners(wanted[r]))
        sums["focal"] = sums["focal"] + (torch.where(positive > 0, focal(logits[row], True), focal(logits[row], False)) * weight).sum()
        count += len(objects)
    terms = {name: value / count for name, value in sums.items()}
    return 2 * terms["focal"] + 5 * terms["l1"] + 2 * terms["giou"], terms


def main():
    model = OwlViTForObjectDetection.from_pretrained(FOLDER, dtype=torch.float32).eval()
    processor = OwlViTImageProcessorPil(size={"height": SIDE, "width": SIDE})
    truth = json.loads((BOXES / "boxes.json").read_text())
    kinds = [c["id"] for c in truth["categories"]]
    images = [Image.open(BOXES / "images" / p["file_name"]) for p in truth["images"]]
    pixels = processor(images=images, return_tensors="pt")["pixel_values"]
    embeddings = load_file(HERE / "expected.safetensors")["start"].clone().requires_grad_(True)
    image_side = [p for name, p in model.named_parameters() if name.startswith(("layer_norm", "class_head", "box_head", "owlvit.vision_model"))]
    learned = image_side + [embeddings]
    optimiser = torch.optim.AdamW(learned, lr=RATE, weight_decay=DECAY)
    losses, parts = [], []
    for batch in BATCHES:
        loss, terms = loss_of(model, embeddings, pixels[batch], [truth["images"][i] for i in batch], truth, kinds)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, CLIP)
        optimiser.step()
        losses.append(loss.item())
        parts.append([terms[name].item() for name in ("focal", "l1", "giou")])
    state = dict(model.named_parameters())
    result = {name.replace("owlvit.", ""): state[name].detach().clone() for name in KEPT}
    save_file({"batches": torch.tensor(BATCHES), "losses": torch.tensor(losses), "terms": torch.tensor(parts),
               "embeddings": embeddings.detach().clone(), **result}, HERE / "second_stage.safetensors")
    print(losses, parts)


if __name__ == "__main__":
    main()
