"""Makes segmenter_stage.safetensors: three steps of an independent implementation of the segmenter's second stage, in which every
weight of image tower and decoder that a mask depends on (clipseg/, made by make_clipseg.py) and the embeddings are fine-tuned on
the pictures of the recorded search.

    python make_segmenter_stage.py

Needs torch, transformers, safetensors.
"""
import torch
from safetensors.torch import load_file, save_file

from make_clipseg import DEVIATION, HERE, MEAN, CLIPSegForImageSegmentation, overlap_loss

BATCHES = [[0, 1], [2, 0], [1, 3]]
RATE, DECAY, CLIP = 1e-3, 0.05, 1.0
KEPT = {"vision_model.embeddings.class_embedding": "clip.vision_model.embeddings.class_embedding",
        "vision_model.embeddings.position_embedding.weight": "clip.vision_model.embeddings.position_embedding.weight",
        "vision_model.encoder.layers.0.mlp.fc1.bias": "clip.vision_model.encoder.layers.0.mlp.fc1.bias",
        "vision_model.encoder.layers.2.self_attn.out_proj.weight": "clip.vision_model.encoder.layers.2.self_attn.out_proj.weight"}
KEPT |= {name: name for name in ("decoder.film_mul.weight", "decoder.reduces.1.bias", "decoder.layers.0.mlp.fc2.weight",
                                 "decoder.layers.1.layer_norm2.bias", "decoder.transposed_convolution.weight")}


def main():
    model = CLIPSegForImageSegmentation.from_pretrained(HERE / "clipseg", dtype=torch.float32).eval()
    recorded = load_file(HERE / "clipseg.safetensors")
    levels = torch.cat([recorded["levels"], recorded["levels"][:1].flip(3)])
    pictures = (levels / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)
    targets = recorded["search.targets"].float()
    embeddings = recorded["search.start"].clone().requires_grad_(True)
    behind = ("clip.visual_projection", "clip.vision_model.post_layernorm")
    side = [p for name, p in model.named_parameters() if name.startswith(("clip.vision_model", "decoder")) and not name.startswith(behind)]
    optimiser = torch.optim.AdamW(side + [embeddings], lr=RATE, weight_decay=DECAY)
    losses = []
    for batch in BATCHES:
        # transformers' own forward keeps gradients out of the image tower
        seen = model.clip.vision_model(pixel_values=pictures[batch], interpolate_pos_encoding=True, output_hidden_states=True).hidden_states
        logits = model.decoder([seen[i + 1] for i in model.extract_layers], embeddings[[i % 2 for i in batch]]).logits
        entropy, dice = overlap_loss(logits, targets[batch])
        loss = (entropy + dice).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(side + [embeddings], CLIP)
        optimiser.step()
        losses.append([loss.item(), entropy.mean().item(), dice.mean().item()])
    state = dict(model.named_parameters())
    result = {name: state[theirs].detach().clone() for name, theirs in KEPT.items()}
    save_file({"losses": torch.tensor(losses), "embeddings": embeddings.detach().clone(), **result}, HERE / "segmenter_stage.safetensors")
    (HERE / "segmenter_stage.safetensors").chmod(0o644)
    print(losses)


if __name__ == "__main__":
    main()
