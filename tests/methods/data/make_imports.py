"""Makes import_<method>.pth.tar, checkpoints as the original programs write them (Dassl's save_checkpoint: prompts learned in fp16 beside frozen embeddings, the state of
the optimiser, a scheduler that holds another one as an object), and imports.safetensors, the logits that an independent PyTorch implementation computes from them.

    python make_imports.py ../../clip/data/hf_quick .
"""
import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from towers import Towers

NAMES = ["dog", "cat on a mat", "big photo", "a b c", "owl"]
WORDS = "a photo of a"
torch.set_num_threads(1)
towers, out = Towers(sys.argv[1]), pathlib.Path(sys.argv[2])
torch.manual_seed(11)
pixels = load_file(out / "towers.safetensors")["pixels"]
features = F.normalize(towers.image(pixels), dim=-1).detach()
expected = {}


def half(*shape, scale=0.05):
    return (scale * torch.randn(*shape)).half()


def frozen(count, words=""):
    """The embeddings before and behind `count` learned ones, which stand for the first of the words."""
    sentence = lambda name: [towers.start] + (towers.ids(f"{words} {name}.") if words else [0] * count + towers.ids(f"{name}.")) + [towers.end]
    rows = [sentence(name) for name in NAMES]
    table = towers.table[torch.tensor([row + [0] * (towers.length - len(row)) for row in rows])].half()
    return {"token_prefix": table[:, :1].clone(), "token_suffix": table[:, 1 + count :].clone()}


def checkpoint(name, state, learned):
    """What Dassl saves after the last epoch. `learned` are the parameters of the optimiser."""
    parameters = [torch.nn.Parameter(x.clone()) for x in learned]
    optimiser = torch.optim.SGD(parameters, lr=0.002, momentum=0.9)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    successor = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 5)
    optimiser.step()
    successor.__dict__.pop("optimizer")
    scheduler = {"successor": successor, "warmup_epoch": 1, "base_lrs": [0.002], "last_epoch": 5, "cons_lr": 1e-5}
    content = {"state_dict": state, "epoch": 5, "optimizer": optimiser.state_dict(), "scheduler": scheduler, "val_result": None}
    torch.save(content, out / f"import_{name}.pth.tar")


def answers(image, text):
    return (towers.scale * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).transpose(-1, -2)).detach()


# CoOp, and one context for each class.
context = half(4, towers.width)
checkpoint("coop", {"ctx": context} | frozen(4), [context])
frame = towers.frame(NAMES, 4)
expected["coop"] = answers(features, towers.class_features(frame, context.float()))
# KgCoOp's release saves two parameters more, which it never uses.
unused = {"bias_vectors": half(1, towers.width), "meta_net.linear1.weight": half(4, 4), "meta_net.linear1.bias": half(4)}
checkpoint("kgcoop", {"ctx": context} | unused | frozen(4), [context])
expected["kgcoop"] = expected["coop"].clone()
own = half(5, 3, towers.width)
checkpoint("coop_csc", {"ctx": own} | frozen(3), [own])
frame = towers.frame(NAMES, 3)
expected["coop_csc"] = answers(features, torch.cat([towers.class_features((frame[0][c : c + 1], frame[1][c : c + 1]), own[c].float()) for c in range(5)]))

