"""Writes optimisers.safetensors: parameters after steps of PyTorch's optimisers on fixed gradients, and clipped gradients.

python make.py; needs torch and safetensors.
"""
from pathlib import Path

import torch
from safetensors.torch import save_file

STEPS = 6
CASES = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=5e-4),
    "sgd_nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.8, weight_decay=0.01, nesterov=True),
    "sgd_damped": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3),
    "sgd_plain": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.0, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.1),
}


def main():
    torch.manual_seed(0)
    starts = {"a": torch.randn(3, 5), "b": torch.randn(7)}
    out = {f"start.{name}": value for name, value in starts.items()}
    for step in range(STEPS):
        for name, value in starts.items():
            out[f"gradient.{step}.{name}"] = torch.randn_like(value)
    for case, make in CASES.items():
        parameters = {name: torch.nn.Parameter(value.clone()) for name, value in starts.items()}
        optimiser = make(list(parameters.values()))
        for step in range(STEPS):
            for group in optimiser.param_groups:
                group["lr"] = 0.1 / (step + 1)
            for name, parameter in parameters.items():
                # "b" gets no gradient in the second step: it must stand still, and so must its momentum.
                skipped = name == "b" and step == 1
                parameter.grad = None if skipped else out[f"gradient.{step}.{name}"].clone()
            optimiser.step()
            for name, parameter in parameters.items():
                out[f"{case}.{step}.{name}"] = parameter.detach().clone()
    parameters = [torch.nn.Parameter(value.clone()) for value in starts.values()]
    for parameter, name in zip(parameters, starts):
        parameter.grad = out[f"gradient.0.{name}"].clone()
    out["clip.norm"] = torch.nn.utils.clip_grad_norm_(parameters, 1.5).reshape(1)
    for parameter, name in zip(parameters, starts):
        out[f"clip.{name}"] = parameter.grad.clone()
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.002)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 50)
    rates = []
    for _ in range(51):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        cosine.step()
    out["cosine"] = torch.tensor(rates, dtype=torch.float64)
    save_file(out, Path(__file__).parent / "optimisers.safetensors")


if __name__ == "__main__":
    main()
