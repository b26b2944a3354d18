"""Makes owl_vit/, a small random detector, boxes/, a few pictures with boxes, and expected.safetensors: what transformers
answers, and the steps of an independent implementation of the search for embeddings.

    python make_owl_vit.py

Needs torch, transformers, scipy, Pillow, safetensors. Weights are stored as fp16, expected values are of fp32.
"""
import json
import pathlib
import shutil

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from scipy.optimize import linear_sum_assignment

from small_models import SENTENCES, shake, tokens  # first: without it transformers may not import
from transformers import OwlViTConfig, OwlViTForObjectDetection
from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil

HERE = pathlib.Path(__file__).parent
FOLDER, BOXES = HERE / "owl_vit", HERE / "boxes"
SIDE = 64


def detector():
    config = OwlViTConfig(
        projection_dim=32,
        text_config={"vocab_size": 640, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
                     "bos_token_id": 638, "eos_token_id": 639},
        vision_config={"hidden_size": 40, "intermediate_size": 56, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": SIDE, "patch_size": 16})
    model = OwlViTForObjectDetection(config).eval()
    shake(model)
    model.half().save_pretrained(FOLDER)
    shutil.copy(HERE.parent.parent / "clip/data/hf_quick/tokenizer.json", FOLDER / "tokenizer.json")
    processor = OwlViTImageProcessorPil(size={"height": SIDE, "width": SIDE})
    (FOLDER / "preprocessor_config.json").write_text(json.dumps(
        {"size": {"height": SIDE, "width": SIDE}, "resample": 3, "do_center_crop": False, "image_mean": list(processor.image_mean),
         "image_std": list(processor.image_std)}, indent=2) + "\n")
    # Loaded anew: half() would have rounded the bias of the boxes too, which is no parameter.
    return OwlViTForObjectDetection.from_pretrained(FOLDER, dtype=torch.float32).eval(), processor


def pictures():
    """Smooth noise with boxes; one of them a crowd."""
    (BOXES / "images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(4)
    truth = {"images": [], "categories": [{"id": 4, "name": "cat"}, {"id": 9, "name": "large bird"}], "annotations": []}
    images = []
    for i in range(3):
        width, height = 72, 56
        image = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((width, height), Image.BILINEAR)
        image.save(BOXES / "images" / f"{i}.png")
        images.append(image)
        truth["images"].append({"id": i + 1, "file_name": f"{i}.png", "width": width, "height": height})
        for k in range(3):
            box = [float(v) for v in rng.integers([0, 0, 10, 10], [30, 30, 40, 25])]
            if i == 1 and k == 2:
                box = [4.0, 4.0, 64.0, 48.0]
            truth["annotations"].append({"id": len(truth["annotations"]) + 1, "image_id": i + 1, "category_id": int(rng.choice([4, 9])),
                                         "bbox": box, "area": box[2] * box[3], "iscrowd": int(i == 1 and k == 2)})
    (BOXES / "boxes.json").write_text(json.dumps(truth, indent=1) + "\n")
    return images, truth


def corners(boxes):
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def overlaps(a, b):
    """Pair by pair: IoU, GIoU and the share of a within b."""
    result = torch.zeros(3, len(a), len(b))
    for i, p in enumerate(a.tolist()):
        for j, q in enumerate(b.tolist()):
            area = lambda r: max(0, r[2] - r[0]) * max(0, r[3] - r[1])
            inter = area([max(p[0], q[0]), max(p[1], q[1]), min(p[2], q[2]), min(p[3], q[3])])
            hull = area([min(p[0], q[0]), min(p[1], q[1]), max(p[2], q[2]), max(p[3], q[3])])
            union = area(p) + area(q) - inter
            result[:, i, j] = torch.tensor([inter / union, inter / union - (hull - union) / hull, inter / area(p)])
    return result


def focal(logits, target, alpha=0.25, gamma=2.0):
    p = torch.sigmoid(logits)
    return -alpha * (1 - p) ** gamma * F.logsigmoid(logits) if target else -(1 - alpha) * p ** gamma * F.logsigmoid(-logits)


def picture_loss(logits, boxes, truth, image, kinds):
    own = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
    scale = torch.tensor([image["width"], image["height"]] * 2, dtype=torch.float32)
    to_centre = lambda a: torch.tensor([a["bbox"][0] + a["bbox"][2] / 2, a["bbox"][1] + a["bbox"][3] / 2, a["bbox"][2], a["bbox"][3]]) / scale
    objects, crowds = [a for a in own if not a["iscrowd"]], [a for a in own if a["iscrowd"]]
    wanted = torch.stack([to_centre(a) for a in objects])
    classes = [kinds.index(a["category_id"]) for a in objects]
    iou, giou, _ = overlaps(corners(wanted), corners(boxes))
    cost = torch.stack([focal(logits[:, c], True) - focal(logits[:, c], False) for c in classes]) * 2
    cost = cost + 5 * torch.cdist(wanted, boxes, p=1) - 2 * giou
    rows, columns = linear_sum_assignment(cost.detach().numpy())
    positive, weight = torch.zeros_like(logits), torch.ones_like(logits)
    for a in crowds:
        inside = overlaps(corners(boxes), corners(to_centre(a)[None]))[2, :, 0] > 0.5
        weight[inside, kinds.index(a["category_id"])] = 0
    for r, c in zip(rows, columns):
        positive[c, classes[r]] = 1
        weight[c, classes[r]] = 1
    loss = (torch.where(positive > 0, focal(logits, True), focal(logits, False)) * weight).sum()
    return loss, len(objects), sum(iou[r, c].item() for r, c in zip(rows, columns)), int((weight == 0).sum())


def main():
    torch.manual_seed(0)
    model, processor = detector()
    images, truth = pictures()
    ids, mask = tokens(FOLDER, 0)
    levels = torch.randint(0, 256, (2, 3, SIDE, SIDE), dtype=torch.uint8)
    pixels = levels.float() / 127.5 - 1
    seen = processor(images=images, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        answer = model(input_ids=ids.repeat(2, 1), pixel_values=pixels, attention_mask=mask.repeat(2, 1))
        named = model(input_ids=ids.repeat(3, 1), pixel_values=seen, attention_mask=mask.repeat(3, 1))
        features = [model.image_embedder(one[None])[0].reshape(1, -1, 40) for one in seen]
        boxes = [model.box_predictor(f, f.reshape(1, 4, 4, 40))[0] for f in features]

    start = torch.randn(2, 32)
    embeddings = torch.nn.Parameter(start.clone())
    optimiser = torch.optim.AdamW([embeddings], lr=0.05, weight_decay=0.0)
    kinds, losses, ious, ignored = [4, 9], [], [], 0
    batches = torch.tensor([[0, 1], [2, 0], [1, 2]] * 4)
    for batch in batches.tolist():
        total, count, iou = 0, 0, 0
        for i in batch:
            logits = model.class_predictor(features[i], embeddings[None])[0][0]
            loss, n, overlap, left_out = picture_loss(logits, boxes[i], truth, truth["images"][i], kinds)
            total, count, iou, ignored = total + loss, count + n, iou + overlap, ignored + left_out
        loss = total / count
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        ious.append(iou / count)
    print(losses[0], losses[-1], ious, "left out:", ignored)
    expected = {"levels": levels, "queries": answer.text_embeds[0], "logits": answer.logits, "boxes": answer.pred_boxes,
                "picture_logits": named.logits, "picture_boxes": named.pred_boxes, "start": start, "final": embeddings.detach(),
                "batches": batches, "losses": torch.tensor(losses, dtype=torch.float64), "ious": torch.tensor(ious, dtype=torch.float64)}
    save_file({k: v.contiguous() for k, v in expected.items()}, HERE / "expected.safetensors", metadata={"sentences": json.dumps(SENTENCES)})


if __name__ == "__main__":
    main()
