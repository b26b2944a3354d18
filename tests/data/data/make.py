"""Writes coop_draws.json: what CPython's own `random` draws, and few-shot draws by the rule of Dassl and CoOp.

Run with any CPython from 3.2 on: python3 make.py
"""
import json
import os
import random
from collections import defaultdict


def few_shot(items, shots):
    classes = defaultdict(list)
    for item in items:
        classes[item[1]].append(item)
    drawn = []
    for members in classes.values():
        drawn.extend(random.sample(members, shots) if len(members) >= shots else members)
    return drawn


def split(sizes, part):
    # Classes interleaved, the highest label first, so that order of appearance differs from order of labels.
    items = []
    for i in range(max(sizes)):
        for label in reversed(range(len(sizes))):
            if i < sizes[label]:
                items.append([f"{part}/{label}/{i:04}.jpg", label, f"name_{label}"])
    return items


def main():
    samples = []
    for seed in (0, 1, 2, 3, 42, 2**31, 2**32 - 1, 2**32, 2**63 + 5):
        for size, count in ((1, 1), (21, 5), (22, 5), (85, 16), (86, 16), (277, 16), (278, 16), (5000, 64), (7, 0), (30, 30)):
            random.seed(seed)
            samples.append({"seed": str(seed), "size": size, "count": count, "picked": random.sample(range(size), count)})
    sizes = {"train": [3, 30, 500, 17, 16, 1], "val": [3, 9, 40, 2, 4, 1], "test": [2, 2, 2, 2, 2, 2]}
    parts = {part: split(count, part) for part, count in sizes.items()}
    draws = []
    for seed in (1, 2, 3):
        for shots in (1, 2, 4, 8, 16):
            random.seed(seed)
            train = few_shot(parts["train"], shots)
            val = few_shot(parts["val"], min(shots, 4))
            draws.append({"seed": seed, "shots": shots, "train": [i[0] for i in train], "val": [i[0] for i in val]})
    folder = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(folder, "coop_draws.json"), "w") as file:
        json.dump({"samples": samples, "split": parts, "draws": draws}, file, separators=(",", ":"))


main()