# CoCoOp: an image at a time.
hidden = max(1, towers.joint // 16)
net = {"linear1.weight": half(hidden, towers.joint, scale=0.5), "linear1.bias": half(hidden), "linear2.weight": half(towers.width, hidden, scale=0.5), "linear2.bias": half(towers.width)}
checkpoint("cocoop", {"ctx": context} | frozen(4) | {f"meta_net.{k}": v for k, v in net.items()}, [context, *net.values()])
frame, rows = towers.frame(NAMES, 4), []
for image in features:
    bias = F.linear(F.relu(F.linear(image, net["linear1.weight"].float(), net["linear1.bias"].float())), net["linear2.weight"].float(), net["linear2.bias"].float())
    rows.append(answers(image[None], towers.class_features(frame, context.float() + bias)))
expected["cocoop"] = torch.cat(rows)

# Of the frozen CLIP that MaPLe and PromptSRC save with their prompts, some tensors.
vision = {k: towers.weights["vision_model." + v].half() for k, v in (("class_embedding", "embeddings.class_embedding"), ("ln_post.weight", "post_layernorm.weight"))}
clip = {f"image_encoder.{k}": v for k, v in vision.items()} | {"text_encoder.ln_final.weight": towers.weights["text_model.final_layer_norm.weight"].half(), "logit_scale": towers.scale.log()}

# MaPLe, two blocks deep.
context, deep = half(2, towers.width), (0.05 * torch.randn(2, towers.width))
layers = {n: (half(towers.vision_width, towers.width, scale=0.3), half(towers.vision_width)) for n in ("proj", "compound_prompt_projections.0")}
state = {"prompt_learner.ctx": context, "prompt_learner.compound_prompts_text.0": deep}
for n, (weight, bias) in layers.items():
    state |= {f"prompt_learner.{n}.weight": weight, f"prompt_learner.{n}.bias": bias}
checkpoint("maple", state | {f"prompt_learner.{k}": v for k, v in frozen(2, WORDS).items()} | clip, [context, deep])
frame = towers.frame([f"{WORDS} {n}" for n in NAMES], 0)
tokens = [F.linear(x.float(), *(y.float() for y in layers[n])) for x, n in zip((context, deep), layers)]
expected["maple"] = answers(towers.image(pixels, tokens), towers.text(frame, context.float(), [deep]))

# PromptSRC, learned without words: in every block of the text tower and the first of the image tower.
context, deep, first = half(3, towers.width), [half(3, towers.width) for _ in range(1, towers.layers)], half(2, towers.vision_width)
state = {"prompt_learner.ctx": context, "image_encoder.VPT": first} | {f"text_encoder.transformer.resblocks.{b + 1}.VPT_shallow": x for b, x in enumerate(deep)}
teacher = {f"prompt_learner.ZS_image_encoder.{k}": v for k, v in vision.items()}
checkpoint("promptsrc", state | {f"prompt_learner.{k}": v for k, v in frozen(3).items()} | clip | teacher, [context, first, *deep])
frame = towers.frame(NAMES, 3)
expected["promptsrc"] = answers(towers.image(pixels, [first.float()]), towers.text(frame, context.float(), [x.float() for x in deep]))

# VPT with a fixed sentence, in both blocks, and deep prompts of the text tower alone.
tokens = [half(3, towers.vision_width) for _ in range(2)]
checkpoint("vpt", {"image_encoder.VPT": tokens[0], "image_encoder.transformer.resblocks.1.VPT_shallow": tokens[1]} | clip, tokens)
frame = towers.frame([f"{WORDS} {n}" for n in NAMES], 0)
fixed = towers.text(frame, towers.table[torch.tensor(towers.ids(WORDS))])
expected["vpt"] = answers(towers.image(pixels, [x.float() for x in tokens]), fixed)
context, deep = half(4, towers.width), half(4, towers.width)
checkpoint("deep_text", {"prompt_learner.ctx": context, "text_encoder.transformer.resblocks.1.VPT_shallow": deep} | {f"prompt_learner.{k}": v for k, v in frozen(4, WORDS).items()} | clip, [context, deep])
expected["deep_text"] = answers(features, towers.text(frame, context.float(), [deep.float()]))

# SPG keeps a prompt label as a slice of a larger tensor, without a dictionary.
label = half(5, 9, towers.width)
kept = label[0, 1:5]
kept.note = "tensors with attributes are written in another form, which the release's files have"
torch.save(kept, out / "import_label.pt")
expected["label"] = answers(features, towers.class_features(towers.frame(NAMES, 4), label[0, 1:5].float()))


# What must be refused: another width, more blocks than there are, a tensor that nobody knows, a number that is none.
tokens = half(4, towers.width)
torch.save({"ctx": half(4, towers.vision_width)}, out / "import_wide.pt")
deep = {f"text_encoder.transformer.resblocks.{b}.VPT_shallow": tokens for b in range(1, towers.layers + 1)}
torch.save({"prompt_learner.ctx": tokens} | deep, out / "import_deep.pt")
torch.save({"ctx": tokens, "scale": torch.ones(3)}, out / "import_extra.pt")
torch.save({"ctx": tokens * float("nan")}, out / "import_nan.pt")


class Attack:
    def __reduce__(self):
        import os

        return os.system, ("touch import_was_executed",)


torch.save({"state_dict": {"ctx": Attack()} | frozen(4), "epoch": 5}, out / "import_attack.pth.tar")
save_file({k: v.contiguous() for k, v in expected.items()}, out / "imports.safetensors", metadata={"names": json.dumps(NAMES)})
print({k: tuple(v.shape) for k, v in expected.items()})
