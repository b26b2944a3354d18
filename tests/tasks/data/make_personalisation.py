"""Makes personalisation.safetensors, the expectations of denoising_test.cpp and textual_inversion_test.cpp:
python make_personalisation.py (torch, diffusers, transformers). The model is tests/diffusion/data/v2."""
import json
from pathlib import Path

import torch

import small_models  # noqa: F401, first: without it transformers may not import
import transformers
from diffusers import DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file

HERE = Path(__file__).parent
MODEL = HERE.parent.parent / "diffusion" / "data" / "v2"
STEPS, BATCH, LR = 10, 3, 0.05

unet = UNet2DConditionModel.from_pretrained(MODEL, subfolder="unet", torch_dtype=torch.float32).eval()
text = transformers.CLIPTextModel.from_pretrained(MODEL, subfolder="text_encoder", torch_dtype=torch.float32).eval()
scheduler = DDIMScheduler.from_pretrained(MODEL, subfolder="scheduler")
for p in list(unet.parameters()) + list(text.parameters()):
    p.requires_grad_(False)

torch.manual_seed(11)
maps = torch.rand(STEPS, BATCH, 3, 8, 8) * 2 - 1
noise = torch.randn_like(maps)
times = torch.randint(0, scheduler.config.num_train_timesteps, (STEPS, BATCH))


def loss_of(step, hidden):
    noisy = scheduler.add_noise(maps[step], noise[step], times[step])
    target = scheduler.get_velocity(maps[step], noise[step], times[step])
    said = unet(noisy, times[step], hidden.expand(BATCH, -1, -1)).sample
    return ((said - target) ** 2).mean()


def search(parameter, hidden_of):
    optimiser = torch.optim.AdamW([parameter], lr=LR, weight_decay=0.0)
    losses = []
    for step in range(STEPS):
        optimiser.zero_grad()
        loss = loss_of(step, hidden_of())
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64)


# ConES: the rows themselves.
rows = torch.randn(1, 6, unet.config.cross_attention_dim)
found = rows.clone().requires_grad_()
cones_losses = search(found, lambda: found)

# Textual inversion: the input embedding of a word in "a photo of a {}", through the frozen text encoder.
tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(MODEL / "tokenizer" / "tokenizer.json"))
context = text.config.max_position_embeddings
before = tokenizer("a photo of a ")["input_ids"][:-1]
after = tokenizer("")["input_ids"][1:]
padding = json.loads((MODEL / "tokenizer" / "special_tokens_map.json").read_text())["pad_token"]
padding = tokenizer.convert_tokens_to_ids(padding["content"] if isinstance(padding, dict) else padding)
after += [padding] * (context - len(before) - 1 - len(after))
start = torch.randn(1, text.config.hidden_size) * 0.5
token = start.clone().requires_grad_()
table = text.get_input_embeddings()


def said_of_token():
    embedded = torch.cat([table.weight[before], token, table.weight[after]])[None]
    hook = table.register_forward_hook(lambda module, given, out: embedded)
    hidden = text(torch.tensor([before + [0] + after])).last_hidden_state
    hook.remove()
    return hidden


inversion_losses = search(token, said_of_token)

save_file({"maps": maps, "noise": noise, "times": times, "rows": rows[0], "cones": found.detach()[0].contiguous(),
           "cones.losses": cones_losses, "start": start, "token": token.detach(), "inversion.losses": inversion_losses},
          HERE / "personalisation.safetensors")
print(cones_losses, inversion_losses)
