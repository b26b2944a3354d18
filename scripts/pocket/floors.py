"""Floors of the benchmark: the nearest neighbour in pixels, and how near the unseen vendors come to training drawings.

A picture is 16 x 16 RGB on white, centred and scaled to unit length; the gallery is noto, twemoji, noto-v1, emojione.
"""
import argparse
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

GALLERY = ["noto", "twemoji", "noto-v1", "emojione"]
TARGETS = ["fluent-emoji-flat", "fluent-emoji-high-contrast", "openmoji"]


def fingerprints(rgba):
    """[N, 768] unit vectors from premultiplied [N, 64, 64, 4] bytes."""
    small = rgba.reshape(len(rgba), 16, 4, 16, 4, 4).mean((2, 4), dtype=np.float32) / 255
    flat = (small[..., :3] + 1 - small[..., 3:]).reshape(len(rgba), -1)
    flat -= flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)


class Benchmark:
    def __init__(self, models):
        concepts = json.loads((models / "emoji_dg.json").read_text())
        keys = {part["key"]: i for i, part in enumerate(concepts["subgroups"])}
        self.held = np.array([part["held_out"] for part in concepts["concepts"]])
        self.subgroup = np.array([keys.get(part["subgroup"], -1) for part in concepts["concepts"]])
        self.names = [part["name"] for part in concepts["concepts"]]


def percent(hits, where):
    return round(100 * float(hits[where].mean()), 1)


def floors(bench, gallery, gallery_labels, query, labels):
    likeness = query @ gallery.T
    nearest = gallery_labels[likeness.argmax(1)]
    usable = ~bench.held[gallery_labels] & (bench.subgroup[gallery_labels] >= 0)
    likeness, usable_labels = likeness[:, usable], gallery_labels[usable]
    with_same = bench.subgroup[usable_labels[likeness.argmax(1)]] == bench.subgroup[labels]
    likeness[labels[:, None] == usable_labels[None]] = -2
    without_same = bench.subgroup[usable_labels[likeness.argmax(1)]] == bench.subgroup[labels]
    inside, held = bench.subgroup[labels] >= 0, bench.held[labels]
    return {
        "concepts_650": percent(nearest == labels, slice(None)),
        "concepts_650_seen": percent(nearest == labels, ~held), "concepts_650_held_out": percent(nearest == labels, held),
        "subgroups_41_same_concept_in_gallery": percent(with_same, inside & ~held),
        "subgroups_41_seen": percent(without_same, inside & ~held),
        "subgroups_41_held_out": percent(without_same, inside & held),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=Path(__file__).resolve().parent.parent.parent / "models/pocket")
    args = parser.parse_args()
    bench, manifest = Benchmark(args.models), json.loads((args.pack / "pack.json").read_text())
    pictures = load_file(args.pack / "evaluation.safetensors")
    prints, labels = fingerprints(pictures["rgba"]), pictures["concept"]
    number = {prefix: i for i, prefix in enumerate(manifest["sets"])}
    gallery = np.isin(pictures["set"], [number[prefix] for prefix in GALLERY])
    trained = fingerprints(load_file(args.pack / "drawings.safetensors")["rgba"])
    result = {}
    for target in TARGETS:
        mine = pictures["set"] == number[target]
        result[target] = floors(bench, prints[gallery], labels[gallery], prints[mine], labels[mine])
        nearest = np.concatenate([(part @ trained.T).max(1) for part in np.array_split(prints[mine], 13)])
        order = np.argsort(-nearest)[:int((nearest > 0.97).sum())]
        result[target]["training_drawing_nearer_than_0.97"] = len(order)
        result[target]["these"] = [bench.names[labels[mine][i]] for i in order]
    counts = np.bincount(bench.subgroup[bench.subgroup >= 0])
    result["chance"] = {"concepts_650": round(100 / len(bench.held), 2), "subgroups_41": round(100 / len(counts), 1),
                        "largest_subgroup": round(100 * counts.max() / counts.sum(), 1)}
    (args.models / "floors.json").write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n")
    print(json.dumps(result, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
