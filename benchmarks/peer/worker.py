"""One PyTorch (or other peer's) side of one case of benchmarks/compare, driven by lines on standard input.

  python worker.py --case NAME --variant V --model FOLDER --inputs FILE.safetensors --threads N [--part F]

Prints {"ready": true}; each line `go` does one round and prints {"ms", "value"}; `save PATH` writes the tensors of the last
round; `end` prints {"peak_mb"}. With --part only that share of the work is done (classes, images), which the driver scales.
"""
import argparse
import importlib
import json
import pathlib
import sys
import time

MODULES = {"coop_step": "coop", "cocoop_step": "cocoop", "spg_infer": "spg", "text_matrix": "text_matrix", "image_encode_1": "images",
           "image_encode_8": "images", "image_encode_32": "images", "gdpl_step_19": "gdpl", "gdpl_step_45": "gdpl",
           "preprocess": "preprocess", "model_load": "model_load"}


class Inputs:
    """The tensors and lists beside a case, read when they are asked for."""

    def __init__(self, options):
        self.case, self.variant, self.part = options.case, options.variant, options.part
        self.model, self.file, self.threads = options.model, options.inputs, options.threads

    def tensors(self):
        from safetensors.torch import load_file
        return load_file(self.file)

    def lines(self, name):
        return self.file.with_name(name + ".txt").read_text(encoding="utf-8").splitlines()


def peak_megabytes():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def answer(**line):
    print(json.dumps(line), file=answers, flush=True)


def serve(case):
    answer(ready=True)
    for line in map(str.strip, sys.stdin):
        if line == "go":
            start = time.perf_counter()
            value = case.round()
            answer(ms=1000 * (time.perf_counter() - start), value=value)
        elif line.startswith("save "):
            from safetensors.torch import save_file
            save_file({name: value.detach().contiguous() for name, value in case.tensors().items()}, line[5:])
            answer(saved=line[5:])
        elif line == "end":
            break
    answer(peak_mb=peak_megabytes())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", required=True, choices=MODULES)
    parser.add_argument("--variant", required=True)
    parser.add_argument("--model", required=True, type=pathlib.Path)
    parser.add_argument("--inputs", required=True, type=pathlib.Path)
    parser.add_argument("--threads", required=True, type=int)
    parser.add_argument("--part", type=float, default=1.0)
    options = parser.parse_args()
    import torch
    torch.set_num_threads(options.threads)
    serve(importlib.import_module(MODULES[options.case]).make(Inputs(options)))


answers, sys.stdout = sys.stdout, sys.stderr  # libraries that print must not disturb the protocol
main()
